"""The library and the commands are the same walk."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
import typer.testing

import targetsel as ts
from targetsel.cli import app
from targetsel.rules.rules import shipped_rules
from targetsel.scored.columns import CATALOG, scored_columns
from targetsel.sky.catalog import Catalog
from targetsel.sky.footprint import Footprint

# Rules of many kinds, looser than the shipped ones because few sources are here.
LOOSE = """\
schema: targetsel/rules/v1
name: loose
classes:
  LIKELY:
    bit: 1
    priority: 2
    where: P(ew_halpha > 10 Angstrom and ew_oiii > 1 Angstrom) > 0.2
    rank: P(ew_halpha > 10 Angstrom)
    limit: {total: 10}
  OLD: {bit: 0, priority: 1, where: d4000 > 1.4}
  EVEN: {bit: 5, priority: 1, where: [bpt_sf > bpt_agn, support], sample: 0.5}
"""


@pytest.fixture(scope="module")
def folder(demonstration, tmp_path_factory):
    """The demonstration's first sources, scored by the command; one has lost a band."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "cutouts").symlink_to(demonstration / "cutouts")
    (folder / "catalog.parquet").symlink_to(demonstration / "catalog.parquet")
    command("score", folder / "catalog.parquet", "--threads", 1)
    return folder


@pytest.fixture(scope="module")
def walked(folder):
    """The same sources scored by the library, in the catalog's order."""
    images = ts.CutoutStore.open(folder / "cutouts")
    return ts.score_rows(catalog(folder), images, ts.Ensemble.read())


def catalog(folder):
    return Catalog.read(folder / "catalog.parquet")


def command(*words):
    found = typer.testing.CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, found.output


def all_columns():
    """One rule file that asks for every column that scoring writes, and is true of most sources."""
    lines = []
    for column in [*CATALOG, *scored_columns(6, 5)]:
        kind = str(column.type)
        if kind.startswith("fixed_size_list"):
            continue
        if kind == "bool":
            lines.append(f"{column.name} or not {column.name}")
        elif kind == "string":
            lines.append(f"{column.name} is missing or not ({column.name} is missing)")
        else:
            lines.append(f"not ({column.name} < -1e9{' ' + column.unit if column.unit else ''})")
    where = "\n".join(f'      - "{line}"' for line in lines)
    return (
        "schema: targetsel/rules/v1\nname: all\nclasses:\n  ALL:\n    bit: 3\n    priority: 1\n"
        f"    where:\n{where}\n    rank: typicality\n"
    )


def same(written, walked):
    """Whether two tables have the same columns and the same bytes in the same rows."""
    assert written.column_names == walked.column_names
    for name in written.column_names:
        ours, theirs = written.schema.field(name), walked.schema.field(name)
        assert (ours.metadata or {}) == (theirs.metadata or {}), name
        column = written[name].cast(theirs.type)  # Parquet calls the items of lists elements
        assert column.combine_chunks().equals(walked[name].combine_chunks()), name


def test_scored_rows_of_library_and_command_are_equal_in_every_column(folder, walked):
    written = pq.read_table(folder / "catalog.scored.parquet")
    place = {source: row for row, source in enumerate(walked["source_id"].to_pylist())}
    same(written, walked.take([place[source] for source in written["source_id"].to_pylist()]))
    declared = [column.name for column in scored_columns(6, 5, redshift=True)]
    assert written.column_names[-len(declared) :] == declared


@pytest.mark.parametrize("name", [*(path.stem for path in shipped_rules()), "loose", "all"])
def test_every_rule_file_chooses_the_same_targets_in_library_and_command(
    folder, walked, tmp_path, name
):
    text = {"loose": LOOSE, "all": all_columns()}.get(name)
    path = tmp_path / f"{name}.yaml"
    if text is None:
        path = next(each for each in shipped_rules() if each.stem == name)
    else:
        path.write_text(text)
    output = tmp_path / "targets.parquet"
    command("select", "--rules", path, folder / "catalog.scored.parquet", "-o", output)
    rules = ts.Rules.read(path)
    targets = ts.rank(ts.apply_rules(rules, walked), rules).table
    same(pq.read_table(output), targets)
    if text:
        assert len(targets) > 10


def test_choosing_targets_at_once_is_the_walk_step_by_step(folder, walked, tmp_path):
    (tmp_path / "loose.yaml").write_text(LOOSE)
    rules = ts.Rules.read(tmp_path / "loose.yaml")
    images = ts.CutoutStore.open(folder / "cutouts")
    chosen = ts.choose_targets(catalog(folder), images, ts.Ensemble.read(), rules)
    same(chosen.table, ts.rank(ts.apply_rules(rules, walked), rules).table)


def test_a_footprint_without_sources_gives_a_list_without_targets(folder):
    images = ts.CutoutStore.open(folder / "cutouts")
    nowhere = Footprint.cone(0.0, -89.0, radius_deg=0.1)
    rules = ts.Rules.read("emission")
    chosen = ts.choose_targets(catalog(folder), images, ts.Ensemble.read(), rules, nowhere)
    assert len(chosen.table) == 0


def test_targets_within_a_cone_are_those_of_its_sources(folder):
    whole = catalog(folder)
    cone = Footprint.cone(whole.ra[0], whole.dec[0], radius_deg=8.0)
    images = ts.CutoutStore.open(folder / "cutouts")
    rules = ts.Rules.parse(LOOSE)
    targets = ts.choose_targets(whole, images, ts.Ensemble.read(), rules, cone)
    inside = cone.select(whole)
    assert whole.source_id[0] in inside.source_id
    alone = ts.choose_targets(inside, images, ts.Ensemble.read(), rules)
    assert targets.table.equals(alone.table)
