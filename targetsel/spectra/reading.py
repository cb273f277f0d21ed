"""Measured spectra from files, and the results of what is done with each of them.

Files are SDSS FITS of the `spec` and `spec-lite` format, or plain arrays (see `arrays`), which
may be in FITS, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
from astropy.io import fits

from targetsel.errors import SpectrumError, absent
from targetsel.spectra.apertures import APERTURE, aperture_in
from targetsel.spectra.arrays import ArraySpectra, UnusableSpectrum, file_stem, pieces
from targetsel.spectra.spectrum import ObservedSpectrum, check_flux_unit, from_log, in_air
from targetsel.tables.any_format import footer_if_any
from targetsel.tables.columns import ID, NEVER, Column, schema_of
from targetsel.tables.files import PARQUET_SUFFIXES
from targetsel.tables.fits import open_fits
from targetsel.tables.ids import as_id, id_type
from targetsel.tables.parquet import SIMULATED, says_simulated
from targetsel.tables.reading import ParquetReader, reading
from targetsel.tasks import task

T = TypeVar("T")

OK = "ok"
FITS_SUFFIXES = (".fits", ".fit", ".fits.gz")
_REDSHIFT_TABLES = ("SPECOBJ", "SPALL")  # the second in later surveys
_REDSHIFT_KEYS = ("Z", "REDSHIFT", "Z_FIN")


def read_spectra(path: Path, redshift: float | None = None) -> list[ObservedSpectrum]:
    """The spectra of one file.

    Parameters
    ----------
    redshift : float, optional
        Redshift of every spectrum of the file, in place of the file's own.

    Raises
    ------
    SpectrumError
        If the file is of no known kind or damaged, lacks a redshift or another quantity, or has
        unusable values.
    """
    spectra = []
    for spectrum in try_spectra(path, redshift):
        if isinstance(spectrum, SpectrumError):
            raise spectrum
        spectra.append(spectrum)
    return spectra


def try_spectra(
    path: Path, redshift: float | None = None
) -> Iterator[ObservedSpectrum | SpectrumError]:
    """The spectra of one file as in `read_spectra`, with the error in place of a bad one."""
    path = Path(path)
    try:
        if not path.exists():
            raise SpectrumError(absent(path))
        if path.is_dir():
            raise SpectrumError(f"{path}: is a folder. Name the files in it.")
        if path.name.lower().endswith(FITS_SUFFIXES):
            with contextlib.suppress(NotSdssError):
                yield read_sdss(path, str(path), file_stem(path), redshift)
                return
        for first, is_one, arrays in pieces(path):
            yield from ArraySpectra(path, arrays, redshift, first, is_one).spectra()
    except SpectrumError as error:
        yield error


# ---------------------------------------------------------------- results of many spectra


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """One spectrum of a file, and the result or error of its processing.

    Attributes
    ----------
    path : Path
        The file.
    source_id : int or str
        Id of the spectrum, or the name of a file that could not be read.
    spectrum : ObservedSpectrum or None
        None if it could not be read.
    result : T or SpectrumError
        The result, or the error that prevented it.
    """

    path: Path
    source_id: int | str
    spectrum: ObservedSpectrum | None
    result: T | SpectrumError


def attempts(
    paths: Iterable[Path],
    make: Callable[[ObservedSpectrum], T],
    redshift: float | None = None,
    what: str = "measuring",
) -> Iterator[Attempt[T]]:
    """Results of `make` for every spectrum of some files, or its `SpectrumError` where it fails.

    `what` is being done, for those who want to see its progress.
    """
    expected = [(path, _n_expected(path)) for path in map(Path, paths)]
    with task(what, sum(n for _, n in expected), "spectra") as advance:
        for path, left in expected:
            for spectrum in try_spectra(path, redshift):
                yield _attempt(path, spectrum, make)
                advance(min(left, 1))
                left -= min(left, 1)
            advance(left)


def _n_expected(path: Path) -> int:
    """The number of spectra in a file as far as that is known at once; one, where it is not."""
    if path.suffix.lower() not in PARQUET_SUFFIXES or not path.is_file():
        return 1
    try:
        with ParquetReader(path, SpectrumError) as file:
            return file.num_rows
    except SpectrumError:
        return 1


def _attempt(
    path: Path,
    spectrum: ObservedSpectrum | SpectrumError,
    make: Callable[[ObservedSpectrum], T],
) -> Attempt[T]:
    if isinstance(spectrum, SpectrumError):
        name: int | str = file_stem(path)
        if isinstance(spectrum, UnusableSpectrum):
            name = spectrum.source_id
        return Attempt(path, name, None, spectrum)
    result: T | SpectrumError
    try:
        result = make(spectrum)
    except SpectrumError as error:
        result = error
    return Attempt(path, spectrum.source_id, spectrum, result)


def usable(tried: Iterable[Attempt[T]]) -> list[T]:
    """The results.

    Raises
    ------
    SpectrumError
        The first one, if every spectrum failed.
    """
    tried = list(tried)
    errors = errors_of(tried)
    if errors and len(errors) == len(tried):
        raise errors[0]
    return [each.result for each in tried if not isinstance(each.result, SpectrumError)]


def errors_of(tried: Iterable[Attempt[Any]]) -> list[SpectrumError]:
    """The errors of the spectra that failed."""
    return [each.result for each in tried if isinstance(each.result, SpectrumError)]


def stated_marks(tried: Iterable[Attempt[Any]]) -> dict[str, Any]:
    """What a footer repeats of the files that gave a result.

    It is the mark of simulated data, if one has it, and the fiber's diameter, if all have the same.
    """
    paths = {each.path for each in tried if not isinstance(each.result, SpectrumError)}
    footers = [footer_if_any(path) for path in sorted(paths)]
    apertures = {aperture_in(footer) for footer in footers}
    marks: dict[str, Any] = dict(SIMULATED) if any(map(says_simulated, footers)) else {}
    if len(apertures) == 1 and (aperture := apertures.pop()) is not None:
        marks[APERTURE] = aperture
    return marks


def columns_of_results(columns: Sequence[Column], named: pa.DataType = ID) -> tuple[Column, ...]:
    """The columns of a table of results: the spectrum's own, those of a result, and `status`."""
    return (
        Column("source_id", named, ucd="meta.id;meta.main",
               null_when="ids are whole numbers, and the spectrum could not be read"),
        Column("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "ICRS"),
        Column("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "ICRS"),
        Column("file", pa.string(), meaning="where the spectrum was read from", null_when=NEVER),
        Column("redshift", pa.float64(), ucd="src.redshift", null_when="it was not read"),
        *columns,
        Column("status", pa.string(), "", "meta.code.status", "ok, or why there is no result",
               NEVER),
    )  # fmt: skip


def results_table(
    tried: Iterable[Attempt[T]],
    columns: Sequence[Column],
    values: Callable[[T], dict[str, object]],
) -> pa.Table:
    """One row for each spectrum that was tried, in their order.

    Id, position, file and redshift stand before the columns of the results, and `status` after
    them: "ok", or why there is no result; the columns of the result are null then. Ids are whole
    numbers where those of all spectra are that could be read, and otherwise text.

    Parameters
    ----------
    columns : sequence of Column
        The columns of a result.
    values : callable
        The values of these columns by name, of one result.
    """
    tried = list(tried)
    named = id_type([each.source_id for each in tried if each.spectrum is not None])
    columns = columns_of_results(columns, named)
    names = [each.name for each in columns]
    if clash := [name for name in names if names.count(name) > 1]:
        raise SpectrumError(
            f"two columns of the table would have the name '{clash[0]}'. Rename the index."
        )
    rows = []
    for attempt in tried:
        row: dict[str, object] = {
            "source_id": as_id(attempt.source_id, named),
            "file": str(attempt.path),
            "status": OK,
        }
        if (spectrum := attempt.spectrum) is not None:
            ra, dec = (each if np.isfinite(each) else None for each in spectrum.position)
            row |= {"ra": ra, "dec": dec, "redshift": spectrum.redshift}
        if isinstance(attempt.result, SpectrumError):
            row["status"] = str(attempt.result)
        else:
            row |= values(attempt.result)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema_of(columns))


# ---------------------------------------------------------------- SDSS files


class IncompleteFile(SpectrumError):
    """A file without all parts of an SDSS spectrum, such as a truncated one."""


class NotSdssError(IncompleteFile):
    """A FITS file without a table of an SDSS spectrum."""


def read_sdss(
    source: Path | bytes, place: str, name: str, redshift: float | None = None
) -> ObservedSpectrum:
    """The coadded spectrum of a `spec` or `spec-lite` file.

    Wavelengths are in vacuum; files whose header says otherwise are refused. The redshift is
    `redshift`, or else that of the table SPECOBJ (SPALL in later surveys) or of the header.

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
        If the file is no such file, is in air wavelengths, has no redshift, or unusable values.
    """
    with open_fits(source, IncompleteFile, place) as hdus:
        with reading(place, IncompleteFile, "a FITS file"):
            table = _coadd(hdus)
            headers = [dict(table.header), dict(hdus[0].header)] if table is not None else []
        if table is None:
            kind = NotSdssError if any(isinstance(h, fits.BinTableHDU) for h in hdus) else None
            raise (kind or IncompleteFile)(
                f"{place}: no table with columns flux, loglam and ivar, so it is no SDSS spec or "
                "spec-lite file. Spectra may also be rows of a table, with columns wavelength, "
                "flux, ivar and redshift."
            )
        for header in headers:
            if "VACUUM" in header and header["VACUUM"] in (False, 0, "F"):
                raise in_air(place, "header: VACUUM = F")
            for key in ("AIRORVAC", "CTYPE1"):
                if str(header.get(key, "")).strip().upper().startswith(("AIR", "AWAV")):
                    raise in_air(place, f"header: {key} = '{header[key]}'")
        with reading(place, IncompleteFile, "a FITS file"):
            unit = str(table.columns["flux"].unit or headers[1].get("BUNIT", ""))
            loglam, flux, ivar = (
                np.asarray(table.data[each], np.float64).ravel()
                for each in ("loglam", "flux", "ivar")
            )
            found = _redshift(hdus) if redshift is None else redshift
            ra, dec = (float(headers[1].get(key, np.nan)) for key in ("PLUG_RA", "PLUG_DEC"))
    check_flux_unit(place, unit)
    if found is None:
        raise IncompleteFile(
            f"{place}: no redshift: there is no table SPECOBJ with Z, and no header entry Z. "
            "Give --redshift."
        )
    wavelength = from_log(place, loglam)
    return ObservedSpectrum(place, name, wavelength, flux, ivar, found, (ra, dec))


def _coadd(hdus: fits.HDUList) -> fits.BinTableHDU | None:
    """The table with the coadded spectrum, a pixel in each row."""
    wanted = {"flux", "loglam", "ivar"}
    for hdu in hdus:
        if isinstance(hdu, fits.BinTableHDU) and wanted <= {n.lower() for n in hdu.columns.names}:
            kinds = [hdu.data[name] for name in wanted]
            in_a_row = any(each.ndim > 1 or each.dtype == object for each in kinds)
            return None if in_a_row and len(hdu.data) > 1 else hdu
    return None


def _redshift(hdus: fits.HDUList) -> float | None:
    """The redshift stored in a file, or None."""
    for hdu in hdus:
        if hdu.name in _REDSHIFT_TABLES and isinstance(hdu, fits.BinTableHDU) and len(hdu.data):
            by_name = {name.upper(): name for name in hdu.columns.names}
            if "Z" in by_name:
                return float(np.ravel(hdu.data[by_name["Z"]])[0])
    header = hdus[0].header
    return next((float(header[key]) for key in _REDSHIFT_KEYS if key in header), None)
