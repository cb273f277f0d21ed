"""Neighbours: how many, where, and of what colours."""

import numpy as np
import pytest

from targetsel.mock.neighbours import CLEARANCE, GALAXIES, SQUARE, STARS, blackbody, draw_neighbours
from targetsel.mock.profiles import canvas_of
from targetsel.mock.survey import PAN_STARRS

CANVAS = canvas_of(0.25)


def neighbours(factor, n=300):
    rngs = (np.random.default_rng([5, k]) for k in range(n))
    return [draw_neighbours(PAN_STARRS, CANVAS, 16.0, factor, rng) for rng in rngs]


def test_there_are_as_many_as_said_less_those_too_close():
    found = sum(len(light.flux) for light in neighbours(1.0) if light is not None) / 300
    area, close = 18.0**2, np.pi * CLEARANCE**2
    expected = (GALAXIES.number + STARS.number) * (area - close) / SQUARE**2
    assert found == pytest.approx(expected, abs=0.15)


def test_without_neighbours_there_is_nothing():
    assert neighbours(0.0, 20) == [None] * 20


def test_all_are_within_the_magnitudes_said():
    flux = np.concatenate([each.flux for each in neighbours(3.0) if each is not None])
    r = 22.5 - 2.5 * np.log10(flux[:, 1])
    assert r.min() > 14.4
    assert 21.0 < np.median(r) < r.max() < 22.6


def test_none_is_where_the_source_is():
    for light in neighbours(5.0, 50):
        if light is not None:
            sharp = light.transforms[np.abs(light.transforms).min(axis=1) > 0.99]  # stars
            assert (np.abs(sharp.real @ CANVAS.fiber) < 0.2).all()


def test_hot_stars_are_bluer_and_everything_is_one_at_6200_angstrom():
    wavelength = np.array([4900.0, 6200.0, 9600.0])
    cool, hot = blackbody(wavelength, 4000.0), blackbody(wavelength, 8000.0)
    assert cool[1] == hot[1] == pytest.approx(1.0)
    assert hot[0] > 1.5 * cool[0]
    assert hot[2] < 0.8 * cool[2]
