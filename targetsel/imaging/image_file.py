"""Reading image files: FITS and .npy, calibrated to nanomaggies."""

from __future__ import annotations

import re
import warnings
from collections import ChainMap
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from targetsel.errors import CutoutError, beginning
from targetsel.imaging.image_names import (
    IMAGE,
    NO_IMAGE,
    NPY,
    USUAL,
    band_called,
    band_of_filter,
    bands_in_words,
)
from targetsel.imaging.orientation import UNKNOWN, Lie, lie_at, place_at
from targetsel.imaging.survey_images import KnownImages, unusable, zeropoint_of_survey
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT, NJY_PER_NANOMAGGY
from targetsel.tables.fits import open_fits
from targetsel.tables.numpy_files import read_npy as read_npy_file
from targetsel.tables.reading import reading

if TYPE_CHECKING:
    from astropy.io import fits

Header = MutableMapping[str, Any]  # such as fits.Header

# Pan-STARRS stacks: counts over the whole exposure, so 2.5 log10(EXPTIME) is added.
PANSTARRS_ZEROPOINT = 25.0
PANSTARRS_KEYS = ("TELESCOP", "FPA.TELESCOPE", "INSTRUME", "FPA.INSTRUMENT")
# AB magnitude of one count: DECam, DES, KiDS; Euclid; MegaPipe; ZTF.
ZEROPOINT_KEYS = ("MAGZERO", "ZEROPOINT", "MAGZEROP", "PHOTZP", "MAGZP")
FLUX_OF_ZERO_MAGNITUDE = "FLUXMAG0"  # of the LSST stack, as HSC uses it
ASINH_MAGNITUDE = 2.5 / np.log(10)
REFERENCE_KEYS = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
SCALE_KEY = re.compile(r"CDELT\d|(CD|PC)\d_\d|PC00\d00\d")
FILTER_KEYS = ("FILTER", "FPA.FILTERID")
# AB magnitudes of one count between which images lie: 0 is that of a maggy, as KiDS has it, 8.9 of
# a Jy, 22.5 of a nanomaggy, 31.4 of a nJy. Numbers beyond, such as -99 and 999, stand for none.
ZEROPOINTS = (0.0, 40.0)
BRIGHT = 1e6  # [nanomaggy], magnitude 7.5; no image of galaxies has half of its pixels beyond
# Pixels of floating-point images that stand for no data.
CODES, LARGEST_COUNT = (-999.0, -9999.0, -99999.0), 1e20
MASKS = {"mask", "maskbits", "msk"}
LABELS = ("EXTNAME", "IMTYPE", "IMAGETYP", "IMGTYPE", "EXTTYPE", "HDUCLAS2")


class NoImage(CutoutError):
    """A file of masks, weights or the like."""


@dataclass(frozen=True)
class Image:
    """The content of one file.

    Attributes
    ----------
    flux : ndarray of float32, shape (B, H, W)
        [nanomaggy]; NaN where there is no data.
    bands : tuple of B strings
        Empty if the file does not name them.
    pixel_scale : float or None
        [arcsec]; None if the file does not give it.
    wcs : WCS or None
        Coordinates on the sky in a FITS file; None where there are none that can be used.
    masked : bool
        True if an inverse variance marked the pixels without data.
    centre : (float, float)
        Ra and dec of the middle [deg, ICRS]; NaN where they are not known.
    lie : (float, float)
        Position angle and parity there, see `orientation`; NaN where they are not known.
    """

    flux: np.ndarray
    bands: tuple[str, ...]
    pixel_scale: float | None
    wcs: WCS | None = None
    masked: bool = False
    centre: tuple[float, float] = (np.nan, np.nan)
    lie: Lie = UNKNOWN


