"""Gaussian mixtures: density, moments, draws, conditioning, tilting, and fitting to noisy data."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from scipy.special import logsumexp, ndtr

PRIOR = 20.0  # weight of a shrunk overall covariance [sources]: no component can collapse


class GaussianMixture:
    """A mixture of K Gaussians over D features.

    Parameters
    ----------
    weight : ndarray, shape (K,)
        Shares of the components; they add to 1.
    mean : ndarray, shape (K, D)
        Means of the components.
    covariance, factor : ndarray, shape (K, D, D)
        Covariances, or their lower Cholesky factors: give one of the two.
    """

    def __init__(
        self,
        weight: np.ndarray,
        mean: np.ndarray,
        *,
        covariance: np.ndarray | None = None,
        factor: np.ndarray | None = None,
    ) -> None:
        if (covariance is None) == (factor is None):
            raise TypeError("give either the covariances or their factors")
        self.weight, self.mean = weight, mean
        if covariance is not None:
            self.covariance = covariance
        if factor is not None:
            self.factor = factor

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariances, shape (K, D, D)."""
        return self.factor @ self.factor.swapaxes(1, 2)

    @cached_property
    def factor(self) -> np.ndarray:
        """Lower Cholesky factors of the covariances, shape (K, D, D)."""
        return np.linalg.cholesky(self.covariance)

    @property
    def n_features(self) -> int:
        return self.mean.shape[1]

    # ------------------------------------------------------------------ density, moments, draws

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (D,) and covariance (D, D) of the whole mixture."""
        mean = self.weight @ self.mean
        away = self.mean - mean
        cov = np.einsum("k,kij,klj->il", self.weight, self.factor, self.factor)
        return mean, cov + np.einsum("k,ki,kj->ij", self.weight, away, away)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density at S points, (S, D) to (S,)."""
        away = points[None] - self.mean[:, None]
        white = np.linalg.solve(self.factor, away.swapaxes(1, 2))
        size = np.log(np.diagonal(self.factor, axis1=1, axis2=2)).sum(axis=1)
        constant = 0.5 * self.n_features * np.log(2 * np.pi)
        parts = -0.5 * (white**2).sum(axis=1) - (size + constant)[:, None]
        with np.errstate(divide="ignore"):
            return logsumexp(parts + np.log(self.weight)[:, None], axis=0)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws of shape (n, D), shared among the components by weight, rounded to whole draws."""
        places = (np.arange(n) + rng.random()) / n
        chosen = np.searchsorted(np.cumsum(self.weight)[:-1], places)
        normals = rng.standard_normal((n, self.n_features))
        draws = self.mean[chosen] + np.einsum("nij,nj->ni", self.factor[chosen], normals)
        return draws[rng.permutation(n)]

    # ------------------------------------------------------------------ conditioning

    def draw_given(
        self,
        given: np.ndarray,
        values: np.ndarray,
        error: np.ndarray,
        normals: np.ndarray,
        tilt: np.ndarray,
        share_tilted: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """One draw of all features for each source, given noisy values of some, with its weight.

        A share of the draws comes from the distribution multiplied by exp(tilt . features), which
        is a Gaussian mixture too. Statistics weighted with the weights are those of the mixture
        itself: they are the ratio of both densities (importance sampling), at most
        1 / (1 - `share_tilted`), and 1 on average over the draws of each source.

        Parameters
        ----------
        given : ndarray of int, shape (G,)
            Indices of the known features.
        values : ndarray, shape (N, G)
            Their measured values.
        error : ndarray, shape (G,)
            Gaussian uncertainty of the values, independent.
        normals : ndarray, shape (N, D + 2)
            Independent standard normals. The first one chooses the component, the last one
            whether the draw is tilted.
        tilt : ndarray, shape (D,)
            Exponents of the tilted distribution.
        Returns
        -------
        features : ndarray, shape (N, D)
        weight : ndarray, shape (N,)
        """
        plain = self._log_shares(given, values, error)
        gains, rests = self._regressions(given, error)
        pull = rests @ tilt  # (K, D): shift of each component by the tilt
        shift = (self.mean @ tilt)[None] + 0.5 * (pull @ tilt)
        shift = shift + np.stack(
            [
                (values - mean[given]) @ (gain.T @ tilt)
                for mean, gain in zip(self.mean, gains, strict=True)
            ],
            axis=1,
        )
        tilted = plain + shift
        log_norm = logsumexp(tilted, axis=1)
        is_tilted = ndtr(normals[:, -1]) < share_tilted
        log_share = np.where(is_tilted[:, None], tilted - log_norm[:, None], plain)
        cumulative = np.cumsum(np.exp(log_share), axis=1)
        below = cumulative < ndtr(normals[:, 0])[:, None]
        chosen = np.minimum(below.sum(axis=1), len(self.weight) - 1)
        features = np.empty((len(values), self.n_features))
        for k in np.unique(chosen):
            rows = chosen == k
            spread = np.linalg.cholesky(rests[k] + 1e-8 * np.eye(self.n_features))
            features[rows] = self.mean[k] + (values[rows] - self.mean[k][given]) @ gains[k].T
            features[rows] += normals[rows, 1:-1] @ spread.T + is_tilted[rows, None] * pull[k]
        return features, 1 / (1 - share_tilted + share_tilted * np.exp(features @ tilt - log_norm))

    def excess(self, features: np.ndarray, target: int, given: np.ndarray) -> np.ndarray:
        """Excess of one feature over its expectation given others [sigma], shape (N,)."""
        values = features[:, given]
        share = np.exp(self._log_shares(given, values, np.zeros(len(given))))
        gains, rests = self._regressions(given, np.zeros(len(given)))
        expected = np.stack(
            [
                mean[target] + (values - mean[given]) @ gain[target]
                for mean, gain in zip(self.mean, gains, strict=True)
            ],
            axis=1,
        )
        mean = (share * expected).sum(axis=1)
        second = (share * (expected**2 + rests[:, target, target])).sum(axis=1)
        return (features[:, target] - mean) / np.sqrt(second - mean**2)

    def same_quantile(
        self, target: int, given: np.ndarray, old: np.ndarray, new: np.ndarray
    ) -> np.ndarray:
        """Values of one feature, where others change, that keep their conditional quantile.

        A value that was low for the old given values is as low for the new ones (Rosenblatt
        1952, Ann. Math. Stat. 23, 470). Values in the outermost 1e-5 move with that quantile.

        Parameters
        ----------
        target : int
            Index of the feature.
        given : ndarray of int, shape (G,)
            Indices of the others.
        old : ndarray, shape (N, G + 1)
            Their values, and that of the feature.
        new : ndarray, shape (N, G)
            The others' new values.

        Returns
        -------
        ndarray, shape (N,)
        """
        before, after = (self._cdf(target, given, values) for values in (old[:, :-1], new))
        quantile = np.clip(before(old[:, -1]), 1e-5, 1 - 1e-5)
        spread = np.sqrt(self.covariance[:, target, target].max())
        lowest = self.mean[:, target].min() - 10 * spread
        highest = self.mean[:, target].max() + 10 * spread
        moved = _inverse(after, quantile, lowest, highest)
        return old[:, -1] + moved - _inverse(before, quantile, lowest, highest)

    def _cdf(
        self, target: int, given: np.ndarray, values: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Function that returns the cumulative probability of one feature given others (N, G)."""
        exact = np.zeros(len(given))
        share = np.exp(self._log_shares(given, values, exact))
        gains, rests = self._regressions(given, exact)
        offset = values[:, None] - self.mean[:, given]
        mean = self.mean[:, target] + np.einsum("nkg,kg->nk", offset, gains[:, target])
        spread = np.sqrt(rests[:, target, target])
        return lambda value: (share * ndtr((value[:, None] - mean) / spread)).sum(axis=1)

    def _log_shares(self, given: np.ndarray, values: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Log probability of each component given the values, shape (N, K)."""
        logs = np.empty((len(values), len(self.weight)))
        for k, weight in enumerate(self.weight):
            cov = self.covariance[k][np.ix_(given, given)] + np.diag(error**2)
            delta = values - self.mean[k][given]
            distance = np.einsum("ni,ij,nj->n", delta, np.linalg.inv(cov), delta)
            logs[:, k] = np.log(weight) - 0.5 * distance - 0.5 * np.linalg.slogdet(cov)[1]
        return logs - logsumexp(logs, axis=1, keepdims=True)

    def _regressions(self, given: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each component's regression on the given features, and the residual covariance."""
        known = self.covariance[:, given][:, :, given] + np.diag(error**2)
        gains = np.swapaxes(np.linalg.solve(known, self.covariance[:, given]), 1, 2)
        return gains, self.covariance - gains @ self.covariance[:, given]

    # ------------------------------------------------------------------ fitting

    @classmethod
    def fit(
        cls,
        features: np.ndarray,
        noise: np.ndarray,
        start: GaussianMixture | tuple[int, int],
        n_steps: int,
        report: Callable[[int, float], None] = lambda step, likelihood: None,
    ) -> GaussianMixture:
        """Maximum-likelihood mixture of noise-free features, fitted to noisy ones.

        Extreme deconvolution (Bovy, Hogg & Roweis 2011, AOAS 5, 1657), eqs. 16 to 18, for features
        of which the first ones are free of noise.

        Parameters
        ----------
        features : ndarray, shape (N, D)
        noise : ndarray, shape (N, M, M)
            Covariance of the noise of the last M features; the others have none.
        start : GaussianMixture, or a pair of int
            Initial mixture; or a number of components and a seed.
        report : callable, optional
            Called after each step with its number and the mean log likelihood before it.
        """
        everything = np.cov(features.T)
        if isinstance(start, GaussianMixture):
            mixture = start
        else:  # equal components, each around one of the sources
            n, seed = start
            chosen = np.random.default_rng(seed).choice(len(features), n, replace=False)
            covariance = np.repeat(0.3 * everything[None], n, axis=0)
            mixture = cls(np.full(n, 1 / n), features[chosen], covariance=covariance)
        for step in range(n_steps):
            mixture, likelihood = mixture._fit_step(features, noise, everything)
            report(step, likelihood)
        return mixture

    def _fit_step(
        self, features: np.ndarray, noise: np.ndarray, everything: np.ndarray
    ) -> tuple[GaussianMixture, float]:
        """One step of expectation and maximisation, and the mean log likelihood before it."""
        logs = self.log_parts(features, noise)
        total = logsumexp(logs, axis=1)
        share = np.exp(logs - total[:, None])
        counts = share.sum(axis=0)
        weight = (counts + 1.0) / (counts + 1.0).sum()
        mean, covariance = np.empty_like(self.mean), np.empty_like(self.covariance)
        m = noise.shape[1]
        for k in range(len(weight)):
            used = share[:, k] > 1e-4
            expected, spread = self._denoised(k, features[used], noise[used])
            each = share[used, k]
            mean[k] = (each @ expected + self.mean[k]) / (counts[k] + 1.0)
            delta = expected - mean[k]
            scatter = (delta * each[:, None]).T @ delta + PRIOR * 0.1 * everything
            scatter[-m:, -m:] += np.tensordot(each, spread, axes=1)
            covariance[k] = scatter / (counts[k] + PRIOR)
        return GaussianMixture(weight, mean, covariance=covariance), float(total.mean())

    def log_parts(self, features: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Logarithm of weight times likelihood of each component for noisy features, (N, K).

        Up to a constant; features and noise as in `fit`.
        """
        exact = features.shape[1] - noise.shape[1]
        logs = np.empty((len(features), len(self.weight)))
        for k, weight in enumerate(self.weight):
            plain, delta, rest = self._noisy_part(k, features, exact)
            factor = np.linalg.cholesky(rest + noise)
            solved = np.linalg.solve(factor, delta[:, :, None])[:, :, 0]
            volume = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
            logs[:, k] = np.log(weight) + plain - 0.5 * (solved**2).sum(axis=1) - volume
        return logs

    def _denoised(
        self, k: int, features: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Expectation of noise-free features (N, D), and covariance (N, M, M) of the noisy ones."""
        m = noise.shape[1]
        _, delta, rest = self._noisy_part(k, features, features.shape[1] - m)
        gain = rest @ np.linalg.inv(rest + noise)
        expected = features.copy()
        expected[:, -m:] -= delta - np.einsum("nij,nj->ni", gain, delta)
        return expected, rest - gain @ rest

    def _noisy_part(
        self, k: int, features: np.ndarray, exact: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log likelihood of the noise-free features; offset and covariance of the others."""
        cov, offset = self.covariance[k], features - self.mean[k]
        inverse = np.linalg.inv(cov[:exact, :exact])
        gain = cov[exact:, :exact] @ inverse
        distance = np.einsum("ni,ij,nj->n", offset[:, :exact], inverse, offset[:, :exact])
        plain = -0.5 * (distance + np.linalg.slogdet(cov[:exact, :exact])[1])
        delta = offset[:, exact:] - offset[:, :exact] @ gain.T
        return plain, delta, cov[exact:, exact:] - gain @ cov[:exact, exact:]


def _inverse(
    cdf: Callable[[np.ndarray], np.ndarray], quantile: np.ndarray, lowest: float, highest: float
) -> np.ndarray:
    """Arguments at which increasing functions reach these values, by bisection, shape (N,)."""
    low, high = np.full(len(quantile), lowest), np.full(len(quantile), highest)
    for _ in range(50):
        middle = (low + high) / 2
        is_low = cdf(middle) < quantile
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return (low + high) / 2
