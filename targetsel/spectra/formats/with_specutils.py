"""Files of other surveys, MaNGA among them, which the package specutils reads.

specutils gives flux, errors and wavelengths with their units; what it does not say is whether the
wavelengths are in air or vacuum, so that is known here, or by the header, or the file is refused.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units

from targetsel.errors import ExtraError, SpectrumError
from targetsel.extras import installed, require
from targetsel.spectra.formats.registry import OpenSpectra, SpectrumFormat, formats
from targetsel.spectra.grid import air_to_vacuum
from targetsel.spectra.redshifts import StatedRedshift, check_warning, chosen_redshift
from targetsel.spectra.spectrum import ObservedSpectrum, UnusableSpectrum
from targetsel.tables.reading import reading

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

AIR, VACUUM = "air", "vacuum"
# Loaders of specutils whose survey is known to give wavelengths in one of these.
MEDIUM = {
    "MaNGA cube": VACUUM, "MaNGA rss": VACUUM, "Subaru-pfsObject": VACUUM,
    "6dFGS-tabular": AIR, "6dFGS-split": AIR,
}  # fmt: skip
SIX_DF = ("OBSRA", "OBSDEC", "Z", "Z_HELIO", "QUALITY")
SURE = (3, 4)  # QUALITY of 6dF's redshifts
PER_WAVELENGTH = units.Unit("1e-17 erg / (s cm2 Angstrom)")
LEAST_LIGHT = 0.5  # share of a cube's light that unmasked spaxels of a wavelength must have
LEAST_GOOD = 0.5  # share of the wavelengths at which a spaxel must have data
# Errors of summed spaxels exceed those of independent ones by 1 + SLOPE log10(number), up to
# MOST (Law et al. 2016, AJ 152, 83, section 9.3).
CORRELATED = 100
SLOPE = 1.62


@dataclass(frozen=True)
class Loaded:
    """What specutils reads of a file.

    Attributes
    ----------
    loader : str
        Name of its reader.
    wavelength : ndarray, shape (L,)
        In vacuum [Angstrom].
    flux, ivar : ndarray, shape (..., L)
        In units of `PER_WAVELENGTH`; `ivar` is 0 where masked.
    header : mapping
    """

    loader: str
    wavelength: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    header: Mapping[str, Any]


def known_kind(hdus: HDUList) -> str:
    """What a file of a survey is that specutils is needed for; empty if it is of none."""
    header = hdus[0].header
    if "FLUX" in hdus and str(hdus["FLUX"].header.get("INSTRUME", "")).strip() == "MaNGA":
        return "MaNGA cube" if hdus["FLUX"].header.get("NAXIS") == 3 else "MaNGA rss"
    return "6dFGS spectrum" if all(key in header for key in SIX_DF) else ""


def specutils_spectra(opened: OpenSpectra) -> Iterator[ObservedSpectrum | SpectrumError]:
    """The spectra of a file that specutils reads; the error in place of each that is not usable.

    Raises
    ------
    SpectrumError
        If specutils is not installed, does not know the file, or it says too little.
    """
    loaded = _loaded(opened)
    ids = _ids(loaded.header, opened.name)
    if loaded.flux.ndim == 1:
        yield _spectrum(opened, loaded, opened.place, ids, loaded.flux, loaded.ivar)
    elif loaded.flux.ndim == 2:
        for row, (flux, ivar) in enumerate(zip(loaded.flux, loaded.ivar, strict=True)):
            place, name = f"{opened.place}, row {row}", f"{ids[0]}:{row}"
            try:
                yield _spectrum(opened, loaded, place, [name, *ids], flux, ivar)
            except SpectrumError as error:
                yield UnusableSpectrum(str(error), name)
    elif loaded.loader == "MaNGA cube":
        flux, ivar = summed(loaded.flux, loaded.ivar)
        yield _spectrum(opened, loaded, opened.place, ids, flux, ivar)
    else:
        raise SpectrumError(
            f"{opened.place}: is a cube ({loaded.loader}), of which it is not known how to sum its "
            "spectra. Sum them, and give the sum as a table."
        )


def summed(flux: np.ndarray, ivar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The light of all spaxels of a cube, and its inverse variance, shape (L,) each.

    Spaxels that are masked at a wavelength are filled in by their share of the whole light. Errors
    are those of correlated spaxels.

    Parameters
    ----------
    flux, ivar : ndarray, shape (Y, X, L)
        `ivar` is 0 where masked.
    """
    flux, ivar = (each.reshape(-1, each.shape[-1]) for each in (flux, ivar))
    has_data = (ivar > 0).mean(axis=1) >= LEAST_GOOD
    flux, ivar = flux[has_data], ivar[has_data]
    good = ivar > 0
    if not len(flux):
        return np.zeros((2, flux.shape[-1]))[0], np.zeros(flux.shape[-1])
    light = np.maximum(np.nanmedian(np.where(good, flux, np.nan), axis=1), 0.0)
    share = light @ good / light.sum() if light.sum() > 0 else good.mean(axis=0)
    enough = share >= LEAST_LIGHT
    divisor = np.where(enough, share, 1.0)
    variance = np.divide(1.0, ivar, out=np.zeros_like(ivar), where=good).sum(axis=0) / divisor**2
    factor = 1 + SLOPE * np.log10(min(len(flux), CORRELATED))
    total = np.where(good, flux, 0.0).sum(axis=0) / divisor
    usable = enough & (variance > 0)
    weight = np.divide(1.0, variance * factor**2, out=np.zeros_like(variance), where=usable)
    return np.where(usable, total, 0.0), weight


