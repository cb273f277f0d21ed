"""Company of a source: blends with what is fainter, galaxies around it, colours as measured."""

import numpy as np
import pytest

from targetsel.mock.camera import PAN_STARRS, find_camera
from targetsel.mock.company import (
    CLUSTER_RADIUS,
    CLUSTERED,
    COLOUR_SCATTER,
    blends_from,
    draw_companions,
    recoloured,
)
from targetsel.mock.images import CLEARANCE, Light, canvas_of, draw_neighbours

CANVAS = canvas_of(0.25)


def rngs(n, seed=5):
    return (np.random.default_rng([seed, k]) for k in range(n))


def centroids(light):
    """Distances of the lights from the centre [arcsec]."""
    images = CANVAS.images(light.transforms, 128)
    y, x = 0.25 * (np.mgrid[:128, :128] - 63.5)
    total = images.sum(axis=(1, 2))
    return np.hypot((images * x).sum(axis=(1, 2)), (images * y).sum(axis=(1, 2))) / total


def neighbours(blends, n=300):
    return [draw_neighbours(PAN_STARRS, CANVAS, 16.0, 3.0, rng, blends) for rng in rngs(n)]


def test_only_fainter_neighbours_blend():
    apart, blended = neighbours(np.inf), neighbours(20.0)
    closer = 0
    for one, other in zip(apart, blended, strict=True):
        if one is None or other is None:
            continue
        known = np.isin(other.flux[:, 1], one.flux[:, 1])
        added = 22.5 - 2.5 * np.log10(other.flux[~known, 1])
        assert known.sum() == len(one.flux)
        assert (added > 19.99).all()
        closer += len(added)
    assert closer == pytest.approx(300 * 3 * 0.65 * np.pi * CLEARANCE**2 / 256 * 0.8, rel=0.35)


def test_neighbours_blend_in_as_many_sources_as_realism_says():
    asked = np.array([blends_from(18.0, 0.4, rng) for rng in rngs(1000)])
    assert np.isfinite(asked).mean() == pytest.approx(0.4, abs=0.05)
    assert asked[np.isfinite(asked)] == pytest.approx(18.5)


def companions(magnitude, n=400, factor=1.0):
    found = (draw_companions(PAN_STARRS, CANVAS, magnitude, factor, rng) for rng in rngs(n))
    return [each for each in found if each is not None]


def test_companions_are_as_many_as_said_and_near():
    found = companions(18.0)
    assert sum(len(each.flux) for each in found) / 400 == pytest.approx(CLUSTERED, abs=0.08)
    away = np.concatenate([centroids(each) for each in found])
    assert away.max() < CLUSTER_RADIUS + 1
    assert np.mean(away < CLUSTER_RADIUS / 2) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("magnitude", [15.0, 18.0, 21.9])
def test_companions_are_somewhat_brighter_to_much_fainter_than_the_source(magnitude):
    flux = np.concatenate([each.flux[:, 1] for each in companions(magnitude)])
    off = 22.5 - 2.5 * np.log10(flux) - magnitude
    assert -0.6 < off.min() < off.max() < min(4.1, 22.6 - magnitude)
    assert off.mean() > 0


def test_a_factor_of_nothing_gives_no_companions():
    assert companions(18.0, 50, factor=0.0) == []


@pytest.mark.parametrize("survey", [PAN_STARRS, find_camera("lsst")])
def test_colours_of_neighbours_scatter_and_their_r_flux_hardly_changes(survey):
    bands = len(survey.bands)
    light = Light(np.ones((4000, 1)), np.ones((4000, bands)))
    after = -2.5 * np.log10(recoloured(light, survey, 1.0, np.random.default_rng(1)).flux)
    assert after.std(axis=0) == pytest.approx(COLOUR_SCATTER, rel=0.05)
    r = survey.bands.index("r")
    assert abs(after[:, r].mean()) < 0.05
    assert after[:, r - 1].mean() > after[:, r].mean() + 0.05  # redder than the plain ones


def test_colours_stay_without_realism():
    light = Light(np.ones((3, 1)), np.full((3, 5), 2.0))
    same = recoloured(light, PAN_STARRS, 0.0, np.random.default_rng(1))
    assert same.flux == pytest.approx(2.0)
