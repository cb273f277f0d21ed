"""The mock sky is right source by source, and its variations differ only in what they vary."""

import gc

import numpy as np
import pytest

from targetsel.mock import infrared
from targetsel.mock.anchor import WAVELENGTH
from targetsel.mock.camera import PAN_STARRS, find_camera
from targetsel.mock.galaxies import ID_STEP, Galaxies
from targetsel.mock.plan import Variation
from targetsel.mock.sky import MockSources, observe, observe_block
from targetsel.mock.writing import catalog_table
from targetsel.photometry.bands import synthetic_photometry
from targetsel.photometry.flux import NANOMAGGY, NJY_PER_NANOMAGGY, SPEED_OF_LIGHT
from targetsel.surveys.registry import cards


@pytest.fixture(scope="module")
def galaxies():
    return Galaxies.shipped().take(np.arange(0, 1200, 20))


@pytest.fixture(scope="module")
def sources(galaxies):
    return next(observe(galaxies, seed=3))


@pytest.fixture(scope="module")
def tidy(galaxies):
    """The same without the trouble of real images."""
    return varied(galaxies, realism=0.0)


def varied(galaxies, **changes):
    return observe_block(galaxies, 3, PAN_STARRS, Variation(**changes))


def light(sources: MockSources):
    """Sum over each cutout, NaN where pixels are lost, shape (N, B)."""
    return sources.flux.sum(axis=(2, 3))


def test_the_sky_has_the_stated_shapes(sources, galaxies):
    n = len(galaxies)
    assert sources.flux.shape == (n, 5, 64, 64)
    assert sources.flux.dtype == np.float32
    assert sources.spectra.shape == sources.measured.shape == sources.ivar.shape == (n, 1000)
    assert (sources.spectra**2).sum(axis=1) == pytest.approx(1.0)
    assert sources.weight == pytest.approx(1.0)


def test_corners_beyond_compact_galaxies_have_the_noise_of_the_survey(galaxies):
    alone = varied(galaxies, realism=0.0, neighbours=0.0)
    compact = alone.structure.radius < 2.0
    assert compact.sum() > 10
    corners = alone.flux[compact][:, :, :10, :10]
    sigma = np.median(np.nanstd(corners, axis=(2, 3)), axis=0)
    assert sigma == pytest.approx(PAN_STARRS.sky_sigma, rel=0.12)


def test_the_fibers_colours_are_those_of_the_images_centres(galaxies):
    deep = varied(galaxies, realism=0.0, depth=5.0, neighbours=0.0)
    y, x = np.indices((64, 64))
    inside = np.hypot(x - 31.5, y - 31.5) < 1.5 / PAN_STARRS.pixel_scale
    g, r, i = -2.5 * np.log10(deep.flux[:, :3, inside].sum(axis=2)).T
    assert set(deep.fiber_colours) == {"g_r", "r_i", "i_z", "z_y"}
    for seen, true in ((g - r, deep.fiber_colours["g_r"]), (r - i, deep.fiber_colours["r_i"])):
        off = seen - true
        assert np.nanmedian(off) == pytest.approx(0.0, abs=0.03)
        assert np.nanstd(off) < 0.1  # seeing differs between the bands


def test_the_image_has_the_real_galaxys_r_flux(sources, galaxies):
    r = light(sources)[:, 1] * NJY_PER_NANOMAGGY / galaxies.flux[:, 2]
    compact = np.isfinite(r) & (sources.structure.radius < 2.5)
    assert compact.sum() > 10
    # Light of the tails is outside the cutout, that of neighbours inside.
    assert np.median(r[compact]) == pytest.approx(0.97, abs=0.06)


def test_colours_of_images_follow_those_of_the_real_galaxies(galaxies):
    alone = light(varied(galaxies, neighbours=0.0))
    mock = np.log(alone[:, 0] / alone[:, 2])
    real = np.log(galaxies.flux[:, 1] / galaxies.flux[:, 3])
    good = np.isfinite(mock)
    assert np.corrcoef(mock[good], real[good])[0, 1] > 0.8


def test_a_source_is_the_same_alone_and_among_others(sources, galaxies):
    alone = observe_block(galaxies.take(np.array([7])), seed=3)
    assert alone.flux[0] == pytest.approx(sources.flux[7], rel=1e-5, abs=1e-5, nan_ok=True)
    assert alone.spectra[0] == pytest.approx(sources.spectra[7], rel=1e-9)
    assert alone.measured[0] == pytest.approx(sources.measured[7], rel=1e-5, abs=1e-6)


def test_another_seed_gives_another_sky(galaxies, sources):
    other = observe_block(galaxies, seed=4)
    assert not np.array_equal(other.spectra, sources.spectra)
    assert not np.array_equal(other.structure.angle, sources.structure.angle)


def test_worse_seeing_spreads_the_light_and_changes_nothing_else(galaxies, sources):
    worse = varied(galaxies, seeing=1.6)
    assert np.array_equal(worse.spectra, sources.spectra)
    assert np.array_equal(worse.structure.radius, sources.structure.radius)
    assert np.array_equal(np.isnan(worse.flux), np.isnan(sources.flux))
    peaks = [np.nanmax(each.flux[:, 1, 28:36, 28:36], axis=(1, 2)) for each in (worse, sources)]
    assert np.nanmedian(peaks[0] / peaks[1]) < 0.85
    assert np.nanmedian(light(worse)[:, 1] / light(sources)[:, 1]) == pytest.approx(1.0, abs=0.02)


