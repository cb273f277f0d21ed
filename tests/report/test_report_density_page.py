"""The page on how even a list is."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import OutputError
from targetsel.report.density_page import write_density_page
from targetsel.selection.reports.evenness import Evenness, evenness
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import centres_of
from targetsel.tables.parquet import write_table

ORDER = 4
INSIDE = np.arange(512)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Evenness:
    """A list over a sixth of the sky, whose density follows a map named $stars<."""
    place = tmp_path_factory.mktemp("page")
    stars = np.arange(12 * 4**ORDER) % 97.0
    stars = stars + np.cos(np.radians(centres_of(np.arange(12 * 4**ORDER), ORDER)[0]))
    cells = np.random.default_rng(0).integers(0, len(INSIDE) * 4**8, 30_000)
    kept = np.random.default_rng(1).random(len(cells)) < 1 - 0.005 * stars[cells >> 16]
    ra, dec = centres_of(cells[kept], ORDER + 8)
    healpix = cells[kept] << 2 * (29 - ORDER - 8)
    rows = {"_healpix_29": healpix, "ra": ra, "dec": dec, "target_bits": np.ones(len(ra), int)}
    targets = TargetList(pa.table(rows), {"bits": {"A<B": 0}})
    path = place / "stars.parquet"
    table = pa.table({"pixel": np.arange(len(stars)), "$stars<": stars})
    write_table(table, path, {"nside": 1 << ORDER})
    ra, dec = centres_of(np.arange(len(INSIDE) * 4**3), ORDER + 3)
    write_table(pa.table({"ra": ra, "dec": dec}), place / "points.parquet")
    points = place / "points.parquet"
    return evenness(targets, [str(path)], ORDER, randoms=points, method="linear")


def test_the_page_has_a_row_for_each_class_and_map_and_pictures_of_them(found, tmp_path):
    write_density_page(found, tmp_path / "even.html", "Density <of> a list")
    page = (tmp_path / "even.html").read_text()
    assert page.count("<tr>") == 1 + 2
    assert page.count("<img ") == 1 + 2
    assert "A&lt;B" in page
    assert "$stars&lt;" in page
    assert "Density &lt;of&gt; a list" in page
    assert "removed with it" in page


def test_the_same_evenness_has_the_same_bytes(found, tmp_path):
    for name in ("a.html", "b.html"):
        write_density_page(found, tmp_path / name, "x")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_page_is_html(found):
    with pytest.raises(OutputError, match=r"even.pdf: expected a name that ends in .html"):
        write_density_page(found, Path("even.pdf"), "x")
