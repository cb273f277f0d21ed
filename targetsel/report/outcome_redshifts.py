"""The redshifts that the spectra of a list gave: their quantiles, and shares in windows.

Only successes have a redshift, so all but `of_fibers` is about successes. Quantiles and shares are
weighted as all figures of an outcome are; intervals hold 95 %.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from targetsel.errors import HandoffError
from targetsel.feedback.observed import ObservedTargets
from targetsel.report.figures import Figure
from targetsel.spectra.photoz import PHOTOZ, TRUE
from targetsel.statistics.resampling import Resampling, quantiles

Window = tuple[float, float]
LEVELS = (0.05, 0.16, 0.5, 0.84, 0.95)
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # in redshift, of windows that nobody names
MOST_WINDOWS = 8  # of these
FEWEST = 10  # redshifts of a class
NEXT = "Give such as --window 0.7-1.1."
_WINDOW = re.compile(r"\s*([^\s-]+(?:e-\d+)?)\s*-\s*([^\s-]+(?:e-\d+)?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class WindowShare:
    """Successes in a window of redshift.

    Attributes
    ----------
    low, high : float
        From `low` on and below `high`.
    share : Figure
        Of the successes with a redshift.
    of_fibers : Figure or None
        Of all with a fiber, failures too; None where only successes are known.
    """

    low: float
    high: float
    share: Figure
    of_fibers: Figure | None

    @property
    def name(self) -> str:
        """Such as ``0.7 to 1.1``."""
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class RedshiftOutcome:
    """The measured redshifts of the targets of one class.

    Attributes
    ----------
    class_ : str
    n : int
        Targets with a redshift.
    quantiles : tuple of Figure
        At `LEVELS`.
    windows : tuple of WindowShare
    are_named : bool
        Whether somebody asked for these windows, and not for any.
    """

    class_: str
    n: int
    quantiles: tuple[Figure, ...]
    windows: tuple[WindowShare, ...]
    are_named: bool

    headings = ("class", "redshifts", "5 %", "16 %", "median", "84 %", "95 %")
    window_headings = ("class", "redshift", "spectra", "of spectra", "of all fibers")

    @property
    def cells(self) -> tuple[str, ...]:
        """A line of a table of the quantiles, under `headings`; the median with its interval."""
        middle = LEVELS.index(0.5)
        values = [
            each.text(".4f") if k == middle else f"{each.value:.4f}"
            for k, each in enumerate(self.quantiles)
        ]
        return (self.class_, f"{self.n:,}", *values)

    @property
    def window_rows(self) -> list[tuple[str, ...]]:
        """Lines of a table of the windows, under `window_headings`."""
        found: list[tuple[str, ...]] = []
        for each in self.windows:
            fibers = "-" if each.of_fibers is None else each.of_fibers.text(".1%")
            n = f"{each.share.n:,}"
            found.append((self.class_, each.name, n, each.share.text(".1%"), fibers))
        return found

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row for each quantile and window, with plain numbers."""
        return [*self._records()]

    def _records(self) -> Iterator[dict[str, Any]]:
        for each in self.quantiles:
            yield {"class": self.class_, "figure": each.figure, "n": each.n} | _ends("", each)
        for one in self.windows:
            row: dict[str, Any] = {"class": self.class_, "figure": "share", "n": one.share.n}
            row |= {"from": one.low, "to": one.high} | _ends("", one.share)
            yield row | _ends("of_fibers", one.of_fibers)


def _ends(name: str, figure: Figure | None) -> dict[str, Any]:
    before = f"{name}_" if name else ""
    return {
        name or "value": None if figure is None else figure.value,
        f"{before}low": None if figure is None else figure.low,
        f"{before}high": None if figure is None else figure.high,
    }


def window_of(text: str) -> Window:
    """A window as commands take it, such as ``0.7-1.1``.

    Raises
    ------
    HandoffError
        If it is none.
    """
    if not (found := _WINDOW.fullmatch(text)):
        raise HandoffError(f"outcomes: window '{text}'; expected two redshifts. {NEXT}")
    try:
        return float(found[1]), float(found[2])
    except ValueError:
        raise HandoffError(f"outcomes: window '{text}'; expected two redshifts. {NEXT}") from None


