"""Noise as in real images: correlated as asked, of the survey's depth, and uneven."""

from dataclasses import replace

import numpy as np
import pytest

from targetsel.mock.camera import EDGE, PAN_STARRS, Texture, add_noise
from targetsel.mock.noise import NOISE, draw_texture, spline_weights
from targetsel.surveys.card import Correlation

EDGES = Correlation().edges
BLANK = np.zeros((5, 66, 66), dtype=np.float32)
EVEN = Texture(
    edge=np.full(5, EDGE),
    contrast=np.ones((5, 66, 66), dtype=np.float32),
    residual=np.zeros((5, 64, 64), dtype=np.float32),
)


def noise(texture, n=60):
    """Noise [sigma of a pixel], shape (n, 5, 64, 64)."""
    rngs = (np.random.default_rng([6, k]) for k in range(n))
    made = np.array([add_noise(BLANK, PAN_STARRS, np.ones(5), rng, texture) for rng in rngs])
    return made / PAN_STARRS.sky_sigma[:, None, None]


def textures(n=300, realism=1.0):
    rngs = (np.random.default_rng([7, k]) for k in range(n))
    return [draw_texture(PAN_STARRS, 64, realism, rng) for rng in rngs]


@pytest.mark.parametrize("edge", [EDGES[0], 0.0, 0.12, EDGES[1]])
def test_neighbours_correlate_as_asked_and_a_pixel_keeps_its_noise(edge):
    made = noise(replace(EVEN, edge=np.full(5, edge)))
    expected = 2 * edge * (1 - 2 * edge) / ((1 - 2 * edge) ** 2 + 2 * edge**2)
    assert made.std(axis=(0, 2, 3)) == pytest.approx(1.0, rel=0.01)
    assert (made[..., 1:] * made[..., :-1]).mean() == pytest.approx(expected, abs=0.01)
    assert (made[..., 1:, :] * made[..., :-1, :]).mean() == pytest.approx(expected, abs=0.01)


def test_limits_of_the_correlation_are_those_of_lanczos_and_twice_the_plain_one():
    low, high = (2 * e * (1 - 2 * e) / ((1 - 2 * e) ** 2 + 2 * e**2) for e in EDGES)
    assert low == pytest.approx(-0.07, abs=0.01)
    assert high == pytest.approx(0.46, abs=0.01)


def test_each_band_has_a_correlation_of_its_own():
    edges = np.array([0.0, 0.17, 0.0, 0.17, 0.0])
    made = noise(replace(EVEN, edge=edges), 20)
    beside = (made[..., 1:] * made[..., :-1]).mean(axis=(0, 2, 3))
    assert beside == pytest.approx([0, 0.455, 0, 0.455, 0], abs=0.015)


def test_contrast_is_the_factor_on_the_noise_of_a_pixel():
    contrast = np.ones((5, 66, 66), dtype=np.float32)
    contrast[:, :, 33:] = 2.0
    made = noise(replace(EVEN, contrast=contrast))
    assert made[..., :30].std() == pytest.approx(1.0, rel=0.01)
    assert made[..., 34:].std() == pytest.approx(2.0, rel=0.01)


def test_left_sky_correlates_over_four_and_twelve_pixels_as_in_the_mosaic():
    left = np.array([each.residual for each in textures()])
    amplitudes = 0.13**2 + 0.07**2 + 0.06**2  # whose logarithms scatter by 0.4
    assert left.var() == pytest.approx(amplitudes * np.exp(2 * 0.4**2), rel=0.2)
    at = {lag: (left[..., lag:] * left[..., :-lag]).mean() for lag in (4, 12, 24)}
    assert at[4] == pytest.approx(0.024, abs=0.006)
    assert at[12] == pytest.approx(0.008, abs=0.004)
    assert at[24] < 0.007


def test_noise_scatters_from_source_to_source_and_band_to_band():
    level = np.log([each.contrast.mean(axis=(1, 2)) for each in textures()])
    assert level.std() == pytest.approx(np.hypot(*NOISE), rel=0.15)
    assert level.mean() == pytest.approx(0.0, abs=0.02)


def test_a_few_cutouts_have_noise_with_a_step():
    steps = [np.abs(np.diff(each.contrast[:, 33], axis=1)).max() > 0.03 for each in textures()]
    assert 0.005 < np.mean(steps) < 0.06


def test_random_curves_have_variance_one_everywhere_and_are_smooth():
    weights = spline_weights(64, 5.2)
    assert (weights**2).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert (weights[1:] * weights[:-1]).sum(axis=1).min() > 0.95


def test_no_realism_is_the_survey_itself():
    (none,) = textures(1, realism=0.0)
    assert none.edge == pytest.approx(EDGE)
    assert none.contrast == pytest.approx(1.0)
    assert none.residual == pytest.approx(0.0)
