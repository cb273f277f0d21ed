"""Spectra of a few sources in SDSS's archive and in SPARCL, on loopback."""

from __future__ import annotations

import numpy as np
import pytest

from targetsel.surveys import retry
from targetsel.surveys.http import Web
from tests.emulator.loopback import only_loopback


@pytest.fixture(autouse=True)
def nothing_leaves_loopback():
    with only_loopback():
        yield


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(retry, "PAUSE", 0.0)


@pytest.fixture
def web():
    return Web(rate=1000, attempts=4)


@pytest.fixture
def plates():
    """N redshifts by (plate, mjd, fiber)."""

    def plates(n, seed=0):
        redshift = np.random.default_rng(seed).uniform(0.02, 0.3, n)
        return {(266, 51602, k + 1): float(z) for k, z in enumerate(redshift)}

    return plates