def read_image(
    path: Path,
    zeropoint: float | None,
    n_bands: int | None = None,
    pixel_scale: float | None = None,
    known: KnownImages | None = None,
) -> Image:
    """The calibrated image in a FITS or .npy file.

    Parameters
    ----------
    path : Path
    zeropoint : float or None
        AB magnitude of one count, for files without a calibration of their own.
    n_bands : int or None
        Number of bands, needed for .npy only: the axis of this length is the band.
    pixel_scale : float or None
        [arcsec]; holds whatever a FITS file says.
    known : KnownImages, optional
        The survey, whose masks are heeded and whose bands are known.

    Raises
    ------
    CutoutError
        If the file cannot be read, or its bands or calibration are not known.
    """
    if path.suffix.lower() == NPY:
        given = known.zeropoint if zeropoint is None and known is not None else zeropoint
        return read_npy(path, given, n_bands)
    return read_fits(path, path, zeropoint, pixel_scale, known)


def read_npy(path: Path, zeropoint: float | None, n_bands: int | None) -> Image:
    """An array of shape (B, H, W) or (H, W, B), such as Wu & Peek (2020) wrote them.

    Their files hold Pan-STARRS stack counts in the bands y, z, i, r, g, linear but on no common
    zero point: the exposure time that calibrates them differs between bands and places and is
    lost. One zero point for all of them is therefore only a rough calibration.

    Raises
    ------
    CutoutError
        If the file cannot be read, has another shape, or `n_bands` or `zeropoint` is None.
    """
    if n_bands is None:
        raise CutoutError(
            f"{path}: .npy files do not name their bands. Give --bands, in the order of the file "
            "(yzirg for those of Wu & Peek)."
        )
    counts = read_npy_file(path, CutoutError, "an array of numbers")
    if counts.ndim == 3 and counts.shape[0] != n_bands and counts.shape[2] == n_bands:
        counts = np.moveaxis(counts, 2, 0)
    if counts.ndim != 3 or counts.shape[0] != n_bands or counts.dtype.kind not in "fiu":
        raise CutoutError(
            f"{path}: has shape {counts.shape} and type {counts.dtype}, expected numbers of shape "
            f"({n_bands}, H, W) or (H, W, {n_bands}). Do --bands name every band of the file?"
        )
    if zeropoint is None:
        raise CutoutError(
            f"{path}: .npy files do not say what one count is worth. Give --zeropoint, the AB "
            "magnitude of one count (22.5 if the numbers are nanomaggies)."
        )
    return Image(nanomaggies(counts, per_count(zeropoint)), (), None)


def read_fits(
    source: Path | bytes,
    place: Path | str,
    zeropoint: float | None,
    pixel_scale: float | None = None,
    known: KnownImages | None = None,
) -> Image:
    """The image of a FITS file, 2-D (H, W) or a cube (B, H, W).

    `source` is the file or its bytes, and `place` what messages call it. Masks, weights and the
    like, by the labels of their extensions, are passed over. `calibrated` tells how counts become
    nanomaggies. A `pixel_scale` [arcsec] holds whatever the header says. Pixels with an inverse
    variance of zero, in an extension called invvar, have no data; nor have those with one of the
    bits of a `known` survey in an extension called mask, which may give their numbers as MP_SAT.

    Raises
    ------
    CutoutError
        If the file cannot be read or holds no image, or its calibration is not known.
    """
    _check_begins_like_fits(source, place)
    with open_fits(source, CutoutError, place) as hdus:
        hdu = find_image(hdus, place)
        weights = _inverse_variance(hdus)
        with reading(str(place), CutoutError, "a FITS image", "Fetch it again or remove it."):
            counts = hdu.data
            invvar = None if weights is None else weights.data
            mask = _mask_of(hdus, known, place)
        header = header_of(hdus, hdu)
        grid = _grid_of(hdu.header)
        wcs = grid if _has_place(hdu.header) else None
    counts = counts.reshape(-1, *counts.shape[-2:])
    if invvar is not None:
        if invvar.shape[-2:] != counts.shape[-2:] or invvar.size != counts.size:
            raise CutoutError(
                f"{place}: its inverse variance has the shape {invvar.shape}, but the image "
                f"{hdu.shape}. Write both again, or take the inverse variance out."
            )
        counts = np.where(invvar.reshape(counts.shape) > 0, counts, np.nan)
    scale = pixel_scale or pixel_scale_of(grid, place)
    flux = calibrated(counts, header, scale, place, zeropoint, known)
    x, y = (flux.shape[-1] - 1) / 2, (flux.shape[-2] - 1) / 2
    names = known.band_names if known else USUAL
    centre, bands = place_at(wcs, x, y), bands_of(header, len(flux), names)
    if mask is not None:
        flux[unusable(*mask, bands, flux.shape, place)] = np.nan
    return Image(flux, bands, scale, wcs, invvar is not None, centre, lie_at(wcs, x, y))


