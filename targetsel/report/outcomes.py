"""Figures of claims: how reliable their probabilities are, and the lists that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from targetsel.calibration.known_sources import KnownSources
from targetsel.report.baseline import FEWEST, photometry_probability
from targetsel.report.claims import Claim
from targetsel.report.curves import (
    COMPLETENESS,
    N_BINS,
    RankedList,
    calibration_error,
    in_bins,
)
from targetsel.report.figures import ALL, Figure
from targetsel.report.subsets import Subset
from targetsel.statistics.resampling import Resampling

ENSEMBLE, PHOTOMETRY = "ensemble", "photometry alone"


def reliability(claim: Claim, parts: Sequence[Subset], resampling: Resampling) -> Iterator[Figure]:
    """Calibration error of a probability, and for `ALL` the reliability diagram."""
    columns = in_bins(np.where(claim.known, claim.probability, 0.0), claim.true)
    for part in parts:
        rows = part.rows & claim.known
        if not rows.any():
            continue
        means, n = resampling.means(columns, rows), int(rows.sum())
        error = calibration_error(means)
        yield Figure.of_values("calibration error", claim.name, part.name, error, n)
        if part.name != ALL:
            continue
        here, probability, true = np.split(means, 3, axis=1)
        counts = columns[rows][:, :N_BINS].sum(axis=0).astype(int)
        for k in np.flatnonzero(counts):
            subset = f"P {k / N_BINS:.1f} to {(k + 1) / N_BINS:.1f}"
            with np.errstate(divide="ignore", invalid="ignore"):
                stated, share = probability[:, k] / here[:, k], true[:, k] / here[:, k]
            yield Figure.of_values("mean P", claim.name, subset, stated, int(counts[k]))
            yield Figure.of_values("share true", claim.name, subset, share, int(counts[k]))


def members(claim: Claim, resampling: Resampling) -> Iterator[Figure]:
    """Purity and completeness of a class's members, and what P promised of them."""
    assert claim.members is not None
    rows = claim.known
    listed = claim.members & rows
    n = int(listed.sum())
    promise = np.where(listed, claim.probability, 0.0)
    columns = np.column_stack([listed, listed & claim.true, claim.true, promise])
    share, found, true, promised = resampling.means(columns.astype(float), rows).T
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "purity of members": found / share,
            "completeness of members": found / true,
            "purity promised by P": promised / share,
            "true members over promised": found / promised,
        }
    for name, column in values.items():
        if np.isfinite(column[0]):
            yield Figure.of_values(name, claim.name, ALL, column, n)


def lists(
    claim: Claim, photometry: np.ndarray | None, known: KnownSources, resampling: Resampling
) -> Iterator[Figure]:
    """Purity at each completeness of lists ranked by the ensemble, and by photometry alone."""
    rows = claim.known
    true = claim.true[rows]
    if min(true.sum(), (~true).sum()) < FEWEST:
        return
    rankings = {ENSEMBLE: claim.probability[rows]}
    if photometry is not None:
        rankings[PHOTOMETRY] = photometry_probability(
            photometry[rows], true, known.group_number[rows], known.weight[rows]
        )
    found = {}
    for who, ranking in rankings.items():
        found[who] = resampling.estimate(RankedList(ranking, true).figures, rows)
    if len(found) == 2:
        found[f"{ENSEMBLE} less {PHOTOMETRY}"] = found[ENSEMBLE] - found[PHOTOMETRY]
    for who, estimate in found.items():
        names = ["average precision", *(f"purity at completeness {c:.2f}" for c in COMPLETENESS)]
        for name, column in zip(names, estimate.values.T, strict=True):
            of = f"{claim.name}, {who}"
            yield Figure.of_values(name, of, ALL, column, len(true))
