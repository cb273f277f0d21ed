"""Regions of the sky in files of DS9 and Aladin, and in rule files, against their definitions."""

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from targetsel.documents.document import read_document
from targetsel.documents.models import validate
from targetsel.errors import CatalogError, RuleError
from targetsel.sky.footprint import Footprint
from targetsel.sky.positions import SQUARE_DEGREES, healpix_of
from targetsel.sky.shapes import cones, polygon, read_region


@pytest.fixture
def region_in(tmp_path):
    """The region that a file of this ending and text holds."""

    def read(text, ending="reg"):
        path = tmp_path / f"a.{ending}"
        path.write_text(text)
        return read_region(path)

    return read


def footprint(text, folder):
    return validate(read_document(text, str(folder / "rules.yaml")), Footprint)


def area(region):
    return (region.ranges[:, 1] - region.ranges[:, 0]).sum() / (12 * 4**29) * SQUARE_DEGREES


def around(ra=150.0, dec=2.0, n=4000, reach=1.5, seed=1):
    """Positions around one, and their offsets [deg] to the west and north, as DS9 has x and y."""
    rng = np.random.default_rng(seed)
    west, north = rng.uniform(-reach, reach, (2, n))
    place = SkyCoord(ra, dec, unit="deg").spherical_offsets_by(-west * u.deg, north * u.deg)
    return place, west, north


def found(region, place):
    return region.found(healpix_of(place.icrs.ra.deg, place.icrs.dec.deg))


def turned(x, y, angle):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return c * x + s * y, c * y - s * x


@pytest.mark.parametrize("angle", [0, 30, 89, 90, 135, 180, 270, 359.5, 400, -30])
@pytest.mark.parametrize(("width", "height"), [(1.6, 0.4), (0.4, 1.6)])
def test_box_and_ellipse_turn_from_west_to_north_by_any_angle(region_in, angle, width, height):
    place, x, y = around()
    along, across = turned(x, y, angle)
    box = region_in(f"icrs\nbox(150,2,{width},{height},{angle})")
    margin = np.maximum(np.abs(along) - width / 2, np.abs(across) - height / 2)
    clear = np.abs(margin) > 0.004
    assert (found(box, place) == (margin < 0))[clear].all()
    ellipse = region_in(f"icrs\nellipse(150,2,{width / 2},{height / 2},{angle})")
    radius = np.hypot(along / (width / 2), across / (height / 2))
    clear = np.abs(radius - 1) > 0.02
    assert (found(ellipse, place) == (radius < 1))[clear].all()


def test_box_of_a_rule_file_is_as_wide_in_ra(tmp_path):
    box = "include: {box: {ra: 150, dec: 2, width: 2 deg, height: 0.5 deg}}"
    region = footprint(box, tmp_path).region()
    assert area(region) == pytest.approx(1.0, rel=0.02)
    place = SkyCoord([150.9, 149.1, 150.0], [2.0, 2.0, 2.4], unit="deg")
    assert found(region, place).tolist() == [True, True, False]


