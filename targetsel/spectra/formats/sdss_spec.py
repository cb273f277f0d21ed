"""The files `spec` and `spec-lite` of SDSS, data releases 8 to 19: SDSS, BOSS, eBOSS and SDSS-V.

https://data.sdss.org/datamodel/files/BOSS_SPECTRO_REDUX/RUN2D/spectra/PLATE4/spec.html: a table of
the coadded spectrum with a pixel in each row, and the spectrum's row of the survey's catalog in a
table SPECOBJ, or SPALL in later releases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from targetsel.errors import SpectrumError
from targetsel.spectra.formats.registry import OpenSpectra, SpectrumFormat
from targetsel.spectra.redshifts import (
    FETCHED,
    SpectrumOptions,
    StatedRedshift,
    check_warning,
    chosen_redshift,
    warning_of,
)
from targetsel.spectra.spectrum import ObservedSpectrum, check_flux_unit, from_log, in_air
from targetsel.tables.fits import open_fits
from targetsel.tables.reading import reading

CATALOGS = ("SPECOBJ", "SPALL")
COLUMNS = ("loglam", "flux", "ivar")  # of the coadded spectrum
_REDSHIFT_KEYS = ("Z", "REDSHIFT", "Z_FIN")
# SPPIXMASK, https://www.sdss4.org/dr17/algorithms/bitmasks/#SPPIXMASK: bits that make a pixel bad
# if they are set in every exposure. The others tell of pixels near it, or of a whole spectrum of
# which most is good; NODATA "should be ignored in favor of INVVAR = 0".
BAD_PIXEL = sum(
    1 << bit
    for bit in (
        0,  # NOPLUG
        1,  # BADTRACE
        2,  # BADFLAT
        3,  # BADARC
        18,  # FULLREJECT
        22,  # NOSKY
        23,  # BRIGHTSKY
        27,  # BADSKYCHI
        28,  # REDMONSTER
    )
)
SDSS_FIBER, BOSS_FIBER = 3.0, 2.0  # diameters [arcsec] before BOSS, and of its spectrographs
SDSS_RUNS = ("26", "103", "104")  # reductions of spectra of the first spectrographs


class IncompleteFile(SpectrumError):
    """A file without all parts of an SDSS spectrum, such as a truncated one."""


def read_sdss(
    source: Path | bytes, place: str, name: str, redshift: float | None = None
) -> ObservedSpectrum:
    """The coadded spectrum of a `spec` or `spec-lite` file, under a name of ours.

    Parameters
    ----------
    source : Path or bytes
        A file, or its contents.
    place : str
        Origin of the file, for messages.
    name : str
        Id of the spectrum.

    Raises
    ------
    SpectrumError
        If the file is no such file, is in air wavelengths, has no redshift, one with a warning, or
        unusable values.
    """
    with open_fits(source, IncompleteFile, place) as hdus:
        options = SpectrumOptions(id_from="file")
        return read_open(OpenSpectra(hdus, place, None, name, redshift, options))


def read_open(opened: OpenSpectra) -> ObservedSpectrum:
    """The spectrum of an open file, as in `read_sdss`.

    Wavelengths are in vacuum; files whose header says otherwise are refused. Pixels that have a bit
    of `BAD_PIXEL` in `and_mask` are masked.
    """
    place, hdus = opened.place, opened.hdus
    with reading(place, IncompleteFile, "a FITS file"):
        table = coadd_in(hdus)
        headers = [dict(table.header), dict(hdus[0].header)] if table is not None else []
    if table is None:
        raise IncompleteFile(no_spectrum(place))
    for header in headers:
        check_vacuum(place, header)
    with reading(place, IncompleteFile, "a FITS file"):
        unit = str(table.columns["flux"].unit or headers[1].get("BUNIT", ""))
        columns = [np.asarray(table.data[each]).ravel() for each in COLUMNS]
        has_mask = "and_mask" in (each.lower() for each in table.columns.names)
        bits = np.asarray(table.data["and_mask"]).ravel() if has_mask else None
        row = _catalog_row(place, hdus)
        header = headers[1]
    for name, values in zip(COLUMNS, columns, strict=True):
        if values.dtype.kind not in "iuf":
            raise SpectrumError(f"{place}: '{name}' holds {values.dtype}, expected real numbers")
    loglam, flux, ivar = (values.astype(np.float64) for values in columns)
    if not len(flux):
        raise IncompleteFile(f"{place}: has no pixels; expected a spectrum. Copy it again.")
    if bits is not None:
        ivar = without_bad_pixels(place, bits, ivar)
    stated = _redshift(place, row, header)
    position = _position(place, row, header)
    check_flux_unit(place, unit)
    ids = ids_of(row, header)
    names = [opened.name, *ids] if opened.options.id_from == "file" or not ids else ids
    missing = (
        f"{place}: no redshift: there is no table SPECOBJ with Z, and no header entry Z. Give "
        "--redshift."
    )
    found = chosen_redshift(
        place, [*names, opened.name], opened.redshift, opened.options, stated, missing
    )
    return ObservedSpectrum(
        place,
        names[0],
        from_log(place, loglam),
        flux,
        ivar,
        check_warning(place, found, opened.options, *([] if opened.path else [FETCHED])),
        position,
        aperture=_fiber(row, header),
        other_names=(*names[1:], opened.name),
        redshift_from=found.source,
    )


def without_bad_pixels(place: str, bits: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    """The inverse variance with 0 where a mask has a bit of `BAD_PIXEL`, shape (L,).

    Raises
    ------
    SpectrumError
        If the mask holds no bits.
    """
    if bits.dtype.kind not in "iu":
        numbers = bits.astype(np.float64) if bits.dtype.kind == "f" else np.array([np.nan])
        if not ((np.abs(numbers) < 2**63) & (numbers == np.floor(numbers))).all():
            raise SpectrumError(
                f"{place}: its mask holds {bits.dtype} that are no bits, expected whole numbers"
            )
    return np.where(bits.astype(np.int64) & BAD_PIXEL, 0.0, ivar)


def number_of(place: str, name: str, value: Any) -> float:
    """A number in a catalog's row or in a header.

    Raises
    ------
    SpectrumError
        If it is none.
    """
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if not is_number or isinstance(value, bool):
        raise SpectrumError(f"{place}: {name} is '{value}', expected a number")
    return float(value)


def check_vacuum(place: str, header: Mapping[str, Any]) -> None:
    """Refuse a header that says that wavelengths are in air."""
    if "VACUUM" in header and header["VACUUM"] in (False, 0, "F"):
        raise in_air(place, "header: VACUUM = F")
    for key in ("AIRORVAC", "CTYPE1"):
        if str(header.get(key, "")).strip().upper().startswith(("AIR", "AWAV")):
            raise in_air(place, f"header: {key} = '{header[key]}'")


def no_spectrum(place: str) -> str:
    """The message for a FITS file that holds no spectra."""
    return (
        f"{place}: no table with columns flux, loglam and ivar, so it is no SDSS spec or "
        "spec-lite file. Give such a file, or a table with a spectrum in each row: wavelength, "
        "flux, ivar and redshift."
    )


def coadd_in(hdus: fits.HDUList) -> fits.BinTableHDU | None:
    """The table with the coadded spectrum, a pixel in each row: COADD, or the first like it."""
    wanted = {*COLUMNS}
    for hdu in sorted(hdus, key=lambda each: each.name != "COADD"):
        if isinstance(hdu, fits.BinTableHDU) and wanted <= {n.lower() for n in hdu.columns.names}:
            kinds = [hdu.data[name] for name in wanted]
            in_a_row = any(each.ndim > 1 or each.dtype == object for each in kinds)
            return None if in_a_row and len(hdu.data) > 1 else hdu
    return None


# ---------------------------------------------------------------- the catalog's row


def _catalog_row(place: str, hdus: fits.HDUList) -> dict[str, Any]:
    """The spectrum's row in the survey's catalog, by upper-case names; empty where it is not.

    Raises
    ------
    SpectrumError
        If there are several rows, so that it is not known which is the spectrum's.
    """
    for hdu in hdus:
        if hdu.name in CATALOGS and isinstance(hdu, fits.BinTableHDU) and (n := len(hdu.data)):
            if n > 1:
                raise SpectrumError(
                    f"{place}: its table {hdu.name} has {n} rows, expected one, the spectrum's. "
                    "Keep that one."
                )
            wanted = {
                name: hdu.data[name][0] for name in hdu.columns.names if name.upper() in _COLUMNS
            }
            return {name.upper(): value for name, value in wanted.items()}
    return {}


_COLUMNS = frozenset(
    (
        "Z", "ZWARNING", "SPECOBJID", "BESTOBJID", "FLUXOBJID", "OBJID", "PLATE", "MJD", "FIBERID",
        "FIELD", "CATALOGID", "SDSS_ID", "INSTRUMENT", "RUN2D", "PLUG_RA", "PLUG_DEC", "OBS",
    )
)  # fmt: skip


def ids_of(row: Mapping[str, Any], header: Mapping[str, Any]) -> list[int | str]:
    """The ids of a spectrum, the survey's own first: SPECOBJID, plate-mjd-fiber, the target's.

    Parameters
    ----------
    row : mapping
        Of the survey's catalog, by upper-case names; may be empty.
    header : mapping
        Of the file.
    """
    ids: list[int | str] = []
    if (specobjid := _id(row.get("SPECOBJID"))) is not None:
        ids.append(specobjid)
    parts = [
        _id(row.get(column, header.get(key)))
        for column, key in (("PLATE", "PLATEID"), ("MJD", "MJD"), ("FIBERID", "FIBERID"))
    ]
    fps = [_id(row.get(name, header.get(name))) for name in ("FIELD", "MJD", "CATALOGID")]
    numbers = [each for each in parts if isinstance(each, int)]
    if len(numbers) == len(parts):
        ids.append("{:04d}-{:05d}-{:04d}".format(*numbers))
    elif all(each is not None for each in fps):
        ids.append("-".join(map(str, fps)))
    others = ("BESTOBJID", "FLUXOBJID", "OBJID", "SDSS_ID", "CATALOGID")
    targets = (_id(row.get(name)) for name in others)
    return list(dict.fromkeys([*ids, *(each for each in targets if each is not None)]))


def _id(value: Any) -> int | str | None:
    """An id as a whole number, or as text beyond 2^63; None where it is missing.

    So it is where a float cannot hold it exactly.
    """
    if value is None or np.ndim(value):
        return None
    if isinstance(value, float | np.floating):
        is_exact = value == np.floor(value) and abs(value) < 2 ** (np.finfo(type(value)).nmant + 1)
        value = int(value) if is_exact else ""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    text = text.strip(" \0")
    if not text or not text.lstrip("-").isdigit():
        return text or None
    number = int(text)
    if number <= 0:
        return None
    return number if number < 2**63 else text


def _redshift(
    place: str, row: Mapping[str, Any], header: Mapping[str, Any]
) -> StatedRedshift | None:
    """The redshift that a file states."""
    if "Z" in row:
        bits = number_of(place, "ZWARNING", row.get("ZWARNING", 0))
        return StatedRedshift(number_of(place, "Z", row["Z"]), warning_of("ZWARNING", bits))
    key = next((each for each in _REDSHIFT_KEYS if each in header), None)
    return None if key is None else StatedRedshift(number_of(place, key, header[key]))


def _position(place: str, row: Mapping[str, Any], header: Mapping[str, Any]) -> tuple[float, float]:
    ra, dec = (
        number_of(place, name, row.get(name, header.get(name, np.nan)))
        for name in ("PLUG_RA", "PLUG_DEC")
    )
    return ra, dec


def _fiber(row: Mapping[str, Any], header: Mapping[str, Any]) -> float | None:
    """Diameter of the fiber [arcsec], if the file says of which spectrograph it is.

    SDSS-V's fibers at Las Campanas are others than those at Apache Point, and are not known here.
    """
    if str(row.get("OBS", "")).strip().upper() == "LCO":
        return None
    instrument = str(row.get("INSTRUMENT", "")).strip().upper()
    run = str(row.get("RUN2D", header.get("RUN2D", ""))).strip()
    if instrument == "SDSS" or run in SDSS_RUNS:
        return SDSS_FIBER
    return BOSS_FIBER if instrument == "BOSS" or run.startswith(("v5_", "v6_")) else None


def _spectra(opened: OpenSpectra) -> Iterator[ObservedSpectrum | SpectrumError]:
    yield read_open(opened)


FORMAT = SpectrumFormat("SDSS spec or spec-lite", lambda hdus: coadd_in(hdus) is not None, _spectra)
