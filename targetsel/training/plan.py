"""Plans of an ensemble's training, the named recipes, and inputs read from files."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel

from targetsel.documents.models import validate_values
from targetsel.errors import CatalogError, EnsembleError, SpectrumError, shown, unknown
from targetsel.imaging.store import CutoutStore, check_suits
from targetsel.imaging.stretch import Stretch
from targetsel.imaging.survey_images import check_of_survey
from targetsel.networks.aperture_photometry import ASINH_SCALE, LINEAR_SCALE
from targetsel.networks.input_plan import SMALLEST, InputPlan
from targetsel.networks.inputs import InputPlans, InputsById
from targetsel.networks.network import NetworkPlan, presets
from targetsel.networks.redshift_scale import RedshiftScale
from targetsel.networks.vector_plan import VectorPlan
from targetsel.scoring.ensemble import Ensemble, decoder_file, find_ensemble
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.spectra.apertures import APERTURE, are_alike
from targetsel.spectra.decoder import FILE_NAME, Decoder
from targetsel.surveys.card import SurveyCard
from targetsel.surveys.registry import find_card
from targetsel.tables.any_format import is_simulated
from targetsel.training.examples import recorded_split
from targetsel.training.files import (
    TrainingFiles,
    check_catalog,
    check_inputs,
    check_no_cutouts,
    stores_of,
)
from targetsel.training.labels import SMALLEST_SCATTER, Labels
from targetsel.training.network_training import Recipe

Model = TypeVar("Model", bound=BaseModel)

FINE_TUNING_RATE = 0.25  # peak learning rate over that of a training from scratch
FEWEST_IN_BATCH = 32  # sources: with fewer to train on there is no training
WIDTH = 0.5
PHOTOMETRY = 64  # features of aperture photometry that join those of the cutout
VECTOR_FEATURES = 256
EPOCHS_OF_VECTORS = 30  # of networks without convolutions
DECAY_OF_VECTORS = 1.0  # the same


@dataclass(frozen=True)
class TrainingPlan:
    """An ensemble to be trained.

    Attributes
    ----------
    input : InputPlan or None
        The cutouts that it takes, if it does.
    network : NetworkPlan
        Plan of every member; its photometry, if any, undoes the stretch of the input.
    recipe : Recipe
        Recipe of every member; member k has the seed `recipe.seed` + k.
    members : int
    start : Ensemble or None
        Ensemble whose networks the members start from, in turn; untrained ones if None.
    workers : int
        Number of processes on a CPU, one for each member in training.
    device : "cpu" or "cuda"
        On a GPU the members are trained one after the other.
    aperture : float or None
        Diameter of the fiber that the spectra were taken with [arcsec], so that the line strengths
        predicted are of the light in it; for the card.
    vectors : VectorPlan or None
        The vectors that it takes, in place of cutouts or beside them.
    """

    input: InputPlan | None
    network: NetworkPlan
    recipe: Recipe
    members: int = 5
    start: Ensemble | None = None
    workers: int = 1
    device: str = "cpu"
    aperture: float | None = None
    vectors: VectorPlan | None = None

    @property
    def inputs(self) -> InputPlans:
        """All that the networks take."""
        return InputPlans(self.input, self.vectors)

    def __post_init__(self) -> None:
        if self.aperture is not None and not 0 < self.aperture < math.inf:
            raise EnsembleError(
                f"--aperture {self.aperture:g}: expected a number above 0, in arcsec"
            )
        if self.members < 1:
            raise EnsembleError(f"training: {self.members} members, expected 1 or more")
        if self.network.photometry:
            self._check_softening()
        bands = () if self.input is None else self.input.bands
        if self.network.n_bands != len(bands):
            raise EnsembleError(
                f"training: the network is for {self.network.n_bands} bands, expected "
                f"{len(bands)}: {', '.join(bands)}"
            )
        if self.network.vector != self.inputs.n_numbers:
            raise EnsembleError(
                f"training: the network is for vectors of {self.network.vector} numbers, expected "
                f"{self.inputs.n_numbers}"
            )
        if self.network.head == "covariance" and not self.recipe.epochs_covariance:
            raise EnsembleError(
                "recipe: epochs_covariance is 0, expected 1 or more for a network whose head is "
                "'covariance'"
            )
        if self.start is not None:
            self._check_start(self.start)

    def _check_start(self, start: Ensemble) -> None:
        ours = {"network": _shape(self.network), **self.inputs.to_card()}
        theirs = {"network": _shape(start.networks[0].plan), **start.inputs.to_card()}
        for key, here, there in differences(ours, theirs):
            raise EnsembleError(
                f"the ensemble to start from, '{start.card.get('name', '')}': its {key} is "
                f"{shown(there)}, but this training's is {shown(here)}. Leave that option out, "
                "or choose another ensemble."
            )

    def recipe_of(self, member: int) -> Recipe:
        """Recipe of a member, with its own seed."""
        return self.recipe.model_copy(update={"seed": self.recipe.seed + member})

    @property
    def split(self) -> tuple[int, int]:
        """Seed and number of members that define the split of sources: those of the ensemble to
        start from, so that its test sources stay unused."""
        return self._earlier_split or (self.recipe.seed, self.members)

    def fold_of(self, member: int) -> int:
        """The fold of a member's validation sources: that of the network that it starts from."""
        return self.start_of(member) if self._earlier_split else member

    @property
    def _earlier_split(self) -> tuple[int, int] | None:
        return None if self.start is None else recorded_split(self.start.card)

    def for_few(self, n: int) -> TrainingPlan:
        """The plan of a training on n sources: with batches of all of them if a batch has more."""
        batch = max(FEWEST_IN_BATCH, n)
        if batch >= self.recipe.batch:
            return self
        return replace(self, recipe=self.recipe.model_copy(update={"batch": batch}))

    def start_of(self, member: int) -> int:
        """Number of the network, in the ensemble to start from, that a member starts from."""
        assert self.start is not None
        alike = _like_the_first(self.start)
        return alike[member % len(alike)]

    def _check_softening(self) -> None:
        assert self.input is not None
        expected = softening_of(self.input.stretch)
        if self.network.softening != expected:
            raise EnsembleError(
                f"training: the network's photometry undoes a softening of "
                f"{self.network.softening:g}, expected the stretch's {expected:g}"
            )

    def identity(self) -> dict[str, Any]:
        """Everything that the trained weights depend on, as plain values."""
        return {
            **self.inputs.to_card(),
            "network": self.network.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(),
            "members": self.members,
            "start": None if self.start is None else self.start.sha256,
        }


