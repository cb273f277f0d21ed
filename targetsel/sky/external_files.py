"""Files that rules name: regions of the sky, lists of sources, positions to keep away from.

A file is named relative to the rule file that names it. Every file that is read is remembered
with its SHA-256, for the target list's footer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import CatalogError
from targetsel.sky.catalog import PositionColumns, find_column
from targetsel.sky.positions import Places, Region, nested_of_ring, unit_vectors
from targetsel.sky.shapes import read_region
from targetsel.tables.files import sha256_of_file
from targetsel.tables.fits import open_fits
from targetsel.tables.formats import open_table
from targetsel.tables.ids import exact_ids, keys_of
from targetsel.tables.types import held

ROWS_AT_A_TIME = 262_144
_PIXEL_COLUMNS = ("pixel", "healpix", "ipix", "hpx", "pix")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
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
            folder = Path(place.file).resolve().parent
            raise place.error(
                f"no file '{name}' in the folder {folder}; name it as seen from there"
            )
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

    def pixels(self, name: str, place: SourceLocation, nside: int) -> np.ndarray:
        """The HEALPix pixels of this nside, nested, that a table lists.

        Raises
        ------
        RuleError
            If the file is missing, damaged, or has no column of pixels.
        """
        return self._read(name, place, _pixels, nside)

    def _read(self, name: str, place: SourceLocation, read: Callable[..., T], *rest: object) -> T:
        """The result of `read` for a file; errors point to where the file is named."""
        path = self.path(name, place)
        try:
            return remembered(read, path, *rest)
        except CatalogError as error:
            raise place.error(str(error)) from None


def remembered(read: Callable[..., T], path: Path, *rest: object) -> T:
    """The result of `read`, of a file that is read once as long as the file stays as it is."""
    state = path.stat()
    result: T = _read_once(read, path.resolve(), state.st_mtime_ns, state.st_size, *rest)
    return result


@lru_cache(maxsize=64)
def _read_once(read: Callable[..., Any], path: Path, mtime: int, size: int, *rest: object) -> Any:
    return read(path, *rest)


@dataclass(frozen=True)
class Ids:
    """A list of ids; finds the sources that have one of them.

    Attributes
    ----------
    keys : ndarray of uint64
        Keys of the ids (see `tables.ids.keys_of`), in increasing order.
    sha256 : str
    otherwise : str
        An example of the ids as they are in the file, where they are numbers and those of the
        catalog text, or text and those numbers; else empty.
    """

    keys: np.ndarray = field(repr=False, compare=False)
    sha256: str
    otherwise: str = field(default="", compare=False)

    def found(self, ids: np.ndarray) -> np.ndarray:
        """Whether each source has one of the ids, shape (N,)."""
        keys = keys_of(ids)
        if not len(self.keys):
            return np.zeros(len(keys), dtype=bool)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return self.keys[place] == keys


def _ids(path: Path, column: str, name_in_catalog: str, integers: bool) -> Ids:
    """The ids in a table, in the form of the catalog's: whole numbers or text."""
    table = open_table(path)
    name = find_column(
        path, table.schema.names, "source_id", "the key 'id'", column, name_in_catalog
    )
    keys, examples = [np.empty(0, dtype=np.uint64)], []
    for piece in table.batches(ROWS_AT_A_TIME, [name]):
        ids = exact_ids(piece[name], name, path).drop_null()
        examples += ids[:1].to_pylist()
        if integers and pa.types.is_string(ids.type):
            keys.append(keys_of(_whole_numbers(ids)))
        else:
            keys.append(keys_of((ids if integers else ids.cast(pa.string())).to_numpy(False)))
    found = np.unique(np.concatenate(keys))
    otherwise = ""
    if examples and isinstance(examples[0], int) != integers:
        otherwise = repr(examples[0])
        if not len(found):
            raise CatalogError(
                f"{path}: ids in '{name}' are text such as {otherwise}, and those of the catalog "
                f"in '{name_in_catalog}' whole numbers. Name the right column with the key 'id'."
            )
    return Ids(found, f"{remembered(sha256_of_file, path)}:{name}", otherwise)


def _whole_numbers(texts: pa.Array) -> np.ndarray:
    """The texts that are whole numbers as they are usually written: "12", and not "012"."""
    whole = [int(text) for text in texts.to_pylist() if _WHOLE.fullmatch(text)]
    return np.array([each for each in whole if -(2**63) <= each < 2**63], dtype=np.int64)


def _vectors(path: Path) -> np.ndarray:
    """The positions in a table as unit vectors, shape (K, 3)."""
    table = open_table(path)
    positions = PositionColumns(path, table.schema)
    vectors = [np.empty((0, 3))]
    for piece in table.batches(ROWS_AT_A_TIME, list(positions.names.values())):
        vectors.append(unit_vectors(*positions.degrees(piece)))
    positions.finish()
    found = np.concatenate(vectors)
    missing = np.flatnonzero(np.isnan(found[:, 0]))
    if len(missing):
        raise CatalogError(
            f"{path}: no position ('{positions.names['ra']}' or '{positions.names['dec']}' is "
            f"null, NaN or infinite) in {len(missing):,} of {len(found):,} rows, the first is row "
            f"{missing[0]} (counted from 0). Remove these rows, or complete them."
        )
    return found


def _pixels(path: Path, nside: int) -> np.ndarray:
    """The HEALPix pixels, nested, that a table lists; those of a table in RING order converted."""
    table = open_table(path)
    usual = [name for name in table.schema.names if name.lower() in _PIXEL_COLUMNS]
    if len(usual) != 1:
        found = f"several columns of pixels: {', '.join(usual)}" if usual else "no column of pixels"
        raise CatalogError(f"{path}: {found}; expected one of {', '.join(_PIXEL_COLUMNS)}.")
    name, pieces = usual[0], [np.empty(0, dtype=np.int64)]
    for piece in table.batches(ROWS_AT_A_TIME, usual):
        numbers = exact_ids(piece[name], name, path)
        if numbers.null_count or not pa.types.is_integer(numbers.type):
            raise CatalogError(
                f"{path}, column '{name}': holds {held(piece[name].type)}, or has gaps; expected "
                "HEALPix pixels, which are whole numbers."
            )
        pieces.append(numbers.to_numpy())
    pixels = np.concatenate(pieces)
    own, ring = _scheme(path)
    if own not in (None, nside):
        raise CatalogError(f"{path}: its pixels are of nside {own}, not {nside}. Name its nside.")
    if not ring or not len(pixels) or pixels.min() < 0 or pixels.max() >= 12 * nside**2:
        return pixels
    return nested_of_ring(pixels, nside.bit_length() - 1)


def _scheme(path: Path) -> tuple[int | None, bool]:
    """The nside that a FITS table of pixels states, and whether its pixels are in RING order."""
    if Path(path.name.lower().removesuffix(".gz")).suffix not in (".fits", ".fit"):
        return None, False
    with open_fits(path) as units:
        header = next(unit.header for unit in units if unit.header.get("XTENSION") == "BINTABLE")
        nside, ordering = header.get("NSIDE"), str(header.get("ORDERING", "")).upper()
    if ordering == "NUNIQ":
        raise CatalogError(f"{path}: is a MOC; name it as a file of the footprint, not as pixels.")
    return nside, ordering.startswith("RING")
