"""Every predicted number beside its true value, source by source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from targetsel.calibration.known_sources import KnownSources
from targetsel.report.scores import crps, energy_score, mahalanobis_pit, tarp
from targetsel.selection.sources import Sources
from targetsel.tables.ids import uniform

N_DRAWS = 128  # of the latents
PAIRED = 2  # every second of them is paired with every other for the energy score
N_LEVELS = 128  # equally probable values that stand for a proxy's distribution
SEED = 0
_ROWS = 256


@dataclass(frozen=True)
class Judged:
    """One latent or proxy of N sources; NaN where the truth or a prediction is missing.

    Attributes
    ----------
    name : str
    true, error : ndarray, shape (N,)
        True value, and the mean (of a proxy: median) less that.
    pit : ndarray, shape (N,)
        Predicted probability of a smaller value.
    crps : ndarray, shape (N,)
    """

    name: str
    true: np.ndarray
    error: np.ndarray
    pit: np.ndarray
    crps: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Of which sources there is an answer, mask of shape (N,)."""
        return np.isfinite(self.true + self.error + self.pit + self.crps)


@dataclass(frozen=True)
class JudgedTogether:
    """The latents of N sources as one vector; NaN where one of them is missing.

    Attributes
    ----------
    mahalanobis, tarp : ndarray, shape (N,)
        Uniform where posteriors are right (see `scores`).
    energy : ndarray, shape (N,)
    """

    mahalanobis: np.ndarray
    tarp: np.ndarray
    energy: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Of which sources there is an answer, mask of shape (N,)."""
        return np.isfinite(self.mahalanobis + self.tarp + self.energy)


def judged_proxies(known: KnownSources) -> list[Judged]:
    """Every proxy of which the truth is known."""
    posterior = Sources(known.scored).posterior
    scores = ndtri((np.arange(N_LEVELS) + 0.5) / N_LEVELS)
    found = []
    for name, true in known.proxies.items():
        score = np.empty(len(known))
        for rows in _blocks(len(known)):
            part = posterior.take(rows)
            values = part.value(name, np.tile(scores, (len(part.knots(name)), 1)))
            score[rows] = crps(values, true[rows])
        error = posterior.quantile(name, 0.5) - true
        found.append(Judged(name, true, error, posterior.probability_below(name, true), score))
    return found


def judged_latents(known: KnownSources) -> tuple[list[Judged], JudgedTogether | None]:
    """Every latent by itself, and all together; nothing where no true latents are known."""
    n, d = known.latents.shape
    if not d:
        return [], None
    there = np.isfinite(known.latents).all(axis=1)
    if not there.any():
        return [], None
    low, high = known.latents[there].min(axis=0), known.latents[there].max(axis=0)
    mean, pit, score = np.empty((n, d)), np.empty((n, d)), np.empty((n, d))
    together = np.full((3, n), np.nan)
    for rows in _blocks(n):
        posterior, true = known.posterior(rows), known.latents[rows]
        if known.noise[rows].any():
            posterior = posterior.with_noise(known.noise[rows])
        draws = posterior.draw(N_DRAWS, SEED)
        mean[rows], pit[rows] = posterior.mean, posterior.probability_below(true)
        score[rows] = np.stack([crps(draws[..., k], true[:, k]) for k in range(d)], axis=1)
        shift = uniform(known.source_id[rows], SEED, "tarp", d)
        # Draws are compared in units in which the true latents fill a unit cube.
        unit = (draws - low) / (high - low), (true - low) / (high - low)
        good = np.isfinite(draws).all(axis=(1, 2)) & there[rows]
        place = np.flatnonzero(good) + rows.start
        together[0, place] = mahalanobis_pit(posterior.mean[good], posterior.cov[good], true[good])
        together[1, place] = tarp(unit[0][good], unit[1][good], shift[good])
        together[2, place] = energy_score(draws[good, ::PAIRED], true[good])
    latents = [
        Judged(f"latent {k + 1}", known.latents[:, k], mean[:, k] - known.latents[:, k],
               pit[:, k], score[:, k])
        for k in range(d)
    ]  # fmt: skip
    return latents, JudgedTogether(*together)


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, _ROWS):
        yield slice(start, min(start + _ROWS, n))
