"""The nearest source to a position, and sources that move."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Distance, SkyCoord
from astropy.time import Time

from targetsel.sky.nearest import Motion, NearestSources

ARCSEC = 1 / 3600


def scattered(seed, n, ra, dec, width):
    rng = np.random.default_rng(seed)
    there = SkyCoord(ra * u.deg, dec * u.deg).directional_offset_by(
        rng.uniform(0, 360, n) * u.deg, width * np.sqrt(rng.random(n)) * u.arcsec
    )
    return there.ra.deg, there.dec.deg


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (180.0, 89.9999), (77.0, -90.0), (359.9, 45)])
def test_the_nearest_source_and_its_offset_are_those_that_astropy_finds(ra, dec):
    ours, theirs = scattered(1, 300, ra, dec, 60), scattered(2, 200, ra, dec, 60)
    sources = NearestSources(*ours, np.arange(300))
    nearest, following = sources.nearest(*theirs, 4 * ARCSEC)
    catalog, spectra = (SkyCoord(*each, unit="deg") for each in (ours, theirs))
    rows, apart, _ = spectra.match_to_catalog_sky(catalog)
    found = apart.arcsec <= 4
    assert 20 < found.sum() < 200
    assert nearest.tolist() == np.where(found, rows, -1).tolist()
    second, apart_second, _ = spectra.match_to_catalog_sky(catalog, nthneighbor=2)
    assert following.tolist() == np.where(apart_second.arcsec <= 4, second, -1).tolist()
    there = [each[found] for each in theirs]
    sep, east, north = sources.offsets(nearest[found], *there)
    assert sep == pytest.approx(apart.arcsec[found], abs=1e-6)
    assert np.hypot(east, north) == pytest.approx(sep, abs=1e-3)


def test_sources_move_as_astropy_moves_them():
    rng = np.random.default_rng(3)
    n = 50
    ra, dec = rng.uniform(0, 360, n), rng.uniform(-89, 89, n)
    pmra, pmdec = rng.uniform(-5000, 5000, (2, n))
    sources = NearestSources(ra, dec, np.arange(n), Motion(pmra, pmdec, np.full(n, 2016.0)))
    moved = sources.at(np.arange(n), 1990.0)
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


def test_no_sources_and_no_positions_have_no_nearest():
    none = NearestSources(np.empty(0), np.empty(0), np.empty(0))
    assert none.nearest(np.zeros(3), np.zeros(3), 1.0)[0].tolist() == [-1, -1, -1]
    one = NearestSources(np.zeros(1), np.zeros(1), np.zeros(1))
    assert one.nearest(np.empty(0), np.empty(0), 1.0)[0].shape == (0,)
    assert one.nearest(np.zeros(1), np.zeros(1), 1.0)[0].tolist() == [0]
