"""The plain simulation of a pointing, against geometry that can be done by hand."""

from dataclasses import replace

import numpy as np
import pytest

from targetsel.errors import HandoffError
from targetsel.handoff.simulation import (
    INSTRUMENTS,
    Instrument,
    find_instrument,
    homes,
    offsets,
    simulate,
)

from .lists_by_hand import target_list

# Three fibers that reach everything within a degree of the center, no closer than 30 arcsec.
THREE = Instrument("three", "Three", 3, 2.0, "circle", None, 30.0, "by hand", "a real tool")
ARCSEC = 1 / 3600


def near(east, north=0.0):
    """Targets at these offsets [arcsec] from (10, 0)."""
    east = np.asarray(east, dtype=float)
    return {"ra": 10 + east * ARCSEC, "dec": np.broadcast_to(north, east.shape) * ARCSEC}


def test_pointing_takes_no_more_targets_than_it_has_fibers():
    targets = target_list(10, **near(100.0 * np.arange(10)))
    forecast = simulate(targets, THREE, 10.0, 0.0)
    assert forecast.inside.all()
    assert forecast.assigned.sum() == 3
    assert len(set(forecast.fiber[forecast.assigned])) == 3


def test_higher_priorities_come_first_then_higher_subpriorities():
    targets = target_list(
        5, **near(100.0 * np.arange(5)), priority=[1, 2, 1, 2, 1], subpriority=[0.1, 0, 0.3, 0, 0.2]
    )
    assert np.flatnonzero(simulate(targets, THREE, 10.0, 0.0).assigned).tolist() == [1, 2, 3]


def test_two_targets_closer_than_the_separation_do_not_both_get_a_fiber():
    targets = target_list(3, **near([0.0, 29.0, 58.0]), priority=[1, 2, 1])
    assert simulate(targets, THREE, 10.0, 0.0).assigned.tolist() == [False, True, False]
    targets = target_list(3, **near([0.0, 31.0, 62.0]), priority=[1, 2, 1])
    assert simulate(targets, THREE, 10.0, 0.0).assigned.all()


def test_target_outside_of_every_patrol_radius_gets_no_fiber():
    one = replace(THREE, n_fibers=1, patrol=60.0)
    assert homes(one).tolist() == [[0.0, 0.0]]
    targets = target_list(2, **near([59.9, 61.0]))
    assert simulate(targets, one, 10.0, 0.0).assigned.tolist() == [True, False]
    alone = target_list(1, **near([61.0]))
    assert simulate(alone, one, 10.0, 0.0).fiber.tolist() == [-1]


def test_nearest_free_fiber_is_taken():
    many = replace(THREE, n_fibers=200, patrol=10_000.0)
    rest = homes(many)
    targets = target_list(1, **near([rest[7, 0] + 5], rest[7, 1] - 5))
    assert simulate(targets, many, 10.0, 0.0).fiber.tolist() == [7]


def test_targets_outside_of_the_field_are_not_counted_as_inside():
    targets = target_list(3, ra=[10.0, 11.1, 190.0], dec=[0.0, 0.0, 0.0])
    forecast = simulate(targets, THREE, 10.0, 0.0)
    assert forecast.inside.tolist() == [True, False, False]
    assert forecast.assigned.tolist() == [True, False, False]


def test_hexagon_reaches_further_to_its_corners_than_to_its_sides():
    hexagon = replace(THREE, shape="hexagon")
    edge = 3600 * np.sqrt(3) / 2  # from the center to the middle of a side
    targets = target_list(2, **near([3590.0, 0.0], np.array([0.0, 3590.0])))
    assert simulate(targets, hexagon, 10.0, 0.0).inside.tolist() == [True, False]
    targets = target_list(1, **near([0.0], edge - 10))
    assert simulate(targets, hexagon, 10.0, 0.0).inside.all()


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_homes_fill_the_field_evenly(name):
    instrument = INSTRUMENTS[name]
    rest = homes(instrument)
    assert len(rest) == instrument.n_all
    radius = 1800 * instrument.diameter
    assert 0.9 * radius < np.hypot(*rest.T).max() < 1.05 * radius
    assert np.abs(rest.mean(axis=0)).max() < 0.02 * radius


