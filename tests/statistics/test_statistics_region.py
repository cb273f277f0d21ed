"""Regions of points: who lies inside, and how dense others are there."""

from __future__ import annotations

import numpy as np
import pytest

from targetsel.statistics.region import CoveredRegion


def gaussian(n, seed, centre=0.0):
    return np.random.default_rng(seed).normal(centre, 1.0, (n, 2))


def ratio(region, others, weight=None, other_weight=None):
    other_weight = np.ones(len(others)) if other_weight is None else other_weight
    weight = np.ones(len(region)) if weight is None else weight
    return region.density_ratio(others, other_weight, weight)


def test_the_density_ratio_is_that_of_two_known_densities():
    found = ratio(CoveredRegion(gaussian(4000, 1)), others := gaussian(40_000, 2, 0.5))
    true = np.exp(0.5 * gaussian(4000, 1).sum(axis=1) - 0.25) * len(others) / 4000
    central = np.abs(gaussian(4000, 1)).max(axis=1) < 1.5
    off = np.log(found[central] / true[central])
    assert abs(off.mean()) < 0.2  # the point itself counts as one of eleven
    assert off.std() < 0.4  # ten neighbours: 0.32


def test_a_ball_that_a_point_of_both_samples_bounds_holds_it():
    points = gaussian(300, 3)
    assert ratio(CoveredRegion(points), points) == pytest.approx(1)


def test_points_of_weight_two_count_as_two():
    points, others = gaussian(200, 4), gaussian(500, 5)
    once = ratio(CoveredRegion(points), others)
    twice = np.arange(500) % 2 + 1.0
    doubled = np.concatenate([others, others[1::2]])
    assert np.array_equal(ratio(CoveredRegion(points), others, other_weight=twice),
                          ratio(CoveredRegion(points), doubled))  # fmt: skip
    assert ratio(CoveredRegion(points), others, weight=np.full(200, 2.0)) == pytest.approx(once / 2)


def test_no_bit_depends_on_the_order_of_rows():
    points, others = gaussian(200, 6), gaussian(700, 7)
    rng = np.random.default_rng(8)
    weight, other_weight = rng.random(200) + 0.1, rng.random(700)
    found = ratio(CoveredRegion(points), others, weight, other_weight)
    mixed, others_mixed = rng.permutation(200), rng.permutation(700)
    again = ratio(
        CoveredRegion(points[mixed]),
        others[others_mixed],
        weight[mixed],
        other_weight[others_mixed],
    )
    assert np.array_equal(again, found[mixed])


def test_no_other_point_near_gives_zero():
    assert not ratio(CoveredRegion(gaussian(100, 9)), gaussian(50, 10, 40.0)).any()


def test_points_at_one_place_do_not_divide_by_zero():
    points = np.concatenate([np.zeros((30, 2)), gaussian(100, 11)])
    found = ratio(CoveredRegion(points), np.zeros((60, 2)))
    assert np.isfinite(found).all()
    assert found[:30] == pytest.approx(2)
