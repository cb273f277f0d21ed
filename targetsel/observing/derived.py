"""Posteriors of quantities that follow from a proxy, and from a redshift that may be uncertain.

Given the redshift, flux, S/N and exposure time are monotone functions of a line's width, so they
share its normal score: their quantiles are the functions of its quantiles, and their correlations
are its own (times -1 for the exposure time, which falls with the width).

With an uncertain redshift the score s of a quantity is taken apart into what follows the width's
score u, and the rest: s = r u + e. Two quantities of widths with the correlation rho then have the
correlation r r' rho + mean(e e'), which is the share of the width and that of the common redshift.
A matrix of such correlations has no negative eigenvalue.

A redshift that is predicted beside the widths has a score v of its own, and s = r u + q v + e. With
the correlation p of u and v, that with v itself is r p + q, and so on by linearity.

Against 10^6 draws, probabilities of S/N and fluxes, also of several lines and with widths, are
right to 0.005. The copula cannot say that the S/N over the same line's width depends on the
redshift alone: P(snr_halpha / ew_halpha > 1) may be wrong by 0.03, or 0.07 with an error of
0.1 (1 + z). And exposure times are straight between stored quantiles, over which they may change
tenfold: P(exposure_time_halpha < 300) may be wrong by 0.08, also at a certain redshift; P of the
S/N after that time has no such error.

Where it is uncertain whether a line is in range, S/N jumps to 0 for a share of the redshifts. The
stored quantiles, half a standard deviation apart, blur the jump, so that a probability may be
wrong by up to 0.19 there; the probability of being in range has a column of its own. At predicted
redshifts P() does without these correlations and follows each draw (`spectrographs.following`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr, ndtri

from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import NORMAL_SCORES, ProxyPosterior

N_DRAWS = 2048
LEAST_FREE = 1e-3


@dataclass(frozen=True)
class DerivedPosterior:
    """A quantity that follows from a proxy, for N sources.

    Attributes
    ----------
    name, proxy : str
    quantiles : ndarray, shape (N, L)
        At `NORMAL_SCORES`.
    slope : ndarray, shape (N,)
        The correlation of its normal score with the proxy's.
    rest : ndarray, shape (N, S)
        Residual of its score after the proxy's part, at common draws of the redshift; S may be 0.
    along : ndarray, shape (N,), or None
        How its score follows that of a predicted redshift, at one score of the proxy.
    """

    name: str
    proxy: str
    quantiles: np.ndarray
    slope: np.ndarray
    rest: np.ndarray
    along: np.ndarray | None = None

    @classmethod
    def monotone(cls, name: str, proxy: str, values: np.ndarray) -> DerivedPosterior:
        """A quantity monotone in the proxy; `values` at the proxy's quantiles, shape (N, L)."""
        falls = values[:, -1] < values[:, 0]
        ordered = np.where(falls[:, None], values[:, ::-1], values)
        rest = np.zeros((len(values), 0))
        return cls(name, proxy, ordered, np.where(falls, -1.0, 1.0), rest)

    @classmethod
    def drawn(
        cls, name: str, proxy: str, values: np.ndarray, scores: np.ndarray
    ) -> DerivedPosterior:
        """A quantity with `values`, shape (N, S), at the proxy's normal `scores`, shape (S,)."""
        quantiles, own = _ranked(values)
        given = _standardised(scores)
        slope = (own * given).mean(axis=1)
        return cls(name, proxy, quantiles, slope, own - slope[:, None] * given)

    @classmethod
    def drawn_with(
        cls,
        name: str,
        proxy: str,
        values: np.ndarray,
        scores: np.ndarray,
        of_redshift: np.ndarray,
    ) -> DerivedPosterior:
        """A quantity with `values` at `scores` of the proxy and at those of a predicted redshift,
        all of shape (N, S)."""
        quantiles, own = _ranked(values)
        given, other = _standardised(scores), _standardised(of_redshift)
        both = (given * other).mean(axis=1)
        by_proxy, by_redshift = (own * given).mean(axis=1), (own * other).mean(axis=1)
        free = 1 - both**2  # of the redshift's variance; without any, all counts as the proxy's
        along = np.where(
            free > LEAST_FREE, (by_redshift - both * by_proxy) / np.maximum(free, LEAST_FREE), 0.0
        )
        slope = by_proxy - both * along
        rest = own - slope[:, None] * given - along[:, None] * other
        return cls(name, proxy, quantiles, slope, rest, along)

    def correlation(self, other: DerivedPosterior | str, posterior: ProxyPosterior) -> np.ndarray:
        """Correlation with another quantity or a proxy, shape (N,)."""
        if isinstance(other, str):
            found = self.slope * between(self.proxy, other, posterior)
            if self.along is None:
                return found
            return np.clip(found + self.along * between(PHOTOZ, other, posterior), -1.0, 1.0)
        shared = self.slope * other.slope * between(self.proxy, other.proxy, posterior)
        if not self.rest.shape[1]:
            return shared
        if self.along is not None and other.along is not None:
            ours, theirs = (between(PHOTOZ, each.proxy, posterior) for each in (self, other))
            shared = shared + self.slope * other.along * ours + self.along * other.slope * theirs
            shared = shared + self.along * other.along
        return np.clip(shared + (self.rest * other.rest).mean(axis=1), -1.0, 1.0)


def between(one: str, two: str, posterior: ProxyPosterior) -> np.ndarray:
    """The correlation of two proxies as it is stored, shape (N,)."""
    if one == two:
        return np.ones(len(posterior.knots(one)))
    pair = (one, two) if (one, two) in posterior.correlation else (two, one)
    return np.asarray(posterior.correlation[pair], dtype=np.float64)


@cache
def draws(n_lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Quasi-random normals that serve every source: of the redshift, shape (S,), and of each
    line's width, shape (n_lines, S)."""
    from scipy.stats import qmc

    sobol = qmc.Sobol(1 + n_lines, scramble=True, rng=20261122)
    normals = ndtri(np.clip(sobol.random(N_DRAWS), 1e-9, 1 - 1e-9)).T
    return normals[0], normals[1:]


def correlated_scores(
    scores: np.ndarray, of_redshift: np.ndarray, correlation: np.ndarray
) -> np.ndarray:
    """Scores of a width that go with those of the redshift, shape (N, S).

    Parameters
    ----------
    scores, of_redshift : ndarray, shape (S,)
        Independent normals.
    correlation : ndarray, shape (N,)
    """
    rest = np.sqrt(np.maximum(1 - correlation**2, 0.0))
    return np.asarray(correlation[:, None] * of_redshift + rest[:, None] * scores)


def _ranked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles (N, L) of values (N, S), and the normal score of each; NaN where any is unknown."""
    from scipy.stats import rankdata  # which takes a third of a second to import

    known = np.isfinite(values).all(axis=1, keepdims=True)
    filled = np.where(known, values, 0.0)
    quantiles = np.quantile(filled, ndtr(NORMAL_SCORES), axis=1, method="hazen").T
    scores = _standardised(ndtri((rankdata(filled, axis=1) - 0.5) / values.shape[1]))
    return np.where(known, quantiles, np.nan), scores


def _standardised(scores: np.ndarray) -> np.ndarray:
    """The same with a mean square of 1, along the last axis."""
    return scores / np.maximum(np.sqrt((scores**2).mean(axis=-1, keepdims=True)), 1e-12)
