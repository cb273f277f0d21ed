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