def _mask_of(
    hdus: Iterable[Any], known: KnownImages | None, place: Path | str
) -> tuple[np.ndarray, Any] | None:
    """The plane of masks, and the numbers of the survey's bits in it; None without either.

    Headers of HSC and LSST number their bits themselves, and leave out those that never occur.

    Raises
    ------
    CutoutError
        If one of these is the number of no bit.
    """
    if known is None or not known.mask_bits:
        return None
    for number, hdu in enumerate(hdus):
        labels = set().union(*(_words(_value(hdu.header, label)) for label in LABELS))
        if number and hdu.is_image and hdu.shape and labels & MASKS:
            planes = [(key[3:], bit) for key, bit in hdu.header.items() if key[:3] == "MP_"]
            if wrong := [each for each in planes if each[1] not in range(63)]:
                raise CutoutError(
                    f"{place}: MP_{wrong[0][0]} in the header of its mask is '{wrong[0][1]}', "
                    "expected the number of a bit, 0 to 62. Correct it, or leave --survey out."
                )
            told = {name: int(bit) for name, bit in planes}
            bits = {name: told[name] for name in known.mask_bits if name in told}
            return hdu.data, bits if told else known.mask_bits
    return None


def find_image(hdus: Iterable[Any], place: Path | str) -> Any:
    """The unit of a FITS file that holds the image, and no mask or weight.

    Of several, it is the one that is labelled as the image or the science.

    Raises
    ------
    NoImage
        If all that might be one are masks, weights or the like.
    CutoutError
        If there is none, or several of which not one is labelled so, or it is of another shape
        than (H, W) or (B, H, W).
    """
    passed_over = ""
    images: list[Any] = []
    for hdu in hdus:
        if not hdu.is_image or not hdu.shape:
            continue
        found = [label for label in LABELS if NO_IMAGE & _words(_value(hdu.header, label))]
        if found:
            passed_over = f"{found[0]} is '{_value(hdu.header, found[0])}'"
        else:
            images.append(hdu)
    flat = [hdu for hdu in images if len(hdu.shape) > 1]
    if images := flat or images:
        shape = images[0].shape
        while len(shape) > 3 and shape[0] == 1:
            shape = shape[1:]
        if len(shape) not in (2, 3) or min(shape) == 0:
            raise CutoutError(
                f"{place}: holds an image of shape {shape}, expected (H, W) or a cube (bands, H, "
                "W). Take it out of the folder."
            )
        bands = {_band_of_extension(hdu) for hdu in images} - {""}
        if len(bands) > 1:
            raise CutoutError(
                f"{place}: holds an image in each of the bands {', '.join(sorted(bands))}. Write "
                "one cube (bands, H, W), or one file for each band."
            )
        return _the_image(images, place)
    if passed_over:
        raise NoImage(f"{place}: holds no image ({passed_over}). Take it out of the folder.")
    raise CutoutError(f"{place}: holds no image, expected (H, W) or a cube (bands, H, W).")


