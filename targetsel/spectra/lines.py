"""Line strengths and indices measured on rest-frame spectra.

Signs: lines are positive in emission, Lick indices (`hdelta_a`) positive in absorption, as Lick
defines them. Widths are taken between straight-line continua through side bands, so those of the
Balmer lines include the stars' absorption: about 2 to 3 Angstrom too low at Hbeta.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import edges as grid_edges
from targetsel.spectra.proxies import Proxies
from targetsel.spectra.spectrum import Spectra


@dataclass(frozen=True)
class Band:
    """An interval of wavelength [Angstrom, vacuum]."""

    start: float
    end: float

    @property
    def centre(self) -> float:
        return 0.5 * (self.start + self.end)


@dataclass(frozen=True)
class LineWindow:
    """A line band between two side bands [Angstrom, vacuum].

    `sign` is +1 where emission counts positive, -1 where absorption does.
    """

    line: Band
    blue: Band
    red: Band
    sign: int = 1


def air_to_vacuum(wavelength: float) -> float:
    """Vacuum wavelength of one given in air [Angstrom]; Ciddor (1996), as in VALD3's inverse."""
    s2 = (1e4 / wavelength) ** 2
    index = 1.0 + (
        8.336624212083e-5
        + 2.408926869968e-2 / (130.1065924522 - s2)
        + 1.599740894897e-4 / (38.92568793293 - s2)
    )
    return wavelength * index


def _in_air(*wavelengths: float) -> tuple[Band, ...]:
    vacuum = [air_to_vacuum(w) for w in wavelengths]
    return tuple(Band(a, b) for a, b in zip(vacuum[::2], vacuum[1::2], strict=True))


_HALPHA_BLUE, _HALPHA_RED = Band(6483.0, 6513.0), Band(6623.0, 6653.0)
_HDELTA_A, _HDELTA_BLUE, _HDELTA_RED = _in_air(4083.50, 4122.25, 4041.60, 4079.75, 4128.50, 4161.00)

# Emission: windows of the MaNGA data analysis pipeline (Belfiore et al. 2019, AJ 158, 160),
# vacuum. [SII] is the pair; `ew_halpha_nii` is the whole complex, free of blending. Hdelta_A:
# Worthey & Ottaviani (1997, ApJS 111, 377). D4000: narrow, Balogh et al. (1999, ApJ 527, 54).
WINDOWS: dict[str, LineWindow] = {
    "ew_oii": LineWindow(Band(3716.3, 3738.3), Band(3696.3, 3716.3), Band(3738.3, 3758.3)),
    "ew_hbeta": LineWindow(Band(4852.7, 4872.7), Band(4798.9, 4838.9), Band(4885.6, 4925.6)),
    "ew_oiii": LineWindow(Band(4998.2, 5018.2), Band(4978.2, 4998.2), Band(5018.2, 5038.2)),
    "ew_halpha": LineWindow(Band(6557.6, 6571.6), _HALPHA_BLUE, _HALPHA_RED),
    "ew_nii": LineWindow(Band(6575.3, 6595.3), _HALPHA_BLUE, _HALPHA_RED),
    "ew_halpha_nii": LineWindow(Band(6536.0, 6602.0), _HALPHA_BLUE, _HALPHA_RED),
    "ew_sii": LineWindow(Band(6711.3, 6739.7), Band(6673.0, 6703.0), Band(6748.0, 6778.0)),
    "hdelta_a": LineWindow(_HDELTA_A, _HDELTA_BLUE, _HDELTA_RED, sign=-1),
}
D4000_BLUE, D4000_RED = _in_air(3850.0, 3950.0, 4000.0, 4100.0)

