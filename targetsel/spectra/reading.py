"""Measured spectra from files: SDSS FITS, or plain arrays in .npz, .csv and .parquet.

SDSS files are those of the `spec` and `spec-lite` format. Plain arrays are found by name:
`wavelength` [Angstrom, vacuum, observed frame] or `loglam`; `flux`, per unit wavelength; `ivar`
(0 where masked) or `error`; `redshift` or `z`; `source_id`. A CSV file holds one spectrum, an .npz
one or many that share wavelengths, and Parquet one in each row.
"""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, Generic, TypeVar
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from targetsel.errors import SpectrumError
from targetsel.spectra.spectrum import ObservedSpectrum
from targetsel.tables.columns import NEVER, Column, is_list, schema_of, unit_of

T = TypeVar("T")

OK = "ok"
ROWS_PER_PIECE = 256
FITS_SUFFIXES = (".fits", ".fit", ".fits.gz")
# Errors of the readers and of Python where bytes of a file are damaged.
DAMAGE = (OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, MemoryError,
          NotImplementedError, BadZipFile, zlib.error, TokenError, SyntaxError, fits.VerifyError,
          AstropyUserWarning)  # fmt: skip
NAMES = {
    "wavelength": ("wavelength", "wave", "lambda", "lam", "loglam"),
    "flux": ("flux",),
    "ivar": ("ivar", "error", "err", "sigma"),
    "redshift": ("redshift", "z"),
    "source_id": ("source_id", "id"),
}
_AIR = ("wavelength_air", "wave_air", "lambda_air", "air_wavelength", "air")
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
            raise SpectrumError(f"{path}: no such file")
        if path.name.lower().endswith(FITS_SUFFIXES):
            yield read_sdss(path, str(path), path.stem.removesuffix(".fits"), redshift)
            return
        for first, n_rows, arrays in _pieces(path):
            yield from _ArraySpectra(path, arrays, redshift, first, n_rows).spectra()
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
    spectrum : ObservedSpectrum or None
        None if it could not be read.
    result : T or SpectrumError
        The result, or the error that prevented it.
    """

    path: Path
    spectrum: ObservedSpectrum | None
    result: T | SpectrumError

    @property
    def source_id(self) -> str:
        """Id of the spectrum, or the name of a file that could not be read."""
        return self.path.stem if self.spectrum is None else str(self.spectrum.source_id)


def attempts(
    paths: Iterable[Path],
    make: Callable[[ObservedSpectrum], T],
    redshift: float | None = None,
) -> Iterator[Attempt[T]]:
    """Results of `make` for every spectrum of some files, or its `SpectrumError` where it fails."""
    for path in map(Path, paths):
        for spectrum in try_spectra(path, redshift):
            if isinstance(spectrum, SpectrumError):
                yield Attempt(path, None, spectrum)
                continue
            result: T | SpectrumError
            try:
                result = make(spectrum)
            except SpectrumError as error:
                result = error
            yield Attempt(path, spectrum, result)


def results_table(
    tried: Iterable[Attempt[T]],
    columns: Sequence[Column],
    values: Callable[[T], dict[str, object]],
) -> pa.Table:
    """One row for each spectrum that was tried, in their order.

    Id, file and redshift stand before the columns of the results, and `status` after them: "ok",
    or why there is no result; the columns of the result are null then.

    Parameters
    ----------
    columns : sequence of Column
        The columns of a result.
    values : callable
        The values of these columns by name, of one result.
    """
    own = (
        Column("source_id", pa.string(), ucd="meta.id;meta.main", null_when=NEVER),
        Column("file", pa.string(), meaning="where the spectrum was read from", null_when=NEVER),
        Column("redshift", pa.float64(), ucd="src.redshift", null_when="it was not read"),
    )
    status = Column("status", pa.string(), "", "meta.code.status", "ok, or why there is no result",
                    NEVER)  # fmt: skip
    rows = []
    for attempt in tried:
        row: dict[str, object] = {
            "source_id": attempt.source_id,
            "file": str(attempt.path),
            "redshift": attempt.spectrum and attempt.spectrum.redshift,
            "status": OK,
        }
        if isinstance(attempt.result, SpectrumError):
            row["status"] = str(attempt.result)
        else:
            row |= values(attempt.result)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema_of((*own, *columns, status)))


# ---------------------------------------------------------------- SDSS files


class IncompleteFile(SpectrumError):
    """A file without all parts of an SDSS spectrum, such as a truncated one."""


def read_sdss(
    source: Path | BinaryIO, place: str, name: str, redshift: float | None = None
) -> ObservedSpectrum:
    """The coadded spectrum of a `spec` or `spec-lite` file.

    Wavelengths are in vacuum; files whose header says otherwise are refused. The redshift is
    `redshift`, or else that of the table SPECOBJ (SPALL in later surveys) or of the header.

    Parameters
    ----------
    source : Path or binary stream
    place : str
        Origin of the file, for messages.
    name : str
        Id of the spectrum.

    Raises
    ------
    SpectrumError
        If the file is no such file, is in air wavelengths, has no redshift, or unusable values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            with fits.open(source, memmap=False) as hdus:
                return _from_hdus(hdus, place, name, redshift)
    except DAMAGE as error:
        cause = str(error).split("\n")[0]
        raise IncompleteFile(f"{place}: not a whole FITS file ({cause}). Copy it again.") from None


