"""Joint calibration: the copula of labelled sources, and who belongs to which group of it.

Maps of single proxies leave their ranks, and so their dependence, as predicted. What true values
have in common beyond that is kept as samples (see `spectra.copula`), in groups of sources that are
parted at medians of predicted proxies, each time of the one in which they differ most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, InstanceOf, PlainSerializer
from pydantic.dataclasses import dataclass

from targetsel.calibration.conformal import ARRAYS, FiniteArray
from targetsel.spectra.copula import SOFTENING, Complex, Copula
from targetsel.spectra.lines import PREDICTABLE, complexes
from targetsel.spectra.proxies import MIDDLE, ProxyPosterior
from targetsel.statistics.resampling import effective_size

SAMPLES = 512  # of each group
FEWEST_PER_GROUP = 1000  # effective number of sources
MOST_SPLITS = 3  # one above another
FARTHEST = 5.0  # normal score that a true value in the tails is taken for
LEAST_SPREAD = 1e-6


def _copula(value: Any) -> Any:
    """A copula stored in a file."""
    if not isinstance(value, dict):
        return value
    try:
        return Copula.from_card(value)
    except KeyError as error:
        raise ValueError(f"the copula lacks {error}") from None
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"the copula is not one ({error})") from None


@dataclass(frozen=True, eq=False, config=ARRAYS)
class JointCalibration:
    """A copula and the splits of sources into its groups.

    Attributes
    ----------
    split_by : sequence of str
        The proxy of each split, breadth first: those below split k are 2 k + 1 and 2 k + 2.
    split_at : ndarray
        The predicted median at each, in the proxy's unit; sources below it go to the first.
    copula : Copula

    Raises
    ------
    ValueError
        If they do not fit together.
    """

    split_by: Sequence[str]
    split_at: FiniteArray
    copula: Annotated[InstanceOf[Copula], BeforeValidator(_copula), PlainSerializer(Copula.to_card)]

    def __post_init__(self) -> None:
        n = len(self.copula.whitened)
        if self.split_at.shape != (n - 1,) or len(self.split_by) != n - 1 or n & (n - 1):
            raise ValueError(f"{len(self.split_by)} splits do not make the copula's {n} groups")
        unknown = {*self.split_by, *self.copula.names, *self.copula.complexes} - {*PREDICTABLE}
        if unknown:
            raise ValueError(f"the copula is of '{min(unknown)}', which is not predicted")

    def groups(self, medians: Mapping[str, np.ndarray]) -> np.ndarray:
        """The group of each source, shape (N,), from the medians of all proxies of the copula.

        -1 for sources without one of these.
        """
        known = np.all([np.isfinite(medians[name]) for name in self.names], axis=0)
        place = np.zeros(len(known), dtype=np.intp)
        n = len(self.split_by)
        for _ in range((n + 1).bit_length() - 1):
            values = np.zeros(len(place))
            for k in np.unique(place):
                values[place == k] = medians[self.split_by[k]][place == k]
            place = 2 * place + 1 + (values >= self.split_at[place])
        return np.where(known, place - n, -1).astype(np.int8)

    @property
    def names(self) -> tuple[str, ...]:
        """All proxies that the copula is of."""
        return (*self.copula.names, *self.copula.complexes)

    @classmethod
    def fit(
        cls, posterior: ProxyPosterior, true: Mapping[str, np.ndarray], weight: np.ndarray
    ) -> JointCalibration:
        """Copula of N sources of known proxies.

        Parameters
        ----------
        posterior : ProxyPosterior
            Calibrated, with a Gaussian copula; finite.
        true : mapping of name to ndarray, shape (N,)
            Finite.
        weight : ndarray, shape (N,)
        """
        sums = complexes(tuple(true))
        names = tuple(name for name in true if name not in sums)
        medians = {name: posterior.knots(name)[:, MIDDLE] for name in true}
        split_by, split_at, place = _split(medians, weight)
        whitened = _whitened(posterior, names, true)
        samples: list[np.ndarray] = []
        rests: dict[str, list[np.ndarray]] = {name: [] for name in sums}
        terms: dict[str, list[np.ndarray]] = {name: [] for name in sums}
        for k in range(len(split_by) + 1):
            rows = np.flatnonzero(place == k)
            chosen = rows[_representative(whitened[rows], weight[rows], SAMPLES)]
            samples.append(whitened[chosen].T)
            for name, parts in sums.items():
                of_all, of_group = _sum(name, parts, true, weight, rows)
                terms[name].append(of_all)
                rests[name].append(of_group[np.searchsorted(rows, chosen)])
        found = {
            name: Complex(parts, np.array(terms[name]), np.array(rests[name]))
            for name, parts in sums.items()
        }
        return cls(split_by, np.array(split_at), Copula(names, np.array(samples), found))


def _split(
    medians: Mapping[str, np.ndarray], weight: np.ndarray
) -> tuple[tuple[str, ...], list[float], np.ndarray]:
    """The proxies and values of splits, breadth first, and the group of each source (N,)."""
    levels = int(np.log2(np.clip(effective_size(weight) / FEWEST_PER_GROUP, 1, 2**MOST_SPLITS)))
    for n in range(levels, 0, -1):
        by, at, place = _split_in(n, medians, weight)
        sizes = [effective_size(weight[place == k]) for k in range(2**n) if (place == k).any()]
        # Where many sources have the same median, groups may come out small or empty.
        if len(sizes) == 2**n and min(sizes) >= FEWEST_PER_GROUP / 2:
            return by, at, place
    return (), [], np.zeros(len(weight), dtype=np.intp)


def _split_in(
    levels: int, medians: Mapping[str, np.ndarray], weight: np.ndarray
) -> tuple[tuple[str, ...], list[float], np.ndarray]:
    names = tuple(medians)
    values = np.stack([medians[name] for name in names], axis=1)
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84], axis=0)
    # The spread of strong lines is a hundred times that of weak ones.
    values = np.arcsinh((values - middle) / np.maximum((high - low) / 2, LEAST_SPREAD))
    place = np.zeros(len(weight), dtype=np.intp)
    by: list[str] = []
    at: list[float] = []
    for k in range(2**levels - 1):
        rows = np.flatnonzero(place == k)
        which = int(np.argmax(values[rows].std(axis=0))) if len(rows) else 0
        own = medians[names[which]]
        by.append(names[which])
        at.append(_weighted_median(own[rows], weight[rows]) if len(rows) else 0.0)
        place[rows] = 2 * k + 1 + (own[rows] >= at[-1])
    return tuple(by), at, place - (2**levels - 1)


def _weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(reached, reached[-1] / 2)]])


def _whitened(
    posterior: ProxyPosterior, names: tuple[str, ...], true: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Normal scores of the true values, whitened by each source's correlations, (N, P)."""
    scores = np.stack([posterior.score(name, true[name]) for name in names], axis=1)
    factor, _ = posterior.factor(names, len(scores))
    return np.linalg.solve(factor, np.clip(scores, -FARTHEST, FARTHEST)[:, :, None])[:, :, 0]


