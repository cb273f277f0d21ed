"""Quasi-random points: evenly spread in the unit cube, and exactly so along each axis.

The first points of a scrambled Sobol sequence (Owen 1998, ACM TOMACS 8, 71) fill the cube evenly
where their number is a power of two. Of any other number some parts hold too many. So each
coordinate is replaced by its rank, as in a Latin hypercube (McKay et al. 1979, Technometrics 21,
239): quantiles along an axis are those of the uniform distribution for any number of points.
"""

from __future__ import annotations

import numpy as np

SEED = 20200912


def even_points(n: int, dimension: int, seed: int) -> np.ndarray:
    """Points of the unit cube, none on its faces, shape (n, dimension).

    Parameters
    ----------
    n : int
        Number of points, at least 1.
    seed : int
        Seed of the scrambling.
    """
    from scipy.stats import qmc  # which takes a third of a second to import

    sequence = qmc.Sobol(dimension, scramble=True, rng=np.random.default_rng([SEED, seed]))
    points = sequence.random_base2(int(np.ceil(np.log2(n))))[:n]
    ranks = points.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    found: np.ndarray = (ranks + 0.5) / n
    return found


def sliced_points(n: int, slices: int, dimension: int, seed: int) -> np.ndarray:
    """Points of the unit cube in slices, shape (slices, n, dimension).

    A sliced Latin hypercube (Qian 2012, JASA 107, 393): along each axis all points together are
    even, and so are the k-th points of all slices.
    """
    rng = np.random.default_rng([SEED, seed])
    place = np.empty((slices, n, dimension))
    for axis in range(dimension):
        strata = [rng.permutation(n) + k * n for k in range(slices)]
        place[..., axis] = rng.permuted(np.stack(strata), axis=0)
    return (place + 0.5) / (slices * n)
