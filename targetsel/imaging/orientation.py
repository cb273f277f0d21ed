"""Orientation of images on the sky: the directions of north and east in them.

In an image's plane x is to the right and y is up, with row 0 at the bottom.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from astropy.wcs import WCS

AGREE = 1.0  # [deg] between orientations that count as one
AS_ON_THE_SKY, MIRRORED = 1, -1

Lie = tuple[float, float]  # position angle [deg] and parity of one image
UNKNOWN: Lie = (np.nan, np.nan)
NORTH_UP: Lie = (0.0, AS_ON_THE_SKY)


@dataclass(frozen=True)
class Orientation:
    """Orientation of N images on the sky.

    Attributes
    ----------
    position_angle : ndarray, shape (N,)
        Of the y axis [deg, east of north]; NaN where it is not known.
    parity : ndarray, shape (N,)
        1 where east is counterclockwise of north, as on the sky, -1 in mirror images; NaN where it
        is not known.
    """

    position_angle: np.ndarray
    parity: np.ndarray

    def __post_init__(self) -> None:
        known = np.isfinite(self.position_angle) & (np.abs(self.parity) == 1)
        for name in ("position_angle", "parity"):
            object.__setattr__(self, name, np.where(known, getattr(self, name), np.nan))

    @classmethod
    def of(cls, lies: Iterable[Lie]) -> Orientation:
        """The orientation of images one by one."""
        return cls(*np.array(list(lies), dtype=np.float64).reshape(-1, 2).T)

    @property
    def known(self) -> np.ndarray:
        """Whether it is known, shape (N,)."""
        return np.isfinite(self.parity)

    @property
    def north(self) -> np.ndarray:
        """Unit vectors (x, y) to the north, shape (N, 2)."""
        angle = np.radians(self.position_angle)
        return np.stack([self.parity * np.sin(angle), np.cos(angle)], axis=-1)

    @property
    def east(self) -> np.ndarray:
        """Unit vectors (x, y) to the east, shape (N, 2)."""
        x, y = self.north.T
        return np.stack([-self.parity * y, self.parity * x], axis=-1)

    def take(self, rows: np.ndarray | slice) -> Orientation:
        """Some of the images, by mask, indices or slice."""
        return Orientation(self.position_angle[rows], self.parity[rows])

    def __str__(self) -> str:
        if not self.known.any():
            return "orientation not known"
        angle, parity = common(zip(self.position_angle, self.parity, strict=True))
        if abs(angle) <= AGREE:
            return "north up, east " + ("left" if parity == AS_ON_THE_SKY else "right")
        return "orientation as drawn"


def is_equatorial(wcs: WCS) -> bool:
    """Whether the axes are ra and dec in ICRS, or FK5, which agrees with it within 0.03 arcsec.

    Nearly all images have such axes, and need no transformation, which takes some milliseconds.
    """
    own = wcs.wcs
    system, equinox = own.radesys.strip().upper(), own.equinox
    recent = bool(np.isnan(equinox) or equinox == 2000)
    axes = own.lng == 0 and own.lngtyp.strip() == "RA"
    return axes and (system == "ICRS" or (system in ("", "FK5") and recent))


def place_at(wcs: WCS | None, x: float, y: float) -> tuple[float, float]:
    """Ra and dec [deg, ICRS] of a pixel counted from 0; NaN where they are not known."""
    try:
        ra, dec = _sky(wcs, np.array([x]), np.array([y]))
    except Exception:  # no coordinates or solution, or a frame that astropy does not know
        return np.nan, np.nan
    return float(ra[0]) % 360, float(dec[0])


def lie_at(wcs: WCS | None, x: float, y: float) -> Lie:
    """The orientation at a pixel counted from 0; unknown without coordinates there."""
    from astropy.coordinates import position_angle

    try:
        ra, dec = np.radians(_sky(wcs, np.array([x, x + 1, x]), np.array([y, y, y + 1])))
        right, up = position_angle(ra[0], dec[0], ra[1:], dec[1:]).rad
    except Exception:  # no coordinates or solution, or a frame that astropy does not know
        return UNKNOWN
    # Where the sky is as seen, west, at 270 deg, is to the right of north.
    return (float(np.degrees(up)), float(np.sign(np.sin(up - right))))


def _sky(wcs: WCS | None, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ra and dec [deg, ICRS] of pixels; any exception where there is no solution."""
    assert wcs is not None
    if is_equatorial(wcs):
        ra, dec = wcs.all_pix2world(x, y, 0)
        return ra, dec
    place = wcs.pixel_to_world(x, y).icrs
    return place.ra.deg, place.dec.deg


def common(lies: Iterable[Lie]) -> Lie:
    """The first orientation that is known, or unknown where others differ from it."""
    known = [each for each in lies if np.isfinite(each).all()]
    if not known:
        return UNKNOWN
    angle, parity = known[0]
    same = all(
        own == parity and abs((other - angle + 180) % 360 - 180) <= AGREE for other, own in known
    )
    return ((angle + 180) % 360 - 180, parity) if same else UNKNOWN
