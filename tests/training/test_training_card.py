"""What the card says of a training's support, and its figures against numbers by hand."""

from dataclasses import replace

import numpy as np
import pytest

from targetsel.networks.posterior import LatentPosterior
from targetsel.training.card import support, validation
from tests.conftest import tiny_ensemble
from tests.training.toy_sky import toy_labels


def about(**columns):
    return replace(toy_labels(4), about={k: np.array(v, dtype=float) for k, v in columns.items()})


def test_usual_columns_are_counted_in_any_case_and_others_are_not():
    found = support(about(Z_SPEC=[0.1, 0.2, 0.3, np.nan], plate=[1, 2, 3, 4]))
    assert set(found) == {"redshift"}
    assert sum(found["redshift"]["counts"]) == 3
    assert (found["redshift"]["edges"][0], found["redshift"]["edges"][-1]) == (0.1, 0.3)


def test_a_colour_comes_from_magnitudes_or_from_fluxes():
    magnitudes = support(about(gmag=[18, 18, 18, 18], rmag=[17, 17.5, 17, 17]))["colour"]
    assert magnitudes["edges"][0] == 0.5
    assert magnitudes["edges"][-1] == 1.0
    fluxes = support(about(flux_g=[1, 1, 1, -1], flux_r=[10, 100, 10, 10]))["colour"]
    assert (fluxes["edges"][0], fluxes["edges"][-1]) == (2.5, 5.0)
    assert sum(fluxes["counts"]) == 3


def predicted(error, spread, n_members=2):
    """A posterior that is off by `error` in every latent, and test labels of some scatter."""
    ensemble = tiny_ensemble()
    mean = np.random.default_rng(0).normal(size=(50, 6))
    test = replace(toy_labels(50), mean=mean, noise=np.zeros((50, 6)))
    members = np.repeat(mean[:, None], n_members, axis=1) + error
    factor = np.broadcast_to(np.eye(6) * spread, (50, n_members, 6, 6))
    return ensemble, LatentPosterior(test.source_id, members, factor, np.ones(50)), test


def test_figures_of_a_prediction_that_is_off_by_a_known_amount():
    ensemble, posterior, test = predicted(error=0.5, spread=0.25)
    found = validation(ensemble, posterior, test)
    assert found["rmse"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert found["rmse_of_each_member"]["value"] == [0.5, 0.5]
    expected = 1 - 0.25 / test.mean.var(axis=0)
    assert found["r2_per_latent"]["value"] == pytest.approx(expected, abs=1e-4)
    assert found["mean_mahalanobis_squared_per_latent"]["value"] == pytest.approx(4.0)


def test_the_noise_of_the_labels_is_allowed_for():
    ensemble, posterior, test = predicted(error=0.5, spread=0.3)
    noisy = replace(test, noise=np.full((50, 6), 0.4))
    found = validation(ensemble, posterior, noisy)
    assert found["mean_mahalanobis_squared_per_latent"]["value"] == pytest.approx(1.0)


def test_a_perfect_prediction_orders_the_proxies_as_the_labels_do():
    ensemble, posterior, test = predicted(error=0.0, spread=1e-4)
    found = validation(ensemble, posterior, test)["proxies"]["d4000"]["decoded labels"]
    assert found["rank_correlation"]["value"] > 0.99


def test_proxies_of_the_spectra_are_compared_where_there_are_spectra():
    ensemble, posterior, test = predicted(error=0.0, spread=1e-4)
    measured = np.full(50, np.nan)
    measured[:10] = np.arange(10)
    found = validation(ensemble, posterior, replace(test, measured={"d4000": measured}))
    assert found["proxies"]["d4000"]["spectra"]["n"] == 10
    assert "spectra" not in found["proxies"]["ew_halpha"]


def test_a_weighted_source_counts_more():
    ensemble, posterior, test = predicted(error=0.5, spread=0.25)
    posterior.member_mean[0] += 1.5  # off by 2 instead
    weight = np.ones(50)
    weight[0] = 51.0
    found = validation(ensemble, posterior, replace(test, weight=weight))
    assert found["rmse"]["value"] == pytest.approx(np.sqrt((51 * 4 + 49 * 0.25) / 100), abs=1e-4)
