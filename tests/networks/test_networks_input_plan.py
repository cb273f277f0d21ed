"""Binning, and which input a store can give."""

import json

import numpy as np
import pytest

from targetsel.errors import CutoutError, EnsembleError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.stretch import Stretch
from targetsel.networks.input_plan import InputPlan, binned
from targetsel.scoring.ensemble import Ensemble
from tests.conftest import tiny_ensemble
from tests.training.toy_sky import toy_labels, toy_store

PLAIN = Stretch(kind="linear", sky_sigma=(1.0,), scale=1.0, softening=1.0, clip=1e6)


def test_binned_pixels_are_sums_of_squares_of_pixels():
    flux = np.arange(16.0).reshape(1, 1, 4, 4)
    assert binned(flux, 2).tolist() == [[[[10.0, 18.0], [42.0, 50.0]]]]
    assert binned(flux, 1) is flux


def test_a_bin_without_one_of_its_pixels_looks_like_sky():
    flux = np.full((1, 1, 4, 4), 5.0)
    flux[0, 0, 0, 0] = np.nan
    plan = InputPlan(bands=("r",), pixel_scale=0.25, size=4, stretch=PLAIN, binning=2)
    assert plan.prepare(flux)[0, 0].tolist() == [[0.0, 20.0], [20.0, 20.0]]


def test_the_sky_of_binned_pixels_is_as_many_times_larger_as_there_are_on_a_side(tmp_path):
    store = toy_store(tmp_path / "store", toy_labels(40))
    plan = InputPlan.of_store(store, ("r", "g"), size=12, binning=3)
    assert plan.bands == ("r", "g")
    assert plan.stretch.sky_sigma == pytest.approx((0.15, 0.15))
    assert (plan.stretch.kind, plan.stretch.softening, plan.stretch.clip) == ("asinh", 10.0, 2000.0)
    assert (plan.pixel_scale, plan.size, plan.n_pixels) == (0.25, 12, 4)


def test_a_store_without_a_band_or_with_small_cutouts_is_refused(tmp_path):
    store = toy_store(tmp_path / "store", toy_labels(40))
    with pytest.raises(CutoutError, match=r"its bands are g, r, but this training needs g, i"):
        InputPlan.of_store(store, ("g", "i"))
    with pytest.raises(CutoutError, match="its cutouts are 16 x 16 pixels, but this training nee"):
        InputPlan.of_store(store, size=32)
    with pytest.raises(CutoutError, match="size is 3 pixels, expected 4 or more"):
        InputPlan.of_store(store, size=3)
    with pytest.raises(CutoutError, match="band g is named twice, expected each once"):
        InputPlan.of_store(store, ("g", "g"))


def test_a_binning_that_does_not_divide_the_size_is_refused(tmp_path):
    store = toy_store(tmp_path / "store", toy_labels(40))
    with pytest.raises(EnsembleError, match="binning is 5; expected a divisor of the size, 16 pix"):
        InputPlan.of_store(store, binning=5)


def test_a_card_without_binning_is_one_of_single_pixels():
    plan = InputPlan(bands=("r",), pixel_scale=0.25, size=16, stretch=PLAIN, binning=2)
    card = plan.model_dump(mode="json")
    assert InputPlan.model_validate(json.loads(json.dumps(card))) == plan
    del card["binning"]
    assert InputPlan.model_validate(card).binning == 1


def test_an_ensemble_predicts_from_binned_cutouts_what_it_does_from_coarse_ones():
    fine = np.random.default_rng(0).normal(size=(3, 5, 128, 128)).astype(np.float32)
    ids, bands = np.arange(3), ("g", "r", "i", "z", "y")
    coarse = tiny_ensemble()
    fresh = tiny_ensemble()
    card = fresh.card | {"input": fresh.card["input"] | {"size": 128, "binning": 2}}
    fine_ensemble = Ensemble(fresh.networks, fresh.decoder, fresh.novelty, card)
    one = fine_ensemble.predict(Cutouts(ids, fine, bands, 0.125))
    other = coarse.predict(Cutouts(ids, binned(fine, 2), bands, 0.25))
    assert one.mean == pytest.approx(other.mean, abs=1e-5)
