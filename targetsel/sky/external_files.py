"""Files that rules speak of: regions of the sky, lists of sources, places to keep away from.

A file is named relative to the rule file that names it. Every file that is read is remembered
with its SHA-256, for the target list's footer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.spatial import cKDTree

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import CatalogError
from targetsel.sky.catalog import USUAL_NAMES
from targetsel.tables.files import sha256_of_file
from targetsel.tables.formats import InMemory, ParquetFiles, open_table
from targetsel.tables.ids import keys_of
from targetsel.tables.parquet import footer_in

ROWS_AT_A_TIME = 262_144


class Attachments:
    """The files that a set of rules has asked for.

    Attributes
    ----------
    sha256 : dict
        Of every file, by its name as it is written in the rules.
    """

    def __init__(self) -> None:
        self.sha256: dict[str, str] = {}

    def path(self, name: str, place: SourceLocation) -> Path:
        """Where the file is that `name`, written at `place`, speaks of.

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
        digest = remembered(_sha256, path)
        if self.sha256.setdefault(name, digest) != digest:  # of one name, in another folder
            self.sha256[str(path)] = digest
        return path

    def ids(self, name: str, place: SourceLocation, column: str, like: pa.Field) -> Ids:
        """The ids that a table lists, in `column` or where ids usually are."""
        path = self.path(name, place)
        try:
            return remembered(_ids, path, column, like.name, pa.types.is_integer(like.type))
        except CatalogError as error:
            raise place.error(str(error)) from None

    def places(self, name: str, place: SourceLocation, radius: float) -> Places:
        """What lies within `radius` [deg] of the positions that a table lists."""
        path = self.path(name, place)
        try:
            digest = remembered(_sha256, path)
            return Places(remembered(_tree, path), radius, f"{digest}:{radius!r}")
        except CatalogError as error:
            raise place.error(str(error)) from None


def remembered(read, path: Path, *rest):
    """What `read` makes of a file, read once as long as the file stays as it is."""
    state = path.stat()
    return _read_once(read, path.resolve(), state.st_mtime_ns, state.st_size, *rest)


@lru_cache(maxsize=64)
def _read_once(read, path: Path, mtime: int, size: int, *rest):
    return read(path, *rest)


def _sha256(path: Path) -> str:
    return sha256_of_file(path)


@dataclass(frozen=True)
class Ids:
    """A list of ids; finds the sources that have one of them.

    Attributes
    ----------
    keys : ndarray of uint64
        Of the ids (see `identity.keys_of`), in increasing order.
    sha256 : str
    """

    keys: np.ndarray = field(repr=False, compare=False)
    sha256: str

    def found(self, ids: np.ndarray) -> np.ndarray:
        keys = keys_of(ids)
        if not len(self.keys):
            return np.zeros(len(keys), dtype=bool)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return self.keys[place] == keys


@dataclass(frozen=True)
class Places:
    """Positions on the sky; finds the sources within `radius` [deg] of any of them."""

    tree: cKDTree | None = field(repr=False, compare=False)
    radius: float
    sha256: str

    def found(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        if self.tree is None:
            return np.zeros(len(ra), dtype=bool)
        # The query takes what is strictly nearer.
        reach = np.nextafter(chord(self.radius), np.inf)
        distance, _ = self.tree.query(unit_vectors(ra, dec), distance_upper_bound=reach)
        return np.isfinite(distance)


def chord(angle: float) -> float:
    """The straight distance between two points of the unit sphere that are `angle` [deg] apart."""
    return 2 * np.sin(np.radians(min(angle, 180.0)) / 2)


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Directions as unit vectors, shape (N, 3), from ra and dec [deg]."""
    ra, dec = np.radians(ra.astype(np.float64)), np.radians(dec.astype(np.float64))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _ids(path: Path, column: str, name_in_catalog: str, integers: bool) -> Ids:
    table = open_table(path)
    name = find_column(table, path, column, "source_id", name_in_catalog)
    kind = table.schema.field(name).type
    if integers != pa.types.is_integer(kind):
        expected = "integers" if integers else "text"
        raise CatalogError(f"{path}: ids in '{name}' are {kind}; the catalog's are {expected}")
    keys = [np.empty(0, dtype=np.uint64)]
    for piece in table.batches(ROWS_AT_A_TIME, [name]):
        keys.append(keys_of(piece[name].drop_null().to_numpy()))
    return Ids(np.unique(np.concatenate(keys)), f"{remembered(_sha256, path)}:{name}")


def _tree(path: Path) -> cKDTree | None:
    table = open_table(path)
    names = [find_column(table, path, "", role) for role in ("ra", "dec")]
    vectors = [np.empty((0, 3))]
    for piece in table.batches(ROWS_AT_A_TIME, names):
        ra, dec = (piece[name].cast(pa.float64()).to_numpy() for name in names)
        usable = np.isfinite(ra) & np.isfinite(dec)
        vectors.append(unit_vectors(ra[usable], dec[usable]))
    points = np.concatenate(vectors)
    return cKDTree(points) if len(points) else None


def find_column(
    table: ParquetFiles | InMemory, path: Path, given: str, role: str, also: str = ""
) -> str:
    """The column of a table that holds ids, "ra" or "dec".

    The one `given`; else the one that a file of ours names; else the one named `also`; else the
    first of the usual names.
    """
    names: Sequence[str] = table.schema.names
    if given:
        if given not in names:
            raise CatalogError(f"{path}: no column '{given}'; it has {', '.join(names[:12])}")
        return given
    ours = footer_in(table.schema.metadata).get("columns", {}).get(role)
    lower = {name.lower(): name for name in reversed(names)}
    for name in (ours, role if role in names else None, also, *USUAL_NAMES[role]):
        if name in names:
            return str(name)
        if name and name.lower() in lower:
            return lower[name.lower()]
    what = "source ids" if role == "source_id" else role
    raise CatalogError(f"{path}: no column of {what}; it has {', '.join(names[:12])}")
