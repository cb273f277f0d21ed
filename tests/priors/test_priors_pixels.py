"""Pixels of a measured spectrum, as an update looks at them."""

import numpy as np
import pytest

from targetsel.errors import SpectrumError
from targetsel.priors.likelihood import ObservedPixels
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.spectrum import ObservedSpectrum


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
    with pytest.raises(SpectrumError, match=r"^here: 0 pixels .* Narrow the range of redshifts\.$"):
        ObservedPixels.of(spectrum(), (0.0, 2.0))


def test_a_spectrum_of_no_light_is_refused():
    flux = -np.ones(800)
    with pytest.raises(SpectrumError, match="weighted mean flux is -1, expected more than 0"):
        ObservedPixels.of(spectrum(flux), (0.0, 0.1))
