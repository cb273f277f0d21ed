"""The figures of clustering that weights take away, by hand."""

import even_density
import numpy as np
import pytest

FIELD = np.tile([-0.1, 0.1], 500)
COUNTS = 1e9 * (1 + FIELD)  # without Poisson noise to speak of


def test_weights_that_do_nothing_take_nothing_away():
    found = even_density.clustering_lost(COUNTS, COUNTS, FIELD, FIELD)
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-6)


def test_weights_that_halve_the_field_take_half_away_and_three_quarters_of_the_variance():
    found = even_density.clustering_lost(COUNTS, 1e9 * (1 + FIELD / 2), FIELD, FIELD)
    assert found["cross-correlation"] == pytest.approx(50.0)
    assert found["variance"] == pytest.approx(75.0, abs=1e-4)


def test_a_trend_is_given_in_percent_between_the_5th_and_95th_percentile():
    sky = even_density.Sky.__new__(even_density.Sky)
    sky.stars, sky.areas = np.linspace(0, 1, 1001), np.ones(1001)
    for relative in (sky.straight(), sky.saturating()):
        low, high = np.interp([0.05, 0.95], sky.stars, relative)
        assert 100 * (high - low) == pytest.approx(-10.0, abs=0.02)
        assert relative.mean() == pytest.approx(1.0)
