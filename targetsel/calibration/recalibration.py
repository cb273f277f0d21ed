"""A recalibration: one more correction of calibrated posteriors, fitted to what came of targets.

A second map of scores for each quantity (`ScoreMap`) is fitted to the calibrated quantiles of
sources whose spectra were taken, each counting as many sources as it stands for. Fits are functions
of plain arrays; what they found on sources kept aside goes into the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PlainSerializer
from scipy.special import ndtr

from targetsel.calibration.drift import DriftRecord
from targetsel.calibration.proxies import ClassMap, ScoreMap, mapped
from targetsel.documents.models import DocumentModel, FromList
from targetsel.spectra.proxies import MIDDLE, NORMAL_SCORES, ProxyPosterior
from targetsel.statistics.resampling import effective_size, quantiles
from targetsel.tables.ids import uniform

FEWEST = 100  # effective number of sources: with fewer the ends of 90 % intervals are single ones
ASIDE = 0.3  # share that is kept aside to check a first fit
INTERVALS = (0.68, 0.9)
REACH = (0.01, 0.99)
BEYOND_NOISE = 2.0  # standard errors
LEAST_PROBABILITY = 1e-4  # of a true class, for its logarithm
TOO_FEW, WORSE = "too few", "worse"

Short = Annotated[float, PlainSerializer(lambda value: round(value, 4))]
Pair = Annotated[tuple[Short, Short], FromList]  # before and after


class QuantityRecord(DocumentModel):
    """What was found of one quantity, before and after, on sources that were kept aside."""

    n: int = Field(description="sources of which it was measured")
    effective: Short = Field(description="of them, (sum of weights)^2 / sum of weights^2")
    n_aside: int = 0
    coverage_of_68_percent: Pair | None = None  # before and after
    coverage_of_90_percent: Pair | None = None
    width_of_90_percent: Pair | None = None  # the median
    reach: Pair | None = None  # 1st and 99th percentile of the predicted medians
    stays: str = ""  # why its posterior stays as it was; empty if it does not


class ClassRecord(DocumentModel):
    """What was found of the classes in the [NII] diagram, on sources that were kept aside."""

    n: int = Field(description="sources whose class was measured")
    effective: Short
    n_aside: int = 0
    log_loss: Pair | None = None  # mean negative log probability of the true class
    stays: str = ""


class Recalibration(DocumentModel):
    """One recalibration in a `calibration.json`: its maps, and a record of how they were fitted.

    Attributes
    ----------
    name : str
    of : str
        SHA-256 of the calibration that it was fitted on, with the recalibrations before it.
    outcomes : list of dict
        Name and SHA-256 of each table of outcomes, in the order of time.
    unweighted, of_lists : list of str
        Those without weights, and those whose weights stand for the list alone, as they leave out
        how it was chosen among candidates.
    maps : dict of ScoreMap
        Correction of each quantity that was measured often enough.
    classes : ClassMap or None
        Correction of the probabilities of the classes in the [NII] diagram.
    """

    name: str
    of: str
    code_version: str
    outcomes: list[dict[Literal["name", "sha256"], str]]
    unweighted: list[str]
    of_lists: list[str]
    simulated: bool
    counts: dict[str, int]
    quantities: dict[str, QuantityRecord]
    class_record: ClassRecord | None = None
    drift: DriftRecord | None = None  # from the calibration that it was fitted on
    maps: dict[str, ScoreMap] = Field(alias="proxies")
    classes: ClassMap | None

    @property
    def n(self) -> int:
        """Sources that it was fitted to."""
        return max((each.n for each in self.quantities.values() if not each.stays), default=0)


# ---------------------------------------------------------------------- fitting


@dataclass(frozen=True, eq=False)
class Measured:
    """Predictions of one quantity, and what spectra say, for N sources; all finite.

    Attributes
    ----------
    knots : ndarray, shape (N, L)
        Calibrated quantiles at `NORMAL_SCORES`.
    true, magnitude, weight : ndarray, shape (N,)
        The magnitude may be NaN. A weight is the number of sources that one stands for.
    aside : ndarray of bool, shape (N,)
        Whether it is kept aside for the check.
    """

    knots: np.ndarray
    true: np.ndarray
    magnitude: np.ndarray
    weight: np.ndarray
    aside: np.ndarray

    @classmethod
    def of(
        cls,
        knots: np.ndarray,
        true: np.ndarray,
        magnitude: np.ndarray,
        weight: np.ndarray,
        group: np.ndarray,
    ) -> Measured:
        """The sources that have a prediction, a measured value and a weight.

        A hash of the group, shape (N,), tells who is kept aside.
        """
        rows = np.isfinite(true + knots.sum(axis=1)) & (weight > 0)
        aside = uniform(group, 0, "recalibration")[:, 0] < ASIDE
        return cls(*(each[rows] for each in (knots, true, magnitude, weight, aside)))

    def __len__(self) -> int:
        return len(self.true)

    def take(self, rows: np.ndarray) -> Measured:
        """Some of the sources."""
        parts = (self.knots, self.true, self.magnitude, self.weight, self.aside)
        return Measured(*(each[rows] for each in parts))

    @property
    def effective(self) -> float:
        """Effective number of sources of equal weight."""
        return effective_size(self.weight) if len(self) else 0.0

    @property
    def reach(self) -> tuple[float, float] | None:
        """The range of the predicted medians, but for the outermost 1 % of the weight each."""
        if not len(self):
            return None
        low, high = quantiles(self.knots[:, MIDDLE], REACH)(self.weight)
        return float(low), float(high)

    def fit(self) -> ScoreMap:
        """The map fitted to all of them."""
        return ScoreMap.fit(self.knots, self.true, self.magnitude, self.weight)


def relearned(measured: Measured) -> tuple[ScoreMap | None, QuantityRecord]:
    """The map of one quantity, and what a first fit did for sources that it did not see.

    Returns
    -------
    ScoreMap or None
        Fitted to all; None where too few count, or the first fit was worse than none, by more than
        chance explains, for the sources kept aside.
    QuantityRecord
    """
    record = QuantityRecord(n=len(measured), effective=measured.effective, reach=measured.reach)
    fitted, aside = measured.take(~measured.aside), measured.take(measured.aside)
    lopsided = not len(aside) or fitted.effective < FEWEST / 2
    if measured.effective < FEWEST or lopsided:
        return None, record.model_copy(update={"stays": TOO_FEW})
    before = aside.knots
    after = mapped({"": before}, {"": fitted.fit()}, aside.magnitude)[""]
    pairs = {
        f"coverage_of_{share:.0%}".replace("%", "_percent"): (
            coverage(before, aside.true, aside.weight, share),
            coverage(after, aside.true, aside.weight, share),
        )
        for share in INTERVALS
    }
    widths = tuple(median_width(knots, aside.weight, INTERVALS[-1]) for knots in (before, after))
    found = record.model_copy(
        update={**pairs, "n_aside": len(aside), "width_of_90_percent": widths}
    )
    if is_worse(before, after, aside.true, aside.weight):
        return None, found.model_copy(update={"stays": WORSE})
    return measured.fit(), found


def relearned_classes(
    shares: Mapping[str, np.ndarray],
    true: Mapping[str, np.ndarray],
    weight: np.ndarray,
    group: np.ndarray,
) -> tuple[ClassMap | None, ClassRecord]:
    """The map of class probabilities, as `relearned` finds that of a quantity.

    Parameters
    ----------
    shares, true : mapping of class to ndarray, shape (N,)
        Predicted probabilities; and 1 for a source's class, else 0; NaN where unknown.
    weight, group : ndarray, shape (N,)
    """
    predicted, member = (np.stack([each[n] for n in shares], axis=1) for each in (shares, true))
    known = np.isfinite(predicted + member).all(axis=1) & (weight > 0)
    aside = known & (uniform(group, 0, "recalibration")[:, 0] < ASIDE)
    own, n = weight[known], int(known.sum())
    record = ClassRecord(n=n, effective=effective_size(own) if n else 0.0)

    def fit(rows: np.ndarray) -> ClassMap | None:
        own, told = ({n: each[rows] for n, each in given.items()} for given in (shares, true))
        return ClassMap.fit(own, told, weight[rows])

    first = fit(known & ~aside) if record.effective >= FEWEST else None
    if first is None or not aside.any():
        return None, record.model_copy(update={"stays": TOO_FEW})
    after = np.stack([*first({n: each[aside] for n, each in shares.items()}).values()], axis=1)
    losses = [
        -np.log(np.maximum((each * member[aside]).sum(axis=1), LEAST_PROBABILITY))
        for each in (predicted[aside], after)
    ]
    means = tuple(float(np.average(each, weights=weight[aside])) for each in losses)
    found = record.model_copy(update={"n_aside": int(aside.sum()), "log_loss": means})
    if grew(losses[1] - losses[0], weight[aside]):
        return None, found.model_copy(update={"stays": WORSE})
    return fit(known), found


def coverage(knots: np.ndarray, true: np.ndarray, weight: np.ndarray, share: float) -> float:
    """Weighted share of true values (N,) in central intervals of posteriors (N, L)."""
    below = ProxyPosterior(("",), {"": knots}, {}).probability_below("", true)
    return float(np.average(np.abs(below - 0.5) < share / 2, weights=weight))


def median_width(knots: np.ndarray, weight: np.ndarray, share: float) -> float:
    """Weighted median width of central intervals of posteriors (N, L), in their unit."""
    posterior = ProxyPosterior(("",), {"": knots}, {})
    width = posterior.quantile("", (1 + share) / 2) - posterior.quantile("", (1 - share) / 2)
    return float(quantiles(width, [0.5])(weight)[0])


def is_worse(before: np.ndarray, after: np.ndarray, true: np.ndarray, weight: np.ndarray) -> bool:
    """Whether posteriors (N, L) fit true values (N,) worse than those of before, beyond noise.

    The score is that of their quantiles (pinball loss, summed), which is the best on average for
    the true distribution alone; differences are paired.
    """
    return grew(pinball(after, true) - pinball(before, true), weight)


def grew(change: np.ndarray, weight: np.ndarray) -> bool:
    """Whether the weighted mean of changes (N,) is above 0 by more than their scatter explains."""
    mean = float(np.average(change, weights=weight))
    error = float(np.sqrt((weight**2 * (change - mean) ** 2).sum()) / weight.sum())
    return mean > BEYOND_NOISE * error


def pinball(knots: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Loss of quantiles (N, L) at `NORMAL_SCORES`, summed over them, shape (N,)."""
    rest = true[:, None] - knots
    levels = ndtr(NORMAL_SCORES)
    return np.asarray(np.maximum(levels * rest, (levels - 1) * rest).sum(axis=1))
