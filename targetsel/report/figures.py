"""Figures of merit of an evaluation, in long form, and the subsets that they are repeated for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.report.photometry import (
    REDSHIFTS,
    SIZES,
    BinnedBy,
    band_magnitude,
    quantity,
)
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.statistics.resampling import Estimate, effective_size, wilson
from targetsel.tables.columns import Column, table_of_records
from targetsel.tables.parquet import write_table

ALL = "all"
BY_CHANCE = ", by chance"
FEWEST_PER_BIN = 300
MOST_BINS = 5


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes
    ----------
    figure : str
        Its name, such as ``coverage 90 %``.
    of : str
        Name of the latent, proxy, claim or class.
    subset : str
        Subset of the sources: `ALL`, or such as ``r magnitude (SDSS) 15.1 to 16.8 mag``.
    value, low, high : float
        With its 95 % interval from resampling groups.
    n : int
        Sources that it rests on.
    """

    figure: str
    of: str
    subset: str
    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of_values(cls, figure: str, of: str, subset: str, values: np.ndarray, n: int) -> Figure:
        """The figure with these values under no and every resampling, shape (1 + R,)."""
        low, high = Estimate(values).interval()
        return cls(figure, of, subset, float(values[0]), float(low), float(high), n)

    @classmethod
    def of_share(
        cls, figure: str, of: str, subset: str, values: np.ndarray, n: int, weight: np.ndarray
    ) -> Figure:
        """The figure of a share of sources with these weights, as `of_values`.

        Its interval is the wider of that of resamplings, which has no width where all or none are
        counted, and Wilson's.
        """
        found = cls.of_values(figure, of, subset, values, n)
        low, high = wilson(found.value, effective_size(weight))
        return replace(
            found, low=float(np.fmin(found.low, low)), high=float(np.fmax(found.high, high))
        )

    def text(self, form: str) -> str:
        """The value and its interval, in the form of a number such as ``.1%``."""
        return f"{self.value:{form}} ({self.low:{form}} to {self.high:{form}})"

    @classmethod
    def by_chance(cls, figure: str, of: str, subset: str, values: np.ndarray, n: int) -> Figure:
        """A figure by chance alone: mean and central 95 % of resamplings' values, shape (R,)."""
        low, high = np.nanquantile(values, (0.025, 0.975))
        mean = float(np.nanmean(values))
        return cls(figure + BY_CHANCE, of, subset, mean, float(low), float(high), n)


COLUMNS = (
    Column("figure", pa.string(), meaning="name of the figure"),
    Column("of", pa.string(), meaning="the latent, proxy, claim or class"),
    Column("subset", pa.string(), meaning="the sources that it is of"),
    Column("value", pa.float64(), meaning="the figure"),
    Column("low", pa.float64(), meaning="lower end of its 95 % interval, from resampling groups"),
    Column("high", pa.float64(), meaning="upper end of its 95 % interval"),
    Column("n", pa.int64(), meaning="number of sources it rests on"),
)


class Figures:
    """Figures, found by name, quantity and subset."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self._figures = {(each.figure, each.of, each.subset): each for each in figures}

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._figures.values())

    def __len__(self) -> int:
        return len(self._figures)

    def find(self, figure: str, of: str, subset: str = ALL) -> Figure | None:
        """The one figure of these, if there is one."""
        return self._figures.get((figure, of, subset))

    def named(self, figure: str, subset: str = ALL) -> list[Figure]:
        """All figures of a name in one subset, in their order."""
        return [each for each in self if each.figure == figure and each.subset == subset]

    def write(self, path: Path, footer: dict[str, Any]) -> None:
        """Write them as Parquet, with a footer."""
        write_table(table_of_records(self, COLUMNS), path, footer)


@dataclass(frozen=True)
class Subset:
    """Some of the sources, with a name.

    Attributes
    ----------
    name : str
        Such as ``r magnitude (SDSS) 15.1 to 16.8 mag``.
    by : str
        BinnedBy that distinguishes it from other subsets, such as "disk radius"; empty for all
        sources.
    middle : float
        Median of that quantity.
    rows : ndarray of bool, shape (N,)
    unit : str
        Of the quantity.
    """

    name: str
    by: str
    middle: float
    rows: np.ndarray
    unit: str = ""

    @property
    def label(self) -> str:
        """The quantity with its unit, for an axis."""
        return f"{self.by}, {self.unit}" if self.unit else self.by


def subsets(known: LabelledSources, brightness: Iterable[str] = ()) -> list[Subset]:
    """All sources, then bins of magnitude, size and redshift, as far as these are known.

    Columns of the scored file go before those of the truth.

    Parameters
    ----------
    known : LabelledSources
    brightness : iterable of str
        Options such as "g_sdss=gmag"; the first names the magnitude.
    """
    found = [Subset(ALL, "", np.nan, np.ones(len(known), dtype=bool))]
    tables = (known.scored, known.truth.table)
    options = list(brightness)
    candidates = (
        [band_magnitude(table, options) for table in tables],
        [quantity(table, SIZES) for table in tables],
        [quantity(table, REDSHIFTS) for table in tables],
    )
    for of_tables in candidates:
        first = next((each for each in of_tables if each is not None), None)
        found += [] if first is None else _bins(first)
    return found


def _bins(of: BinnedBy) -> list[Subset]:
    """Bins of equal numbers, of at least `FEWEST_PER_BIN`; none where there would be only one."""
    values = of.values
    known = values[np.isfinite(values)]
    wanted = min(len(known) // FEWEST_PER_BIN, MOST_BINS)
    if wanted < 2:
        return []
    edges = np.unique(np.quantile(known, np.linspace(0, 1, wanted + 1)))
    if len(edges) < 3:
        return []
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    place = np.where(np.isfinite(values), place, -1)
    found = []
    for k, (low, high) in enumerate(itertools.pairwise(edges)):
        rows = place == k
        middle = float(np.median(values[rows]))
        name = f"{of.title} {low:.4g} to {high:.4g} {of.unit}".rstrip()
        found.append(Subset(name, of.title, middle, rows, of.unit))
    return found
