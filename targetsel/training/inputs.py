"""Inputs of an ensemble's training, read from files: cutouts, labels, decoder and plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from targetsel.errors import CatalogError, EnsembleError, SpectrumError
from targetsel.imaging.store import CutoutStore
from targetsel.networks.input_plan import InputPlan
from targetsel.scoring.ensemble import Ensemble, find_ensemble
from targetsel.sky.catalog import Catalog
from targetsel.spectra.decoder import FILE_NAME, Decoder
from targetsel.tables.parquet import is_simulated
from targetsel.training.labels import Labels
from targetsel.training.plan import TrainingPlan, fine_tuning, named_plan


@dataclass(frozen=True)
class TrainingFiles:
    """Files that an ensemble's training reads.

    Attributes
    ----------
    store : Path
        Cutout store.
    spectra, latents : Path or None
        Source of the labels: one of the two, see `Labels.of_spectra` and `Labels.of_latents`.
    decoder : Path or None
        Decoder of the latents, a folder or file; that of `init` if None.
    catalog : Path or None
        Catalog with groups, weights and further columns of the sources.
    group : str or None
        Column of the catalog's groups.
    init : str or None
        Ensemble to start from: a folder, or a shipped one's name.
    """

    store: Path
    spectra: Path | None = None
    latents: Path | None = None
    decoder: Path | None = None
    catalog: Path | None = None
    group: str | None = None
    init: str | None = None


@dataclass(frozen=True)
class TrainingInputs:
    """Arguments of `run.train_into`."""

    store: CutoutStore
    labels: Labels
    plan: TrainingPlan
    decoder: Decoder

    @classmethod
    def read(
        cls,
        files: TrainingFiles,
        preset: str = "default",
        *,
        bands: tuple[str, ...] | None = None,
        size: int | None = None,
        binning: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> TrainingInputs:
        """The inputs read from some files, and the plan that the options set.

        Parameters
        ----------
        files : TrainingFiles
        preset : str
            One of `plan.RECIPES`.
        bands, size, binning
            Bands, size and binning of the networks' input. None: those of the store, or of the
            ensemble to start from.
        seed : int
            Seed of weights, batches, splits and the noise of labels.
        **options
            `members`, `epochs` and `width` of `plan.named_plan` or `plan.fine_tuning`; None for
            their defaults.

        Raises
        ------
        TargetselError
            If a file is missing or damaged, or files and options do not suit one another.
        """
        if files.group is not None and files.catalog is None:
            raise CatalogError(
                f"--group {files.group}: is a column of no catalog. Name one with --catalog."
            )
        start = None if files.init is None else Ensemble.read(files.init)
        decoder, place = _decoder(files, start)
        store = CutoutStore.open(files.store)
        asked = _given({"bands": bands, "size": size, "binning": binning})
        options = _given(options | {"seed": seed})
        if start is None:
            input_plan = InputPlan.of_store(store, **asked)
            plan = named_plan(preset, input_plan, decoder.n_latents, **options)
        else:
            plan = fine_tuning(preset, start, replace(start.input, **asked), **options)
        labels = _labels(files, decoder, place, seed)
        if files.catalog is not None:
            simulated = labels.simulated or is_simulated(files.catalog)
            labels = labels.with_catalog(Catalog.read(files.catalog), files.group)
            labels = replace(labels, simulated=simulated)
        return cls(store, labels, plan, decoder)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _decoder(files: TrainingFiles, start: Ensemble | None) -> tuple[Decoder, Path]:
    """The decoder, and the file that it is in."""
    if files.decoder is not None:
        file = files.decoder / FILE_NAME if files.decoder.is_dir() else files.decoder
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
