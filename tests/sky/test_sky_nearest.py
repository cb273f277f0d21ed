"""Places near sources, and sources that move."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Distance, SkyCoord
from astropy.time import Time

from targetsel.sky.nearest import HeldPlaces, Motion, Moving

ARCSEC = 1 / 3600


def scattered(seed, n, ra, dec, width):
    rng = np.random.default_rng(seed)
    there = SkyCoord(ra * u.deg, dec * u.deg).directional_offset_by(
        rng.uniform(0, 360, n) * u.deg, width * np.sqrt(rng.random(n)) * u.arcsec
    )
    return there.ra.deg, there.dec.deg


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (180.0, 89.9999), (77.0, -90.0), (359.9, 45)])
def test_pairs_and_their_offsets_are_those_that_astropy_finds(ra, dec):
    ours, theirs = scattered(1, 300, ra, dec, 60), scattered(2, 200, ra, dec, 60)
    pairs = HeldPlaces(*theirs).near(Moving(*ours), 4)
    catalog, spectra = (SkyCoord(*each, unit="deg") for each in (ours, theirs))
    places, sources, apart, _ = catalog.search_around_sky(spectra, 4 * u.arcsec)
    expected = {(p, s): d for p, s, d in zip(places, sources, apart.arcsec, strict=True)}
    found = {(each["place"], each["source"]): each["sep"] for each in pairs}
    assert len(expected) > 100
    assert found == pytest.approx(expected, abs=2e-6)
    assert np.hypot(pairs["east"], pairs["north"]) == pytest.approx(pairs["sep"], abs=1e-3)


def test_a_place_to_the_north_east_is_so_much_east_and_north():
    there = HeldPlaces(np.array([10 + 0.6 * ARCSEC / np.cos(np.radians(60))]), np.array([60.0]))
    (pair,) = there.near(Moving(np.array([10.0]), np.array([60 - 0.8 * ARCSEC])), 2)
    assert (pair["east"], pair["north"]) == pytest.approx((0.6, 0.8), abs=1e-4)
    assert pair["sep"] == pytest.approx(1.0, abs=1e-5)


def test_sources_move_as_astropy_moves_them():
    rng = np.random.default_rng(3)
    n = 50
    ra, dec = rng.uniform(0, 360, n), rng.uniform(-89, 89, n)
    pmra, pmdec = rng.uniform(-5000, 5000, (2, n))
    sources = Moving(ra, dec, Motion(pmra, pmdec, np.full(n, 2016.0)))
    moved = sources.at(np.arange(n), np.full(n, 1990.0))
    expected = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        radial_velocity=np.zeros(n) * u.km / u.s,
        distance=Distance(np.full(n, 10.0) * u.pc),
        obstime=Time(2016.0, format="jyear", scale="tdb"),
    ).apply_space_motion(new_obstime=Time(1990.0, format="jyear", scale="tdb"))
    there = expected.cartesian.xyz.value.T
    there /= np.linalg.norm(there, axis=1, keepdims=True)
    assert np.abs(moved - there).max() < np.radians(1e-4 * ARCSEC)


def test_each_place_finds_a_source_where_it_was_in_its_own_year():
    """A star of 1 arcsec/yr to the north, two slow ones, and places of four years."""
    sources = Moving(
        np.array([10.0, 10.0, 20.0]),
        np.zeros(3),
        Motion(np.zeros(3), np.array([1000.0, 0, 10.0]), np.array([2016.0, 2016.0, np.nan])),
    )
    years = np.array([2000.0, 2016.5, np.nan, 2020.0])
    places = HeldPlaces(np.full(4, 10.0), np.array([-16, 0.5, 0, 4]) * ARCSEC, years)
    pairs = places.near(sources, 0.7)
    found = sorted(zip(pairs["place"].tolist(), pairs["source"].tolist(), strict=True))
    assert found == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)]
    assert pairs["sep"][pairs["place"] == 0] == pytest.approx(0, abs=1e-5)


def test_no_sources_and_no_places_make_no_pairs():
    none, nowhere = Moving(np.empty(0), np.empty(0)), HeldPlaces(np.empty(0), np.empty(0))
    assert len(nowhere.near(Moving(np.zeros(3), np.zeros(3)), 1.0)) == 0
    assert len(HeldPlaces(np.zeros(1), np.zeros(1)).near(none, 1.0)) == 0