def test_list_that_covers_the_sky_evenly_gives_almost_every_fiber_a_target():
    rng = np.random.default_rng(1)
    n = 20_000
    targets = target_list(n, ra=10 + rng.uniform(-1, 1, n), dec=rng.uniform(-1, 1, n))
    pfs = INSTRUMENTS["pfs"]
    forecast = simulate(targets, pfs, 10.0, 0.0)
    assert 0.9 * pfs.n_fibers < forecast.assigned.sum() <= pfs.n_fibers


def test_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(2)
    n = 500
    columns = {
        "target_id": np.arange(n),
        "ra": 10 + rng.uniform(-0.5, 0.5, n),
        "dec": rng.uniform(-0.5, 0.5, n),
        "priority": rng.integers(1, 4, n),
        "subpriority": rng.uniform(size=n),
    }
    shuffle = rng.permutation(n)
    few = replace(INSTRUMENTS["hectospec"], n_fibers=50)
    plain = simulate(target_list(n, **columns), few, 10.0, 0.0)
    mixed = {name: values[shuffle] for name, values in columns.items()}
    assert np.array_equal(
        simulate(target_list(n, **mixed), few, 10.0, 0.0).fiber, plain.fiber[shuffle]
    )


def test_offsets_are_arcseconds_on_the_sky_near_a_pole_too():
    place = offsets(np.array([100.0, 280.0]), np.array([89.9, 89.9]), 100.0, 89.9)
    assert place[0] == pytest.approx([0, 0], abs=1e-6)
    assert place[1] == pytest.approx([0, 720], abs=1e-2)


def test_every_instrument_says_where_its_numbers_come_from_and_what_to_use_instead():
    for each in INSTRUMENTS.values():
        assert len(each.source) > 20
        assert each.real_tool


@pytest.mark.parametrize(
    ("ra", "dec", "changed", "message"),
    [
        (400.0, 0.0, {}, "the pointing is ra 400, dec 0 deg"),
        (10.0, 91.0, {}, "the pointing is ra 10, dec 91 deg"),
        (10.0, 0.0, {"n_fibers": 0}, "0 fibers; expected 1 to 100,000"),
        (10.0, 0.0, {"n_fibers": 2_000_000_000}, "2,000,000,000 fibers; expected 1 to 100,000"),
        (10.0, 0.0, {"diameter": 0.0}, "a field of 0 deg"),
        (10.0, 0.0, {"patrol": -5.0}, "a reach of -5 arcsec; expected above zero"),
        (10.0, 0.0, {"patrol": float("nan")}, "a reach of nan arcsec"),
        (10.0, 0.0, {"separation": float("nan")}, "a separation of nan arcsec; expected 0 or more"),
    ],
)
def test_pointings_that_make_no_sense_are_refused(ra, dec, changed, message):
    with pytest.raises(HandoffError, match=message):
        simulate(target_list(), replace(THREE, **changed), ra, dec)


def test_unknown_instrument_is_answered_with_the_known_ones():
    with pytest.raises(HandoffError, match=r"unknown instrument 'deso'. Did you mean 'desi'"):
        find_instrument("deso")


def test_fibers_for_sky_and_standard_stars_are_not_given_to_targets():
    desi = INSTRUMENTS["desi"]
    assert (desi.n_all, desi.n_fibers) == (5000, 4500)  # ten petals, 40 and 10 fibers each
    five = replace(THREE, n_sky=1, n_stars=1)
    assert len(homes(five)) == 5
    targets = target_list(10, **near(100.0 * np.arange(10)))
    assert simulate(targets, five, 10.0, 0.0).assigned.sum() == 3
