"""Spectra in plain arrays: .npz, .csv and .parquet.

Quantities are found by name: `wavelength` [Angstrom, vacuum, observed frame] or `loglam`; `flux`,
per unit wavelength; `ivar` (0 where masked) or `error`; perhaps `mask` (0 where a pixel is good);
`redshift` or `z`; `source_id`; `ra` and `dec` [deg]. A CSV file holds one spectrum, an .npz one or
many that share wavelengths, and Parquet one in each row, or one in all rows. A file without
wavelengths and redshifts whose `flux` has 1,000 pixels is on the rest-frame grid, as spectra
for training are. What is wrong with one spectrum of a file leaves the others alone.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.spectra.redshifts import (
    SpectrumOptions,
    StatedRedshift,
    check_warning,
    chosen_redshift,
)
from targetsel.spectra.spectrum import (
    ObservedSpectrum,
    UnusableSpectrum,
    as_numbers,
    check_flux_unit,
    from_log,
    in_air,
    in_angstrom,
    noise_scale,
)
from targetsel.tables.any_format import may_hold_lists, table_reader
from targetsel.tables.columns import unit_of
from targetsel.tables.ids import exact_ids
from targetsel.tables.numpy_files import names_in_npz, read_npz
from targetsel.tables.reading import ParquetReader, reading
from targetsel.tables.types import held

ROWS_PER_PIECE = 256
NAMES = {
    "wavelength": ("wavelength", "wave", "lambda", "lam", "loglam"),
    "flux": ("flux",),
    "ivar": ("ivar", "error", "err", "sigma"),
    "mask": ("mask",),
    "redshift": ("redshift", "z"),
    "source_id": ("source_id", "id"),
    "ra": ("ra",),
    "dec": ("dec",),
}
NEEDED = ("flux", "ivar", "wavelength")
PER_PIXEL = (*NEEDED, "mask")
PER_SPECTRUM = ("redshift", "source_id", "ra", "dec")
_AIR = ("wavelength_air", "wave_air", "lambda_air", "air_wavelength", "air")


def file_stem(path: Path) -> str:
    """The name of a file without its ending."""
    return path.stem.removesuffix(".fits").removesuffix(".fit")


@dataclass(frozen=True)
class Arrays:
    """The columns of a file that hold a quantity of `NAMES`, by their names in it.

    Attributes
    ----------
    values : dict of ndarray or pa.Array
        With spectra along the first axis.
    names : sequence of str
        Names of all columns of the file.
    units, meanings : dict of str
        Units and descriptions of the columns that have one.
    """

    values: Mapping[str, Any]
    names: Sequence[str]
    units: Mapping[str, str] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)

    def find(self, quantity: str) -> str | None:
        """Name of the column that holds a quantity of `NAMES`, or None."""
        return _find(self.names, quantity)


def _find(names: Sequence[str], quantity: str) -> str | None:
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[each] for each in NAMES[quantity] if each in by_lower), None)


def _wanted(names: Sequence[str]) -> list[str]:
    """The columns that hold a quantity of `NAMES`, one for each."""
    found = (_find(names, quantity) for quantity in NAMES)
    return [name for name in found if name is not None]


def read_arrays(path: Path) -> Arrays:
    """The columns of an .npz or .csv file, or of a table in another format.

    Raises
    ------
    SpectrumError
        If the file is of another kind, or damaged.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _read_npz(path)
    if suffix == ".csv":
        return _read_csv(path)
    with _table(path) as file:
        return _from_arrow(file.read(_wanted(_names_in(file))), file, path)


def _table(path: Path) -> ParquetReader:
    if not may_hold_lists(path):
        raise SpectrumError(
            f"{path}: ends in '{path.suffix}'; expected spectra in .fits, .npz, .csv, .parquet, "
            ".vot or .ecsv."
        )
    return table_reader(path, SpectrumError)


def pieces(path: Path) -> Iterator[tuple[int, bool, Arrays]]:
    """A file's columns in pieces, with each piece's first row, and whether the file has one."""
    if path.suffix.lower() in (".npz", ".csv"):
        arrays = read_arrays(path)
        flux = arrays.values.get(arrays.find("flux") or "")
        yield 0, flux is None or np.ndim(flux) < 2 or len(flux) == 1, arrays
        return
    with _table(path) as file:
        wanted = _wanted(_names_in(file))
        flux_column = _find(wanted, "flux")
        if not file.num_rows:
            raise SpectrumError(f"{path}: has no rows; expected one for each spectrum")
        if flux_column and not _is_nested(file.schema.field(flux_column).type):
            table = file.read(wanted)
            values = {name: table[name].combine_chunks() for name in wanted}
            yield 0, True, _of_one(path, _from_arrow(table, file, path), values)
            return
        first = 0
        for batch in file.batches(ROWS_PER_PIECE, wanted):
            piece = pa.Table.from_batches([batch])
            yield first, file.num_rows == 1, _from_arrow(piece, file, path)
            first += batch.num_rows


