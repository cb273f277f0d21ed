"""Files of spectra opened as one table: of several tables in a FITS file, those of DESI.

DESI's pipeline keeps redshifts in one extension and, row by row beside it, positions in another;
its catalogs may have other tables beside the one of redshifts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.tables.formats import fits_tables_in, open_columns

CATALOGS = ("ZCATALOG",)
# Redshifts, and what stands row by row beside them.
_REDSHIFTS, _BESIDE = ("REDSHIFTS", "ZBEST"), "FIBERMAP"
_ID = "TARGETID"


def open_spectra(path: Path) -> Any:
    """A table of spectra as `open_columns` gives it; DESI's extensions as one.

    Raises
    ------
    CatalogError
        As `open_columns`, or if two extensions that belong together differ.
    """
    there = fits_tables_in(path)
    if len(there) > 1:
        for name in CATALOGS:
            if name in there:
                return open_columns(path, name)
        for name in _REDSHIFTS:
            if name in there and _BESIDE in there:
                return _SideBySide(path, (name, _BESIDE))
    return open_columns(path)


class _SideBySide:
    """Two tables of a FITS file with the same rows, as one; of equal names the first one counts."""

    def __init__(self, path: Path, names: tuple[str, str]) -> None:
        self.path, self.names = path, names
        self._first, self._second = (open_columns(path, name) for name in names)
        self.num_rows, other = self._first.num_rows, self._second.num_rows
        if self.num_rows != other:
            raise self._differ(f"have {self.num_rows:,} and {other:,} rows")
        if not all(_ID in each.schema.names for each in (self._first, self._second)):
            raise self._differ(f"do not both have '{_ID}'")
        ours = self._first.schema
        more = [each for each in self._second.schema if each.name not in ours.names]
        self.schema = pa.schema([*ours, *more])

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows in pieces, with the columns asked for."""
        ours = [name for name in columns if name in self._first.schema.names]
        theirs = [name for name in columns if name not in ours]
        pieces = (
            table.batches(rows, [*dict.fromkeys([*names, _ID])])
            for table, names in ((self._first, ours), (self._second, theirs))
        )
        for one, other in zip(*pieces, strict=True):
            if not one[_ID].equals(other[_ID]):
                raise self._differ(f"have another '{_ID}' in some row")
            for name in theirs:
                one = one.append_column(other.schema.field(name), other[name])
            yield one.select(list(columns))

    def _differ(self, how: str) -> CatalogError:
        return CatalogError(
            f"{self.path}: its tables {' and '.join(self.names)} {how}; expected the same rows in "
            "both. Copy the file again, or write one table with redshifts and positions."
        )
