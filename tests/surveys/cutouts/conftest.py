"""A small sky, its services on loopback, and what is measured on a cutout."""

from __future__ import annotations

import numpy as np
import pytest

from tests.emulator.sky import BANDS, Stars

# Ordinary, on both sides of ra 0, near a pole and at it, and where skycells overlap.
PLACES = np.array([(150.1, 2.2), (359.9999, 10.0), (0.0001, -10.0), (77.0, 89.9), (0.0, 90.0)])


@pytest.fixture
def stars():
    """A star of 16 to 18 mag at each place."""
    found = Stars.at(*PLACES.T.copy())
    return Stars(found.ra, found.dec, 16 + (found.magnitude - 16) / 2)


def check_star(flux, star, stars, band):
    """The star has its magnitude within 0.01, and its centre within half a pixel of the middle."""
    assert flux.shape[0] == flux.shape[1]
    middle = (len(flux) - 1) / 2
    y, x = np.mgrid[: len(flux), : len(flux)] - middle
    inside = np.hypot(x, y) < 20
    total = np.nansum(flux[inside])
    magnitude = 22.5 - 2.5 * np.log10(total)
    assert magnitude == pytest.approx(stars.magnitude[star, BANDS.index(band)], abs=0.01)
    light = np.where((flux > np.nanmax(flux) / 50), flux, 0)
    for axis in (x, y):
        assert abs((axis * light).sum() / light.sum()) <= 0.52
