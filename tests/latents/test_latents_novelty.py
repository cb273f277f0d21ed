"""Novelty is a share of held-out training sources, so it is uniform for ordinary ones."""

import numpy as np
import pytest

from targetsel.latents.novelty import NoveltyReference


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 8))
    return NoveltyReference.fit(rng.normal(size=(2, 4000, 8)) @ mixing,
                                rng.normal(size=(2, 4000, 8)) @ mixing), mixing  # fmt: skip


def test_novelty_of_ordinary_sources_is_uniform(reference):
    fitted, mixing = reference
    values = fitted.novelty(np.random.default_rng(1).normal(size=(2, 4000, 8)) @ mixing)
    shares = [(values < level).mean() for level in (0.01, 0.1, 0.5, 0.9)]
    assert shares == pytest.approx([0.01, 0.1, 0.5, 0.9], abs=0.03)


def test_a_source_far_from_all_others_has_novelty_zero(reference):
    fitted, mixing = reference
    assert fitted.novelty(np.full((2, 1, 8), 30.0) @ mixing) == pytest.approx(0.0)


def test_the_centre_of_the_training_sources_has_novelty_one(reference):
    fitted, _ = reference
    assert fitted.novelty(fitted.mean[:, None]) == pytest.approx(1.0)


def test_distance_does_not_depend_on_the_units_of_a_feature():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(1, 3000, 4))
    scaled = features * np.array([1.0, 2.0, 0.5, 1.0])
    plain = NoveltyReference.fit(features, features).distance(features)
    assert NoveltyReference.fit(scaled, scaled).distance(scaled) == pytest.approx(plain, rel=0.01)
