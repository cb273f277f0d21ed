"""Measured spectra from files: SDSS FITS, or plain arrays in .npz, .csv and .parquet.

Plain arrays are found by name: `wavelength` [Angstrom, vacuum, observed frame] or `loglam`; `flux`,
per unit wavelength; `ivar` (0 where masked) or `error`; `redshift` or `z`; `source_id`. A CSV file
holds one spectrum, an .npz one or many that share wavelengths, and Parquet one in each row.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from zipfile import BadZipFile

import numpy as np

from targetsel.errors import SpectrumError
from targetsel.spectra.sdss import read_sdss
from targetsel.spectra.spectrum import (
    ObservedSpectrum,
    as_numbers,
    check_flux_unit,
    in_angstrom,
    refuse_air,
)

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

ROWS_PER_PIECE = 256
FITS_SUFFIXES = (".fits", ".fit", ".fits.gz")
ARRAY_SUFFIXES = (".npz", ".csv", ".parquet")
# Errors of the readers and of Python where bytes of a file are damaged.
DAMAGE = (OSError, ValueError, LookupError, EOFError, TypeError, NotImplementedError, MemoryError,
          BadZipFile, zlib.error, TokenError, SyntaxError)  # fmt: skip
NAMES = {
    "wavelength": ("wavelength", "wave", "lambda", "lam", "loglam"),
    "flux": ("flux",),
    "ivar": ("ivar", "error", "err", "sigma"),
    "redshift": ("redshift", "z"),
    "source_id": ("source_id", "id"),
}
_AIR = ("wavelength_air", "wave_air", "lambda_air", "air_wavelength", "air")


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
        if path.name.lower().endswith(FITS_SUFFIXES):
            yield read_sdss(path, redshift)
            return
        if not path.exists():
            raise SpectrumError(f"{path}: no such file")
        for first, n_rows, arrays in _pieces(path):
            yield from _SpectrumFile(path, arrays, redshift, first, n_rows).spectra()
    except SpectrumError as error:
        yield error


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


def _pieces(path: Path) -> Iterator[tuple[int, int | None, Arrays]]:
    """A file's columns in pieces, with each piece's first row and the file's number of rows."""
    if path.suffix.lower() != ".parquet":
        yield 0, None, read_arrays(path)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

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
        known = ", ".join((FITS_SUFFIXES[0], *ARRAY_SUFFIXES))
        raise SpectrumError(
            f"{path}: '{path.suffix}' is not a kind of file we read spectra from: {known}"
        )
    try:
        return reader(path)
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
    import pyarrow.parquet as pq

    return _from_arrow(pq.read_table(path))


def _from_arrow(table: pa.Table) -> Arrays:
    import pyarrow as pa

    units = {
        f.name: f.metadata[b"unit"].decode()
        for f in table.schema
        if f.metadata and b"unit" in f.metadata
    }
    values: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            column = column.cast(pa.list_(pa.float64()))
            flat = column.values.to_numpy(zero_copy_only=False)
            rows = np.split(flat[: int(column.offsets[-1].as_py())], column.offsets[1:-1])
            same = len({len(row) for row in rows}) <= 1
            values[name] = np.array(rows) if same else np.array(rows, dtype=object)
        else:
            values[name] = column.to_numpy(zero_copy_only=False)
    return Arrays(values, units)


