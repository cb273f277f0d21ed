"""Indices calculated from others, with errors that hold at low signal, too.

A ratio, a logarithm or a root of noisy numbers has no Gaussian error where the noise reaches a
divisor's zero or the end of what is defined: there first-order propagation may give anything. So
the parts are drawn with their joint covariance, which knows the pixels that they share, side bands
above all, and the formula's value at each draw gives its spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from scipy.special import ndtri

from targetsel.expressions import grammar
from targetsel.spectra.lines.table import LineFormula, LineTable

N_DRAWS = 2048
ONE_SIGMA = (0.158655, 0.841345)  # cumulative probabilities of a normal at -1 and +1
# Share of the draws that may lie where a formula is not defined, or beyond a zero of a divisor:
# that of a normal below -2.
MOST_UNDEFINED = 0.02275
NO_VALUE, NOISY = "not defined here", "not defined within 2 sigma"


def derived(
    table: LineTable, values: Mapping[str, np.ndarray], covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, error and reason of a formula on n spectra, shape (n,) each.

    Parameters
    ----------
    table : LineTable
        Chooses this one formula; its other definitions are what it needs.
    values : mapping of ndarray, shape (n,)
        The d measured indices that it needs.
    covariance : ndarray, shape (n, d, d)
        Covariance of their errors, in the same order.

    Returns
    -------
    value, error, reason : ndarray
        Errors are half of the range from the 16th to the 84th percentile. Value and error are NaN
        where the formula is not defined, and where it may well not be: where 2.3 % of the draws lie
        beyond a zero of a divisor, or of what a root or logarithm is taken of.
    """
    (name,) = table.names
    value = table.with_formulas(values)[name].copy()
    reason = np.where(np.isfinite(value), "", NO_VALUE).astype(object)
    error = np.full(value.shape, np.nan)
    rows = np.flatnonzero(np.isfinite(value))
    here = {part: each[rows, None] for part, each in values.items()}
    drawn, at = (table.with_formulas(each) for each in (_drawn(here, covariance[rows]), here))
    undefined = ~np.isfinite(drawn[name])
    for divisor in _divisors(table):
        undefined |= grammar.evaluate(divisor, drawn) * grammar.evaluate(divisor, at) <= 0
    is_noisy = undefined.mean(axis=1) > MOST_UNDEFINED
    value[rows[is_noisy]], reason[rows[is_noisy]] = np.nan, NOISY
    filled = np.where(np.isfinite(drawn[name]), drawn[name], at[name])
    low, high = np.quantile(filled[~is_noisy], ONE_SIGMA, axis=1)
    error[rows[~is_noisy]] = (high - low) / 2
    return value, error, reason


def _drawn(values: Mapping[str, np.ndarray], covariance: np.ndarray) -> dict[str, np.ndarray]:
    """Draws (n, S) of d indices (n, 1) with errors of a covariance (n, d, d)."""
    scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    scale = np.where(scale > 0, scale, 1.0)
    size, axes = np.linalg.eigh(covariance / scale[:, :, None] / scale[:, None])
    root = scale[:, :, None] * axes * np.sqrt(np.maximum(size, 0.0))[:, None]
    deviations = np.einsum("nij,sj->ins", root, _normals(len(values)))
    return {
        name: value + deviation
        for (name, value), deviation in zip(values.items(), deviations, strict=True)
    }


def _divisors(table: LineTable) -> list[grammar.Node]:
    """The divisors in the table's formulas, as expressions of indices."""
    found = []
    for each in table.definitions:
        if isinstance(each.index, LineFormula):
            for node in grammar.walk(each.index.tree):
                if isinstance(node, grammar.Branch) and node.word == "/":
                    found.append(node.parts[1])
                elif isinstance(node, grammar.Branch) and node.word == "**":
                    base, exponent = node.parts
                    if isinstance(exponent, grammar.Branch) and exponent.word == "negative":
                        found.append(base)
    return found


@cache
def _normals(dimension: int) -> np.ndarray:
    """Quasi-random standard normals that serve every spectrum, shape (`N_DRAWS`, dimension)."""
    from scipy.stats import qmc

    points = qmc.Sobol(dimension, scramble=True, rng=20261129).random(N_DRAWS)
    return ndtri(np.clip(points, 1e-9, 1 - 1e-9))
