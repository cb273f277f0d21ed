"""Proxies: numbers measured on decoded spectra, and their posterior in a compact form.

`Proxies` holds every draw. `ProxyPosterior` is a summary small enough for a catalog and sufficient
for rules: each proxy's quantiles, and the correlations of their normal scores, which together with
the `Copula` of a calibration say how proxies go together. All probabilities of rules come from a
`ProxyPosterior`, whether newly made or read from a scored file, so that both give the same targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # whose `special` is imported when it is first used

from targetsel.documents.brief import brief
from targetsel.errors import CatalogError
from targetsel.spectra.copula import GROUP, Copula, independent_normals

if TYPE_CHECKING:
    import pyarrow as pa

# Quantiles are stored at equal steps of the standard normal, so that -1, 0 and 1 are the 16th,
# 50th and 84th percentiles, a Gaussian marginal is exactly a straight line between the knots,
# and the outermost slopes continue it as Gaussian tails.
NORMAL_SCORES = np.arange(-2.5, 2.51, 0.5)
MOST_UNMEASURED = 0.05
MIDDLE = len(NORMAL_SCORES) // 2
ROWS_OF_SAMPLES = 256  # sources whose samples of a copula are held at a time
INDEPENDENT = 1e-6  # shrinkage of every correlation, so that all matrices can be inverted

# Redshifts from elsewhere may have several peaks, and have quantiles ten times as close.
FINE_SCORES = np.linspace(NORMAL_SCORES[0], NORMAL_SCORES[-1], 101)

# Suffixes of the columns of a proxy's posterior, after its name.
QUANTILES = "_quantiles"
CORRELATION = "_correlation"
FINE = "_fine"  # the quantiles at `FINE_SCORES`, which take the place of the others in rules

# The normal scores between which a proxy lies; None where one side has no bound.
Sides = tuple[np.ndarray | None, np.ndarray | None]


def proxy_names(schema: pa.Schema) -> tuple[str, ...]:
    """Proxies whose posterior a scored file holds, in their order."""
    return tuple(
        field.name.removesuffix(QUANTILES)
        for field in schema
        if field.name.endswith(QUANTILES) and b"normal_scores" in (field.metadata or {})
    )


def correlated(schema: pa.Schema) -> dict[str, list[str]]:
    """The correlated proxies, in their order, of each proxy that has a column of correlations."""
    return {
        field.name.removesuffix(CORRELATION): field.metadata[b"with"].decode().split(",")
        for field in schema
        if field.name.endswith(CORRELATION) and b"with" in (field.metadata or {})
    }


@brief
@dataclass(frozen=True)
class Proxies:
    """Every draw of every proxy.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    names : tuple of P strings
    values : ndarray, shape (N, S, P)
        In the units of `spectra.lines.UNITS`; NaN where a proxy cannot be measured.
    """

    source_id: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray

    def __getitem__(self, name: str) -> np.ndarray:
        """All draws of one proxy, shape (N, S)."""
        return self.values[..., self.names.index(name)]


@brief
@dataclass(frozen=True)
class ProxyPosterior:
    """The joint distribution of K proxies for each of N sources.

    A proxy's marginal is the piecewise linear map from a standard normal through its quantiles.
    The normals of different proxies are correlated: by a Gaussian copula (Sklar 1959), or by the
    samples of a calibration's `Copula`.

    Attributes
    ----------
    names : tuple of K strings
    quantiles : mapping of name to ndarray, shape (N, L)
        Values at `NORMAL_SCORES`, or at L even scores from the first to the last of these; not
        decreasing along the last axis. NaN: no posterior.
    correlation : mapping of pair of names to ndarray, shape (N,)
        Correlations of the normal scores of two proxies; each pair is present once.
    copula : Copula or None
        None: Gaussian.
    group : function without arguments, or None
        The group of the copula that each source belongs to, shape (N,); negative where there is
        no posterior. It is called only for joint probabilities.
    """

    names: tuple[str, ...]
    quantiles: Mapping[str, np.ndarray]
    correlation: Mapping[tuple[str, str], np.ndarray]
    copula: Copula | None = None
    group: Callable[[], np.ndarray] | None = None

    @classmethod
    def joined(cls, parts: Sequence[ProxyPosterior]) -> ProxyPosterior:
        """The sources of several posteriors of the same proxies, all with a Gaussian copula."""
        first = parts[0]
        return cls(
            first.names,
            {
                name: np.concatenate([each.quantiles[name] for each in parts])
                for name in first.names
            },
            {
                pair: np.concatenate([each.correlation[pair] for each in parts])
                for pair in first.correlation
            },
        )

    def __len__(self) -> int:
        return len(self.quantiles[self.names[0]])

    @property
    def n_samples(self) -> int | None:
        """The number of the copula's samples; None if it is Gaussian."""
        return None if self.copula is None else self.copula.whitened.shape[2]

    def take(self, rows: np.ndarray | slice) -> ProxyPosterior:
        """The posterior of the sources with these indices or this mask, in that order."""
        return ProxyPosterior(
            self.names,
            {name: values[rows] for name, values in self.quantiles.items()},
            {pair: values[rows] for pair, values in self.correlation.items()},
            self.copula,
            None if self.group is None else partial(_taken, self.group, rows),
        )

    def beside(self, name: str, quantiles: np.ndarray) -> ProxyPosterior:
        """The same with one more quantity of these quantiles (N, L), whose correlations are not
        known."""
        return replace(
            self, names=(*self.names, name), quantiles={**self.quantiles, name: quantiles}
        )

    def knots(self, name: str) -> np.ndarray:
        """The quantiles of one proxy, shape (N, L)."""
        return self.quantiles[name]

    def quantile(self, name: str, probability: float) -> np.ndarray:
        """The quantile of one proxy at `probability` (0 to 1), shape (N,)."""
        return self.value(
            name, np.full((len(self.knots(name)), 1), scipy.special.ndtri(probability))
        )[:, 0]

    def std(self, name: str) -> np.ndarray:
        """Standard deviation of one proxy, shape (N,)."""
        knots = np.asarray(self.knots(name), dtype=np.float64)
        length = knots.shape[1]
        rest = knots - knots[:, length // 2, None]  # so that no digits are lost
        # Term by term: a matrix product would round differently beside other rows.
        variance = (rest[:, :, None] * rest[:, None] * _moments(length)).sum(axis=(1, 2))
        return np.sqrt(np.maximum(variance, 0.0))

    def score(self, name: str, threshold: np.ndarray | float) -> np.ndarray:
        """The normal score at which a proxy reaches `threshold`, shape (N,).

        Infinite where the proxy is certain to lie below or above; NaN where there is no posterior.
        """
        knots = self.knots(name)
        threshold = np.broadcast_to(np.asarray(threshold, dtype=np.float64), (len(knots),))
        return invert(threshold[:, None], knots)[:, 0]

    def _scores(self, name: str, values: np.ndarray) -> np.ndarray:
        """The normal scores at which a proxy has these values, both of shape (N, S)."""
        return invert(values, self.knots(name))

    def value(self, name: str, scores: np.ndarray) -> np.ndarray:
        """The values of a proxy at normal scores, both of shape (N, S)."""
        return interpolate(scores, self.knots(name))

    def probability_below(self, name: str, threshold: np.ndarray | float) -> np.ndarray:
        """P(proxy < threshold) for each source, shape (N,); NaN where there is no posterior."""
        return scipy.special.ndtr(self.score(name, threshold))

    def probability_inside(self, box: Mapping[str, Sides]) -> np.ndarray:
        """Probability that one proxy, or each of two, lies between its two normal scores, (N,)."""
        if len(box) == 1:
            ((low, high),) = box.values()
            inside = sum(sign * scipy.special.ndtr(score) for sign, score, _ in _corners(low, high))
            return np.maximum(inside, 0.0)
        if self._copula() is not None:
            return self._share_inside(box)
        (one, two), (first, second) = box, box.values()
        rho = self._between(one, two)
        inside = np.zeros(len(rho))
        for sign, score, turn in _corners(*first):
            for other_sign, other, other_turn in _corners(*second):
                inside += (
                    sign * other_sign * bivariate_normal(score, other, turn * other_turn * rho)
                )
        return np.clip(inside, 0.0, 1.0)

    def _share_inside(self, box: Mapping[str, Sides]) -> np.ndarray:
        """The share of the copula's samples inside a box, shape (N,); NaN without a posterior."""
        n = len(self.knots(next(iter(box))))
        share = np.empty(n)
        for start in range(0, n, ROWS_OF_SAMPLES):
            rows = slice(start, start + ROWS_OF_SAMPLES)
            scores = self.take(rows).draw_scores(tuple(box))
            inside = np.ones(next(iter(scores.values())).shape, dtype=bool)
            for name, (low, high) in box.items():
                inside &= True if low is None else scores[name] > low[rows, None]
                inside &= True if high is None else scores[name] < high[rows, None]
            unknown = np.isnan(scores[name]).any(axis=1)
            for side in (side for sides in box.values() for side in sides if side is not None):
                unknown |= np.isnan(side[rows])
            share[rows] = np.where(unknown, np.nan, inside.mean(axis=1))
        return share

    def draw(self, names: tuple[str, ...], n_draws: int = 1024) -> dict[str, np.ndarray]:
        """Draws of some proxies from their joint distribution, each of shape (N, S).

        The same quasi-random normals, or samples of the copula, are used for every source of a
        group, so that the result depends on the posterior alone: not on the row's position, other
        rows or a seed.
        """
        scores = self.draw_scores(names, n_draws)
        return {name: self.value(name, scores[name]) for name in names}

    def draw_scores(self, names: tuple[str, ...], n_draws: int = 1024) -> dict[str, np.ndarray]:
        """The normal scores of the draws of `draw`, each of shape (N, S).

        NaN for sources whose correlations are missing or not those of any distribution. S is
        `n_draws`, or for several proxies the number of the copula's samples.
        """
        copula = self._copula() if len(names) > 1 else None
        drawn = names if copula is None else copula.needed(names)
        factor, usable = self.factor(drawn, len(self.knots(names[0])))
        if copula is None:
            scores = {}
            for i, name in enumerate(names):
                # Term by term: a matrix product would round differently beside other rows.
                scores[name] = np.zeros((len(factor), n_draws))
                for j, normals in enumerate(independent_normals(len(names), n_draws)[: i + 1]):
                    scores[name] += factor[:, i, j, None] * normals
        else:
            assert self.group is not None
            group = np.asarray(self.group(), dtype=np.intp)
            usable = usable & (group >= 0) & (group < len(copula.whitened))
            known = np.where(usable, group, 0)
            scores = copula.scores(names, factor, known, self.value, self._scores)
        for values in scores.values():
            values[~usable] = np.nan
        return {name: scores[name] for name in names}

    def _copula(self) -> Copula | None:
        """The copula; None if it is Gaussian.

        Raises
        ------
        CatalogError
            If the sources have groups of a copula that is lost.
        """
        if self.copula is None and self.group is not None and (self.group() >= 0).any():
            raise CatalogError(
                f"column '{GROUP}': has lost what score noted there of how proxies go together, "
                "which their joint probability needs, when another program wrote the file. "
                "Restore it from the original with 'targetsel restore', or score the catalog again."
            )
        return self.copula

    def factor(self, names: tuple[str, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
        """Cholesky factors of the correlations (N, K, K), and whether each is one, (N,)."""
        matrix = np.empty((n, len(names), len(names)))
        for i, name in enumerate(names):
            matrix[:, i, i] = 1.0
            for j, other in enumerate(names[:i]):
                matrix[:, i, j] = matrix[:, j, i] = self._between(name, other)
        usable = np.asarray(np.isfinite(matrix).all(axis=(1, 2)))
        matrix[~usable] = np.eye(len(names))
        try:
            factor = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:  # some are no matrices of correlations
            right = np.linalg.eigvalsh(matrix)[:, 0] > 0
            matrix[~right] = np.eye(len(names))
            usable &= right
            factor = np.linalg.cholesky(matrix)
        return factor, usable

    def _between(self, one: str, two: str) -> np.ndarray:
        """Correlation of two different proxies, slightly shrunk from the stored one, shape (N,)."""
        pair = (one, two) if (one, two) in self.correlation else (two, one)
        if pair not in self.correlation:
            raise CatalogError(
                f"the correlation of '{one}' and '{two}' is missing, which their joint probability "
                "needs. Restore the file from its original with 'targetsel restore', or score "
                "the catalog again."
            )
        stored = self.correlation[pair]
        return np.asarray(stored, dtype=np.float64) * (1 - INDEPENDENT)


def _taken(values: Callable[[], np.ndarray], rows: np.ndarray | slice) -> np.ndarray:
    return values()[rows]


@cache
def _moments(length: int) -> np.ndarray:
    """Matrix whose product with quantiles, from both sides, is the variance, shape (L, L).

    Of the piecewise linear map of a standard normal through them: the covariances of the hat
    functions of its knots.
    """
    normals = scipy.special.ndtri((np.arange(2**14) + 0.5) / 2**14)
    hats = np.stack([_hat(normals, knot) for knot in np.eye(length)])
    return np.cov(hats, bias=True)


def _hat(scores: np.ndarray, knots: np.ndarray) -> np.ndarray:
    return np.asarray(interpolate(scores[None], knots[None])[0])


def bivariate_normal(x: np.ndarray, y: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """P(X < x and Y < y) of two correlated standard normals, shape (N,).

    Owen (1956, Ann. Math. Stat. 27, 1075), eq. 2.1; |correlation| < 1.
    """
    # Owen's function takes the ratio of both, so zero and infinity are replaced by extreme numbers.
    x, y = (np.where(np.abs(z) < 1e-150, 1e-150, np.clip(z, -40.0, 40.0)) for z in (x, y))
    rest = np.sqrt((1 - correlation) * (1 + correlation))
    tails = scipy.special.owens_t(x, (y / x - correlation) / rest) + scipy.special.owens_t(
        y, (x / y - correlation) / rest
    )
    below = (scipy.special.ndtr(x) + scipy.special.ndtr(y)) / 2 - tails
    return np.where((x < 0) != (y < 0), below - 0.5, below)


def _corners(low: np.ndarray | None, high: np.ndarray | None) -> list[tuple[int, np.ndarray, int]]:
    """An interval as a sum of half-lines: sign, limit, and -1 where the direction is reversed."""
    if low is None:
        assert high is not None
        return [(1, high, 1)]
    if high is None:
        return [(1, -low, -1)]
    return [(1, np.maximum(low, high), 1), (-1, low, 1)]


def interpolate(scores: Any, knots: Any) -> Any:
    """Values at normal `scores` (N, S), from each source's `knots` (N, L): arrays or tensors."""
    xp = module_of(scores)
    length = knots.shape[1]
    knots = xp.asarray(knots, dtype=scores.dtype)
    step = _step(length)
    position = (scores - NORMAL_SCORES[0]) / step
    with np.errstate(invalid="ignore"):  # where correlations are missing, scores are NaN
        # Below the first knot it is also cell 0.
        cell = xp.asarray(xp.clip(xp.nan_to_num(position), 0, length - 2), dtype=xp.int64)
    position = position - cell
    cell = cell + _first_of_rows(knots)
    low = xp.take(knots, cell)
    return low + position * (xp.take(knots, cell + 1) - low)


def invert(values: Any, knots: Any) -> Any:
    """The normal scores at which each source's marginal reaches its values, (N, S).

    Parameters
    ----------
    values : ndarray or Tensor, shape (N, S)
    knots : ndarray or Tensor, shape (N, L)
    """
    xp = module_of(values)
    knots = xp.asarray(knots, dtype=values.dtype)
    step = _step(knots.shape[1])
    cell = _cells(values, knots)
    level = NORMAL_SCORES[0] + step * cell
    cell += _first_of_rows(knots)
    low = xp.take(knots, cell)
    width = xp.take(knots, cell + 1) - low
    rest = values - low
    with np.errstate(divide="ignore", invalid="ignore"):
        score = level + step * (rest / width)
    # A flat piece is a step of the distribution: everything at or above it lies below.
    flat = xp.where(rest >= 0, np.inf, -np.inf)
    score = xp.where(width > 0, score, flat)
    return xp.where(xp.isnan(width + rest), np.nan, score)


def _step(length: int) -> float:
    """The distance of the scores of so many quantiles."""
    return float(NORMAL_SCORES[-1] - NORMAL_SCORES[0]) / (length - 1)


def at_score(knots: np.ndarray, place: int) -> np.ndarray:
    """The quantiles of knots (N, L) at a place in `NORMAL_SCORES`, shape (N,)."""
    return np.asarray(knots[:, place * ((knots.shape[1] - 1) // (len(NORMAL_SCORES) - 1))])


def _cells(values: Any, knots: Any) -> Any:
    """The piece of each source's marginal that its values belong to, 0 to L - 2, (N, S)."""
    inner = knots[:, 1:-1]
    if not isinstance(values, np.ndarray):
        return module_of(values).searchsorted(inner.contiguous(), values, right=True)
    cell = np.zeros(values.shape, dtype=np.intp)
    for knot in inner.T:
        cell += knot[:, None] <= values
    return cell


def _first_of_rows(knots: Any) -> Any:
    """Place of the first knot of each source among all of them, shape (N, 1)."""
    n, length = knots.shape
    if isinstance(knots, np.ndarray):
        return np.arange(n)[:, None] * length
    return module_of(knots).arange(n, device=knots.device)[:, None] * length


def module_of(values: Any) -> Any:
    """NumPy or torch, whichever the values are an array of; both name these functions alike."""
    if isinstance(values, np.ndarray | np.generic):
        return np
    import torch

    return torch
