"""Labelled sources, whose spectra are known: a truth file joined with a scored file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.documents.brief import brief
from targetsel.errors import CatalogError
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.scored.columns import STATUS, column_names, n_latents, not_needed
from targetsel.scored.file import ScoredFile
from targetsel.scored.truth import GROUP, WEIGHT, Truth, check_groups, numbers_in
from targetsel.sky.positions import check_same_places
from targetsel.spectra.proxies import proxy_names

if TYPE_CHECKING:
    from targetsel.networks.posterior import LatentPosterior

ROWS_AT_ONCE = 8192
JOINED = ("n_scored", "n_found", "n_predicted", "n_true", "n_not_needed")  # what `Join` counts


class Join:
    """Finds the sources of a truth file in a scored file, batch by batch, and counts them.

    Attributes
    ----------
    n_scored, n_found, n_predicted, n_true : int
        Sources of the scored file seen so far; those of them in the truth file; of these, those
        with a prediction; and of these, those with a true value.
    n_not_needed : int
        Sources in the truth file that were not needed when the catalog was scored.
    """

    def __init__(self, truth: Truth, scored: Path | str) -> None:
        self.truth, self.scored = truth, scored
        self.n_scored = self.n_found = self.n_predicted = self.n_true = self.n_not_needed = 0
        self._first: Any = None
        self._seen = np.zeros(len(truth), dtype=bool)

    @property
    def counts(self) -> dict[str, Any]:
        """What it has counted, as plain values for JSON; `together` takes those of all parts."""
        first = self._first.item() if isinstance(self._first, np.generic) else self._first
        return {"first": first, **{name: getattr(self, name) for name in JOINED}}

    @classmethod
    def together(cls, truth: Truth, scored: Path | str, parts: Iterable[Mapping[str, Any]]) -> Join:
        """The join of a whole catalog, of the `counts` of its parts.

        Raises
        ------
        CatalogError
            If more sources were found than the truth file has.
        """
        join = cls(truth, scored)
        for counts in parts:
            join._first = counts["first"] if join._first is None else join._first
            for name in JOINED:
                setattr(join, name, getattr(join, name) + counts[name])
        if join.n_found > len(truth):
            raise CatalogError(
                f"{scored}: {join.n_found:,} of its rows are of the {len(truth):,} sources of "
                f"{truth.path}, so some are there more than once. Remove the repeated rows, or "
                "score the catalog again."
            )
        return join

    def rows(self, batch: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a batch that have a prediction and are in the truth file, and their rows there.

        Parameters
        ----------
        batch : pa.Table
            Rows of the scored file, with ids, and `status` and positions where the file has them.

        Raises
        ------
        CatalogError
            If both files have positions, and they differ, or a source is repeated.
        """
        named = column_names(batch.schema)
        ids = batch[named["source_id"]].to_numpy()
        if self._first is None and len(ids):
            self._first = ids[0]
        places = self.truth.index.rows(ids)
        rows = np.flatnonzero(places >= 0)
        self.n_scored, self.n_found = self.n_scored + len(ids), self.n_found + len(rows)
        self._check_once(ids[rows], places[rows])
        if self.truth.position and {named["ra"], named["dec"]} <= {*batch.column_names}:
            ours = (numbers_in(batch, named["ra"])[rows], numbers_in(batch, named["dec"])[rows])
            theirs = self.truth.position[0][places[rows]], self.truth.position[1][places[rows]]
            check_same_places(ids[rows], ours, theirs, self.scored, self.truth.path)
        if STATUS in batch.column_names:
            self.n_not_needed += int(not_needed(batch)[rows].sum())
            good = pc.equal(batch[STATUS], "ok").to_numpy(zero_copy_only=False)
            rows = rows[good[rows].astype(bool)]
        self.n_predicted += len(rows)
        self.n_true += int(self.truth.known[places[rows]].sum())
        return rows, places[rows]

    def _check_once(self, ids: np.ndarray, places: np.ndarray) -> None:
        """Refuse sources that the scored file has more than once."""
        again = self._seen[places]
        again[np.delete(np.arange(len(places)), np.unique(places, return_index=True)[1])] = True
        if again.any():
            raise CatalogError(
                f"{self.scored}: the source {ids[again][0]} is there more than once. Remove the "
                "repeated rows, or score the catalog again."
            )
        self._seen[places] = True

    def finish(self) -> dict[str, int]:
        """Number of sources left out, by the reason, once every batch was seen.

        Raises
        ------
        CatalogError
            If no source is in both files, has a prediction and a true value.
        """
        path, n = self.truth.path, len(self.truth)
        if not self.n_found:
            raise CatalogError(
                f"{path}: none of its {n} ids (the first is '{self.truth.source_id[0]}') is in "
                f"{self.scored} (the first there is '{self._first}'). Use the same ids in both."
            )
        if not self.n_predicted:
            raise CatalogError(
                f"{path}: none of its sources has a prediction (see the column '{STATUS}' of the "
                "scored file). Choose others."
            )
        if not self.n_true:
            raise CatalogError(
                f"{path}: all {self.n_predicted} sources that were scored have NaN for a truth. "
                "Measure their spectra, or give others."
            )
        return {
            "only in the scored file": self.n_scored - self.n_found,
            "only in the truth": n - self.n_found,
            "without a prediction": self.n_found - self.n_predicted - self.n_not_needed,
            **({"not needed when scored": self.n_not_needed} if self.n_not_needed else {}),
        }