def _from_hdus(
    hdus: fits.HDUList, place: str, name: str, redshift: float | None
) -> ObservedSpectrum:
    table = _coadd(hdus, place)
    header = hdus[0].header
    for each in (table.header, header):
        if "VACUUM" in each and each["VACUUM"] in (False, 0, "F"):
            raise _in_air(place, "header: VACUUM = F")
        for key in ("AIRORVAC", "CTYPE1"):
            if str(each.get(key, "")).strip().upper().startswith(("AIR", "AWAV")):
                raise _in_air(place, f"header: {key} = '{each[key]}'")
    _check_flux_unit(place, str(table.columns["flux"].unit or header.get("BUNIT", "")))
    if redshift is None:
        redshift = _redshift(hdus)
    if redshift is None:
        raise IncompleteFile(
            f"{place}: no redshift: there is no table SPECOBJ with Z, and no header entry Z. "
            "Give --redshift."
        )
    loglam, flux, ivar = (
        np.asarray(table.data[each], np.float64) for each in ("loglam", "flux", "ivar")
    )
    return ObservedSpectrum(place, name, 10**loglam, flux, ivar, float(redshift))


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


def _redshift(hdus: fits.HDUList) -> float | None:
    """The redshift stored in a file, or None."""
    for hdu in hdus:
        if hdu.name in _REDSHIFT_TABLES and isinstance(hdu, fits.BinTableHDU) and len(hdu.data):
            by_name = {name.upper(): name for name in hdu.columns.names}
            if "Z" in by_name:
                return float(hdu.data[by_name["Z"]][0])
    header = hdus[0].header
    return next((float(header[key]) for key in _REDSHIFT_KEYS if key in header), None)


# ---------------------------------------------------------------- plain arrays


@dataclass(frozen=True)
class Arrays:
    """The columns of a file, by their names in it.

    Attributes
    ----------
    values : dict of ndarray
    units : dict of str
        Units of the columns that have one.
    """

    values: dict[str, np.ndarray]
    units: dict[str, str] = field(default_factory=dict)

    def find(self, quantity: str) -> str | None:
        """Name of the column that holds a quantity of `NAMES`, or None."""
        by_lower = {name.lower(): name for name in self.values}
        return next((by_lower[n] for n in NAMES[quantity] if n in by_lower), None)


def read_arrays(path: Path) -> Arrays:
    """The columns of an .npz, .csv or .parquet file.

    Raises
    ------
    SpectrumError
        If the file is of another kind, or damaged.
    """
    readers = {".npz": _read_npz, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        known = ", ".join((FITS_SUFFIXES[0], *readers))
        raise SpectrumError(
            f"{path}: spectra are not read from '{path.suffix}' files; expected one of {known}"
        )
    try:
        return reader(path)
    except DAMAGE as error:
        raise _damaged(path, error) from None


def _pieces(path: Path) -> Iterator[tuple[int, int | None, Arrays]]:
    """A file's columns in pieces, with each piece's first row and the file's number of rows."""
    if path.suffix.lower() != ".parquet":
        yield 0, None, read_arrays(path)
        return
    try:
        with pq.ParquetFile(path) as file:
            first, n_rows = 0, file.metadata.num_rows
            for batch in file.iter_batches(ROWS_PER_PIECE):
                yield first, n_rows, _from_arrow(pa.Table.from_batches([batch]))
                first += batch.num_rows
            if not n_rows:
                raise SpectrumError(f"{path}: holds no spectra")
    except DAMAGE as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: BaseException) -> SpectrumError:
    cause = str(error).split("\n")[0]
    return SpectrumError(f"{path}: not a whole {path.suffix} file ({cause})")


