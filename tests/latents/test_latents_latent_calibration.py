"""A posterior that is too narrow, too wide or too thin-tailed is made to cover as it claims."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from targetsel.latents.latent_calibration import LatentCalibration, tails
from targetsel.latents.posterior import LatentPosterior

D = 3


def predicted(n, seed, spread=0.1):
    """Two members of 3 latents that disagree by 0.1, for sources of magnitude 15 to 19."""
    rng = np.random.default_rng(seed)
    factor = np.tril(rng.normal(size=(n, 2, D, D))) * 0.05 + 0.3 * np.eye(D)
    means = rng.normal(size=(n, 1, D)) + spread * rng.normal(size=(n, 2, D))
    return LatentPosterior(np.arange(n), means, factor, np.ones(n)), rng.uniform(15, 19, n)


def truth(posterior, rng, factor=1.0, freedom=None):
    """One draw for each source from the mixture, its deviations multiplied, or Student's t."""
    n, m, d = posterior.member_mean.shape
    member = rng.integers(m, size=n)
    normals = rng.normal(size=(n, d))
    if freedom is not None:
        normals *= np.sqrt(freedom / rng.chisquare(freedom, size=(n, 1)))
    rows = np.arange(n)
    drawn = posterior.member_mean[rows, member] + np.einsum(
        "nij,nj->ni", posterior.member_factor[rows, member], normals
    )
    return posterior.mean + factor * (drawn - posterior.mean)


def fitted(posterior, latents, magnitude, noise=None, weight=None):
    n = len(posterior)
    noise = np.zeros((n, D)) if noise is None else noise
    return LatentCalibration.fit(
        posterior, latents, noise, magnitude, np.ones(n) if weight is None else weight
    )


def widening(calibration, posterior, magnitude):
    """By what the calibration multiplies the deviations of each latent, (N, D)."""
    after = calibration.apply(posterior, magnitude)
    return np.sqrt(np.diagonal(after.cov / posterior.cov, axis1=1, axis2=2))


def inside(posterior, latents, share):
    below = posterior.probability_below(latents)
    return (np.abs(below - 0.5) < share / 2).mean(axis=0)


def test_an_honest_posterior_is_left_alone():
    posterior, magnitude = predicted(4000, 1)
    latents = truth(posterior, np.random.default_rng(2))
    calibration = fitted(posterior, latents, magnitude)
    assert widening(calibration, posterior, magnitude) == pytest.approx(1.0, abs=0.15)
    assert widening(calibration, posterior, magnitude).mean() == pytest.approx(1.0, abs=0.02)
    assert calibration.share @ (calibration.scale - 1) ** 2 < 0.03


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_deviations_twice_or_half_as_large_are_found(factor):
    posterior, magnitude = predicted(3000, 3)
    latents = truth(posterior, np.random.default_rng(4), factor)
    wider = widening(fitted(posterior, latents, magnitude), posterior, magnitude)
    assert wider.mean(axis=0) == pytest.approx(factor * np.ones(D), rel=0.04)


def test_errors_that_go_together_more_than_claimed_are_found():
    posterior, magnitude = predicted(6000, 20)
    rng = np.random.default_rng(21)
    whitened = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 0.5]])
    own = np.linalg.cholesky(posterior.cov)
    latents = posterior.mean + (own @ whitened @ rng.normal(size=(6000, D, 1)))[..., 0]
    after = fitted(posterior, latents, magnitude).apply(posterior, magnitude)
    expected = own @ (whitened @ whitened.T) @ own.swapaxes(1, 2)
    scale = np.sqrt(np.diagonal(expected, axis1=1, axis2=2))
    difference = (after.cov - expected) / (scale[:, :, None] * scale[:, None])
    assert np.abs(difference).mean() < 0.06
    assert after.mean == pytest.approx(posterior.mean)


def test_on_other_sources_the_calibrated_intervals_hold_what_they_claim_at_every_brightness():
    posterior, magnitude = predicted(12_000, 5)
    rng = np.random.default_rng(6)
    factor = np.interp(magnitude, [15, 19], [0.7, 1.8])[:, None] * [1.0, 1.3, 0.8]
    latents = truth(posterior, rng, factor, freedom=4)
    fit, other = np.arange(12_000) % 2 == 0, np.arange(12_000) % 2 == 1
    calibration = fitted(posterior.take(fit), latents[fit], magnitude[fit])
    after = calibration.apply(posterior.take(other), magnitude[other])
    for share in (0.5, 0.68, 0.9, 0.95):
        assert inside(after, latents[other], share) == pytest.approx(share, abs=0.03), share
    assert inside(after, latents[other], 0.9) == pytest.approx(0.9, abs=0.02)
    for low in (15, 16, 17, 18):
        there = (magnitude[other] >= low) & (magnitude[other] < low + 1)
        assert inside(after.take(there), latents[other][there], 0.9) == pytest.approx(
            0.9, abs=0.035
        ), low