def _spectrum(
    opened: OpenSpectra,
    loaded: Loaded,
    place: str,
    ids: list[int | str],
    flux: np.ndarray,
    ivar: np.ndarray,
) -> ObservedSpectrum:
    missing = (
        f"{place}: no redshift: a file of this kind ({loaded.loader}) has none. Give --redshift, "
        f"or a table with {ids[0]} by --redshifts."
    )
    stated = _redshift(loaded.header)
    found = chosen_redshift(place, ids, opened.redshift, opened.options, stated, missing)
    return ObservedSpectrum(
        place,
        opened.name if opened.options.id_from == "file" and loaded.flux.ndim != 2 else ids[0],
        loaded.wavelength,
        flux,
        ivar,
        check_warning(place, found, opened.options),
        _position(loaded.header),
        other_names=(*ids[1:], opened.name),
        redshift_from=found.source,
    )


# ---------------------------------------------------------------- what specutils reads


def _loaded(opened: OpenSpectra) -> Loaded:
    """The file as specutils reads it, in our units."""
    place, path = opened.place, opened.path
    kind = known_kind(opened.hdus)
    try:
        require("specutils", f"{place}: a {kind or 'file of another survey'}")
    except ExtraError as error:
        raise SpectrumError(str(error)) from None
    if path is None:
        raise SpectrumError(f"{place}: is no file; expected one. Save it first.")
    from specutils import Spectrum
    from specutils.io.registers import identify_spectrum_format

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with reading(place, SpectrumError, "a file of spectra that specutils reads"):
            found = identify_spectrum_format(str(path))
        loaders = [found] if isinstance(found, str) else list(found or [])
        loaders = [each for each in loaders if each in MEDIUM] or loaders
        if not loaders:
            raise SpectrumError(
                f"{place}: specutils knows no such file. Give a table with a spectrum in each row: "
                "wavelength, flux, ivar and redshift."
            )
        with reading(place, SpectrumError, f"a file of the kind {loaders[0]}"):
            spectrum = Spectrum.read(str(path), format=loaders[0])
    return _in_our_units(place, loaders[0], spectrum, dict(opened.hdus[0].header))


def _in_our_units(place: str, loader: str, spectrum: Any, header: dict[str, Any]) -> Loaded:
    from astropy.nddata import InverseVariance

    axis = int(getattr(spectrum, "spectral_axis_index", None) or 0)
    flux = np.asarray(spectrum.flux.value, np.float64)
    axis = axis if flux.ndim > 1 else 0
    unit = spectrum.flux.unit  # for MaNGA per spaxel or fiber, which are pixels to specutils
    scales = [_scale(unit), _scale(unit * units.pix)]
    scale = next((each for each in scales if each is not None), None)
    if scale is None:
        raise SpectrumError(
            f"{place}: flux is in '{unit}', expected flux density per unit "
            "wavelength, such as '1e-17 erg/s/cm2/Angstrom'. Calibrate the spectrum."
        )
    if spectrum.uncertainty is None:
        raise SpectrumError(
            f"{place}: has no errors, expected those of the flux. Give a table with wavelength, "
            "flux, ivar and redshift."
        )
    with reading(place, SpectrumError, "spectra whose errors can be told"):
        weight = spectrum.uncertainty.represent_as(InverseVariance).array
        ivar = np.nan_to_num(np.asarray(weight, np.float64), nan=0.0, posinf=0.0, neginf=-1.0)
        if spectrum.mask is not None:
            ivar = np.where(np.asarray(spectrum.mask, bool), 0.0, ivar)
        wavelength = np.asarray(
            spectrum.spectral_axis.to_value(units.AA, units.spectral()), np.float64
        )
        flux, ivar = (np.moveaxis(np.atleast_1d(each), axis, -1) for each in (flux, ivar))
    ivar = np.where(np.isfinite(flux), ivar, 0.0)
    if wavelength[0] > wavelength[-1]:
        wavelength, flux, ivar = wavelength[::-1], flux[..., ::-1], ivar[..., ::-1]
    if _medium(place, loader, header) == AIR:
        wavelength = air_to_vacuum(wavelength)
    about = dict(getattr(spectrum, "meta", {}).get("header", {})) | header
    return Loaded(loader, wavelength, flux * scale, ivar / scale**2, about)