@pytest.mark.parametrize("frame", ["galactic", "fk5", "fk4", "ecliptic"])
def test_regions_of_other_frames_are_where_these_have_them(region_in, frame):
    own = "geocentrictrueecliptic" if frame == "ecliptic" else frame
    centre = SkyCoord(150, 40, unit="deg", frame=own)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-1.2, 1.2, (2, 3000))
    place = centre.spherical_offsets_by(-x * u.deg, y * u.deg)
    along, across = turned(x, y, 30)
    region = region_in(f"{frame}\nbox(150,40,1.6,0.4,30)")
    margin = np.maximum(np.abs(along) - 0.8, np.abs(across) - 0.2)
    clear = np.abs(margin) > 0.006
    assert (found(region, place) == (margin < 0))[clear].all()


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("circle(150,2,1)\n-circle(150,2,0.5)", np.pi * 0.75),
        ("-circle(150,2,0.5)\ncircle(150,2,1)", np.pi * 0.75),
        ("-circle(150,2,0.5)", SQUARE_DEGREES - np.pi / 4),
        ("annulus(150,2,0.5,1)", np.pi * 0.75),
        ("annulus(150,2,0.5,0.7,1)", np.pi * 0.75),
        ("ellipse(150,2,0.5,0.25,1,0.5,120)", np.pi * (0.5 - 0.125)),
        ("box(150,2,1,0.5,2,1,120)", 1.5),
        ('circle(150,2,30")', np.pi / 14400),
        ("circle(150,2,1) # text={a field}", np.pi),
        ("# text(150,2) text={a label}\ncircle(150,2,1)", np.pi),
        ("circle(10:00:00,+2:00:00,1)", np.pi),
        ("circle(10:00:00,-0:30:00,1)", np.pi),
        ("circle(10h00m00s,+2d00m00s,1d)", np.pi),
        ("circle(150,2,1);circle(160,2,1)", 2 * np.pi),
        ("circle(150,2,1)\ngalactic\ncircle(150,2,1)", 2 * np.pi),
        ("circle(150,2,1) # text={a & b; c || d}", np.pi),
        ("polygon(359,-1,1,-1,1,1,359,1)", 4.0),
        ("polygon(0,80,90,80,180,80,270,80)", 201.2),
    ],
)
def test_areas_are_those_that_ds9_shows(region_in, text, degrees):
    assert area(region_in(f"icrs\n{text}")) == pytest.approx(degrees, rel=0.01)


def test_global_exclusion_leaves_everything_else(region_in):
    region = region_in("global color=green include=0 fixed=0\nicrs\ncircle(150,2,1)\n")
    assert area(region) == pytest.approx(SQUARE_DEGREES - np.pi, abs=0.05)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("icrs\ncircle(150,2,1) || circle(151,2,1)", "line 2: joins regions by '||'"),
        ("icrs\ncircle(150,2,1)&box(150,2,1,1,0)", "line 2: joins regions by '&'"),
        ("icrs\ncircle(150,2,2)\ncircle(150,2,1", "line 3: 'circle(150,2,1' is cut short"),
        ("icrs\ncircle(150,2,1,7)", "a circle has 4 numbers; expected ra, dec and radius"),
        ("icrs\ncircle(150,2,1)\nfk5 circle(160,2,1)", "'fk5' is followed by 'circle'; give a"),
        ("fk5(J1975)\ncircle(150,2,1)", "'fk5' is followed by 'J1975'"),
        ("icrs\ncircle(nan,2,1)", "holds a Circle whose position is no number"),
        (
            "physical\ncircle(150,2,1)",
            "line 1: is in the frame 'physical', of pixels; save it in fk5",
        ),
        ("circle(150,2,1)", "line 1: 'circle' has no frame; put a line before it with the frame,"),
        ("# a\n-box(150,2,1,1,0)\nfk5\ncircle(1,2,3)", "line 2: 'box' has no frame; put a line"),
        ("icrs\npanda(150,2,0,360,4,0,1,1)", "expected circles, boxes, ellipses, annuli or pol"),
        ("icrs\nellipse(150,2,170,100,0)", "expected 0 to 180 deg"),
        ("global include=0\nicrs\n+circle(150,2,1)\ncircle(151,2,1)", "and includes some"),
        ("image\ncircle(15,20,3)", "line 1: is in the frame 'image', of pixels"),
        ("icrs\npoint(150,2)", "holds a Point; expected circles"),
        ("icrs\nline(150,2,151,3)", "holds a Line; expected circles"),
        ("icrs\ncircle(150,2,0)", "must be strictly positive"),
        ("icrs\nbox(150,2,200,1,0)", "expected 0 to 180 deg"),
        ("icrs\npolygon(150,2,151,3,151,2,150,3)", "cross; list corners in turn"),
        ("icrs\n", "covers no part of the sky"),
        ("circel(1,2,3)", "is not a valid frame or region shape; unable to parse line"),
    ],
)
def test_what_cannot_be_read_as_meant_is_refused(region_in, text, said):
    with pytest.raises(CatalogError) as caught:
        region_in(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[1, 2]", "3", "{", '{"a": [1]}', '{"3": [5000]}', '{"3": [1.5]}', '{"30": [1]}'),
        *('{"3": {"1": 2}}', '{"3": [true]}', '{"-1": [1]}', '{"\u0663": [1]}'),
    ],
)
def test_json_that_is_no_moc_is_refused(region_in, text):
    with pytest.raises(CatalogError, match=r"not a MOC in JSON|covers no part of the sky"):
        region_in(text, "json")


