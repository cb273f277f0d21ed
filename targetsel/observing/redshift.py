"""Redshifts as observers know them: a value, with its error, a PDF on a grid, or a prediction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtr

from targetsel.errors import SpectrographError, did_you_mean
from targetsel.photometry.flux import known_magnitudes
from targetsel.scored.columns import predicts_redshift
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import FINE, QUANTILES, interpolate
from targetsel.spectrographs.following import HIGHEST
from targetsel.tables.columns import floats, in_unit, matrix, unit_of
from targetsel.tables.types import held, is_list, is_number

OWN = "redshift"  # the column that is the catalog's


@dataclass(frozen=True)
class Redshift:
    """Redshifts of a catalog: the columns, or the number, that give them.

    Attributes
    ----------
    value : str or float
        The column of values, or of lists of equal length if they are densities; or the redshift
        of all sources.
    error : str or float
        The column of standard deviations, or that of all sources; none if empty or 0.
    grid : (float, float) or None
        The redshifts of the first and the last density, if the column holds densities.
    predicted : bool
        Whether it is drawn from the posterior that the ensemble predicts, `photoz`.

    Raises
    ------
    SpectrographError
        If a number is not from 0 to `HIGHEST`, or densities are given an error or are no column.
    """

    value: str | float = OWN
    error: str | float = ""
    grid: tuple[float, float] | None = None
    predicted: bool = False

    def __post_init__(self) -> None:
        for what, given in (("redshift", self.value), ("redshift error", self.error)):
            if not isinstance(given, str) and not 0 <= given <= HIGHEST:
                raise SpectrographError(f"{what} is {given:g}; expected 0 to {HIGHEST:g}.")
        if self.grid is not None and (self.error or not isinstance(self.value, str)):
            raise SpectrographError(
                "a redshift grid is for a column of densities. Give such a column, without an "
                "error, or leave out the grid."
            )

    @classmethod
    def of(cls, schema: pa.Schema, value: str, error: str, grid: str | None) -> Redshift:
        """Redshifts of a scored catalog, from the words of `targetsel observe`.

        Without a `value` they are the catalog's, or where it has none, those predicted. The
        predicted ones have their posterior, unless an error is given.

        Raises
        ------
        SpectrographError
            If a number is no redshift.
        """
        can_predict = predicts_redshift(schema)
        name = value or (PHOTOZ if can_predict and OWN not in schema.names else OWN)
        if name == PHOTOZ and can_predict and not error and grid is None:
            return cls(PHOTOZ, predicted=True)
        given = parse_redshift(name), parse_redshift(error)
        return cls(*given, parse_grid(grid) if grid else None)

    @property
    def is_certain(self) -> bool:
        return not (self.error or self.predicted) and self.grid is None

    def check(self, schema: pa.Schema) -> None:
        """Refuse a catalog without the columns that are needed.

        Raises
        ------
        SpectrographError
            If a column is missing or of the wrong kind.
        """
        nobody = schema.empty_table()
        of_each(nobody, self.error or 0.0, "--redshift-error")
        if isinstance(self.value, str):
            kind = option_column(schema, self.value, "--redshift").type
            if self.grid is not None and not (is_list(kind) and is_number(kind.value_type)):
                raise SpectrographError(
                    f"column '{self.value}' holds {held(kind)}; expected lists of numbers, of "
                    "equal length."
                )
            if self.grid is None and is_list(kind):
                raise SpectrographError(
                    f"column '{self.value}' holds {held(kind)}; expected numbers. For densities "
                    "give also --redshift-grid."
                )
        if self.grid is None:
            of_each(nobody, self.value, "--redshift")

    def check_densities(self, pieces: Iterable[pa.Table]) -> None:
        """Refuse densities whose number is not the same for all sources that have any.

        Parameters
        ----------
        pieces : iterable of pa.Table
            All rows, in pieces, with the column of densities.

        Raises
        ------
        SpectrographError
            If lists differ in length, or have less than two densities.
        """
        first, expected = 0, 0
        for piece in pieces:
            lengths = _lengths(piece[self.value])
            expected = expected or next(iter(lengths[lengths > 0].tolist()), 0)
            wrong = (lengths > 0) & ((lengths != expected) | (lengths < 2))
            if wrong.any():
                row = int(np.argmax(wrong))
                others = f"{expected} as the first" if expected > 1 else "two or more"
                raise SpectrographError(
                    f"column '{self.value}', row {first + row}: a list of {lengths[row]} "
                    f"densities, expected {others}. Put all densities on one grid."
                )
            first += piece.num_rows

    def draw(self, piece: pa.Table, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Redshifts at normal scores, and the problems of sources without one.

        Parameters
        ----------
        piece : pa.Table, N rows
        scores : ndarray, shape (S,)
            Or (N, S) for predictions. Not used where redshifts are certain.

        Returns
        -------
        redshifts : ndarray, shape (N, S)
            Shape (N, 1) where they are certain; NaN for a source with a problem.
        troubles : ndarray of str, shape (N,)
            Empty for a source without a problem, and where there is no prediction.
        """
        if self.predicted:
            fine = PHOTOZ + FINE in piece.column_names
            knots = matrix(piece[PHOTOZ + (FINE if fine else QUANTILES)])
            drawn = interpolate(np.broadcast_to(scores, (len(knots), scores.shape[-1])), knots)
            return np.clip(drawn, 0.0, HIGHEST), np.full(len(knots), "", dtype=object)
        if self.grid is not None:
            return self._from_densities(piece, scores)
        middle = of_each(piece, self.value, "--redshift")
        troubles = np.full(len(middle), "", dtype=object)
        drawn = middle[:, None]
        if self.error:
            spread = of_each(piece, self.error, "--redshift-error")
            drawn = np.maximum(middle[:, None] + spread[:, None] * scores, 0.0)
            troubles[~(np.isfinite(spread) & (spread >= 0))] = "no redshift error"
        troubles[middle > HIGHEST] = f"redshift beyond {HIGHEST:g}"
        troubles[middle < 0] = "negative redshift"
        troubles[~np.isfinite(middle)] = "no redshift"
        return np.where((troubles == "")[:, None], drawn, np.nan), troubles

    def _from_densities(self, piece: pa.Table, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.grid is not None
        lists = piece[self.value]
        known = _lengths(lists) > 0
        found = matrix(lists.filter(pa.array(known)))
        densities = np.full((len(known), max(found.shape[1], 2)), np.nan)
        if known.any():
            densities[known] = found
        good = np.isfinite(densities).all(axis=1) & (densities >= 0).all(axis=1)
        good &= np.nan_to_num(densities).sum(axis=1) > 0
        # The area below straight lines from one density to the next.
        area = np.cumsum((densities[:, 1:] + densities[:, :-1]) / 2, axis=1)
        drawn = np.full((len(densities), len(scores)), np.nan)
        levels, grid = ndtr(scores), np.linspace(*self.grid, densities.shape[1])
        for row in np.flatnonzero(good):
            drawn[row] = np.interp(levels * area[row, -1], np.append(0.0, area[row]), grid)
        troubles = np.where(good, "", "no redshift density").astype(object)
        return drawn, troubles


def _lengths(lists: pa.ChunkedArray) -> np.ndarray:
    """The length of each list, 0 where there is none, shape (N,)."""
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy()


def parse_redshift(text: str) -> str | float:
    """The number of a text such as "0.1", or else the name of a column."""
    try:
        return float(text)
    except ValueError:
        return text


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
            f"redshift grid '{text}': expected START:END, two increasing redshifts from 0 to "
            f"{HIGHEST:g}, such as 0:2."
        )
    return start, end


