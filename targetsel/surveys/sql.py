"""Cones as conditions that every dialect of SQL understands.

Some archives know ADQL's geometry in name only, so a cone is asked for as the box of right
ascension and declination around it; what lies outside is dropped afterwards.
"""

from __future__ import annotations

import numpy as np

from targetsel.surveys.region import Cone


def in_box(cone: Cone, ra: str, dec: str) -> str:
    """The condition that the columns `ra` and `dec` [deg] lie in the box around a cone."""
    south, north = max(cone.dec - cone.radius, -90.0), min(cone.dec + cone.radius, 90.0)
    between = f"{dec} BETWEEN {south:.9f} AND {north:.9f}"
    if south == -90 or north == 90:
        return between
    # Where meridians touch the cone: sin(width) = sin(radius) / cos(dec).
    width = np.degrees(np.arcsin(np.sin(np.radians(cone.radius)) / np.cos(np.radians(cone.dec))))
    west, east = (cone.ra - width) % 360, (cone.ra + width) % 360
    if west <= east:
        return f"{between} AND {ra} BETWEEN {west:.9f} AND {east:.9f}"
    return f"{between} AND ({ra} >= {west:.9f} OR {ra} <= {east:.9f})"