def test_mocs_in_json_and_text_are_the_pixels_they_list(region_in):
    listed = {"3": [5, 6], "4": [100]}
    region = region_in(json.dumps(listed), "json")
    assert region == region_in("3/5-6 4/100", "txt")
    assert area(region) == pytest.approx((2 / 64 + 1 / 256) / 12 * SQUARE_DEGREES)


def moc_table(pixels, **header):
    unit = fits.table_to_hdu(Table({"UNIQ": np.asarray(pixels, dtype=np.int64)}))
    unit.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "NUNIQ", "COORDSYS": "C", "MOCORDER": 3})
    unit.header.update(header)
    return unit


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ([moc_table([4 * 64 + 5])], None),
        ([moc_table([4 * 64 + 5]), moc_table([4 * 64 + 6])], "has 2 tables that are a MOC"),
        ([moc_table([4 * 64 + 5], COORDSYS="G")], "in the frame G; expected SPACE and C"),
        ([moc_table([4 * 64 + 5], ORDERING="NESTED")], "has 0 tables that are a MOC"),
    ],
)
def test_fits_moc_is_read_where_it_is_clear(tmp_path, tables, said):
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "a.fits")
    if said is None:
        assert area(read_region(tmp_path / "a.fits")) == pytest.approx(SQUARE_DEGREES / 768)
        return
    with pytest.raises(CatalogError, match=said):
        read_region(tmp_path / "a.fits")


@pytest.mark.parametrize("shape", ['box({},{},20",10",30)', 'ellipse({},{},10",5",30)'])
def test_hundreds_of_shapes_together_are_where_each_is_alone(region_in, shape):
    rng = np.random.default_rng(4)
    at = np.stack([rng.uniform(149, 151, 200), rng.uniform(1, 3, 200)], axis=1)
    lines = "\n".join(shape.format(*each) for each in at)
    together = region_in(f"fk5\n{lines}")
    alone = region_in("fk5\n" + shape.format(*at[7]))
    assert (alone.without(together).ranges.size, area(together) > 190 * area(alone)) == (0, True)
    assert area(together) == pytest.approx(200 * area(alone), rel=0.2)


@pytest.mark.parametrize("radius", [0.01, 5.0, 60.0, 89.9, 90.0, 120.0, 175.0, 180.0])
def test_cone_of_any_width_holds_what_is_nearer_than_its_radius(radius):
    region = cones(np.array([10.0]), np.array([20.0]), np.array([radius]))
    assert area(region) == pytest.approx(
        SQUARE_DEGREES * (1 - np.cos(np.radians(radius))) / 2, rel=0.01
    )
    rng = np.random.default_rng(1)
    place = SkyCoord(rng.uniform(0, 360, 2000), np.degrees(np.arcsin(rng.uniform(-1, 1, 2000))),
                     unit="deg")  # fmt: skip
    apart = place.separation(SkyCoord(10, 20, unit="deg")).deg
    clear = np.abs(apart - radius) > radius / 200
    assert (found(region, place) == (apart < radius))[clear].all()


