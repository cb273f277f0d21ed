"""`targetsel show`: one source as a picture."""

import pyarrow.parquet as pq
import pytest

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
    for name in ("one.svg", "again.svg", "one.png"):
        assert targetsel(*words, "-o", name).out == f"source {one(scored)} drawn in {name}\n"
    drawn = (sky / "one.svg").read_text()
    for word in (
        "QUIESCENT",
        "ew_halpha",
        "[OIII]",
        "arcsec",
        f"Source {one(scored)}, predicted by tiny",
    ):
        assert word in drawn, word
    assert (sky / "again.svg").read_text() == drawn
    assert (sky / "one.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_refused(refused, scored):
    words = ("show", "catalog.scored.parquet", *WORDS)
    known = ("--id", one(scored))
    assert "has no source '-1'" in refused(*words, "--id=-1", "-o", "a.png")
    assert refused(*words, *known, "-o", "a.jpg") == (
        "a.jpg: expected a name that ends in .png or .svg."
    )
    other = ("show", "catalog.scored.parquet", "--cutouts", "cutouts", *known, "-o", "a.png")
    assert "scored by the ensemble 'tiny'" in refused(*other)
