"""Spectra get the noise that their inverse variance says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.mock.spectrograph import SNR_LIMITS, measure_spectra, signal_to_noise


def test_signal_to_noise_is_ten_at_17_7_and_stays_within_its_limits():
    snr = signal_to_noise(np.array([17.7, 16.7, 12.0, 22.0]), np.zeros(4))
    assert snr == pytest.approx([10.0, 10**1.3, *SNR_LIMITS[::-1]])


def test_half_of_the_pixels_are_above_the_signal_to_noise_asked_for():
    flux, snr = np.full((3, 1000), 0.03), np.array([4.0, 10.0, 60.0])
    _, ivar = measure_spectra(flux, np.full(3, 0.1), snr, np.zeros((3, 1000)))
    assert np.median(flux * np.sqrt(ivar), axis=1) == pytest.approx(snr, rel=1e-3)


@given(st.floats(0.02, 0.28), st.floats(4.0, 60.0))
def test_noise_over_sigma_is_the_normals_that_were_given(redshift, snr):
    flux = np.linspace(0.01, 0.05, 1000)[None]
    noise = np.random.default_rng(0).normal(size=(1, 1000))
    measured, ivar = measure_spectra(flux, np.array([redshift]), np.array([snr]), noise)
    assert (measured - flux) * np.sqrt(ivar) == pytest.approx(noise, abs=2e-3)


def test_ends_are_noisier_than_the_middle():
    _, ivar = measure_spectra(
        np.full((1, 1000), 0.03), np.array([0.1]), np.array([10.0]), np.zeros((1, 1000))
    )
    assert ivar[0, 600] > 2 * ivar[0, 0]
    assert ivar[0, 600] > 1.5 * ivar[0, -1]
