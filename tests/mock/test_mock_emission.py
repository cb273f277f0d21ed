"""Emission lines hold the flux that they are given, where atoms put it."""

import numpy as np
import pytest

from targetsel.mock.anchor import DRAWN_LINES, EDGES, WAVELENGTH
from targetsel.mock.emission import (
    COMPONENTS,
    FOLLOWERS,
    agn_weight,
    gas_dust,
    line_spectrum,
    profile,
    reddening,
)

FLAT = np.ones((1, len(WAVELENGTH)))


def lines(dust=0.0, sigma=100.0, forbidden=100.0, **widths):
    every = {name: np.array([float(widths.get(name, 0.0))]) for name in DRAWN_LINES}
    each = (np.array([value]) for value in (sigma, forbidden, dust))
    return line_spectrum(every, FLAT, *each)[0]


def light(flux, low, high):
    inside = (WAVELENGTH > low) & (WAVELENGTH < high)
    return (flux * np.diff(EDGES))[inside].sum()


def test_a_line_profile_holds_unit_flux_at_its_centre():
    shape = profile(EDGES, 6564.61, np.array([120.0]))[0]
    assert (shape * np.diff(EDGES)).sum() == pytest.approx(1.0, abs=1e-9)
    assert abs(WAVELENGTH[shape.argmax()] - 6564.61) < 3.0


def test_lines_on_a_flat_continuum_have_the_widths_they_were_given():
    flux = lines(**dict.fromkeys(DRAWN_LINES, 10.0))
    followers = sum(10 * ratio for _, _, ratio in FOLLOWERS)
    assert (flux * np.diff(EDGES)).sum() == pytest.approx(60 + followers, rel=1e-6)


def test_doublets_of_one_upper_level_are_one_to_three():
    for name in ("oiii", "nii"):
        (weak, low), (strong, high) = COMPONENTS[name]
        assert weak < strong
        assert high / low == pytest.approx(3.0)


def test_hgamma_without_dust_is_0_469_of_hbeta_and_less_behind_dust():
    for dust, ratio in ((0.0, 0.469), (2.0, 0.469 * 10 ** (-0.8 * (1.1800 - 1.0900)))):
        flux = lines(hbeta=10, dust=dust)
        found = light(flux, 4300, 4380) / light(flux, 4820, 4900)
        assert found == pytest.approx(ratio, rel=2e-3), dust


def test_only_forbidden_lines_are_broadened_by_their_own_dispersion():
    narrow, broad = lines(halpha=10, oiii=10), lines(halpha=10, oiii=10, forbidden=400)
    near = (WAVELENGTH > 6500) & (WAVELENGTH < 6630)
    assert np.array_equal(narrow[near], broad[near])
    oxygen = (WAVELENGTH > 5000) & (WAVELENGTH < 5016)
    assert broad[oxygen].max() < 0.6 * narrow[oxygen].max()


def test_one_magnitude_of_dust_takes_60_percent_of_the_light_at_5500_angstrom():
    passed = reddening(np.array([5500.0, 8000.0]), np.array([1.0]))[0]
    assert passed[0] == pytest.approx(10**-0.4)
    assert passed[1] > passed[0]


def test_dust_reddens_the_balmer_decrement_that_measures_it():
    blue, red = reddening(np.array([4862.69, 6564.61]), np.array([1.3]))[0]
    widths = {"halpha": np.array([2.86 * red]), "hbeta": np.array([blue])}
    assert gas_dust(widths, np.ones(1), np.ones(1)) == pytest.approx(1.3)


def test_a_decrement_below_case_b_or_without_hbeta_stays_between_none_and_4_mag():
    widths = {"halpha": np.array([2.0, 5.0, 0.0]), "hbeta": np.array([1.0, 0.0, 0.0])}
    assert gas_dust(widths, np.ones(3), np.ones(3)) == pytest.approx([0.0, 4.0, 0.0])


def test_star_forming_seyfert_and_retired_galaxies_are_told_apart():
    def weight(halpha, hbeta, nii, oiii):  # fluxes of the strong lines; a doublet adds a third
        found = agn_weight({
            "halpha": np.array([halpha]), "hbeta": np.array([hbeta]),
            "nii": np.array([nii / 0.75]), "oiii": np.array([oiii / 0.75]),
        })  # fmt: skip
        return float(found[0])

    assert weight(30.0, 8.0, 8.0, 6.0) < 0.01
    assert weight(15.0, 4.0, 14.0, 30.0) > 0.95
    assert weight(0.8, 0.3, 0.9, 0.9) < 0.02
    assert 0.02 < weight(15.0, 3.5, 8.0, 4.0) < 0.5
