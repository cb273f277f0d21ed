"""Files that an ensemble's training reads, and the stores of what its networks see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from targetsel.embeddings.brightness import Brightness
from targetsel.embeddings.file import Embeddings
from targetsel.errors import CatalogError, CutoutError, EnsembleError
from targetsel.imaging.store import CutoutStore
from targetsel.networks.inputs import InputsById
from targetsel.scoring.ensemble import Ensemble
from targetsel.sky.catalog import Catalog
from targetsel.tables.any_form import AnyTable


@dataclass(frozen=True)
class TrainingFiles:
    """Files that an ensemble's training reads.

    Attributes
    ----------
    store : Path or None
        Cutout store; None for an ensemble that takes embeddings alone.
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
    like : Path or None
        Catalog that the labels are weighted like.
    embeddings : Path or table or None
        File of embeddings, in place of cutouts or beside them.
    embedding_column : str or None
        Their column; None: the only one, or that of the ensemble to start from.
    photometry : bool
        Whether to take the catalog's magnitudes beside the embeddings.
    """

    store: Path | None
    spectra: Path | None = None
    latents: Path | None = None
    decoder: Path | None = None
    catalog: Path | None = None
    group: str | None = None
    init: str | None = None
    like: Path | None = None
    embeddings: AnyTable | None = None
    embedding_column: str | None = None
    photometry: bool = False


def check_catalog(files: TrainingFiles) -> None:
    """Refuse options that need a catalog without one."""
    if files.catalog is not None:
        return
    if files.group is not None:
        raise CatalogError(
            f"--group {files.group}: is a column of no catalog. Name one with --catalog."
        )
    if files.like is not None:
        raise CatalogError(
            f"--like {files.like}: weights compare the brightness of labelled sources with that of "
            "this catalog, and the former is not known. Name their catalog with --catalog."
        )


def check_inputs(files: TrainingFiles) -> None:
    """Refuse options of embeddings without them, and a training without anything to see."""
    if files.embeddings is None:
        if files.store is None:
            raise CutoutError(
                "nothing to train on: name a STORE of cutouts, or a file of embeddings with "
                "--embeddings."
            )
        for option, value in (
            (f"--embedding-col {files.embedding_column}", files.embedding_column),
            ("--photometry", files.photometry),
        ):
            if value:
                raise EnsembleError(
                    f"{option}: is for embeddings, and there are none. Name their file with "
                    "--embeddings."
                )
    if files.photometry and files.catalog is None:
        raise CatalogError(
            "--photometry: magnitudes are columns of a catalog, and there is none. Name it with "
            "--catalog."
        )


def stores_of(files: TrainingFiles, start: Ensemble | None) -> InputsById:
    """The cutouts and embeddings of a training, with the catalog's photometry where it is taken."""
    cutouts = None if files.store is None else CutoutStore.open(files.store)
    if files.embeddings is None:
        return InputsById(cutouts)
    before = None if start is None else start.inputs.vectors
    column = files.embedding_column or (before.column if before else None)
    store = InputsById(cutouts, Embeddings.open(files.embeddings, column))
    bands = before.bands if before else ()
    if not files.photometry and not bands:
        return store
    if files.photometry and before is not None and not bands:
        raise EnsembleError(
            f"--photometry: the ensemble to start from takes {before.described}, and no "
            "magnitudes. Leave the option out."
        )
    if files.catalog is None:
        raise CatalogError(
            f"the ensemble to start from takes magnitudes in {', '.join(bands)}, which are columns "
            "of a catalog. Name it with --catalog."
        )
    corrected = before.corrected if before else None
    brightness = Brightness.of(Catalog.read(files.catalog), files.catalog, bands, corrected)
    return store.with_brightness(brightness)


def check_no_cutouts(asked: Mapping[str, object]) -> None:
    """Refuse options of cutouts, by their names, without them."""
    if asked:
        option = "--bin" if "binning" in asked else f"--{next(iter(asked))}"
        raise EnsembleError(
            f"{option}: is of cutouts, and there are none. Name a STORE of them, or leave the "
            "option out."
        )
