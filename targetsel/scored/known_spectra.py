"""Files of spectra that were taken: where each was, of which id, at which redshift, and how sure.

SDSS's specObj tables, DESI's redshift catalogs and files of redrock, and any table of positions or
ids serve. Columns are found by their usual names, in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import CatalogError
from targetsel.scored.known_files import open_spectra
from targetsel.sky.catalog import USUAL_NAMES, PositionColumns
from targetsel.spectra.photoz import COLUMNS, LARGEST, known_redshifts
from targetsel.spectra.proxies import proxy_names
from targetsel.tables.any_form import AnyTable, paths_in, table_of
from targetsel.tables.columns import floats, in_one_piece, unit_of
from targetsel.tables.formats import InMemory
from targetsel.tables.ids import exact_id_type, exact_ids
from targetsel.tables.types import held, is_number, is_text

ROWS_AT_A_TIME = 262_144
# Positions of fibers, which serve where there are none of targets; the first pair counts.
FIBERS = (("plug_ra", "plug_dec"), ("mean_fiber_ra", "mean_fiber_dec"), ("fiber_ra", "fiber_dec"))
REDSHIFTS = (*COLUMNS, "spec_z", "zred", "z", "z_helio", "zhelio")
WARNINGS = ("zwarn", "zwarning", "z_warning")
SUCCESSES = ("success",)  # false where a spectrum gave nothing
PRIMARIES = ("zcat_primary", "specprimary", "scienceprimary", "sciprimary")
ERRORS = (
    "zerr",
    "z_err",
    "zerror",
    "z_error",
    "redshift_err",
    "redshift_error",
    "e_z",
    "specz_err",
)
# Marks of quality of which 3 and more are reliable: of GAMA, DEEP2, 2dFGRS and 6dFGS.
QUALITIES = ("nq", "zquality", "quality", "q")
LEAST_QUALITY = 3
_QUALITY_VALUES = (-2, 6)  # the least and the largest of these surveys
# Other marks of quality, of which every survey has its own.
OTHER_MARKS = (
    *("zflg", "zflag", "z_flag", "zflags", "flag_spec", "cc", "q_z", "zconf", "z_conf"),
    *("zqual", "z_qual", "z_quality", "redshift_quality", "redshift_flag", "use"),
)
# Of tables of `inspect-merge`, which give a redshift only where the mean quality is good.
_OF_INSPECTED = {"n_inspected", "quality_low", "quality_high"}
KINDS = ("objtype", "targettype", "sourcetype")
NOT_OF_SOURCES = ("SKY", "BAD", "NON")  # in that column, in SDSS and DESI
# Names of ids that many catalogs use, each for its own numbers.
GENERIC = ("source_id", "id", "object_id", "objectid", "obj_id", "sourceid", "name")
# Names of ids of one kind.
_ALIKE = (("objid", "bestobjid", "photoobjid"),)
_BANDS = {"g", "r", "i"}
_OF_BANDS = ("mag", "Jy")  # in their units
MOST_WRONG = 0.1  # share of redshifts beyond all galaxies in a column of redshifts


@dataclass(frozen=True)
class TakenSpectra:
    """K spectra.

    Attributes
    ----------
    ra, dec : ndarray, shape (K,)
        [deg, ICRS]; NaN where there is no position.
    ids : pa.Array or None
        Ids of the sources, whole numbers or text, null where missing; None where there are none of
        the catalog's kind.
    redshift : ndarray, shape (K,)
        NaN where there is none.
    failed : ndarray of bool, shape (K,)
        Whether it has a warning, or no redshift though the file has redshifts.
    primary : ndarray of bool, shape (K,)
        Whether it is the survey's best of its source; all are where the file does not say.
    error : ndarray, shape (K,)
        Of the redshift; infinite where it is not known.
    epoch : ndarray, shape (K,)
        Julian year of the position; NaN where it is not known.
    of_sky : ndarray of bool, shape (K,)
        Whether it is of the sky between sources.
    """

    ra: np.ndarray
    dec: np.ndarray
    ids: pa.Array | None
    redshift: np.ndarray
    failed: np.ndarray
    primary: np.ndarray
    error: np.ndarray
    epoch: np.ndarray
    of_sky: np.ndarray

    def __len__(self) -> int:
        return len(self.ra)


class SpectraFile:
    """A table of spectra, in a file or in memory.

    Parameters
    ----------
    spectra : str, Path or table
        In every format that catalogs have; a folder holds Parquet files.
    id_name : str
        The name of the catalog's column of ids.

    Attributes
    ----------
    path : Path or str
        For a table in memory a name for errors.
    columns : dict of str to str
        Which column serves as "ra", "dec", "id", "redshift", "warning", "primary", "error",
        "epoch", "quality" and "kind", as far as there are such.
    unread : str
        A column that may mark bad redshifts and is not read; empty where there is none.

    Raises
    ------
    CatalogError
        If it cannot be read, has no rows, or has neither positions nor ids of the catalog's kind.
    """

    def __init__(self, spectra: AnyTable, id_name: str) -> None:
        self.path: Path | str = "the known spectra"
        if paths := paths_in([spectra]):
            self.path = paths[0]
            self._rows = open_spectra(self.path)
        else:
            self._rows = InMemory(table_of(spectra, str(self.path)))
        schema = self._rows.schema
        if proxy_names(schema):
            raise CatalogError(
                f"{self.path}: is a scored catalog, whose redshifts and line strengths are "
                "predicted. Name a table of spectra that were taken; labelled sources for "
                "guarantees are given as --labelled and --truth."
            )
        if {"target_bits", "priority"} <= {*map(str.lower, schema.names)}:
            raise CatalogError(
                f"{self.path}: is a target list, of sources whose spectra have yet to be taken. "
                "Name a table of spectra that were taken; to leave out the sources of a list, name "
                "it under 'exclude' in the rules."
            )
        if not len(self):
            raise CatalogError(
                f"{self.path}: has no rows; expected one for each spectrum. Leave it out, or make "
                "the file again."
            )
        self._by_name = _by_name(schema)
        self.columns = self._columns(id_name)
        self._schema = schema
        self._wrong = self._n_redshifts = 0
        self._largest = -np.inf
        self._n_placed = 0
        for role in ("redshift", "error", "epoch"):
            self._check_numbers(role)
        self._check_quality()
        for role in ("warning", "success", "primary"):
            if (name := self.columns.get(role)) and not _is_flag(schema.field(name).type):
                raise CatalogError(
                    f"{self.path}, column '{name}': holds {held(schema.field(name).type)}; "
                    "expected whole numbers or true and false. Convert or rename it."
                )

    def __len__(self) -> int:
        return self._rows.num_rows

    @property
    def has_positions(self) -> bool:
        """Whether the spectra have positions."""
        return "ra" in self.columns

    @property
    def ids_are_generic(self) -> bool:
        """Whether ids have a name under which every catalog keeps its own."""
        return self.columns.get("id", "").lower() in GENERIC

    @property
    def id_type(self) -> pa.DataType:
        """The type of the ids, int64 or string; they must have some."""
        return exact_id_type(self._schema.field(self.columns["id"]), self.path)

    def pieces(self) -> Iterator[TakenSpectra]:
        """The spectra, some at a time.

        Raises
        ------
        CatalogError
            If a position is off the sphere or in radians, an id is none, or redshifts are of
            another kind.
        """
        position = self._positions
        for table in self._rows.batches(ROWS_AT_A_TIME, [*dict.fromkeys(self.columns.values())]):
            yield self._piece(table, position)
        if position is not None:
            position.finish()
            if not self._n_placed and "id" not in self.columns:
                raise CatalogError(
                    f"{self.path}: all its positions are missing (columns "
                    f"{' and '.join(map(repr, position.names.values()))}). Name a table that has "
                    "positions, or make the file again."
                )
        self._check_redshifts()

    # --- columns ---

    @cached_property
    def _position_names(self) -> dict[str, str] | None:
        """The columns of positions; those of fibers where there are none of targets."""
        names = self._rows.schema.names
        usual = {
            role: [n for n in names if n.lower() in USUAL_NAMES[role]] for role in ("ra", "dec")
        }
        if any(usual.values()):
            return {}  # those that a catalog has
        for ra, dec in FIBERS:
            if ra in self._by_name and dec in self._by_name:
                return {"ra": self._by_name[ra], "dec": self._by_name[dec]}
        return None

    @property
    def _positions(self) -> PositionColumns | None:
        """The columns of positions, whose rows have yet to be read."""
        names = self._position_names
        if names is None:
            return None
        path = self.path if isinstance(self.path, Path) else Path(self.path)
        return PositionColumns(path, self._rows.schema, **names)

    def _columns(self, id_name: str) -> dict[str, str]:
        found: dict[str, str] = {}
        position = self._positions
        if position is not None:
            found |= position.names
        own = id_name.lower()
        alike = next((names for names in _ALIKE if own in names), (own,))
        for name in dict.fromkeys((own, *alike)):
            if name in self._by_name and "id" not in found:
                found["id"] = self._by_name[name]
        if position is None and ("id" not in found or own in set(GENERIC) - {"source_id"}):
            raise CatalogError(
                f"{self.path}: no columns of positions ({USUAL_NAMES['ra'][0]} and "
                f"{USUAL_NAMES['dec'][0]}, or other usual names), and no ids of the same kind as "
                f"'{id_name}' of the catalog. The columns are "
                f"{', '.join(self._rows.schema.names[:12])}. Rename them, or join the table with "
                "one of positions."
            )
        roles = {
            "redshift": redshift_names(self._rows.schema),
            "warning": WARNINGS,
            "success": SUCCESSES,
            "primary": PRIMARIES,
            "error": ERRORS,
            "epoch": ("ref_epoch",),
            "kind": KINDS,
            "quality": QUALITIES,
        }
        for role, names in roles.items():
            for name in names:
                if name in self._by_name and role not in found:
                    found[role] = self._by_name[name]
        return found

    def _check_numbers(self, role: str) -> None:
        """Refuse a column that holds no numbers, or numbers with a unit where there is none."""
        name = self.columns.get(role)
        if name is None:
            return
        field = self._schema.field(name)
        if role == "epoch" and not is_number(field.type):
            del self.columns[role]
        elif not is_number(field.type):
            raise CatalogError(
                f"{self.path}, column '{name}': holds {held(field.type)}; expected redshifts such "
                "as 0.35. Convert or rename it."
            )
        elif role == "redshift" and unit_of(field) not in ("", "1"):
            raise CatalogError(
                f"{self.path}, column '{name}': is in '{unit_of(field)}'; expected redshifts "
                "without a unit. Convert or rename it."
            )

    def _check_quality(self) -> None:
        """Pass over a column of quality that has other values, and find other marks."""
        name = self.columns.get("quality")
        marks = [each for each in OTHER_MARKS if each in self._by_name]
        if name is not None and {*self._by_name} >= _OF_INSPECTED:
            del self.columns["quality"]
        elif name is not None and not self._has_usual_qualities(name):
            del self.columns["quality"]
            marks = [name.lower(), *marks]
        has_mark = {"quality", "warning", "success"} & {*self.columns}
        self.unread = "" if has_mark or not marks else self._by_name[marks[0]]

    def _has_usual_qualities(self, name: str) -> bool:
        """Whether a column holds whole numbers such as surveys give to redshifts."""
        if not is_number(self._schema.field(name).type):
            return False
        tables = self._rows.batches(ROWS_AT_A_TIME, [name])
        return all(are_usual_qualities(floats(table[name])) for table in tables)

    # --- rows ---

    def _piece(self, table: pa.Table, position: PositionColumns | None) -> TakenSpectra:
        n = len(table)
        ra, dec = position.degrees(table) if position else np.full((2, n), np.nan)
        self._n_placed += int((~np.isnan(ra)).sum())
        redshift = np.full(n, np.nan)
        failed = np.zeros(n, dtype=bool)
        if (name := self.columns.get("redshift")) is not None:
            values = floats(table[name])
            redshift = known_redshifts(values)
            failed |= np.isnan(redshift)
            self._note_redshifts(values)
        warned = self._flags(table, "warning")
        failed |= np.zeros(n, dtype=bool) if warned is None else warned
        succeeded = self._flags(table, "success")
        failed |= np.zeros(n, dtype=bool) if succeeded is None else ~succeeded
        if (name := self.columns.get("quality")) is not None:
            failed |= ~(floats(table[name]) >= LEAST_QUALITY)
        primary = self._flags(table, "primary")
        error = np.full(n, np.inf)
        if (name := self.columns.get("error")) is not None:
            errors = floats(table[name])
            error = np.where(np.isfinite(errors) & (errors > 0), errors, np.inf)
        epoch = np.full(n, np.nan)
        if (name := self.columns.get("epoch")) is not None:
            years = floats(table[name])
            epoch = np.where((years >= 1800) & (years <= 2200), years, np.nan)
        return TakenSpectra(
            ra,
            dec,
            self._ids(table),
            redshift,
            failed,
            np.ones(n, dtype=bool) if primary is None else primary,
            error,
            epoch,
            self._of_sky(table),
        )

    def _flags(self, table: pa.Table, role: str) -> np.ndarray | None:
        """Whether a column of numbers, or of true and false, is neither 0, false nor missing."""
        name = self.columns.get(role)
        if name is None:
            return None
        values = in_one_piece(table[name])
        if pa.types.is_boolean(values.type):
            return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False))
        return np.nan_to_num(floats(values)) != 0

    def _ids(self, table: pa.Table) -> pa.Array | None:
        name = self.columns.get("id")
        return None if name is None else exact_ids(table[name], name, self.path)

    def _of_sky(self, table: pa.Table) -> np.ndarray:
        name = self.columns.get("kind")
        if name is None or not is_text(table[name].type):
            return np.zeros(len(table), dtype=bool)
        words = pc.utf8_upper(pc.utf8_trim_whitespace(in_one_piece(table[name]).cast(pa.string())))
        listed = pc.is_in(words, pa.array(NOT_OF_SOURCES))
        return np.asarray(pc.fill_null(listed, False).to_numpy(zero_copy_only=False))

    def _note_redshifts(self, values: np.ndarray) -> None:
        known = values[np.isfinite(values)]
        self._n_redshifts += len(known)
        self._wrong += int((known >= LARGEST).sum())
        if len(known):
            self._largest = max(self._largest, float(known.max()))

    def _check_redshifts(self) -> None:
        """Refuse a column whose numbers are no redshifts, once it was read."""
        if self._wrong > MOST_WRONG * self._n_redshifts:
            raise CatalogError(
                f"{self.path}, column '{self.columns['redshift']}': {self._wrong:,} of "
                f"{self._n_redshifts:,} numbers are {LARGEST:g} or more, up to {self._largest:g}; "
                "expected redshifts. Rename the column if it is a band, or convert velocities."
            )


def redshift_names(schema: pa.Schema) -> list[str]:
    """Names of redshifts in lower case, the likeliest first; not `z` where it is a band."""
    by_name = _by_name(schema)
    z = by_name.get("z", "")
    unit = unit_of(schema.field(z)) if z else ""
    is_band = len(_BANDS & {*by_name}) == len(_BANDS) or any(each in unit for each in _OF_BANDS)
    return [name for name in REDSHIFTS if name != "z" or not is_band]


def are_usual_qualities(values: np.ndarray) -> bool:
    """Whether all finite numbers are whole ones such as surveys give to redshifts."""
    least, most = _QUALITY_VALUES
    known = values[np.isfinite(values)]
    return not ((known < least) | (known > most) | (known != np.floor(known))).any()


def _by_name(schema: pa.Schema) -> dict[str, str]:
    """The columns of a table by their names in lower case; the first of each."""
    found: dict[str, str] = {}
    for name in schema.names:
        found.setdefault(name.lower(), name)
    return found


def _is_flag(kind: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(kind)) or is_number(kind)
