"""Which way north and east are in cutouts, from the file to the arrows."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from matplotlib.figure import Figure

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.folder import Folder
from targetsel.imaging.orientation import NORTH_UP, UNKNOWN, Orientation, common, lie_at
from targetsel.imaging.packing import pack, write_store
from targetsel.imaging.picture import draw_marks
from targetsel.imaging.store import CutoutStore
from targetsel.sky.catalog import Catalog

RA, DEC, SCALE = 150.0, 40.0, 0.25 / 3600
TURNS = [0, 30, 90, 137, 200, 300]


def wcs(turn=0.0, mirrored=False, crval=(RA, DEC), kind=("RA---TAN", "DEC--TAN")):
    """Axes turned by so many degrees, of 0.25 arcsec, about the middle of 8 x 8 pixels."""
    made = WCS(naxis=2)
    made.wcs.ctype, made.wcs.crval, made.wcs.crpix = kind, crval, (4.5, 4.5)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    made.wcs.cd = np.array([[-c, s], [s, c]]) * SCALE @ np.diag([-1 if mirrored else 1, 1])
    return made


def to(made, ra, dec):
    """Unit vector in pixels from the middle towards a place, as astropy finds it."""
    way = np.array(made.wcs_world2pix(ra, dec, 0)) - 3.5
    return way / np.hypot(*way)


def write(path, made, **cards):
    header = made.to_header()
    header.update({"BUNIT": "nanomaggy", **cards})
    data = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    fits.PrimaryHDU(data, header).writeto(path)


def packed(tmp_path, n=1):
    """The store of the images in a folder."""
    folder = Folder.open(tmp_path / "images", size=6)
    catalog = sources(n)
    pack(folder, [catalog], tmp_path / "store", folder.sky_sigma())
    return CutoutStore.open(tmp_path / "store").read(catalog.source_id)


def sources(n=1):
    """Sources 1, 2, ... in the middle of the images."""
    columns = {"source_id": np.arange(1, n + 1), "ra": np.full(n, RA), "dec": np.full(n, DEC)}
    return Catalog.read(pa.table(columns))


def arrows(cutouts, row=0):
    """Unit vectors of the arrows on the picture of a cutout, by their letters."""
    panel = Figure().subplots()
    draw_marks(panel, cutouts, row)
    drawn = {}
    for text, arrow in zip(panel.texts[2::2], panel.texts[1::2], strict=True):
        way = np.array(arrow.xy) - np.array(arrow.xyann)
        drawn[text.get_text()] = way / np.hypot(*way)
    return drawn


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turn", TURNS)
def test_arrows_point_where_astropy_says_north_and_east_are(tmp_path, turn, mirrored):
    made = wcs(turn, mirrored)
    (tmp_path / "images").mkdir()
    write(tmp_path / "images" / "1.r.fits", made)
    drawn = arrows(packed(tmp_path))
    np.testing.assert_allclose(drawn["N"], to(made, RA, DEC + 0.001), atol=1e-3)
    np.testing.assert_allclose(drawn["E"], to(made, RA + 0.001, DEC), atol=1e-3)


def test_the_position_angle_of_the_y_axis_is_east_of_north():
    angle, parity = lie_at(wcs(30), 3.5, 3.5)
    assert (angle, parity) == (pytest.approx(30), 1)
    assert lie_at(wcs(0, mirrored=True), 3.5, 3.5)[1] == -1


def test_images_in_galactic_coordinates_point_to_the_equatorial_north():
    from astropy.coordinates import SkyCoord

    made = wcs(crval=(120.0, 30.0), kind=("GLON-TAN", "GLAT-TAN"))
    at = SkyCoord(l=120, b=30, unit="deg", frame="galactic").icrs
    x, y = made.world_to_pixel(SkyCoord(at.ra, at.dec + 0.001 * at.dec.unit))
    (north,) = Orientation.of([lie_at(made, 3.5, 3.5)]).north
    np.testing.assert_allclose(north, np.array([x - 3.5, y - 3.5]) / np.hypot(x - 3.5, y - 3.5),
                               atol=1e-3)  # fmt: skip


def test_each_cutout_of_a_store_keeps_its_own_orientation(tmp_path):
    (tmp_path / "images").mkdir()
    write(tmp_path / "images" / "1.r.fits", wcs(20))
    write(tmp_path / "images" / "2.r.fits", wcs(250))
    cutouts = packed(tmp_path, 2)
    np.testing.assert_allclose(cutouts.orientation.position_angle, [20, -110], atol=1e-3)
    assert str(cutouts.orientation) == "orientation as drawn"
    np.testing.assert_allclose(arrows(cutouts.take([1, 0]), 1)["N"], to(wcs(20), RA, DEC + 1e-3),
                               atol=1e-3)  # fmt: skip


def test_nothing_is_drawn_where_the_orientation_is_not_known(tmp_path):
    (tmp_path / "images").mkdir()
    image = np.random.default_rng(0).normal(size=(1, 8, 8))
    np.save(tmp_path / "images" / "1.npy", image)
    folder = Folder.open(tmp_path / "images", bands=("r",), pixel_scale=0.25, zeropoint=22.5)
    pack(folder, [sources()], tmp_path / "store", folder.sky_sigma())
    cutouts = CutoutStore.open(tmp_path / "store").read(np.array([1]))
    assert cutouts.orientation is None
    assert arrows(cutouts) == {}


def test_bands_that_lie_differently_have_no_common_orientation():
    assert common([UNKNOWN, (359.8, 1.0), (0.3, 1.0)]) == (pytest.approx(-0.2), 1)
    assert np.isnan(common([(0.0, 1.0), (5.0, 1.0)])).all()
    assert np.isnan(common([(0.0, 1.0), (0.0, -1.0)])).all()
    assert np.isnan(common([])).all()


def test_a_store_of_some_images_with_orientation_keeps_the_others_unknown(tmp_path):
    flux = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)
    lie = Orientation.of([NORTH_UP, UNKNOWN, (10.0, -1.0)])
    cutouts = Cutouts(np.arange(3), flux, ("r",), 0.25, orientation=lie)
    write_store(tmp_path / "store", [(cutouts, np.arange(3.0), np.zeros(3))], [1.0])
    found = CutoutStore.open(tmp_path / "store").read(np.array([2, 1, 0, 9])).orientation
    np.testing.assert_array_equal(found.known, [True, False, True, False])
    np.testing.assert_array_equal(found.parity, [-1, np.nan, 1, np.nan])


def test_orientation_does_not_change_the_fingerprint_of_a_store(tmp_path):
    flux = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)
    plain = Cutouts(np.array([1]), flux, ("r",), 0.25)
    turned = Cutouts(np.array([1]), flux, ("r",), 0.25, orientation=Orientation.of([NORTH_UP]))
    found = set()
    for name, cutouts in (("a", plain), ("b", turned)):
        write_store(tmp_path / name, [(cutouts, np.zeros(1), np.zeros(1))], [1.0])
        found.add(CutoutStore.open(tmp_path / name).sha256)
    assert len(found) == 1
