"""Reading image files: FITS and .npy, calibrated to nanomaggies."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from targetsel.errors import CutoutError
from targetsel.photometry.bands import parse_bands
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT

JANSKYS = {"nJy": 1e-9, "uJy": 1e-6, "mJy": 1e-3, "Jy": 1.0}
# Pan-STARRS stacks: counts over the whole exposure, so 2.5 log10(EXPTIME) is added.
PANSTARRS_ZEROPOINT = 25.0
PANSTARRS_KEYS = ("TELESCOP", "FPA.TELESCOPE", "INSTRUME", "FPA.INSTRUMENT")
ASINH_MAGNITUDE = 2.5 / np.log(10)


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
    header : fits.Header or None
        Header of the image in a FITS file.
    masked : bool
        True if an inverse variance marked the pixels without data.
    """

    flux: np.ndarray
    bands: tuple[str, ...]
    pixel_scale: float | None
    header: fits.Header | None = None
    masked: bool = False


def read_image(path: Path, zeropoint: float | None, n_bands: int | None = None) -> Image:
    """The calibrated image in a FITS or .npy file.

    Parameters
    ----------
    path : Path
    zeropoint : float or None
        AB magnitude of one count, for files without a calibration of their own.
    n_bands : int or None
        Number of bands, needed for .npy only: the axis of this length is the band.

    Raises
    ------
    CutoutError
        If the file cannot be read, or its bands or calibration are not known.
    """
    return (
        read_npy(path, zeropoint, n_bands) if path.suffix == ".npy" else read_fits(path, zeropoint)
    )


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
    try:
        counts = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CutoutError(
            f"{path}: cannot be read as .npy: {_first_line(error)}. Write it again with np.save."
        ) from error
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
    return Image(_to_nanomaggy(counts, zeropoint), (), None)


def read_fits(path: Path, zeropoint: float | None) -> Image:
    """The first image of a FITS file; see `image_of_fits`.

    Raises
    ------
    CutoutError
        If the file cannot be read, or its calibration is not known.
    """
    try:
        with open(path, "rb") as stream:
            return image_of_fits(stream, path, zeropoint)
    except OSError as error:
        raise CutoutError(f"{path}: cannot be read: {error.strerror}.") from error


