"""Inputs of an ensemble: what its networks see of a source, a cutout, a vector, or both.

Cutouts and vectors are read by the same ids, checked by the same plan, and handed to the networks
as one array, so that all that stands behind does not know which of them it was: the stretched
cutouts (N, B, H, W), the standardised vectors (N, E), or both, one after the other, in rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from targetsel.embeddings.brightness import Brightness
from targetsel.embeddings.file import Embeddings
from targetsel.embeddings.vectors import Vectors
from targetsel.errors import CutoutError, EnsembleError
from targetsel.imaging.cutout import Cutouts, Images, cut_out
from targetsel.imaging.measurements import central_magnitude, reference_band
from targetsel.imaging.store import Described, check_suits
from targetsel.networks.input_plan import InputPlan
from targetsel.networks.vector_plan import VectorPlan
from targetsel.sky.catalog import Catalog

OTHER_BANDS = "use --ensemble with one trained for these bands"


@dataclass(frozen=True)
class Inputs:
    """What is known of N sources; both kinds have them in the same order.

    Attributes
    ----------
    cutouts : Cutouts or None
    vectors : Vectors or None
    """

    cutouts: Cutouts | None = None
    vectors: Vectors | None = None

    @classmethod
    def of(cls, given: AnyInputs) -> Inputs:
        """Inputs, or cutouts or vectors alone, as inputs."""
        if isinstance(given, Inputs):
            return given
        return cls(cutouts=given) if isinstance(given, Cutouts) else cls(vectors=given)

    @property
    def _first(self) -> Cutouts | Vectors:
        found = self.vectors if self.cutouts is None else self.cutouts
        assert found is not None
        return found

    def __len__(self) -> int:
        return len(self._first)

    @property
    def source_id(self) -> np.ndarray:
        """int64, or object array of str, shape (N,)."""
        return self._first.source_id

    @property
    def present(self) -> np.ndarray:
        """Whether there is a cutout, or where none are taken a vector, shape (N,)."""
        return self._first.present

    @property
    def position(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Ra and dec [deg, ICRS] that images were made for, if they are known."""
        return None if self.cutouts is None else self.cutouts.position

    @property
    def masked_fraction(self) -> np.ndarray:
        """Share of the pixels without data, shape (N,); NaN without cutouts."""
        return np.full(len(self), np.nan) if self.cutouts is None else self.cutouts.masked_fraction

    @cached_property
    def status(self) -> np.ndarray:
        """ "ok", or the reason why a source is not predicted; object array of str, shape (N,)."""
        if self.cutouts is None or self.vectors is None:
            return self._first.status
        return np.where(self.cutouts.status == "ok", self.vectors.status, self.cutouts.status)

    def take(self, rows: np.ndarray | slice) -> Inputs:
        """Some of the sources, by mask, indices or slice."""
        return Inputs(
            None if self.cutouts is None else self.cutouts.take(rows),
            None if self.vectors is None else self.vectors.take(rows),
        )


AnyInputs: TypeAlias = "Inputs | Cutouts | Vectors"