def _the_image(images: list[Any], place: Path | str) -> Any:
    """The only image, or of several the only one that is labelled so."""
    labelled = [
        hdu
        for hdu in images
        if IMAGE & set().union(*(_words(_value(hdu.header, w)) for w in LABELS))
    ]
    chosen = images if len(images) == 1 else labelled
    if len(chosen) != 1:
        raise CutoutError(
            f"{place}: holds {len(images)} images, and nobody can say which is meant. Write the "
            "one that you mean to a file of its own."
        )
    return chosen[0]


def header_of(hdus: Any, hdu: Any) -> Header:
    """The cards of an image, and those of the file's first header where that has no image."""
    own: Header = hdu.header
    first = hdus[0]
    return own if first is hdu or first.shape else ChainMap(own, first.header)


def wcs_of(header: fits.Header) -> WCS | None:
    """The coordinates on the sky that a header describes; None where it has none, or bad ones."""
    return _grid_of(header) if _has_place(header) else None


def _has_place(header: fits.Header) -> bool:
    """Whether a header has a reference; for numbers that are missing, wcslib would take 0."""
    try:
        return all(np.isfinite(float(header[key])) for key in REFERENCE_KEYS)
    except Exception:  # no such card, no number, or a damaged card
        return False


def _grid_of(header: fits.Header) -> WCS | None:
    """The axes on the sky and their scale, for which wcslib would take 1 degree where missing."""
    try:
        if not any(SCALE_KEY.fullmatch(key) for key in header):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = WCS(header, naxis=2)
            return wcs if wcs.has_celestial else None
    except Exception:  # wcslib's own kinds, and those of header values it cannot take
        return None


def pixel_scale_of(wcs: WCS | None, place: Path | str) -> float | None:
    """Side of a pixel [arcsec]; None where it is not known.

    Raises
    ------
    CutoutError
        If the sides differ by more than 1 %.
    """
    if wcs is None:
        return None
    wide, high = 3600 * proj_plane_pixel_scales(wcs)
    if not (0 < wide < np.inf and 0 < high < np.inf):
        return None
    if abs(wide / high - 1) > 0.01:
        raise CutoutError(
            f"{place}: its pixels are {wide:.4g} x {high:.4g} arcsec, expected square ones. "
            "Resample the image."
        )
    return float(np.sqrt(wide * high))


def calibrated(
    counts: np.ndarray,
    header: Header,
    pixel_scale: float | None,
    place: Path | str,
    zeropoint: float | None,
    known: KnownImages | None = None,
) -> np.ndarray:
    """Counts of shape (B, H, W) as fluxes [nanomaggy], float32.

    What one count is worth is told by BUNIT, if it is a flux density, or one per solid angle,
    which is multiplied by a pixel's; else by the magnitude of one count (`ZEROPOINT_KEYS`,
    FLUXMAG0); else by EXPTIME for 2-D Pan-STARRS stacks; else by `zeropoint`, or the card of the
    `known` survey. The asinh compression of Pan-STARRS skycells is undone where BSOFTEN and BOFFSET
    are both given; cutouts of their service are linear and have neither.

    Raises
    ------
    CutoutError
        If neither the header nor `zeropoint` gives the calibration, or the header contradicts
        itself.
    """
    if "BSOFTEN" in header and "BOFFSET" in header:
        softening, offset = (_number(header, key, place) for key in ("BSOFTEN", "BOFFSET"))
        counts = offset + 2 * softening * np.sinh(counts.astype(np.float64) / ASINH_MAGNITUDE)
    worth = _worth_of_count(header, len(counts), pixel_scale, place)
    if worth is None and zeropoint is None:
        unit = str(_value(header, "BUNIT") or "").strip()
        is_flux = known is not None and flux_density(known.unit)[0] is not None
        zeropoint = zeropoint_of_survey(place, unit, known, is_flux)
    if worth is None and zeropoint is None:
        raise CutoutError(
            f"{place}: the header does not say what one count is worth (no BUNIT of a flux "
            "density, no MAGZERO, no EXPTIME of a Pan-STARRS stack). Give --zeropoint, the AB "
            "magnitude of one count."
        )
    one = per_count(zeropoint) if worth is None else worth  # type: ignore[arg-type]
    flux = nanomaggies(counts, one)
    if np.count_nonzero(np.abs(flux) > BRIGHT) > flux.size / 2:
        raise CutoutError(
            f"{place}: most of its pixels are brighter than magnitude 7.5 where one count is "
            f"{one:g} nanomaggy; check BUNIT or the zero point, which is 0 for maggies only."
        )
    return flux


