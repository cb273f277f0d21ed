"""Scoring given rules: no pixel of a source that no class could choose is read, the lists stay."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import targetsel.scoring.stream
from targetsel.errors import CatalogError, RuleError
from targetsel.imaging.store import CutoutStore
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions
from targetsel.scoring.stream import score
from targetsel.selection.needed import Asked
from targetsel.selection.select import select
from targetsel.sky.catalog import CatalogFile
from targetsel.tables.parquet import read_footer

BRIGHT = Rules.parse("""schema: targetsel/rules/v1
name: bright
classes:
  LINE:
    priority: 2
    where:
      - P(ew_halpha > 0 Angstrom) > 0.001
      - rmag < catalog_quantile(rmag, 0.4)
    rank: ew_halpha
  ANY:
    priority: 1
    where: rmag < catalog_quantile(rmag, 0.2)
    unless: LINE
""")


@pytest.fixture
def run(demonstration, ensemble_folder, tmp_path):
    """Score the demonstration's catalog, or another, for rules, into a temporary folder."""

    def run(*rules, catalog=None, output="out.scored.parquet", threads=1):
        return score(
            CatalogFile.open(catalog or demonstration / "catalog.parquet"),
            CutoutStore.open(demonstration / "cutouts"),
            Ensemble.read(ensemble_folder),
            tmp_path / output,
            ScoreOptions(n_draws=16),
            threads,
            ask=partial(Asked, rules) if rules else None,
        )

    return run


def list_of(scored, rules, output) -> bytes:
    select(scored.output, rules, output)
    return output.read_bytes()


def test_pixels_of_needed_sources_alone_are_read(run, demonstration, monkeypatch):
    read, of_store = [], CutoutStore.read
    monkeypatch.setattr(
        CutoutStore, "read", lambda self, ids: read.extend(ids.tolist()) or of_store(self, ids)
    )
    scored = run(BRIGHT)
    table = pq.read_table(scored.output)
    needed = pc.not_equal(table["status"], "not needed")
    assert sorted(read) == sorted(table.filter(needed)["source_id"].to_pylist())
    assert scored.statuses == {"ok": len(read), "not needed": 40 - len(read)}
    rmag = pq.read_table(demonstration / "catalog.parquet")["rmag"].to_numpy()
    assert len(read) == (rmag < np.sort(rmag)[15]).sum() == 15


def test_needed_rows_are_those_of_a_whole_catalog_and_the_others_hold_the_catalog_alone(run):
    some = pq.read_table(run(BRIGHT).output)
    whole = pq.read_table(run(output="whole.parquet").output)
    assert some.schema.equals(whole.schema)
    needed = pc.not_equal(some["status"], "not needed")
    assert some.filter(needed).equals(whole.filter(needed))
    rest = some.filter(pc.invert(needed))
    place = some.schema.names.index("latent_mean")
    own = some.schema.names[:place]
    assert rest.select(own).equals(whole.filter(pc.invert(needed)).select(own))
    added = [name for name in some.schema.names[place:] if name not in ("status", "copula_group")]
    for name in added:
        values = rest[name].combine_chunks()
        assert (
            (values.flatten() if pa.types.is_nested(values.type) else values)
            .is_null()
            .to_numpy(zero_copy_only=False)
            .all()
        ), name


def test_a_list_of_the_rules_is_the_same_bytes_as_from_a_whole_catalog(run, tmp_path):
    lists = [
        list_of(scored, BRIGHT, tmp_path / "list.parquet")
        for scored in (run(BRIGHT), run(output="whole.parquet"))
    ]
    assert lists[0] == lists[1]


@pytest.mark.parametrize("path", shipped_rules(), ids=lambda path: path.stem)
def test_shipped_rules_in_a_footprint_choose_the_same(run, tmp_path, path):
    footprint = "footprint: {include: {cone: {ra: 180, dec: 30, radius: 40 deg}}}\n"
    rules = Rules.parse(path.read_text() + footprint, path.name)
    scored = run(rules)
    if path.stem == "aberrant":
        assert scored.n_not_needed == 0
        assert scored.all_needed == (
            "aberrant asks for catalog_quantile(epistemic, 0.99) over all sources"
        )
    else:
        assert 0 < scored.n_not_needed < 40
        assert not scored.all_needed
    whole = run(output="whole.parquet")
    lists = [list_of(each, rules, tmp_path / "list.parquet") for each in (scored, whole)]
    assert lists[0] == lists[1]