@dataclass(frozen=True)
class InputPlans:
    """The kinds of inputs that an ensemble takes; at least one.

    Attributes
    ----------
    cutouts : InputPlan or None
    vectors : VectorPlan or None
    """

    cutouts: InputPlan | None = None
    vectors: VectorPlan | None = None

    @classmethod
    def of(cls, given: InputPlans | InputPlan) -> InputPlans:
        """Plans of inputs, or that of cutouts alone, as such."""
        return cls(given) if isinstance(given, InputPlan) else given

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> InputPlans:
        """The plans in the card of an ensemble."""
        cutouts, vectors = card.get("input"), card.get("embeddings")
        return cls(
            None if cutouts is None else InputPlan.model_validate(cutouts),
            None if vectors is None else VectorPlan.model_validate(vectors),
        )

    def to_card(self) -> dict[str, Any]:
        """Entries of a card, which has those of the kinds that are taken."""
        plans = {"input": self.cutouts, "embeddings": self.vectors}
        return {name: each.model_dump(mode="json") for name, each in plans.items() if each}

    @property
    def described(self) -> str:
        """What is taken, in half a line."""
        words = []
        if (plan := self.cutouts) is not None:
            bands = ", ".join(plan.bands)
            words.append(f"{bands} at {plan.pixel_scale:g} arcsec, {plan.size} pixels")
        if self.vectors is not None:
            words.append(self.vectors.described)
        return "; ".join(words)

    @property
    def column(self) -> str | None:
        """The column of the embeddings that are taken, if they are."""
        return None if self.vectors is None else self.vectors.column

    @property
    def n_bands(self) -> int:
        """Number B of bands of the cutouts; 0 without."""
        return 0 if self.cutouts is None else len(self.cutouts.bands)

    @property
    def n_numbers(self) -> int:
        """Number E of a vector's numbers; 0 without."""
        return 0 if self.vectors is None else self.vectors.n_numbers

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the networks take of one source: (B, H, W), (E,) or (B H W + E,)."""
        side = 0 if self.cutouts is None else self.cutouts.n_pixels
        if self.vectors is None:
            return self.n_bands, side, side
        return (self.n_bands * side**2 + self.n_numbers,)

    def select(self, given: AnyInputs) -> Inputs:
        """The inputs that the networks take: the bands and central pixels of cutouts, and vectors.

        Raises
        ------
        CutoutError
            If a band is missing, or the cutouts are too small.
        EnsembleError
            If cutouts or vectors are missing.
        """
        inputs = Inputs.of(given)
        for what, is_taken, found in (
            ("cutouts", self.cutouts is not None, inputs.cutouts),
            ("vectors", self.vectors is not None, inputs.vectors),
        ):
            if is_taken and found is None:
                raise EnsembleError(f"the ensemble takes {self.described}: give the {what} too.")
        if (plan := self.vectors) is not None:
            assert inputs.vectors is not None
            if (n := inputs.vectors.numbers.shape[1]) != plan.n_numbers:
                raise EnsembleError(
                    f"the ensemble takes {plan.described}, {plan.n_numbers} numbers together; "
                    f"expected as many, found {n}. Give vectors of the same model."
                )
        cutouts = inputs.cutouts
        if cutouts is not None:
            cutouts = None if self.cutouts is None else self.cutouts.select(cutouts)
        return Inputs(cutouts, None if self.vectors is None else inputs.vectors)

    def prepare(self, inputs: Inputs, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """What the networks take of selected inputs: an array (n, *shape) of float32.

        Parameters
        ----------
        rows : ndarray or slice
            The sources to prepare.
        """
        parts = []
        if self.cutouts is not None:
            assert inputs.cutouts is not None
            parts.append(self.cutouts.prepare(inputs.cutouts.flux[rows]))
        if self.vectors is not None:
            assert inputs.vectors is not None
            parts.append(self.vectors.prepare(inputs.vectors.numbers[rows]))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([each.reshape(len(each), -1) for each in parts], axis=1)

    def magnitude(self, inputs: Inputs) -> np.ndarray:
        """AB magnitude of selected inputs on the cutout, or else by photometry, (N,), or NaN."""
        if self.cutouts is not None:
            assert inputs.cutouts is not None
            return central_magnitude(inputs.cutouts, reference_band(self.cutouts.bands))
        assert self.vectors is not None
        assert inputs.vectors is not None
        return self.vectors.magnitude(inputs.vectors)

    def nobody(self, source_id: np.ndarray) -> Inputs:
        """The inputs of no source, for ids of shape (0,)."""
        cutouts = vectors = None
        if (plan := self.cutouts) is not None:
            flux = np.empty((0, len(plan.bands), plan.size, plan.size), np.float32)
            cutouts = Cutouts(source_id, flux, plan.bands, plan.pixel_scale)
        if self.vectors is not None:
            values = np.empty((0, self.vectors.n_numbers))
            vectors = Vectors(source_id, values, np.ones(0, dtype=bool))
        return Inputs(cutouts, vectors)

    def check(self, given: AnyStore, ensemble: str, or_else: str = "") -> None:
        """Refuse stores of inputs that do not suit the training of an ensemble.

        Parameters
        ----------
        ensemble : str
            Its name in messages.
        or_else : str
            What else helps where cutouts lack bands.

        Raises
        ------
        CutoutError
            If cutouts are missing, or have other bands, another size or pixel scale.
        EnsembleError
            If embeddings are missing, are others than those of the training, or something is given
            that the ensemble does not take.
        """
        store = InputsById.of(given)
        takes = f"{ensemble} takes {self.described}"
        if self.cutouts is None and store.cutouts is not None:
            raise EnsembleError(f"{store.path}: {takes}, and no cutouts. Leave --cutouts out.")
        if self.vectors is None and store.embeddings is not None:
            raise EnsembleError(
                f"{store.embeddings.path}: {takes}, and no embeddings. Leave --embeddings out, or "
                "name an ensemble that was trained on them."
            )
        if self.cutouts is not None:
            if store.cutouts is None:
                raise CutoutError(f"{takes}. Name a store of cutouts with --cutouts.")
            plan = self.cutouts
            suits = plan.bands, plan.pixel_scale, plan.size, ensemble
            check_suits(store.cutouts, *suits, or_else)
        if self.vectors is not None:
            if store.embeddings is None:
                raise EnsembleError(f"{takes}. Name the file of these with --embeddings.")
            self.vectors.check(store.embeddings, ensemble)


# ---------------------------------------------------------------------- inputs by id


@dataclass(frozen=True)
class InputsById:
    """Stores of what is known of sources, read by their ids.

    Attributes
    ----------
    cutouts : CutoutStore or what else gives cutouts by id, or None
    embeddings : Embeddings or None
    brightness : Brightness or None
        What stands beside the embeddings, of a training.
    """

    cutouts: Any = None
    embeddings: Embeddings | None = None
    brightness: Brightness | None = None

    @classmethod
    def of(cls, given: AnyStore) -> InputsById:
        """Stores of inputs, or one of cutouts or embeddings alone, as such."""
        if isinstance(given, InputsById):
            return given
        if isinstance(given, Embeddings):
            return cls(embeddings=given)
        return cls(cutouts=given)

    @property
    def _first(self) -> Any:
        return self.embeddings if self.cutouts is None else self.cutouts

    @property
    def path(self) -> Path | str:
        """The store of cutouts, or else the file of embeddings."""
        found: Path | str = self._first.path
        return found

    @property
    def paths(self) -> list[Path]:
        """The files that are read."""
        found = (getattr(each, "path", None) for each in (self.cutouts, self.embeddings))
        return [path for path in found if isinstance(path, Path)]

    @property
    def simulated(self) -> bool:
        """Whether one of them is marked as of simulated images."""
        return any(each.simulated for each in (self.cutouts, self.embeddings) if each is not None)

    @property
    def sha256(self) -> str:
        """A hash of the content, that of the cutouts where there are no embeddings."""
        if self.embeddings is None:
            return str(self.cutouts.sha256)
        own = [each.sha256 for each in (self.cutouts, self.embeddings) if each is not None]
        return own[0] if len(own) == 1 else hashlib.sha256("\n".join(own).encode()).hexdigest()

    @property
    def provenance(self) -> dict[str, Any]:
        """Entries of a scored file's footer."""
        found: dict[str, Any] = {}
        if self.cutouts is not None:
            found["cutouts"] = {"sha256": self.cutouts.sha256}
        if (own := self.embeddings) is not None:
            about = {"column": own.column, "model": own.model} if own.model else {
                "column": own.column
            }  # fmt: skip
            found["embeddings"] = {"sha256": own.sha256, **about}
        return found

    def __len__(self) -> int:
        return len(self._first)

    def source_ids(self, first: int | None = None) -> np.ndarray:
        """The ids of the cutouts, or else of the embeddings, in the order of the store, (N,)."""
        found: np.ndarray = self._first.source_ids(first)
        return found

    def has(self, source_ids: np.ndarray) -> np.ndarray:
        """Whether there is a cutout and a vector, of those that are given, boolean, (N,)."""
        stores = [each for each in (self.cutouts, self.embeddings) if each is not None]
        return np.all([each.has(source_ids) for each in stores], axis=0)

    def read(self, source_ids: np.ndarray) -> Inputs:
        """The inputs of these sources, in this order; sources without them say so by a status."""
        return Inputs(
            None if self.cutouts is None else self.cutouts.read(source_ids),
            self._vectors(source_ids, self.brightness),
        )

    def seen(self, catalog: Catalog, plans: InputPlans, place: Path | str) -> Inputs:
        """The inputs of a catalog's sources, in its order: station 2 of the walk.

        Parameters
        ----------
        place : Path or str
            Name of the catalog, for errors.

        Raises
        ------
        CutoutError
            If the images cannot be read, or were made for positions other than the catalog's.
        CatalogError
            If the catalog lacks magnitudes that are taken.
        """
        vectors = None
        if plans.vectors is not None:
            brightness = plans.vectors.brightness_of(catalog, place)
            vectors = self._vectors(catalog.source_id, brightness)
        return Inputs(None if plans.cutouts is None else cut_out(catalog, self.cutouts), vectors)

    def with_brightness(self, brightness: Brightness) -> InputsById:
        """The same with photometry beside the vectors."""
        return replace(self, brightness=brightness)

    def _vectors(self, source_ids: np.ndarray, brightness: Brightness | None) -> Vectors | None:
        if self.embeddings is None:
            return None
        found = self.embeddings.read(source_ids)
        return found if brightness is None else brightness.beside(found)


AnyStore: TypeAlias = "InputsById | Embeddings | Described | Images"
