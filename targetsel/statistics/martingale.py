"""Bets against uniform numbers: how strongly a sequence speaks against being one, at any time.

Where predicted distributions are right, the probabilities below the true values are uniform and
independent. A gambler who starts with 1 and bets on them can expect no gain, so that the capital is
a martingale: by Ville's inequality (1939) it ever reaches c with a probability of at most 1 / c,
however long one looks. The bets are those of the Simple Jumper (Vovk et al. 2021, PMLR 152, 191).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

JUMP = 0.01  # share of the capital that is spread anew over all bets, before each number
BETS = np.array([-1.0, 0.0, 1.0])  # slopes of the density that is bet on


def jumper(numbers: np.ndarray) -> np.ndarray:
    """The gambler's capital after each of N numbers, as its decimal logarithm, shape (N,).

    A bet is a density 1 + slope (u - 1/2); the share of the capital on each slope follows what it
    has won lately.

    Parameters
    ----------
    numbers : ndarray, shape (N,)
        From 0 to 1, in the order of time; NaN, where nothing is bet, leaves the capital as it is.
    """
    share, logarithm = np.full(len(BETS), 1 / len(BETS)), 0.0
    path = np.empty(len(numbers))
    for k, number in enumerate(numbers):
        if np.isfinite(number):
            share = (1 - JUMP) * share + JUMP / len(BETS)
            share = share * (1 + BETS * (number - 0.5))
            total = share.sum()
            logarithm, share = logarithm + np.log10(total), share / total
        path[k] = logarithm
    return path


def capital(numbers: np.ndarray) -> np.ndarray:
    """The capital of two jumpers with half of it each, as its decimal logarithm, shape (N,).

    One bets that numbers are too small or too large, as where predictions are off to one side; the
    other that they are too far out or too central, as where they claim too little or too much.
    """
    return together([jumper(numbers), jumper(np.abs(2 * numbers - 1))])


def together(paths: Sequence[np.ndarray]) -> np.ndarray:
    """The capital that was divided evenly among several gamblers, logarithms as theirs (N,).

    It is a martingale too, so that looking at many quantities raises no more false alarms.
    """
    many = np.stack(paths)
    most = many.max(axis=0)
    return np.asarray(most + np.log10(np.mean(10.0 ** (many - most), axis=0)))


def passed(path: np.ndarray, level: float) -> int | None:
    """How many numbers it took until the capital reached a level; None if it never did."""
    there = path >= np.log10(level)
    return int(np.argmax(there)) + 1 if there.any() else None
