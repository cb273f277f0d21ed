"""Spectra of a few sources in SDSS's archive and in SPARCL, on loopback."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def plates():
    """N redshifts by (plate, mjd, fiber)."""

    def plates(n, seed=0):
        redshift = np.random.default_rng(seed).uniform(0.02, 0.3, n)
        return {(266, 51602, k + 1): float(z) for k, z in enumerate(redshift)}

    return plates
