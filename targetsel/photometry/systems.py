"""Systems of magnitudes: AB, Vega and asinh magnitudes of known bands, as fluxes.

A Vega magnitude plus its band's offset is an AB magnitude. Offsets are of Riello et al. (2021, A&A
649, A3) and the documentation of Gaia EDR3 for Gaia; of Blanton & Roweis (2007, AJ 133, 734),
Table 1, for 2MASS; and of Jarrett et al. (2011, ApJ 735, 112) for WISE. Asinh
magnitudes ("luptitudes") are those of SDSS: Lupton, Gunn & Szalay (1999, AJ 118, 1406).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from targetsel.errors import CatalogError
from targetsel.photometry.bands import Band
from targetsel.photometry.flux import (
    AB_ZERO_POINT,
    ab_magnitude,
    flux_error,
    flux_of_magnitude,
)

GAIA = "Riello et al. (2021)"
TWO_MASS = "Blanton & Roweis (2007)"
WISE = "Jarrett et al. (2011)"
# AB minus Vega [mag], and where it is from.
VEGA_OFFSETS = {
    "g_gaia": (0.1137, GAIA),
    "bp_gaia": (0.0154, GAIA),
    "rp_gaia": (0.3561, GAIA),
    "j_2mass": (0.91, TWO_MASS),
    "h_2mass": (1.39, TWO_MASS),
    "k_2mass": (1.85, TWO_MASS),
    "w1_wise": (2.699, WISE),
    "w2_wise": (3.339, WISE),
    "w3_wise": (5.174, WISE),
    "w4_wise": (6.620, WISE),
}
# Flux of SDSS's linear part, as a share of that of magnitude zero.
SOFTENINGS = {
    "u_sdss": 1.4e-10,
    "g_sdss": 0.9e-10,
    "r_sdss": 1.2e-10,
    "i_sdss": 1.8e-10,
    "z_sdss": 7.4e-10,
}
_ZERO = 10 ** (AB_ZERO_POINT / 2.5)  # flux of AB magnitude zero [nJy]


@dataclass(frozen=True)
class MagnitudeSystem:
    """Definition of the magnitudes of one band.

    Attributes
    ----------
    name : str
        "AB", "Vega" or "asinh".
    offset : float
        AB magnitude minus one of this system.
    softening : float
        Of asinh magnitudes; 0 otherwise.
    source : str
        Where the offset is from.
    """

    name: str = "AB"
    offset: float = 0.0
    softening: float = 0.0
    source: str = ""

    def flux(self, magnitude: np.ndarray) -> np.ndarray:
        """Flux [nJy] of magnitudes."""
        if self.softening:
            turned = np.asarray(magnitude, dtype=np.float64) * np.log(10) / -2.5
            return _ZERO * 2 * self.softening * np.sinh(turned - np.log(self.softening))
        return flux_of_magnitude(np.asarray(magnitude, dtype=np.float64) + self.offset)

    def magnitude(self, flux: np.ndarray) -> np.ndarray:
        """Magnitudes of fluxes [nJy]; NaN where there is none."""
        flux = np.asarray(flux, dtype=np.float64)
        if self.softening:
            softened = np.arcsinh(flux / (_ZERO * 2 * self.softening))
            return -2.5 / np.log(10) * (softened + np.log(self.softening))
        return ab_magnitude(flux) - self.offset

    def flux_error(self, flux: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Standard deviation of fluxes [nJy] from that of their magnitudes [mag]."""
        if self.softening:
            return flux_error(np.hypot(flux, 2 * self.softening * _ZERO), error)
        return flux_error(flux, error)


AB = MagnitudeSystem()


def usual_system(band: Band, unit: str = "mag") -> MagnitudeSystem:
    """The system that a band's survey publishes magnitudes in: Vega for Gaia, 2MASS and WISE.

    A unit that says AB wins.
    """
    return AB if "AB" in unit or str(band) not in VEGA_OFFSETS else find_system("Vega", band)


def find_system(
    name: str, band: Band, offset: float | None = None, source: str = ""
) -> MagnitudeSystem:
    """The system of a band's magnitudes that a user names.

    Parameters
    ----------
    name : "AB", "Vega" or "asinh"
    band : Band
    offset : float, optional
        AB magnitude minus one of this system, in place of the known one.
    source : str
        Where the offset is from.

    Raises
    ------
    CatalogError
        If it is not known how these magnitudes of that band become fluxes.
    """
    if name == "asinh":
        if str(band) not in SOFTENINGS:
            raise CatalogError(
                f"asinh magnitudes are known of {', '.join(SOFTENINGS)}, not of {band}. Convert "
                "them to AB magnitudes or fluxes."
            )
        return MagnitudeSystem("asinh", softening=SOFTENINGS[str(band)], source="SDSS")
    if offset is not None:
        return MagnitudeSystem(name, offset, source=source or "as given")
    if name == "AB":
        return AB
    if str(band) not in VEGA_OFFSETS:
        raise CatalogError(
            f"the offset from Vega to AB magnitudes is known of {', '.join(VEGA_OFFSETS)}, not of "
            f"{band}. Give it with offset=0.02, say, and its source; or convert to AB magnitudes."
        )
    known, where = VEGA_OFFSETS[str(band)]
    return MagnitudeSystem("Vega", known, source=where)
