"""The figures of an evaluation, in long form: one row for each number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.statistics.resampling import Estimate
from targetsel.tables.parquet import described, write_table

ALL = "all"


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes
    ----------
    figure : str
        What it is, such as ``coverage 90 %``.
    of : str
        Of a latent, a proxy, a claim or a class.
    subset : str
        Of which sources: `ALL`, or such as ``rmag 15.1 to 16.8``.
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


class Figures:
    """Many figures, found by their name, what they are of and the subset."""

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
        about = {
            "figure": "what it is",
            "of": "of which latent, proxy, claim or class",
            "subset": "of which sources",
            "value": "the figure",
            "low": "lower end of its 95 % interval, from resampling groups",
            "high": "upper end of its 95 % interval",
            "n": "sources it rests on",
        }
        kinds = {"str": pa.string(), "float": pa.float64(), "int": pa.int64()}
        schema = pa.schema(
            described(each.name, kinds[str(each.type)], description=about[each.name])
            for each in fields(Figure)
        )
        rows = [asdict(each) for each in self]
        columns = [
            pa.array([row[f.name] for row in rows], f.type, from_pandas=True) for f in schema
        ]
        write_table(pa.table(columns, schema=schema), path, footer)
