"""The densest pointings of a list, against places that are known."""

from dataclasses import replace

import numpy as np
import pytest

from targetsel.errors import HandoffError
from targetsel.handoff.densest import _BestSums, densest_pointings
from targetsel.handoff.simulation import INSTRUMENTS, offsets, simulate
from targetsel.sky.positions import separation, unit_vectors

from .lists_by_hand import target_list

AAT = INSTRUMENTS["2df"]
ARCSEC = 1 / 3600


def clump(n, ra, dec, radius, seed=0):
    """Positions [deg] of `n` targets on the sphere within a radius [deg] of a place."""
    rng = np.random.default_rng(seed)
    center = unit_vectors(np.array([ra]), np.array([dec]))[0]
    across = np.cross(center, [0.3, 0.5, 0.8])
    across /= np.linalg.norm(across)
    r, turn = np.radians(radius) * np.sqrt(rng.uniform(size=n)), rng.uniform(0, 2 * np.pi, n)
    aside = np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * np.cross(center, across)
    x, y, z = (np.cos(r)[:, None] * center + np.sin(r)[:, None] * aside).T
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arcsin(np.clip(z, -1, 1)))


def listed(*clumps):
    ra, dec = np.concatenate([np.stack(each) for each in clumps], axis=1)
    return target_list(len(ra), ra=ra, dec=dec)


@pytest.mark.parametrize(
    ("ra", "dec"), [(150.0, 2.0), (0.0, 0.0), (359.95, 60.0), (77.0, 90.0), (12.0, -89.5)]
)
def test_clump_is_found_wherever_it_is(ra, dec):
    targets = listed(clump(60, ra, dec, 0.9), clump(40, 220.0, 10.0, 0.9), clump(30, 30, -40, 5))
    (found,) = densest_pointings(targets, AAT)
    here = np.array([ra]), np.array([dec])
    assert separation(np.array([found.ra]), np.array([found.dec]), *here)[0] < 0.2
    assert found.forecast.inside[:60].all()
    assert not found.forecast.inside[60:].any()


def test_forecast_is_that_of_the_pointing_that_is_printed():
    targets = listed(clump(300, 150, 2, 2.0))
    (found,) = densest_pointings(targets, INSTRUMENTS["pfs"])
    again = simulate(targets, INSTRUMENTS["pfs"], found.ra, found.dec)
    assert np.array_equal(again.fiber, found.forecast.fiber)


@pytest.mark.parametrize("seed", range(4))
def test_no_pointing_of_a_fine_grid_holds_many_more_targets(seed):
    rng = np.random.default_rng(seed)
    targets = listed((rng.uniform(8, 12, 400), rng.uniform(-2, 2, 400)))
    (found,) = densest_pointings(targets, replace(AAT, separation=0.0))
    ra, dec = targets.table["ra"].to_numpy(), targets.table["dec"].to_numpy()
    grid = [
        (np.hypot(*offsets(ra, dec, a, d).T) <= 3600).sum()
        for a in np.arange(8, 12.01, 0.05)
        for d in np.arange(-2, 2.01, 0.05)
    ]
    assert found.forecast.inside.sum() >= 0.97 * max(grid)


def test_field_between_two_clumps_is_found_though_no_target_is_at_its_center():
    targets = listed(clump(20, 10.0, 0.0, 0.1), clump(20, 11.7, 0.0, 0.1, seed=1))
    (found,) = densest_pointings(targets, AAT)
    assert found.forecast.inside.all()
    assert found.ra == pytest.approx(10.85, abs=0.06)


def test_targets_that_fibers_cannot_take_do_not_draw_the_pointing():
    # 300 targets within 20 arcsec, of which fibers 30 arcsec apart take one; 50 that are spread.
    targets = listed(clump(300, 10, 0, 20 * ARCSEC), clump(50, 60, 0, 0.9))
    (found,) = densest_pointings(targets, AAT)
    assert found.ra == pytest.approx(60, abs=0.2)
    # A hundred around one DESI fiber, and 50 that are spread.
    targets = listed(clump(100, 10, 0, 60 * ARCSEC), clump(50, 60, 0, 1.4))
    (found,) = densest_pointings(targets, INSTRUMENTS["desi"])
    assert found.ra == pytest.approx(60, abs=0.2)


def test_later_pointings_are_found_among_the_targets_that_are_left():
    targets = listed(clump(30, 10, 0, 0.8), clump(20, 60, 0, 0.8), clump(12, 110, 0, 0.8))
    few = replace(AAT, n_fibers=16, separation=0.0)
    found = densest_pointings(targets, few, 10)
    assert [round(each.ra / 10) * 10 for each in found] == [10, 60, 10, 110, 60]
    assert [int(each.forecast.assigned.sum()) for each in found] == [16, 16, 14, 12, 4]
    assert sum(each.forecast.assigned.astype(int) for each in found).tolist() == [1] * 62


def test_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(3)
    n = 800
    columns = {
        "target_id": np.arange(n),
        "ra": rng.uniform(8, 12, n),
        "dec": rng.uniform(-2, 2, n),
        "priority": rng.integers(1, 4, n),
        "subpriority": rng.uniform(size=n),
    }
    shuffle = rng.permutation(n)
    few = replace(INSTRUMENTS["hectospec"], n_fibers=50)
    plain = densest_pointings(target_list(n, **columns), few, 3)
    mixed = {name: values[shuffle] for name, values in columns.items()}
    again = densest_pointings(target_list(n, **mixed), few, 3)
    assert [(each.ra, each.dec) for each in again] == [(each.ra, each.dec) for each in plain]
    for each, other in zip(again, plain, strict=True):
        assert np.array_equal(each.forecast.fiber, other.forecast.fiber[shuffle])


def test_list_without_targets_has_no_pointing():
    assert densest_pointings(target_list(0), AAT, 3) == []


@pytest.mark.parametrize("n", [0, 1001])
def test_impossible_number_of_pointings_is_refused(n):
    with pytest.raises(HandoffError, match=r"pointings; expected 1 to 1,000"):
        densest_pointings(target_list(4), AAT, n)


@pytest.mark.parametrize("crowd", [0, 30, 3000])
def test_sums_of_the_best_are_those_of_all_targets_in_reach(crowd):
    """They are the same where targets crowd, where few are, and where none is."""
    draw = np.random.default_rng(3)
    ra = np.concatenate([draw.normal(10, 0.1, crowd), draw.uniform(0, 20, 300)])
    at = unit_vectors(ra, np.concatenate([draw.normal(0, 0.1, crowd), draw.uniform(-9, 9, 300)]))
    value = np.sort(draw.choice([0.1, 0.3, 0.7, 0.9], len(at)))[::-1].copy()
    centers = unit_vectors(np.array([10.0, 10.2, 3.0, 200.0]), np.array([0.0, 0.1, 2.0, 0.0]))
    sums = _BestSums(at, value, 7).within(0.02, centers)
    for each, center in zip(sums, centers, strict=True):
        inside = value[np.linalg.norm(at - center, axis=1) <= 0.02]
        assert each == np.sort(inside[:7]).sum()
