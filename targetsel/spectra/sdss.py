"""Spectra in the SDSS `spec` and `spec-lite` FITS format."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from targetsel.errors import SpectrumError
from targetsel.spectra.spectrum import ObservedSpectrum, check_flux_unit, refuse_air

# Errors of astropy and of Python where bytes of a FITS file are damaged.
_DAMAGE = (OSError, EOFError, TypeError, ValueError, LookupError, AttributeError, MemoryError,
           zlib.error, fits.VerifyError, AstropyUserWarning)  # fmt: skip
_REDSHIFT_TABLES = ("SPECOBJ", "SPALL")
_REDSHIFT_KEYS = ("Z", "REDSHIFT", "Z_FIN")


class IncompleteFile(SpectrumError):
    """A file without all parts of an SDSS spectrum, such as a truncated one."""


def read_sdss(path: Path, redshift: float | None = None) -> ObservedSpectrum:
    """The coadded spectrum of a `spec` or `spec-lite` file.

    Wavelengths are in vacuum; files whose header says otherwise are refused. The redshift is
    `redshift`, or else that of the table SPECOBJ (SPALL in later surveys) or of the header.

    Raises
    ------
    SpectrumError
        If the file is no such file, is in air wavelengths, has no redshift, or unusable values.
    """
    return _read(path, str(path), path.stem.removesuffix(".fits"), redshift)


def sdss_from_bytes(
    content: bytes, place: str, name: str, redshift: float | None = None
) -> ObservedSpectrum:
    """The spectrum in the bytes of such a file, which came from `place`; see `read_sdss`."""
    return _read(io.BytesIO(content), place, name, redshift)


def _read(
    source: Path | io.BytesIO, place: str, name: str, redshift: float | None
) -> ObservedSpectrum:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            with fits.open(source, memmap=False) as hdus:
                return _from_hdus(hdus, place, name, redshift)
    except FileNotFoundError:
        raise SpectrumError(f"{place}: no such file") from None
    except _DAMAGE as error:
        cause = str(error).split("\n")[0]
        raise IncompleteFile(f"{place}: not a whole FITS file ({cause}). Copy it again.") from None


def _from_hdus(
    hdus: fits.HDUList, place: str, name: str, redshift: float | None
) -> ObservedSpectrum:
    table = _coadd(hdus, place)
    header = hdus[0].header
    _check_frame(header, table.header, place)
    check_flux_unit(place, str(table.columns["flux"].unit or header.get("BUNIT", "")))
    if redshift is None:
        redshift = _redshift(hdus)
    if redshift is None:
        raise IncompleteFile(
            f"{place}: no redshift: there is no table SPECOBJ with Z, and no header entry Z. "
            "Give --redshift."
        )
    data = table.data
    return ObservedSpectrum(
        place,
        name,
        10 ** np.asarray(data["loglam"], dtype=np.float64),
        np.asarray(data["flux"], dtype=np.float64),
        np.asarray(data["ivar"], dtype=np.float64),
        float(redshift),
    )


def _coadd(hdus: fits.HDUList, place: str) -> fits.BinTableHDU:
    """The table with the coadded spectrum."""
    wanted = {"flux", "loglam", "ivar"}
    for hdu in hdus:
        if isinstance(hdu, fits.BinTableHDU) and wanted <= {n.lower() for n in hdu.columns.names}:
            return hdu
    raise IncompleteFile(
        f"{place}: no table with columns flux, loglam and ivar, so it is no SDSS spec or "
        "spec-lite file. Other spectra are read from .npz, .csv and .parquet."
    )


def _check_frame(primary: fits.Header, table: fits.Header, place: str) -> None:
    for header in (table, primary):
        if "VACUUM" in header and header["VACUUM"] in (False, 0, "F"):
            refuse_air(place, "header: VACUUM = F")
        for key in ("AIRORVAC", "CTYPE1"):
            value = str(header.get(key, "")).strip().upper()
            if value.startswith(("AIR", "AWAV")):
                refuse_air(place, f"header: {key} = '{header[key]}'")


def _redshift(hdus: fits.HDUList) -> float | None:
    """The redshift stored in a file, or None."""
    for hdu in hdus:
        if hdu.name in _REDSHIFT_TABLES and isinstance(hdu, fits.BinTableHDU) and len(hdu.data):
            by_name = {name.upper(): name for name in hdu.columns.names}
            if "Z" in by_name:
                return float(hdu.data[by_name["Z"]][0])
    for key in _REDSHIFT_KEYS:
        if key in hdus[0].header:
            return float(hdus[0].header[key])
    return None
