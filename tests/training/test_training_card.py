"""A card tells of support, precision and errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from targetsel.imaging.cutout import Cutouts
from targetsel.networks.posterior import LatentPosterior
from targetsel.scoring.ensemble import Ensemble, halves
from targetsel.training import card as training_card
from targetsel.training.card import in_half_precision, medians, support, validated, validation
from targetsel.training.labels import Labels
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


BANDS = ("g", "r", "i", "z", "y")


def cutouts(n=8):
    flux = np.random.default_rng(0).normal(size=(n, 5, 64, 64)).astype(np.float32)
    return Cutouts(np.arange(n), flux, BANDS, 0.25)


class Store:
    """What `validated` needs of a store."""

    def read(self, ids):
        return cutouts().take(ids)


def test_kernels_are_halved_and_biases_and_statistics_are_not():
    stored = halves(tiny_ensemble().networks[0])
    assert stored["head.weight"].dtype == stored["stem.0.weight"].dtype == torch.float16
    assert stored["head.bias"].dtype == stored["stem.0.running_deconv"].dtype == torch.float32


def test_rounded_weights_survive_the_disk_unchanged(tmp_path):
    rounded, _ = in_half_precision(tiny_ensemble(), cutouts())
    rounded.write(tmp_path / "half", half=True)
    rounded.write(tmp_path / "single")
    read = Ensemble.read(tmp_path / "half")
    assert np.array_equal(read.predict(cutouts()).mean, rounded.predict(cutouts()).mean)
    sizes = [
        (tmp_path / each / "member-0.safetensors").stat().st_size for each in ("half", "single")
    ]
    assert sizes[0] < 0.6 * sizes[1]


def test_the_change_is_the_largest_of_any_median_in_its_standard_deviation():
    ensemble = tiny_ensemble()
    rounded, change = in_half_precision(ensemble, cutouts())
    middle, spread = medians(ensemble, ensemble.predict(cutouts()))
    other, _ = medians(ensemble, rounded.predict(cutouts()))
    assert change == pytest.approx(np.max(np.abs(other - middle) / spread))
    assert 0 < change < 0.01


@pytest.mark.parametrize("strict", [False, True])
def test_weights_are_halved_only_if_that_changes_little_enough(strict, monkeypatch):
    ensemble = tiny_ensemble()
    monkeypatch.setattr(training_card, "LARGEST_CHANGE", 1e-9 if strict else 0.01)
    test = Labels(np.arange(8), np.random.default_rng(0).normal(size=(8, 6)), np.zeros((8, 6)))
    kept, half = validated(ensemble, Store(), replace(test, simulated=True))
    assert half != strict
    assert kept.card["half_precision"]["weights"] == half
    assert 1e-9 < kept.card["half_precision"]["largest_change"] < 0.01
    kernels = kept.networks[0].head.weight
    assert bool((kernels == kernels.half().float()).all()) == half
    assert kept.card["validation"]["on"] == "8 test sources (simulated images)"
