from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from targetsel.errors import CutoutError
from targetsel.imaging.cutout import Cutouts, cut_out

GRIZY = tuple("grizy")


def cutouts(n=1, size=8, bands=GRIZY, seed=0):
    flux = np.random.default_rng(seed).normal(size=(n, len(bands), size, size))
    return Cutouts(np.arange(n), flux.astype(np.float32), bands, 0.25)


class Shelf:
    """Images of sources 1 and 2 only."""

    def read(self, source_ids):
        known = cutouts(3)
        present = np.isin(source_ids, [1, 2])
        flux = np.where(present[:, None, None, None], known.flux[source_ids % 3], np.nan)
        return Cutouts(source_ids, flux, known.bands, known.pixel_scale, present)


def test_every_source_keeps_its_row_and_says_if_it_has_no_cutout():
    got = cut_out(SimpleNamespace(source_id=np.array([2, 7, 1])), Shelf())
    assert got.source_id.tolist() == [2, 7, 1]
    assert got.status.tolist() == ["ok", "no cutout", "ok"]
    assert got.masked_fraction.tolist() == [0, 1, 0]


def test_images_of_another_position_are_refused():
    class Moved(Shelf):
        path = "store"

        def read(self, source_ids):
            return replace(super().read(source_ids), position=(RA, DEC))

    RA, DEC = np.array([10.0, np.nan, 30.0]), np.array([0.0, np.nan, 0.0])
    catalog = SimpleNamespace(source_id=np.array([2, 7, 1]), ra=np.array([10.0, 20.0, 30.0]))
    catalog.dec = np.array([4 / 3600, 0.0, 0.0])
    assert cut_out(catalog, Moved()).status.tolist() == ["ok", "no cutout", "ok"]
    catalog.dec[2] = 70 / 3600
    message = "the catalog: 1 of 3 sources are over 60 arcsec from their positions in store; the"
    with pytest.raises(CutoutError, match=message):
        cut_out(catalog, Moved())


def test_status_says_what_is_wrong():
    got = cutouts(8)
    got.flux[1, 2] = np.nan
    got.flux[2, [2, 3]] = np.nan
    got.flux[3] = np.nan
    got.flux[4] = 0
    got.flux[4, 0, 0, 0] = np.nan
    got.flux[5, :, :5] = np.nan  # 5 of 8 rows
    got.flux[6, :, :4] = np.nan  # exactly half
    got.flux[7, 1] = 0  # some surveys fill missing data with zeros
    assert got.status.tolist() == [
        "ok",
        "lost band: i",
        "lost bands: i, z",
        "lost bands: g, r, i, z, y",
        "all-zero image",
        "mostly NaN pixels",
        "ok",
        "lost band: r",
    ]
    assert got.masked_fraction[[0, 1, 5]] == pytest.approx([0, 0.2, 0.625])


def test_bands_are_reordered_by_name():
    got = cutouts(2)
    turned = got.select_bands(tuple("yzirg"))
    assert turned.bands == tuple("yzirg")
    np.testing.assert_array_equal(turned.flux, got.flux[:, ::-1])
    np.testing.assert_array_equal(turned.select_bands(GRIZY).flux, got.flux)
    assert turned.select_bands(("i",)).flux.shape == (2, 1, 8, 8)


def test_a_band_that_is_not_there_is_an_error():
    with pytest.raises(CutoutError, match=r"have the bands g, r, not z\."):
        cutouts(bands=("g", "r")).select_bands(("g", "z"))


def test_taking_sources_keeps_rows_together():
    got = cutouts(5).take(np.array([4, 1]))
    assert got.source_id.tolist() == [4, 1]
    np.testing.assert_array_equal(got.flux, cutouts(5).flux[[4, 1]])
    assert len(got.take(np.array([True, False]))) == 1


def test_crop_keeps_the_centre():
    got = cutouts(1, size=8)
    np.testing.assert_array_equal(got.crop(4).flux, got.flux[..., 2:6, 2:6])
    np.testing.assert_array_equal(got.crop(5).flux, got.flux[..., 1:6, 1:6])
    assert got.crop(8).flux.shape == got.flux.shape
    with pytest.raises(CutoutError, match="8 x 8 pixels cannot give 9 x 9"):
        got.crop(9)


def test_sky_sigma_is_the_noise_around_the_sources():
    rng = np.random.default_rng(1)
    flux = rng.normal(0, 1, (60, 2, 32, 32)) * np.array([0.01, 0.2])[:, None, None]
    y, x = np.mgrid[:32, :32] - 15.5
    flux += 50 * np.exp(-np.hypot(x, y))
    flux[0, 0] = np.nan
    got = Cutouts(np.arange(60), flux.astype(np.float32), ("g", "r"), 0.25)
    assert got.sky_sigma() == pytest.approx([0.01, 0.2], rel=0.03)
    assert np.isnan(got.take(slice(0, 1)).sky_sigma()).tolist() == [True, False]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"expected \(2, 5, H, W\)"):
        Cutouts(np.arange(2), np.zeros((2, 4, 8, 8), np.float32), GRIZY, 0.25)
