"""What came of a target list, class by class, beside what the list had stated.

Targets with a fiber stand for those of the same class and priority without one, and, where
inclusion probabilities are stated, for the candidates that were not chosen: shares and quantiles
are weighted by 1 / probability (Hajek 1971). Intervals hold 95 %: of resamplings of the targets,
or Wilson's of as many as count effectively, where that is wider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from targetsel.documents.text_table import number, text_table
from targetsel.errors import counted
from targetsel.feedback.claimed import NO_CLAIM
from targetsel.feedback.observed import ObservedTargets
from targetsel.feedback.success import SuccessRule
from targetsel.report.figures import Figure
from targetsel.report.outcome_redshifts import (
    RedshiftOutcome,
    Window,
    check_windows,
    redshift_outcomes,
)
from targetsel.report.outcome_success import SuccessOutcome, excess_of, success_outcomes
from targetsel.spectra.photoz import PHOTOZ, TRUE
from targetsel.statistics.resampling import (
    Resampling,
    effective_size,
    half_width,
    quantiles,
)
from targetsel.tables.columns import floats

FEWEST = 10  # spectra of a class, for a sentence on its forecast or a line of it
SHARES = ("success", "purity", "least", "most")


@dataclass(frozen=True)
class ClassOutcome:
    """What came of the targets of one class.

    Attributes
    ----------
    name : str
    n_targets, n_assigned, n_success : int
        Of the class; those of them with a fiber that works; and those of these with a spectrum
        that has a result.
    n_effective : float
        As how many targets of equal weight those with a fiber count (Kish 1965).
    n_beyond : int
        Targets of a priority of which none got a fiber, which nothing stands for.
    expected : float
        Share that the list states: the mean probability of its claim; NaN where it has none.
    success, purity, least, most : Figure or None
        Shares: of successes among those with a fiber; of those whose claim came true, among those
        of which that is known; and among all with a fiber, if none or all of the others did. None
        where it is not known.
    excess : Figure or None
        `purity` less the mean stated probability of the same targets.
    untested : str
        Why the claim was not tested.
    """

    name: str
    n_targets: int
    n_assigned: int
    n_success: int
    n_effective: float
    n_beyond: int
    expected: float
    success: Figure | None
    purity: Figure | None
    least: Figure | None
    most: Figure | None
    excess: Figure | None
    untested: str = ""

    headings = ("class", "targets", "fibers", "successes", "success", "expected purity",
                "purity", "at least", "at most")  # fmt: skip

    @property
    def cells(self) -> tuple[str, ...]:
        """The outcome as a line of a table, under `headings`."""
        return (
            self.name,
            f"{self.n_targets:,}",
            f"{self.n_assigned:,}",
            f"{self.n_success:,}",
            written(self.success),
            number(self.expected, ".1%"),
            written(self.purity),
            number(None if self.least is None else self.least.value, ".1%"),
            number(None if self.most is None else self.most.value, ".1%"),
        )

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row, with plain numbers; None where one is not known."""
        row: dict[str, Any] = {"class": self.name}
        for name in ("n_targets", "n_assigned", "n_success", "n_effective", "n_beyond"):
            row[name] = getattr(self, name)
        row["expected_purity"] = self.expected
        for name in (*SHARES, "excess"):
            figure: Figure | None = getattr(self, name)
            row[name] = None if figure is None else figure.value
            row[f"{name}_low"] = None if figure is None else figure.low
            row[f"{name}_high"] = None if figure is None else figure.high
        return [row]

    @property
    def sentence(self) -> str:
        """Whether the class did as the list states, in words; empty where nothing was stated."""
        if self.untested:
            return f"{self.name}: not tested, as {self.untested}"
        if self.excess is None or self.excess.n < FEWEST:
            n = 0 if self.excess is None else self.excess.n
            return f"{self.name}: too few spectra ({n}) to test what the list states"
        by = f"{abs(self.excess.value):.1%} ({self.excess.low:+.1%} to {self.excess.high:+.1%})"
        if self.excess.low > 0:
            return f"{self.name}: purer than stated, by {by}"
        if self.excess.high < 0:
            return f"{self.name}: less pure than stated, by {by}"
        within = f"{self.excess.low:+.1%} to {self.excess.high:+.1%}"
        return f"{self.name}: as pure as stated, within {within}"


