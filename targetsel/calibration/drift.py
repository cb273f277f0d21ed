"""Whether what comes of targets looks like what a calibration was fitted to, as it comes in.

Where posteriors are right, the probabilities that they give to values below the measured ones are
uniform. Bets against that (`statistics.martingale`) rarely win then, and soon where predictions
are off or claim a wrong scatter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field, PlainSerializer

from targetsel.documents.models import DocumentModel
from targetsel.statistics.martingale import capital, passed, together
from targetsel.tables.ids import uniform

LEVELS = (20, 100)  # reached once in so many times at most, where nothing has changed
Short = Annotated[float, PlainSerializer(lambda value: round(value, 2))]


class DriftRecord(DocumentModel):
    """How much was won by betting that posteriors do not fit the outcomes."""

    n: int = Field(description="outcomes that were bet on, one after the other")
    log10_largest: Short  # capital of all bets together, decimal logarithm
    passed_20: int | None  # number of outcomes that it took
    passed_100: int | None
    log10_by_quantity: dict[str, Short]

    @property
    def most(self) -> str:
        """The quantity that wins the most."""
        found = self.log10_by_quantity
        return max(found, key=lambda name: found[name])

    @property
    def summary(self) -> str:
        """What it means, in one line."""
        if self.passed_20 is None:
            return (
                f"no drift seen: bets against the calibration reached {10**self.log10_largest:.3g} "
                f"in {self.n:,} outcomes, which is below 20"
            )
        level, at = (100, self.passed_100) if self.passed_100 else (20, self.passed_20)
        return (
            "drift: outcomes do not look like what the calibration was fitted to. Bets against it "
            f"passed {level} at outcome {at:,} of {self.n:,}, which happens once in {level} times "
            f"at most where nothing has changed; they reached 10^{self.log10_largest:.1f}, with "
            f"{self.most} 10^{self.log10_by_quantity[self.most]:.1f}"
        )


def drift(
    below: Mapping[str, np.ndarray],
    weight: np.ndarray,
    order: np.ndarray,
    group: np.ndarray,
) -> DriftRecord:
    """The bets on N outcomes.

    Outcomes of unequal weights are thinned out: each is bet on with a probability in proportion to
    its weight, by a hash, so that those left are distributed as the sources that they stand for. Of
    a group only the first one is bet on, as the others are like it.

    Parameters
    ----------
    below : mapping of ndarray, shape (N,)
        By quantity, the posterior's probability of values below the measured one; NaN where it was
        not measured.
    weight : ndarray, shape (N,)
    order : ndarray, shape (N,)
        Indices of the outcomes in the order of time.
    group : ndarray, shape (N,)
    """
    most = weight.max(initial=0.0)
    chosen = uniform(group, 0, "drift")[:, 0] * most < weight
    measured = np.any([np.isfinite(each) for each in below.values()], axis=0)
    rows = order[(chosen & measured & (weight > 0))[order]]
    rows = rows[np.sort(np.unique(group[rows], return_index=True)[1])]
    paths = {name: capital(each[rows]) for name, each in below.items()}
    path = together(list(paths.values()))
    return DriftRecord(
        n=len(rows),
        log10_largest=float(path.max(initial=0.0)),
        passed_20=passed(path, LEVELS[0]),
        passed_100=passed(path, LEVELS[1]),
        log10_by_quantity={name: float(each.max(initial=0.0)) for name, each in paths.items()},
    )
