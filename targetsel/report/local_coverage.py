"""Coverage of the 90 % intervals in cells of feature space, beside what chance alone would give.

Intervals that hold 90 % over all sources may hold more of some kinds of galaxies and less of
others. The cells are parts of equal numbers in what is known before a spectrum is taken: sources
are split again and again where the feature that varies most among them has its median. True values
have no say in the cells, so coverage is counted on all sources. The worst of many cells is below
90 % by chance, too; how far, whole groups say whose hits are dealt to other sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import rankdata

from targetsel.report.distributions import MarginalScores, coverage, inside
from targetsel.report.figures import ALL, BY_CHANCE, Figure
from targetsel.report.photometry import features
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.selection.sources import Sources
from targetsel.statistics.resampling import Resampling

N_CELLS = 40
FEWEST_PER_CELL = 50
LEVEL = 0.9  # of the intervals
N_DEALS = 200
SEED = 0

TOGETHER = "all proxies"
CELL = "cell"
WORST, OVER_CELLS = "coverage 90 % in the worst cell", "departure from 90 % over cells"


def cells(known: LabelledSources) -> np.ndarray | None:
    """The cell of each source, from 0 up, shape (N,); None where sources are too few for two.

    Features are the medians and widths of all predicted proxies, magnitudes, colours and size.
    """
    wanted = min(len(known) // FEWEST_PER_CELL, N_CELLS)
    if wanted < 2:
        return None
    posterior = Sources(known.scored).posterior
    columns = list(features(known.scored)[0].T)
    for name in posterior.names:
        low, middle, high = (posterior.quantile(name, p) for p in (0.16, 0.5, 0.84))
        columns += [middle, high - low]
    return equal_cells(np.column_stack(columns), wanted)


def equal_cells(values: np.ndarray, wanted: int) -> np.ndarray:
    """Cells of equal numbers of sources (to one), from 0 up, shape (N,).

    Parameters
    ----------
    values : ndarray, shape (N, F)
        Features. Only their order counts; NaN is taken for the middle.
    """
    ranks = np.where(np.isnan(values), np.nan, rankdata(values, axis=0, nan_policy="omit"))
    ranks /= np.maximum(np.isfinite(ranks).sum(axis=0), 1)
    ranks = np.where(np.isnan(ranks), 0.5, ranks)
    found = np.zeros(len(values), dtype=np.intp)

    def split(rows: np.ndarray, first: int, n: int) -> None:
        if n == 1:
            found[rows] = first
            return
        widest = ranks[rows].std(axis=0).argmax()
        ordered = rows[np.argsort(ranks[rows, widest], kind="stable")]
        below = len(rows) * (n // 2) // n
        split(ordered[:below], first, n // 2)
        split(ordered[below:], first + n // 2, n - n // 2)

    split(np.arange(len(values)), 0, wanted)
    return found


def local_figures(
    known: LabelledSources, scores: Sequence[MarginalScores], resampling: Resampling
) -> Iterator[Figure]:
    """Coverage of 90 % intervals in every cell, the worst of them, and what chance would give.

    None where sources are too few for cells.

    Parameters
    ----------
    scores : sequence of MarginalScores
        Of the proxies of the labelled sources.
    """
    cell = cells(known)
    scores = [each for each in scores if each.known.any()]
    if cell is None or not scores:
        return
    hits, even = ({each.name: of(each) for each in scores} for of in (_hits, _even_hits))
    for each in (hits, even):
        each[TOGETHER] = _mean(list(each.values()))
    for name, hit in hits.items():
        rows = np.isfinite(hit)
        found = list(_in_cells(name, hit, cell, resampling))
        worst = min(found, key=lambda each: each.value)
        departure = float(_departure(np.array([each.value for each in found])))
        yield from found
        yield replace(worst, figure=WORST, subset=ALL)
        yield Figure(OVER_CELLS, name, ALL, departure, np.nan, np.nan, int(rows.sum()))
        group, weight = known.group_number[rows], known.weight[rows]
        dealt = in_cells_by_chance(even[name][rows], cell[rows], group, weight)
        for figure, values in ((WORST, dealt.min(axis=1)), (OVER_CELLS, _departure(dealt))):
            low, middle, high = map(float, np.quantile(values, [0.025, 0.5, 0.975]))
            yield Figure(figure + BY_CHANCE, name, ALL, middle, low, high, int(rows.sum()))


def n_cells(figures: Iterable[Figure]) -> int:
    """Number of cells that figures of an evaluation are of."""
    return sum(each.of == TOGETHER and each.subset.startswith(CELL) for each in figures)


def in_cells_by_chance(
    hit: np.ndarray, cell: np.ndarray, group: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Shares of hits in C cells, had cells nothing to do with them, shape (`N_DEALS`, C).

    The hits of whole groups, in shuffled order, are dealt to the sources in the order of theirs,
    so that hits of one group, which may depend on one another, stay together.

    Parameters
    ----------
    hit, cell, group, weight : ndarray, shape (N,)
    """
    order = np.argsort(group, kind="stable")
    hit, cell, weight = hit[order], np.unique(cell[order], return_inverse=True)[1], weight[order]
    number = np.unique(group[order], return_inverse=True)[1]
    rng, total = np.random.default_rng(SEED), np.bincount(cell, weight)
    found = np.empty((N_DEALS, len(total)))
    for row in found:
        shuffled = rng.permutation(number[-1] + 1)[number]
        dealt = hit[np.argsort(shuffled, kind="stable")]
        row[:] = np.bincount(cell, weight * dealt) / total
    return found


def _in_cells(
    name: str, hit: np.ndarray, cell: np.ndarray, resampling: Resampling
) -> Iterator[Figure]:
    """Coverage in each cell that has hits."""
    for each in np.unique(cell[np.isfinite(hit)]):
        rows = (cell == each) & np.isfinite(hit)
        means = resampling.means(hit[:, None], rows)[:, 0]
        subset = f"{CELL} {each + 1}"
        yield Figure.of_share(
            coverage(LEVEL), name, subset, means, int(rows.sum()), resampling.weight[rows]
        )


def _hits(scores: MarginalScores) -> np.ndarray:
    """1 where the 90 % interval holds the true value, 0 where not, NaN where one is missing."""
    return np.where(scores.known, inside(scores.pit, LEVEL), np.nan)


def _even_hits(scores: MarginalScores) -> np.ndarray:
    """Hits as of intervals that hold exactly 90 % of all sources."""
    rows = np.flatnonzero(scores.known)
    nearest = np.argsort(np.abs(scores.pit[rows] - 0.5), kind="stable")
    found = np.full(len(scores.pit), np.nan)
    found[rows] = 0.0
    found[rows[nearest[: round(LEVEL * len(rows))]]] = 1.0
    return found


def _mean(hits: Sequence[np.ndarray]) -> np.ndarray:
    """Share of a source's known proxies that are hits, shape (N,); NaN where none is known."""
    n_known = np.isfinite(hits).sum(axis=0)
    return np.where(n_known, np.nansum(hits, axis=0), np.nan) / np.maximum(n_known, 1)


def _departure(shares: np.ndarray) -> np.ndarray:
    """Root mean square departure from 90 % over cells, the last axis."""
    return np.sqrt(((shares - LEVEL) ** 2).mean(axis=-1))
