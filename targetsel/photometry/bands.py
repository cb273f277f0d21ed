"""Bands of photometric systems: names, effective wavelengths and response curves.

`data/passbands.npz` holds the curves, as the package speclite has them, and those of VISTA as the
package sedpy has them; see `examples/make_passbands.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np

from targetsel.errors import CatalogError, CutoutError, unknown
from targetsel.photometry.flux import NANOMAGGY, SPEED_OF_LIGHT


@dataclass(frozen=True)
class Band:
    """A passband, the same as another one if its name and system are.

    Attributes
    ----------
    name : str
        Such as "g".
    system : str
        Photometric system, such as "sdss"; empty where it is not told, as for cutouts.
    survey : str
        Survey or camera in words; empty for a band that is not in `PASSBANDS` or `BANDS`.
    curve : str
        Name of the response curve, that of speclite; empty where there is none.
    nominal : float
        Wavelength [Angstrom] of a band without a curve; NaN where it is not known.
    edges : (float, float), optional
        Ends [Angstrom] of a response that is even between them, of a band without a curve.
    """

    name: str
    system: str = ""
    survey: str = field(default="", compare=False)
    curve: str = field(default="", compare=False)
    nominal: float = field(default=np.nan, compare=False)
    edges: tuple[float, float] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.name}_{self.system}" if self.system else self.name

    @classmethod
    def parse(cls, text: str) -> Band:
        """The band that "r_sdss" names: that of `PASSBANDS` if it is there, in whatever case.

        Only the first underscore ends the band's name, so that "r_old_hsc" is r of old_hsc.
        """
        name, _, system = text.lower().partition("_")
        return PASSBANDS.get(text.lower(), cls(name, system))

    @classmethod
    def between(cls, name: str, system: str, blue: float, red: float) -> Band:
        """A band whose curve is not known: an even response between two wavelengths [Angstrom]."""
        return cls(name, system, nominal=(blue + red) / 2, edges=(blue, red))

    @property
    def wavelength(self) -> float:
        """Effective wavelength [Angstrom]; NaN where it is not known."""
        return _effective_wavelength(self.curve) if self.curve else self.nominal

    def response(self) -> tuple[np.ndarray, np.ndarray]:
        """Wavelengths [Angstrom] and the share of photons detected there, shapes (K,)."""
        if self.edges is not None:
            wavelength = np.linspace(*self.edges, 201)
            return wavelength, np.ones_like(wavelength)
        return _read_curve(self.curve)

    @property
    def reach(self) -> tuple[float, float]:
        """Wavelengths [Angstrom] between which it has 1 % of its largest response or more."""
        wavelength, response = self.response()
        inside = wavelength[response >= 0.01 * response.max()]
        return float(inside[0]), float(inside[-1])


# Bands of cutouts, by name. Nominal wavelengths: Tonry et al. (2012, ApJ 750, 99), table 4, and
# Rubin's u. Those in the near infrared are of VISTA, as ESO gives them, and of Euclid's VIS: Z and
# Y are not z and y.
OPTICAL = "ugrizy"
BANDS = (
    {"u": Band("u", survey="Rubin", nominal=3750)}
    | {
        name: Band(name, survey="Pan-STARRS1", nominal=wavelength)
        for name, wavelength in {"g": 4810, "r": 6170, "i": 7520, "z": 8660, "y": 9620}.items()
    }
    | {"VIS": Band("VIS", survey="Euclid", nominal=7150)}
    | {
        name: Band(name, survey="VISTA", nominal=wavelength)
        for name, wavelength in {"Z": 8800, "Y": 10200, "J": 12500, "H": 16500, "Ks": 21500}.items()
    }
)
_IN_A_ROW = re.compile("|".join(sorted(BANDS, key=len, reverse=True)))

# Each photometric system: its survey, the group of curves, and its bands there.
_SYSTEMS = {
    "sdss": ("SDSS", "sdss2010", "ugriz"),
    "ps1": ("Pan-STARRS1", "panstarrs", "grizy"),
    "ls": ("Legacy Surveys", "decamDR1", "grz"),
    "legacysurveys": ("Legacy Surveys", "decamDR1", "grz"),
    "des": ("Dark Energy Survey", "decamDR1", "grizY"),
    "decam": ("DECam", "decamDR1", "grizY"),
    "decam_noatm": ("DECam above the atmosphere", "decamDR1noatm", "grizY"),
    "hsc": ("Hyper Suprime-Cam", "hsc2017", ("g", "r", "r2", "i", "i2", "z", "y")),
    "lsst": ("Rubin", "lsst2023", "ugrizy"),
    "gaia": ("Gaia", "gaiadr3", ("G", "BP", "RP")),
    "2mass": ("2MASS", "twomass", "JH"),
    "wise": ("WISE", "wise2010", ("W1", "W2", "W3", "W4")),
    "euclid": ("Euclid", "Euclid", ("VIS", "Y", "J", "H")),
    "vista": ("VISTA", "vista", ("Z", "Y", "J", "H", "Ks")),
}

# Bands with known curves, by names in lower case such as "r_sdss".
PASSBANDS: dict[str, Band] = {
    f"{name}_{system}".lower(): Band(name.lower(), system, survey, f"{group}-{name}")
    for system, (survey, group, names) in _SYSTEMS.items()
    for name in names
}
# The older of two filters of HSC, as PFS calls it, and the bands of WISE that the Legacy Surveys
# measure on the AB system.
PASSBANDS |= {
    str(band): band
    for band in (
        Band("r", "old_hsc", "Hyper Suprime-Cam", "hsc2017-r"),
        Band("i", "old_hsc", "Hyper Suprime-Cam", "hsc2017-i"),
        Band("i", "ls", "Legacy Surveys", "decam2014-i"),
        *(Band(f"w{k}", "ls", "Legacy Surveys", f"wise2010-W{k}") for k in range(1, 5)),
        Band("k", "2mass", "2MASS", "twomass-Ks"),
        # OmegaCAM's filters are made after those of SDSS, whose curves stand for them.
        *(Band(b, "kids", "KiDS, by SDSS's curves", f"sdss2010-{b}") for b in "ugri"),
    )
}


def parse_bands(text: str) -> tuple[str, ...]:
    """Names of cutouts' bands in "grizy", "g,r,i", "g r i" or "VIS,Y,J,H", in the order written.

    Upper and lower case differ: Z and Y are in the near infrared, z and y optical.

    Raises
    ------
    CutoutError
        If a band is unknown or named twice, or there is none.
    """
    words = text.replace(",", " ").split()
    names = tuple(words)
    if len(words) == 1 and words[0] not in BANDS:
        in_a_row = _IN_A_ROW.findall(words[0])
        names = tuple(in_a_row if "".join(in_a_row) == words[0] else words[0])
    known = ", ".join(BANDS)
    if not names:
        raise CutoutError(f"bands '{text}': no band is named. Name some of {known}, in order.")
    for name in names:
        if name not in BANDS:
            raise CutoutError(f"bands '{text}': {unknown('band', name, BANDS)}")
        if names.count(name) > 1:
            raise CutoutError(f"bands '{text}': band '{name}' is named twice. Name it once.")
    return names


def find_passband(name: str) -> Band:
    """The band of a name such as "r_sdss", in whatever case.

    Raises
    ------
    CatalogError
        If the band is not in `PASSBANDS`; it suggests a close name, or lists them all.
    """
    if name.lower() not in PASSBANDS:
        raise CatalogError(unknown("band", name, PASSBANDS))
    return PASSBANDS[name.lower()]


def passbands(system: str, names: Sequence[str]) -> tuple[Band, ...]:
    """Some bands of one system, such as those of `names` "gri" in "ps1"."""
    return tuple(find_passband(f"{name}_{system}") for name in names)


def synthetic_photometry(
    bands: Sequence[Band], wavelength: np.ndarray, redshift: np.ndarray
) -> np.ndarray:
    """Linear map from rest-frame flux density to AB band fluxes, shape (N, B, L).

    Its product with a flux density in 1e-17 erg/s/cm2/Angstrom, on the pixels of `wavelength`
    and *already dimmed to the observed frame*, is a flux in nanomaggies: Fukugita et al.
    (1996, AJ 111, 1748), eq. 7, for a photon counter.

    Parameters
    ----------
    bands : sequence of B Band
    wavelength : ndarray, shape (L,)
        Rest-frame wavelengths [Angstrom], steps equal in the logarithm.
    redshift : ndarray, shape (N,)
    """
    observed = wavelength * (1 + np.asarray(redshift)[:, None])
    step = np.log(wavelength[-1] / wavelength[0]) / (len(wavelength) - 1)
    maps = []
    for band in bands:
        wave, curve = band.response()
        shape = np.interp(observed, wave, curve, left=0.0, right=0.0)
        reference = np.trapezoid(curve / wave, wave) * SPEED_OF_LIGHT * NANOMAGGY
        maps.append(1e-17 * shape * observed**2 * step / reference)
    return np.stack(maps, axis=1)


@cache
def _read_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    place = files("targetsel.photometry") / "data" / "passbands.npz"
    with place.open("rb") as stream, np.load(stream, allow_pickle=False) as curves:
        wavelength, response = curves[name]
    return wavelength, response


@cache
def _effective_wavelength(name: str) -> float:
    """Mean wavelength of the photons of a flat spectrum per unit wavelength [Angstrom]."""
    wavelength, response = _read_curve(name)
    photons = wavelength * response
    return float(np.trapezoid(wavelength * photons, wavelength) / np.trapezoid(photons, wavelength))
