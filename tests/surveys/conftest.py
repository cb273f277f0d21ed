"""Surveys on loopback: no test leaves it, and nobody waits between attempts."""

from __future__ import annotations

import pytest

from targetsel.surveys import http
from targetsel.surveys.http import Web
from tests.emulator.loopback import only_loopback


@pytest.fixture(autouse=True)
def nothing_leaves_loopback():
    with only_loopback():
        yield


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(http, "PAUSE", 0.0)


@pytest.fixture
def web():
    return Web(rate=1000, attempts=4)
