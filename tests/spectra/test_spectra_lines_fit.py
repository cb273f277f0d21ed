"""Fitted widths of blended lines, against Gaussians integrated over pixels here."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import norm

from targetsel.spectra.grid import SpectrumPixels, WavelengthBand, edges, wavelengths
from targetsel.spectra.lines import LineTable
from targetsel.spectra.lines.index import Fit
from targetsel.spectra.lines.strengths import measure_noisy

HALPHA, NII, NII_WEAK = 6564.61, 6585.27, 6549.86
TABLE = LineTable.shipped().choose(["ew_halpha_fit", "ew_nii_fit"])
SDSS = 10 ** np.arange(3.79, 3.84, 1e-4)  # pixels of 69 km/s
BREADTHS = (60, 75, 90, 105, 120, 135, 150, 165, 180, 200, 220, 240, 260, 280, 300)
RATIOS = (0.1, 0.3, 1.0, 2.0)


def gaussian(pixel_edges, centre, sigma):
    """A Gaussian line of unit flux [1/Angstrom], averaged over pixels; sigma in km/s."""
    spread = centre * sigma / 299_792.458
    return np.diff(norm.cdf(pixel_edges, centre, spread)) / np.diff(pixel_edges)


def complex_of(wavelength, halpha, nii, *shares):
    """Halpha and [NII] of these widths on a continuum of 1; shares are (sigma, share of flux)."""
    pixel_edges = SpectrumPixels.of(wavelength).edges
    flux = np.ones(len(wavelength))
    for centre, width in ((HALPHA, halpha), (NII, nii), (NII_WEAK, nii / 3)):
        for sigma, share in shares:
            flux = flux + width * share * gaussian(pixel_edges, centre, sigma)
    return flux


def worst_error(wavelength, ratio, lines):
    """Largest relative error of the two widths; each line is a list of (sigma, share of flux)."""
    flux = np.array([complex_of(wavelength, 20, 20 * ratio, *shares) for shares in lines])
    return np.abs(TABLE.measure(flux, wavelength) / [20, 20 * ratio] - 1).max()


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("wavelength", [wavelengths(), SDSS], ids=["decoder", "sdss"])
def test_fitted_lines_of_every_breadth_are_right_to_2_percent(wavelength, ratio):
    assert worst_error(wavelength, ratio, [[(sigma, 1)] for sigma in BREADTHS]) < 0.02


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("wavelength", [wavelengths(), SDSS], ids=["decoder", "sdss"])
def test_fitted_sums_of_a_narrow_and_a_broad_line_are_right_to_2_percent(wavelength, ratio):
    sums = product((60, 85, 130), (150, 210, 275, 300), (0.2, 0.5, 0.8))
    lines = [[(narrow, 1 - share), (broad, share)] for narrow, broad, share in sums]
    assert worst_error(wavelength, ratio, lines) < 0.02


def test_lines_of_two_breadths_are_fitted_each_with_its_own():
    grid = wavelengths()
    flux = np.ones(1000) + 20 * gaussian(edges(), HALPHA, 193)
    flux += 9 * gaussian(edges(), NII, 93) + 3 * gaussian(edges(), NII_WEAK, 93)
    np.testing.assert_allclose(TABLE.measure(flux, grid), [20, 9], rtol=1e-3)


@pytest.mark.parametrize("slope", [-2e-4, 0.0, 5e-4])
@pytest.mark.parametrize("sigma", [80, 250])
def test_fit_parts_halpha_from_nii(slope, sigma):
    flux = continuum = 1 + slope * (wavelengths() - HALPHA)
    for centre, width in ((HALPHA, 20.0), (NII, 9.0), (NII_WEAK, 3.0)):
        # Of the fluxes, not the widths, [NII] has the ratio 3.
        level = 1 + slope * ((NII if centre == NII_WEAK else centre) - HALPHA)
        flux = flux + width * level * gaussian(edges(), centre, sigma)
    np.testing.assert_allclose(TABLE.measure(flux, wavelengths()), [20, 9], rtol=2e-3)
    np.testing.assert_allclose(TABLE.measure(continuum, wavelengths()), 0, atol=1e-9)


def test_fit_of_a_line_alone_is_exact_on_any_pixels():
    fine = np.arange(4901.0, 5100.0) + 0.5  # pixels of 1 Angstrom
    fit = Fit(WavelengthBand(4920.0, 5080.0), ((5000.0, 1.0),), (), (120.0,))
    estimator = fit.on(SpectrumPixels.of(fine))
    flux = 1 + 0.003 * (fine - 5000) + 7 * gaussian(SpectrumPixels.of(fine).edges, 5000.0, 120)
    assert estimator.value(estimator.moments(flux)) == pytest.approx(7, abs=1e-9)


@pytest.mark.parametrize("signal_to_noise", [3, 20])
@pytest.mark.parametrize("sigma", [70, 150, 250])
def test_errors_of_fitted_lines_are_the_scatter_of_noisy_copies(sigma, signal_to_noise):
    noise = np.random.default_rng(sigma).normal(size=(500, len(SDSS))) / signal_to_noise
    flux = complex_of(SDSS, 20, 8, (sigma, 1)) + noise
    found = measure_noisy(flux, np.full(flux.shape, signal_to_noise**2.0), SDSS, TABLE)
    # Of 500 copies, the root mean square is known to 3 %.
    pulls = (found.values - [20, 8]) / found.errors
    np.testing.assert_allclose(np.sqrt((pulls**2).mean(axis=0)), 1, atol=0.12)
    assert (np.abs(pulls.mean(axis=0)) < 0.35).all()


@pytest.mark.parametrize("masked", [HALPHA + 8, NII + 8, HALPHA - 30])
def test_masked_pixels_beside_a_line_hardly_change_its_fitted_width(masked):
    flux = complex_of(SDSS, 20, 8, (150, 1))
    ivar = np.where(np.abs(SDSS - masked) < 2.5, 0.0, 400.0)
    seen = np.where(ivar > 0, flux, np.nan)
    one = measure_noisy(seen[None], ivar[None], SDSS, TABLE)
    np.testing.assert_allclose(one.values[0], [20, 8], rtol=0.02)
    noise = np.random.default_rng(2).normal(size=(500, len(SDSS))) / 20
    found = measure_noisy(seen + noise, np.broadcast_to(ivar, noise.shape), SDSS, TABLE)
    pulls = (found.values - [20, 8]) / found.errors
    np.testing.assert_allclose(np.sqrt((pulls**2).mean(axis=0)), 1, atol=0.15)


@pytest.mark.parametrize("sigma", [70, 120, 150, 200])
def test_fits_of_many_breadths_are_hardly_noisier_than_one_of_two_fixed_ones(sigma):
    noise = np.random.default_rng(sigma).normal(size=(500, len(SDSS))) / 10
    flux = complex_of(SDSS, 20, 8, (sigma, 1)) + noise
    shipped = LineTable.shipped()["ew_halpha_fit"].index
    one = replace(shipped, sigma=(80.0, 250.0)).on(SpectrumPixels.of(SDSS))
    scatter = TABLE.measure(flux, SDSS)[:, 0].std()
    assert scatter < 1.1 * one.value(one.moments(flux)).std()


def test_slopes_of_a_fit_are_its_differences():
    estimator = LineTable.shipped()["ew_nii_fit"].index.on(SpectrumPixels.of(SDSS))
    noise = np.random.default_rng(1).normal(size=len(SDSS)) / 20
    moments = estimator.moments(complex_of(SDSS, 20, 8, (130, 1)) + noise)[:, None]
    step = 1e-5 * np.eye(len(moments))
    expected = (estimator.value(moments + step) - estimator.value(moments - step)) / 2e-5
    np.testing.assert_allclose(estimator.slopes(moments)[:, 0], expected, rtol=1e-5, atol=1e-6)
