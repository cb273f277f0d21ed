"""Novelty is a share of held-out training sources, so it is uniform for ordinary ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from targetsel.imaging.measurements import CHECKS
from targetsel.novelty.novelty import EDGE, FEATURES, LEVELS, NoveltyReference, share_above

NO_APPEARANCE = np.zeros((0, 3))
MIXING = np.random.default_rng(0).normal(size=(8, 8))


def ordinary(n, seed):
    """Features (2, n, 8) and quality (n, 9); the first check is 0 for most, as masks are."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=(n, len(CHECKS)))
    quality[:, 0] = np.where(rng.random(n) < 0.05, rng.random(n), 0.0)
    return rng.normal(size=(2, n, 8)) @ MIXING, quality


@pytest.fixture(scope="module")
def reference():
    return NoveltyReference.fit(*ordinary(8000, 1), NO_APPEARANCE)


def typical(reference, features, quality):
    return reference.typicality(reference.novelty(features), quality, np.zeros((len(quality), 3)))


@pytest.mark.parametrize("part", ["share", "by_features", "by_image"])
def test_novelty_of_ordinary_sources_is_uniform_whole_and_in_parts(reference, part):
    values = getattr(typical(reference, *ordinary(4000, 2)), part)
    assert kstest(values, "uniform").statistic < 0.04
    assert (values < 0.01).mean() == pytest.approx(0.01, abs=0.006)


def test_a_source_far_from_all_others_in_features_has_no_equal(reference):
    features, quality = ordinary(1, 3)
    found = typical(reference, features + 30 * MIXING.sum(axis=0), 0 * quality)
    assert found.by_features[0] < EDGE
    assert found.share[0] < 1e-3
    assert found.reason[0] == FEATURES


@pytest.mark.parametrize("check", range(len(CHECKS)))
def test_the_check_that_is_odd_is_the_reason(reference, check):
    features, quality = ordinary(1, 3)
    quality[:] = 0.0
    quality[0, check] = 50.0
    found = typical(reference, 0 * features + reference.mean[:, None], quality)
    assert found.share[0] < 1e-3
    assert found.reason[0] == list(CHECKS)[check]


def test_too_little_is_odd_only_where_that_can_be_wrong(reference):
    low = reference.shares(np.full((1, len(CHECKS)), -50.0))[0]
    odd = {name for name, share in zip(CHECKS, low, strict=True) if share < 0.01}
    assert odd == {"sky noise", "compact"}


def test_the_centre_of_the_training_sources_has_novelty_one(reference):
    assert reference.novelty(reference.mean[:, None]) == pytest.approx(1.0)


def test_distance_does_not_depend_on_the_units_of_a_feature():
    features, quality = ordinary(3000, 4)
    scaled = features * np.array([1.0, 2.0, 0.5, 1.0, 1.0, 3.0, 1.0, 1.0])
    plain = NoveltyReference.fit(features, quality, NO_APPEARANCE).distance(features)
    found = NoveltyReference.fit(scaled, quality, NO_APPEARANCE).distance(scaled)
    assert found == pytest.approx(plain, rel=0.05)  # but for the ridge


def test_without_training_sources_novelty_is_not_known():
    unknown = NoveltyReference.unknown(2, 8)
    found = typical(unknown, *ordinary(3, 5))
    assert np.isnan([found.share, found.by_features, found.by_image]).all()
    assert not unknown.support.holds(np.zeros((3, 3))).any()


def test_a_source_without_prediction_keeps_what_its_image_says(reference):
    found = reference.typicality(np.array([np.nan]), ordinary(1, 8)[1], np.zeros((1, 3)))
    assert np.isnan(found.share[0])
    assert 0 < found.by_image[0] <= 1


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20))
def test_the_share_above_falls_with_the_value(values):
    quantiles = np.quantile(np.random.default_rng(9).normal(size=500), LEVELS)
    shares = share_above(quantiles, np.sort(values))
    assert (np.diff(shares) <= 1e-12).all()
    assert ((shares > 0) & (shares <= 1)).all()


def test_values_that_many_share_count_as_not_above_themselves_only():
    quantiles = np.where(LEVELS < 0.9, 0.0, LEVELS)  # nine tenths are exactly 0
    assert share_above(quantiles, np.array([0.0])) == pytest.approx([1.0])
    assert share_above(quantiles, np.array([0.95])) == pytest.approx([0.05], abs=0.005)
