"""The same sources in every archive, on loopback."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.emulator.catalogs import Catalogs, catalogs_of


@dataclass(frozen=True)
class Sources:
    """N sources with an r magnitude, AB."""

    source_id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    rmag: np.ndarray

    def catalogs(self, **options) -> Catalogs:
        """The archives that hold these sources."""
        return catalogs_of(self.source_id, self.ra, self.dec, self.rmag, **options)


@pytest.fixture
def around():
    """A function: N sources spread evenly within a radius [deg] of a place."""

    def spread(ra, dec, radius, n, seed=0):
        rng = np.random.default_rng(seed)
        angle = rng.uniform(0, 2 * np.pi, n)
        away = np.radians(radius) * np.sqrt(rng.uniform(0, 1, n))
        dec0 = np.radians(dec)
        sine = np.sin(dec0) * np.cos(away) + np.cos(dec0) * np.sin(away) * np.cos(angle)
        across = np.sin(away) * np.sin(angle)
        along = np.cos(away) * np.cos(dec0) - np.sin(away) * np.sin(dec0) * np.cos(angle)
        place = (ra + np.degrees(np.arctan2(across, along))) % 360, np.degrees(np.arcsin(sine))
        ids = 2**60 + rng.permutation(n)  # digits that a double would lose
        return Sources(ids, *place, rng.uniform(15, 20, n))

    return spread
