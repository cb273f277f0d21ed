"""The joint distribution of proxies against true values, where each alone may be right.

A true value is turned into its normal score, at which the predicted distribution of that proxy
reaches it, and draws of the joint posterior into theirs. Where posteriors are right, the scores of
the true values are one more draw: whitened by the mean and the covariance of the draws they have
mean 0 and the identity for a covariance, whatever the form of the posterior.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from targetsel.report.distributions import blocks
from targetsel.report.figures import ALL, Figure, Subset
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.selection.sources import Sources
from targetsel.spectra.lines import complexes
from targetsel.statistics.resampling import Resampling

TOGETHER = "proxies together"
DEPARTURE, DAWID_SEBASTIANI = "joint departure", "Dawid-Sebastiani score"
STATED, OBSERVED = "correlation of errors, stated", "correlation of errors, observed"
DIFFERENCE = "correlation of errors, observed less stated"
N_DRAWS = 1024
FARTHEST = 4.0  # normal scores beyond are taken to be there: true values that draws do not reach


@dataclass(frozen=True)
class CopulaScores:
    """Normal scores of P true proxies of N sources, beside draws of their joint posteriors.

    Attributes
    ----------
    names : tuple of P strings
    known : ndarray of bool, shape (N,)
        Sources with a posterior and a true value of every proxy; elsewhere the others are 0.
    scores : ndarray, shape (N, P)
        Of the true values, brought to mean 0 and variance 1 over all sources, so that what is
        wrong with single proxies does not count as wrong with all together.
    stated : ndarray, shape (N, P, P)
        Correlations of the draws' scores.
    whitened : ndarray, shape (N, P)
    score : ndarray, shape (N,)
        Dawid & Sebastiani (1999, Ann. Stat. 27, 65): log determinant of the draws' covariance, plus
        the squared length of `whitened`. The lower the better.
    """

    names: tuple[str, ...]
    known: np.ndarray
    scores: np.ndarray
    stated: np.ndarray
    whitened: np.ndarray
    score: np.ndarray


def copula_scores(known: LabelledSources) -> CopulaScores | None:
    """Scores of all proxies that were measured; None where there are fewer than two.

    Sums of others, such as the complex of Halpha and [NII], are left out: they follow from their
    parts but for a small rest, and the least error of a single proxy would count as one of that.

    Raises
    ------
    CatalogError
        If the scored file lacks what a joint posterior needs.
    """
    names = tuple(name for name, true in known.proxies.items() if np.isfinite(true).any())
    names = tuple(name for name in names if name not in complexes(names))
    if len(names) < 2:
        return None
    posterior = Sources(known.scored).posterior
    true = np.stack([posterior.score(name, known.proxies[name]) for name in names], axis=1)
    there = ~np.isnan(true).any(axis=1)
    true = _standardised(np.clip(true, -FARTHEST, FARTHEST), there, known.weight)
    n, p = true.shape
    stated, whitened, score = np.zeros((n, p, p)), np.zeros((n, p)), np.zeros(n)
    for rows in blocks(n):
        part = posterior.take(rows).draw_scores(names, N_DRAWS)
        draws = np.clip(np.stack([part[name] for name in names], axis=2), -FARTHEST, FARTHEST)
        there[rows] &= np.isfinite(draws).all(axis=(1, 2))
        good = np.flatnonzero(there[rows])
        draws, place = draws[good], good + rows.start
        mean = draws.mean(axis=1)
        rest = draws - mean[:, None]
        cov = rest.transpose(0, 2, 1) @ rest / draws.shape[1]
        spread = np.sqrt(np.einsum("npp->np", cov))
        stated[place] = cov / (spread[:, :, None] * spread[:, None])
        factor = np.linalg.cholesky(cov + 1e-9 * np.eye(p))
        away = np.linalg.solve(factor, (true[place] - mean)[..., None])[..., 0]
        whitened[place] = away
        score[place] = 2 * np.log(np.einsum("npp->np", factor)).sum(axis=1) + (away**2).sum(axis=1)
    scores = np.where(there[:, None], true, 0.0)
    return CopulaScores(names, there, scores, stated, whitened, score)


def _standardised(scores: np.ndarray, rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Scores with mean 0 and variance 1 of each column over some rows, by weight."""
    if not weight[rows].sum() > 0:
        return scores
    rest = scores - np.average(scores[rows], axis=0, weights=weight[rows])
    spread = np.sqrt(np.average(rest[rows] ** 2, axis=0, weights=weight[rows]))
    return rest / np.where(spread > 0, spread, 1.0)


