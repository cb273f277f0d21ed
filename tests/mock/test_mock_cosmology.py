"""Distances are those of a flat universe of H0 = 70 km/s/Mpc and Omega_m = 0.3."""

import numpy as np
import pytest

from targetsel.mock.cosmology import (
    arcsec_per_kpc,
    comoving_distance,
    distance_modulus,
    redshift_at,
)


def test_distances_are_the_integrals_done_by_hand():
    # 299,792.458 / 70 Mpc times Simpson's integral of (0.3 (1 + z)^3 + 0.7)^-1/2, in 4 steps.
    edges = np.linspace(0.0, 0.5, 9)
    integrand = (0.3 * (1 + edges) ** 3 + 0.7) ** -0.5
    integral = 0.0625 / 3 * integrand @ [1, 4, 2, 4, 2, 4, 2, 4, 1]
    distance = 299_792.458 / 70 * integral
    assert distance == pytest.approx(1888.6, abs=0.1)
    assert comoving_distance(np.array([0.5])) == pytest.approx(distance, rel=1e-4)
    modulus = 5 * np.log10(1.5 * distance) + 25
    assert distance_modulus(np.array([0.5])) == pytest.approx(modulus, abs=2e-4)
    angle = np.degrees(1.5 / (1000 * distance)) * 3600
    assert arcsec_per_kpc(np.array([0.5])) == pytest.approx(angle, rel=1e-4)


def test_the_redshift_at_a_distance_undoes_the_distance():
    redshift = np.array([0.01, 0.1, 0.33, 0.6])
    assert redshift_at(comoving_distance(redshift)) == pytest.approx(redshift, rel=1e-5)
