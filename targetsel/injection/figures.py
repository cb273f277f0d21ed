"""Shares of sources that are selected after each step, by class and by magnitude."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.documents.text_table import text_table
from targetsel.injection.columns import ORIGINAL, SELECTED
from targetsel.injection.steps import AXES, UNCHANGED, ImageStep
from targetsel.scored.columns import STATUS
from targetsel.statistics.resampling import wilson
from targetsel.tables.columns import floats

ALL = "all"
FEWEST_PER_BIN, MOST_BINS = 20, 5
NOVEL = 0.01  # typicality below which a source counts as strange, as in the shipped rules


@dataclass(frozen=True)
class Share:
    """A share of n sources, with its 95 % interval by Wilson; NaN of none."""

    n: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, true: np.ndarray) -> Share:
        """The share of sources for which this is true, shape (n,)."""
        value = float(true.mean()) if len(true) else float("nan")
        low, high = np.clip(wilson(value, len(true)), 0.0, 1.0)
        return cls(len(true), value, float(low), float(high))

    @property
    def text(self) -> str:
        if not self.n:
            return "-"
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True)
class ClassShare:
    """The sources that a class selects after one step.

    Attributes
    ----------
    name : str
    step : ImageStep
    low, high : float
        Range of the magnitude before any change; NaN for all sources.
    middle : float
        Median of it.
    n_selected : int
    selected : Share
        Of all sources with a prediction.
    kept : Share
        Of those that the class selects unchanged.
    """

    name: str
    step: ImageStep
    low: float
    high: float
    middle: float
    n_selected: int
    selected: Share
    kept: Share

    headings = ("class", "fainter, mag", "blur, arcsec", "noise", "sources", "selected",
                "share selected", "of those selected unchanged")  # fmt: skip

    @property
    def is_whole(self) -> bool:
        """Whether it is about sources of all magnitudes."""
        return bool(np.isnan(self.low))

    @property
    def cells(self) -> tuple[str, ...]:
        """The share as a line of a table, under `headings`."""
        return (
            self.name,
            *(f"{getattr(self.step, axis):g}" for axis in AXES),
            f"{self.selected.n:,}",
            f"{self.n_selected:,}",
            self.selected.text,
            self.kept.text,
        )

    @property
    def record(self) -> Mapping[str, Any]:
        """Plain numbers, None where one is not known."""
        row = {"class": self.name, **asdict(self.step)}
        row |= {"magnitude_low": self.low, "magnitude_high": self.high}
        row |= {"magnitude": self.middle, "n_selected": self.n_selected}
        for what in ("selected", "kept"):
            share: Share = getattr(self, what)
            row |= {f"n_{what}_of": share.n, what: share.value}
            row |= {f"{what}_low": share.low, f"{what}_high": share.high}
        return {key: _plain(each) for key, each in row.items()}


@dataclass(frozen=True)
class StepState:
    """How far the ensemble knows images as they are after a step.

    Attributes
    ----------
    step : ImageStep
    novel : Share
        Of sources whose typicality is at most `NOVEL`, of those that have one.
    supported : Share
        Of sources of such magnitude, colour and size as the training had.
    """

    step: ImageStep
    novel: Share
    supported: Share

    headings = ("fainter, mag", "blur, arcsec", "noise", "sources", "novel", "with support")

    @property
    def cells(self) -> tuple[str, ...]:
        """The state as a line of a table, under `headings`."""
        axes = (f"{getattr(self.step, axis):g}" for axis in AXES)
        return (*axes, f"{self.novel.n:,}", self.novel.text, self.supported.text)

    @property
    def record(self) -> Mapping[str, Any]:
        """Plain numbers, None where one is not known."""
        row: dict[str, Any] = {**asdict(self.step), "n": self.novel.n}
        row |= {"novel": self.novel.value, "supported": self.supported.value}
        return {key: _plain(each) for key, each in row.items()}


@dataclass(frozen=True, repr=False)
class Injection:
    """What would become of sources if their images were other ones.

    Attributes
    ----------
    table : pa.Table
        A row for each source and step (see `rows.injected_columns`).
    names : tuple of str
        The target classes.
    steps : tuple of ImageStep
        The first leaves everything as it is.
    magnitude : str
        By which sources are binned, such as "r magnitude (SDSS), mag".
    facts : tuple of str
        What was done, in sentences.
    path : Path or None
        The file that was written.
    """

    table: pa.Table
    names: tuple[str, ...]
    steps: tuple[ImageStep, ...]
    magnitude: str
    facts: tuple[str, ...]
    path: Path | None = None

    def __repr__(self) -> str:
        shares = [each.cells for each in self.shares if each.is_whole]
        lines = text_table(ClassShare.headings, shares)
        lines += ["", *text_table(StepState.headings, [each.cells for each in self.states], 0)]
        return "\n".join([*lines, "", *self.facts])

    @cached_property
    def shares(self) -> tuple[ClassShare, ...]:
        """By class and step: of all sources, then of those of each bin of magnitude."""
        ok, original = self._ok, self._first(floats(self.table[ORIGINAL]))
        bins = [(np.nan, np.nan, ok), *_bins(original, ok)]
        found = []
        for name in self.names:
            selected = self._by_step(self.table[SELECTED + name].to_numpy())
            for place, step in enumerate(self.steps):
                for low, high, rows in bins:
                    now, before = selected[rows, place], selected[rows, 0]
                    known = original[rows][np.isfinite(original[rows])]
                    middle = float(np.median(known)) if len(known) else np.nan
                    found.append(
                        ClassShare(
                            name, step, low, high, middle, int(now.sum()),
                            Share.of(now), Share.of(now[before]),
                        )
                    )  # fmt: skip
        return tuple(found)

    @cached_property
    def states(self) -> tuple[StepState, ...]:
        """How far the ensemble knows the images, step by step."""
        typical = self._by_step(floats(self.table["typicality"]))
        support = self._by_step(floats(self.table["support"]))
        found = []
        for place, step in enumerate(self.steps):
            known, told = typical[:, place], support[:, place]
            novel = known[np.isfinite(known)] <= NOVEL
            found.append(StepState(step, Share.of(novel), Share.of(told[np.isfinite(told)] == 1)))
        return tuple(found)

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """A row for each class, step and bin of magnitude, with plain numbers."""
        return [each.record for each in self.shares]

    @cached_property
    def _ok(self) -> np.ndarray:
        """Whether each source has a prediction, shape (N,)."""
        status = np.array(self.table[STATUS].to_pylist(), dtype=object)
        return self._first(status) == "ok"

    def _by_step(self, values: np.ndarray) -> np.ndarray:
        """Values by source and step, shape (N, K)."""
        return values.reshape(-1, len(self.steps))

    def _first(self, values: np.ndarray) -> np.ndarray:
        """Values before any change, shape (N,)."""
        return self._by_step(values)[:, 0]


def along(axis: str, steps: Sequence[ImageStep]) -> list[ImageStep]:
    """The steps that change nothing but one axis, `UNCHANGED` first."""
    return [each for each in steps if each == UNCHANGED or each.changes == (axis,)]


def _bins(values: np.ndarray, among: np.ndarray) -> list[tuple[float, float, np.ndarray]]:
    """Bins of equal numbers: their ends, and which sources they hold; none where there is one."""
    known = among & np.isfinite(values)
    wanted = min(int(known.sum()) // FEWEST_PER_BIN, MOST_BINS)
    if wanted < 2:
        return []
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, wanted + 1)))
    if len(edges) < 3:
        return []
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return [
        (float(edges[k]), float(edges[k + 1]), known & (place == k)) for k in range(len(edges) - 1)
    ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
