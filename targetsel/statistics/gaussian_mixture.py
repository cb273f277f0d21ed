"""Gaussian mixtures: fitted to noisy features, conditioned, drawn from, and drawn from tilted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtr


@dataclass(frozen=True)
class Mixture:
    """A mixture of K Gaussians over D features.

    Attributes
    ----------
    weights, means, covariances : ndarray, shapes (K,), (K, D) and (K, D, D)
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def n_features(self) -> int:
        return self.means.shape[1]

    def draw_given(
        self,
        given: np.ndarray,
        values: np.ndarray,
        error: np.ndarray,
        normals: np.ndarray,
        tilt: np.ndarray,
        share_tilted: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """One draw of all features for each source, given noisy values of some; and its weight.

        A share of the draws comes from the distribution multiplied by exp(tilt . features), which
        is a Gaussian mixture too. Statistics weighted with the weights are those of the mixture
        itself: they are the ratio of both densities (importance sampling), at most
        1 / (1 - `share_tilted`), and 1 on average over the draws of each source.

        Parameters
        ----------
        given : ndarray of int, shape (G,)
            Places of the known features.
        values : ndarray, shape (N, G)
        error : ndarray, shape (G,)
            Gaussian uncertainty of the values, independent.
        normals : ndarray, shape (N, D + 2)
            Independent standard normals. The first one chooses the component, the last one
            whether the draw is tilted.
        tilt : ndarray, shape (D,)

        Returns
        -------
        features : ndarray, shape (N, D)
        weight : ndarray, shape (N,)
        """
        plain = self._log_shares(given, values, error)
        gains, rests = self._regressions(given, error)
        pull = rests @ tilt  # (K, D): by how much the tilt moves each component
        shift = (self.means @ tilt)[None] + 0.5 * (pull @ tilt)
        shift = shift + np.stack(
            [
                (values - mean[given]) @ (gain.T @ tilt)
                for mean, gain in zip(self.means, gains, strict=True)
            ],
            axis=1,
        )
        tilted = plain + shift
        log_norm = logsumexp(tilted, axis=1)
        is_tilted = ndtr(normals[:, -1]) < share_tilted
        log_share = np.where(is_tilted[:, None], tilted - log_norm[:, None], plain)
        cumulative = np.cumsum(np.exp(log_share), axis=1)
        below = cumulative < ndtr(normals[:, 0])[:, None]
        chosen = np.minimum(below.sum(axis=1), len(self.weights) - 1)
        features = np.empty((len(values), self.n_features))
        for k in np.unique(chosen):
            rows = chosen == k
            spread = np.linalg.cholesky(rests[k] + 1e-8 * np.eye(self.n_features))
            features[rows] = self.means[k] + (values[rows] - self.means[k][given]) @ gains[k].T
            features[rows] += normals[rows, 1:-1] @ spread.T + is_tilted[rows, None] * pull[k]
        return features, 1 / (1 - share_tilted + share_tilted * np.exp(features @ tilt - log_norm))

    def excess(self, features: np.ndarray, target: int, given: np.ndarray) -> np.ndarray:
        """By how many sigma one feature exceeds its expectation given others, shape (N,)."""
        values = features[:, given]
        share = np.exp(self._log_shares(given, values, np.zeros(len(given))))
        gains, rests = self._regressions(given, np.zeros(len(given)))
        expected = np.stack(
            [
                mean[target] + (values - mean[given]) @ gain[target]
                for mean, gain in zip(self.means, gains, strict=True)
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

        So a value that was low for the old given values is as low for the new ones (Rosenblatt
        1952, Ann. Math. Stat. 23, 470). Values beyond all but 1e-5 move as that quantile does.

        Parameters
        ----------
        target : int
            Place of the feature.
        given : ndarray of int, shape (G,)
            Places of the others.
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
        spread = np.sqrt(self.covariances[:, target, target].max())
        lowest = self.means[:, target].min() - 10 * spread
        highest = self.means[:, target].max() + 10 * spread
        moved = _inverse(after, quantile, lowest, highest)
        return old[:, -1] + moved - _inverse(before, quantile, lowest, highest)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Some draws of all features, shape (n, D)."""
        chosen = rng.choice(len(self.weights), n, p=self.weights / self.weights.sum())
        spread = np.linalg.cholesky(self.covariances)
        normals = rng.standard_normal((n, self.n_features))
        return self.means[chosen] + np.einsum("nij,nj->ni", spread[chosen], normals)

    def _cdf(
        self, target: int, given: np.ndarray, values: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        """The distribution function of one feature given others (N, G), of N values at once."""
        exact = np.zeros(len(given))
        share = np.exp(self._log_shares(given, values, exact))
        gains, rests = self._regressions(given, exact)
        offset = values[:, None] - self.means[:, given]
        mean = self.means[:, target] + np.einsum("nkg,kg->nk", offset, gains[:, target])
        spread = np.sqrt(rests[:, target, target])
        return lambda value: (share * ndtr((value[:, None] - mean) / spread)).sum(axis=1)

    def _log_shares(self, given: np.ndarray, values: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Log probability of each component given the values, shape (N, K)."""
        logs = np.empty((len(values), len(self.weights)))
        for k, weight in enumerate(self.weights):
            cov = self.covariances[k][np.ix_(given, given)] + np.diag(error**2)
            delta = values - self.means[k][given]
            distance = np.einsum("ni,ij,nj->n", delta, np.linalg.inv(cov), delta)
            logs[:, k] = np.log(weight) - 0.5 * distance - 0.5 * np.linalg.slogdet(cov)[1]
        return logs - logsumexp(logs, axis=1, keepdims=True)

    def _regressions(self, given: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each component's regression on the given features, and the covariance that remains."""
        known = self.covariances[:, given][:, :, given] + np.diag(error**2)
        gains = np.swapaxes(np.linalg.solve(known, self.covariances[:, given]), 1, 2)
        return gains, self.covariances - gains @ self.covariances[:, given]


def _inverse(
    cdf: Callable[[np.ndarray], np.ndarray], quantile: np.ndarray, lowest: float, highest: float
) -> np.ndarray:
    """Where rising functions reach these values, by bisection between two bounds, shape (N,)."""
    low, high = np.full(len(quantile), lowest), np.full(len(quantile), highest)
    for _ in range(50):
        middle = (low + high) / 2
        is_low = cdf(middle) < quantile
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return (low + high) / 2


def fit_mixture(
    features: np.ndarray,
    noise: np.ndarray,
    start: Mixture | tuple[int, int],
    n_steps: int,
    report: Callable[[int, float], None] = lambda step, likelihood: None,
) -> Mixture:
    """The mixture that noise-free features are drawn from, seen through noise.

    Extreme deconvolution (Bovy, Hogg & Roweis 2011, AOAS 5, 1657), eqs. 16 to 18, for features of
    which the first ones are free of noise.

    Parameters
    ----------
    features : ndarray, shape (N, D)
    noise : ndarray, shape (N, M, M)
        Covariance of the noise of the last M features; the others have none.
    start : Mixture, or a pair of int
        Where to start from; or a number of components and a seed.
    """
    everything = np.cov(features.T)
    mixture = start if isinstance(start, Mixture) else _spread_out(features, *start)
    for step in range(n_steps):
        mixture, likelihood = _step(mixture, features, noise, everything)
        report(step, likelihood)
    return mixture


PRIOR = 20.0  # sources' worth of the whole sample's shape, shrunk: no component can collapse


def _spread_out(features: np.ndarray, n_components: int, seed: int) -> Mixture:
    """Equal components, each around one of the sources."""
    chosen = np.random.default_rng(seed).choice(len(features), n_components, replace=False)
    covariances = np.repeat(0.3 * np.cov(features.T)[None], n_components, axis=0)
    return Mixture(np.full(n_components, 1 / n_components), features[chosen], covariances)


def _step(
    mixture: Mixture, features: np.ndarray, noise: np.ndarray, everything: np.ndarray
) -> tuple[Mixture, float]:
    """One step of expectation and maximisation, and the mean log likelihood before it."""
    logs = component_likelihoods(mixture, features, noise)
    total = logsumexp(logs, axis=1)
    share = np.exp(logs - total[:, None])
    counts = share.sum(axis=0)
    weights = (counts + 1.0) / (counts + 1.0).sum()
    means, covariances = np.empty_like(mixture.means), np.empty_like(mixture.covariances)
    m = noise.shape[1]
    for k in range(len(weights)):
        used = share[:, k] > 1e-4
        expected, spread = _denoised(mixture, k, features[used], noise[used])
        each = share[used, k]
        means[k] = (each @ expected + mixture.means[k]) / (counts[k] + 1.0)
        delta = expected - means[k]
        scatter = (delta * each[:, None]).T @ delta + PRIOR * 0.1 * everything
        scatter[-m:, -m:] += np.tensordot(each, spread, axes=1)
        covariances[k] = scatter / (counts[k] + PRIOR)
    return Mixture(weights, means, covariances), float(total.mean())


def component_likelihoods(mixture: Mixture, features: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Log of weight times likelihood of each component for noisy features, shape (N, K)."""
    exact = features.shape[1] - noise.shape[1]
    logs = np.empty((len(features), len(mixture.weights)))
    for k, weight in enumerate(mixture.weights):
        plain, delta, rest = _noisy_part(mixture, k, features, exact)
        factor = np.linalg.cholesky(rest + noise)
        solved = np.linalg.solve(factor, delta[:, :, None])[:, :, 0]
        volume = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
        logs[:, k] = np.log(weight) + plain - 0.5 * (solved**2).sum(axis=1) - volume
    return logs


def _denoised(
    mixture: Mixture, k: int, features: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Expectation of the noise-free features (N, D), and covariance (N, M, M) of the noisy ones."""
    m = noise.shape[1]
    _, delta, rest = _noisy_part(mixture, k, features, features.shape[1] - m)
    gain = rest @ np.linalg.inv(rest + noise)
    expected = features.copy()
    expected[:, -m:] -= delta - np.einsum("nij,nj->ni", gain, delta)
    return expected, rest - gain @ rest


def _noisy_part(
    mixture: Mixture, k: int, features: np.ndarray, exact: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log likelihood of the exact features; offset and covariance of the noisy ones given them."""
    cov, offset = mixture.covariances[k], features - mixture.means[k]
    inverse = np.linalg.inv(cov[:exact, :exact])
    gain = cov[exact:, :exact] @ inverse
    distance = np.einsum("ni,ij,nj->n", offset[:, :exact], inverse, offset[:, :exact])
    plain = -0.5 * (distance + np.linalg.slogdet(cov[:exact, :exact])[1])
    delta = offset[:, exact:] - offset[:, :exact] @ gain.T
    return plain, delta, cov[exact:, exact:] - gain @ cov[:exact, exact:]
