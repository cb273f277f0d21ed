import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.spectrographs.spectrograph import (
    LONGEST,
    Rates,
    effective_width,
    exposure_time,
    rates,
    share_in_fiber,
    signal_to_noise,
)
from tests.spectrographs.simple import simple

ALONE = np.array([0.0]), np.array([1.0])


@pytest.fixture
def instrument(tmp_path):
    return simple(tmp_path)


def observed(instrument, flux=1e-16, continuum=1e-17, wavelength=5000.0):
    arm = instrument.arms[0]
    at = np.array([wavelength])
    width = effective_width(at, *ALONE, arm)
    return rates(np.array([flux]), np.array([continuum]), at, width, arm, instrument)


def test_width_adds_instrument_pixel_and_gas_in_quadrature(instrument):
    # R = 5000 at 5000 Angstrom: 1 Angstrom FWHM, sigma 0.4247. A pixel of 1 Angstrom: 0.2887.
    # 100 km/s: 1.6678. Together sqrt(0.1803 + 0.0833 + 2.7816) = 1.7451, times 2 sqrt(pi): 6.186.
    width = effective_width(np.array([5000.0]), *ALONE, instrument.arms[0])
    assert width == pytest.approx(6.186, abs=0.001)


def test_pair_far_apart_is_disturbed_by_twice_the_sky(instrument):
    arm, at = instrument.arms[0], np.array([5000.0])
    single = effective_width(at, *ALONE, arm)
    pair = effective_width(at, np.array([-0.02, 0.02]), np.array([0.5, 0.5]), arm)
    assert pair == pytest.approx(2 * single)


def test_exposure_time_agrees_with_a_hand_calculation(instrument):
    # A photon of 5000 Angstrom has 1.98645e-8 / 5000 = 3.9729e-12 erg, so 1 m2 that detects half
    # makes 1e4 * 0.5 / 3.9729e-12 = 1.25853e15 electrons of 1 erg/cm2.
    # The line, 1e-16 erg/s/cm2: S = 0.125853 electrons/s.
    # Sky of magnitude 22.5: 3.63078e-20 * 1e-9 * 2.99792e18 / 5000^2 = 4.35393e-18 per arcsec2,
    # times pi arcsec2 of a fiber of 2 arcsec: 1.36783e-17. With the continuum: 2.36783e-17.
    # Under 6.186 Angstrom: 1.25853e15 * 2.36783e-17 * 6.186 = 0.18434 electrons/s.
    # 6.186 pixels by 4 rows: 24.744 pixels, 0.024744 of dark current: B = 0.209085 electrons/s.
    # A readout adds 24.744 * 3^2 = 222.70 electrons^2.
    seen = observed(instrument)
    assert seen.line == pytest.approx(0.125853, rel=1e-4)
    assert seen.background == pytest.approx(0.209085, rel=1e-4)
    assert seen.readout == pytest.approx(222.70, rel=1e-4)
    # After 1000 s, one readout: 125.853 / sqrt(125.853 + 209.085 + 222.70) = 5.3296.
    assert signal_to_noise(seen, 1000.0, 1000.0) == pytest.approx(5.3296, rel=1e-4)
    # S/N 10, several readouts: 100 (0.125853 + 0.209085 + 0.22270) / 0.125853^2 = 3520.7 s.
    assert exposure_time(seen, 10.0, 1000.0) == pytest.approx(3520.7, rel=1e-4)
    # S/N 2, one readout: the larger root of 0.0158390 t^2 - 4 * 0.334938 t - 4 * 222.70 = 0,
    # 42.293 + sqrt(42.293^2 + 890.80 / 0.0158390) = 283.19.
    assert exposure_time(seen, 2.0, 1000.0) == pytest.approx(283.19, rel=1e-4)


@given(st.floats(-17.5, -14), st.floats(-18, -15), st.floats(0.5, 50))
def test_exposure_for_a_ratio_reaches_that_ratio(flux, continuum, snr):
    line, background = 10 ** (flux + 15.1), 10 ** (continuum + 15.9)
    seen = Rates(np.array([line]), np.array([background]), np.array([200.0]))
    time = exposure_time(seen, snr, 900.0)
    if time < LONGEST:
        assert signal_to_noise(seen, float(time[0]), 900.0) == pytest.approx(snr)


def test_line_in_absorption_is_never_reached(instrument):
    seen = observed(instrument, flux=-1e-16)
    assert signal_to_noise(seen, 1000.0, 1000.0) < 0
    assert exposure_time(seen, 5.0, 1000.0) == LONGEST


def test_four_times_the_time_doubles_the_ratio_once_there_are_several_readouts(instrument):
    seen = observed(instrument)
    first, later = (signal_to_noise(seen, t, 1000.0) for t in (2000.0, 8000.0))
    assert later == pytest.approx(2 * first)


# --- light in a fiber ----------------------------------------------------------------------------


def test_fiber_as_wide_as_the_seeing_takes_half_of_a_point_source():
    # A Gaussian holds half of its light within half of its full width at half maximum.
    assert share_in_fiber(np.array([0.0]), 1.2, 1.2) == pytest.approx(0.5, abs=1e-5)


def test_fiber_of_the_half_light_diameter_takes_half_of_a_disk_in_good_seeing():
    assert share_in_fiber(np.array([3.0]), 6.0, 0.2) == pytest.approx(0.5, abs=0.003)


def test_share_agrees_with_counting_the_light_of_a_blurred_disk():
    # Photons of an exponential disk (a sum of two exponentials in radius) moved by the seeing.
    rng = np.random.default_rng(1)
    n, scale = 400_000, 1.5 / 1.678347
    radius, angle = rng.gamma(2.0, scale, n), rng.uniform(0, 2 * np.pi, n)
    x = radius * np.cos(angle) + rng.normal(0, 1.1 / 2.354820, n)
    y = radius * np.sin(angle) + rng.normal(0, 1.1 / 2.354820, n)
    counted = (np.hypot(x, y) < 0.76).mean()
    assert share_in_fiber(np.array([1.5]), 1.52, 1.1) == pytest.approx(counted, abs=0.002)


@given(st.floats(0, 20), st.floats(0.3, 4), st.floats(0.3, 3))
def test_larger_galaxies_lose_more_light(radius, aperture, seeing):
    small, large = share_in_fiber(np.array([radius, radius + 0.5]), aperture, seeing)
    assert 0 < large < small <= 1


def test_source_of_unknown_size_has_no_share():
    assert np.isnan(share_in_fiber(np.array([np.nan]), 1.5, 1.1)).all()
