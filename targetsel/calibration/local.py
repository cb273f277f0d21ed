"""Local calibration: normal scores corrected by all that is predicted of a source.

After the maps of single proxies, intervals hold what they claim by one predicted value and by
brightness, but not for all combinations of them. What remains is a shift and a scale of each
proxy's normal scores, as second-order polynomials of the medians and widths of all proxies and of
magnitude. Their coefficients are shrunk towards no correction, and the corrected scores are made
conformal by their quantiles over sources of groups that took no part in the fit: conformal
prediction with scores normalised locally (Papadopoulos et al. 2008; Lei et al. 2018,
arXiv:1604.04173, section 5.2).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic.dataclasses import dataclass
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from targetsel.calibration.conformal import ARRAYS, SMALLEST_STEP, RoundedArray
from targetsel.calibration.proxies import quantiles_of, read_at, scores_of
from targetsel.spectra.proxies import MIDDLE, NORMAL_SCORES
from targetsel.statistics.resampling import effective_size
from targetsel.tables.ids import uniform

N_FOLDS = 3  # of groups: each is corrected by a fit to the others for the quantiles
SHRINKAGE = 1000.0  # sources without any need for correction, added for every coefficient
FREEDOM = 6.0  # degrees of freedom of the t distribution whose likelihood is greatest
FARTHEST = 3.0  # feature, compressed; ten robust standard deviations from the middle
LEAST_SPREAD = 1e-3  # of a feature that is the same for all
LARGEST = 1.5  # logarithm of a scale
LOW, HIGH = (int(np.searchsorted(NORMAL_SCORES, score)) for score in (-1.5, 1.5))


@dataclass(frozen=True, eq=False, config=ARRAYS)
class LocalScores:
    """Local corrections of the normal scores of proxies.

    Attributes
    ----------
    names : sequence of str
        The P proxies whose medians and widths, with the magnitude, are the F = 2 P + 1 features.
    centre, spread : ndarray, shape (F,)
        Median and half the central 68 % of each feature.
    shift, log_scale : dict of ndarray, shape (1 + F (F + 3) / 2,)
        Coefficients of each corrected proxy.
    quantiles : dict of ndarray, shape (L,)
        Corrected scores at `NORMAL_SCORES`.

    Raises
    ------
    ValueError
        If they do not fit together.
    """

    names: Sequence[str]
    centre: RoundedArray
    spread: RoundedArray
    shift: dict[str, RoundedArray]
    log_scale: dict[str, RoundedArray]
    quantiles: dict[str, RoundedArray]

    def __post_init__(self) -> None:
        n = 2 * len(self.names) + 1
        if {self.centre.shape, self.spread.shape} != {(n,)} or (self.spread <= 0).any():
            raise ValueError("the features of the local calibration do not fit its proxies")
        for part, length in (
            (self.shift, 1 + n * (n + 3) // 2),
            (self.log_scale, 1 + n * (n + 3) // 2),
            (self.quantiles, len(NORMAL_SCORES)),
        ):
            wrong = any(each.shape != (length,) for each in part.values())
            if wrong or part.keys() != self.shift.keys():
                raise ValueError("the coefficients of the local calibration do not fit together")

    @classmethod
    def fit(
        cls,
        knots: Mapping[str, np.ndarray],
        true: Mapping[str, np.ndarray],
        magnitude: np.ndarray,
        group: np.ndarray,
        weight: np.ndarray,
    ) -> LocalScores:
        """Corrections fitted to N sources; that of a proxy, to those whose true value is known.

        Parameters
        ----------
        knots : mapping of name to ndarray, shape (N, L)
            Predicted quantiles at `NORMAL_SCORES` of all P proxies, after their maps.
        true : mapping of name to ndarray, shape (N,)
            True values of the proxies to correct.
        magnitude, group, weight : ndarray, shape (N,)
        """
        values = _features(knots, magnitude)
        low, centre, high = np.nanquantile(values, [0.16, 0.5, 0.84], axis=0)
        spread = np.maximum((high - low) / 2, LEAST_SPREAD)
        terms = _terms(values, centre, spread)
        fold = (uniform(group, 0, "local calibration")[:, 0] * N_FOLDS).astype(int)
        counts = weight * effective_size(weight) / weight.sum()
        shift, log_scale, quantiles = {}, {}, {}
        for name, value in true.items():
            rows = np.flatnonzero(np.isfinite(value + knots[name].sum(axis=1)))
            score = scores_of(value[rows], knots[name][rows])
            about = terms[rows], counts[rows]
            shift[name], log_scale[name] = _fitted(score, *about)
            rest = _out_of_fold(score, *about, fold[rows])
            quantiles[name] = np.array(quantiles_of(rest, weight[rows]))
        return cls(tuple(knots), centre, spread, shift, log_scale, quantiles)

    def maps(self, knots: Mapping[str, np.ndarray], magnitude: np.ndarray) -> dict[str, LocalMap]:
        """The map of each corrected proxy, for N sources of these predicted quantiles (N, L)."""
        values = _features({name: knots[name] for name in self.names}, magnitude)
        terms = _terms(values, self.centre, self.spread)

        def polynomial(coefficients: np.ndarray) -> np.ndarray:
            # A matrix product would round differently beside other rows.
            return (terms * coefficients).sum(axis=1)

        return {
            name: LocalMap(
                polynomial(shift), _scale(polynomial(self.log_scale[name])), self.quantiles[name]
            )
            for name, shift in self.shift.items()
        }


@dataclasses.dataclass(frozen=True, eq=False)
class LocalMap:
    """Map of normal scores of one proxy, as `ScoreMap`, of N sources that it was made for.

    Attributes
    ----------
    shift, scale : ndarray, shape (N,)
    quantiles : ndarray, shape (L,)
    """

    shift: np.ndarray
    scale: np.ndarray
    quantiles: np.ndarray

    def __call__(self, scores: np.ndarray, median: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
        """Scores at which to read the distributions, given scores (N, S)."""
        even = read_at(scores, np.broadcast_to(self.quantiles, (len(scores), len(self.quantiles))))
        return self.shift[:, None] + self.scale[:, None] * even


def _features(knots: Mapping[str, np.ndarray], magnitude: np.ndarray) -> np.ndarray:
    """Medians and logarithms of widths, proxy by proxy, and the magnitude, shape (N, F)."""
    columns = []
    for each in knots.values():
        width = each[:, HIGH] - each[:, LOW]
        columns += [each[:, MIDDLE], np.log(np.maximum(width, SMALLEST_STEP))]
    return np.column_stack([*columns, magnitude])


def _terms(values: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Terms of a second-order polynomial of the features, shape (N, 1 + F (F + 3) / 2).

    A feature that is not known is taken for its middle; strong lines are compressed.
    """
    unit = np.clip(np.arcsinh((values - centre) / spread), -FARTHEST, FARTHEST)
    unit = np.where(np.isfinite(unit), unit, 0.0)
    one, other = np.triu_indices(unit.shape[1])
    products = unit[:, one] * unit[:, other] - (one == other)
    return np.column_stack([np.ones(len(unit)), unit, products])