def _read_npz(path: Path) -> Arrays:
    with open(path, "rb") as stream:
        arrays = np.load(stream, allow_pickle=False)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise ValueError("one bare array")
        return Arrays({name: arrays[name] for name in arrays.files})


def _read_csv(path: Path) -> Arrays:
    from astropy.table import Table

    table = Table.read(path, format="ascii.csv", comment="#")
    values = {}
    for name in table.colnames:
        column = np.ma.filled(np.ma.asarray(table[name]).astype(np.float64), np.nan)
        values[name] = column[None]
    return Arrays(values)


def _read_parquet(path: Path) -> Arrays:
    return _from_arrow(pq.read_table(path))


def _from_arrow(table: pa.Table) -> Arrays:
    values: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if is_list(column.type):
            column = column.cast(pa.list_(pa.float64()))
            flat = column.values.to_numpy(zero_copy_only=False)
            rows = np.split(flat[: int(column.offsets[-1].as_py())], column.offsets[1:-1])
            same = len({len(row) for row in rows}) <= 1
            values[name] = np.array(rows) if same else np.array(rows, dtype=object)
        else:
            values[name] = column.to_numpy(zero_copy_only=False)
    return Arrays(values, {each.name: unit_of(each) for each in table.schema if unit_of(each)})


class _ArraySpectra:
    """Spectra in the columns of a file, or of a piece of one.

    Parameters
    ----------
    first, n_rows : int
        Row of the piece's first spectrum in the file, and the file's number of rows if known.
    """

    def __init__(
        self, path: Path, arrays: Arrays, redshift: float | None, first: int, n_rows: int | None
    ) -> None:
        self.path, self.first, self.given_redshift = path, first, redshift
        self.units = arrays.units
        self.names = {quantity: arrays.find(quantity) or "" for quantity in NAMES}
        air = next((name for name in arrays.values if name.lower() in _AIR), None)
        if air and not self.names["wavelength"]:
            raise _in_air(str(path), f"column '{air}'")
        self.values = {}  # of each quantity, with spectra along the first axis
        for quantity in ("flux", "ivar", "wavelength"):
            if not (name := self.names[quantity]):
                has = ", ".join(arrays.values) or "nothing"
                raise SpectrumError(
                    f"{path}: no '{quantity}' among {has}; expected wavelength, flux, ivar (0 "
                    "where masked) and redshift"
                )
            values = np.atleast_1d(arrays.values[name])
            is_one = values.ndim == 1 and values.dtype != object
            self.values[quantity] = values[None] if is_one else values
        if not self.values["flux"].size:
            raise SpectrumError(f"{path}: holds no spectra")
        for quantity in ("redshift", "source_id"):
            if name := self.names[quantity]:
                values = np.atleast_1d(arrays.values[name])
                # A CSV file repeats them for every pixel.
                self.values[quantity] = values[:, 0] if values.ndim > 1 else values
        self.n_spectra = len(self.values["flux"])
        self._check_rows()
        _check_flux_unit(str(path), arrays.units.get(self.names["flux"], ""))
        self.is_one = (n_rows or self.n_spectra) == 1

    def _check_rows(self) -> None:
        """Check that every quantity has as many rows as the flux, or one for all."""
        for quantity, values in self.values.items():
            if len(values) not in (1, self.n_spectra):
                raise SpectrumError(
                    f"{self.path}: '{self.names[quantity]}' has {len(values)} rows, but "
                    f"'{self.names['flux']}' has {self.n_spectra}; expected as many, or one for all"
                )

    def spectra(self) -> Iterator[ObservedSpectrum | SpectrumError]:
        """The spectrum of each row, and the error in place of a bad one."""
        for row in range(self.n_spectra):
            try:
                yield self._spectrum(row)
            except SpectrumError as error:
                yield error

    def _spectrum(self, row: int) -> ObservedSpectrum:
        place = str(self.path) if self.is_one else f"{self.path}, row {self.first + row}"
        source_id = self._value("source_id", row)
        if source_id is None:
            source_id = self.path.stem if self.is_one else f"{self.path.stem}:{self.first + row}"
        ivar = self._numbers("ivar", row, place)
        if self.names["ivar"].lower() != "ivar":
            ivar = _from_error(ivar)
        return ObservedSpectrum(
            place,
            int(source_id) if _is_number(source_id) else str(source_id),
            self._angstrom(row, place),
            self._numbers("flux", row, place),
            ivar,
            self._redshift(row, place),
        )

    def _angstrom(self, row: int, place: str) -> np.ndarray:
        name = self.names["wavelength"]
        values = self._numbers("wavelength", row, place)
        if name.lower() == "loglam":
            return 10**values
        return _in_angstrom(place, values, self.units.get(name))

    def _redshift(self, row: int, place: str) -> float:
        if self.given_redshift is not None:
            return self.given_redshift
        if not self.names["redshift"]:
            raise SpectrumError(
                f"{place}: no redshift: no column 'redshift' or 'z'. Add one, or give --redshift."
            )
        return float(self._numbers("redshift", row, place))

    def _numbers(self, quantity: str, row: int, place: str) -> np.ndarray:
        return as_numbers(place, f"'{self.names[quantity]}'", self._value(quantity, row))

    def _value(self, quantity: str, row: int) -> Any:
        """A quantity of one spectrum, or None where the file does not have it."""
        values = self.values.get(quantity)
        return None if values is None else values[row if len(values) > 1 else 0]


