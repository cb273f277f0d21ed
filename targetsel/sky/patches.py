"""Contiguous patches of the sky, and folds that are made of them."""

from __future__ import annotations

import numpy as np

COARSEST = 2  # order of the largest patches: nside 4, 15 degrees across
ENOUGH = 100  # patches of folds: they are as large as leaves so many
ENOUGH_FOR_ERRORS = 40  # larger ones, as clustering must not reach from one to the next


def patches_of(pixels: np.ndarray, order: int, enough: int = ENOUGH) -> np.ndarray:
    """The patch that each pixel lies in, numbered from 0, shape (N,).

    Patches are HEALPix pixels: of the largest kind of which there are enough, or else of the next
    larger kind than the pixels themselves.

    Parameters
    ----------
    pixels : ndarray of int64, shape (N,)
        In NESTED order.
    order : int
    enough : int
    """
    own = max(order - 1, 0)
    for coarse in range(min(COARSEST, own), own + 1):
        found, place = np.unique(pixels >> 2 * (order - coarse), return_inverse=True)
        if len(found) >= enough:
            break
    return np.asarray(place, dtype=np.int64)


def folds_of(patches: np.ndarray, areas: np.ndarray, n_folds: int) -> np.ndarray:
    """The fold of each pixel, from 0, shape (N,): whole patches, spread over the sky.

    The largest patch comes first, and each goes to the fold with the least area so far; so folds
    have nearly the same area, and neighbours on the sky are in different folds.

    Parameters
    ----------
    patches : ndarray of int64, shape (N,)
    areas : ndarray, shape (N,)
    n_folds : int
    """
    total = np.round(np.bincount(patches, areas), 9)
    fold = np.zeros(len(total), dtype=np.int64)
    filled = np.zeros(n_folds)
    for patch in np.argsort(-total, kind="stable"):
        fold[patch] = np.argmin(filled)
        filled[fold[patch]] = round(filled[fold[patch]] + total[patch], 9)
    return fold[patches]
