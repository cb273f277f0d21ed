import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mocpy import MOC

from targetsel.sky.catalog import Catalog
from targetsel.sky.footprint import Footprint
from targetsel.surveys.archives import Cone
from targetsel.surveys.catalogs import cone_around, tiles_of

ROLES = {"source_id": "source_id", "ra": "ra", "dec": "dec"}
PLACES = [(0.0, 0.0, 0.3), (359.9999, 40.0, 1.0), (10.0, 90.0, 0.7), (200.0, -89.95, 0.1),
          (45.0, 41.8, 0.001), (120.0, 30.0, 4.0)]  # fmt: skip


def catalog(sources):
    columns = {"source_id": sources.source_id, "ra": sources.ra, "dec": sources.dec}
    return Catalog(pa.table(columns), ROLES)


def near(sources, cone):
    return Footprint.cone(cone.ra, cone.dec, cone.radius).select(catalog(sources))


@pytest.mark.parametrize("place", PLACES)
def test_each_source_of_a_cone_is_found_in_exactly_one_tile(place, around):
    ra, dec, radius = place
    sources = around(ra, dec, 1.3 * radius, 500)
    footprint = Footprint.cone(ra, dec, radius)
    region = footprint.region()
    found = []
    for tile in tiles_of(region, 0.5):
        cone = cone_around(region, tile)
        assert cone.radius <= 0.5
        seen = near(sources, cone)
        found += footprint.select(seen.take(tile.holds(seen.healpix))).source_id.tolist()
    inside = footprint.select(catalog(sources)).source_id.tolist()
    assert sorted(found) == sorted(inside)
    assert 0 < len(inside) < 500


def test_tiles_are_in_the_order_of_the_sky():
    region = Footprint.cone(120.0, 30.0, 4.0).region()
    pixels = [tile.pixel << (2 * (29 - tile.order)) for tile in tiles_of(region, 0.5)]
    assert pixels == sorted(pixels)
    assert len(pixels) > 50


def test_small_cone_needs_one_small_question():
    region = Footprint.cone(45.0, 41.8, 0.01).region()
    (tile,) = tiles_of(region, 0.5)
    assert cone_around(region, tile).radius < 0.013


@pytest.mark.parametrize("kind", ["fits", "json", "ascii"])
def test_tiles_of_a_moc_file_are_those_of_the_moc(tmp_path, kind):
    moc = MOC.from_string("5/7 6/40-42")
    path = tmp_path / f"sky.{'txt' if kind == 'ascii' else kind}"
    moc.save(path, kind)
    region = Footprint.read(path).region()
    assert [tile.name for tile in tiles_of(region, 2.0)] == ["4-1", "4-2"]


@settings(max_examples=60)
@given(st.floats(0, 360), st.floats(-90, 90), st.floats(1e-3, 20), st.integers(0, 2**32 - 1))
def test_box_in_sql_holds_the_whole_cone(ra, dec, radius, seed):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, 50)
    r, d = np.radians(radius), np.radians(dec)
    lat = np.arcsin(np.clip(np.sin(d) * np.cos(r) + np.cos(d) * np.sin(r) * np.cos(angle), -1, 1))
    lon = np.arctan2(np.sin(angle) * np.sin(r) * np.cos(d), np.cos(r) - np.sin(d) * np.sin(lat))
    edge_ra, edge_dec = (ra + np.degrees(lon)) % 360, np.degrees(lat)
    question = Cone(ra, dec, radius * (1 + 1e-6) + 1e-7).sql("x", "y")
    spelt = question.replace("BETWEEN", "in_").replace(" OR ", " or ")
    for x, y in zip(edge_ra, edge_dec, strict=True):
        assert holds(spelt, x, y), (question, x, y)


def holds(question, x, y):
    """A box, by hand."""
    import re

    number = r"(-?[\d.]+)"
    low, high = map(float, re.search(rf"y in_ {number} AND {number}", question).groups())
    inside = low <= y <= high
    if found := re.search(rf"x in_ {number} AND {number}", question):
        return inside and float(found[1]) <= x <= float(found[2])
    if found := re.search(rf"x >= {number} or x <= {number}", question):
        return inside and (x >= float(found[1]) or x <= float(found[2]))
    return inside
