"""Where on the sky: shapes, files, and what is inside of them."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st
from mocpy import MOC

from targetsel.documents.document import read_document
from targetsel.documents.models import validate
from targetsel.errors import RuleError
from targetsel.sky.catalog import Catalog
from targetsel.sky.footprint import Footprint
from targetsel.sky.positions import DEEPEST, Region
from targetsel.tables.parquet import write_table

SKY = 12 * 4**DEEPEST
SQUARE_DEGREES = 129600 / np.pi


def region(text: str, file: str = "rules.yaml") -> Region:
    return validate(read_document(text, file), Footprint).region()


def inside(region: Region, ra, dec) -> np.ndarray:
    ra, dec = np.atleast_1d(ra).astype(float), np.atleast_1d(dec).astype(float)
    table = pa.table({"id": np.arange(len(ra)), "ra": ra, "dec": dec})
    catalog = Catalog(table, {"source_id": "id", "ra": "ra", "dec": "dec"})
    return region.found(catalog.healpix)


def area(region: Region) -> float:
    return float((region.ranges[:, 1] - region.ranges[:, 0]).sum() / SKY * SQUARE_DEGREES)


def test_cone_holds_what_is_nearer_than_its_radius():
    cone = region("include: {cone: {ra: 359.9, dec: -30, radius: 30 arcmin}}")
    rng = np.random.default_rng(1)
    ra, dec = (359.9 + rng.uniform(-1, 1, 5000)) % 360, -30 + rng.uniform(-1, 1, 5000)
    distance = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(359.9, -30, unit="deg")).deg
    clear = np.abs(distance - 0.5) > 0.5 / 250  # the edge is a pixel wide
    assert (inside(cone, ra, dec) == (distance < 0.5))[clear].all()
    assert area(cone) == pytest.approx(np.pi / 4, rel=0.01)


def test_polygon_on_the_equator_has_the_area_of_its_square():
    assert area(region("include: {polygon: [[10, -1], [12, -1], [12, 1], [10, 1]]}")) == (
        pytest.approx(4, rel=0.01)
    )


def test_polygon_is_the_same_either_way_round_and_across_the_meridian():
    one = region("include: {polygon: [[359, 50], [1, 50], [1, 52], [359, 52]]}")
    other = region("include: {polygon: [[359, 52], [1, 52], [1, 50], [359, 50]]}")
    assert one == other
    assert inside(one, [0, 359.5, 180], [51, 51, 51]).tolist() == [True, True, False]


def test_healpix_pixel_of_nside_one_is_a_twelfth_of_the_sky():
    third = region("include: {healpix: {nside: 1, pixels: [0, 5, 6, 11]}}")
    assert third.ranges.tolist() == [
        [0, SKY // 12],
        [5 * SKY // 12, 7 * SKY // 12],
        [11 * SKY // 12, SKY],
    ]
    assert third.covered(np.arange(12), 0).tolist() == [1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1]
    assert third.covered(np.array([0, 2, 23]), 1).tolist() == [1, 1, 1]


def test_exclude_is_taken_from_include_and_from_the_whole_sky():
    first = "{healpix: {nside: 1, pixels: 0}}"
    child = "{healpix: {nside: 2, pixels: [1]}}"
    assert area(region(f"include: {first}\nexclude: {child}")) == pytest.approx(SQUARE_DEGREES / 16)
    assert area(region(f"exclude: [{first}, {child}]")) == pytest.approx(SQUARE_DEGREES * 11 / 12)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=6), st.data())
def test_regions_join_and_subtract_as_sets_of_pixels(pieces, data):
    other = data.draw(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=6))
    one, two = (
        Region.of(np.array([[a, a + n] for a, n in each], dtype=np.int64))
        for each in (pieces, other)
    )
    sets = [{p for a, n in each for p in range(a, a + n)} for each in (pieces, other)]
    pixels = np.arange(50)
    assert set(pixels[one.found(pixels)]) == sets[0]
    assert set(pixels[Region.union([one, two]).found(pixels)]) == sets[0] | sets[1]
    assert set(pixels[one.without(two).found(pixels)]) == sets[0] - sets[1]
    first = data.draw(st.integers(0, 45))
    last = data.draw(st.integers(first, 49))
    assert one.overlaps(first, last) == bool(sets[0] & set(range(first, last + 1)))


def test_moc_files_of_every_kind_and_pixel_tables_say_the_same(tmp_path):
    moc = MOC.from_string("2/3-4 6/9990")
    moc.save(str(tmp_path / "a.fits"), "fits")
    moc.save(str(tmp_path / "a.json"), "json")
    moc.save(str(tmp_path / "a.txt"), "ascii")
    expected = Region.of(moc.to_depth29_ranges)
    rules = str(tmp_path / "rules.yaml")
    for name in ("a.fits", "a.json", "a.txt"):
        assert region(f"include: {name}", rules) == expected
    write_table(pa.table({"pixel": [3, 4]}), tmp_path / "p.parquet")
    listed = region("include: {healpix: {nside: 4, pixels: p.parquet}}", rules)
    assert listed == Region.of(MOC.from_string("2/3-4").to_depth29_ranges)


def test_region_file_is_its_circles_and_polygons(tmp_path):
    (tmp_path / "stars.reg").write_text(
        '# Region file format: DS9\nicrs\ncircle(150.0,2.0,60.000")\npolygon(10,0,11,0,11,1,10,1)\n'
    )
    stars = region("include: stars.reg", str(tmp_path / "rules.yaml"))
    assert inside(stars, [150.0, 150.02, 10.5], [2.0, 2.0, 0.5]).tolist() == [True, False, True]
    assert area(stars) == pytest.approx(1 + np.pi / 3600, rel=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include: none.fits", "1:10: error: no file 'none.fits' in the folder"),
        ("include: https://a.b/x.fits", "is an address; download the file and name it here"),
        ("include: bad.fits", "bad.fits: not a FITS file"),
        ("include: bad.reg", 'bad.reg: "nothing" frame or shape'),
        ("include: bad.png", "its name ends in '.png'"),
        ("inclode: x", "unknown key 'inclode' in footprint. Did you mean 'include'?"),
        ("include: {con: {ra: 1}}", "unknown key 'con' in include. Did you mean 'cone'?"),
        ("include: {cone: {ra: 1, dec: 2}}", "missing key 'radius' in include.cone"),
        (
            "include: {cone: {ra: 1, dec: 2, radius: 3}}",
            "radius is '3'; expected an angle with its unit",
        ),
        ("include: {cone: {ra: 1, dec: 99, radius: 3 deg}}", "dec is '99'; expected -90 to 90 deg"),
        (
            "include: {cone: {ra: 1, dec: 9, radius: 3 mag}}",
            "radius is '3 mag'; expected an angle with its unit",
        ),
        (
            "include: {polygon: [[1, 2], [3, 4]]}",
            "polygon is a list; expected a list of corners, [[ra, dec]",
        ),
        ("include: {polygon: [[1, 2], [3, 4], [1, 2]]}", "has three different corners at least"),
        (
            "include: {healpix: {nside: 1, pixels: bad.png}}",
            "bad.png: ends in '.png'; expected .parquet",
        ),
        ("include: {healpix: {nside: 6, pixels: 1}}", "nside must be a power of two"),
        (
            "include: {healpix: {nside: 1, pixels: 12}}",
            "expected pixels from 0 to 11, which nside 1 has",
        ),
        (
            "include: {healpix: {nside: 1, pixels: [a]}}",
            "pixels must be whole numbers, or the name",
        ),
    ],
)
def test_faulty_shape_is_named_with_its_place(tmp_path, text, message):
    for name in ("bad.fits", "bad.reg", "bad.png"):
        (tmp_path / name).write_text("nothing of the kind")
    with pytest.raises(RuleError) as caught:
        region(text, str(tmp_path / "rules.yaml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
