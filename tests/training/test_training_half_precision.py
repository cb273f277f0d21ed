"""Rounding weights: what is stored, what it changes, and how that is told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from targetsel.imaging.cutout import Cutouts
from targetsel.scoring.ensemble import Ensemble, halves
from targetsel.training import card as training_card
from targetsel.training.card import validated
from targetsel.training.half_precision import in_half_precision, medians
from targetsel.training.labels import Labels
from tests.conftest import tiny_ensemble

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