def copula_figures(
    scores: CopulaScores, parts: Sequence[Subset], group: np.ndarray, resampling: Resampling
) -> Iterator[Figure]:
    """The joint test and score in every subset; for `ALL` also the correlation of every pair.

    Parameters
    ----------
    group : ndarray, shape (N,)
        Number of each source's group, as the resampling has it.
    """
    for part in parts:
        rows = part.rows & scores.known
        n = int(rows.sum())
        if len(np.unique(group[rows])) < 2:
            continue
        departure = resampling.estimate(joint_departure(scores.whitened[rows], group[rows]), rows)
        yield Figure.of_values(DEPARTURE, TOGETHER, part.name, departure.values, n)
        mean = resampling.means(scores.score[:, None], rows)[:, 0]
        yield Figure.of_values(DAWID_SEBASTIANI, TOGETHER, part.name, mean, n)
        if part.name == ALL:
            yield from _pairs(scores, rows, resampling)


def joint_departure(whitened: np.ndarray, group: np.ndarray) -> Callable[[np.ndarray], float]:
    """Function of weights that returns how far second moments of whitened scores are from 1.

    With C these moments, it is the root of |C - 1|^2 / P, where what chance adds to the square is
    taken off: products of a group with itself are left out. So it is about 0 where posteriors are
    right, and then as often negative, the root of the size with a minus. It is 1 where C is twice
    what it should be, and 0.4 where of ten proxies two have whitened scores with a correlation of
    0.9. Means are left out, since single proxies tell them.

    Parameters
    ----------
    whitened : ndarray, shape (n, P)
    group : ndarray, shape (n,)
    """
    p = whitened.shape[1]
    above, beside = np.triu_indices(p)
    twice = np.where(above == beside, 1.0, np.sqrt(2.0))
    moments = (whitened[:, above] * whitened[:, beside] - (above == beside)) * twice
    order = np.argsort(group, kind="stable")
    columns = np.column_stack([np.ones(len(group)), moments])[order]
    starts = np.flatnonzero(np.diff(group[order], prepend=group.min() - 1))

    def departure(weight: np.ndarray) -> float:
        sums = np.add.reduceat(columns * weight[order, None], starts, axis=0)
        products = sums.sum(axis=0) ** 2 - (sums**2).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            square = products[1:].sum() / products[0] / p
        return float(np.sign(square) * np.sqrt(np.abs(square)))

    return departure


def _pairs(scores: CopulaScores, rows: np.ndarray, resampling: Resampling) -> Iterator[Figure]:
    """Correlations of the errors of each pair of proxies, stated and observed."""
    pairs = list(combinations(range(len(scores.names)), 2))
    one, other = np.array(pairs).T
    values = scores.scores
    columns = [values, values**2, values[:, one] * values[:, other], scores.stated[:, one, other]]
    means = resampling.means(np.hstack(columns), rows)
    p, n = len(scores.names), int(rows.sum())
    first, second, product, stated = np.split(means, np.cumsum([p, p, len(pairs)]), axis=1)
    spread = np.sqrt(np.maximum(second - first**2, 1e-12))
    observed = (product - first[:, one] * first[:, other]) / (spread[:, one] * spread[:, other])
    for k, (i, j) in enumerate(pairs):
        of = f"{scores.names[i]} and {scores.names[j]}"
        for name, column in (
            (STATED, stated),
            (OBSERVED, observed),
            (DIFFERENCE, observed - stated),
        ):
            yield Figure.of_values(name, of, ALL, column[:, k], n)