def _names_in(file: ParquetReader) -> list[str]:
    """The columns of a file, each of which it has once."""
    names = file.schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SpectrumError(f"{file.path}: has several columns '{twice}'. Rename or drop one.")
    return names


def _of_one(path: Path, arrays: Arrays, columns: Mapping[str, Any]) -> Arrays:
    """Columns with a row for each pixel as those of one spectrum."""
    values: dict[str, Any] = {}
    for quantity in NAMES:
        if (name := arrays.find(quantity)) is None:
            continue
        column = columns[name]
        if isinstance(column, pa.Array) and pa.types.is_nested(column.type):
            raise SpectrumError(
                f"{path}: '{name}' holds {held(column.type)}, and '{arrays.find('flux')}' one "
                "value in each row. Give each column one value a row."
            )
        if quantity in PER_PIXEL:
            values[name] = np.asarray(column)[None]
            continue
        if isinstance(column, np.ndarray):
            column = pa.array(column, from_pandas=True)
        known = column.drop_null().unique()
        if len(known) > 1:
            raise SpectrumError(
                f"{path}: '{name}' is {known[0]} and {known[1]}, but all rows must be of one "
                "spectrum. Store several in Parquet, with lists and a spectrum in each row."
            )
        values[name] = known if len(known) else pa.nulls(1, known.type)
    return Arrays(values, arrays.names, arrays.units, arrays.meanings)


def _read_npz(path: Path) -> Arrays:
    expected = "an .npz file of arrays"
    names = names_in_npz(path, SpectrumError, expected)
    return Arrays(read_npz(path, _wanted(names), SpectrumError, expected), names)