@dataclass(frozen=True)
class LineOutcome:
    """One measured quantity of the targets of one class.

    Attributes
    ----------
    class_, name : str
    n : int
        Targets of which it was measured.
    median, spread : float
        Of the measured values: their weighted median, and half the width of their central 68 %.
    predicted : float
        Weighted median of the predicted medians; NaN where the list does not keep them.
    inside : Figure or None
        Share of measured values between the predicted 16th and 84th percentiles, which is 68 %
        where predictions hold what they claim and the errors of measurement are small.
    """

    class_: str
    name: str
    n: int
    median: float
    spread: float
    predicted: float
    inside: Figure | None

    headings = ("class", "measured", "spectra", "median", "half of 68 %", "predicted",
                "in the predicted 68 %")  # fmt: skip

    @property
    def cells(self) -> tuple[str, ...]:
        """The line as one of a table, under `headings`."""
        numbers = (number(each, ".4g") for each in (self.median, self.spread, self.predicted))
        return (self.class_, self.name, f"{self.n:,}", *numbers, written(self.inside))


@dataclass(frozen=True, repr=False)
class ListOutcome:
    """What came of a target list.

    Attributes
    ----------
    observed : ObservedTargets
    classes : tuple of ClassOutcome
    lines : tuple of LineOutcome
    redshifts : tuple of RedshiftOutcome
        Of each class with enough measured redshifts.
    forecasts : tuple of SuccessOutcome
        Of each class of which the list keeps predicted S/N.
    """

    observed: ObservedTargets
    classes: tuple[ClassOutcome, ...]
    lines: tuple[LineOutcome, ...]
    redshifts: tuple[RedshiftOutcome, ...] = ()
    forecasts: tuple[SuccessOutcome, ...] = ()

    def __repr__(self) -> str:
        parts = text_table(ClassOutcome.headings, [each.cells for each in self.classes])
        if self.forecasts:
            rows = [each.cells for each in self.forecasts]
            parts += ["", *text_table(SuccessOutcome.headings, rows, 2)]
        if self.lines:
            rows = [each.cells for each in self.lines]
            parts += ["", *text_table(LineOutcome.headings, rows, 2)]
        if self.redshifts:
            rows = [each.cells for each in self.redshifts]
            parts += ["", *text_table(RedshiftOutcome.headings, rows)]
        if self.windows:
            parts += ["", *text_table(RedshiftOutcome.window_headings, self.windows, 2)]
        return "\n".join([*parts, "", *self.sentences])

    @classmethod
    def of(
        cls,
        observed: ObservedTargets,
        windows: Sequence[Window] = (),
        succeeds: Sequence[SuccessRule] = (),
    ) -> ListOutcome:
        """The outcome of a list that was joined with its spectra.

        Parameters
        ----------
        observed : ObservedTargets
        windows : sequence of pairs of float
            Redshifts from the first to below the second; by default equal steps.
        succeeds : sequence of SuccessRule
            When a spectrum should succeed; by default if a line's S/N is above 5.

        Raises
        ------
        HandoffError
            If a window is none, windows are given and no redshift was measured, or the list lacks
            the S/N that `succeeds` names.
        """
        check_windows(windows)
        resampling = Resampling(observed.targets.table["target_id"].to_numpy(), observed.weight)
        names = [*observed.targets.footer.get("bits", {})]
        names += sorted({*observed.program.tolist()} - {*names})
        names = [name for name in names if (observed.program == name).any()]
        classes = tuple(_class(observed, name, resampling) for name in names)
        lines = [
            _line(observed, name, quantity, resampling)
            for name in names
            for quantity in sorted(observed.measured, key=lambda each: (each != PHOTOZ, each))
        ]
        enough = tuple(each for each in lines if each.n >= FEWEST)
        redshifts = redshift_outcomes(observed, names, resampling, windows)
        forecasts = success_outcomes(observed, names, resampling, succeeds)
        return cls(observed, classes, enough, redshifts, forecasts)

    @property
    def windows(self) -> list[tuple[str, ...]]:
        """Lines of a table of the windows that were asked for, under their headings."""
        return [row for each in self.redshifts if each.are_named for row in each.window_rows]

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row for each class, with plain numbers."""
        return [row for each in self.classes for row in each.records]

    @property
    def redshift_records(self) -> list[Mapping[str, Any]]:
        """One row for each class and quantile or window of redshift, with plain numbers."""
        return [row for each in self.redshifts for row in each.records]

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """What was joined, what the figures stand for, and how each class did."""
        counts, found = self.observed.counts, [each.sentence for each in self.classes]
        joined = f"{counts['of targets']:,} of {counts['spectra']:,} spectra are of targets"
        if counts["of targets without a fiber"]:
            n = counts["of targets without a fiber"]
            joined += f"; {n:,} of them, of targets that were not assigned, are left out"
        about = [joined]
        if self.observed.only_successes:
            about.append(
                "the table holds successes alone and no assignment is given, so the share of "
                "successes is not known: give --assigned, or rows for the failures"
            )
        elif not self.observed.given:
            about.append("no assignment is given: targets without a spectrum count as not observed")
        beyond = sum(each.n_beyond for each in self.classes)
        if beyond:
            about.append(
                f"{counted(beyond, 'target')} of priorities of which none got a fiber: no figure "
                "stands for them"
            )
        stands = (
            "all candidates, by their inclusion" if self.observed.inclusion.known else "the list"
        )
        about.append(f"figures stand for {stands}; intervals hold 95 %")
        if self.observed.simulated:
            about.append("these outcomes are SIMULATED")
        found += [each.sentence for each in self.forecasts if each.sentence]
        return (*about, *found)


def written(figure: Figure | None) -> str:
    """A share and its interval; a dash where it is not known."""
    if figure is None:
        return "-"
    return figure.text(".1%")


def _class(observed: ObservedTargets, name: str, resampling: Resampling) -> ClassOutcome:
    here = observed.program == name
    fibers = here & observed.assigned
    likely = observed.probability
    own = here & np.isfinite(likely)
    counts = 1 / observed.inclusion.of_class
    claim = observed.claims.get(name)
    untested = observed.untested.get(name, "" if claim is not None else "the list has lost it")
    own &= untested != NO_CLAIM  # such targets have probability 1, which is of nothing

    def share(what: str, true: np.ndarray, rows: np.ndarray) -> Figure | None:
        if not rows.any():
            return None
        values = resampling.means(true[:, None].astype(float), rows)[:, 0]
        n, weight = int(rows.sum()), observed.weight[rows]
        return Figure.of_share(what, name, "", values, n, weight)

    purity = least = most = excess = None
    if claim is not None:
        known = fibers & np.isfinite(claim)
        true, lost = np.where(known, claim, 0.0), fibers & ~known
        purity = share("purity", true, known)
        least, most = share("at least", true, fibers), share("at most", true + lost, fibers)
        stated = known & np.isfinite(likely)
        excess = excess_of(name, true, likely, stated, observed.weight, resampling)
    return ClassOutcome(
        name=name,
        n_targets=int(here.sum()),
        n_assigned=int(fibers.sum()),
        n_success=int((here & observed.success).sum()),
        n_effective=effective_size(observed.weight[fibers]) if fibers.any() else 0.0,
        n_beyond=int((here & ~observed.assigned & (observed.chance == 0)).sum()),
        expected=float(np.average(likely[own], weights=counts[own])) if own.any() else np.nan,
        success=None if observed.only_successes else share("success", observed.success, fibers),
        purity=purity,
        least=least,
        most=most,
        excess=excess,
        untested=untested,
    )


def _line(observed: ObservedTargets, class_: str, name: str, resampling: Resampling) -> LineOutcome:
    values, table = observed.measured[name], observed.targets.table
    rows = (observed.program == class_) & np.isfinite(values)
    called, n = TRUE if name == PHOTOZ else name, int(rows.sum())
    if not n:
        return LineOutcome(class_, called, 0, np.nan, np.nan, np.nan, None)
    weight = observed.weight[rows]
    median = float(quantiles(values[rows], (0.5,))(weight)[0])
    spread = half_width(values[rows])(weight)
    predicted, inside = np.nan, None
    if {name, f"{name}_q16", f"{name}_q84"} <= {*table.column_names}:
        middle, low, high = (floats(table[name + end]) for end in ("", "_q16", "_q84"))
        known = rows & np.isfinite(middle + low + high)
        if known.any():
            predicted = float(quantiles(middle[known], (0.5,))(observed.weight[known])[0])
            within = np.where(known, (values >= low) & (values <= high), 0.0)
            shares = resampling.means(within[:, None], known)[:, 0]
            n_known = int(known.sum())
            ours = observed.weight[known]
            inside = Figure.of_share("inside", class_, name, shares, n_known, ours)
    return LineOutcome(class_, called, n, median, spread, predicted, inside)