def _scale(unit: Any) -> float | None:
    with contextlib.suppress(units.UnitConversionError, TypeError, ValueError):
        return float(f"{float(unit.to(PER_WAVELENGTH)):.12g}")
    return None


def _medium(place: str, loader: str, header: Mapping[str, Any]) -> str:
    """Whether wavelengths are in air or vacuum."""
    if "VACUUM" in header:
        return AIR if header["VACUUM"] in (False, 0, "F") else VACUUM
    said = {key: str(header.get(key, "")).strip().upper() for key in ("AIRORVAC", "CTYPE1")}
    if said["AIRORVAC"].startswith((AIR.upper(), VACUUM[:3].upper())):
        return AIR if said["AIRORVAC"].startswith(AIR.upper()) else VACUUM
    if (known := MEDIUM.get(loader)) is not None:
        return known
    if said["CTYPE1"].startswith(("AWAV", "WAVE")) and said["CTYPE1"][4:5] in ("", "-"):
        return AIR if said["CTYPE1"].startswith("AWAV") else VACUUM
    raise SpectrumError(
        f"{place}: does not say whether its wavelengths are in air or vacuum (read as {loader}); "
        "expected a header with VACUUM = T or F. Add it."
    )


def _ids(header: Mapping[str, Any], name: str) -> list[int | str]:
    found = (str(header.get(key, "")).strip() for key in ("PLATEIFU", "MANGAID", "TARGET"))
    return list(dict.fromkeys([*(each for each in found if each), name]))


def _redshift(header: Mapping[str, Any]) -> StatedRedshift | None:
    """The redshift in a header, such as 6dF's, with its quality."""
    key = next((each for each in ("Z_HELIO", "Z", "REDSHIFT") if each in header), None)
    if key is None or isinstance(header[key], str):
        return None
    quality = header.get("QUALITY")
    is_sure = quality is None or quality in SURE
    return StatedRedshift(float(header[key]), "" if is_sure else f"QUALITY = {quality}")


def _position(header: Mapping[str, Any]) -> tuple[float, float]:
    for names in (("OBJRA", "OBJDEC"), ("OBSRA", "OBSDEC")):
        found = [header.get(name) for name in names]
        if all(isinstance(each, int | float) for each in found):
            ra, dec = map(float, found)  # type: ignore[arg-type]
            return ra, dec
    return np.nan, np.nan


def _is_known_to_specutils(opened: OpenSpectra) -> bool:
    """Whether specutils is installed and knows a file that we do not.

    It is asked only about images with coordinates.
    """
    headers = (hdu.header for hdu in opened.hdus)
    has_image = any(each.get("NAXIS", 0) > 0 and "CRVAL1" in each for each in headers)
    if not has_image or not installed("specutils") or opened.path is None:
        return False
    from specutils.io.registers import identify_spectrum_format

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):  # of loaders that look into headers
            return bool(identify_spectrum_format(str(opened.path)))
    return False


def unknown_spectra(opened: OpenSpectra) -> Iterator[ObservedSpectrum | SpectrumError]:
    """The spectra of a FITS file without tables that is of no kind of ours, if specutils knows it.

    Raises
    ------
    SpectrumError
        If it does not.
    """
    if _is_known_to_specutils(opened):
        yield from specutils_spectra(opened)
        return
    kinds = ", ".join(each.name for each in formats())
    raise SpectrumError(
        f"{opened.place}: no table with columns flux, loglam and ivar, and no other spectra that "
        f"are known ({kinds}). Give one of these, or a table with a spectrum in each row: "
        "wavelength, flux, ivar and redshift."
    )


FORMAT = SpectrumFormat(
    "MaNGA and 6dF, by specutils", lambda hdus: bool(known_kind(hdus)), specutils_spectra
)