def image_of_fits(stream: BinaryIO, path: object, zeropoint: float | None) -> Image:
    """The first image in the bytes of a FITS file, 2-D (H, W) or a cube (B, H, W).

    `path` is what messages call it. Counts become nanomaggies by BUNIT (nanomaggy, nJy to Jy), by
    EXPTIME for 2-D Pan-STARRS stacks, else by `zeropoint`. The asinh compression of Pan-STARRS
    skycells is undone where BSOFTEN and BOFFSET are both given; cutouts of their service are
    linear and have neither. Pixels with an inverse variance of zero, in an extension called
    invvar, have no data.

    Raises
    ------
    CutoutError
        If the bytes are no such FITS file, or the calibration is not known.
    """
    _check_begins_like_fits(stream, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            warnings.filterwarnings("error", message=".*truncated.*")
            with fits.open(stream, memmap=False) as hdus:
                header, counts = _first_image(hdus)
                invvar = _inverse_variance(hdus)
    except (OSError, ValueError, TypeError, IndexError, AstropyWarning, fits.VerifyError) as error:
        raise CutoutError(
            f"{path}: cannot be read as FITS: {_first_line(error)}. Fetch it again or remove it."
        ) from error
    if counts is None or counts.ndim not in (2, 3):
        shape = "no image" if counts is None else f"an image of shape {counts.shape}"
        raise CutoutError(f"{path}: holds {shape}, expected (H, W) or a cube (bands, H, W).")
    masked = False
    if invvar is not None and invvar.shape == counts.shape:
        masked, counts = True, np.where(invvar > 0, counts, np.nan)
    flux = calibrated(counts.reshape(-1, *counts.shape[-2:]), header, path, zeropoint)
    return Image(flux, bands_of(header, len(flux)), _pixel_scale(header), header, masked)


def calibrated(
    counts: np.ndarray, header: fits.Header, path: object, zeropoint: float | None
) -> np.ndarray:
    """Counts of shape (B, H, W) as fluxes [nanomaggy], float32; see `image_of_fits`.

    Raises
    ------
    CutoutError
        If neither the header nor `zeropoint` gives the calibration.
    """
    if "BSOFTEN" in header and "BOFFSET" in header:
        compressed = counts.astype(np.float64) / ASINH_MAGNITUDE
        counts = header["BOFFSET"] + 2 * header["BSOFTEN"] * np.sinh(compressed)
    known = _zeropoint(header, len(counts), path)
    zeropoint = zeropoint if known is None else known
    if zeropoint is None:
        raise CutoutError(
            f"{path}: the header does not say what one count is worth (no BUNIT of nanomaggy, no "
            "EXPTIME of a Pan-STARRS stack). Give --zeropoint, the AB magnitude of one count."
        )
    return _to_nanomaggy(counts, zeropoint)


def _to_nanomaggy(counts: np.ndarray, zeropoint: float) -> np.ndarray:
    factor = 10 ** (-0.4 * (zeropoint - NANOMAGGY_ZERO_POINT))
    return (counts.astype(np.float64) * factor).astype(np.float32)


def _check_begins_like_fits(stream: BinaryIO, path: object) -> None:
    """Catch the error pages that survey servers send in place of an image."""
    begin = stream.read(16)
    stream.seek(0)
    compressed = begin.startswith(b"\x1f\x8b")
    if not compressed and not begin.startswith(b"SIMPLE"):
        raise CutoutError(
            f"{path}: does not begin like FITS but with {begin!r}; perhaps the error page of a "
            "server. Fetch it again or remove it."
        )


def _first_image(hdus: fits.HDUList) -> tuple[fits.Header, np.ndarray | None]:
    for hdu in hdus:
        if hdu.is_image and hdu.data is not None:
            return hdu.header, hdu.data
    return hdus[0].header, None


def _inverse_variance(hdus: fits.HDUList) -> np.ndarray | None:
    for hdu in hdus[1:]:
        labels = (str(hdu.header.get(key, "")).lower() for key in ("EXTNAME", "IMAGETYP"))
        if hdu.is_image and any("invvar" in label for label in labels):
            return hdu.data
    return None


def _zeropoint(header: fits.Header, n_bands: int, path: object) -> float | None:
    """The zero point that the header gives [AB mag], or None."""
    unit = str(header.get("BUNIT", "")).strip()
    if unit.lower().startswith(("nanomagg", "nmgy")):
        return NANOMAGGY_ZERO_POINT
    if unit in JANSKYS:
        return 2.5 * float(np.log10(3631.0 / JANSKYS[unit]))
    labels = (str(header.get(key, "")).upper() for key in PANSTARRS_KEYS)
    panstarrs = any(label.startswith(("PS1", "GPC1", "PAN-STARRS")) for label in labels)
    # The bands of one cube were exposed for different times; one EXPTIME cannot serve them all.
    if not panstarrs or n_bands != 1 or "EXPTIME" not in header:
        return None
    seconds = float(header["EXPTIME"])
    if not seconds > 0:
        raise CutoutError(f"{path}: EXPTIME is {seconds}, expected seconds above zero.")
    return PANSTARRS_ZEROPOINT + 2.5 * float(np.log10(seconds))


def bands_of(header: fits.Header, n_bands: int) -> tuple[str, ...]:
    """The bands that the header names, or () where it does not name each plane."""
    listed = " ".join(str(header.get(f"BAND{k}", "")).strip() for k in range(n_bands))
    for text in (header.get("BANDS"), listed, header.get("FILTER"), header.get("FPA.FILTERID")):
        try:
            # Pan-STARRS writes g.00000
            bands = parse_bands(str(text or "").split(".")[0].strip())
        except CutoutError:
            continue
        if len(bands) == n_bands:
            return bands
    return ()


def _pixel_scale(header: fits.Header) -> float | None:
    """Mean side of a pixel [arcsec], from the CD matrix or CDELT."""
    if "CD1_1" in header:
        matrix = [header.get(f"CD{row}_{column}", 0.0) for row in (1, 2) for column in (1, 2)]
        area = abs(matrix[0] * matrix[3] - matrix[1] * matrix[2])
    elif "CDELT1" in header and str(header.get("CTYPE1", "")).startswith("RA"):
        area = abs(header["CDELT1"] * header.get("CDELT2", header["CDELT1"]))
    else:
        return None
    return float(np.sqrt(area)) * 3600 or None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
