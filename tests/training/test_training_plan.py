"""Presets are what they say, and plans that make no sense are refused."""

from dataclasses import replace

import pytest

from targetsel.errors import CatalogError, EnsembleError
from targetsel.imaging.stretch import Stretch
from targetsel.networks.input_plan import InputPlan
from targetsel.networks.network import Network, count_parameters
from targetsel.training.plan import (
    TrainingFiles,
    TrainingInputs,
    differences,
    fine_tuning,
    named_plan,
)
from tests.conftest import tiny_ensemble
from tests.training.toy_sky import changed


def stretch(kind, scale, softening=1.0):
    return Stretch(kind=kind, sky_sigma=(1.0,) * 5, scale=scale, softening=softening, clip=1e6)


GRIZY = InputPlan(
    bands=("g", "r", "i", "z", "y"), pixel_scale=0.25, size=64, stretch=stretch("linear", 20.0)
)


def test_the_published_preset_is_the_published_network_and_recipe():
    plan = named_plan("wu-peek-2020", GRIZY, 6)
    assert count_parameters(plan.network) == 6_734_743
    recipe = plan.recipe
    assert (recipe.optimiser, recipe.learning_rate, recipe.batch) == ("ranger", 3e-2, 128)
    assert (recipe.augmentation, recipe.epochs_mean, recipe.epochs_covariance) == (
        "published", 10, 0,
    )  # fmt: skip
    assert (plan.network.head, plan.network.photometry) == ("mean", 0)


def test_the_default_preset_predicts_a_covariance_with_half_the_width_and_photometry():
    plan = named_plan("default", GRIZY, 6)
    assert (plan.network.width, plan.network.head) == (0.5, "covariance")
    assert (plan.network.photometry, plan.network.softening) == (64, 0.0)
    assert (plan.recipe.optimiser, plan.recipe.learning_rate) == ("adamw", 4e-3)
    assert (plan.recipe.epochs_mean, plan.recipe.epochs_covariance) == (8, 4)
    assert plan.members == 5


def test_epochs_are_shared_between_the_phases_and_members_have_seeds_in_a_row():
    plan = named_plan("default", GRIZY, 6, epochs=7, width=0.25, members=3, seed=4)
    assert (plan.recipe.epochs_mean, plan.recipe.epochs_covariance) == (5, 2)
    assert [plan.recipe_of(k).seed for k in range(3)] == [4, 5, 6]
    with pytest.raises(EnsembleError, match="--epochs 1: expected 2 or more"):
        named_plan("default", GRIZY, 6, epochs=1)


def test_an_unknown_preset_is_refused_with_a_hint():
    with pytest.raises(
        EnsembleError, match=r"unknown preset 'wu-peek'\. Did you mean 'wu-peek-2020'\?"
    ):
        named_plan("wu-peek", GRIZY, 6)


def test_a_plan_that_makes_no_sense_is_refused():
    plan = named_plan("default", GRIZY, 6)
    with pytest.raises(EnsembleError, match="0 members, expected 1 or more"):
        replace(plan, members=0)
    with pytest.raises(EnsembleError, match="the network is for 3 bands, expected 5: g, r, i"):
        replace(plan, network=changed(plan.network, n_bands=3))
    with pytest.raises(EnsembleError, match="epochs_covariance is 0, expected 1 or more"):
        replace(plan, recipe=changed(plan.recipe, epochs_covariance=0))


def test_a_width_of_zero_is_not_the_usual_one():
    assert named_plan("default", tiny_ensemble().input, 6, width=0.0).network.width == 0.0


def test_fine_tuning_takes_the_network_of_the_ensemble_and_a_quarter_of_the_rate():
    start = tiny_ensemble()
    plan = fine_tuning("default", start, start.input)
    assert plan.network == start.networks[0].plan
    assert (plan.members, plan.recipe.learning_rate) == (len(start.networks), pytest.approx(1e-3))
    assert plan.identity()["start"] == start.sha256


def test_fine_tuning_on_another_input_or_network_is_refused_and_both_are_named():
    start = tiny_ensemble()
    other = changed(start.input, pixel_scale=0.5)
    with pytest.raises(
        EnsembleError, match=r"its input\.pixel_scale is 0\.25, but this training's is 0\.5"
    ):
        fine_tuning("default", start, other)
    with pytest.raises(
        EnsembleError, match=r"'tiny': its network\.width is 0\.125, but this training's is 0\.5"
    ):
        fine_tuning("default", start, start.input, width=0.5)


def test_differences_name_the_entry_and_both_values():
    one = {"a": 1, "b": {"c": 2, "d": [3]}, "e": None}
    other = {"a": 1, "b": {"c": 4, "d": [3]}, "f": 5}
    assert differences(one, other) == [("b.c", 2, 4), ("f", None, 5)]


def test_fine_tuning_goes_on_with_the_networks_that_are_of_the_first_ones_kind():
    start = tiny_ensemble()
    alone = Network(changed(start.networks[0].plan, width=0.0, photometry=4))
    start.networks = [start.networks[0], alone, start.networks[0]]
    plan = fine_tuning("default", start, start.input)
    assert (plan.members, [plan.start_of(k) for k in range(3)]) == (2, [0, 2, 0])


def test_fewer_sources_than_a_batch_are_one_batch_down_to_32_of_them():
    plan = named_plan("default", GRIZY, 6)
    assert plan.for_few(64) is plan
    assert [plan.for_few(n).recipe.batch for n in (900, 63, 32, 10)] == [64, 63, 32, 32]


def test_photometry_undoes_the_stretch_of_the_input():
    asinh = changed(GRIZY, stretch=stretch("asinh", 2.0, 10.0))
    plan = named_plan("default", asinh, 6)
    assert plan.network.softening == 10.0
    with pytest.raises(EnsembleError, match="undoes a softening of 10, expected the stretch's 0"):
        replace(plan, input=GRIZY)


def test_photometry_of_an_unusual_stretch_is_refused_but_fine_tuning_without_it_is_not():
    unusual = changed(GRIZY, stretch=stretch("asinh", 3.0))
    with pytest.raises(EnsembleError, match="expected scale 2 and no offset"):
        named_plan("default", unusual, 6)
    start = tiny_ensemble()
    start.card["input"] = unusual.model_dump(mode="json")
    assert fine_tuning("default", start, start.input).input == unusual


@pytest.mark.parametrize("aperture", [0.0, -3.0, float("nan"), float("inf")])
def test_an_aperture_is_a_diameter(aperture):
    with pytest.raises(EnsembleError, match=r"--aperture .*: expected a number above 0, in arcsec"):
        replace(named_plan("default", GRIZY, 6), aperture=aperture)


def test_a_catalog_to_be_like_needs_that_of_the_labels(tmp_path):
    files = TrainingFiles(tmp_path / "cutouts", spectra=tmp_path / "s.parquet", like=tmp_path / "t")
    with pytest.raises(CatalogError, match=r"--like .*Name their catalog with --catalog"):
        TrainingInputs.read(files)