def bands_of(header: Header, n_bands: int, names: tuple[str, ...] = USUAL) -> tuple[str, ...]:
    """The bands that the header names, or () where it does not name each plane."""
    listed = " ".join(str(_value(header, f"BAND{k}") or "").strip() for k in range(n_bands))
    filters = [str(_value(header, key) or "") for key in FILTER_KEYS]
    for text in (str(_value(header, "BANDS") or ""), listed, *filters):
        if len(bands := bands_in_words(text, names)) == n_bands:
            return bands
    named = [band for text in filters if (band := band_of_filter(text, names))]
    return tuple(named[:1]) if n_bands == 1 else ()


def _check_begins_like_fits(source: Path | bytes, place: Path | str) -> None:
    """Catch the error pages that survey servers send in place of an image."""
    if isinstance(source, bytes):
        begin = source[:16]
    else:
        with reading(source, CutoutError), open(source, "rb") as stream:
            begin = stream.read(16)
    if not begin.startswith((b"SIMPLE", b"\x1f\x8b")):
        raise CutoutError(
            f"{place}: does not begin like FITS but with {beginning(begin)}; perhaps the error "
            "page of a server. Fetch it again or remove it."
        )


def _inverse_variance(hdus: Iterable[Any]) -> Any:
    """The unit that holds an inverse variance, or None."""
    for number, hdu in enumerate(hdus):
        labels = set().union(*(_words(_value(hdu.header, label)) for label in LABELS))
        if number and hdu.is_image and hdu.shape and labels & {"invvar", "ivar"}:
            return hdu
    return None


def _worth_of_count(
    header: Header, n_bands: int, pixel_scale: float | None, place: Path | str
) -> float | None:
    """Nanomaggies of one count as the header tells it, or None."""
    text = str(_value(header, "BUNIT") or "").strip()
    flux, per_area = flux_density(text)
    if flux is None and re.search(r"(?i)\b(ab)?mag|magg|mgy|jy\b", text):
        raise CutoutError(
            f"{place}: BUNIT is '{text}', expected a flux density, one per solid angle, or counts. "
            "Convert the pixels."
        )
    if flux is not None and per_area:
        if pixel_scale is None:
            raise CutoutError(
                f"{place}: BUNIT is '{text}', a surface brightness, but the header does not say "
                "how large a pixel is. Give --pixel-scale [arcsec], or add the coordinates."
            )
        flux *= pixel_scale**2
    found = {"BUNIT": flux} if flux is not None else {}
    for key in ZEROPOINT_KEYS:
        if _value(header, key) is not None:
            magnitude = _number(header, key, place)
            if fault := zeropoint_fault(magnitude):
                raise CutoutError(
                    f"{place}: {key} is {fault}. Remove the card and give --zeropoint."
                )
            found[key] = per_count(magnitude)
    if _value(header, FLUX_OF_ZERO_MAGNITUDE) is not None:
        counts = _number(header, FLUX_OF_ZERO_MAGNITUDE, place)
        found[FLUX_OF_ZERO_MAGNITUDE] = 1e9 / counts if counts > 0 else np.nan
    if found:
        (first, worth), *others = found.items()
        for key, other in others:
            if not abs(np.log(other / worth)) < 0.01:
                raise CutoutError(
                    f"{place}: {first} makes one count {worth:.6g} nanomaggy, but {key} "
                    f"{other:.6g}. Remove the one that is wrong."
                )
        return worth
    makers = (str(_value(header, key) or "").upper() for key in PANSTARRS_KEYS)
    panstarrs = any(maker.startswith(("PS1", "GPC1", "PAN-STARRS")) for maker in makers)
    # The bands of one cube were exposed for different times; one EXPTIME cannot serve them all.
    if not panstarrs or n_bands != 1 or _value(header, "EXPTIME") is None:
        return None
    seconds = _number(header, "EXPTIME", place)
    if not seconds > 0:
        raise CutoutError(f"{place}: EXPTIME is {seconds:g}, expected seconds above zero.")
    return per_count(PANSTARRS_ZEROPOINT + 2.5 * float(np.log10(seconds)))