class _SpectrumFile:
    """Spectra in the columns of a file."""

    def __init__(
        self,
        path: Path,
        arrays: Arrays,
        redshift: float | None,
        first: int = 0,
        n_rows: int | None = None,
    ) -> None:
        """A piece of a file, with its first row in the file and the number of rows of the file."""
        self.path, self.first = path, first
        self.arrays = arrays
        self.given_redshift = redshift
        self.column = {quantity: arrays.find(quantity) or "" for quantity in NAMES}
        if not self.column["wavelength"]:
            self._refuse_air()
        self.flux = self._along_rows("flux")
        self.ivar = self._along_rows("ivar")
        self.wavelength = self._along_rows("wavelength")
        self._check_rows()
        check_flux_unit(str(path), arrays.units.get(self.column["flux"], ""))
        self.many = (n_rows or len(self.flux)) > 1

    def spectra(self) -> Iterator[ObservedSpectrum | SpectrumError]:
        """The spectrum of each row, and the error in place of a bad one."""
        for row in range(len(self.flux)):
            try:
                yield self.spectrum(row)
            except SpectrumError as error:
                yield error

    def spectrum(self, row: int) -> ObservedSpectrum:
        """The checked spectrum of one row."""
        place = f"{self.path}, row {self.first + row}" if self.many else str(self.path)
        ivar = self._numbers("ivar", row, place)
        if self.column["ivar"].lower() != "ivar":
            ivar = _from_error(ivar)
        source_id = self._one("source_id", row)
        if source_id is None:
            source_id = f"{self.path.stem}:{self.first + row}" if self.many else self.path.stem
        return ObservedSpectrum(
            place,
            int(source_id) if _is_number(source_id) else str(source_id),
            self._angstrom(row, place),
            self._numbers("flux", row, place),
            ivar,
            self._redshift(row, place),
        )

    def _angstrom(self, row: int, place: str) -> np.ndarray:
        name = self.column["wavelength"]
        values = self._numbers("wavelength", row, place)
        if name.lower() == "loglam":
            return 10**values
        return in_angstrom(place, values, self.arrays.units.get(name))

    def _redshift(self, row: int, place: str) -> float:
        if self.given_redshift is not None:
            return self.given_redshift
        value = self._one("redshift", row)
        if value is None:
            raise SpectrumError(
                f"{place}: no redshift: no column 'redshift' or 'z'. Add one, or give --redshift."
            )
        return float(as_numbers(place, f"'{self.column['redshift']}'", value))

    def _check_rows(self) -> None:
        """Check that there are spectra, and that every quantity has as many values, or one."""
        if not self.flux.size:
            raise SpectrumError(f"{self.path}: holds no spectra")
        counts = {q: len(getattr(self, q)) for q in ("wavelength", "ivar")}
        for quantity in ("redshift", "source_id"):
            if name := self.column[quantity]:
                counts[quantity] = len(np.atleast_1d(self.arrays.values[name]))
        for quantity, rows in counts.items():
            if rows not in (1, len(self.flux)):
                raise SpectrumError(
                    f"{self.path}: '{self.column[quantity]}' has {rows} rows, but "
                    f"'{self.column['flux']}' has {len(self.flux)}; expected as many, or one for "
                    "all"
                )

    def _numbers(self, quantity: str, row: int, place: str) -> np.ndarray:
        values = getattr(self, quantity)
        one = values[row if len(values) > 1 else 0]
        return as_numbers(place, f"'{self.column[quantity]}'", one)

    def _one(self, quantity: str, row: int) -> Any:
        """Single value of a quantity in a row, or None; a CSV file repeats it for every pixel."""
        name = self.column[quantity]
        if not name:
            return None
        values = np.atleast_1d(self.arrays.values[name])
        values = values[:, 0] if values.ndim > 1 else values
        return values[row if len(values) > 1 else 0]

    def _along_rows(self, quantity: str) -> np.ndarray:
        """Values of a quantity with spectra along the first axis; one row may apply to all."""
        if name := self.column[quantity]:
            values = np.atleast_1d(self.arrays.values[name])
            return values[None] if values.ndim == 1 and values.dtype != object else values
        has = ", ".join(self.arrays.values) or "nothing"
        raise SpectrumError(
            f"{self.path}: no '{quantity}' among {has}; expected wavelength, flux, ivar (0 where "
            "masked) and redshift"
        )

    def _refuse_air(self) -> None:
        for name in self.arrays.values:
            if name.lower() in _AIR:
                refuse_air(str(self.path), f"column '{name}'")


def _is_number(value: Any) -> bool:
    return isinstance(value, float | np.floating | np.integer) and bool(np.isfinite(value))


def _from_error(error: np.ndarray) -> np.ndarray:
    """Inverse variance of standard deviations; 0 where they are not positive and finite."""
    usable = np.isfinite(error) & (error > 0)
    return np.divide(1.0, error**2, out=np.zeros_like(error), where=usable)