def _scale(logarithm: np.ndarray) -> np.ndarray:
    return np.exp(np.clip(logarithm, -LARGEST, LARGEST))


def _fitted(
    scores: np.ndarray, terms: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of shift and log scale for which t-distributed scores are the most likely.

    They are found in coordinates in which the information is about the same in all directions.
    """
    n = terms.shape[1]
    penalty = np.full(n, SHRINKAGE)
    penalty[0] = 1e-3  # the mean itself is free
    root = np.linalg.cholesky((terms * counts[:, None]).T @ terms + np.diag(penalty))
    even = solve_triangular(root, terms.T, lower=True).T

    def loss(both: np.ndarray) -> tuple[float, np.ndarray]:
        shift, log_scale = even @ both[:n], even @ both[n:]
        inverse = np.exp(-np.clip(log_scale, -LARGEST, LARGEST))
        rest = (scores - shift) * inverse
        slope = counts * (FREEDOM + 1) * rest / (FREEDOM + rest**2)
        fit = counts @ (log_scale + (FREEDOM + 1) / 2 * np.log1p(rest**2 / FREEDOM))
        gradient = [-even.T @ (slope * inverse), even.T @ (counts - slope * rest)]
        for k, each in enumerate((both[:n], both[n:])):
            plain = solve_triangular(root, each, lower=True, trans="T")
            fit += plain @ (penalty * plain) / 2
            gradient[k] += solve_triangular(root, penalty * plain, lower=True)
        return float(fit), np.concatenate(gradient)

    found = minimize(loss, np.zeros(2 * n), jac=True, method="L-BFGS-B").x
    shift, log_scale = (
        solve_triangular(root, each, lower=True, trans="T") for each in (found[:n], found[n:])
    )
    return shift, log_scale


def _out_of_fold(
    scores: np.ndarray, terms: np.ndarray, counts: np.ndarray, fold: np.ndarray
) -> np.ndarray:
    """Scores, each corrected by a fit to sources of other folds."""
    found = np.empty(len(scores))
    for each in np.unique(fold):
        ours, others = fold == each, fold != each
        if not others.any():
            others = ours
        shift, log_scale = _fitted(scores[others], terms[others], counts[others])
        found[ours] = (scores[ours] - terms[ours] @ shift) / _scale(terms[ours] @ log_scale)
    return found
