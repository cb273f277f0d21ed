"""Predicted distributions against true values: errors, coverage, CRPS and joint tests.

Scores are one number per source, so that their mean over any of the sources, under any weights, is
a figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import chi2

from targetsel.report.figures import ALL, Figure, Subset
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.selection.sources import Sources
from targetsel.statistics.resampling import Resampling
from targetsel.tables.ids import uniform

COVERAGES = (0.5, 0.68, 0.9, 0.95)
LEVELS = np.arange(0.05, 1.0, 0.05)
TOGETHER = "latents together"
MAHALANOBIS, TARP = f"{TOGETHER}, Mahalanobis", f"{TOGETHER}, TARP"

N_DRAWS = 128  # of the latents
PAIRED = 2  # every second draw is paired with every other for the energy score
N_LEVELS = 128  # equally probable values that represent a proxy's distribution
SEED = 0
_ROWS = 256


# ---------------------------------------------------------------------- scores of one source


def inside(pit: np.ndarray, level: float) -> np.ndarray:
    """Whether each true value lies in the central interval that claims to hold `level` of them.

    Parameters
    ----------
    pit : ndarray
        Predicted probability of a smaller value (probability integral transform).
    """
    return np.abs(pit - 0.5) <= level / 2


def crps(values: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of S equally probable values, shape (N,).

    Twice the mean pinball loss at the levels (i - 1/2) / S, which is the integral of (F - step)^2
    for the distribution F that jumps at every value (Laio & Tamea 2007, HESS 11, 1267, eq. 5).

    Parameters
    ----------
    values : ndarray, shape (N, S)
    true : ndarray, shape (N,)
    """
    values = np.sort(values, axis=1)
    levels = (np.arange(values.shape[1]) + 0.5) / values.shape[1]
    above = values > true[:, None]
    return 2 * ((values - true[:, None]) * (above - levels)).mean(axis=1)


