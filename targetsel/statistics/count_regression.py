"""Counts in cells of the sky, predicted from maps: by a plane, or by a plane and trees on it.

A model says by how much the density in a cell is above or below the mean. What it says of a cell
comes from folds that the cell is not in; each fold's model is divided by its mean over all cells,
so that folds differ by what maps tell, and not by how dense they happen to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

EVEN, LINEAR, BOOSTED = "even", "linear", "boosted"
LEAST, MOST = 1 / 3, 3.0  # of the relative densities that are predicted
CLEARLY = 2.0  # standard errors by which trees must predict better than the plane
LEARNING_RATE = 0.1
N_TREES = 100  # at most; folds say how many
LEAVES = 4  # of a tree
LEAST_IN_LEAF = 0.02  # share of the cells


@dataclass(frozen=True)
class CountedCells:
    """K cells of the sky with P maps.

    Attributes
    ----------
    counts, areas : ndarray, shape (K,)
    maps : ndarray, shape (K, P)
        All finite.
    patch, fold : ndarray of int64, shape (K,)
        Contiguous patches, whose densities are taken to be independent; and folds made of them.
    """

    counts: np.ndarray
    areas: np.ndarray
    maps: np.ndarray
    patch: np.ndarray
    fold: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def density(self) -> float:
        """Counts per area, of all cells."""
        return float(self.counts.sum() / self.areas.sum())

    def take(self, cells: np.ndarray) -> CountedCells:
        """Some of the cells."""
        columns = (self.counts, self.areas, self.maps, self.patch, self.fold)
        return CountedCells(*(each[cells] for each in columns))

    @property
    def standardised(self) -> CountedCells:
        """The same cells, with maps of mean 0 and deviation 1 over the area."""
        mean = np.average(self.maps, axis=0, weights=self.areas)
        spread = np.sqrt(np.average((self.maps - mean) ** 2, axis=0, weights=self.areas))
        return replace(self, maps=(self.maps - mean) / np.where(spread > 0, spread, 1.0))


@dataclass(frozen=True)
class Gain:
    """How much better a method predicts folds left out than an even density.

    Attributes
    ----------
    value, error : float
        Fall of the Poisson deviance, and its standard error from the scatter of patches.
    """

    value: float
    error: float


@dataclass(frozen=True)
class Prediction:
    """The relative density of cells.

    Attributes
    ----------
    method : str
    relative : ndarray, shape (K,)
        Of mean 1 over the area, for each fold's model, and from 1/3 to 3.
    tried : dict of ndarray, shape (K,)
        The relative density by each method that was tried, linear and boosted.
    gains : dict of Gain
        By method that was tried.
    n_trees : int
    why : str
        Why this method was taken, in half a sentence.
    """

    method: str
    relative: np.ndarray
    tried: Mapping[str, np.ndarray]
    gains: Mapping[str, Gain]
    n_trees: int = 0
    why: str = ""


def predict_counts(cells: CountedCells, method: str | None = None) -> Prediction:
    """The relative density of each cell, predicted from the other folds.

    Parameters
    ----------
    cells : CountedCells
    method : str, optional
        "linear" or "boosted". By default the boosted trees where they lower the deviance of folds
        left out by more than two standard errors below that of the plane; otherwise the plane,
        where it is better than an even density; otherwise even.
    """
    cells = cells.standardised
    planes = _planes(cells)
    found = {LINEAR: _of_own_fold(planes, cells.fold)}
    n_trees = 0
    if method != LINEAR:
        found[BOOSTED], n_trees = _best_trees(cells, planes)
    even = _deviances(cells, np.ones(len(cells)))
    lost = {name: _deviances(cells, each) for name, each in found.items()}
    gains = {name: _gain(even - each, cells.patch) for name, each in lost.items()}
    if method is not None:
        return Prediction(method, found[method], found, gains, n_trees, "as asked for")
    more = _gain(lost[LINEAR] - lost[BOOSTED], cells.patch)
    if more.value > CLEARLY * more.error and gains[BOOSTED].value > 0:
        why = "folds left out are predicted better than by linear, by over two standard errors"
        return Prediction(BOOSTED, found[BOOSTED], found, gains, n_trees, why)
    if gains[LINEAR].value > 0:
        why = "boosted trees do not predict folds left out better by over two standard errors"
        return Prediction(LINEAR, found[LINEAR], found, gains, 0, why)
    why = "no method predicts folds left out better than an even density"
    return Prediction(EVEN, np.ones(len(cells)), found, gains, 0, why)


def _deviances(cells: CountedCells, relative: np.ndarray) -> np.ndarray:
    """The Poisson deviance of each cell, with the mean density of the other folds, shape (K,)."""
    n, area = (np.bincount(cells.fold, each) for each in (cells.counts, cells.areas))
    density = (n.sum() - n) / (area.sum() - area)
    expected = cells.areas * density[cells.fold] * relative
    counts = cells.counts
    log = np.log(np.where(counts > 0, counts / np.maximum(expected, 1e-300), 1.0))
    return 2 * (counts * log - (counts - expected))


def _gain(falls: np.ndarray, patch: np.ndarray) -> Gain:
    by_patch = np.bincount(patch, falls)
    spread = by_patch.std(ddof=1) if len(by_patch) > 1 else np.inf
    return Gain(float(falls.sum()), float(spread * np.sqrt(len(by_patch))))


def _of_own_fold(models: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """What each cell's own fold's model says of it, shape (K,), from models of shape (F, K)."""
    return np.asarray(models[fold, np.arange(len(fold))])


def _relative(values: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Values divided by their mean over the area, and kept between `LEAST` and `MOST`."""
    return np.asarray(np.clip(values / np.average(values, weights=areas), LEAST, MOST))