def test_the_trouble_of_real_images_leaves_spectra_and_sizes_as_they_are(sources, tidy):
    assert np.array_equal(sources.spectra, tidy.spectra)
    assert np.array_equal(sources.measured, tidy.measured)
    assert np.array_equal(sources.structure.radius, tidy.structure.radius)
    assert not np.isclose(sources.flux, tidy.flux, rtol=1e-3, atol=1e-3).all(axis=(1, 2, 3)).any()


def test_hardly_any_realism_is_hardly_another_sky_than_none(galaxies, tidy):
    """All that is drawn for it has random numbers of its own, and fades out."""
    hardly = varied(galaxies, realism=1e-7)
    assert hardly.flux == pytest.approx(tidy.flux, rel=1e-4, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("survey", [*map(find_camera, cards())], ids=cards())
def test_every_camera_sees_as_much_light_with_the_trouble_of_real_images(galaxies, survey):
    few = galaxies.take(np.arange(12))
    tidy, real = (
        light(observe_block(few, 3, survey, Variation(realism=realism, neighbours=0.0)))
        for realism in (0.0, 1.0)
    )
    assert np.nanmedian(real / tidy) == pytest.approx(0.95, abs=0.08)  # halos are wider


def test_noise_keeps_its_depth_with_the_trouble_of_real_images(galaxies):
    real = varied(galaxies, neighbours=0.0)
    compact = real.structure.radius < 2.0
    corners = real.flux[compact][:, :, :10, :10]
    sigma = np.median(np.nanstd(corners, axis=(2, 3)), axis=0)
    assert sigma == pytest.approx(PAN_STARRS.sky_sigma, rel=0.2)


def test_without_a_link_spectra_stay_and_shapes_change(galaxies, sources):
    loose = varied(galaxies, link=0.0)
    assert np.array_equal(loose.spectra, sources.spectra)
    assert not np.array_equal(loose.structure.arm_share, sources.structure.arm_share)
    assert np.array_equal(loose.structure.angle, sources.structure.angle)


def test_lines_half_as_strong_have_half_the_width(galaxies, sources):
    weak = varied(galaxies, line_strength=0.5)
    assert weak.widths["halpha"] == pytest.approx(0.5 * sources.widths["halpha"])
    pixel = np.argmin(np.abs(WAVELENGTH[170:1170] - 6564.6))
    strong = sources.widths["halpha"] > 20
    assert strong.sum() > 3
    assert (weak.spectra[strong, pixel] < sources.spectra[strong, pixel]).all()


def test_a_flat_spectrum_in_frequency_has_the_same_flux_in_every_band_of_every_survey():
    for survey in map(find_camera, cards()):
        bands = [band for band in survey.passbands if band.name != "u"]
        observed = infrared.WHOLE * 1.2
        flux = NANOMAGGY * SPEED_OF_LIGHT / observed**2 / 1e-17
        fluxes = synthetic_photometry(bands, infrared.WHOLE, np.array([0.2]))[0] @ flux
        assert fluxes == pytest.approx(1.0, rel=3e-3), survey.name


def test_a_block_leaves_no_cycles_that_would_keep_its_arrays(galaxies):
    few = galaxies.take(np.arange(4))
    observe_block(few, seed=3)
    left = []
    gc.disable()
    try:
        for _ in range(3):  # other threads, such as those that run tests, may leave some meanwhile
            gc.collect()
            observe_block(few, seed=3)
            left.append(gc.collect())
    finally:
        gc.enable()
    assert min(left) < 20


def test_u_band_light_beyond_the_spectra_is_not_lost(galaxies):
    far = galaxies.take(np.argsort(galaxies.redshift)[-10:])
    flux = light(observe_block(far, 3, find_camera("lsst"), Variation(neighbours=0.0)))
    u_minus_g = -2.5 * np.log10(flux[:, 0] / flux[:, 1])
    assert 0.5 < np.nanmedian(u_minus_g) < 2.6  # of galaxies at redshift 0.2


def test_the_catalog_names_the_real_galaxy_behind_each_source(galaxies):
    again = galaxies.take(np.arange(3)).realised(5, 1)
    table = catalog_table(observe_block(again, seed=3), weighted=False)
    assert table["group_id"].to_pylist() == galaxies.source_id[:3].tolist()
    assert table["source_id"].to_pylist() == (galaxies.source_id[:3] + ID_STEP).tolist()


def test_near_infrared_light_is_that_of_galaxies_and_not_lost(galaxies):
    few = galaxies.take(np.arange(20))
    flux = light(observe_block(few, 3, find_camera("kids"), Variation(neighbours=0.0)))
    magnitude = 22.5 - 2.5 * np.log10(np.nanmedian(flux / flux[:, 2:3], axis=0))
    r_minus = magnitude[2] - magnitude[6:]  # J, H and Ks; AB colours of nearby galaxies
    assert ((r_minus > 0.4) & (r_minus < 2.2)).all()


def test_a_survey_without_r_shows_a_galaxy_as_bright_as_one_with_it(galaxies):
    few = galaxies.take(np.arange(20))
    tidy = Variation(realism=0.0, neighbours=0.0)
    lsst, euclid = (light(observe_block(few, 3, find_camera(s), tidy)) for s in ("lsst", "euclid"))
    brightness = np.nanmedian(euclid[:, 0] / np.sqrt(lsst[:, 2] * lsst[:, 3]))  # VIS is r to z
    assert brightness == pytest.approx(1.1, abs=0.25)