def count_labelled(scored: Path, truth: Path) -> tuple[int, dict[str, int]]:
    """Number of sources with a prediction and a truth, and of those left out, by the reason.

    Raises
    ------
    CatalogError
        As `LabelledSources.read`.
    """
    with ScoredFile(scored) as file:
        join = Join(Truth.read(truth, file.schema), file.path)
        wanted = [*dict.fromkeys((*file.names.values(), STATUS))]
        for batch in file.tables([name for name in wanted if name in file.schema.names]):
            join.rows(batch)
    return join.n_predicted, join.finish()


@brief
@dataclass(frozen=True)
class LabelledSources:
    """N sources that a scored and a truth file share, and that have a prediction.

    Attributes
    ----------
    scored : pa.Table
        Their rows of the scored file.
    truth : Truth
        Their rows of the truth file, in the same order.
    source_id : ndarray, shape (N,)
        Ids in the scored file's form.
    left_out : dict of int
        Number of rows of the files that are left out, by the reason.
    """

    scored: pa.Table
    truth: Truth
    source_id: np.ndarray
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.source_id)

    @classmethod
    def read(
        cls,
        scored: Path,
        truth: Path,
        columns: Sequence[str] | None = None,
        all_columns: bool = False,
    ) -> LabelledSources:
        """The sources that both files have, in the order of the scored file.

        Parameters
        ----------
        scored : Path
            A scored file, written by `score`.
        truth : Path
            See `Truth.read`, also for `all_columns`.
        columns : sequence of str, optional
            Columns of the scored file to keep; it must have them. Default: all.

        Raises
        ------
        CatalogError
            If one is not such a file, or they share no source with a known quantity.
        """
        pieces, places = [], []
        with ScoredFile(scored, (STATUS, *(columns or ()))) as file:
            if not proxy_names(file.schema):
                raise CatalogError(
                    f"{file.path}: no column '<proxy>_quantiles', so it is not a scored catalog of "
                    "this version. Score the catalog again."
                )
            wanted, ids = file.schema.names, file.names["source_id"]
            if columns is not None:
                needed = (*columns, *file.names.values(), STATUS, GROUP)
                wanted = [name for name in wanted if name in needed]
            true = Truth.read(truth, file.schema, all_columns)
            if true.has_latents:
                file.check_deviations()
            join = Join(true, file.path)
            for batch in file.tables(wanted, ROWS_AT_ONCE):
                rows, theirs = join.rows(batch)
                pieces.append(batch.take(pa.array(rows)))
                places.append(theirs)
        left_out = join.finish()
        table = pa.concat_tables(pieces).combine_chunks()
        if true.group is None:
            check_groups(table, file.path)
        found = true.take(np.concatenate(places))
        return cls(table, found, table[ids].to_numpy(), left_out)._with_posteriors()

    def _with_posteriors(self) -> LabelledSources:
        """The sources without those whose stored posterior of the latents is damaged."""
        names = {"member_mean", "member_cov"}
        if not (names <= {*self.scored.column_names} and n_latents(self.scored.schema)):
            return self
        good = self.posterior().known
        if good.all():
            return self
        if not good.any():
            raise CatalogError(
                f"{self.truth.path}: the posteriors of all its {len(self)} sources with a "
                "prediction are damaged in the scored file ('member_mean' or 'member_cov' is no "
                "mean or covariance). Score them again."
            )
        damaged = {"with a damaged posterior": int((~good).sum())}
        return replace(self.take(good), left_out=self.left_out | damaged)

    def take(self, rows: np.ndarray) -> LabelledSources:
        """Some of the sources, by mask or indices."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        table = self.scored.take(pa.array(rows)).combine_chunks()
        return replace(
            self, scored=table, truth=self.truth.take(rows), source_id=self.source_id[rows]
        )

    def with_weights(self, weight: np.ndarray) -> LabelledSources:
        """The same sources with other weights, shape (N,)."""
        rest = [name for name in self.truth.table.column_names if name != WEIGHT]
        table = self.truth.table.select(rest).append_column(WEIGHT, pa.array(weight))
        return replace(self, truth=replace(self.truth, table=table))

    @property
    def latents(self) -> np.ndarray:
        """True latents, shape (N, D); NaN where they are not known."""
        return self.truth.latents

    @property
    def noise(self) -> np.ndarray:
        """Standard deviation of the errors of the true latents, shape (N, D)."""
        return self.truth.noise

    @property
    def proxies(self) -> dict[str, np.ndarray]:
        """True proxies by name, shape (N,); NaN where they could not be measured."""
        return self.truth.proxies

    @property
    def weight(self) -> np.ndarray:
        """Number of sources that each stands for, shape (N,)."""
        return self.truth.weight

    @property
    def group(self) -> np.ndarray:
        """Group of each source, shape (N,): from the truth or scored file, or one per source."""
        if self.truth.group is not None:
            return self.truth.group
        return (
            self.scored[GROUP].to_numpy() if GROUP in self.scored.column_names else self.source_id
        )

    @cached_property
    def group_number(self) -> np.ndarray:
        """The groups as numbers from 0 up, in the order of their names as text, shape (N,)."""
        return np.unique(self.group.astype(str), return_inverse=True)[1]

    @property
    def magnitude(self) -> np.ndarray:
        """Magnitude of the cutout's central light, shape (N,).

        It is 0 for all where none is known, as of ensembles without images or photometry: then
        nothing depends on it.
        """
        found = self.scored[MAGNITUDE].to_numpy().astype(np.float64)
        return found if np.isfinite(found).any() else np.zeros(len(found))

    def posterior(self, rows: slice = slice(None)) -> LatentPosterior:
        """Stored posterior of some sources, with the redshift, without errors of measurement."""
        from targetsel.networks.posterior import stored_posterior

        start, stop, _ = rows.indices(len(self))
        return stored_posterior(self.scored.slice(start, stop - start), self.source_id[rows], True)