def _is_number(value: Any) -> bool:
    return isinstance(value, float | np.floating | np.integer) and bool(np.isfinite(value))


def _from_error(error: np.ndarray) -> np.ndarray:
    """Inverse variance of standard deviations; 0 where they are not positive and finite."""
    usable = np.isfinite(error) & (error > 0)
    return np.divide(1.0, error**2, out=np.zeros_like(error), where=usable)


# ---------------------------------------------------------------- numbers and units


def as_numbers(place: str, name: str, values: Any) -> np.ndarray:
    """Values in double precision.

    Raises
    ------
    SpectrumError
        If they are text, complex, dates or structures.
    """
    found = np.asarray(values)
    if found.dtype.kind not in "biuf":
        raise SpectrumError(f"{place}: {name} holds {found.dtype}, expected real numbers")
    return found.astype(np.float64)


def _check_flux_unit(place: str, unit: str) -> None:
    """Check that a flux unit, where one is given, is per unit wavelength."""
    text = re.sub(r"\bAng\b|\bAngstroms?\b|\bA\b", "Angstrom", unit.strip().strip("'\""))
    text = re.sub(r"\bergs\b", "erg", text)
    if not text:
        return
    text = re.sub(r"^(1\.?0*)[Ee]([-+]?\d+)", lambda m: f"10**({m[2]})", text)
    text = re.sub(r"^10\^?([-+]\d+)", r"10**(\1)", text)
    per_wavelength = units.erg / units.s / units.cm**2 / units.AA
    try:
        good = units.Unit(text.replace("^", "**")).is_equivalent(per_wavelength)
    except (ValueError, TypeError):
        good = False
    if not good:
        raise SpectrumError(
            f"{place}: flux unit is '{unit.strip()}', expected flux density per unit wavelength "
            "such as '1e-17 erg/s/cm2/Angstrom'. Convert the flux."
        )


def _in_angstrom(place: str, wavelength: np.ndarray, unit: str | None) -> np.ndarray:
    """Wavelengths in Angstrom, converted from the unit of their column (none: Angstrom)."""
    if not unit:
        return wavelength
    try:
        factor = units.Unit(unit.replace("Angstroms", "Angstrom")).to(units.AA)
    except (ValueError, units.UnitConversionError):
        raise SpectrumError(
            f"{place}: wavelength unit is '{unit}', expected a length such as Angstrom or nm"
        ) from None
    return wavelength * factor


def _in_air(place: str, because: str) -> SpectrumError:
    return SpectrumError(
        f"{place}: wavelengths are in air ({because}), expected vacuum. Convert them first, with "
        "targetsel.spectra.grid.air_to_vacuum."
    )
