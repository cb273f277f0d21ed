import numpy as np
import pytest

from targetsel.photometry.flux import extinction


# Schlafly & Finkbeiner (2011, ApJ 737, 103), table 6, R_V = 3.1: extinction in whole bands, which
# a law at one wavelength can meet only about.
@pytest.mark.parametrize(
    ("wavelength", "coefficient"),
    [(4810, 3.172), (6170, 2.271), (7520, 1.682), (8660, 1.322), (9620, 1.087)],
)
def test_extinction_is_near_the_published_coefficients_of_panstarrs(wavelength, coefficient):
    assert extinction(wavelength) == pytest.approx(coefficient, rel=0.03)


def test_extinction_passes_through_the_published_points():
    assert extinction(6000) == pytest.approx(0.86 * 2.688)
    assert extinction(4670) == pytest.approx(0.86 * 3.806)


def test_red_light_is_dimmed_less():
    assert (np.diff(extinction(np.linspace(3000, 13000, 200))) < 0).all()
