"""Figures of predicted distributions: errors, coverage, CRPS, and joint tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from targetsel.report.figures import ALL, Figure
from targetsel.report.judged import Judged, JudgedTogether
from targetsel.report.scores import inside
from targetsel.report.subsets import Subset
from targetsel.statistics.resampling import Resampling

COVERAGES = (0.5, 0.68, 0.9, 0.95)
LEVELS = np.arange(0.05, 1.0, 0.05)
TOGETHER = "latents together"
MAHALANOBIS, TARP = f"{TOGETHER}, Mahalanobis", f"{TOGETHER}, TARP"


def distributions(
    judged: Sequence[Judged], parts: Sequence[Subset], resampling: Resampling
) -> Iterator[Figure]:
    """Errors, coverage and CRPS of latents or proxies, in every subset."""
    for each in judged:
        for part in parts:
            rows = part.rows & each.known
            if rows.any():
                yield from _distribution(each, part.name, rows, resampling)


def _distribution(
    each: Judged, subset: str, rows: np.ndarray, resampling: Resampling
) -> Iterator[Figure]:
    """Errors, CRPS and coverage of one number over some sources, and for `ALL` its PIT."""
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
    for name, column in values.items():
        yield Figure.of_values(name, each.name, subset, column, int(rows.sum()))


def joint(together: JudgedTogether, part: Subset, resampling: Resampling) -> Iterator[Figure]:
    """Energy score, and by both joint tests the shares below levels, of some sources."""
    rows = part.rows & together.known
    if not rows.any():
        return
    n = int(rows.sum())
    energy = resampling.means(together.energy[:, None], rows)[:, 0]
    yield Figure.of_values("energy score", TOGETHER, part.name, energy, n)
    for name, values in zip(
        (MAHALANOBIS, TARP), (together.mahalanobis, together.tarp), strict=True
    ):
        below = resampling.means(values[:, None] < np.append(LEVELS, COVERAGES), rows)
        worst = np.abs(below[:, : len(LEVELS)] - LEVELS).max(axis=1)
        yield Figure.of_values("largest departure", name, part.name, worst, n)
        if name == MAHALANOBIS:  # an ellipsoid; TARP has no region of its own
            for k, level in enumerate(COVERAGES):
                column = below[:, len(LEVELS) + k]
                yield Figure.of_values(coverage(level), name, part.name, column, n)
        if part.name == ALL:
            for level, column in zip(LEVELS, below.T, strict=False):
                yield Figure.of_values(below_level(level), name, ALL, column, n)


def coverage(level: float) -> str:
    return f"coverage {100 * level:.0f} %"


def below_level(level: float) -> str:
    return f"share below {level:.2f}"
