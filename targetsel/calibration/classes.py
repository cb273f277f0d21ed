"""Calibration of the probabilities of classes that exclude one another.

Classes by line ratios depend on the correlated errors of several lines, which maps of single lines
do not correct. Their shares among the draws are therefore corrected once more, by a
multinomial logistic regression on powers of their logarithms (Platt 1999; Guo et al. 2017,
arXiv:1706.04599): with the first power alone, high probabilities of rare classes came out too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

FLOOR = 0.005  # added to a share of draws: a class without a draw is not impossible
DEGREE = 3  # highest power of a log share
FEWEST_MEMBERS = 30  # sources of a class; with fewer its probability is not fitted


@dataclass(frozen=True)
class ClassMap:
    """Map from shares of draws to probabilities of K classes.

    Attributes
    ----------
    names : tuple of str
    coefficients : ndarray, shape (4, K)
        Coefficients of the powers of each class's log share, from the zeroth to the third.
    """

    names: tuple[str, ...]
    coefficients: np.ndarray

    @classmethod
    def fit(
        cls, shares: Mapping[str, np.ndarray], true: Mapping[str, np.ndarray], weight: np.ndarray
    ) -> ClassMap | None:
        """Maximum-likelihood map of N sources with known classes.

        Parameters
        ----------
        shares, true : mapping of class to ndarray, shape (N,)
            Predicted shares; and 1 for a source's true class, else 0. Sources with NaN are left
            out.
        weight : ndarray, shape (N,)
            Number of sources that each one stands for.

        Returns
        -------
        ClassMap or None
            None where some class has too few members.
        """
        names = tuple(shares)
        predicted, member = (np.stack([each[n] for n in names], 1) for each in (shares, true))
        good = np.isfinite(predicted + member).all(axis=1)
        if (member[good].sum(axis=0) < FEWEST_MEMBERS).any():
            return None
        powers, member = _powers(predicted[good]), member[good]
        weight = weight[good] / weight[good].sum()

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            log_probability = _log_probability(powers, flat.reshape(-1, len(names)))
            excess = weight[:, None] * (np.exp(log_probability) - member)
            gradient = np.einsum("nk,qnk->qk", excess, powers)
            return -float(weight @ (member * log_probability).sum(axis=1)), gradient.ravel()

        start = np.zeros((DEGREE + 1, len(names)))
        start[1] = 1.0
        found = minimize(loss, start.ravel(), jac=True).x.reshape(start.shape)
        found[0] -= found[0].mean()
        return cls(names, found)

    def __call__(self, shares: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Probabilities that add to one; NaN where shares are."""
        powers = _powers(np.stack([shares[name] for name in self.names], axis=1))
        found = np.exp(_log_probability(powers, self.coefficients))
        return dict(zip(self.names, found.T, strict=True))

    # ------------------------------------------------------------------ reading, writing

    def to_card(self) -> dict[str, Any]:
        return dict(zip(self.names, self.coefficients.T.tolist(), strict=True))

    @classmethod
    def from_card(cls, card: dict[str, Any], names: tuple[str, ...]) -> ClassMap:
        """The map stored in a card, for classes of these names.

        Raises
        ------
        ValueError
            If the classes are others, or the coefficients invalid.
        """
        if set(card) != set(names):
            raise ValueError(f"classes are {', '.join(card)}, expected {', '.join(names)}")
        coefficients = np.array([card[name] for name in names], dtype=np.float64).T
        if len(coefficients) != DEGREE + 1 or not np.isfinite(coefficients).all():
            raise ValueError(f"a class has no {DEGREE + 1} coefficients")
        return cls(names, coefficients)


def _powers(shares: np.ndarray) -> np.ndarray:
    """Powers of the logarithms of shares (N, K), shape (4, N, K)."""
    return np.log(shares + FLOOR) ** np.arange(DEGREE + 1)[:, None, None]


def _log_probability(powers: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Log probability of each class, shape (N, K)."""
    return log_softmax((powers * coefficients[:, None]).sum(axis=0), axis=1)
