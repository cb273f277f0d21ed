"""A posterior that is too narrow, too wide or too thin-tailed is made to cover as it claims."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from targetsel.calibration.conformal import BinnedCurve
from targetsel.calibration.latents import LatentCalibration
from targetsel.networks.deviations import Deviations
from targetsel.networks.posterior import LatentPosterior

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
    assert widening(calibration, posterior, magnitude) == pytest.approx(1.0, abs=0.3)
    assert widening(calibration, posterior, magnitude).mean() == pytest.approx(1.0, abs=0.02)
    after = calibration.apply(posterior, magnitude)
    assert after.mean == pytest.approx(posterior.mean, abs=0.05)


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
    assert np.abs(difference).mean() < 0.08
    assert after.mean == pytest.approx(posterior.mean, abs=0.08)


def test_on_other_sources_the_calibrated_intervals_hold_what_they_claim_at_every_brightness():
    posterior, magnitude = predicted(12_000, 5)
    rng = np.random.default_rng(6)
    factor = np.interp(magnitude, [15, 19], [0.7, 1.8])[:, None] * [1.0, 1.3, 0.8]
    latents = truth(posterior, rng, factor, freedom=4)
    fit, other = np.arange(12_000) % 2 == 0, np.arange(12_000) % 2 == 1
    calibration = fitted(posterior.take(fit), latents[fit], magnitude[fit])
    after = calibration.apply(posterior.take(other), magnitude[other])
    for share in (0.5, 0.68, 0.9, 0.95):
        assert inside(after, latents[other], share) == pytest.approx(share, abs=0.035), share
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
    claimed = _mass_nearer(after, latents[~half])
    gaussian = _mass_nearer(posterior.take(~half), latents[~half])
    for share in (0.5, 0.68, 0.9, 0.95, 0.99):
        assert np.mean(claimed < share) == pytest.approx(share, abs=0.04), share
    assert np.mean(gaussian > 0.99) > 0.05


def _mass_nearer(posterior, latents):
    """The share of a posterior that is nearer to its centre than the latents, in its units."""
    draws = posterior.draw(1000)
    away = np.linalg.solve(
        posterior.member_factor, (draws - posterior.centre[:, None]).swapaxes(1, 2)[:, None]
    )
    here = (posterior.whitened(latents)[:, 0] ** 2).sum(axis=1)
    return ((away[:, 0] ** 2).sum(axis=1) < here[:, None]).mean(axis=1)


def test_a_skew_that_turns_with_the_predicted_mean_is_found():
    rng = np.random.default_rng(9)
    posterior, magnitude = predicted(8000, 10, spread=0.0)
    turned = np.sign(posterior.mean[:, :1])
    whitened = rng.normal(size=(8000, D))
    whitened[:, :1] = turned * (rng.exponential(size=(8000, 1)) - 1)
    latents = posterior.mean + (posterior.member_factor[:, 0] @ whitened[..., None])[..., 0]
    half = np.arange(8000) < 4000
    before = posterior.take(~half)
    after = fitted(posterior.take(half), latents[half], magnitude[half])
    after = after.apply(before, magnitude[~half])
    for side in (1, -1):
        there = turned[~half, 0] == side
        off = [_departure(each.take(there), latents[~half][there]) for each in (before, after)]
        assert off[1] < 0.7 * off[0]
        assert off[0] > 0.1


def _departure(posterior, latents):
    """The largest distance of the first latent's shares below the truth from uniform ones."""
    below = np.sort(posterior.probability_below(latents)[:, 0])
    return np.abs(below - np.linspace(0, 1, len(below))).max()


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
    calibration = replace(calibration, deviations=Deviations.standard(D))
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


def test_a_calibration_comes_back_from_its_json():
    calibration, adapter = fitted(*_enough()), TypeAdapter(LatentCalibration)
    again = adapter.validate_json(adapter.dump_json(calibration), strict=True)
    assert again.n_latents == D
    assert again.deviations.offset == pytest.approx(calibration.deviations.offset)
    assert again.deviations.gate == pytest.approx(calibration.deviations.gate)
    assert again.stretch.values == pytest.approx(calibration.stretch.values, abs=1e-6)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("offset", [[0.0] * 2], "none of 2 latents"),
        ("offset", [[0.0, 0.0, float("nan")]], "no number"),
        ("factor", [np.eye(2)], "none of 3 latents"),
        ("factor", [-np.eye(D)], "a factor of the deviations' covariances is none"),
        ("factor", [np.ones((D, D))], "a factor of the deviations' covariances is none"),
        ("gate", [[0.0]], "none of 3 latents"),
    ],
)
def test_doctored_deviations_are_refused(entry, value, message):
    card = Deviations.standard(D).to_card()
    stretch = BinnedCurve([17.0], np.zeros((1, D)))
    with pytest.raises(ValueError, match=message):
        LatentCalibration(card | {entry: value}, stretch)


def test_a_stretch_of_other_latents_is_refused():
    with pytest.raises(ValueError, match="the stretch is not of 3 latents"):
        LatentCalibration(Deviations.standard(D), BinnedCurve([17.0], np.zeros((1, D + 1))))
