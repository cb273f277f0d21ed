import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import edges, wavelengths
from targetsel.spectra.lines import (
    BPT_CLASSES,
    PROXIES,
    WINDOWS,
    Band,
    LineWindow,
    air_to_vacuum,
    bpt_probabilities,
    break_strength,
    equivalent_width,
    measure,
)
from targetsel.spectra.proxies import Proxies
from targetsel.spectra.spectrum import Spectra

FINE = np.arange(4901.0, 5100.0) + 0.5  # pixels of 1 Angstrom
WINDOW = LineWindow(Band(4990.0, 5010.0), Band(4950.0, 4980.0), Band(5020.0, 5050.0))


def with_line(continuum, wavelength, width):
    """A continuum with a line that doubles the flux over `width` Angstrom around 5000."""
    return continuum * np.where(np.abs(wavelength - 5000.0) < width / 2, 2.0, 1.0)


def spectra_of(flux):
    return Spectra(np.arange(len(flux)), flux, wavelengths())


def test_line_of_ten_angstrom_on_flat_continuum_has_width_ten():
    flux = with_line(np.ones_like(FINE), FINE, 10)
    assert equivalent_width(flux, FINE, WINDOW) == pytest.approx(10, abs=1e-6)


def test_absorption_window_turns_the_sign():
    flux = with_line(np.ones_like(FINE), FINE, 10)
    window = LineWindow(WINDOW.line, WINDOW.blue, WINDOW.red, sign=-1)
    assert equivalent_width(flux, FINE, window) == pytest.approx(-10, abs=1e-6)


@pytest.mark.parametrize("slope", [-0.004, 0.001, 0.005])
def test_sloping_continuum_without_a_line_has_no_width(slope):
    flux = 1 + slope * (FINE - 5000)
    assert equivalent_width(flux, FINE, WINDOW) == pytest.approx(0, abs=1e-4)


def test_line_in_proportion_to_a_sloping_continuum_keeps_its_width():
    flux = with_line(1 + 0.005 * (FINE - 5000), FINE, 10)
    assert equivalent_width(flux, FINE, WINDOW) == pytest.approx(10, abs=1e-3)


def test_half_a_pixel_in_the_line_band_counts_half():
    flux = np.where(np.abs(FINE - 5010.5) < 0.1, 3.0, 1.0)  # the pixel 5010-5011
    window = LineWindow(Band(4990.0, 5010.5), WINDOW.blue, WINDOW.red)
    assert equivalent_width(flux, FINE, window) == pytest.approx(1, abs=1e-4)


def test_negative_continuum_has_no_width():
    assert np.isnan(equivalent_width(-np.ones_like(FINE), FINE, WINDOW))


def test_band_beyond_the_spectrum_is_refused_with_both_ranges():
    window = LineWindow(Band(5090.0, 5120.0), WINDOW.blue, WINDOW.red)
    with pytest.raises(SpectrumError, match=r"5090.0-5120.0 Angstrom .* covers 4901.0-5100.0"):
        equivalent_width(np.ones_like(FINE), FINE, window)


def test_break_of_flux_constant_in_frequency_is_one():
    grid = wavelengths()
    flux = grid**-2
    blue, red = Band(3850.0, 3950.0), Band(4000.0, 4100.0)
    assert break_strength(flux, grid, blue, red) == pytest.approx(1, abs=1e-5)
    stepped = np.where(grid > 3975, 1.7, 1.0) * flux
    assert break_strength(stepped, grid, blue, red) == pytest.approx(1.7, abs=1e-4)


def test_break_over_a_dark_blue_band_is_missing():
    grid = wavelengths()
    flux = np.where(grid > 3975, 1.0, 0.0)
    assert np.isnan(break_strength(flux, grid, Band(3850.0, 3950.0), Band(4000.0, 4100.0)))


def test_gaussian_line_of_forty_angstrom_keeps_its_width_on_the_decoder_grid():
    from scipy.stats import norm

    sides = edges()
    line = 40 * np.diff(norm.cdf(sides, 6564.6, 3.3)) / np.diff(sides)
    proxies = measure(spectra_of((1 + line)[None, None]))
    assert proxies["ew_halpha_nii"][0, 0] == pytest.approx(40, rel=1e-3)
    assert proxies["ew_halpha"][0, 0] == pytest.approx(40 * 0.94, rel=0.01)  # 14 A hold 94 %
    assert proxies["ew_oii"][0, 0] == pytest.approx(0, abs=1e-9)


@given(st.floats(1e-20, 1e20))
def test_no_proxy_depends_on_brightness(scale):
    flux = np.random.default_rng(0).uniform(0.5, 1.5, (1, 2, 1000))
    expected = measure(spectra_of(flux)).values
    np.testing.assert_allclose(measure(spectra_of(flux * scale)).values, expected, rtol=1e-6)


def test_shuffled_sources_have_shuffled_proxies():
    flux = np.random.default_rng(1).uniform(0.5, 1.5, (7, 3, 1000))
    order = np.random.default_rng(2).permutation(7)
    expected = measure(spectra_of(flux)).values[order]
    np.testing.assert_array_equal(measure(spectra_of(flux[order])).values, expected)


def test_every_window_lies_on_the_grid_and_its_line_between_its_sides():
    sides = edges()
    for window in WINDOWS.values():
        assert sides[0] < window.blue.start < window.red.end < sides[-1]
        assert window.blue.end <= window.line.start < window.line.end <= window.red.start


def test_halpha_in_air_is_1_8_angstrom_bluer_than_in_vacuum():
    assert air_to_vacuum(6562.79) == pytest.approx(6564.60, abs=0.01)


# ---------------------------------------------------------------- classes of ionisation


@given(st.integers(0, 2**32 - 1))
def test_shares_of_ionisation_classes_add_to_one(seed):
    values = np.random.default_rng(seed).normal(3, 8, (4, 16, len(PROXIES)))
    shares = bpt_probabilities(Proxies(np.arange(4), PROXIES, values))
    assert set(shares) == set(BPT_CLASSES)
    np.testing.assert_allclose(sum(shares.values()), 1, atol=1e-12)


@pytest.mark.parametrize(
    ("nii", "oiii", "expected"),
    [(6, 5, "bpt_sf"), (20, 10, "bpt_composite"), (20, 60, "bpt_agn"), (0.2, 60, "bpt_weak")],
)
def test_line_ratios_fall_in_their_class(nii, oiii, expected):
    # Halpha 30 and Hbeta 10 once absorption is put back: log [NII]/Ha is -0.7 or -0.18.
    value = dict.fromkeys(PROXIES, 0.0) | {"d4000": 1.0, "ew_nii": nii, "ew_oiii": oiii}
    value |= {"ew_halpha": 30 - 2.68 + 1.38, "ew_hbeta": 10 - 4.20 + 1.13}
    values = np.array([[[value[name] for name in PROXIES]]])
    shares = bpt_probabilities(Proxies(np.arange(1), PROXIES, values))
    assert shares[expected][0] == 1