def _read_csv(path: Path) -> Arrays:
    with reading(path, SpectrumError, "a CSV file"):
        text = path.read_bytes().decode("utf-8-sig")
        lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, skipinitialspace=True)]
    names, *rows = rows or [[]]
    if len(names) == 1 and re.search(r"[;\t ]", names[0]):
        raise SpectrumError(
            f"{path}: its columns are not separated by commas: the first line is '{names[0][:60]}'."
            " Write it with commas."
        )
    if any(re.fullmatch(r"[-+.\deE]*\d[-+.\deE]*", name) for name in names):
        raise SpectrumError(
            f"{path}: its first line holds numbers ({', '.join(names)[:60]}), expected names such "
            "as wavelength, flux, ivar, z. Write them into the first line, without '#'."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SpectrumError(f"{path}: has several columns '{twice}'. Rename or drop one.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise SpectrumError(
                f"{path}, row {number}: has {len(row)} values; expected {len(names)}, one for each "
                "column."
            )
    arrays = Arrays({}, names)
    columns: dict[str, Any] = {}
    for name in _wanted(names):
        cells = [row[names.index(name)] for row in rows]
        if name == arrays.find("source_id"):
            columns[name] = _typed_ids(cells)
        else:
            if name == arrays.find("mask"):
                cells = [{"true": "1", "false": "0"}.get(cell.lower(), cell) for cell in cells]
            columns[name] = np.array([_number(path, name, *each) for each in enumerate(cells, 1)])
    return _of_one(path, arrays, columns)


def _typed_ids(cells: Sequence[str]) -> pa.Array:
    """Ids written as text: whole numbers, numbers as floats are written, or text."""
    known = [cell for cell in cells if cell]
    if all(re.fullmatch(r"-?(0|[1-9]\d{0,17}|[1-8]\d{18})", cell) for cell in known):
        return pa.array([int(cell) if cell else None for cell in cells], pa.int64())
    if all(re.fullmatch(r"-?\d+\.\d*", cell) for cell in known):
        return pa.array([float(cell) if cell else None for cell in cells], pa.float64())
    return pa.array([cell or None for cell in cells], pa.string())


def _number(path: Path, name: str, row: int, cell: str) -> float:
    """The number in a cell of a CSV file; NaN where it is empty."""
    try:
        return float(cell.replace("_", "x")) if cell else np.nan
    except ValueError:
        raise SpectrumError(
            f"{path}, row {row}: '{name}' is '{cell[:40]}', expected a number"
        ) from None


def _is_nested(kind: pa.DataType) -> bool:
    return hasattr(kind, "value_type") and not pa.types.is_dictionary(kind)


def _from_arrow(table: pa.Table, file: ParquetReader, path: Path) -> Arrays:
    values: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        values[name] = _rows(column, name, path) if _is_nested(column.type) else column
    schema = [file.schema.field(name) for name in table.column_names]
    about = {each.name: (each.metadata or {}).get(b"description", b"") for each in schema}
    return Arrays(
        values,
        file.schema.names,
        {each.name: unit_of(each) for each in schema},
        {name: text.decode(errors="replace") for name, text in about.items()},
    )


def _rows(column: pa.Array, name: str, path: Path) -> np.ndarray:
    """Lists of numbers as arrays, shape (N, L), or N arrays of their own lengths."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else column
    with reading(path, SpectrumError, f"a file whose column '{name}' holds lists of numbers"):
        lengths = pc.list_value_length(column).fill_null(0).to_numpy()
        flat = pc.list_flatten(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
    rows = np.split(flat, np.cumsum(lengths)[:-1])
    if len({len(row) for row in rows}) <= 1:
        return np.array(rows)
    ragged = np.empty(len(rows), dtype=object)
    ragged[:] = rows
    return ragged


class ArraySpectra:
    """Spectra in the columns of a file, or of a piece of one.

    Parameters
    ----------
    first : int
        Row of the piece's first spectrum in the file.
    is_one : bool
        Whether the file holds one spectrum.
    """

    def __init__(
        self,
        path: Path,
        arrays: Arrays,
        redshift: float | None,
        first: int,
        is_one: bool,
        options: SpectrumOptions = SpectrumOptions(),
    ) -> None:
        self.path, self.first, self.is_one = path, first, is_one
        self.given_redshift, self.options = redshift, options
        self.units = arrays.units
        self.names = {quantity: arrays.find(quantity) or "" for quantity in NAMES}
        self._check_medium(arrays)
        self.values = {}  # of each quantity, with spectra along the first axis
        given = redshift is not None or options.redshifts is not None
        if is_on_grid := not given and self._is_on_grid(arrays):
            self.given_redshift = 0.0
            self.values["wavelength"] = wavelengths()[None]
        for quantity in PER_PIXEL:
            if not (name := self.names[quantity]):
                if quantity not in NEEDED or (quantity == "wavelength" and is_on_grid):
                    continue
                has = f" It has {', '.join(arrays.names)}." if arrays.names else " It is empty."
                raise SpectrumError(
                    f"{path}: no '{quantity}'; expected wavelength, flux, ivar (0 where masked) "
                    f"and redshift.{has}"
                )
            values = np.atleast_1d(arrays.values[name])
            is_flat = values.ndim == 1 and values.dtype != object
            self.values[quantity] = values[None] if is_flat else values
        if not self.values["flux"].size:
            raise SpectrumError(f"{path}: has no rows; expected one for each spectrum")
        for quantity in PER_SPECTRUM:
            if name := self.names[quantity]:
                values = arrays.values[name]
                if isinstance(values, np.ndarray) and (values.ndim > 1 or values.dtype == object):
                    raise SpectrumError(
                        f"{path}: '{name}' holds lists, expected one value for each spectrum"
                    )
                is_id = quantity == "source_id"
                self.values[quantity] = np.atleast_1d(
                    _exact(values, name, path) if is_id else np.asarray(values)
                )
        self.n_spectra = len(self.values["flux"])
        self._check_rows()
        flux_unit, noise_unit = (arrays.units.get(self.names[q], "") for q in ("flux", "ivar"))
        self.has_ivar = self.names["ivar"].lower() == "ivar"
        check_flux_unit(str(path), flux_unit)
        self.noise_scale = noise_scale(
            str(path), flux_unit, noise_unit, self.names["ivar"], self.has_ivar
        )

    def _is_on_grid(self, arrays: Arrays) -> bool:
        """Whether spectra are on the rest-frame grid, as those without wavelength and redshift."""
        if self.names["wavelength"] or self.names["redshift"] or not self.names["flux"]:
            return False
        return np.shape(arrays.values[self.names["flux"]])[1:] == (N_PIXELS,)

    def _check_medium(self, arrays: Arrays) -> None:
        """Refuse wavelengths that are named or described as in air."""
        air = next((name for name in arrays.names if name.lower() in _AIR), None)
        if air and not self.names["wavelength"]:
            raise in_air(str(self.path), f"column '{air}'")
        about = arrays.meanings.get(self.names["wavelength"], "").lower()
        if re.search(r"\bair\b", about) and "vac" not in about:
            raise in_air(str(self.path), f"column '{self.names['wavelength']}': {about[:60]}")

    def _check_rows(self) -> None:
        """Check that every quantity has as many rows as the flux, or one for all."""
        for quantity, values in self.values.items():
            if len(values) not in (1, self.n_spectra):
                raise SpectrumError(
                    f"{self.path}: '{self.names[quantity]}' has {len(values)} rows, but "
                    f"'{self.names['flux']}' has {self.n_spectra}; expected as many, or one for all"
                )
        ids = self.values.get("source_id", ())
        if len(ids) < self.n_spectra and len(ids):
            raise SpectrumError(
                f"{self.path}: '{self.names['source_id']}' is one for {self.n_spectra} spectra; "
                "expected one for each"
            )

    def spectra(self) -> Iterator[ObservedSpectrum | SpectrumError]:
        """The spectrum of each row, and the error in place of a bad one."""
        for row in range(self.n_spectra):
            stem, number = file_stem(self.path), self.first + row
            place = str(self.path) if self.is_one else f"{self.path}, row {number}"
            source_id = self._value("source_id", row)
            name: int | str = source_id
            if source_id is None:
                name = stem if self.is_one else f"{stem}:{number}"
            try:
                if source_id is None and self.names["source_id"]:
                    raise SpectrumError(
                        f"{place}: '{self.names['source_id']}' is missing. Give it an id."
                    )
                yield self._spectrum(row, place, name)
            except SpectrumError as error:
                yield UnusableSpectrum(str(error), name)

    def _spectrum(self, row: int, place: str, name: int | str) -> ObservedSpectrum:
        noise = self._numbers("ivar", row, place) * self.noise_scale
        ivar = noise if self.has_ivar else ivar_of_error(noise)
        if self.names["mask"]:
            mask = self._numbers("mask", row, place)
            if mask.shape != ivar.shape:
                raise SpectrumError(
                    f"{place}: 'mask' has shape {mask.shape}, but "
                    f"'{self.names['ivar']}' {ivar.shape}; expected one value for each pixel"
                )
            ivar = np.where(mask == 0, ivar, 0.0)
        ra, dec = (
            float(self._numbers(each, row, place)) if self.names[each] else np.nan
            for each in ("ra", "dec")
        )
        redshift = self._redshift(row, place, name)
        return ObservedSpectrum(
            place,
            name,
            self._angstrom(row, place),
            self._numbers("flux", row, place),
            ivar,
            check_warning(place, redshift, self.options),
            (ra, dec),
            redshift_from=redshift.source,
        )

    def _angstrom(self, row: int, place: str) -> np.ndarray:
        name = self.names["wavelength"]
        values = self._numbers("wavelength", row, place)
        if name.lower() == "loglam":
            return from_log(place, values)
        return in_angstrom(place, values, self.units.get(name))

    def _redshift(self, row: int, place: str, name: int | str) -> StatedRedshift:
        stated = None
        if self.names["redshift"] and self.options.redshifts is None:
            stated = StatedRedshift(float(self._numbers("redshift", row, place)))
        missing = f"{place}: has no 'redshift' or 'z'. Add one, or give --redshift."
        return chosen_redshift(place, [name], self.given_redshift, self.options, stated, missing)

    def _numbers(self, quantity: str, row: int, place: str) -> np.ndarray:
        return as_numbers(place, f"'{self.names[quantity]}'", self._value(quantity, row))

    def _value(self, quantity: str, row: int) -> Any:
        """A quantity of one spectrum, or None where the file does not have it."""
        values = self.values.get(quantity)
        return None if values is None else values[row if len(values) > 1 else 0]


def _exact(values: Any, name: str, path: Path) -> np.ndarray:
    """Ids as integers, texts, or None where they are missing, shape (N,)."""
    if isinstance(values, np.ndarray):
        flat = np.atleast_1d(values)
        with reading(path, SpectrumError, f"a file whose '{name}' are numbers or text, one a row"):
            values = pa.array(flat.astype(flat.dtype.newbyteorder("=")))
    ids = exact_ids(values, name, path, SpectrumError).to_pylist()
    found = np.empty(len(ids), dtype=object)
    found[:] = ids
    return found


def ivar_of_error(error: np.ndarray) -> np.ndarray:
    """Inverse variance of standard deviations; 0 where they are not positive and finite."""
    usable = np.isfinite(error) & (error > 0)
    with np.errstate(over="ignore", divide="ignore"):
        return np.divide(1.0, error**2, out=np.zeros_like(error), where=usable)