def test_thousands_of_cones_make_one_region(tmp_path):
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(149, 151, 3000), rng.uniform(1, 3, 3000)
    listed = [f"  - cone: {{ra: {a}, dec: {d}, radius: 20 arcsec}}\n" for a, d in zip(ra, dec)]  # noqa: B905
    shapes = footprint("include:\n" + "".join(listed), tmp_path)
    region = shapes.region()
    place = SkyCoord(rng.uniform(149, 151, 3000), rng.uniform(1, 3, 3000), unit="deg")
    nearest = place.match_to_catalog_sky(SkyCoord(ra, dec, unit="deg"))[1].arcsec
    clear = np.abs(nearest - 20) > 1.5
    assert (found(region, place) == (nearest < 20))[clear].all()
    assert (shapes.contains(place.ra.deg, place.dec.deg) == (nearest <= 20)).all()


def test_circle_of_ten_thousand_corners_has_the_area_of_a_circle():
    turn = np.linspace(0, 2 * np.pi, 10_000, endpoint=False)
    corners = SkyCoord(150, 2, unit="deg").directional_offset_by(turn * u.rad, 1 * u.deg)
    region = polygon(np.stack([corners.ra.deg, corners.dec.deg], axis=1))
    assert area(region) == pytest.approx(np.pi, rel=0.02)


@pytest.mark.parametrize(
    ("corners", "crosses"),
    [
        ([(0, 0), (2, 0), (2, 2), (0, 2)], False),
        ([(0, 0), (2, 2), (2, 0), (0, 2)], True),
        ([(359, -1), (1, -1), (1, 1), (359, 1)], False),
        ([(0, 80), (90, 80), (180, 80), (270, 80)], False),
        ([(0, 0), (4, 0), (4, 4), (2, 4), (2, -1), (0, 4)], True),
        ([(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)], False),
        ([(0, 0), (0.001, 0), (0.001, 0.001), (0, 0.001)], False),
        ([(0, 0), (0.001, 0.001), (0.001, 0), (0, 0.001)], True),
    ],
)
def test_polygon_that_crosses_itself_is_refused(tmp_path, corners, crosses):
    text = f"include: {{polygon: {json.dumps(corners)}}}"
    if not crosses:
        assert len(footprint(text, tmp_path).region().ranges)
        return
    with pytest.raises(RuleError, match=r"rules\.yaml:1.*its sides .* cross"):
        footprint(text, tmp_path).region()


@pytest.mark.parametrize("scheme", ["NESTED", "RING"])
def test_pixels_are_in_the_order_that_the_table_states(tmp_path, scheme):
    import cdshealpix.ring

    nested = np.array([3, 100, 700])
    pixels = cdshealpix.to_ring(nested, 3) if scheme == "RING" else nested
    unit = fits.table_to_hdu(Table({"PIXEL": np.asarray(pixels, dtype=np.int64)}))
    unit.header.update({"ORDERING": scheme, "NSIDE": 8})
    unit.writeto(tmp_path / "p.fits")
    text = "include: {healpix: {nside: 8, pixels: p.fits}}"
    ranges = footprint(text, tmp_path).region().ranges
    assert (ranges[:, 0] >> 2 * 26).tolist() == [3, 100, 700]
    with pytest.raises(RuleError, match="its pixels are of nside 8, not 16"):
        footprint(text.replace("nside: 8", "nside: 16"), tmp_path).region()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"pixel": [1.5, 2.0]}, "is no whole number"),
        ({"pixel": ["a", "b"]}, "expected HEALPix pixels, which are whole numbers"),
        ({"pixel": [1, 2], "healpix": [3, 4]}, "several columns of pixels"),
        ({"pixel": [1, -2]}, "expected pixels from 0 to 767, which nside 8 has"),
        ({"pixel": [1, 5000]}, "expected pixels from 0 to 767, which nside 8 has"),
        ({"pixel": [1.0, 2.0]}, None),
    ],
)
def test_pixel_column_holds_whole_numbers_or_is_refused(tmp_path, columns, said):
    Table(columns).write(tmp_path / "p.ecsv")
    text = "include: {healpix: {nside: 8, pixels: p.ecsv}}"
    if said is None:
        assert len(footprint(text, tmp_path).region().ranges)
        return
    with pytest.raises(RuleError) as caught:
        footprint(text, tmp_path).region()
    assert said in str(caught.value)
