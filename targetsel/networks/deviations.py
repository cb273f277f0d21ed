"""Deviations of true latents from a network's prediction: a Gaussian mixture in whitened units.

Whitened by the Gaussian that a network predicts, the deviations of true latents would be standard
normal if it were right. Over many sources they are skewed, have heavy tails, and have other
correlations than predicted. A mixture of a few Gaussians describes all of that at once, with shares
that follow the predicted mean: a mixture of experts (Jacobs et al. 1991, Neural Computation 3, 79)
fitted by expectation and maximisation (Jordan & Jacobs 1994, Neural Computation 6, 181).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp

N_PARTS = 3  # with four or five, other sources were covered no better
STARTS = (0.6, 1.0, 1.6)  # initial scale of each component
N_STEPS = 50
N_GATE_STEPS = 5  # steps of the shares' regression within each step of expectation and maximisation
PRIOR = 30.0  # standard normal deviations added, in number of sources: no component can collapse


@dataclass(frozen=True, eq=False)
class Deviations:
    """A mixture of J Gaussians over D whitened deviations.

    Attributes
    ----------
    offset : ndarray, shape (J, D)
        Means of the components.
    factor : ndarray, shape (J, D, D)
        Lower Cholesky factors of the components' covariances.
    gate : ndarray, shape (1 + G, J)
        Logarithm of each component's share, up to a constant: a level, and slopes with the first
        G of the predicted means. These are the latents: a redshift behind them has none, so that
        the latents alone are such a mixture too.
    """

    offset: np.ndarray
    factor: np.ndarray
    gate: np.ndarray

    @classmethod
    def standard(cls, n_latents: int) -> Deviations:
        """A single standard normal: the deviations expected if the network is right."""
        return cls(np.zeros((1, n_latents)), np.eye(n_latents)[None], np.zeros((1 + n_latents, 1)))

    @property
    def n_parts(self) -> int:
        return len(self.offset)

    def log_share(self, mean: np.ndarray) -> np.ndarray:
        """Logarithm of the components' shares for these predicted means, (N, D) to (N, J)."""
        mean = mean[:, : len(self.gate) - 1]
        return log_softmax(self.gate[0] + np.einsum("nd,dj->nj", mean, self.gate[1:]), axis=1)

    def first(self, n: int) -> Deviations:
        """Those of the first `n` predicted quantities, at least as many as the shares depend on."""
        return Deviations(self.offset[:, :n], self.factor[:, :n, :n], self.gate[: 1 + n])

    def extended(self, n: int) -> Deviations:
        """Those of `n` quantities, the last of which deviate as standard normals of their own."""
        j, d = self.offset.shape
        if d == n:
            return self
        factor = np.tile(np.eye(n), (j, 1, 1))
        factor[:, :d, :d] = self.factor
        return Deviations(np.pad(self.offset, ((0, 0), (0, n - d))), factor, self.gate)

    def log_densities(self, whitened: np.ndarray) -> np.ndarray:
        """Log density of each component at deviations (..., D), shape (..., J)."""
        parts = []
        for offset, factor in zip(self.offset, self.factor, strict=True):
            rest = (whitened - offset) @ np.linalg.inv(factor).T
            size = np.log(np.sqrt(2 * np.pi) * np.diagonal(factor)).sum()
            parts.append(-0.5 * (rest**2).sum(axis=-1) - size)
        return np.stack(parts, axis=-1)

    @classmethod
    def fit(
        cls, whitened: np.ndarray, log_size: np.ndarray, mean: np.ndarray, weight: np.ndarray
    ) -> Deviations:
        """Maximum-likelihood deviations of N sources' true latents.

        Parameters
        ----------
        whitened : ndarray, shape (N, M, D)
            Deviations from each member's mean, whitened by its covariance.
        log_size : ndarray, shape (N, M)
            Logarithm of the volume of those units.
        mean : ndarray, shape (N, G)
            Predicted mean of the first G, on which the shares depend.
        weight : ndarray, shape (N,)
            Number of sources that each one stands for.
        """
        d = whitened.shape[2]
        found = cls(
            np.zeros((N_PARTS, d)),
            np.stack([scale * np.eye(d) for scale in STARTS]),
            np.zeros((1 + mean.shape[1], N_PARTS)),
        )
        for _ in range(N_STEPS):
            found = found._step(whitened, log_size, mean, weight)
        return found

    def _step(
        self, whitened: np.ndarray, log_size: np.ndarray, mean: np.ndarray, weight: np.ndarray
    ) -> Deviations:
        """One step of expectation and maximisation."""
        logs = self.log_densities(whitened) - log_size[..., None] + self.log_share(mean)[:, None]
        belongs = np.exp(logs - logsumexp(logs, axis=(1, 2), keepdims=True))
        belongs *= weight[:, None, None]
        flat, d = whitened.reshape(-1, whitened.shape[2]), whitened.shape[2]
        offset, factor = np.empty_like(self.offset), np.empty_like(self.factor)
        for j, each in enumerate(belongs.reshape(-1, self.n_parts).T):
            size = each.sum() + PRIOR
            offset[j] = each @ flat / size
            rest = flat - offset[j]
            scatter = (rest * each[:, None]).T @ rest + PRIOR * np.eye(d)
            factor[j] = np.linalg.cholesky(scatter / size)
        return Deviations(offset, factor, _gate(self.gate, belongs.sum(axis=1), mean))

    # ------------------------------------------------------------------ reading, writing

    def to_card(self) -> dict[str, Any]:
        return {name: values.tolist() for name, values in vars(self).items()}

    @classmethod
    def from_card(cls, card: Mapping[str, Any], n_latents: int) -> Deviations:
        """Deviations stored in a card.

        Raises
        ------
        ValueError, KeyError
            If an entry is missing, or they are not deviations of `n_latents` latents.
        """
        names = ("offset", "factor", "gate")
        offset, factor, gate = (np.asarray(card[name], dtype=np.float64) for name in names)
        j, d = len(np.atleast_1d(offset)), n_latents
        shapes = offset.shape, factor.shape
        if shapes != ((j, d), (j, d, d)) or gate.shape not in ((1 + d, j), (d, j)):
            raise ValueError(f"the deviations are none of {n_latents} latents")
        diagonal = np.diagonal(factor, axis1=1, axis2=2)
        if not np.isfinite(np.concatenate([each.ravel() for each in (offset, factor, gate)])).all():
            raise ValueError("the deviations have a value that is no number")
        if not (diagonal > 0).all() or np.triu(factor, 1).any():
            raise ValueError("a factor of the deviations' covariances is none")
        return cls(offset, factor, gate)


def _gate(start: np.ndarray, belongs: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """A few steps towards the multinomial logistic regression of shares (N, J) on the mean."""
    terms = np.column_stack([np.ones(len(mean)), mean])
    each, total = belongs.sum(axis=1), belongs.sum()

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        gate = flat.reshape(start.shape)
        log_share = log_softmax(terms @ gate, axis=1)
        gradient = terms.T @ (each[:, None] * np.exp(log_share) - belongs) + PRIOR * gate
        value = -(belongs * log_share).sum() + 0.5 * PRIOR * (gate**2).sum()
        return float(value / total), gradient.ravel() / total

    options = {"maxiter": N_GATE_STEPS}
    from scipy.optimize import minimize  # only where networks are fitted

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options).x
    return np.asarray(found).reshape(start.shape)
