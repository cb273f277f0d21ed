"""Support: whether the training had sources of a source's magnitude, colour and size.

Training sources are brighter than a catalog. Where none is like a source, no test on held-out
sources has checked such predictions. Where they are few, few of them represent many sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from targetsel.statistics.region import NEIGHBOURS, CoveredRegion
from targetsel.statistics.resampling import effective_size


@dataclass(frozen=True)
class Support:
    """The region of magnitude, colour and size that training sources cover.

    Attributes
    ----------
    appearance : ndarray, shape (R, 3)
        Magnitude [mag], colour [mag] and size [share of the side] of held-out training sources,
        measured on their cutouts (`imaging.measurements.appearance`). A quantity that is NaN of
        all of them is not compared.
    """

    appearance: np.ndarray

    def __len__(self) -> int:
        return len(self.appearance)

    @cached_property
    def region(self) -> CoveredRegion:
        """The region, which 99 % of the training sources themselves lie in."""
        return CoveredRegion(self.appearance[:, self._used])

    @cached_property
    def _used(self) -> np.ndarray:
        """The quantities that are known, mask, shape (3,)."""
        return ~np.isnan(self.appearance).all(axis=0) if len(self) else np.ones(3, dtype=bool)

    @property
    def known(self) -> bool:
        """Whether there are enough training sources to define the support."""
        return self.region.known

    def holds(self, appearance: np.ndarray) -> np.ndarray:
        """Whether ten training sources lie near, (N, 3) to (N,); False where appearance is NaN."""
        return self.region.holds(appearance[:, self._used])

    def weights(self, appearance: np.ndarray) -> np.ndarray:
        """Number of N sources that each training source stands for, shape (R,).

        Every source is shared out among the ten training sources nearest to it; Lima et al. (2008,
        MNRAS 390, 118), section 3, share by neighbourhoods of training sources instead, which
        needs the whole catalog at once (`CoveredRegion`).
        Sources without support, or with NaN, count for none.
        """
        weights = np.zeros(len(self))
        held = self.holds(appearance)
        if held.any():
            points = appearance[held][:, self._used]
            _, nearest = self.region.tree.query(points / self.region.scale, NEIGHBOURS)
            np.add.at(weights, nearest.ravel(), 1 / NEIGHBOURS)
        return weights


class Tally:
    """Support of a catalog that is read in pieces."""

    def __init__(self, support: Support):
        self.support = support
        self.n = 0
        self._weights = np.zeros(len(support))

    def add(self, appearance: np.ndarray) -> None:
        """Count N more sources, (N, 3)."""
        self.n += len(appearance)
        self._weights += self.support.weights(appearance)

    @property
    def share(self) -> float:
        """Share of the sources that have support; NaN without sources."""
        return float(self._weights.sum() / self.n) if self.n else float("nan")

    @property
    def effective(self) -> float:
        """Effective number of held-out training sources that represent the supported sources:
        (sum of weights)^2 / sum of weights^2 (Kish 1965)."""
        return effective_size(self._weights) if self._weights.any() else 0.0

    @property
    def summary(self) -> dict[str, float | int]:
        """Entries of a footer; empty if the ensemble's support is unknown, or without sources."""
        if not (self.support.known and self.n):
            return {}
        return {
            "share": round(self.share, 6),
            "held_out": len(self.support),
            "effective": round(self.effective, 1),
        }
