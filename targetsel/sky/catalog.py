"""Catalogs: tables of sources with ids and positions on the sky.

A `CatalogFile` finds the columns of ids and positions, checks every row once, and yields the rows
in pieces; a `Catalog` is one such piece, or a whole small catalog, in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from targetsel.documents.units import exact_factor
from targetsel.errors import CatalogError, did_you_mean
from targetsel.sky.positions import healpix_of
from targetsel.tables.any_form import AnyTable
from targetsel.tables.any_format import opened
from targetsel.tables.columns import floats, unit_of
from targetsel.tables.folders import ParquetFiles
from targetsel.tables.formats import InMemory
from targetsel.tables.hats_properties import position_columns
from targetsel.tables.ids import exact_id_type, exact_ids, keys_of
from targetsel.tables.parquet import described, read_footer
from targetsel.tables.rows import Rows
from targetsel.tables.types import held, is_number
from targetsel.tasks import tracked

# Usual names, in lower case. The first of each is ours, and wins where several are present.
USUAL_NAMES = {
    "source_id": (
        "source_id",
        *("objid", "object_id", "objectid", "obj_id", "sourceid", "targetid", "target_id"),
        *("specobjid", "specobj_id", "catalogid", "ls_id", "id"),
    ),
    "ra": (
        "ra",
        *("raj2000", "_raj2000", "ra_j2000", "ra_icrs", "alpha_j2000", "alphawin_j2000"),
        *("target_ra", "ramean", "rastack", "ra_deg", "radeg", "coord_ra", "right_ascension"),
    ),
    "dec": (
        "dec",
        *("dej2000", "decj2000", "_dej2000", "dec_j2000", "de_icrs", "dec_icrs", "delta_j2000"),
        *("deltawin_j2000", "target_dec", "decmean", "decstack", "dec_deg", "decdeg"),
        *("coord_dec", "declination"),
    ),
}
OPTIONS = {"source_id": "--id-col", "ra": "--ra-col", "dec": "--dec-col"}
_ROLES = {"source_id": "source ids", "ra": "right ascension", "dec": "declination"}
HEALPIX = described(
    "_healpix_29", pa.int64(), "", "pos.healpix", "HEALPix pixel, nested, order 29", nullable=False
)
ROWS_PER_READ = 262_144


@dataclass(frozen=True, eq=False, repr=False)
class Catalog(Rows):
    """N sources in memory.

    Attributes
    ----------
    table : pa.Table, N rows
        Every column of the catalog under its own name.
    columns : mapping
        The names in `table` of the columns "source_id", "ra" and "dec".
    """

    table: pa.Table
    columns: Mapping[str, str]

    @classmethod
    def read(
        cls,
        catalog: AnyTable,
        ra_col: str | None = None,
        dec_col: str | None = None,
        id_col: str | None = None,
    ) -> Catalog:
        """A whole catalog in memory, of a file or table; see `CatalogFile.open` for its forms.

        Parameters
        ----------
        catalog : str, Path or table of astropy, pandas, polars, Arrow or numpy
        ra_col, dec_col, id_col : str, optional
            Names of the columns; by default the usual names are looked for, in any case.

        Raises
        ------
        CatalogError
            As `CatalogFile.open`, and if an id or position cannot serve.
        """
        if isinstance(catalog, Catalog) and not (ra_col or dec_col or id_col):
            return catalog
        file = CatalogFile.open(catalog, ra_col, dec_col, id_col)
        tables = [piece.table for piece in file.batches(ROWS_PER_READ)]
        return cls(pa.concat_tables(tables).combine_chunks(), file.columns)

    def _of(self, table: pa.Table) -> Self:
        return type(self)(table, self.columns)

    def summary(self) -> str:
        """The number of sources and columns, and where on the sky they are."""
        names = [name for name in self.table.column_names if name not in self.columns.values()]
        others = ", ".join(names[:6]) + ", ..." * (len(names) > 6)
        where = "" if not len(self) else (
            f"\ndec {self.dec.min():.2f} to {self.dec.max():.2f} deg; ids in "
            f"'{self.columns['source_id']}', positions in '{self.columns['ra']}' and "
            f"'{self.columns['dec']}'"
        )  # fmt: skip
        more = f"\n{len(names)} more columns: {others}" if names else ""
        return f"Catalog of {len(self):,} sources{where}{more}"

    @cached_property
    def source_id(self) -> np.ndarray:
        """Ids, shape (N,): int64, or objects of type str."""
        return self.table[self.columns["source_id"]].to_numpy()

    @cached_property
    def ra(self) -> np.ndarray:
        """Right ascension [deg, ICRS], shape (N,), 0 <= ra < 360."""
        wrapped = np.mod(self._degrees("ra"), 360.0)
        return np.where(wrapped == 360.0, 0.0, wrapped)

    @cached_property
    def dec(self) -> np.ndarray:
        """Declination [deg, ICRS], shape (N,)."""
        return self._degrees("dec")

    @cached_property
    def healpix(self) -> np.ndarray:
        """HEALPix pixels, nested, order 29, shape (N,), int64."""
        return healpix_of(self.ra, self.dec)

    def take(self, rows: np.ndarray | slice) -> Catalog:
        """The sources at `rows`: a mask of shape (N,), a slice, or indices in the order wanted."""
        rows = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        return Catalog(self.table.take(pa.array(rows, pa.int64())), self.columns)

    def _degrees(self, role: str) -> np.ndarray:
        return floats(self.table[self.columns[role]])


@dataclass(frozen=True, eq=False, repr=False)
class CatalogFile:
    """A catalog, on disk or in memory, whose columns of ids and positions are known.

    Attributes
    ----------
    path : Path or str
        The file; for a table in memory a name for errors.
    schema : pa.Schema
        Every column, with unit, UCD and description as Arrow field metadata.
    columns : mapping
        The names in `schema` of the columns "source_id", "ra" and "dec".
    """

    path: Path | str
    schema: pa.Schema
    columns: Mapping[str, str]
    _rows: ParquetFiles | InMemory

    def __repr__(self) -> str:
        return f"CatalogFile of {self.num_rows:,} sources, {len(self.schema)} columns: {self.path}"

    @classmethod
    def open(
        cls,
        catalog: AnyTable,
        ra_col: str | None = None,
        dec_col: str | None = None,
        id_col: str | None = None,
    ) -> CatalogFile:
        """Open a catalog and find its columns of ids and positions.

        A Parquet file or a folder of them is streamed. FITS (.fits), VOTable (.vot, .votable,
        .xml), ECSV and CSV, also with .gz behind, are read into memory.

        Parameters
        ----------
        catalog : str, Path or table
            A file, or a table in memory of astropy, pandas, polars, Arrow or numpy.
        ra_col, dec_col, id_col : str, optional
            Names of the columns; by default those that the properties of a HATS catalog name, or
            else the usual names, in any case.

        Raises
        ------
        CatalogError
            If the catalog cannot be read, has no rows, or its columns are missing, ambiguous
            or of a type or unit that cannot serve.
        """
        if isinstance(catalog, CatalogFile):
            return catalog
        path, rows = opened(catalog, "the catalog")
        known = catalog.columns if isinstance(catalog, Catalog) else position_columns(path)
        named = (ra_col or known.get("ra"), dec_col or known.get("dec"))
        return cls.of(path, rows, *named, id_col or known.get("source_id"))

    @classmethod
    def of(
        cls,
        path: Path | str,
        rows: ParquetFiles | InMemory,
        ra_col: str | None = None,
        dec_col: str | None = None,
        id_col: str | None = None,
        may_be_empty: bool = False,
    ) -> CatalogFile:
        """A catalog whose table was opened; parameters and errors as of `open`."""
        if rows.num_rows == 0 and not may_be_empty:
            raise CatalogError(f"{path}: the catalog has no rows; expected one for each source.")
        given = {"source_id": id_col, "ra": ra_col, "dec": dec_col}
        columns = {
            role: find_column(path, rows.schema.names, role, OPTIONS[role], name)
            for role, name in given.items()
        }
        if len(set(columns.values())) < 3:
            found = ", ".join(f"{OPTIONS[role]} {name}" for role, name in columns.items())
            raise CatalogError(f"{path}: {found}: expected a column of its own for each.")
        for role in ("ra", "dec"):
            check_degrees(path, rows.schema.field(columns[role]))
        return cls(path, _with_ids(path, rows.schema, columns["source_id"]), columns, rows)

    @property
    def num_rows(self) -> int:
        return self._rows.num_rows

    def batches(self, rows: int) -> Iterator[Catalog]:
        """The catalog in pieces of at most `rows` rows, in the order of the file.

        Ids become int64 or strings; nothing else is changed. The first call checks every id
        and position of the catalog (see `check`) before it hands out a row.
        """
        self.check()
        name = self.columns["source_id"]
        place = self.schema.get_field_index(name)
        pieces = self._rows.batches(rows, self.schema.names)
        for table in tracked(pieces, self._reading, self.num_rows, size=len):
            ids = exact_ids(table[name], name, self.path)
            table = table.set_column(place, self.schema.field(place), ids)
            yield Catalog(table.cast(self.schema), self.columns)

    @property
    def _reading(self) -> str:
        return f"reading {Path(self.path).name}"

    def check(self) -> None:
        """Check every id and position once; needs 8 bytes of memory per row.

        Raises
        ------
        CatalogError
            If ids are missing or repeated, or positions missing, off the sphere or in radians.
        """
        _ = self._checked

    @cached_property
    def _checked(self) -> bool:
        rows = _RowCheck(self)
        for piece in self._ids_and_positions():
            rows.add(piece)
        rows.finish()
        repeated = _repeated(rows.keys)
        if len(repeated):
            self._check_unique(repeated)
        return True

    def _ids_and_positions(self) -> Iterator[pa.Table]:
        """Pieces of three columns named source_id, ra and dec."""
        names = [self.columns[role] for role in ("source_id", "ra", "dec")]
        pieces = self._rows.batches(ROWS_PER_READ, names)
        for piece in tracked(pieces, self._reading, self.num_rows, size=len):
            ids, ra, dec = piece.columns
            degrees = [column.cast(pa.float64(), safe=False) for column in (ra, dec)]
            exact = exact_ids(ids, names[0], self.path)
            yield pa.table([exact, *degrees], names=["source_id", "ra", "dec"])

    def _check_unique(self, suspects: np.ndarray) -> None:
        """Raise a CatalogError if ids with keys among `suspects` are repeated, naming the first."""
        place: dict[int | str, int] = {}
        found: list[str] = []
        first_row = 0
        for piece in self._ids_and_positions():
            ids = piece["source_id"].to_numpy()
            for row in np.flatnonzero(np.isin(keys_of(ids), suspects[:1000])).tolist():
                if ids[row] in place:
                    found.append(f"{ids[row]} (rows {place[ids[row]]} and {first_row + row})")
                else:
                    place[ids[row]] = first_row + row
            first_row += len(ids)
        if found:
            raise CatalogError(
                f"{self.path}, column '{self.columns['source_id']}': ids are repeated: "
                f"{', '.join(found[:3])}{', and others' if found[3:] else ''}. "
                "Remove the repeated rows, or name another column with --id-col."
            )


class _RowCheck:
    """One pass over ids and positions: the rows that cannot serve, and the extremes."""

    def __init__(self, file: CatalogFile) -> None:
        self.file = file
        self.n = 0
        # For each problem: the number of rows with it, the first of them, and its value there.
        self.troubles: dict[str, tuple[int, int, str]] = {}
        self.low, self.high = np.full(2, np.inf), np.full(2, -np.inf)
        self.keys = np.zeros(file.num_rows, dtype=np.uint64)

    def add(self, piece: pa.Table) -> None:
        """Check one piece with columns source_id, ra and dec."""
        ids = piece["source_id"]
        missing = ids.is_null()
        if pa.types.is_string(ids.type):
            import pyarrow.compute as pc

            missing = pc.or_(missing, pc.equal(pc.fill_null(ids, ""), ""))
        positions = np.stack([piece["ra"].to_numpy(), piece["dec"].to_numpy()])
        ra, dec = positions
        known = np.isfinite(positions).all(axis=0)
        self._note("id", missing.to_numpy(), positions)
        self._note("position", ~known, positions)
        self._note("ra", known & ((ra < -180) | (ra > 360)), positions)
        self._note("dec", known & (np.abs(dec) > 90), positions)
        if known.any():
            self.low = np.minimum(self.low, positions[:, known].min(axis=1))
            self.high = np.maximum(self.high, positions[:, known].max(axis=1))
        if "id" not in self.troubles:
            self.keys[self.n : self.n + len(ids)] = keys_of(ids.to_numpy())
        self.n += len(ids)

    def finish(self) -> None:
        """Raise a CatalogError for the first problem found, if any."""
        names, path = self.file.columns, self.file.path
        for trouble, (count, row, value) in self.troubles.items():
            where = f"{count} of {self.n} rows, the first is row {row} (counted from 0)"
            raise CatalogError(
                {
                    "id": f"{path}: no id in '{names['source_id']}' in {where}. "
                    "Every source needs one.",
                    "position": f"{path}: no position ('{names['ra']}' or '{names['dec']}' is "
                    f"null, NaN or infinite) in {where}: {value}. Remove these rows.",
                    "ra": f"{path}: '{names['ra']}' is off the sphere in {where}: {value}. "
                    "Expected -180 to 360 deg.",
                    "dec": f"{path}: '{names['dec']}' is off the sphere in {where}: {value}. "
                    "Expected -90 to 90 deg.",
                }[trouble]
            )
        no_unit = not unit_of(self.file.schema.field(names["ra"]))
        if no_unit and _look_like_radians(self.n, self.low, self.high):
            raise _refuse_radians(path, self.low, self.high, names["ra"])

    def _note(self, trouble: str, rows: np.ndarray, positions: np.ndarray) -> None:
        if not rows.any():
            return
        first = int(np.flatnonzero(rows)[0])
        value = "ra {:g}, dec {:g}".format(*positions[:, first])
        count, first, value = self.troubles.get(trouble, (0, self.n + first, value))
        self.troubles[trouble] = (count + int(rows.sum()), first, value)


def _look_like_radians(n: int, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether n positions without a unit, of such extremes, fill the sphere as radians would.

    A field of 6.2 by 2.6 deg and more that begins at ra 0 and is centered on the equator would be
    mistaken; Stripe 82 (|dec| < 1.27 deg) is not.
    """
    full_circle = 0 <= low[0] < 0.2 and 6.1 < high[0] <= 2 * np.pi
    to_a_pole = 1.3 < max(-low[1], high[1]) <= np.pi / 2
    return bool(n >= 20 and full_circle and to_a_pole and min(low[1], -high[1]) >= -np.pi / 2)