PROXIES = (
    "ew_oii", "ew_hbeta", "ew_oiii", "ew_halpha", "ew_nii", "ew_halpha_nii", "ew_sii",
    "d4000", "hdelta_a",
)  # fmt: skip
UNITS = {name: "" if name == "d4000" else "Angstrom" for name in PROXIES}
DESCRIPTIONS = {
    "ew_oii": "rest-frame equivalent width of [OII] 3727,3730, positive in emission",
    "ew_hbeta": "rest-frame equivalent width of Hbeta, positive in emission, stars included",
    "ew_oiii": "rest-frame equivalent width of [OIII] 5008, positive in emission",
    "ew_halpha": "rest-frame equivalent width of Halpha, positive in emission, stars included",
    "ew_nii": "rest-frame equivalent width of [NII] 6585, positive in emission",
    "ew_halpha_nii": "rest-frame equivalent width of Halpha + [NII], positive in emission",
    "ew_sii": "rest-frame equivalent width of [SII] 6718,6733, positive in emission",
    "d4000": "narrow 4000 Angstrom break (Balogh et al. 1999)",
    "hdelta_a": "Lick HdeltaA, positive in absorption (Worthey & Ottaviani 1997)",
}


def measure(spectra: Spectra) -> Proxies:
    """Every proxy of every draw.

    Returns
    -------
    Proxies
        `values` of shape (N, S, P), in the order of `PROXIES`.
    """
    values = np.stack([_measure_one(name, spectra) for name in PROXIES], axis=-1)
    return Proxies(spectra.source_id, PROXIES, values)


def _measure_one(name: str, spectra: Spectra) -> np.ndarray:
    if name == "d4000":
        return break_strength(spectra.flux, spectra.wavelength, D4000_BLUE, D4000_RED)
    return equivalent_width(spectra.flux, spectra.wavelength, WINDOWS[name])


def equivalent_width(flux: np.ndarray, wavelength: np.ndarray, window: LineWindow) -> np.ndarray:
    """Equivalent width of one line, in the sign of its window.

    Worthey et al. (1994, ApJS 94, 687), eq. 2, with the sign turned for emission. The continuum is
    the straight line through the means of the two side bands; pixels count by the fraction of them
    that lies in a band.

    Parameters
    ----------
    flux : ndarray, shape (..., L)
        Flux density per unit wavelength; its scale cancels.
    wavelength : ndarray, shape (L,)
        Rest-frame vacuum wavelength [Angstrom], increasing.
    window : LineWindow

    Returns
    -------
    ndarray, shape (...)
        Equivalent width [Angstrom]; NaN where the continuum is not positive.
    """
    blue, red = (_band_mean(flux, wavelength, side) for side in (window.blue, window.red))
    slope = (red - blue) / (window.red.centre - window.blue.centre)
    pixels, overlap = _overlap(wavelength, window.line)
    distance = wavelength[pixels] - window.blue.centre
    continuum = blue[..., None] + slope[..., None] * distance
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = flux[..., pixels] / continuum - 1.0
    width = window.sign * (depth @ overlap)
    return np.where((continuum > 0).all(axis=-1), width, np.nan)