def test_several_rule_files_stand_each_for_itself(run, tmp_path):
    faint = Rules.parse(
        "schema: targetsel/rules/v1\nname: faint\nclasses:\n  LINE:\n    priority: 1\n"
        "    where:\n      - rmag > catalog_quantile(rmag, 0.9)\n      - typicality >= 0\n"
    )
    both = run(BRIGHT, faint)
    whole = run(output="whole.parquet")
    assert both.statuses["ok"] == 15 + 4
    for rules in (BRIGHT, faint):
        lists = [list_of(each, rules, tmp_path / "list.parquet") for each in (both, whole)]
        assert lists[0] == lists[1]


def test_order_and_threads_do_not_change_a_byte(run, demonstration, tmp_path, monkeypatch):
    monkeypatch.setattr(targetsel.scoring.stream, "ROWS_PER_CHUNK", 3)
    catalog = pq.read_table(demonstration / "catalog.parquet")
    order = np.random.default_rng(0).permutation(catalog.num_rows)
    pq.write_table(catalog.take(order), tmp_path / "shuffled.parquet", row_group_size=7)
    first = run(BRIGHT).output.read_bytes()
    again = run(BRIGHT, catalog=tmp_path / "shuffled.parquet", threads=2, output="b.parquet")
    assert again.output.read_bytes() == first


@pytest.fixture
def of_new_sources(demonstration, tmp_path):
    """Rules that leave out half of the demonstration's sources, by a list of ids."""
    ids = pq.read_table(demonstration / "catalog.parquet")["source_id"].to_pylist()
    (tmp_path / "seen.csv").write_text("\n".join(["source_id", *map(str, sorted(ids)[::2])]))
    (tmp_path / "new.yaml").write_text(
        "schema: targetsel/rules/v1\nname: new\nexclude: seen.csv\nclasses:\n  A:\n"
        "    priority: 1\n    where: ew_halpha is missing or ew_halpha > -1000\n"
    )
    return Rules.read(tmp_path / "new.yaml")


def test_footer_names_the_rules_and_the_files_that_they_name(run, of_new_sources):
    told = read_footer(run(of_new_sources, BRIGHT).output)["rules"]
    assert told["files"] == [
        {"name": "new", "sha256": of_new_sources.sha256},
        {"name": "bright", "sha256": BRIGHT.sha256},
    ]
    assert [*told["named"]] == ["seen.csv"]
    assert read_footer(run(output="whole.parquet").output)["rules"] is None


def test_a_list_to_exclude_that_became_shorter_is_noticed(run, of_new_sources, tmp_path):
    scored = run(of_new_sources)
    assert scored.statuses == {"ok": 20, "not needed": 20}
    list_of(scored, of_new_sources, tmp_path / "list.parquet")
    longer = (tmp_path / "seen.csv").read_text().splitlines()
    (tmp_path / "seen.csv").write_text("\n".join(longer[:-3]))
    with pytest.raises(CatalogError, match="3 sources that A could choose, such as"):
        list_of(scored, of_new_sources, tmp_path / "list.parquet")


@pytest.fixture
def stopped(run, monkeypatch):
    """A run for `BRIGHT` that was stopped when its chunks were scored."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(targetsel.scoring.stream, "_join", stop)
        with pytest.raises(KeyboardInterrupt):
            run(BRIGHT)


@pytest.mark.usefixtures("stopped")
def test_a_run_of_other_rules_is_not_resumed(run):
    found = run()
    assert (found.n_resumed, found.changed) == (0, ("rules",))
    assert found.statuses == {"ok": 40}


@pytest.mark.usefixtures("stopped")
def test_a_stopped_run_of_the_same_rules_resumes(run):
    found = run(BRIGHT)
    assert (found.n_resumed, found.changed) == (1, ())
    assert found.output.read_bytes() == run(BRIGHT, output="again.parquet").output.read_bytes()


def test_rules_that_do_not_fit_the_catalog_are_refused_before_anything_is_scored(run, tmp_path):
    rules = Rules.parse(
        "schema: targetsel/rules/v1\nname: a\nclasses:\n  A: {priority: 1, where: imag < 20}\n"
    )
    with pytest.raises(RuleError, match="unknown column 'imag'"):
        run(rules)
    assert not [*tmp_path.glob("out.scored.parquet*")]


def test_rules_that_need_nobody_give_a_catalog_without_predictions(run, tmp_path):
    rules = Rules.parse(
        "schema: targetsel/rules/v1\nname: a\nclasses:\n"
        "  A: {priority: 1, where: [rmag < 0, ew_halpha > 5]}\n"
    )
    scored = run(rules)
    assert scored.statuses == {"not needed": 40}
    assert select(scored.output, rules, tmp_path / "list.parquet").n_targets == 0
