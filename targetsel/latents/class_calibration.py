"""Calibration of the probabilities of classes that exclude one another.

Classes by ratios of lines depend on how errors of several lines go together, of which a map of each
line by itself knows nothing. Their shares among the draws are therefore moved once more, by a
multinomial logistic regression on their logarithms (Platt 1999; Guo et al. 2017, arXiv:1706.04599).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

FLOOR = 0.005  # added to a share among the draws: none of them is not never
FEWEST_MEMBERS = 30  # of a class; fewer say nothing of its probability


@dataclass(frozen=True)
class ClassMap:
    """Probabilities of K classes, from their shares among the draws.

    Attributes
    ----------
    names : tuple of str
    slope : float
        Of the log share.
    offsets : ndarray, shape (K,)
    """

    names: tuple[str, ...]
    slope: float
    offsets: np.ndarray

    @classmethod
    def fit(
        cls, shares: Mapping[str, np.ndarray], true: Mapping[str, np.ndarray], weight: np.ndarray
    ) -> ClassMap | None:
        """The map under which N sources' true classes are likeliest.

        Parameters
        ----------
        shares, true : mapping of class to ndarray, shape (N,)
            Predicted, and 1 for the class that a source is of, else 0. Sources with NaN are left
            out.
        weight : ndarray, shape (N,)

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
        logs, member = np.log(predicted[good] + FLOOR), member[good]
        weight = weight[good] / weight[good].sum()

        def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            slope, offsets = parameters[0], parameters[1:]
            log_probability = log_softmax(slope * logs + offsets, axis=1)
            excess = weight[:, None] * (np.exp(log_probability) - member)
            gradient = np.concatenate([[(excess * logs).sum()], excess.sum(axis=0)])
            return -float(weight @ (member * log_probability).sum(axis=1)), gradient

        found = minimize(loss, np.concatenate([[1.0], np.zeros(len(names))]), jac=True).x
        return cls(names, float(found[0]), found[1:] - found[1:].mean())

    def __call__(self, shares: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Probabilities that add to one; NaN where shares are."""
        logs = np.log(np.stack([shares[name] for name in self.names], axis=1) + FLOOR)
        found = np.exp(log_softmax(self.slope * logs + self.offsets, axis=1))
        return dict(zip(self.names, found.T, strict=True))

    # ------------------------------------------------------------------ reading, writing

    def to_card(self) -> dict[str, Any]:
        offsets = dict(zip(self.names, self.offsets.tolist(), strict=True))
        return {"slope": self.slope, "offsets": offsets}

    @classmethod
    def from_card(cls, card: dict[str, Any], names: tuple[str, ...]) -> ClassMap:
        offsets = card["offsets"]
        if set(offsets) != set(names):
            raise ValueError(f"classes are {', '.join(offsets)}, expected {', '.join(names)}")
        numbers = np.array([card["slope"], *(offsets[name] for name in names)], dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError("a class's offset is no number")
        return cls(names, float(numbers[0]), numbers[1:])