def _representative(points: np.ndarray, weight: np.ndarray, n: int) -> np.ndarray:
    """Indices of `n` of N points (N, P) that stand for all, in proportion to their weights.

    The points are put in an order in which neighbours are alike, by halving them again and again,
    and taken from it at equal steps of the weight.
    """
    order = _by_halving(points, np.arange(len(points)))
    reached = np.cumsum(weight[order])
    steps = (np.arange(n) + 0.5) / n * reached[-1]
    return order[np.minimum(np.searchsorted(reached, steps), len(order) - 1)]


def _by_halving(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if len(rows) <= 2:
        return rows
    widest = np.argmax(points[rows].std(axis=0))
    order = rows[np.argsort(points[rows, widest], kind="stable")]
    half = len(order) // 2
    return np.concatenate([_by_halving(points, order[:half]), _by_halving(points, order[half:])])


def _sum(
    name: str,
    parts: tuple[str, ...],
    true: Mapping[str, np.ndarray],
    weight: np.ndarray,
    rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Constant and factors of a complex's parts by least squares, and the rests of the rows."""
    design = np.stack([np.ones(len(rows)), *(true[part][rows] for part in parts)], axis=1)
    # Strong lines scatter in proportion, and would rule the fit.
    root = np.sqrt(weight[rows]) / (SOFTENING + np.abs(true[name][rows]))
    terms = np.linalg.lstsq(design * root[:, None], true[name][rows] * root, rcond=None)[0]
    total = design @ terms
    return terms, (true[name][rows] - total) / (SOFTENING + np.abs(total))
