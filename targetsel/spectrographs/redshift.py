"""Redshifts as catalogs give them: a value, a value with its error, or a PDF on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import ndtr

from targetsel.errors import SpectrographError, did_you_mean
from targetsel.handoff.soundness import is_number

HIGHEST = 10.0


@dataclass(frozen=True)
class Redshift:
    """Where a catalog keeps its redshifts.

    Attributes
    ----------
    column : str
        Of values; of lists of equal length, if they are densities.
    error : str
        The column of standard deviations; none if empty.
    grid : (float, float) or None
        The redshifts of the first and the last density, if the column holds densities.
    """

    column: str = "redshift"
    error: str = ""
    grid: tuple[float, float] | None = None

    @property
    def is_certain(self) -> bool:
        return not self.error and self.grid is None

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column, self.error) if self.error else (self.column,)

    def check(self, schema: pa.Schema) -> None:
        """Refuse a catalog that cannot serve.

        Raises
        ------
        SpectrographError
            If a column is missing or of the wrong kind.
        """
        for name in self.columns:
            if name not in schema.names:
                raise SpectrographError(
                    f"no column '{name}'.{did_you_mean(name, schema.names)} Name the redshifts' "
                    "column with --redshift."
                )
        kind = schema.field(self.column).type
        if pa.types.is_fixed_size_list(kind) != (self.grid is not None):
            expected = "lists of equal length" if self.grid else "numbers"
            hint = "" if self.grid else " For densities give also --redshift-grid."
            raise SpectrographError(f"column '{self.column}' is {kind}, expected {expected}.{hint}")
        for name in self.columns:
            kind = schema.field(name).type
            if not is_number(kind) and self.grid is None:
                raise SpectrographError(f"column '{name}' is {kind}, expected numbers")

    def draw(self, piece: pa.Table, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Redshifts at normal scores, and what is wrong with them.

        Parameters
        ----------
        piece : pa.Table, N rows
        scores : ndarray, shape (S,)
            Not used where redshifts are certain.

        Returns
        -------
        redshifts : ndarray, shape (N, S)
            Shape (N, 1) where they are certain; NaN where something is wrong.
        troubles : ndarray of str, shape (N,)
            Empty where nothing is.
        """
        if self.grid is not None:
            return self._from_densities(piece, scores)
        middle = piece[self.column].cast(pa.float64()).to_numpy()
        troubles = np.full(len(middle), "", dtype=object)
        drawn = middle[:, None]
        if self.error:
            spread = piece[self.error].cast(pa.float64()).to_numpy()
            drawn = np.maximum(middle[:, None] + spread[:, None] * scores, 0.0)
            troubles[~(np.isfinite(spread) & (spread >= 0))] = "no redshift error"
        troubles[middle > HIGHEST] = f"redshift beyond {HIGHEST:g}"
        troubles[middle < 0] = "negative redshift"
        troubles[~np.isfinite(middle)] = "no redshift"
        return np.where((troubles == "")[:, None], drawn, np.nan), troubles

    def _from_densities(self, piece: pa.Table, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.grid is not None
        lists = piece[self.column].combine_chunks()
        width = lists.type.list_size
        densities = np.full((len(lists), width), np.nan)
        there = lists.is_valid().to_numpy(zero_copy_only=False)
        flat = lists.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
        densities[there] = flat.reshape(-1, width)
        good = np.isfinite(densities).all(axis=1) & (densities >= 0).all(axis=1)
        good &= np.nan_to_num(densities).sum(axis=1) > 0
        # The area below straight lines from one density to the next.
        area = np.cumsum((densities[:, 1:] + densities[:, :-1]) / 2, axis=1)
        drawn = np.full((len(lists), len(scores)), np.nan)
        levels, grid = ndtr(scores), np.linspace(*self.grid, width)
        for row in np.flatnonzero(good):
            drawn[row] = np.interp(levels * area[row, -1], np.append(0.0, area[row]), grid)
        troubles = np.where(good, "", "no redshift density").astype(object)
        return drawn, troubles


def parse_grid(text: str) -> tuple[float, float]:
    """The ends of "0:2".

    Raises
    ------
    SpectrographError
        If they are no two increasing redshifts from 0 to `HIGHEST`.
    """
    try:
        start, end = (float(part) for part in text.split(":"))
    except ValueError:
        start = end = np.nan
    if not 0 <= start < end <= HIGHEST:
        raise SpectrographError(
            f"redshift grid '{text}', expected START:END with two increasing redshifts from 0 to "
            f"{HIGHEST:g}, such as 0:2"
        )
    return start, end