@lru_cache
def flux_density(unit: str) -> tuple[float | None, bool]:
    """Nanomaggies in a unit of flux density, or per square arcsecond, and which of the two.

    None for any other unit, such as counts.
    """
    maggies = re.compile(r"(?i)(nano|n)?(?:magg(?:y|ies|ie)|mgy)\b")
    named = maggies.search(unit)
    factor = 1.0 if named is None else NJY_PER_NANOMAGGY * (1 if named[1] else 1e9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = maggies.sub("nJy", unit).replace(" per ", " / ")
        for word in ("arcsec", "pixel", "pix", "sr"):  # often in capitals
            text = re.sub(rf"(?i)\b{word}", word, text)
        meant = units.Unit(text, parse_strict="silent")
    try:
        per_count = units.dimensionless_unscaled
        for times, per_area in ((per_count, False), (units.pix, False), (units.arcsec**2, True)):
            whole = meant * times
            if whole.is_equivalent(units.nJy):
                return factor * float(whole.to(units.nJy)) / NJY_PER_NANOMAGGY, per_area
    except (TypeError, ValueError):  # units such as mag, which cannot be multiplied
        pass
    return None, False


def zeropoint_fault(magnitude: float) -> str:
    """Why a number cannot be the AB magnitude of one count; empty if it can."""
    low, high = ZEROPOINTS
    if low <= magnitude <= high:
        return ""
    return f"{magnitude:g}; expected the AB magnitude of one count, {low:g} to {high:g} mag"


def per_count(zeropoint: float) -> float:
    """Nanomaggies of one count whose AB magnitude is `zeropoint`."""
    return float(10 ** (-0.4 * (zeropoint - NANOMAGGY_ZERO_POINT)))


def nanomaggies(counts: np.ndarray, worth: float) -> np.ndarray:
    """Counts as fluxes; NaN where they are infinite, codes, or beyond single precision."""
    with np.errstate(over="ignore", invalid="ignore"):
        flux = (counts.astype(np.float64) * worth).astype(np.float32)
    flux[np.isinf(flux)] = np.nan
    if counts.dtype.kind == "f":
        flux[np.isin(counts, CODES) | (np.abs(counts) >= LARGEST_COUNT)] = np.nan
    return flux


def _value(header: Header, key: str) -> Any:
    """The value of a card; None where it is missing, empty or damaged."""
    try:
        value = header.get(key)
    except Exception:  # a damaged card is found when it is used
        return None
    return None if str(value).strip() in ("", "None") else value


def _number(header: Header, key: str, place: Path | str) -> float:
    """The finite number of a card."""
    value = _value(header, key)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number) or isinstance(value, bool):
        raise CutoutError(f"{place}: {key} is '{value}', expected a number.")
    return number


def _band_of_extension(hdu: Any) -> str:
    """The band that a 2-D image or the name of its extension names; empty where neither does."""
    name = band_called(str(_value(hdu.header, "EXTNAME") or ""))
    if len(hdu.shape) != 2:
        return ""
    return (bands_of(hdu.header, 1) or (name,))[0]


def _words(label: Any) -> set[str]:
    return {*re.split(r"[^a-z0-9]+", str(label).lower())}