def option_column(schema: pa.Schema, name: str, option: str) -> pa.Field:
    """The column of this name, which the user gives with `option`.

    Raises
    ------
    SpectrographError
        If there is none.
    """
    if name not in schema.names:
        hint = did_you_mean(name, schema.names)
        raise SpectrographError(f"no column '{name}' ({option}).{hint}")
    return schema.field(name)


def of_each(piece: pa.Table, given: str | float, option: str, unit: str = "") -> np.ndarray:
    """A column as float64 in `unit`, or one number for all sources, shape (N,).

    A column that declares no unit is taken to be in `unit`; NaN is for unknown values, also for
    codes such as -999 where the unit is "mag".

    Raises
    ------
    SpectrographError
        If the column is missing, holds no numbers, or is in a unit of another kind.
    """
    if not isinstance(given, str):
        return np.full(piece.num_rows, given, np.float64)
    field = option_column(piece.schema, given, option)
    if not is_number(field.type):
        expected = f"numbers [{unit}]" if unit else "numbers"
        raise SpectrographError(f"column '{given}' holds {held(field.type)}; expected {expected}.")
    own = unit_of(field)
    if not unit and own not in ("", "1", "-", "none", "dimensionless", "redshift"):
        raise SpectrographError(f"column '{given}' is in '{own}'; expected numbers without a unit.")
    values = floats(in_unit(piece[given], field, unit, "observe", SpectrographError))
    return known_magnitudes(values) if unit == "mag" else values
