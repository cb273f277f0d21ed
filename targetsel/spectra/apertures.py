"""The fiber that spectra were taken with: line strengths are of the light in it.

Files of spectra and of what was measured on them may state its diameter in their footers; so do
cards of ensembles and scored files. A mock sky states it in its plan; the first ones did not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

APERTURE = "aperture"  # entry of a footer or card: diameter of the fiber [arcsec]
ALIKE = 0.05  # relative difference of diameters
MOCK = 3.0  # of mock skies whose plan does not state it [arcsec]


def aperture_in(footer: Mapping[str, Any]) -> float | None:
    """The diameter that a footer states [arcsec]; None if it states none.

    Parameters
    ----------
    footer : mapping
        Of a file of spectra, of what was measured on them, or of a scored catalog.
    """
    stated = footer.get(APERTURE)
    if stated is None and isinstance(mock := footer.get("mock"), dict):
        stated = mock.get("variation", {}).get("fiber", MOCK)
    return float(stated) if isinstance(stated, int | float) and 0 < stated < math.inf else None


def are_alike(one: float, other: float) -> bool:
    """Whether two diameters [arcsec] are those of one fiber, as rounded in two places."""
    return math.isclose(one, other, rel_tol=ALIKE)


def of_other_light(predicted: Mapping[str, Any], truth: Mapping[str, Any]) -> str:
    """A sentence on two fibers, where true line strengths are of other light than predicted ones.

    Empty if both are alike, or one is not stated.

    Parameters
    ----------
    predicted, truth : mapping
        Footers of a scored catalog and of a file of what was measured on spectra.
    """
    ours, theirs = aperture_in(predicted), aperture_in(truth)
    if ours is None or theirs is None or are_alike(ours, theirs):
        return ""
    return (
        f"true line strengths are of the light in a fiber of {theirs:g} arcsec, predicted ones of "
        f"that in {ours:g} arcsec"
    )
