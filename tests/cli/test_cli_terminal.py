"""Tests of targetsel.cli.terminal: tables and numbers as commands print them."""

import pytest

from targetsel.cli.terminal import counted


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        ((0, "source"), "0 sources"),
        ((1, "source"), "1 source"),
        ((1234, "source"), "1,234 sources"),
        ((1, "spectrum", "spectra"), "1 spectrum"),
        ((2, "spectrum", "spectra"), "2 spectra"),
    ],
)
def test_counted(count, expected):
    assert counted(*count) == expected
