"""Vectors: one list of numbers for each source, such as a foundation model's embedding of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

OK = "ok"
ABSENT = "no embedding"
NOT_FINITE = "embedding with NaN or infinity"


@dataclass(frozen=True)
class Vectors:
    """The vectors of N sources.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
        int64, or object array of str.
    values : ndarray of float64, shape (N, E)
        NaN where there is no vector.
    present : ndarray of bool, shape (N,)
        False where there is no vector at all.
    brightness : ndarray of float64, shape (N, K), or None
        What the catalog's photometry adds to the vectors: a magnitude and colours [mag]; NaN where
        one is not known. None where vectors stand alone.
    lacking : ndarray of object, shape (N,), or None
        The bands without a magnitude, such as "r_sdss, i_sdss"; empty where none lacks.
    """

    source_id: np.ndarray
    values: np.ndarray
    present: np.ndarray
    brightness: np.ndarray | None = None
    lacking: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.source_id)

    @cached_property
    def status(self) -> np.ndarray:
        """ "ok", or the reason why a vector is not used; object array of str, shape (N,)."""
        status = np.full(len(self), OK, dtype=object)
        if self.lacking is not None:
            for row in np.flatnonzero(self.lacking != ""):
                status[row] = f"no magnitude: {self.lacking[row]}"
        status[~np.isfinite(self.values).all(axis=1)] = NOT_FINITE
        status[~self.present] = ABSENT
        return status

    @cached_property
    def numbers(self) -> np.ndarray:
        """The vectors, and the brightness behind them, shape (N, E + K)."""
        return self.values if self.brightness is None else np.hstack([self.values, self.brightness])

    def take(self, rows: np.ndarray | slice) -> Vectors:
        """Some of the sources, by mask, indices or slice."""
        more = {
            name: values[rows]
            for name in ("brightness", "lacking")
            if (values := getattr(self, name)) is not None
        }
        return replace(
            self,
            source_id=self.source_id[rows],
            values=self.values[rows],
            present=self.present[rows],
            **more,
        )
