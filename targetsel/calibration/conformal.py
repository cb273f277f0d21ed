"""Conformal quantiles, with guaranteed coverage of future sources, as functions of one number.

Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018, arXiv:1604.04173): of n
values that are exchangeable with the next one, the k-th smallest with k = ceil((n + 1) p) exceeds
that next one with a probability of at least p. Bins give the guarantee in each of them (Mondrian;
Vovk et al. 2005); between the middles of bins the quantiles are interpolated linearly.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator, ConfigDict, PlainSerializer
from pydantic.dataclasses import dataclass

from targetsel.statistics.resampling import effective_size

FEWEST_PER_BIN = 350
MOST_BINS = 12  # default
DIGITS = 7
SMALLEST_STEP = 1e-9  # least difference of neighbouring quantiles, so that each has its own level


def _finite(values: object) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(
            "an array is not of numbers, or they are not in rows of one length"
        ) from None
    if not np.isfinite(array).all():
        raise ValueError("an array has a value that is no finite number")
    return array


# Arrays of models that are written as JSON; the latter is rounded there.
FiniteArray = Annotated[np.ndarray, BeforeValidator(_finite), PlainSerializer(np.ndarray.tolist)]
RoundedArray = Annotated[
    np.ndarray,
    BeforeValidator(_finite),
    PlainSerializer(lambda array: np.round(array, DIGITS).tolist()),
]
ARRAYS = ConfigDict(arbitrary_types_allowed=True, extra="forbid")


def conformal_quantile(values: np.ndarray, probability: float, weight: np.ndarray) -> float:
    """A quantile of weighted values that is not too central for the next one.

    The next source weighs as much as the mean one (Tibshirani et al. 2019, arXiv:1904.06019, eq.
    7, for weights that do not depend on the next source). Below one half it is computed from the
    other end. With too few values for a quantile so far out it is the outermost.

    Parameters
    ----------
    values, weight : ndarray, shape (n,)
    """
    if probability < 0.5:
        return -conformal_quantile(-values, 1 - probability, weight)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    needed = probability * (reached[-1] + weight.mean())
    place = np.searchsorted(reached, needed * (1 - 1e-12))
    return float(values[order[min(int(place), len(values) - 1)]])


@dataclass(frozen=True, eq=False, config=ARRAYS)
class BinnedCurve:
    """L numbers as functions of x, interpolated linearly between the middles of B bins.

    Attributes
    ----------
    centres : ndarray, shape (B,)
        Middles of the bins, increasing. Beyond the first and the last the numbers are constant.
    values : ndarray, shape (B, L)
        Numbers at the centres.

    Raises
    ------
    ValueError
        If they are not finite, do not fit together, or are not in order.
    """

    centres: RoundedArray
    values: RoundedArray

    def __post_init__(self) -> None:
        fit = self.centres.ndim == 1 and self.values.shape[:1] == self.centres.shape
        if not fit or self.values.ndim != 2 or not len(self.centres):
            raise ValueError("a curve has not the same numbers for every bin")
        if (np.diff(self.centres) <= 0).any():
            raise ValueError("the bins of a curve are not in order")

    def at(self, x: np.ndarray) -> np.ndarray:
        """The numbers at each x; (N,) to (N, L). NaN is taken for the last centre."""
        last = len(self.centres) - 1
        x = np.clip(np.where(np.isfinite(x), x, self.centres[last]), *self.centres[[0, last]])
        high = np.clip(np.searchsorted(self.centres, x), min(1, last), last)
        low = np.maximum(high - 1, 0)
        width = np.where(high > low, self.centres[high] - self.centres[low], 1.0)
        share = ((x - self.centres[low]) / width)[:, None]
        return self.values[low] + share * (self.values[high] - self.values[low])


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """Bins of x with equal numbers of sources, as many bins as there are sources for.

    Where sources of small weight are many, as over-sampled strong emitters are, bins are finer.

    Attributes
    ----------
    centres : ndarray, shape (B,)
        Weighted median of each bin.
    place : ndarray of int, shape (N,)
        The bin of each source.
    """

    centres: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, weight: np.ndarray, most: int = MOST_BINS) -> Bins:
        """At most `most` bins of an effective number of about `FEWEST_PER_BIN` sources.

        NaN is taken for the largest x.
        """
        x = np.where(np.isfinite(x), x, np.nanmax(x))
        wanted = int(np.clip(effective_size(weight) // FEWEST_PER_BIN, 1, most))
        order = np.argsort(x, kind="stable")
        place = np.empty(len(x), dtype=np.int64)
        place[order] = np.arange(len(x)) * wanted // len(x)
        centres = [_median(x[place == b], weight[place == b]) for b in range(wanted)]
        distinct, place_of = np.unique(centres, return_inverse=True)
        return cls(distinct, place_of[place])

    def rows(self) -> list[np.ndarray]:
        """The sources of each bin."""
        return [np.flatnonzero(self.place == b) for b in range(len(self.centres))]


def _median(x: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(x, kind="stable")
    return float(x[order[np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)]])