def softening_of(stretch: Stretch) -> float:
    """Softening of an input's stretch that photometry has to undo; 0 for a linear one.

    Raises
    ------
    EnsembleError
        If photometry cannot undo this stretch.
    """
    scale = {"linear": LINEAR_SCALE, "asinh": ASINH_SCALE}[stretch.kind]
    if stretch.scale != scale or stretch.offset:
        raise EnsembleError(
            f"training: photometry of cutouts that are stretched by {stretch.to_card()}; "
            f"expected scale {scale:g} and no offset"
        )
    return stretch.softening if stretch.kind == "asinh" else 0.0


def _shape(plan: NetworkPlan) -> dict[str, Any]:
    return plan.model_dump(mode="json", exclude={"latent_rmse"})


def _default(epochs: int | None) -> tuple[NetworkPlan, Recipe]:
    """A hybrid network of half the width with aperture photometry as an additional input,
    trained for the mean first and then for the covariance."""
    network = NetworkPlan(width=WIDTH, photometry=PHOTOMETRY)
    return network, Recipe() if epochs is None else _in_phases(epochs)


def _in_phases(epochs: int, learning_rate: float = Recipe().learning_rate) -> Recipe:
    if epochs < 2:
        raise EnsembleError(f"--epochs {epochs}: expected 2 or more, some for each phase")
    covariance = max(1, epochs // 3)
    return Recipe(
        epochs_mean=epochs - covariance, epochs_covariance=covariance, learning_rate=learning_rate
    )


def _published(epochs: int | None) -> tuple[NetworkPlan, Recipe]:
    """The hybrid of Wu & Peek (2020, arXiv:2009.12318) by their recipe, for the mean alone."""
    recipe = Recipe(
        epochs_mean=10 if epochs is None else epochs,
        epochs_covariance=0,
        batch=128,
        learning_rate=3e-2,
        optimiser="ranger",
        augmentation="published",
        clip=0.0,
    )
    return presets()["hybrid"], recipe


def _of_vectors(epochs: int | None) -> tuple[NetworkPlan, Recipe]:
    """Networks without convolutions, whose epochs take little time, and are many.

    Their matrices see every number of a vector at once and learn the training's sources by heart,
    unless a strong weight decay keeps them small.
    """
    network = NetworkPlan(n_bands=0, width=0, vector=1, vector_features=VECTOR_FEATURES)
    recipe = _in_phases(EPOCHS_OF_VECTORS if epochs is None else epochs, 2e-3)
    return network, recipe.model_copy(update={"weight_decay": DECAY_OF_VECTORS})


RECIPES: dict[str, Callable[[int | None], tuple[NetworkPlan, Recipe]]] = {
    "default": _default,
    "wu-peek-2020": _published,
}


def named_plan(
    name: str,
    input: InputPlan | None,
    n_latents: int,
    epochs: int | None = None,
    width: float | None = None,
    members: int = 5,
    seed: int = 0,
    vectors: VectorPlan | None = None,
) -> TrainingPlan:
    """The plan of a named recipe on these inputs.

    Parameters
    ----------
    name : str
        One of `RECIPES`; of vectors alone "default".
    epochs : int, optional
        Epochs of all phases together; a third of them, rounded down, for the covariance.
    width : float, optional
        Width of the networks; 1 as published.
    """
    network, recipe = _recipe(name, epochs)
    if input is None:
        _check_of_vectors(name, width)
        network, recipe = _of_vectors(epochs)
    stretch = None if input is None or not network.photometry else input.stretch
    network = _changed(
        network,
        "network",
        n_bands=0 if input is None else len(input.bands),
        n_latents=n_latents,
        width=network.width if width is None else width,
        softening=0.0 if stretch is None else softening_of(stretch),
        vector=0 if vectors is None else vectors.n_numbers,
        vector_features=0 if vectors is None else VECTOR_FEATURES,
    )
    recipe = recipe.model_copy(update={"seed": seed})
    return TrainingPlan(input, network, recipe, members, vectors=vectors)


def _check_of_vectors(name: str, width: float | None) -> None:
    """Refuse options of convolutions where networks take vectors alone."""
    if name != "default":
        raise EnsembleError(
            f"--preset {name}: is of networks that take cutouts. Name a STORE of them, or leave "
            "the option out."
        )
    if width is not None:
        raise EnsembleError(
            f"--width {width:g}: is of convolutions, and without cutouts there are none. Name a "
            "STORE of cutouts, or leave the option out."
        )


def fine_tuning(
    name: str,
    start: Ensemble,
    input: InputPlan | None,
    epochs: int | None = None,
    width: float | None = None,
    members: int | None = None,
    seed: int = 0,
) -> TrainingPlan:
    """Plan that continues training an ensemble's networks by a named recipe with smaller steps.

    Parameters
    ----------
    name, epochs, seed
        See `named_plan`.
    width : float, optional
        Width of the networks; that of the ensemble if None.
    members : int, optional
        Number of members. None: the number of the ensemble's networks with the first one's plan.

    Raises
    ------
    EnsembleError
        If the ensemble takes another input, or its networks have another width.
    """
    _, recipe = _recipe(name, epochs)
    if input is None:
        _check_of_vectors(name, width)
        _, recipe = _of_vectors(epochs)
    network = start.networks[0].plan
    width = network.width if width is None else width
    rate = recipe.learning_rate * FINE_TUNING_RATE
    return TrainingPlan(
        input,
        _changed(network, "network", latent_rmse=(), width=width),
        recipe.model_copy(update={"seed": seed, "learning_rate": rate}),
        members or len(_like_the_first(start)),
        start,
        vectors=start.inputs.vectors,
    )


def _changed(model: Model, place: str, **values: Any) -> Model:
    """A copy with other values, checked."""
    return validate_values(dict(model) | values, type(model), place, EnsembleError)


def _recipe(name: str, epochs: int | None) -> tuple[NetworkPlan, Recipe]:
    if name not in RECIPES:
        raise EnsembleError(unknown("preset", name, RECIPES))
    return RECIPES[name](epochs)


def _like_the_first(ensemble: Ensemble) -> list[int]:
    """Numbers of the networks with the same plan as the first one."""
    first = _shape(ensemble.networks[0].plan)
    return [k for k, each in enumerate(ensemble.networks) if _shape(each.plan) == first]


def differences(
    ours: dict[str, Any], theirs: dict[str, Any], place: str = ""
) -> list[tuple[str, Any, Any]]:
    """Entries that differ between two nested tables: dotted name, our value, their value."""
    found = []
    for key in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(key), theirs.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{place}{key}.")
        elif one != other:
            found.append((f"{place}{key}", one, other))
    return found


# ---------------------------------------------------------------------- inputs from files


@dataclass(frozen=True)
class TrainingInputs:
    """Arguments of `ensemble_training.train_into`."""

    store: InputsById
    labels: Labels
    plan: TrainingPlan
    decoder: Decoder

    @classmethod
    def read(
        cls,
        files: TrainingFiles,
        preset: str = "default",
        *,
        survey: str | None = None,
        bands: tuple[str, ...] | None = None,
        size: int | None = None,
        binning: int | None = None,
        seed: int = 0,
        redshift: bool = True,
        aperture: float | None = None,
        **options: Any,
    ) -> TrainingInputs:
        """The inputs read from some files, and the plan that the options set.

        Parameters
        ----------
        files : TrainingFiles
        preset : str
            One of `RECIPES`.
        survey : str, optional
            Survey whose card gives bands, size and binning that are not given.
        bands, size, binning
            Bands, size and binning of the networks' input. None: those of the survey, of the store
            or of the ensemble to start from.
        seed : int
            Seed of weights, batches, splits and the noise of labels.
        redshift : bool
            Whether to learn the redshift beside the latents, where the catalog has it. A training
            that starts from an ensemble learns it if that one predicts it, and goes on with its
            latents alone where no redshift is known.
        aperture : float, optional
            Diameter of the fiber that the spectra were taken with [arcsec]. None: as their file
            states it, or else that of the ensemble to start from, or not stated.
        **options
            `members`, `epochs` and `width` of `named_plan` or `fine_tuning`; None for
            their defaults.

        Raises
        ------
        TargetselError
            If a file is missing or damaged, or files and options do not suit one another.
        """
        check_catalog(files)
        check_inputs(files)
        start = None if files.init is None else Ensemble.read(files.init)
        decoder, place = _decoder(files, start)
        store = stores_of(files, start)
        asked = _given({"bands": bands, "size": size, "binning": binning})
        if survey is not None:
            if store.cutouts is None:
                check_no_cutouts(asked | {"survey": survey})
            asked = _of_survey(find_card(survey, EnsembleError), store.cutouts, **asked)
        options = _given(options | {"seed": seed})
        input_plan = _input_plan(store, start, asked)
        labels = _labels(files, decoder, place, seed)
        if files.catalog is not None:
            simulated = labels.simulated or is_simulated(files.catalog)
            catalog = Catalog.read(files.catalog)
            labels = labels.with_catalog(catalog, files.group, files.catalog)
            labels = replace(labels, simulated=simulated)
        if redshift and (start is None or start.predicts_redshift):
            labels = labels.with_redshifts()
        if files.like is not None:
            assert files.catalog is not None
            target = CatalogFile.open(files.like)
            labels = labels.in_store(store).like(target, catalog, files.catalog)
        if start is None:
            vectors = None
            if store.embeddings is not None:
                chosen = labels.in_store(store).source_id
                vectors = VectorPlan.of(store.embeddings, chosen, store.brightness)
            options |= {"vectors": vectors}
            plan = named_plan(preset, input_plan, decoder.n_latents, **options)
        else:
            start.inputs.check(store, start.name)
            plan = fine_tuning(preset, start, input_plan, **options)
        if start is not None and start.predicts_redshift and labels.redshift is None:
            plan = fine_tuning(preset, _of_latents(start), plan.input, **options)
        elif start is None and labels.redshift is not None:
            network = _changed(plan.network, "network", redshift=_scale(labels, files))
            plan = replace(plan, network=network)
        plan = replace(plan, aperture=_aperture(aperture, labels, files, start))
        return cls(store, labels, plan, decoder)


def _of_survey(
    card: SurveyCard,
    store: CutoutStore,
    bands: tuple[str, ...] | None = None,
    size: int | None = None,
    binning: int | None = None,
) -> dict[str, Any]:
    """Bands, size and binning by a survey's card, where they are not given.

    Of smaller cutouts than the card's, all whole bins are taken.

    Raises
    ------
    CutoutError
        If the store lacks one of the bands, or its pixels are not the survey's.
    """
    bands, binning = bands or card.band_names, binning or card.binning
    check_of_survey(store.path, bands, None, card)
    place = f"survey '{card.name}'"
    check_suits(store, bands, card.pixel_scale, SMALLEST, place, "name those it has with --bands")
    whole = min(card.cutout_size, *store.shape[1:]) // binning * binning
    return {"bands": bands, "size": size or whole, "binning": binning}


def _input_plan(
    store: InputsById, start: Ensemble | None, asked: dict[str, Any]
) -> InputPlan | None:
    """The cutouts that networks shall take; None without cutouts."""
    if start is not None:
        if start.inputs.cutouts is None:
            check_no_cutouts(asked)
            return None
        return _changed(start.inputs.cutouts, "input", **asked)
    if store.cutouts is None:
        check_no_cutouts(asked)
        return None
    return InputPlan.of_store(store.cutouts, **asked)


def _aperture(
    given: float | None, labels: Labels, files: TrainingFiles, start: Ensemble | None
) -> float | None:
    """Diameter of the spectra's fiber [arcsec]: as given, as their file states it, or `start`."""
    stated = labels.aperture
    if given is not None and stated is not None and not are_alike(given, stated):
        raise EnsembleError(
            f"--aperture {given:g}: {files.spectra or files.latents} states that its spectra are "
            f"of a fiber of {stated:g} arcsec. Leave the option out, or give other spectra."
        )
    given = stated if given is None else given
    return start.card.get(APERTURE) if given is None and start is not None else given


def _scale(labels: Labels, files: TrainingFiles) -> RedshiftScale:
    """The scale of the redshifts to be learnt."""
    assert labels.redshift is not None
    if np.log1p(labels.redshift).std() < SMALLEST_SCATTER:
        raise CatalogError(
            f"{files.catalog}: the redshift is {labels.redshift[0]:g} for all {len(labels)} "
            "sources, so there is nothing to learn of it. Leave it out with --no-redshift."
        )
    return RedshiftScale.of(labels.redshift)


def _of_latents(ensemble: Ensemble) -> Ensemble:
    """The same ensemble without the redshift, to start from where none is learnt."""
    networks = [each.without_redshift() for each in ensemble.networks]
    return Ensemble(networks, ensemble.decoder, ensemble.novelty, ensemble.card)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _decoder(files: TrainingFiles, start: Ensemble | None) -> tuple[Decoder, Path]:
    """The decoder, and the file that it is in."""
    if files.decoder is not None:
        file = decoder_file(files.decoder, files.decoder)
    elif files.init is not None:
        file = find_ensemble(files.init) / FILE_NAME
    else:
        raise EnsembleError("--decoder is required: name the decoder that produced the latents.")
    decoder = Decoder.read(file)
    if start is not None and not _same_weights(decoder, start.decoder):
        raise EnsembleError(
            f"--decoder {files.decoder}: is not the decoder of {files.init}. Leave it out: a "
            "training that starts from an ensemble keeps its decoder."
        )
    return decoder, file


def _same_weights(one: Decoder, other: Decoder) -> bool:
    ours, theirs = one.network.state_dict(), other.network.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def _labels(files: TrainingFiles, decoder: Decoder, place: Path, seed: int) -> Labels:
    if files.spectra is not None and files.latents is None:
        return Labels.of_spectra(files.spectra, decoder, seed)
    if files.latents is not None and files.spectra is None:
        return Labels.of_latents(files.latents, decoder, place)
    both = "both are given" if files.spectra is not None else "neither is"
    raise SpectrumError(f"--spectra or --latents: {both}, expected one of them")
