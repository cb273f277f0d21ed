"""Rules on an LSDB catalog: row by row what `select` decides of the folder."""

from __future__ import annotations

import pickle

import pytest

import targetsel as ts
from targetsel.errors import CatalogError, RuleError
from targetsel.partitions.lazy import told_of
from targetsel.partitions.lazy_rules import RulesPlan, judge_frame
from targetsel.selection.by_row import DECIDED
from tests.partitions.conftest import RULES

lsdb = pytest.importorskip("lsdb")
QUIET = {"progress_bar": False}
NAMES = [each.name for each in DECIDED]

TWO = """
schema: targetsel/rules/v1
name: two classes
seed: 1
classes:
  BRIGHT:
    priority: 1000 * ew_hbeta
    where: [rmag < {rmag}]
    {more}
  EMITTER:
    bit: 3
    priority: 270
    where: [P(ew_halpha > {halpha} and ew_hbeta > 0.25) > 0.1, ew_halpha > {halpha}]
    sample: 0.7
"""

pytestmark = pytest.mark.filterwarnings("ignore")  # of its libraries, and that there is no margin


@pytest.fixture(autouse=True)
def in_this_thread():
    import dask

    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def rules(scored_folder):
    """Rules that choose some of the sources, with one more entry of the first class."""
    frame = ts.read(scored_folder, "scored").to_pandas()

    def rules(more=""):
        limits = {"rmag": frame["rmag"].median(), "halpha": frame["ew_halpha"].median()}
        return ts.Rules.parse(TWO.format(**limits, more=more))

    return rules


@pytest.fixture
def opened(scored_folder):
    return lsdb.open_catalog(scored_folder)


def check_rows(frame, targets):
    """The frame's rows with a bit are these targets, with the same values; the others have none."""
    chosen = frame[frame["target_bits"] > 0].sort_values("source_id")
    expected = targets.to_pandas().sort_values("source_id")
    assert chosen["source_id"].tolist() == expected["source_id"].tolist()
    for name in NAMES:
        assert chosen[name].tolist() == expected[name].tolist(), name
    others = frame[frame["target_bits"] == 0]
    assert others[NAMES[1:]].isna().all(axis=None)


def test_rows_with_a_bit_are_the_list_that_select_makes_of_the_folder(opened, rules, scored_folder):
    planned = ts.select_catalog(opened, rules())
    frame, targets = planned.compute(**QUIET), ts.select(scored_folder, rules())
    assert {1, 8, 9} == {*targets["target_bits"].tolist()}
    assert len(targets) < len(frame)
    check_rows(frame, targets)
    whole = opened.compute(**QUIET)
    assert frame.index.equals(whole.index)
    assert frame[whole.columns].equals(whole)
    assert list(frame.columns) == [*whole.columns, *NAMES]
    assert (planned.dtypes == frame.dtypes).all()


def test_a_row_is_judged_alike_whichever_others_are_there(opened, rules, scored_folder):
    first = ts.select_catalog(opened, rules()).compute(**QUIET)
    half = opened.query(f"ew_halpha > {first['ew_halpha'].median()}")
    some = ts.select_catalog(half, rules()).compute(**QUIET)
    assert 0 < len(some) < len(first)
    assert some[NAMES].equals(first[first["source_id"].isin(some["source_id"])][NAMES])
    nobody = ts.select_catalog(opened.query("rmag < 0"), rules()).compute(**QUIET)
    assert len(nobody) == 0
    assert {*NAMES} <= {*nobody.columns}


def test_a_lazily_scored_catalog_is_judged_where_it_is_scored(
    hats, demonstration, ensemble_folder, rules
):
    scored = ts.score_catalog(lsdb.open_catalog(hats), demonstration / "cutouts", ensemble_folder)
    frame = ts.select_catalog(scored, rules()).compute(**QUIET)
    alone = scored.compute(**QUIET)
    alone.attrs = scored.meta.attrs
    check_rows(frame, ts.select(alone, rules()))


def test_targets_that_lsdb_wrote_are_a_scored_catalog_with_their_classes(opened, rules, tmp_path):
    targets = ts.select_catalog(opened, rules()).query("target_bits > 0")
    targets.write_catalog(tmp_path / "targets", **QUIET)
    found = ts.read(tmp_path / "targets", "scored")
    assert found.schema.field("target_bits").metadata[b"description"] == b"One bit per class"
    assert found.footer["ensemble"] == ts.read(opened.hc_structure.catalog_path).footer["ensemble"]
    again = ts.select(found.path, rules())
    assert sorted(again["source_id"].tolist()) == sorted(found["source_id"].tolist())


def test_bits_of_a_lock_go_along_to_other_processes(opened, rules, tmp_path):
    (tmp_path / "two.yaml").write_text(rules().text)
    (tmp_path / "rules.bits").write_text("17 BRIGHT\n")
    mine = ts.Rules.read(tmp_path / "two.yaml")
    assert mine["BRIGHT"].bit == 17
    plan = pickle.loads(pickle.dumps(RulesPlan.of(opened.meta, told_of(opened), mine)))
    frame = judge_frame(opened.partitions[0].compute(**QUIET), plan)
    assert {*frame["target_bits"]} <= {0, 8, 1 << 17, 8 + (1 << 17)}
    assert (frame["target_bits"] >= 1 << 17).any()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("limit: {total: 3}", "the class BRIGHT has a limit"),
        ("dedup: {within: 1arcsec}", "the class BRIGHT has a dedup"),
        ("guarantee: {purity: 0.5, confidence: 0.9}", "the class BRIGHT has a guarantee"),
    ],
)
def test_what_compares_sources_of_the_catalog_is_refused(opened, rules, more, named):
    with pytest.raises(RuleError, match=f"two classes: {named}.*targetsel select'"):
        ts.select_catalog(opened, rules(more))


def test_a_quantile_of_the_catalog_is_refused_by_its_text(opened):
    with pytest.raises(RuleError, match=r"asks for catalog_quantile\(rmag, 0.5\), which is about"):
        ts.select_catalog(opened, RULES)


def test_other_catalogs_and_columns_that_are_there_are_refused(opened, rules, hats, scored_folder):
    with pytest.raises(CatalogError, match="has a column 'target_bits', which the rules"):
        ts.select_catalog(ts.select_catalog(opened, rules()), rules())
    with pytest.raises((CatalogError, RuleError)):
        ts.select_catalog(lsdb.open_catalog(hats), rules())
    with pytest.raises(CatalogError, match=r"of type PosixPath; .* are for targetsel\.select"):
        ts.select_catalog(scored_folder, rules())


def test_sources_that_were_not_needed_are_not_judged(run, rules):
    folder = run(rules=[ts.Rules.parse(RULES)]).output
    planned = ts.select_catalog(lsdb.open_catalog(folder), rules())
    with pytest.raises(RuntimeError, match="have the status 'not needed'"):
        planned.compute(**QUIET)
