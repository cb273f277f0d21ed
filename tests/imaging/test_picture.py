import numpy as np
import pytest

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.picture import composite, draw_mosaic

GRIZY = tuple("grizy")


def galaxy(flux_of_band, bands=GRIZY, size=32):
    """A round source of the given flux per band [nanomaggy] on a noisy sky."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    shape = np.exp(-np.hypot(x, y) / 3)
    noise = np.random.default_rng(0).normal(0, 0.01, (len(bands), size, size))
    flux = noise + np.array(flux_of_band)[:, None, None] * shape / shape.sum()
    return Cutouts(np.array([7]), flux[None].astype(np.float32), bands, 0.25)


def centre(picture):
    return picture[14:18, 14:18].reshape(-1, 3).astype(float).mean(axis=0)


def test_a_red_source_looks_red_and_a_blue_one_blue():
    red, _, blue = centre(composite(galaxy([1, 2, 4, 8, 16]))[0])
    assert red > 2 * blue
    red, _, blue = centre(composite(galaxy([16, 8, 4, 2, 1]))[0])
    assert blue > 2 * red


def test_colours_do_not_depend_on_the_order_of_the_bands():
    cutouts = galaxy([1, 2, 4, 8, 16])
    turned = cutouts.select_bands(tuple("yzirg"))
    np.testing.assert_array_equal(composite(turned), composite(cutouts))


def test_pixels_without_any_data_are_grey():
    cutouts = galaxy([4, 4, 4, 4, 4])
    cutouts.flux[:, :, :3] = np.nan
    assert (composite(cutouts)[0, :3] == 70).all()
    assert not (composite(cutouts)[0, 3:] == 70).all()


@pytest.mark.parametrize("bands", ["i", "gr", "gri", "griz"])
def test_any_number_of_bands_makes_a_picture(bands):
    picture = composite(galaxy([4] * len(bands), tuple(bands)))
    assert picture.shape == (1, 32, 32, 3)
    assert picture.dtype == np.uint8
    assert centre(picture[0]).min() > 2 * np.median(picture)


def test_the_mosaic_is_a_png_that_does_not_change(tmp_path):
    cutouts = galaxy([1, 2, 4, 8, 16])
    cutouts.flux[0, 2] = np.nan
    draw_mosaic(cutouts, tmp_path / "a.png")
    draw_mosaic(cutouts, tmp_path / "b.png")
    content = (tmp_path / "a.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content == (tmp_path / "b.png").read_bytes()