def _refuse_radians(path: Path | str, low: np.ndarray, high: np.ndarray, name: str) -> CatalogError:
    """The error that positions look like radians, given their extremes and the column of ra."""
    return CatalogError(
        f"{path}: positions look like radians (ra {low[0]:.4f} to {high[0]:.4f}, dec {low[1]:.4f} "
        f"to {high[1]:.4f}). Convert them to degrees; if they are degrees, give '{name}' the unit "
        "'deg'."
    )


class PositionColumns:
    """The two columns of positions of a table of any origin, read in degrees.

    Parameters
    ----------
    path : Path
        The table, for errors.
    schema : pa.Schema
    ra, dec : str, optional
        Names of the columns; by default the usual names are looked for.

    Attributes
    ----------
    names : dict
        The names of the columns "ra" and "dec".

    Raises
    ------
    CatalogError
        If they are missing or ambiguous, hold no numbers, or are in a unit that is no angle.
    """

    def __init__(
        self, path: Path, schema: pa.Schema, ra: str | None = None, dec: str | None = None
    ) -> None:
        self.path = path
        given = {"ra": ra, "dec": dec}
        self.names = {
            role: find_column(path, schema.names, role, given=name) for role, name in given.items()
        }
        self._fields = [schema.field(name) for name in self.names.values()]
        for column in self._fields:
            _angle_in(path, column)
        self._n = 0
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)

    def degrees(self, piece: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Positions [deg] of a piece of the table, converted from the columns' own units, (N,).

        Where one of the two is missing, so is the other: NaN.

        Raises
        ------
        CatalogError
            If a position is off the sphere.
        """
        ra, dec = (
            floats(piece[column.name]) * _angle_in(self.path, column) for column in self._fields
        )
        known = np.isfinite(ra) & np.isfinite(dec)
        ra, dec = np.where(known, ra, np.nan), np.where(known, dec, np.nan)
        off = np.flatnonzero((np.abs(dec) > 90) | (ra < -180) | (ra > 360))
        if len(off):
            row = off[0]
            raise CatalogError(
                f"{self.path}: ra {ra[row]:g}, dec {dec[row]:g} deg in row {self._n + row} "
                f"(counted from 0) is off the sphere; expected ra of -180 to 360 and dec of -90 to "
                f"90 deg. Are '{self.names['ra']}' and '{self.names['dec']}' what their names say?"
            )
        if known.any():
            both = np.stack([ra[known], dec[known]])
            self._low = np.minimum(self._low, both.min(axis=1))
            self._high = np.maximum(self._high, both.max(axis=1))
        self._n += len(ra)
        return ra, dec

    def finish(self) -> None:
        """Check all positions, once they were read.

        Raises
        ------
        CatalogError
            If they have no unit and look like radians.
        """
        no_unit = not unit_of(self._fields[0])
        if no_unit and _look_like_radians(self._n, self._low, self._high):
            raise _refuse_radians(self.path, self._low, self._high, self.names["ra"])


def find_column(
    path: Path | str,
    names: Sequence[str],
    role: str,
    option: str = "",
    given: str | None = None,
    also: str = "",
) -> str:
    """The name of a table's column of ids ("source_id"), "ra" or "dec".

    The one `given`; else the one named in targetsel's footer, the one named as the role, or the
    one named `also`, as written or else the only one in any case; else the only one with a usual
    name.

    Parameters
    ----------
    path : Path
    names : sequence of str
        The table's columns.
    role : str
    option : str
        By which a user can name the column, for messages; empty where there is none.
    given : str, optional
        The name that a user has given.
    also : str

    Raises
    ------
    CatalogError
        If there is no such column, or several may be meant.
    """
    columns = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if names[12:] else "")
    if given:
        if given in names:
            return given
        hint = did_you_mean(given, names) or f" The columns are {columns}."
        raise CatalogError(f"{path}: no column '{given}' ({option}).{hint}")
    ours = isinstance(path, Path) and path.is_file() and path.suffix == ".parquet"
    own = read_footer(Path(path)).get("columns", {}).get(role, "") if ours else ""
    for name in filter(None, (own, role, also)):
        in_any_case = [each for each in names if each.lower() == name.lower()]
        if name in names or len(in_any_case) == 1:
            return name if name in names else in_any_case[0]
    usual = USUAL_NAMES[role]
    found = [name for name in names if name.lower() in usual]
    if len(found) == 1:
        return found[0]
    what = _ROLES.get(role, role)
    remedy = f"Rename the column to '{role}'."
    if option:
        rename = f", where the command has it, or rename it to '{role}'" if option[0] == "-" else ""
        remedy = f"Give the column with {option}{rename}."
    if found:
        listed = ", ".join(found)
        raise CatalogError(f"{path}: several columns may be the {what}: {listed}. {remedy}")
    raise CatalogError(
        f"{path}: no column of {what}; expected {', '.join(usual)}, in any case. The columns are "
        f"{columns}. {remedy}"
    )


def check_degrees(path: Path | str, column: pa.Field) -> None:
    """Refuse a column of positions that holds no numbers, or numbers in another unit than degrees.

    Raises
    ------
    CatalogError
    """
    if _angle_in(path, column) != 1.0:
        raise CatalogError(
            f"{path}: column '{column.name}' is in '{unit_of(column)}'; expected 'deg'. "
            "Convert the positions to degrees."
        )


def _angle_in(path: Path | str, column: pa.Field) -> float:
    """The unit of a column of positions [deg]; degrees where it declares none, or misspells them.

    Raises
    ------
    CatalogError
        If it holds no numbers, or is in no unit of angles.
    """
    if not is_number(column.type):
        raise CatalogError(
            f"{path}, column '{column.name}': holds {held(column.type)}; expected degrees such as "
            "-12.5. Convert sexagesimal positions, decimal commas and words for missing ones."
        )
    frame = (column.metadata or {}).get(b"frame", b"").decode(errors="replace")
    if frame:
        raise CatalogError(
            f"{path}: column '{column.name}' is in the frame '{frame}'; expected ICRS. Convert the "
            "positions, or correct the frame that the file declares."
        )
    own = unit_of(column)
    if own in ("", "deg"):
        return 1.0
    from astropy import units

    unit = units.Unit(own, parse_strict="silent")
    if isinstance(unit, units.UnrecognizedUnit) and "deg" in own.lower():
        return 1.0
    if not unit.is_equivalent(units.deg):
        raise CatalogError(
            f"{path}: column '{column.name}' is in '{own}'; expected 'deg'. "
            "Convert the positions to degrees."
        )
    return float(exact_factor(unit, units.deg))


def _with_ids(path: Path | str, schema: pa.Schema, name: str) -> pa.Schema:
    """The schema with ids as `exact_ids` gives them, never null."""
    place = schema.get_field_index(name)
    kind = exact_id_type(schema.field(name), path)
    return schema.set(place, schema.field(name).with_type(kind).with_nullable(False))


def _repeated(keys: np.ndarray) -> np.ndarray:
    """The keys that occur more than once, each once, in increasing order."""
    keys.sort()
    return np.unique(keys[1:][keys[1:] == keys[:-1]])
