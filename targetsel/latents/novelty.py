"""Novelty: how unlike its training sources a source looks to the members."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_LEVELS = 201


@dataclass(frozen=True)
class NoveltyReference:
    """What the training sources look like in each member's feature space.

    Attributes
    ----------
    mean : ndarray, shape (M, F)
        Mean feature vector.
    whitening : ndarray, shape (M, F, F)
        Takes a centred feature vector (as a row, from the left) to unit covariance.
    distances : ndarray, shape (201,)
        Evenly spaced quantiles of the distance of held-out training sources, rising.
    """

    mean: np.ndarray
    whitening: np.ndarray
    distances: np.ndarray

    @classmethod
    def fit(cls, training: np.ndarray, held_out: np.ndarray) -> NoveltyReference:
        """The reference that features (M, N, F) of training and of held-out sources give."""
        mean = training.mean(axis=1)
        whitening = []
        for features, centre in zip(training, mean, strict=True):
            cov = np.cov((features - centre).T)
            ridge = 1e-3 * np.trace(cov) / len(cov) * np.eye(len(cov))
            whitening.append(np.linalg.inv(np.linalg.cholesky(cov + ridge)).T)
        reference = cls(mean, np.array(whitening), np.zeros(N_LEVELS))
        distances = np.quantile(reference.distance(held_out), np.linspace(0, 1, N_LEVELS))
        return cls(mean, np.array(whitening), distances)

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Root mean square over members of the Mahalanobis distance per feature, shape (N,).

        Lee et al. (2018, arXiv:1807.03888), eq. 2, with one class.
        """
        squares = [
            (((row - mean) @ white) ** 2).mean(axis=1)
            for row, mean, white in zip(features, self.mean, self.whitening, strict=True)
        ]
        return np.sqrt(np.mean(squares, axis=0))

    def novelty(self, features: np.ndarray) -> np.ndarray:
        """Share of held-out training sources at least as far from the centre, shape (N,).

        Uniform between 0 and 1 for sources like the training ones; near 0 for strange ones.
        """
        below = np.interp(self.distance(features), self.distances, np.linspace(0, 1, N_LEVELS))
        return 1.0 - below
