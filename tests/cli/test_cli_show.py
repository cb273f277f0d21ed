"""`targetsel show`: one source as a picture."""

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.imaging.packing import write_store
from targetsel.imaging.store import CutoutStore

WORDS = ("--cutouts", "cutouts", "--ensemble", "tiny")


@pytest.fixture
def scored(targetsel, sky):
    assert targetsel("score", "catalog.parquet", "--ensemble", "tiny").status == 0
    table = pq.read_table("catalog.scored.parquet", columns=["source_id", "status"]).to_pydict()
    return dict(zip(table["source_id"], table["status"], strict=True))


def one(scored):
    return str(next(each for each, status in scored.items() if status == "ok"))


def test_a_source_is_drawn_with_its_lines_and_classes(targetsel, scored, sky):
    words = ("show", "catalog.scored.parquet", "--id", one(scored), *WORDS, "--rules", "quiescent")
    for name in ("one.svg", "again.svg", "one.png", "one.pdf", "again.pdf"):
        assert targetsel(*words, "-o", name).out == f"source {one(scored)} drawn in {name}\n"
    drawn = (sky / "one.svg").read_text()
    for word in (
        "QUIESCENT",
        "EW(Hα+[NII])",
        "[OIII]",
        "″",
        f"Source {one(scored)}",
        "Predicted by tiny",
        "rest-frame wavelength in vacuum [Å]",
        "red: ",
        "✓",
    ):
        assert word in drawn, word
    assert (sky / "again.svg").read_text() == drawn
    assert "Angstrom" not in drawn
    assert (sky / "one.pdf").read_bytes() == (sky / "again.pdf").read_bytes()
    assert (sky / "one.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_refused(refused, scored, sky):
    words = ("show", "catalog.scored.parquet", *WORDS)
    known = ("--id", one(scored))
    assert "has no source '-1'" in refused(*words, "--id=-1", "-o", "a.png")
    assert refused(*words, *known, "-o", "a.jpg") == (
        "a.jpg: expected a name that ends in .png or .pdf or .svg."
    )
    other = ("show", "catalog.scored.parquet", "--cutouts", "cutouts", *known, "-o", "a.png")
    assert "scored by the ensemble 'tiny'" in refused(*other)
    (sky / "cutouts").rename(sky / "elsewhere")
    no_images = ("show", "catalog.scored.parquet", "--ensemble", "tiny", *known, "-o", "a.png")
    assert re.fullmatch(
        r"the ensemble 'tiny' takes .* pixels, but no cutout store, .* lies beside "
        r"catalog\.scored\.parquet\. Name the store that was scored with --cutouts\.",
        refused(*no_images),
    )


def test_a_source_without_predictions_is_drawn_with_the_reason(targetsel, scored, sky):
    table = pq.read_table("catalog.scored.parquet")
    place, without = table.schema.get_field_index("status"), one(scored)
    status = ["lost band: g" if str(each) == without else "ok" for each in scored]
    changed = table.set_column(place, table.schema.field(place), pa.array(status))
    pq.write_table(changed, "catalog.scored.parquet")
    words = ("show", "catalog.scored.parquet", "--id", without, *WORDS, "--rules", "quiescent")
    assert targetsel(*words, "-o", "none.svg").status == 0
    drawn = (sky / "none.svg").read_text()
    assert "There is no prediction" in drawn
    assert "EW(" not in drawn


def test_a_sheet_holds_every_source_of_a_scored_catalog(targetsel, refused, scored, sky):
    words = ("show", "--all", "catalog.scored.parquet", *WORDS)
    for name in ("sheet.pdf", "again.pdf"):
        assert targetsel(*words, "-o", name).out == f"{len(scored):,} sources drawn in {name}\n"
    content = (sky / "sheet.pdf").read_bytes()
    assert content == (sky / "again.pdf").read_bytes()
    assert content.count(b"/Type /Page ") == -(-len(scored) // 24)
    assert "a.png: expected a name that ends in .pdf." in refused(*words, "-o", "a.png")
    assert "give --id ID for one source, or --all" in refused(*words, "--id", "1", "-o", "a.pdf")


def test_options_that_a_picture_does_not_take_are_refused_and_not_ignored(refused, scored):
    sheet = ("show", "--all", "catalog.scored.parquet", *WORDS, "-o", "a.pdf")
    assert refused(*sheet, "--rules", "quiescent") == (
        "catalog.scored.parquet: a sheet of all sources takes no --rules. Leave it out."
    )
    one_source = ("show", "catalog.scored.parquet", *WORDS, "--id", one(scored), "-o", "a.pdf")
    assert "takes no --scored" in refused(*one_source, "--scored", "catalog.scored.parquet")


def test_a_target_list_is_told_as_that_and_so_is_one_without_sources(
    targetsel, refused, scored, sky
):
    name = "list.targets.parquet"
    rules = "schema: targetsel/rules/v1\nname: a\nclasses: {A: {priority: 1, where: rmag < 99}}\n"
    (sky / "all.yaml").write_text(rules)
    words = ("select", "catalog.scored.parquet", "--rules", "all.yaml", "-o", name)
    assert targetsel(*words).status == 0
    said = refused("show", name, *WORDS, "--id", one(scored), "-o", "a.png")
    assert said.startswith(f"{name}: is a target list; one source is drawn from a scored catalog.")
    pq.write_table(pq.read_table(name).slice(0, 0), name)
    assert refused("show", "--all", name, *WORDS, "-o", "a.pdf") == (
        f"{name}: has no sources, so there is nothing to draw. Name another."
    )


def written(picture):
    """The texts of an SVG."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture.read_text())


def test_a_magnitude_is_listed_once_and_under_its_survey(targetsel, scored, sky):
    targetsel("show", "catalog.scored.parquet", "--id", one(scored), *WORDS, "-o", "one.svg")
    texts = written(sky / "one.svg")
    (line,) = [each for each in texts if each.startswith("SDSS [AB mag]:")]
    assert len(re.findall(r"\br \d", line)) == 1
    assert not [each for each in texts if "_r" in each or "rmag" in each]


def test_north_and_east_are_drawn_where_they_are_known(targetsel, scored, sky):
    words = ("show", "catalog.scored.parquet", "--id", one(scored), *WORDS, "-o")
    targetsel(*words, "known.svg")
    texts = written(sky / "known.svg")
    assert {"N", "E"} <= {*texts}
    assert not [each for each in texts if "orientation not known" in each]
    store = CutoutStore.open(sky / "cutouts")
    cutouts = dataclasses.replace(store.read(store.source_ids()), orientation=None)
    write_store(sky / "cutouts", [(cutouts, *cutouts.position)], store.sky_sigma)
    targetsel(*words, "unknown.svg")
    texts = written(sky / "unknown.svg")
    assert not {"N", "E"} & {*texts}
    assert [each for each in texts if "orientation not known" in each]


def test_dollars_in_ids_and_rules_begin_no_formula(targetsel, sky):
    store, catalog = CutoutStore.open(sky / "cutouts"), pq.read_table("catalog.parquet")
    cutouts = store.read(store.source_ids())
    named = dataclasses.replace(cutouts, source_id=np.array([f"a${k}$" for k in cutouts.source_id]))
    write_store(sky / "cutouts", [(named, *cutouts.position)], store.sky_sigma)
    place = catalog.schema.get_field_index("source_id")
    ids = [f"a${k}$" for k in catalog["source_id"].to_pylist()]
    pq.write_table(catalog.set_column(place, "source_id", [ids]), "catalog.parquet")
    assert targetsel("score", "catalog.parquet", "--ensemble", "tiny").status == 0
    where = "not (source_id in ['a$x$', 'b'])"
    rules = (
        f'schema: targetsel/rules/v1\nname: a\nclasses: {{A: {{priority: 1, where: "{where}"}}}}'
    )
    (sky / "dollars.yaml").write_text(rules)
    words = ("show", "catalog.scored.parquet", "--id", ids[0], *WORDS, "--rules", "dollars.yaml")
    assert targetsel(*words, "-o", "one.svg").status == 0
    texts = written(sky / "one.svg")
    assert f"Source {ids[0]}" in texts
    assert any("a$x$" in each for each in texts)


def test_slim_rows_are_drawn_as_full_ones(targetsel, scored, sky):
    slim = ("score", "catalog.parquet", "--ensemble", "tiny", "--slim", "-o", "slim.parquet")
    assert targetsel(*slim).status == 0
    for name in ("slim", "catalog.scored"):
        words = (f"{name}.parquet", *WORDS, "-o", f"{name}.svg", "--id", one(scored))
        assert targetsel("show", *words).status == 0
        words = ("--all", f"{name}.parquet", *WORDS, "-o", f"{name}.pdf")
        assert targetsel("show", *words).out == f"{len(scored):,} sources drawn in {name}.pdf\n"
    full, ours = ((sky / f"{name}.svg").read_text() for name in ("catalog.scored", "slim"))
    for word in ("EW(Hα+[NII])", "rest-frame wavelength in vacuum [Å]", "central 68 %"):
        assert word in ours, word
    assert ours.count("<path") == full.count("<path")
