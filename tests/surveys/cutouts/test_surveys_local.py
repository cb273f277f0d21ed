import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from targetsel.errors import CutoutError
from targetsel.surveys.local import Mosaic
from tests.emulator.sky import Cell, fits_bytes
from tests.surveys.cutouts.conftest import PLACES, check_star

SIZE = 500  # [pixel] width and height of a tile


def write_tile(folder, stars, cell, left, bottom, band="g", name=None, size=SIZE, **more):
    """A part of a cell's image, in nanomaggies."""
    scale = cell.scale / 3600
    cards = [
        *cell.plane.cards(left, bottom),
        *(("CD1_1", -scale), ("CD1_2", 0.0), ("CD2_1", 0.0), ("CD2_2", scale)),
        *({"BUNIT": "nanomaggy"} | more).items(),
    ]
    image = stars.draw(cell.plane, left, bottom, (size, size), band)
    path = folder / (name or f"tile{left}-{bottom}.{band}.fits")
    path.write_bytes(fits_bytes((cards, image)))
    return path


def around(star, stars):
    """The cell of a star, and the star's pixel in it."""
    cell = Cell.around(*PLACES[star])[0]
    x, y = cell.plane.pixels(*PLACES[star])
    return cell, round(float(x)), round(float(y))


@pytest.mark.parametrize("star", range(len(PLACES)))
def test_a_star_has_its_magnitude_in_the_middle(tmp_path, stars, star):
    cell, x, y = around(star, stars)
    write_tile(tmp_path, stars, cell, x - 130, y - 170)
    mosaic = Mosaic.open(tmp_path, ("g",), 64)
    assert mosaic.pixel_scale == pytest.approx(0.25, rel=1e-5)
    (reply,) = mosaic.fetch(*PLACES[star])
    assert (reply.status, reply.value.shape) == ("ok", (64, 64))
    check_star(reply.value, star, stars, "g")


def test_a_cutout_knows_how_its_tile_lies_on_the_sky(tmp_path, stars):
    cell, x, y = around(0, stars)
    write_tile(tmp_path, stars, cell, x - 250, y - 250)
    path = write_tile(tmp_path, stars, cell, x - 250, y - 250, band="r")
    with fits.open(path, mode="update") as (hdu,):  # its mirror image
        hdu.data = np.ascontiguousarray(hdu.data[:, ::-1])
        hdu.header["CRPIX1"] = SIZE + 1 - hdu.header["CRPIX1"]
        hdu.header["CD1_1"] *= -1
    g, r = Mosaic.open(tmp_path, ("g", "r"), 64).fetch(*PLACES[0])
    assert abs(g.lie[0]) < 0.1
    assert abs(r.lie[0] + g.lie[0]) % 360 == pytest.approx(0, abs=0.1)
    assert (g.lie[1], r.lie[1]) == (1, -1)


def test_of_overlapping_tiles_the_one_that_holds_the_source_deepest_is_cut(tmp_path, stars):
    cell, x, y = around(0, stars)
    write_tile(tmp_path, stars, cell, x - 40, y - 250, name="a.g.fits")
    write_tile(tmp_path, stars, cell, x - 200, y - 250, name="b.g.fits")
    (reply,) = Mosaic.open(tmp_path, ("g",), 64).fetch(*PLACES[0])
    assert reply.answer.url == "b.g.fits"
    check_star(reply.value, 0, stars, "g")


def test_another_tile_is_cut_where_the_deepest_has_lost_pixels(tmp_path, stars):
    cell, x, y = around(0, stars)
    write_tile(tmp_path, stars, cell, x - 100, y - 250, name="a.g.fits")
    deepest = write_tile(tmp_path, stars, cell, x - 250, y - 250, name="b.g.fits")
    with fits.open(deepest, mode="update") as hdus:
        hdus[0].data[260:270] = np.nan
    (reply,) = Mosaic.open(tmp_path, ("g",), 64).fetch(*PLACES[0])
    assert reply.answer.url == "a.g.fits"


def test_beyond_the_edge_of_the_only_tile_there_is_no_data_and_the_rest_is_right(tmp_path, stars):
    cell, x, y = around(0, stars)
    write_tile(tmp_path, stars, cell, x - 22, y - 250)
    (reply,) = Mosaic.open(tmp_path, ("g",), 64).fetch(*PLACES[0])
    # The source is in the 33rd column of the cutout, and in the 23rd of the tile.
    assert np.isnan(reply.value).all(axis=0).tolist() in (
        [True] * n + [False] * (64 - n) for n in (9, 10)
    )
    check_star(reply.value, 0, stars, "g")


