"""The sky behind the services: stars of known magnitude, a smooth background, no other light."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import erf

BANDS = "grizy"
FWHM = 1.1  # [arcsec]
NOISE = 0.02  # [nanomaggy per square arcsec, square root]


@dataclass(frozen=True)
class Tangent:
    """A gnomonic image plane (Calabretta & Greisen 2002, A&A 395, 1077, eqs. 12, 13, 54).

    Attributes
    ----------
    ra, dec : float
        Where it touches the sky [deg].
    x, y : float
        The pixel there, counted from 0.
    scale : float
        [arcsec/pixel]; north is up, east is left.
    """

    ra: float
    dec: float
    x: float
    y: float
    scale: float

    def pixels(self, ra: Any, dec: Any) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows of places; NaN behind the plane."""
        along = np.radians(np.asarray(ra) - self.ra)
        dec, dec0 = np.radians(dec), np.radians(self.dec)
        cosine = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(along)
        cosine = np.where(cosine > 0.01, cosine, np.nan)
        xi = np.cos(dec) * np.sin(along) / cosine
        eta = np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(along)
        step = np.radians(self.scale / 3600)
        return self.x - xi / step, self.y + eta / cosine / step

    def cards(self, left: int = 0, bottom: int = 0) -> list[tuple[str, Any]]:
        """The header of the part that begins at a pixel."""
        return [
            ("CTYPE1", "RA---TAN"),
            ("CTYPE2", "DEC--TAN"),
            ("CRVAL1", self.ra),
            ("CRVAL2", self.dec),
            ("CRPIX1", self.x - left + 1),
            ("CRPIX2", self.y - bottom + 1),
            ("LONPOLE", 180.0),  # else a plane that touches the pole would be upside down
        ]


@dataclass(frozen=True)
class Stars:
    """N stars.

    Attributes
    ----------
    ra, dec : ndarray, shape (N,)
        [deg]
    magnitude : ndarray, shape (N, 5)
        AB, in the bands grizy.
    """

    ra: np.ndarray
    dec: np.ndarray
    magnitude: np.ndarray

    @classmethod
    def at(cls, ra: Any, dec: Any, seed: int = 0) -> Stars:
        """Stars at these places, with magnitudes between 16 and 20."""
        ra, dec = np.asarray(ra, float), np.asarray(dec, float)
        return cls(ra, dec, np.random.default_rng(seed).uniform(16, 20, (len(ra), len(BANDS))))

    def draw(self, plane: Tangent, left: int, bottom: int, shape: tuple[int, int], band: str):
        """Part of an image [nanomaggy], shape (H, W), with the stars in and noise of its own."""
        height, width = shape
        near = np.abs(self.dec - plane.dec) < 2
        x, y = plane.pixels(self.ra[near], self.dec[near])
        magnitude = self.magnitude[near, BANDS.index(band)]
        seen = (np.abs(x - left - width / 2) < width) & (np.abs(y - bottom - height / 2) < height)
        seed = zlib.crc32(f"{plane} {left} {bottom} {band}".encode())
        image = np.random.default_rng(seed).normal(0, NOISE * plane.scale, shape)
        sigma = FWHM / 2.3548 / plane.scale * np.sqrt(2)
        for star in np.flatnonzero(seen):
            columns = erf((np.arange(width + 1) + left - 0.5 - x[star]) / sigma)
            rows = erf((np.arange(height + 1) + bottom - 0.5 - y[star]) / sigma)
            flux = 10 ** (-0.4 * (magnitude[star] - 22.5))
            image += flux / 4 * np.outer(np.diff(rows), np.diff(columns))
        return image


@dataclass(frozen=True)
class Cell:
    """A tile of the sky, 0.4 deg apart and a little larger, so that neighbours overlap.

    Attributes
    ----------
    row, column : int
        From the south pole, and from ra 0 eastwards.
    scale : float
        [arcsec/pixel]
    """

    row: int
    column: int
    scale: float = 0.25

    STEP = 0.4  # [deg]
    WIDTH = 0.44  # [deg]

    @property
    def pixels(self) -> int:
        """Width and height."""
        return round(self.WIDTH * 3600 / self.scale)

    @property
    def plane(self) -> Tangent:
        dec = -90 + self.STEP * self.row
        ra = 360 * self.column / self.columns(self.row)
        middle = (self.pixels - 1) / 2
        return Tangent(ra, dec, middle, middle, self.scale)

    @classmethod
    def columns(cls, row: int) -> int:
        """How many cells there are in a row."""
        return max(1, int(np.ceil(360 * np.cos(np.radians(-90 + cls.STEP * row)) / cls.STEP)))

    @classmethod
    def around(cls, ra: float, dec: float, scale: float = 0.25) -> list[Cell]:
        """The cells in which a place lies, in order."""
        found = []
        middle = round((dec + 90) / cls.STEP)
        for row in range(max(0, middle - 1), min(450, middle + 1) + 1):
            n = cls.columns(row)
            column = round(ra / 360 * n)
            for each in {(column + step) % n for step in (-1, 0, 1)}:
                cell = cls(row, each, scale)
                x, y = cell.plane.pixels(ra, dec)
                if -0.5 <= x < cell.pixels - 0.5 and -0.5 <= y < cell.pixels - 0.5:
                    found.append(cell)
        return sorted(found, key=lambda cell: (cell.row, cell.column))

    def draw(self, stars: Stars, left: int, bottom: int, size: int, band: str) -> np.ndarray:
        """A square part of the cell's image; NaN beyond its edge."""
        image = stars.draw(self.plane, left, bottom, (size, size), band)
        x, y = np.arange(size) + left, np.arange(size) + bottom
        outside = (x < 0) | (x >= self.pixels), (y < 0) | (y >= self.pixels)
        image[:, outside[0]] = np.nan
        image[outside[1]] = np.nan
        return image


def fits_bytes(*images: tuple[Sequence[tuple[str, Any]], np.ndarray]) -> bytes:
    """A FITS file: the first image in the primary HDU, the others as extensions."""
    made = b""
    for number, (cards, data) in enumerate(images):
        first: list[tuple[str, Any]] = [("SIMPLE", True)] if not number else [("XTENSION", "IMAGE")]
        shape = [(f"NAXIS{k + 1}", n) for k, n in enumerate(reversed(data.shape))]
        frame = [("PCOUNT", 0), ("GCOUNT", 1)] if number else []
        needed = [*first, ("BITPIX", -32), ("NAXIS", data.ndim), *shape, *frame]
        text = "".join(_card(*card) for card in [*needed, *cards]) + "END".ljust(80)
        made += _padded(text.encode(), b" ") + _padded(data.astype(">f4").tobytes(), b"\0")
    return made


def _card(key: str, value: Any) -> str:
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = f"'{value:<8}'"
    else:
        text = f"{value!r:>20}" if isinstance(value, int) else f"{float(value):>20.13E}"
    name = f"{key:<8}" if len(key) <= 8 and "." not in key else f"HIERARCH {key} "
    return f"{name}= {text}".ljust(80)


def _padded(block: bytes, fill: bytes) -> bytes:
    return block + fill * (-len(block) % 2880)
