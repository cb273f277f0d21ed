"""Positions as hours, minutes, seconds and degrees, minutes, seconds, as text formats want them.

Rounding is done in whole ticks of the last digit, so that 59.99999 s never becomes 60 s, nor the
last moment before midnight 24 h.
"""

from __future__ import annotations

import re

import numpy as np


def hours(ra: np.ndarray, decimals: int = 5, separator: str = ":") -> list[str]:
    """Right ascensions [deg] as ``hh:mm:ss.sssss``; five decimals are 0.00015 arcsec."""
    day = 24 * 3600 * 10**decimals
    ticks = np.rint(np.asarray(ra) / 360.0 * day).astype(np.int64) % day
    return [_joined(each, decimals, separator) for each in ticks.tolist()]


def degrees(dec: np.ndarray, decimals: int = 4, separator: str = ":", plus: str = "+") -> list[str]:
    """Declinations [deg] as ``+dd:mm:ss.ssss``; `plus` is the sign of those that are not negative.

    A declination that rounds to 0 keeps its sign.
    """
    dec = np.asarray(dec)
    ticks = np.rint(np.abs(dec) * 3600 * 10**decimals).astype(np.int64)
    signs = np.where(dec < 0, "-", plus)
    return [
        sign + _joined(each, decimals, separator)
        for sign, each in zip(signs.tolist(), ticks.tolist(), strict=True)
    ]


def from_sexagesimal(text: str) -> float:
    """The number that ``hh:mm:ss.s`` or ``-dd mm ss.s`` stands for, in its first part's unit."""
    sign = -1.0 if text.lstrip().startswith("-") else 1.0
    whole, minutes, seconds = (float(each) for each in re.split(r"[:\s]+", text.strip(" +-")))
    return sign * (whole + minutes / 60 + seconds / 3600)


def _joined(ticks: int, decimals: int, separator: str) -> str:
    seconds, fraction = divmod(ticks, 10**decimals)
    minutes, seconds = divmod(seconds, 60)
    whole, minutes = divmod(minutes, 60)
    parts = (f"{whole:02d}", f"{minutes:02d}", f"{seconds:02d}.{fraction:0{decimals}d}")
    return separator.join(parts)
