"""The baselines' aperture photometry."""

import numpy as np
import pytest
from aperture_features import basic, learnt, magnitudes, rich, second_moments


def gaussian(sigma, size=64, flux=1e4):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    image = np.exp(-0.5 * ((x / sigma[0]) ** 2 + (y / sigma[1]) ** 2))
    return (image / image.sum() * flux).astype(np.float32)[None, None]


def test_basic_and_rich_have_14_and_74_numbers_of_five_bands():
    x = np.random.default_rng(0).normal(size=(3, 5, 32, 32)).astype(np.float32)
    assert basic(x).shape == (3, 14)
    assert rich(x).shape == (3, 74)
    assert np.isfinite(rich(x)).all()


def test_rich_numbers_do_not_depend_on_orientation():
    x = np.random.default_rng(1).normal(size=(4, 5, 24, 24)).astype(np.float32)
    x[:, :, 10:14, 8:12] += 30.0
    for turned in (x[..., ::-1], x.swapaxes(2, 3)):
        assert np.allclose(rich(np.ascontiguousarray(turned)), rich(x), atol=1e-2)


def test_a_source_ten_times_as_bright_has_larger_magnitudes_by_the_logarithm_of_ten():
    faint, bright = (magnitudes(gaussian((2.0, 2.0), flux=f)) for f in (1e5, 1e6))
    assert np.allclose(bright - faint, np.log(10), atol=1e-4)


def test_sizes_and_ellipticities_are_those_of_the_moments():
    size, ellipticity = second_moments(gaussian((5.0, 2.5)), 4)
    assert size[0, 0] == pytest.approx(np.hypot(5.0, 2.5), rel=0.01)
    assert ellipticity[0, 0] == pytest.approx((25 - 6.25) / (25 + 6.25), rel=0.01)


@pytest.mark.parametrize("kind", ["boosting", "network"])
def test_both_models_learn_what_a_feature_says(kind):
    rng = np.random.default_rng(2)
    seen, unseen = rng.normal(size=(2, 600, 3))
    truth = np.stack([unseen[:, 0], unseen[:, 1] ** 2], axis=1)
    found = learnt(
        kind, seen, np.stack([seen[:, 0], seen[:, 1] ** 2], axis=1), np.ones(len(seen)), unseen
    )
    assert ((found - truth) ** 2).mean() < 0.15 * truth.var()