def _called(level: float) -> str:
    """Such as ``84th percentile``."""
    return "median" if level == 0.5 else f"{100 * level:.0f}th percentile"


def check_windows(windows: Sequence[Window]) -> tuple[Window, ...]:
    """The windows as pairs of numbers.

    Raises
    ------
    HandoffError
        If one is no pair of finite numbers, or its first is not below its second.
    """
    found = []
    for each in windows:
        try:
            low, high = (float(end) for end in each)
        except (TypeError, ValueError):
            raise HandoffError(
                f"outcomes: window {each!r}; expected two redshifts. {NEXT}"
            ) from None
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise HandoffError(
                f"outcomes: window {low:g} to {high:g}; expected finite redshifts, the lower one "
                f"first. {NEXT}"
            )
        found.append((low, high))
    return tuple(found)


def redshift_outcomes(
    observed: ObservedTargets,
    names: Sequence[str],
    resampling: Resampling,
    windows: Sequence[Window] = (),
) -> tuple[RedshiftOutcome, ...]:
    """The redshifts of each class that has `FEWEST` of them.

    Parameters
    ----------
    observed : ObservedTargets
    names : sequence of str
        Classes.
    resampling : Resampling
        Of its targets, with its weights.
    windows : sequence of pairs of float
        By default equal steps that hold all but the outermost hundredths.

    Raises
    ------
    HandoffError
        If windows are given and no redshift was measured.
    """
    redshift = observed.measured.get(PHOTOZ)
    if redshift is None or not np.isfinite(redshift).any():
        if windows:
            raise HandoffError(
                f"outcomes: no target has a measured redshift ('{TRUE}'), so windows hold none. "
                "Leave out --window, or give a table with redshifts."
            )
        return ()
    chosen = check_windows(windows) or usual_windows(redshift[np.isfinite(redshift)])
    found = []
    for name in names:
        rows = (observed.program == name) & np.isfinite(redshift)
        if rows.sum() >= FEWEST:
            named = bool(windows)
            found.append(_redshifts(observed, name, redshift, rows, resampling, chosen, named))
    return tuple(found)


def usual_windows(redshift: np.ndarray) -> tuple[Window, ...]:
    """At most `MOST_WINDOWS` windows of one round width that hold all but outliers."""
    low, high = np.quantile(redshift, (0.01, 0.99))
    for step in STEPS:
        first, last = math.floor(low / step), math.floor(high / step) + 1
        if last - first <= MOST_WINDOWS:
            break
    edges = [round(k * step, 2) for k in range(first, min(last, first + MOST_WINDOWS) + 1)]
    return tuple(pairwise(edges))


def _redshifts(
    observed: ObservedTargets,
    name: str,
    redshift: np.ndarray,
    rows: np.ndarray,
    resampling: Resampling,
    windows: Sequence[Window],
    are_named: bool,
) -> RedshiftOutcome:
    n, weight = int(rows.sum()), observed.weight[rows]
    values = resampling.estimate(quantiles(redshift[rows], LEVELS), rows).values
    middle = tuple(
        Figure.of_values(_called(level), name, "", column, n)
        for level, column in zip(LEVELS, values.T, strict=True)
    )
    fibers = (observed.program == name) & observed.assigned
    within = np.column_stack([(redshift >= low) & (redshift < high) for low, high in windows])
    inside = within.astype(np.float64)
    shares, of_all = resampling.means(inside, rows), resampling.means(inside, fibers)
    found = []
    for k, (low, high) in enumerate(windows):
        counted = int(within[rows, k].sum())
        share = Figure.of_share("share", name, "", shares[:, k], counted, weight)
        both = None
        if not observed.only_successes:
            ours = observed.weight[fibers]
            both = Figure.of_share("of fibers", name, "", of_all[:, k], counted, ours)
        found.append(WindowShare(low, high, share, both))
    return RedshiftOutcome(name, n, middle, tuple(found), are_named)
