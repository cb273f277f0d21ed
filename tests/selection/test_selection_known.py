"""Selection where some sources have a spectrum already."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CatalogError, RuleError
from targetsel.rules.rules import Rules
from targetsel.scored.known_columns import with_known
from targetsel.selection.needed import Asked
from targetsel.sky.positions import healpix_of

N = 40
PLAIN = """schema: targetsel/rules/v1
name: plain
classes:
  BRIGHT:
    bit: 0
    priority: 10
    where: [rmag < 20.5]
"""
NAMING = """schema: targetsel/rules/v1
name: naming
classes:
  AGAIN:
    bit: 0
    priority: 10
    where: [known, known_redshift > 0.2]
  NEW:
    bit: 1
    priority: 20
    where: [not known and not known_warning]
  BOTH:
    bit: 2
    priority: 5
    where: [rmag < 20.5]
    rank: -known_redshift
  FAILED:
    bit: 3
    priority: 7
    where: [known_warning]
"""


@pytest.fixture
def catalog(tmp_path):
    ra, dec = np.linspace(10, 12, N), np.linspace(-1, 1, N)
    table = pa.table(
        {
            "source_id": np.arange(N) + 100,
            "ra": ra,
            "dec": dec,
            "_healpix_29": healpix_of(ra, dec),
            "rmag": np.where(np.arange(N) % 4 == 3, 21.0, 20.0),
        }
    )
    path = tmp_path / "a.scored.parquet"
    pq.write_table(table, path, row_group_size=7)
    return path


@pytest.fixture
def spectra(tmp_path):
    """Of the first ten sources; every fifth has a warning."""
    k = np.arange(10)
    table = pa.table(
        {
            "TARGET_RA": np.linspace(10, 12, N)[k],
            "TARGET_DEC": np.linspace(-1, 1, N)[k],
            "Z": 0.1 * k,
            "ZWARN": np.where(k % 5 == 4, 4, 0),
        }
    )
    pq.write_table(table, tmp_path / "zall.parquet")
    return tmp_path / "zall.parquet"


def ids(targets):
    return sorted(targets["source_id"].tolist())


def test_known_sources_are_left_out_of_classes_that_do_not_name_them(catalog, spectra):
    whole = ts.select(catalog, PLAIN)
    targets = ts.select(catalog, PLAIN, known=spectra)
    known = {100 + k for k in range(10) if k % 5 != 4}
    assert ids(targets) == [each for each in ids(whole) if each not in known]
    (summary,) = targets.run.classes
    assert summary.n_known_left_out == len([k for k in range(10) if k % 5 != 4 and k % 4 != 3])
    assert summary.n_known == 0
    assert (targets.run.known.n_known, targets.run.known.n_warned) == (8, 2)


def test_a_class_that_names_known_sources_says_what_becomes_of_them(catalog, spectra):
    targets = ts.select(catalog, NAMING, known=[spectra])
    of = {
        name: set(targets["source_id"][targets.of_class(name)]) for name in targets.footer["bits"]
    }
    assert of["AGAIN"] == {103, 105, 106, 107, 108}
    assert of["NEW"] == set(range(110, 140))
    assert of["BOTH"] == {100 + k for k in range(N) if k % 4 != 3}
    assert of["FAILED"] == {104, 109}
    summaries = {each.name: each for each in targets.run.classes}
    assert summaries["AGAIN"].n_known == 5
    assert summaries["AGAIN"].n_known_left_out is None
    assert summaries["FAILED"].n_known_left_out == 0


def test_the_list_keeps_what_is_known_and_which_files_told_it(catalog, spectra, tmp_path):
    targets = ts.select(catalog, NAMING, tmp_path / "list.parquet", known=spectra, known_radius=2)
    rows = dict(zip(targets["source_id"], targets["known_redshift"], strict=True))
    assert rows[103] == pytest.approx(0.3)
    assert np.isnan(rows[104])
    told = ts.TargetList.read(tmp_path / "list.parquet").footer["known"]
    assert told["files"][0]["name"] == "zall.parquet"
    assert len(told["files"][0]["sha256"]) == 64
    assert (told["radius"], told["n_known"]) == (2, 8)
    assert told["kept"]["AGAIN"] == 5


def test_rules_that_name_known_sources_ask_for_the_files(catalog):
    with pytest.raises(RuleError, match=r"unknown column 'known'. Name the files .* with --known"):
        ts.select(catalog, NAMING)


def test_the_list_is_the_same_for_one_file_and_for_a_folder_and_with_threads(
    catalog, spectra, tmp_path
):
    folder = tmp_path / "parts"
    folder.mkdir()
    table = pq.read_table(catalog)
    for k in range(0, N, 10):
        pq.write_table(table.slice(k, 10), folder / f"{k:02}.parquet")
    one, other = (ts.select(each, NAMING, known=spectra) for each in (catalog, folder))
    assert one.table.equals(other.table)
    assert ts.select(catalog, NAMING, known=spectra, threads=2).table.equals(one.table)
    assert ts.select(table, NAMING, known=pq.read_table(spectra)).table.equals(one.table)


def test_no_spectra_in_the_sky_of_the_catalog_change_no_target(catalog, tmp_path):
    pq.write_table(pa.table({"ra": [200.0], "dec": [0.0]}), tmp_path / "far.parquet")
    targets = ts.select(catalog, PLAIN, known=tmp_path / "far.parquet")
    assert ids(targets) == ids(ts.select(catalog, PLAIN))
    assert targets.run.known.cautions


def test_the_output_is_not_written_over_a_file_of_spectra(catalog, spectra):
    with pytest.raises(Exception, match="read"):
        ts.select(catalog, PLAIN, spectra, known=spectra)


def test_scored_predictions_are_not_spectra(catalog, spectra):
    from targetsel.spectra.proxies import NORMAL_SCORES

    kind = pa.list_(pa.float32(), len(NORMAL_SCORES))
    notes = {b"normal_scores": b"0"}
    fields = [pa.field("ra", pa.float64()), pa.field("dec", pa.float64())]
    schema = pa.schema([*fields, pa.field("d4000_quantiles", kind, metadata=notes)])
    with pytest.raises(CatalogError, match="is a scored catalog"):
        ts.select(catalog, PLAIN, known=schema.empty_table())


def test_explain_and_funnel_tell_that_a_source_has_a_spectrum(catalog, spectra):
    found = ts.explain(catalog, PLAIN, 101, known=spectra)
    assert "It has a spectrum already at redshift 0.1" in repr(found)
    assert found[0].verdict == "kept out by not known"
    assert "No spectrum of it is known." in repr(ts.explain(catalog, PLAIN, 130, known=spectra))
    assert "have a warning" in repr(ts.explain(catalog, PLAIN, 104, known=spectra))
    (funnel,) = ts.funnel(catalog, PLAIN, known=spectra)
    assert funnel.rows[-1].condition == "not known"


def test_rules_that_name_known_sources_can_be_scored_for(catalog):
    schema = pq.read_schema(catalog)
    asked = Asked([Rules.parse(NAMING)], schema)
    assert asked.needed(lambda: [pq.read_table(catalog)]).condition is True
    assert with_known(with_known(schema)).names == with_known(schema).names


def test_all_reports_choose_as_the_selection_does(catalog, spectra, tmp_path):
    targets = ts.select(catalog, PLAIN, known=spectra)
    places = tmp_path / "inclusion.parquet", tmp_path / "map.parquet"
    (inclusion,) = ts.selection_function(catalog, PLAIN, *places, known=spectra)
    assert inclusion.n_selected == len(targets)
    looser = PLAIN.replace("20.5", "25")
    (change,) = ts.diff(PLAIN, looser, catalog, known=spectra)
    assert change.n_before == len(targets)
    assert change.n_after == 32
    tuned = ts.tune(catalog, PLAIN + "    rank: -rmag\n", "BRIGHT", 100, known=spectra)
    assert tuned.n_members == 32
    assert not ts.forecast(catalog, PLAIN, known=spectra)


def test_lists_with_and_without_known_sources_are_compared(catalog, spectra, tmp_path):
    lists = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, known in zip(lists, (None, spectra), strict=True):
        ts.select(catalog, PLAIN, path, known=known)
    (change,) = ts.diff(*lists, catalog, known=spectra)
    assert change.n_left == 6
    assert any("not known" in line for line in change.reasons)


def test_rules_on_known_sources_cannot_be_judged_by_partitions_alone(catalog):
    from targetsel.selection.by_row import refuse_whole

    with pytest.raises(RuleError, match=r"asks for 'known'.*targetsel select --known"):
        refuse_whole(Rules.parse(NAMING), pq.read_schema(catalog))
    refuse_whole(Rules.parse(PLAIN), pq.read_schema(catalog))
