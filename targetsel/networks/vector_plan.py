"""Vectors that an ensemble takes: which embeddings, magnitudes beside them, and their scales."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from targetsel.documents.models import DocumentModel, FromList, validate_values
from targetsel.embeddings.brightness import Brightness
from targetsel.embeddings.file import Embeddings
from targetsel.embeddings.vectors import Vectors
from targetsel.errors import EnsembleError
from targetsel.photometry.bands import Band
from targetsel.photometry.selection_weights import of_magnitude
from targetsel.sky.catalog import Catalog
from targetsel.tables.ids import uniform

MOST_MEASURED = 20_000  # sources that scales are taken from
LINEAR = 5.0  # [half the width of the central 68 %] up to which numbers stay as they are, nearly
FARTHEST = 30.0  # the same; farther ones count as this far

Scales = Annotated[tuple[float, ...], FromList]


class VectorPlan(DocumentModel):
    """Vectors that the networks take.

    Attributes
    ----------
    column : str
        Column of the embeddings in their file.
    length : int
        Numbers of an embedding.
    model : str
        The model that they are of, where the file of the training stated it; else empty.
    bands : tuple of K strings
        Bands of the catalog's photometry that the networks take too; none without.
    corrected : bool
        Whether these magnitudes are corrected for Galactic extinction.
    middle, scale : tuple of length + K floats
        Median over the training's sources, and half the width of their central 68 %, of each
        number of the embedding, of the magnitude and of the colours [mag].
    """

    column: str
    length: Annotated[int, Field(ge=1)]
    model: str = ""
    bands: Annotated[tuple[str, ...], FromList] = ()
    corrected: bool = False
    middle: Scales
    scale: Scales

    @model_validator(mode="after")
    def _check_lengths(self) -> VectorPlan:
        for name, numbers in (("middle", self.middle), ("scale", self.scale)):
            if len(numbers) != self.n_numbers:
                raise ValueError(
                    f"{name} has {len(numbers)} numbers; expected {self.n_numbers}, one for each "
                    "of the embedding and of the photometry"
                )
        if not all(number > 0 for number in self.scale):
            raise ValueError("a scale is not above 0; expected all above 0")
        return self

    @property
    def n_numbers(self) -> int:
        """Length of the vectors that networks take."""
        return self.length + len(self.bands)

    @classmethod
    def of(
        cls, embeddings: Embeddings, source_id: np.ndarray, brightness: Brightness | None = None
    ) -> Self:
        """The plan of a training on these sources.

        Raises
        ------
        EnsembleError
            If none of them has a vector of finite numbers, or all have the same one.
        """
        order = np.argsort(uniform(source_id, 0, "scales of vectors")[:, 0], kind="stable")
        chosen = embeddings.read(source_id[order[:MOST_MEASURED]])
        if brightness is not None:
            chosen = brightness.beside(chosen)
        numbers = chosen.numbers[chosen.status == "ok"]
        if not len(numbers):
            raise EnsembleError(
                f"{embeddings.described}: no vector of finite numbers for any of the "
                f"{len(source_id):,} sources with labels. Give the embeddings of these sources."
            )
        if len(numbers) > 1:
            _check_differ(numbers[:, : embeddings.length], embeddings)
        middle, scale = _scales(numbers)
        values = {
            "column": embeddings.column,
            "length": embeddings.length,
            "model": embeddings.model,
            "bands": () if brightness is None else brightness.names,
            "corrected": brightness is not None and brightness.is_corrected,
            "middle": middle.tolist(),
            "scale": scale.tolist(),
        }
        return validate_values(values, cls, "embeddings", EnsembleError)

    def prepare(self, numbers: np.ndarray) -> np.ndarray:
        """Standardised vectors, shape (N, length + K) float32; far values are drawn in.

        Parameters
        ----------
        numbers : ndarray of float64, shape (N, length + K)
            `Vectors.numbers`.
        """
        with np.errstate(over="ignore"):
            even = (numbers - np.array(self.middle)) / np.array(self.scale)
        drawn = LINEAR * np.arcsinh(even / LINEAR)
        return np.clip(drawn, -FARTHEST, FARTHEST).astype(np.float32)

    def check(self, embeddings: Embeddings, ensemble: str) -> None:
        """Refuse other embeddings than those of the training.

        Raises
        ------
        EnsembleError
            If column, length or model differ, as far as the file states them.
        """
        where = embeddings.described
        if embeddings.length != self.length:
            raise EnsembleError(
                f"{where}: its vectors have {embeddings.length} numbers; {ensemble} was trained on "
                f"{self.length}{self._of_model}. Give embeddings of the same model."
            )
        if self.model and embeddings.model and embeddings.model != self.model:
            raise EnsembleError(
                f"{where}: its vectors are of {embeddings.model}; {ensemble} was trained on those "
                f"of {self.model}. Give embeddings of the same model."
            )

    @property
    def described(self) -> str:
        """What the networks take, in half a line."""
        photometry = f" and magnitudes in {', '.join(self.bands)}" if self.bands else ""
        named = f" (column '{self.column}')"
        return f"embeddings of {self.length} numbers{self._of_model}{named}{photometry}"

    @property
    def _of_model(self) -> str:
        return f" of {self.model}" if self.model else ""

    def brightness_of(self, catalog: Catalog, place: Path | str) -> Brightness | None:
        """The brightness of a catalog's sources in the bands of the training, if it has bands.

        Raises
        ------
        CatalogError
            If the catalog has no such bands, or is corrected for extinction where the training's
            was not, or the other way round.
        """
        return Brightness.of(catalog, place, self.bands, self.corrected) if self.bands else None

    def magnitude(self, vectors: Vectors) -> np.ndarray:
        """AB magnitude of N sources by the catalog's photometry, shape (N,); NaN without it."""
        if vectors.brightness is None:
            return np.full(len(vectors), np.nan)
        return vectors.brightness[:, 0]

    def appearance(self, vectors: Vectors) -> np.ndarray:
        """Magnitude and colour by the catalog's photometry, and NaN for the size, shape (N, 3).

        The colour is that of the band before the magnitude's and itself, or of the first two.
        """
        found = np.full((len(vectors), 3), np.nan)
        if vectors.brightness is not None:
            found[:, 0] = vectors.brightness[:, 0]
            if len(self.bands) > 1:
                bands = [Band.parse(name) for name in self.bands]
                found[:, 1] = vectors.brightness[:, max(bands.index(of_magnitude(bands)), 1)]
        return found


def _check_differ(vectors: np.ndarray, embeddings: Embeddings) -> None:
    if (vectors == vectors[0]).all():
        raise EnsembleError(
            f"{embeddings.described}: the same vector for all {len(vectors):,} sources "
            "with labels; expected vectors that differ. Write them again, or name another column "
            "with --embedding-col."
        )


def _scales(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and half the width of the central 68 % of each column, which is above 0.

    A number that is the same for most sources is divided by its standard deviation; one that is
    the same for all, by 1. Twelve digits are kept.
    """
    low, middle, high = np.quantile(numbers, [0.16, 0.5, 0.84], axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        half, deviation = (high - low) / 2, numbers.std(axis=0)
    usable = np.isfinite(deviation) & (deviation > 0)
    scale = np.where(half > 0, half, np.where(usable, deviation, 1.0))
    scale = np.where(np.isfinite(scale), scale, np.finfo(float).max)
    return _rounded(middle), np.maximum(_rounded(scale), np.finfo(float).tiny)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.array([float(f"{value:.12g}") for value in values])
