"""The pixels of a measured spectrum, and their likelihood."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from targetsel.errors import SpectrumError
from targetsel.priors.likelihood import AMPLITUDES, Likelihood, ObservedPixels, interpolated
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.spectrum import ObservedSpectrum
from tests.priors.toy import LEVEL, LineDecoder, model, observed


def likelihood(spectrum=None, calibration=0.05):
    spectrum = spectrum or observed(0.5, 0.1, 0.3, np.random.default_rng(3))
    return Likelihood(model(), ObservedPixels.of(spectrum, (0.09, 0.11)), calibration)


def test_it_is_that_of_the_full_covariance():
    one = likelihood()
    pixels, stretch = one.pixels, np.log10(1.1)
    rest = 10 ** (pixels.log_wavelength - stretch)
    decoder = LineDecoder()
    flux = np.interp(rest, wavelengths(), decoder.continuum + 1.2 * decoder.line)
    waves = np.stack(
        [np.interp(rest, wavelengths(), wave) for wave in model().residual.factor[0].T], axis=1
    )
    x = np.linspace(-1, 1, len(rest))
    a = one.amplitude
    bends = 0.05 * a * flux[:, None] * np.stack([x, 2 * x**2 - 1], axis=1)
    columns = np.concatenate([AMPLITUDES * a * flux[:, None], bends, a * waves], axis=1)
    noise = 1 / pixels.ivar + a**2 * (0.1 * 0.02 * LEVEL) ** 2
    expected = multivariate_normal(np.zeros(len(rest)), np.diag(noise) + columns @ columns.T)
    found = one.log(np.array([[0.5]]), np.array([stretch]))
    # The pixels lie where the decoder's do, so that interpolation changes nothing.
    assert found[0] == pytest.approx(expected.logpdf(pixels.flux), abs=1e-3)


def test_masked_pixels_say_nothing():
    spectrum = observed(0.5, 0.1, 0.3, np.random.default_rng(3))
    ivar = spectrum.ivar.copy()
    ivar[300:320] = 0
    other = spectrum.flux.copy()
    other[300:320] = 1e3 * other.max()
    logs = [
        likelihood(ObservedSpectrum("x", 7, spectrum.wavelength, flux, ivar, 0.0)).log(
            np.array([[0.5]]), np.array([np.log10(1.1)])
        )
        for flux in (spectrum.flux, other)
    ]
    assert logs[0] == logs[1]


def test_a_bent_spectrum_is_no_worse_where_the_calibration_may_be_wrong():
    points = np.array([[0.5]]), np.array([np.log10(1.1)])
    straight, bent = (
        observed(0.5, 0.1, 0.05, np.random.default_rng(3), bend) for bend in (0.0, 0.1)
    )
    fall = [
        (likelihood(straight, c).log(*points) - likelihood(bent, c).log(*points))[0]
        for c in (1e-4, 0.1)
    ]
    assert fall[0] > 100
    assert fall[1] < 20


def test_interpolation_is_exact_for_cubics():
    x = np.arange(1000) / 500 - 1
    cubic = 2 * x**3 - x**2 + 3
    place = np.array([[0.0, 0.3, 417.77, 998.9, 999.0]])
    y = place / 500 - 1
    assert interpolated(cubic[None], place) == pytest.approx(2 * y**3 - y**2 + 3)


def test_drawn_spectra_have_amplitude_and_residual_of_the_measured_one():
    one = likelihood(observed(0.5, 0.1, 0.02, np.random.default_rng(3)), calibration=1e-3)
    rng = np.random.default_rng(1)
    points = np.full((200, 1), 0.5), np.full(200, np.log10(1.1))
    flux, amplitude = one.draw_spectra(*points, rng)
    assert flux.shape == (200, 1000)
    assert amplitude.mean() == pytest.approx(3e-17, rel=0.02)
    true = model().draw(np.array([[0.5]]), np.random.default_rng(3))[0]  # as `observed` draws it
    assert flux.mean(axis=0) == pytest.approx(true, abs=0.02 * LEVEL)


def spectrum(flux=None, step=0.00039, ivar=None, first=3.55, n=800):
    wavelength = 10 ** (first + step * np.arange(n))
    flux = np.ones(n) if flux is None else flux
    ivar = np.ones(n) if ivar is None else ivar
    return ObservedSpectrum("here", 1, wavelength, flux, ivar, 0.0)


def test_pixels_as_broad_as_the_decoders_stay():
    found = ObservedPixels.of(spectrum(2 * np.ones(800)), (0.0, 0.0))
    assert len(found.flux) == 800
    assert found.unit == pytest.approx(2)
    assert found.flux == pytest.approx(1)
    assert found.ivar == pytest.approx(4)


def test_four_narrow_pixels_become_one_with_their_weighted_mean():
    flux, ivar = np.ones(3200), np.ones(3200)
    flux[400:404], ivar[400:404] = [1.0, 5.0, 1.0, 99.0], [1.0, 2.0, 1.0, 0.0]
    found = ObservedPixels.of(spectrum(flux, 0.0000975, ivar, n=3200), (0.0, 0.0))
    assert len(found.flux) == 800
    assert found.flux[100] * found.unit == pytest.approx(3.0)
    assert found.ivar[100] / found.unit**2 == pytest.approx(4.0)
    place = 3.55 + 0.0000975 * (400 * 1 + 401 * 2 + 402 * 1) / 4
    assert found.log_wavelength[100] == pytest.approx(place)


def test_only_pixels_within_the_decoder_at_every_redshift_are_used():
    found = ObservedPixels.of(spectrum(n=1200), (0.0, 0.1))
    assert 10 ** found.log_wavelength[0] > 1.1 * wavelengths()[0]
    assert 10 ** found.log_wavelength[-1] < wavelengths()[-1]


def test_a_range_of_redshifts_that_leaves_no_pixels_is_refused():
    with pytest.raises(
        SpectrumError, match=r"^here: has 0 pixels .* Narrow the range of redshifts\.$"
    ):
        ObservedPixels.of(spectrum(), (0.0, 2.0))


def test_a_spectrum_of_no_light_is_refused():
    flux = -np.ones(800)
    with pytest.raises(SpectrumError, match="weighted mean flux is -1, expected more than 0"):
        ObservedPixels.of(spectrum(flux), (0.0, 0.1))