def test_outside_every_tile_and_on_the_other_side_of_the_sky_is_outside(tmp_path, stars):
    cell, x, y = around(0, stars)
    write_tile(tmp_path, stars, cell, x - 250, y - 250)
    mosaic = Mosaic.open(tmp_path, ("g",), 64)
    ra, dec = PLACES[0]
    for place in [(ra, dec + 0.05), ((ra + 180) % 360, -dec)]:
        (reply,) = mosaic.fetch(*place)
        assert (reply.status, reply.value) == ("outside the footprint", None)


def test_a_turned_and_mirrored_tile_is_cut_without_resampling(tmp_path, stars):
    angle, scale = np.radians(30), 0.25 / 3600
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ("RA---TAN", "DEC--TAN"), PLACES[0], (200, 150)
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    wcs.wcs.cd = scale * np.array(turn)
    image = np.arange(300 * 400, dtype=np.float32).reshape(300, 400)
    header = wcs.to_header()
    header.update({"BUNIT": "nanomaggy", "FILTER": "g"})
    fits.PrimaryHDU(image, header).writeto(tmp_path / "turned.fits")
    (reply,) = Mosaic.open(tmp_path, ("g",), 5).fetch(*PLACES[0])
    np.testing.assert_array_equal(reply.value, image[147:152, 197:202])


def test_a_compressed_tile_is_cut_like_a_plain_one(tmp_path, stars):
    cell, x, y = around(0, stars)
    plain = write_tile(tmp_path, stars, cell, x - 250, y - 250)
    (expected,) = Mosaic.open(tmp_path, ("g",), 64).fetch(*PLACES[0])
    with fits.open(plain) as hdus:
        packed = fits.CompImageHDU(
            hdus[0].data, hdus[0].header, compression_type="GZIP_2", quantize_level=0
        )
        packed.writeto(tmp_path / "tile.g.fits.fz")
    plain.unlink()
    (reply,) = Mosaic.open(tmp_path, ("g",), 64).fetch(*PLACES[0])
    np.testing.assert_array_equal(reply.value, expected.value)


def test_counts_are_calibrated_by_the_zero_point_given(tmp_path, stars):
    cell, x, y = around(0, stars)
    write_tile(tmp_path, stars, cell, x - 250, y - 250, BUNIT="count")
    (nanomaggy,) = Mosaic.open(tmp_path, ("g",), 64, 22.5).fetch(*PLACES[0])
    (brighter,) = Mosaic.open(tmp_path, ("g",), 64, 20.0).fetch(*PLACES[0])
    np.testing.assert_allclose(brighter.value, 10 * nanomaggy.value, rtol=1e-5)


def test_a_folder_that_is_no_mosaic_is_refused(tmp_path, stars):
    with pytest.raises(CutoutError, match="nowhere: no such folder"):
        Mosaic.open(tmp_path / "nowhere", ("g",), 64)
    cell = Cell(230, 3)
    write_tile(tmp_path, stars, cell, 0, 0, size=20)
    with pytest.raises(CutoutError, match=r"no FITS tile of band r. Leave it out of --bands"):
        Mosaic.open(tmp_path, ("g", "r"), 64)
    path = write_tile(
        tmp_path, stars, dataclasses.replace(cell, scale=0.3), 0, 0, name="x.g.fits", size=20
    )
    with pytest.raises(CutoutError, match=r"x\.g\.fits: its pixels are 0.3 arcsec, expected 0.25"):
        Mosaic.open(tmp_path, ("g",), 64)
    path.write_bytes(b"<html>")
    with pytest.raises(CutoutError, match=r"x\.g\.fits: not a FITS file"):
        Mosaic.open(tmp_path, ("g",), 64)
    path.unlink()
    write_tile(tmp_path, stars, cell, 0, 0, name="tile.fits", size=20)
    with pytest.raises(CutoutError, match=r"tile\.fits: neither its header .* says its band"):
        Mosaic.open(tmp_path, ("g",), 64)


def test_tiles_in_the_near_infrared_are_found_by_header_and_by_name(tmp_path, stars):
    cell, x, y = around(0, stars)
    vis = write_tile(tmp_path, stars, cell, x - 250, y - 250, name="first.fits")
    fits.setval(vis, "FILTER", value="VIS")
    write_tile(tmp_path, stars, cell, x - 250, y - 250, band="r", name="EUC-NIR-Y-tile.fits")
    write_tile(tmp_path, stars, cell, x - 250, y - 250, band="i")
    found = Mosaic.open(tmp_path, ("VIS", "Y"), 64)
    assert [tile.path.name for tile in found.tiles["VIS"]] == ["first.fits"]
    assert [tile.path.name for tile in found.tiles["Y"]] == ["EUC-NIR-Y-tile.fits"]