def break_strength(flux: np.ndarray, wavelength: np.ndarray, blue: Band, red: Band) -> np.ndarray:
    """Ratio of the mean flux per unit *frequency* in two bands; Balogh et al. (1999).

    Parameters
    ----------
    flux : ndarray, shape (..., L)
        Flux density per unit wavelength.
    wavelength : ndarray, shape (L,)
        Rest-frame vacuum wavelength [Angstrom], increasing.

    Returns
    -------
    ndarray, shape (...)
        Dimensionless; NaN where the blue band's flux is not positive.
    """
    means = []
    for band in (blue, red):
        pixels, overlap = _overlap(wavelength, band)
        weight = overlap * wavelength[pixels] ** 2
        means.append(flux[..., pixels] @ weight / overlap.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(means[0] > 0, means[1] / means[0], np.nan)


def _band_mean(flux: np.ndarray, wavelength: np.ndarray, band: Band) -> np.ndarray:
    pixels, overlap = _overlap(wavelength, band)
    return flux[..., pixels] @ (overlap / overlap.sum())


def _overlap(wavelength: np.ndarray, band: Band) -> tuple[slice, np.ndarray]:
    """The pixels that touch a band, and how many Angstrom of each lie in it."""
    if len(wavelength) == len(_grid_wavelength()) and np.array_equal(
        wavelength, _grid_wavelength()
    ):
        return _grid_overlap(band)
    return _overlap_of(_pixel_edges(wavelength), band)


@cache
def _grid_wavelength() -> np.ndarray:
    from targetsel.spectra.grid import wavelengths

    return wavelengths()


@cache
def _grid_overlap(band: Band) -> tuple[slice, np.ndarray]:
    return _overlap_of(grid_edges(), band)


def _overlap_of(edges: np.ndarray, band: Band) -> tuple[slice, np.ndarray]:
    if band.start < edges[0] or band.end > edges[-1]:
        raise SpectrumError(
            f"the band {band.start:.1f}-{band.end:.1f} Angstrom reaches beyond the spectrum, "
            f"which covers {edges[0]:.1f}-{edges[-1]:.1f} Angstrom (rest frame, vacuum)"
        )
    inside = np.minimum(edges[1:], band.end) - np.maximum(edges[:-1], band.start)
    touched = np.flatnonzero(inside > 0)
    pixels = slice(int(touched[0]), int(touched[-1]) + 1)
    return pixels, inside[pixels]


def _pixel_edges(wavelength: np.ndarray) -> np.ndarray:
    middle = np.sqrt(wavelength[1:] * wavelength[:-1])
    first, last = wavelength[0] ** 2 / middle[0], wavelength[-1] ** 2 / middle[-1]
    return np.concatenate([[first], middle, [last]])


# ---------------------------------------------------------------- classes of ionisation

# Stellar absorption under the Balmer lines [Angstrom], as measured by the same windows on the
# mock sky's line-free spectra: intercept and slope in D4000. Only the classes below use it.
BALMER_ABSORPTION = {"ew_halpha": (2.68, -1.38), "ew_hbeta": (4.20, -1.13)}
BPT_CLASSES = ("bpt_sf", "bpt_composite", "bpt_agn", "bpt_weak")
WEAK = 1.0  # [Angstrom] a line below this, corrected for absorption, says nothing of its ratio


def bpt_probabilities(proxies: Proxies) -> dict[str, np.ndarray]:
    """Share of draws in each class of the [NII] diagram; the four add to one.

    Boundaries: Kewley et al. (2001, ApJ 556, 121) and Kauffmann et al. (2003, MNRAS 346, 1055).
    Equivalent widths stand for fluxes, since the lines of each ratio share a continuum. A draw
    is `bpt_weak` if Halpha or [NII] is below `WEAK`, or both Hbeta and [OIII] are.

    Returns
    -------
    dict of ndarray, shape (N,)
    """
    balmer = {
        name: proxies[name] + intercept + slope * proxies["d4000"]
        for name, (intercept, slope) in BALMER_ABSORPTION.items()
    }
    halpha, hbeta = balmer["ew_halpha"], balmer["ew_hbeta"]
    nii, oiii = proxies["ew_nii"], proxies["ew_oiii"]
    strong = (halpha > WEAK) & (nii > WEAK) & ((hbeta > WEAK) | (oiii > WEAK))
    floor = 0.1 * WEAK
    x = np.log10(np.maximum(nii, floor) / np.maximum(halpha, floor))
    y = np.log10(np.maximum(oiii, floor) / np.maximum(hbeta, floor))
    with np.errstate(divide="ignore"):
        below_kauffmann = (x < 0.05) & (y < 0.61 / (x - 0.05) + 1.30)
        below_kewley = (x < 0.47) & (y < 0.61 / (x - 0.47) + 1.19)
    members = {
        "bpt_sf": strong & below_kauffmann,
        "bpt_composite": strong & ~below_kauffmann & below_kewley,
        "bpt_agn": strong & ~below_kewley,
    }
    members["bpt_weak"] = ~(members["bpt_sf"] | members["bpt_composite"] | members["bpt_agn"])
    usable = np.isfinite(proxies.values).all(axis=2)
    count = np.maximum(usable.sum(axis=1), 1)
    return {name: (member & usable).sum(axis=1) / count for name, member in members.items()}
