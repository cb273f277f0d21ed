"""Proxies of a source follow from its own posterior, whatever its batch."""

from dataclasses import replace

import numpy as np
import pytest

from targetsel.calibration.prediction import BATCH_SIZE
from targetsel.networks.posterior import LatentPosterior
from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.decoder import FoldedDecoder
from targetsel.spectra.draws import ProxyDraws
from targetsel.spectra.lines import BPT_CLASSES, PROXIES

N = BATCH_SIZE + 6


@pytest.fixture(scope="module")
def ensemble():
    return Ensemble.read()


@pytest.fixture(scope="module")
def posterior(ensemble):
    rng = np.random.default_rng(1)
    mean = 0.3 * rng.normal(size=(N, 1, 7)) + 0.05 * rng.normal(size=(N, 5, 7))
    factor = np.tile(0.15 * np.eye(7), (N, 5, 1, 1))
    found = LatentPosterior(
        np.arange(N) + 7, mean, factor, np.ones(N), np.full(N, 16.5), has_redshift=True
    )
    return ensemble.calibration.posterior(found, found.magnitude)


def same(one, other):
    for name in PROXIES:
        np.testing.assert_array_equal(one.posterior.knots(name), other.posterior.knots(name))
    for pair, values in one.posterior.correlation.items():
        np.testing.assert_array_equal(values, other.posterior.correlation[pair])
    for name in BPT_CLASSES:
        np.testing.assert_array_equal(one.shares[name], other.shares[name])


def test_a_source_alone_has_the_proxies_that_it_has_among_others(ensemble, posterior):
    whole = ensemble.predict_proxies(posterior, 192)
    order = np.random.default_rng(0).permutation(N)
    for rows in (np.array([0]), np.array([N - 1]), np.arange(5, 30), order):
        part = ensemble.predict_proxies(posterior.take(rows), 192)
        picked = replace(
            whole,
            posterior=whole.posterior.take(rows),
            shares={name: each[rows] for name, each in whole.shares.items()},
        )
        same(part, picked)


def test_no_sources_have_no_proxies(ensemble, posterior):
    found = ensemble.predict_proxies(posterior.take(slice(0, 0)), 40)
    assert len(found.posterior) == 0
    assert {*found.shares} == {*BPT_CLASSES}


def test_many_draws_agree_with_few_within_their_noise(ensemble, posterior):
    few, many = (ensemble.predict_proxies(posterior, n).posterior for n in (192, 4096))
    for name in PROXIES:
        width = many.quantile(name, 0.84) - many.quantile(name, 0.16)
        off = (few.quantile(name, 0.5) - many.quantile(name, 0.5)) / (width / 2)
        assert np.sqrt(np.nanmean(off**2)) < 0.08
        assert np.nanmean(off) == pytest.approx(0, abs=0.03)


def test_everything_is_computed_on_the_device_of_the_decoder(ensemble, posterior):
    # Tensors of the device "meta" hold no numbers, and mix with those of no other device.
    decoder = FoldedDecoder(ensemble.decoder, device="meta")
    latents = posterior.latents.drawn(40, 0, decoder.device)
    indices = decoder.indices(latents)
    draws = ProxyDraws(posterior.source_id, PROXIES, indices)
    whole = ensemble.calibration.complete(draws, 0)
    found = latents, indices, whole.values, whole.knots
    assert {each.device.type for each in found} == {"meta"}
    assert whole.values.shape == (len(PROXIES), N, 3 * 40)


def test_a_source_without_a_prediction_has_no_proxies_and_leaves_others_alone(ensemble, posterior):
    mean = posterior.member_mean.copy()
    mean[2] = np.nan
    broken = ensemble.predict_proxies(replace(posterior, member_mean=mean), 40)
    whole = ensemble.predict_proxies(posterior, 40)
    others = np.arange(N) != 2
    for name in PROXIES:
        assert np.isnan(broken.posterior.knots(name)[2]).all()
        np.testing.assert_array_equal(
            broken.posterior.knots(name)[others], whole.posterior.knots(name)[others]
        )