# --- a plane -------------------------------------------------------------------------------------


def _planes(cells: CountedCells) -> np.ndarray:
    """Relative densities of all cells from cells outside each fold, shape (F, K)."""
    found = []
    for fold in range(int(cells.fold.max()) + 1):
        coefficients = _fitted_plane(cells.take(cells.fold != fold))
        plane = coefficients[0] + cells.maps @ coefficients[1:]
        found.append(_relative(np.maximum(plane, LEAST), cells.areas))
    return np.stack(found)


def _fitted_plane(cells: CountedCells) -> np.ndarray:
    """Least squares of relative densities, weighted by Poisson and the sky's own scatter."""
    expected = cells.areas * cells.density
    relative = cells.counts / expected
    scatter = np.average((relative - 1) ** 2 - 1 / expected, weights=expected)
    weight = np.sqrt(expected / (1 + expected * max(scatter, 0.0)))
    design = np.column_stack([np.ones(len(cells)), cells.maps])
    found = np.linalg.lstsq(design * weight[:, None], relative * weight, rcond=None)
    return np.asarray(found[0])


# --- trees ---------------------------------------------------------------------------------------


def _best_trees(cells: CountedCells, planes: np.ndarray) -> tuple[np.ndarray, int]:
    """Relative densities by trees, shape (K,), and how many trees that is.

    Trees correct each fold's plane, or an even density where that predicts folds left out better,
    as where a few extreme values of a map carry the plane away. The fewest trees are taken with
    which folds left out are predicted within one standard error as well as with the best number
    (Hastie, Tibshirani & Friedman 2009, section 7.10), as more of them follow clustering.
    """
    starts = [_boosted(cells, each) for each in (planes, np.ones_like(planes))]
    totals = [np.array([_deviances(cells, one).sum() for one in stages]) for stages in starts]
    which = int(totals[1].min() < totals[0].min())
    stages, best = starts[which], int(np.argmin(totals[which]))
    least = _deviances(cells, stages[best])
    for n_trees, stage in enumerate(stages[:best]):
        more = _gain(_deviances(cells, stage) - least, cells.patch)
        if more.value <= more.error:
            return stage, n_trees
    return stages[best], best


def _boosted(cells: CountedCells, starts: np.ndarray) -> list[np.ndarray]:
    """Relative densities after 0, 1, 2, ... trees on each fold's start, shape (K,) each."""
    found = [np.empty(len(cells)) for _ in range(N_TREES + 1)]
    for fold, start in enumerate(starts):
        own = cells.fold == fold
        for stage, values in zip(found, _stages(cells, start, ~own), strict=True):
            stage[own] = values[own]
    return found


def _stages(cells: CountedCells, start: np.ndarray, learns: np.ndarray) -> Iterator[np.ndarray]:
    """Relative densities of all cells by more and more trees, which learn from some of them."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    offset = cells.areas * start
    trees = HistGradientBoostingRegressor(
        loss="poisson",
        learning_rate=LEARNING_RATE,
        max_iter=N_TREES,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=max(20, round(LEAST_IN_LEAF * int(learns.sum()))),
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1):  # the order of sums decides the last digits
        trees.fit(
            cells.maps[learns],
            (cells.counts / offset)[learns],
            sample_weight=(offset / offset.mean())[learns],
        )
        yield start
        for each in trees.staged_predict(cells.maps):
            yield _relative(start * each, cells.areas)