def test_heavy_tails_are_met_jointly_where_one_temperature_misses_them():
    posterior, magnitude = predicted(8000, 7)
    posterior = replace(
        posterior,
        member_mean=posterior.member_mean[:, :1],
        member_factor=posterior.member_factor[:, :1],
    )
    latents = truth(posterior, np.random.default_rng(8), freedom=3)
    half = np.arange(8000) < 4000
    calibration = fitted(posterior.take(half), latents[half], magnitude[half])
    after = calibration.apply(posterior.take(~half), magnitude[~half])
    squared = (after.whitened(latents[~half])[:, 0] ** 2).sum(axis=1)
    claimed = (chi2.cdf(squared[:, None] / after.scale**2, D) * after.share).sum(axis=1)
    temperature = np.sqrt((squared / D).mean())
    gaussian = chi2.cdf(squared / temperature**2, D)
    for share in (0.5, 0.68, 0.9, 0.95, 0.99):
        assert np.mean(claimed < share) == pytest.approx(share, abs=0.02), share
    assert np.mean(gaussian < 0.5) > 0.6


def test_tails_of_two_scales_in_equal_shares_are_found():
    rng = np.random.default_rng(9)
    posterior, _ = predicted(3000, 10, spread=0.0)
    scale = rng.choice([0.5, 2.0], size=(3000, 1))
    latents = posterior.mean + scale * (truth(posterior, rng) - posterior.mean)
    scale, share = tails(posterior, latents, np.ones(3000))
    quadratic = np.sqrt((0.5**2 + 2.0**2) / 2)
    assert share @ scale**2 == pytest.approx(1.0)
    assert share[scale < 1].sum() == pytest.approx(0.5, abs=0.04)
    assert (share @ np.abs(np.log(scale * quadratic))) == pytest.approx(np.log(2), abs=0.08)


def test_label_noise_is_not_taken_for_a_narrow_posterior():
    posterior, magnitude = predicted(3000, 11)
    rng = np.random.default_rng(12)
    noise = np.full((3000, D), 0.3)
    measured = truth(posterior, rng) + noise * rng.normal(size=noise.shape)
    wider = widening(fitted(posterior, measured, magnitude, noise), posterior, magnitude)
    assert wider.mean(axis=0) == pytest.approx(np.ones(D), abs=0.05)
    ignorant = widening(fitted(posterior, measured, magnitude), posterior, magnitude)
    assert (ignorant.mean(axis=0) > 1.2).all()


def test_over_sampled_sources_count_for_what_they_stand_for():
    posterior, magnitude = predicted(4000, 13)
    rng = np.random.default_rng(14)
    rare = np.arange(4000) % 2 == 0
    latents = truth(posterior, rng, np.where(rare, 3.0, 1.0)[:, None])
    weight = np.where(rare, 0.01, 1.0)
    wider = widening(fitted(posterior, latents, magnitude, weight=weight), posterior, magnitude)
    assert wider.mean() == pytest.approx(1.0, abs=0.06)


def test_stretching_multiplies_every_deviation_and_keeps_the_mean():
    posterior, magnitude = predicted(4, 15)
    calibration = fitted(*_enough())
    calibration = replace(calibration, shape=np.eye(D), scale=np.ones(1), share=np.ones(1))
    curve = replace(calibration.stretch, centres=np.array([17.0]), values=np.log([[2.0, 1.0, 0.5]]))
    after = replace(calibration, stretch=curve).apply(posterior, magnitude)
    factor = np.array([2.0, 1.0, 0.5])
    assert after.mean == pytest.approx(posterior.mean)
    assert after.cov == pytest.approx(posterior.cov * factor[:, None] * factor)
    expected = posterior.mean + factor * (posterior.quantile(0.95) - posterior.mean)
    assert after.quantile(0.95) == pytest.approx(expected, abs=1e-6)


def _enough():
    posterior, magnitude = predicted(400, 16)
    return posterior, truth(posterior, np.random.default_rng(17)), magnitude


def test_a_calibration_comes_back_from_its_card():
    calibration = fitted(*_enough())
    again = LatentCalibration.from_card(calibration.to_card(), D)
    assert again.shape == pytest.approx(calibration.shape)
    assert again.scale == pytest.approx(calibration.scale)
    assert again.stretch.values == pytest.approx(calibration.stretch.values, abs=1e-6)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("share", [0.4, 0.4], "do not add to 1"),
        ("scale", [1.0], "do not fit"),
        ("scale", [-1.0, 1.0], "do not fit"),
        ("shape", np.eye(2), "no factor of a covariance of 3 latents"),
        ("shape", -np.eye(D), "no factor of a covariance of 3 latents"),
    ],
)
def test_doctored_shapes_and_tails_are_refused(entry, value, message):
    card = {"shape": np.eye(D), "scale": [0.5, 2.0], "share": [0.5, 0.5], "stretch": {}}
    with pytest.raises(ValueError, match=message):
        LatentCalibration.from_card(card | {entry: value}, D)
