"""Files that rules name: regions of the sky, lists of sources, positions to keep away from.

A file is named relative to the rule file that names it. Every file that is read is remembered
with its SHA-256, for the target list's footer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import CatalogError
from targetsel.sky.catalog import find_column
from targetsel.sky.positions import Places, Region, read_region, unit_vectors
from targetsel.tables.columns import floats
from targetsel.tables.files import sha256_of_file
from targetsel.tables.formats import open_table
from targetsel.tables.ids import keys_of

ROWS_AT_A_TIME = 262_144
_PIXEL_COLUMNS = ("pixel", "healpix", "ipix", "hpx", "pix")
T = TypeVar("T")


class ExternalFiles:
    """The files that a set of rules names.

    Attributes
    ----------
    sha256 : dict
        Hash of every file, by its name as it is written in the rules.
    """

    def __init__(self) -> None:
        self.sha256: dict[str, str] = {}

    def path(self, name: str, place: SourceLocation) -> Path:
        """The path of the file that `name`, written at `place`, names.

        Raises
        ------
        RuleError
            If there is no such file.
        """
        if "://" in name:
            raise place.error(f"'{name}' is an address; download the file and name it here")
        path = Path(place.file).parent / name
        if not name.strip() or not os.path.isfile(path):
            raise place.error(f"no file '{name}' in the folder {Path(place.file).parent}")
        digest = remembered(sha256_of_file, path)
        if self.sha256.setdefault(name, digest) != digest:  # of one name, in another folder
            self.sha256[str(path)] = digest
        return path

    def ids(self, name: str, place: SourceLocation, column: str, like: pa.Field) -> Ids:
        """The ids that a table lists, in `column` or where ids usually are.

        Raises
        ------
        RuleError
            If the file is missing, damaged, or has no such column.
        """
        integers = pa.types.is_integer(like.type)
        return self._read(name, place, _ids, column, like.name, integers)

    def places(self, name: str, place: SourceLocation, radius: float) -> Places:
        """The sources within `radius` [deg] of the positions that a table lists.

        Raises
        ------
        RuleError
            If the file is missing, damaged, or has no columns of positions.
        """
        vectors = self._read(name, place, _vectors)
        digest = remembered(sha256_of_file, self.path(name, place))
        return Places(vectors, radius, f"{digest}:{radius!r}")

    def region(self, name: str, place: SourceLocation) -> Region:
        """The region that a MOC or DS9 region file holds.

        Raises
        ------
        RuleError
            If the file is missing, damaged, or neither of these.
        """
        return self._read(name, place, read_region)

    def pixels(self, name: str, place: SourceLocation) -> np.ndarray:
        """The HEALPix pixels that a table lists.

        Raises
        ------
        RuleError
            If the file is missing, damaged, or has no column of pixels.
        """
        return self._read(name, place, _pixels)

    def _read(self, name: str, place: SourceLocation, read: Callable[..., T], *rest: object) -> T:
        """The result of `read` for a file; errors point to where the file is named."""
        path = self.path(name, place)
        try:
            return remembered(read, path, *rest)
        except CatalogError as error:
            raise place.error(str(error)) from None


def remembered(read, path: Path, *rest):
    """The result of `read`, of a file that is read once as long as the file stays as it is."""
    state = path.stat()
    return _read_once(read, path.resolve(), state.st_mtime_ns, state.st_size, *rest)


@lru_cache(maxsize=64)
def _read_once(read, path: Path, mtime: int, size: int, *rest):
    return read(path, *rest)


@dataclass(frozen=True)
class Ids:
    """A list of ids; finds the sources that have one of them.

    Attributes
    ----------
    keys : ndarray of uint64
        Keys of the ids (see `tables.ids.keys_of`), in increasing order.
    sha256 : str
    """

    keys: np.ndarray = field(repr=False, compare=False)
    sha256: str

    def found(self, ids: np.ndarray) -> np.ndarray:
        """Whether each source has one of the ids, shape (N,)."""
        keys = keys_of(ids)
        if not len(self.keys):
            return np.zeros(len(keys), dtype=bool)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return self.keys[place] == keys


def _ids(path: Path, column: str, name_in_catalog: str, integers: bool) -> Ids:
    table = open_table(path)
    name = find_column(
        path, table.schema.names, "source_id", "the key 'id'", column, name_in_catalog
    )
    kind = table.schema.field(name).type
    if integers != pa.types.is_integer(kind):
        expected = "integers" if integers else "text"
        raise CatalogError(f"{path}: ids in '{name}' are {kind}; the catalog's are {expected}")
    keys = [np.empty(0, dtype=np.uint64)]
    for piece in table.batches(ROWS_AT_A_TIME, [name]):
        keys.append(keys_of(piece[name].drop_null().to_numpy()))
    return Ids(np.unique(np.concatenate(keys)), f"{remembered(sha256_of_file, path)}:{name}")


def _vectors(path: Path) -> np.ndarray:
    """The positions in a table as unit vectors, shape (K, 3)."""
    table = open_table(path)
    names = [find_column(path, table.schema.names, role) for role in ("ra", "dec")]
    vectors = [np.empty((0, 3))]
    for piece in table.batches(ROWS_AT_A_TIME, names):
        ra, dec = (floats(piece[name]) for name in names)
        usable = np.isfinite(ra) & np.isfinite(dec)
        vectors.append(unit_vectors(ra[usable], dec[usable]))
    return np.concatenate(vectors)


def _pixels(path: Path) -> np.ndarray:
    """The HEALPix pixels that a table lists."""
    table = open_table(path)
    for name in table.schema.names:
        if name.lower() in _PIXEL_COLUMNS:
            pieces = [piece[name].to_numpy() for piece in table.batches(ROWS_AT_A_TIME, [name])]
            return np.concatenate([np.empty(0, dtype=np.int64), *pieces]).astype(np.int64)
    raise CatalogError(f"{path}: no column of pixels; looked for {', '.join(_PIXEL_COLUMNS)}.")
