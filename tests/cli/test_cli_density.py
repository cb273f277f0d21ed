"""`targetsel density --against`, from a catalog to a list with weights and a page."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

import targetsel as ts
from targetsel.sky.positions import centres_of

RULES = """\
schema: targetsel/rules/v1
name: wide
footprint:
  include:
    - healpix: {nside: 1, pixels: 0}
classes:
  NEAR: {priority: 1, where: rmag < 18}
"""
LINEAR = ("--against", "stars.csv:stars:nested16", "--nside", "16", "--method", "linear")


@pytest.fixture
def wide(tmp_path, monkeypatch, targetsel):
    """A list over a twelfth of the sky, whose density falls where stars are many."""
    monkeypatch.chdir(tmp_path)
    stars = np.random.default_rng(0).permutation(12 * 16**2) % 64 + 1.0
    Table({"pixel": np.arange(len(stars)), "stars": stars}).write("stars.csv")
    rng = np.random.default_rng(1)
    place = rng.integers(0, 4**14, 20_000)
    kept = place[rng.random(len(place)) < 1 - stars[place >> 20] / 200]
    ra, dec = centres_of(kept, 14)
    rows = {
        "source_id": np.arange(len(ra)),
        "ra": ra,
        "dec": dec,
        "rmag": rng.uniform(16, 19, len(ra)),
    }
    Table(rows).write("wide.parquet")
    (tmp_path / "wide.yaml").write_text(RULES)
    assert targetsel("select", "wide.parquet", "--rules", "wide.yaml").status == 0
    return "wide.targets.parquet"


def test_density_against_a_map_tells_trends_and_writes_weights_and_a_page(
    targetsel, wide, tmp_path
):
    said = targetsel("density", wide, *LINEAR, "-o", "even.parquet", "--page", "even.html")
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[4].split()[:4] == ["class", "map", "5", "to"]
    assert [line.split()[:2] for line in lines[5:7]] == [["all", "targets"], ["NEAR", "stars"]]
    assert lines[-2].startswith("clustering of galaxies that goes along with a map")
    assert lines[-1] == "written to even.parquet and even.html"
    assert "<h1>Density of the list by wide</h1>" in (tmp_path / "even.html").read_text()
    weights = ts.read("even.parquet").table["weight_density_NEAR"].to_numpy()
    assert weights.mean() == pytest.approx(1.0)


def test_command_and_function_write_the_same_weights(targetsel, wide, tmp_path):
    targetsel("density", wide, *LINEAR, "-o", "a.parquet")
    ts.density(wide, "b.parquet", against=LINEAR[1], nside=16, method="linear")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--page", "even.html"),
            "density: page concerns maps of the sky. Give some with --against",
        ),
        ((*LINEAR, "--page", "even.pdf"), "even.pdf: expected a name that ends in .html."),
        ((*LINEAR, "-o", "stars.csv"), "stars.csv: is read by the same command. Choose another"),
        (
            ("--against", "stars.csv"),
            "stars.csv: does not say whether its pixels are in RING or NESTED order. Say it",
        ),
        (("--against", "seeing"), "seeing: no such file. Check its name; or, if it is a column of"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_before_any_work(targetsel, wide, words, message):
    said = targetsel("density", wide, *words)
    assert (said.status, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith(message)


def test_a_list_that_lost_its_footer_is_refused_in_words(targetsel, wide):
    pq.write_table(pq.read_table(wide).replace_schema_metadata(None), "rewritten.parquet")
    for more in ((), LINEAR, ("--rules", "wide.yaml")):
        said = targetsel("density", "rewritten.parquet", *more)
        assert said.status != 0
        assert said.err.startswith("rewritten.parquet: rewritten by a program that loses its foot")


def test_a_list_that_repeats_a_target_is_refused(targetsel, wide):
    listed = pq.read_table(wide)
    pq.write_table(pa.concat_tables([listed, listed.slice(0, 3)]), "twice.parquet")
    for more in ((), LINEAR):
        said = targetsel("density", "twice.parquet", *more)
        assert said.status != 0
        assert said.err.startswith("twice.parquet: 3 of its targets are there more than once")
