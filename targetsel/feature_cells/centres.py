"""Centres of cells: found by k-means on standardised features, and the nearest to each source."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.errors import CatalogError
from targetsel.tables.ids import uniform

FARTHEST = 5.0  # widths from the median beyond which a feature counts as this far
ITERATIONS = 30
_NORMAL = (15.865, 50.0, 84.135)  # percentiles at -1, 0 and 1 standard deviation


@dataclass(frozen=True)
class Centres:
    """The centres of C cells in the space of K features.

    A feature counts in units of its width (half the way from the 16th to the 84th percentile) from
    its median, and at most `FARTHEST`. A source is in the cell of the nearest centre.

    Attributes
    ----------
    kind : str
        Of `features.Features`.
    names : tuple of K strings
        The features.
    median, width : ndarray, shape (K,)
    standardised : ndarray, shape (C, K)
        The centres, in order of the first feature.
    """

    kind: str
    names: tuple[str, ...]
    median: np.ndarray
    width: np.ndarray
    standardised: np.ndarray

    def __len__(self) -> int:
        return len(self.standardised)

    @classmethod
    def fit(
        cls, kind: str, names: tuple[str, ...], features: np.ndarray, n: int, seed: int = 0
    ) -> Centres:
        """The centres of `n` cells, fewer where features repeat, of sources of shape (N, K)."""
        low, median, high = np.percentile(features, _NORMAL, axis=0)
        width = np.where(high > low, (high - low) / 2, 1.0)
        scaled = _standardised(features, median, width)
        found = _means(scaled, _apart(scaled, n, seed))
        return cls(kind, names, median, width, found[np.lexsort(found.T[::-1])])

    def nearest(self, features: np.ndarray) -> np.ndarray:
        """The cell of each source, shape (N,); -1 where a feature of the (N, K) is NaN."""
        known = ~np.isnan(features).any(axis=1)
        cell = np.full(len(features), -1, dtype=np.int64)
        if known.any():
            scaled = _standardised(features[known], self.median, self.width)
            cell[known] = self._tree.query(scaled)[1]
        return cell

    @property
    def features(self) -> np.ndarray:
        """The centres in the features' own units, shape (C, K)."""
        return self.median + self.width * self.standardised

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import cKDTree  # which takes a quarter of a second to import

        return cKDTree(self.standardised)

    @property
    def record(self) -> dict[str, Any]:
        """All of it as plain values, for a footer."""
        return {
            "features": self.kind,
            "names": list(self.names),
            "median": self.median.tolist(),
            "width": self.width.tolist(),
            "centres": self.standardised.tolist(),
        }

    @classmethod
    def of_record(cls, record: Any, place: Path | str) -> Centres:
        """The centres that `record` wrote down.

        Raises
        ------
        CatalogError
            If it is no such record.
        """
        try:
            median, width, centres = (
                np.array(record[key], dtype=np.float64) for key in ("median", "width", "centres")
            )
            names = tuple(map(str, record["names"]))
            found = cls(str(record["features"]), names, median, width, centres)
        except (KeyError, TypeError, ValueError):
            found = None
        if found is None or not found._is_whole():
            raise CatalogError(
                f"{place}: its footer does not tell the centres of cells. Give a file that "
                "'targetsel cells' wrote, in Parquet."
            )
        return found

    def _is_whole(self) -> bool:
        k = len(self.names)
        shapes = self.median.shape == self.width.shape == (k,) == self.standardised.shape[1:]
        numbers = (self.median, self.width, self.standardised)
        return (
            k > 0
            and shapes
            and len(self) > 0
            and all(np.isfinite(each).all() for each in numbers)
            and bool((self.width > 0).all())
        )


def _standardised(features: np.ndarray, median: np.ndarray, width: np.ndarray) -> np.ndarray:
    return np.clip((features - median) / width, -FARTHEST, FARTHEST)


def _apart(scaled: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Sources to begin with, far from one another, shape (n or fewer, K).

    Arthur & Vassilvitskii (2007, SODA, 1027): each is drawn with a chance that goes with its
    squared distance from the nearest of those before it.
    """
    draws = uniform(np.arange(n), seed, "centres of cells")[:, 0]
    chosen = [int(draws[0] * len(scaled))]
    distance = ((scaled - scaled[chosen[0]]) ** 2).sum(axis=1)
    for draw in draws[1:]:
        total = np.cumsum(distance)
        if total[-1] <= 0:
            break
        place = int(np.searchsorted(total, draw * total[-1], side="right"))
        chosen.append(min(place, len(scaled) - 1))
        distance = np.minimum(distance, ((scaled - scaled[chosen[-1]]) ** 2).sum(axis=1))
    return scaled[chosen]


def _means(scaled: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The centres to which k-means comes from the first ones; those without a source go."""
    from scipy.cluster.vq import kmeans2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of centres that lose all their sources
        centres, cell = kmeans2(scaled, first, iter=ITERATIONS, minit="matrix")
    found: np.ndarray = centres[np.bincount(cell, minlength=len(centres)) > 0]
    return found
