"""Success of a list's spectra beside its forecast by predicted S/N, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from targetsel.feedback.observed import ObservedTargets
from targetsel.feedback.success import SuccessRule, forecast_of, usual_rules
from targetsel.report.figures import Figure
from targetsel.statistics.resampling import Resampling

FEWEST = 10  # fibers of a class


@dataclass(frozen=True)
class SuccessOutcome:
    """The forecast of success of the targets of one class that got a fiber.

    Attributes
    ----------
    class_ : str
    n : int
        Targets with a fiber and a forecast.
    rules : tuple of SuccessRule
        Of which any suffices.
    forecast : Figure
        Mean probability of success.
    success : Figure or None
        Share that succeeded; None where only successes are known.
    excess : Figure or None
        `success` less `forecast`.
    """

    class_: str
    n: int
    rules: tuple[SuccessRule, ...]
    forecast: Figure
    success: Figure | None
    excess: Figure | None

    headings = ("class", "succeeds if", "fibers", "forecast", "success", "more than forecast")

    @property
    def cells(self) -> tuple[str, ...]:
        """The outcome as a line of a table, under `headings`."""
        success, excess = "-", "-"
        if self.success is not None and self.excess is not None:
            success = self.success.text(".1%")
            excess = self.excess.text("+.1%")
        forecast = f"{self.forecast.value:.1%}"
        return (self.class_, self.condition, f"{self.n:,}", forecast, success, excess)

    @property
    def condition(self) -> str:
        """The rules in a line."""
        return " or ".join(each.text for each in self.rules)

    @property
    def records(self) -> Mapping[str, Any]:
        """One row with plain numbers; None where one is not known."""
        row: dict[str, Any] = {"class": self.class_, "succeeds": self.condition, "n": self.n}
        for name in ("forecast", "success", "excess"):
            figure: Figure | None = getattr(self, name)
            row[name] = None if figure is None else figure.value
            row[f"{name}_low"] = None if figure is None else figure.low
            row[f"{name}_high"] = None if figure is None else figure.high
        return row

    @property
    def sentence(self) -> str:
        """Whether spectra succeeded as forecast; empty where that is not known."""
        if self.excess is None or self.n < FEWEST:
            return ""
        by = f"by {abs(self.excess.value):.1%} ({self.excess.low:+.1%} to {self.excess.high:+.1%})"
        if self.excess.low > 0:
            return f"{self.class_}: more spectra succeeded than forecast, {by}"
        if self.excess.high < 0:
            return f"{self.class_}: fewer spectra succeeded than forecast, {by}"
        within = f"{self.excess.low:+.1%} to {self.excess.high:+.1%}"
        return f"{self.class_}: as many spectra succeeded as forecast, within {within}"


def success_outcomes(
    observed: ObservedTargets,
    names: Sequence[str],
    resampling: Resampling,
    succeeds: Sequence[SuccessRule] = (),
) -> tuple[SuccessOutcome, ...]:
    """The forecast of each class that has one; none where the list keeps no S/N.

    Parameters
    ----------
    observed : ObservedTargets
    names : sequence of str
        Classes.
    resampling : Resampling
        Of its targets, with its weights.
    succeeds : sequence of SuccessRule
        Of which any suffices; by default each S/N that the list keeps above 5.

    Raises
    ------
    HandoffError
        If the list lacks a column that is named.
    """
    rules = (*succeeds,) or usual_rules(observed.targets.table)
    if not rules:
        return ()
    forecast = forecast_of(observed.targets.table, rules)
    found = []
    for name in names:
        rows = (observed.program == name) & observed.assigned & np.isfinite(forecast)
        if rows.any():
            found.append(_success(observed, name, forecast, rows, rules, resampling))
    return tuple(found)


def _success(
    observed: ObservedTargets,
    name: str,
    forecast: np.ndarray,
    rows: np.ndarray,
    rules: tuple[SuccessRule, ...],
    resampling: Resampling,
) -> SuccessOutcome:
    n, weight = int(rows.sum()), observed.weight[rows]
    stated = np.where(rows, forecast, 0.0)
    values = resampling.means(stated[:, None], rows)[:, 0]
    expected = Figure.of_values("forecast", name, "", values, n)
    if observed.only_successes:
        return SuccessOutcome(name, n, rules, expected, None, None)
    true = observed.success.astype(np.float64)
    shares = resampling.means(true[:, None], rows)[:, 0]
    share = Figure.of_share("success", name, "", shares, n, weight)
    excess = excess_of(name, true, stated, rows, observed.weight, resampling)
    return SuccessOutcome(name, n, rules, expected, share, excess)


def excess_of(
    name: str,
    true: np.ndarray,
    stated: np.ndarray,
    rows: np.ndarray,
    weight: np.ndarray,
    resampling: Resampling,
) -> Figure | None:
    """Mean of true less stated; its interval is at least as wide as Wilson's of the true share.

    None without rows. `true` and `stated` are of all M targets, and finite in `rows`.
    """
    if not rows.any():
        return None
    more = np.where(rows, true - stated, 0.0)
    values, n = resampling.means(more[:, None], rows)[:, 0], int(rows.sum())
    found = Figure.of_values("excess", name, "", values, n)
    mean = resampling.means(np.where(rows, stated, 0.0)[:, None], rows)[0, 0]
    shares = np.clip(values[:1] + mean, 0.0, 1.0)
    share = Figure.of_share("purity", name, "", shares.repeat(2), n, weight[rows])
    low, high = share.low - mean, share.high - mean
    return Figure("excess", name, "", found.value, min(found.low, low), max(found.high, high), n)