def energy_score(draws: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Energy score, the CRPS of vectors: E|X - y| - E|X - X'| / 2, shape (N,).

    Gneiting & Raftery (2007, JASA 102, 359), eq. 22, with draws for expectations.

    Parameters
    ----------
    draws : ndarray, shape (N, S, D)
    true : ndarray, shape (N, D)
    """
    away = np.linalg.norm(draws - true[:, None], axis=2).mean(axis=1)
    apart = np.empty(len(draws))
    for row, each in enumerate(draws):  # all pairs of one source still fit in the cache
        centred = each - each.mean(axis=0)
        size = (centred**2).sum(axis=1)
        squared = size[:, None] + size - 2 * centred @ centred.T
        apart[row] = np.sqrt(np.maximum(squared, 0.0)).mean()
    return away - apart / 2


def mahalanobis_pit(mean: np.ndarray, cov: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Share of a Gaussian that lies nearer to its mean than the true vector, shape (N,).

    Uniform where the posteriors are Gaussians and right; a mixture of them is taken as the one
    Gaussian of its mean and covariance.

    Parameters
    ----------
    mean, true : ndarray, shape (N, D)
    cov : ndarray, shape (N, D, D)
    """
    deviation = true - mean
    whitened = np.linalg.solve(cov, deviation[..., None])[..., 0]
    return chi2.cdf((deviation * whitened).sum(axis=1), df=true.shape[1])


def tarp(draws: np.ndarray, true: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Share of the draws that lie nearer to a reference point than the true vector, shape (N,).

    Uniform, whatever the reference, if and only if the posterior is right for all of them: Lemos
    et al. (2023, arXiv:2302.03026), algorithm 2. Of S draws, k give (k + 1/2) / (S + 1).

    Parameters
    ----------
    draws : ndarray, shape (N, S, D)
    true, reference : ndarray, shape (N, D)
    """
    away = np.linalg.norm(draws - reference[:, None], axis=2)
    nearer = (away < np.linalg.norm(true - reference, axis=1)[:, None]).sum(axis=1)
    return (nearer + 0.5) / (draws.shape[1] + 1)


# ---------------------------------------------------------------------- scores of all sources


@dataclass(frozen=True)
class MarginalScores:
    """Scores of one latent or proxy of N sources; NaN where truth or prediction is missing.

    Attributes
    ----------
    name : str
    true, error : ndarray, shape (N,)
        True value, and predicted mean (of a proxy: median) less true value.
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
        """Sources with a defined result: boolean mask, shape (N,)."""
        return np.isfinite(self.true + self.error + self.pit + self.crps)


@dataclass(frozen=True)
class JointScores:
    """Scores of the latents of N sources as one vector; NaN where one of them is missing.

    Attributes
    ----------
    mahalanobis, tarp : ndarray, shape (N,)
        Uniform where posteriors are right (see `mahalanobis_pit` and `tarp`).
    energy : ndarray, shape (N,)
    """

    mahalanobis: np.ndarray
    tarp: np.ndarray
    energy: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Sources with a defined result: boolean mask, shape (N,)."""
        return np.isfinite(self.mahalanobis + self.tarp + self.energy)


def proxy_scores(known: LabelledSources) -> list[MarginalScores]:
    """Scores of every proxy that the truth file has."""
    posterior = Sources(known.scored).posterior
    normal_scores = ndtri((np.arange(N_LEVELS) + 0.5) / N_LEVELS)
    found = []
    for name, true in known.proxies.items():
        score = np.empty(len(known))
        for rows in blocks(len(known)):
            part = posterior.take(rows)
            values = part.value(name, np.tile(normal_scores, (len(part.knots(name)), 1)))
            score[rows] = crps(values, true[rows])
        error = posterior.quantile(name, 0.5) - true
        pit = posterior.probability_below(name, true)
        found.append(MarginalScores(name, true, error, pit, score))
    return found


def latent_scores(known: LabelledSources) -> tuple[list[MarginalScores], JointScores | None]:
    """Scores of every latent, and of all together; none where no true latents are known."""
    n, d = known.latents.shape
    there = np.isfinite(known.latents).all(axis=1)
    if not d or not there.any():
        return [], None
    low, high = known.latents[there].min(axis=0), known.latents[there].max(axis=0)
    mean, pit, score = np.empty((n, d)), np.empty((n, d)), np.empty((n, d))
    together = np.full((3, n), np.nan)
    for rows in blocks(n):
        posterior, true = known.posterior(rows).latents, known.latents[rows]
        if known.noise[rows].any():
            posterior = posterior.with_noise(known.noise[rows])
        draws = posterior.draw(N_DRAWS, SEED)
        mean[rows], pit[rows] = posterior.mean, posterior.probability_below(true)
        score[rows] = np.stack([crps(draws[..., k], true[:, k]) for k in range(d)], axis=1)
        reference = uniform(known.source_id[rows], SEED, "tarp", d)
        # Draws are compared in units in which the true latents fill a unit cube.
        unit = (draws - low) / (high - low), (true - low) / (high - low)
        good = np.isfinite(draws).all(axis=(1, 2)) & there[rows]
        place = np.flatnonzero(good) + rows.start
        together[0, place] = mahalanobis_pit(posterior.mean[good], posterior.cov[good], true[good])
        together[1, place] = tarp(unit[0][good], unit[1][good], reference[good])
        together[2, place] = energy_score(draws[good, ::PAIRED], true[good])
    error = mean - known.latents
    latents = [
        MarginalScores(f"latent {k + 1}", known.latents[:, k], error[:, k], pit[:, k], score[:, k])
        for k in range(d)
    ]
    return latents, JointScores(*together)


def blocks(n: int) -> Iterator[slice]:
    """Slices of n rows, some at a time."""
    for start in range(0, n, _ROWS):
        yield slice(start, min(start + _ROWS, n))


# ---------------------------------------------------------------------- figures


def marginal_figures(
    scores: Sequence[MarginalScores], parts: Sequence[Subset], resampling: Resampling
) -> Iterator[Figure]:
    """Errors, coverage and CRPS of latents or proxies in every subset; for `ALL` also the PIT."""
    for each in scores:
        for part in parts:
            rows = part.rows & each.known
            if rows.any():
                yield from _marginal(each, part.name, rows, resampling)


def _marginal(
    each: MarginalScores, subset: str, rows: np.ndarray, resampling: Resampling
) -> Iterator[Figure]:
    centre = each.true[rows].mean()
    columns = [each.error**2, each.true - centre, (each.true - centre) ** 2, each.error, each.crps]
    columns += [inside(each.pit, level) for level in COVERAGES]
    if subset == ALL:
        columns += [each.pit < level for level in LEVELS]
    means = resampling.means(np.column_stack(columns), rows)
    square, first, second, bias, score = means[:, :5].T
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - square / (second - first**2)
    values = {"RMSE": np.sqrt(square), "R2": r2, "bias": bias, "CRPS": score}
    values |= {coverage(level): means[:, 5 + k] for k, level in enumerate(COVERAGES)}
    below = means[:, 5 + len(COVERAGES) :]
    values |= {below_level(level): column for level, column in zip(LEVELS, below.T, strict=False)}
    n, weight = int(rows.sum()), resampling.weight[rows]
    for name, column in values.items():
        if name.startswith(("coverage", "share")):
            yield Figure.of_share(name, each.name, subset, column, n, weight)
        else:
            yield Figure.of_values(name, each.name, subset, column, n)


def joint_figures(
    scores: JointScores, parts: Sequence[Subset], resampling: Resampling
) -> Iterator[Figure]:
    """Energy score in every subset, and by both joint tests the shares below levels."""
    for part in parts:
        rows = part.rows & scores.known
        if rows.any():
            yield from _joint(scores, part.name, rows, resampling)


def _joint(
    scores: JointScores, subset: str, rows: np.ndarray, resampling: Resampling
) -> Iterator[Figure]:
    n, weight = int(rows.sum()), resampling.weight[rows]
    energy = resampling.means(scores.energy[:, None], rows)[:, 0]
    yield Figure.of_values("energy score", TOGETHER, subset, energy, n)
    for name, values in ((MAHALANOBIS, scores.mahalanobis), (TARP, scores.tarp)):
        below = resampling.means(values[:, None] < np.append(LEVELS, COVERAGES), rows)
        worst = np.abs(below[:, : len(LEVELS)] - LEVELS).max(axis=1)
        yield Figure.of_values("largest departure", name, subset, worst, n)
        apart = np.abs(below[1:, : len(LEVELS)] - below[0, : len(LEVELS)]).max(axis=1)
        yield Figure.by_chance("largest departure", name, subset, apart, n)
        if name == MAHALANOBIS:  # an ellipsoid; TARP has no region of its own
            for k, level in enumerate(COVERAGES):
                column = below[:, len(LEVELS) + k]
                yield Figure.of_share(coverage(level), name, subset, column, n, weight)
        if subset == ALL:
            for level, column in zip(LEVELS, below.T, strict=False):
                yield Figure.of_share(below_level(level), name, ALL, column, n, weight)


def coverage(level: float) -> str:
    """Name of the figure of a central interval's coverage."""
    return f"coverage {100 * level:.0f} %"


def below_level(level: float) -> str:
    """Name of the figure of the share of true values below a level of their distributions."""
    return f"share below {level:.2f}"
