"""The turning Earth, the Sun and the Moon on one day, by ERFA and without any download.

Directions are in the frame of the true equator and equinox of the day, in which the Earth turns
about the third axis. Precession, nutation and the Earth's velocity are those of the day's middle:
they change by less than an arcsecond until its ends. Polar motion (0.3 arcsec) is left out.

UT1 - UTC is read from the tables that the package astropy-iers-data holds; beyond their end its
last value is kept.
"""

from __future__ import annotations

import datetime
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FIRST, LAST = datetime.date(1973, 1, 3), datetime.date(2050, 12, 31)
MINUTES = 1441  # of a day, both ends counted
HOUR = 1 / 24  # [d]
_MJD_ZERO = 2_400_000.5
_MJD_ORIGIN = datetime.date(1858, 11, 17)
_TT_MINUS_TAI = 32.184  # [s]
_LIGHT = 173.144_632_674  # [au/d]
_METRES_PER_AU = 149_597_870_700.0
_WGS84 = 1  # ERFA's number of this ellipsoid
# Fields of a line of finals2000A, of the IERS.
_DAY, _UT1 = slice(7, 15), slice(58, 68)


def mjd_of(date: datetime.date) -> int:
    """The modified Julian date of midnight, UTC, with which a date begins."""
    return (date - _MJD_ORIGIN).days


def date_of(mjd: int) -> datetime.date:
    """The date of a whole modified Julian date."""
    return _MJD_ORIGIN + datetime.timedelta(days=mjd)


@lru_cache(maxsize=1)
def _measured() -> tuple[np.ndarray, np.ndarray]:
    """Days [MJD] and UT1 - UTC [s] on them, as far as they are measured or predicted."""
    from astropy_iers_data import IERS_A_FILE

    with open(IERS_A_FILE, encoding="ascii") as file:
        rows = [(line[_DAY], line[_UT1]) for line in file if line[_UT1].strip()]
    days, differences = np.array(rows, dtype=np.float64).T
    return days, differences


def last_known_day() -> datetime.date:
    """The last day on which UT1 - UTC is known or predicted by the IERS."""
    return date_of(int(_measured()[0][-1]))


def ut1_minus_utc(mjd: float) -> float:
    """UT1 - UTC [s] on the day of a modified Julian date; its last value beyond the table."""
    days, differences = _measured()
    place = int(np.searchsorted(days, mjd, side="right")) - 1
    return float(differences[max(place, 0)])


@dataclass(frozen=True)
class Ephemeris:
    """The Earth, Sun and Moon over one day, seen from one place.

    Attributes
    ----------
    latitude : float
        Geodetic latitude [rad].
    matrix : ndarray, shape (3, 3)
        Turns ICRS directions into the frame of the true equator.
    velocity : ndarray, shape (3,)
        Velocity of the Earth in ICRS, in units of that of light.
    sidereal, rate : float
        Local sidereal time at the start [rad], and its change [rad/h].
    hours : ndarray, shape (T,)
        Hours since the start, one a minute, at which Sun and Moon are given.
    sun, moon : ndarray, shape (T, 3)
        Unit vectors, from the place.
    illumination : ndarray, shape (T,)
        Share of the Moon's disk that is lit.
    """

    latitude: float
    matrix: np.ndarray
    velocity: np.ndarray
    sidereal: float
    rate: float
    hours: np.ndarray
    sun: np.ndarray
    moon: np.ndarray
    illumination: np.ndarray

    @classmethod
    def of_day(cls, start: float, longitude: float, latitude: float, height: float) -> Ephemeris:
        """The day that begins at `start` [MJD, UTC] at a longitude, latitude [deg], height [m]."""
        import erfa

        hours = np.linspace(0.0, 24.0, MINUTES)
        ut1 = start + ut1_minus_utc(start) / 86_400
        tt = start + (_tai_minus_utc(start) + _TT_MINUS_TAI) / 86_400
        matrix = erfa.pnm06a(_MJD_ZERO, tt + 0.5)
        ends = np.array([0.0, 1.0])
        turned = erfa.gst06(_MJD_ZERO, ut1 + ends, _MJD_ZERO, tt + ends, matrix)
        rate = (np.diff(turned)[0] % (2 * np.pi) + 2 * np.pi) / 24
        sidereal = float((turned[0] + np.radians(longitude)) % (2 * np.pi))
        times = tt + hours * HOUR
        around_sun, in_space = erfa.epv00(_MJD_ZERO, times)
        velocity = in_space["v"][MINUTES // 2] / _LIGHT
        sun, moon = -around_sun["p"], erfa.moon98(_MJD_ZERO, times)["p"]
        lit = _lit_share(sun, moon)
        ground = erfa.gd2gc(_WGS84, 0.0, np.radians(latitude), height) / _METRES_PER_AU
        angle = sidereal + rate * hours
        place = np.stack(
            [ground[0] * np.cos(angle), ground[0] * np.sin(angle), np.full(MINUTES, ground[2])],
            axis=1,
        )
        turned_sun, turned_moon = (
            _unit(_unit(body @ matrix.T - place) + velocity @ matrix.T) for body in (sun, moon)
        )
        return cls(
            *(float(np.radians(latitude)), matrix, velocity, sidereal, float(rate), hours),
            *(turned_sun, turned_moon, lit),
        )

    def sine_of_altitude(self, directions: np.ndarray, hours: np.ndarray) -> np.ndarray:
        """Sines of the altitudes of directions, shape (T, 3), at hours since the start."""
        angle = self.sidereal + self.rate * hours
        across = directions[:, 0] * np.cos(angle) + directions[:, 1] * np.sin(angle)
        return np.sin(self.latitude) * directions[:, 2] + np.cos(self.latitude) * across


def _tai_minus_utc(mjd: float) -> float:
    """TAI - UTC [s]: no leap second is known that is not in ERFA's table."""
    import erfa

    date = date_of(int(mjd))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)  # of years long after the last entry
        return float(erfa.dat(date.year, date.month, date.day, mjd % 1))


def _lit_share(sun: np.ndarray, moon: np.ndarray) -> np.ndarray:
    """The share of the Moon's disk that is lit, from vectors [au] of both, shape (T,)."""
    away = sun - moon
    cosine = -np.sum(away * moon, axis=1)
    cosine /= np.linalg.norm(away, axis=1) * np.linalg.norm(moon, axis=1)
    return (1 + cosine) / 2


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
