"""The cutout store: Parquet files with one row per source, and how they are read.

A store is a folder of `part-00000.parquet`, ... (or one such file, or a folder of them partitioned
as a HATS catalog, see `store_listing`) with the columns of `SOURCE` (those of the orientation where
it is known of some image) and `flux`, sorted by (_healpix_29, source_id), in row groups of 64.
`flux` is a fixed-shape tensor (B, H, W); `PartFooter`, as JSON in the footer under
"targetsel.cutouts", describes it. `stored_pixels` tells what its numbers are, and `packing` writes
stores.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError, model_validator

from targetsel.documents.models import DocumentModel
from targetsel.errors import CutoutError, counted
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.orientation import Orientation
from targetsel.imaging.store_listing import LISTING, ListedFile, StoreListing, is_listed
from targetsel.imaging.stored_pixels import ASINH as ASINH
from targetsel.imaging.stored_pixels import FLOAT as FLOAT
from targetsel.imaging.stored_pixels import NO_DATA, decode
from targetsel.imaging.stored_pixels import Encoding as Encoding
from targetsel.tables.columns import ID, NEVER, Column, FileKind, floats
from targetsel.tables.ids import keys_of
from targetsel.tables.parquet import footer_in, says_simulated
from targetsel.tables.reading import ParquetReader

KEY = b"targetsel.cutouts"
GROUPS_KEPT = 4

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

PACK_AGAIN = "Pack the cutouts again."
# The columns of a store beside `flux`.
SOURCE = FileKind(
    "a cutout store",
    (
        Column("source_id", ID, "", "meta.id;meta.main", "id in the catalog", NEVER),
        Column("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "ICRS", NEVER),
        Column("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "ICRS", NEVER),
        Column("_healpix_29", pa.int64(), "", "pos.healpix", "nested cell of order 29", NEVER),
        Column(
            "position_angle",
            pa.float32(),
            "deg",
            "pos.posAng",
            "of the image's y axis, east of north",
            required=False,
        ),
        Column(
            "parity",
            pa.int8(),
            "",
            "meta.code",
            "1 where east is counterclockwise of north, as on the sky; -1 in mirror images",
            required=False,
        ),
    ),
    PACK_AGAIN,
    CutoutError,
)

ORIENTATION = ("position_angle", "parity")
PLAIN = tuple(each.name for each in SOURCE.columns if each.name not in ORIENTATION)

FLUX = Column(
    "flux", pa.list_(pa.float32()), "nanomaggy", "phot.flux.density",
    "pixels of all bands: band by band, row by row; encoded as the store's layout says", NEVER,
)  # fmt: skip


class Layout(DocumentModel):
    """Description that all pixels of a store share.

    Attributes
    ----------
    bands : tuple of B strings
    pixel_scale : float
        [arcsec]
    height, width : int
        [pixel]
    encoding : "asinh-int16" or "float32"
    sky_sigma : tuple of B floats
        Standard deviation of the sky in each band [nanomaggy/pixel].
    """

    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    pixel_scale: Positive
    height: Count
    width: Count
    encoding: Encoding
    sky_sigma: tuple[Positive, ...]

    @model_validator(mode="after")
    def _check_bands(self) -> Layout:
        if len(self.bands) != len(self.sky_sigma):
            raise ValueError(
                f"{len(self.sky_sigma)} sky sigmas for {len(self.bands)} bands; expected one each"
            )
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, H, W)"""
        return len(self.bands), self.height, self.width

    @property
    def pixel_type(self) -> np.dtype:
        """The type of one stored pixel."""
        return np.dtype(np.int16 if self.encoding == ASINH else np.float32)

    @property
    def flux_type(self) -> pa.DataType:
        """The type of the column `flux`."""
        return pa.fixed_shape_tensor(pa.from_numpy_dtype(self.pixel_type), self.shape)


class PartFooter(Layout):
    """The entry `KEY` of the footer of one file of a store.

    Attributes
    ----------
    part, parts : int
        Index of this file, and number of files.
    sha256 : str
        Hash of the ids, positions and stored pixels of its rows.
    """

    version: Literal[1] = 1
    flux_unit: Literal["nanomaggy"] = "nanomaggy"
    part: Annotated[int, Field(ge=0)]
    parts: Count
    sha256: str

    @property
    def layout(self) -> Layout:
        return Layout(**self.model_dump(include={*Layout.model_fields}))


@dataclass(frozen=True)
class Part:
    """One Parquet file of a store.

    Attributes
    ----------
    path : Path
    entry : PartFooter
    group_rows : tuple of int
        Number of rows of each row group.
    footer : dict
        Provenance of the cutouts; see `parquet.read_footer`.
    oriented : bool
        Whether it has the columns of the orientation.
    """

    path: Path
    entry: PartFooter
    group_rows: tuple[int, ...]
    footer: dict[str, Any]
    oriented: bool


def read_part(path: Path) -> Part:
    """The footer of one file of a store.

    Raises
    ------
    CutoutError
        If the file is damaged or no part of a cutout store.
    """
    with ParquetReader(path, CutoutError) as file:
        metadata, schema, content = file.metadata, file.schema, file.footer_entries.get(KEY)
    if content is None:
        raise CutoutError(
            f"{path}: a Parquet file, but not a cutout store (no '{KEY.decode()}' in its footer). "
            "Make one with 'targetsel cutouts pack'."
        )
    try:
        entry = PartFooter.model_validate_json(content)
    except ValidationError as faults:
        fault = faults.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise CutoutError(
            f"{path}: the entry '{KEY.decode()}' of its footer is damaged, or of another version "
            f"of targetsel ({where}{': ' * bool(where)}{fault['msg']}). {PACK_AGAIN}"
        ) from None
    rows = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    if not sum(rows):
        raise CutoutError(f"{path}: a cutout store without sources. {PACK_AGAIN}")
    SOURCE.check(schema, path)
    found = schema.field("flux").type if "flux" in schema.names else "missing"
    if found != entry.flux_type:
        raise CutoutError(
            f"{path}: column 'flux' is {found}, expected {entry.flux_type}. {PACK_AGAIN}"
        )
    oriented = {*ORIENTATION} <= {*schema.names}
    return Part(path, entry, rows, footer_in(metadata.metadata), oriented)


@dataclass(frozen=True)
class Packed:
    """Counts of a catalog's sources.

    Attributes
    ----------
    written, missing : int
        Sources that the store has, and those without a cutout.
    elsewhere : int
        Sources whose images have their middle over `positions.SAME_PLACE` away, by the
        images' own headers.
    not_asked : tuple of str
        Sources of the images that the catalog does not have.
    left_out : tuple of str
        Files that are not read, as masks or weights.
    """

    written: int
    missing: int
    elsewhere: int = 0
    not_asked: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class CutoutStore:
    """A cutout store, open for random access by source id.

    In memory it keeps 16 bytes per source (a 64-bit key and the row), the last few row groups and
    the footer of their file; files are open only while they are read, so threads may share one
    store.

    Attributes
    ----------
    path : Path
    bands : tuple of B strings
    pixel_scale : float
        [arcsec]
    shape : (B, H, W)
    sky_sigma : tuple of B floats
        [nanomaggy/pixel]
    sha256 : str
        Fingerprint of the content: ids, positions, stored pixels and their description. It does
        not change when the store is copied, renamed or packed again from the same cutouts.
    simulated : bool
        True if its images are marked as simulated.
    run : Packed or None
        The counts of the packing that made it; None where it was opened.
    """

    run: Packed | None = None

    def __init__(self, path: Path, parts: list[Part], layout: Layout | None = None) -> None:
        self.path = path
        self.layout = layout or parts[0].entry.layout  # a part of a store may have no file
        self.sha256 = fingerprint(self.layout, [part.entry.sha256 for part in parts])
        self.simulated = any(says_simulated(part.footer) for part in parts)
        oriented = all(part.oriented for part in parts)
        self._numbers = ("ra", "dec", *(ORIENTATION if oriented else ()))
        self._groups = [
            (part.path, group) for part in parts for group in range(len(part.group_rows))
        ]
        rows = [count for part in parts for count in part.group_rows]
        self._group_start = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        ids = [_read_columns(part.path, None, ["source_id"])[0] for part in parts]
        if any(column.null_count for column in ids):
            raise CutoutError(f"{path}: has sources without an id. {PACK_AGAIN}")
        self._ids_are_numbers = all(pa.types.is_integer(column.type) for column in ids)
        found = [keys_of(_id_values(column)) for column in ids]
        keys = np.concatenate([np.empty(0, np.uint64), *found])
        self._row = np.argsort(keys, kind="stable")
        self._key = keys[self._row]
        self._check_unique()
        self._kept: OrderedDict[int, tuple[np.ndarray, ...]] = OrderedDict()
        self._footers: dict[Path, pq.FileMetaData] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> CutoutStore:
        """The store at `path`, a folder or one of its files, after a check of every footer.

        Raises
        ------
        CutoutError
            If it is missing, damaged, incomplete or no cutout store.
        """
        path = Path(path)
        if not path.exists():
            raise CutoutError(
                f"{path}: no such file or folder. Expected a cutout store; "
                "make one with 'targetsel cutouts pack'."
            )
        if path.is_file():
            return cls(path, [read_part(path)])
        if is_listed(path):
            return cls(path, listed_parts(path, StoreListing.read(path).files))
        files = sorted(file for file in path.glob("*.parquet") if file.name[0] != ".")
        if not files:
            raise CutoutError(
                f"{path}: no Parquet file in this folder. Expected a cutout store; "
                "make one with 'targetsel cutouts pack'."
            )
        parts = sorted((read_part(file) for file in files), key=lambda part: part.entry.part)
        _check_complete(path, parts)
        return cls(path, parts)

    def __len__(self) -> int:
        return int(self._group_start[-1])

    def __repr__(self) -> str:
        simulated = "; simulated images" if self.simulated else ""
        return (
            f"CutoutStore of {len(self):,} sources in {', '.join(self.bands)}, {self.shape[1]} x "
            f"{self.shape[2]} pixels of {self.pixel_scale:g} arcsec{simulated}: {self.path}"
        )

    def _repr_html_(self) -> str | None:
        return self.read(self.source_ids(10))._repr_html_()

    @property
    def bands(self) -> tuple[str, ...]:
        return self.layout.bands

    @property
    def pixel_scale(self) -> float:
        return self.layout.pixel_scale

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.layout.shape

    @property
    def sky_sigma(self) -> tuple[float, ...]:
        return self.layout.sky_sigma

    def source_ids(self, first: int | None = None) -> np.ndarray:
        """The ids of all sources, or of the `first` ones, in the order of the store, shape (N,)."""
        wanted = len(self) if first is None else min(first, len(self))
        found: list[np.ndarray] = []
        for file in dict.fromkeys(path for path, _ in self._groups):
            if sum(map(len, found)) >= wanted:
                break
            found.append(_id_values(_read_columns(file, None, ["source_id"])[0]))
        return np.concatenate(found)[:wanted]

    def read(self, source_ids: np.ndarray) -> Cutouts:
        """The cutouts of these sources, in this order.

        A source that the store does not know gets pixels that are all NaN and the status
        "no cutout". Memory grows with the number of ids only; ids in the order of the store are
        read fastest.
        """
        ids, rows = self._rows_of(source_ids)
        no_data = NO_DATA if self.layout.encoding == ASINH else np.nan
        stored = np.full((len(ids), *self.shape), no_data, self.layout.pixel_type)
        present = np.zeros(len(ids), dtype=bool)
        numbers = np.full((len(self._numbers), len(ids)), np.nan)
        group_of = np.searchsorted(self._group_start, rows, side="right") - 1
        order = np.argsort(rows, kind="stable")
        order = order[rows[order] >= 0]
        for group in np.unique(group_of[order]):
            places = order[group_of[order] == group]
            known, pixels, own = self._group(int(group))
            within = rows[places] - self._group_start[group]
            same = known[within] == ids[places]  # two strings may share one key
            stored[places[same]] = pixels[within[same]]
            present[places[same]] = True
            numbers[:, places[same]] = own[:, within[same]]
        flux = decode(stored, self.sky_sigma, self.layout.encoding)
        asked = np.asarray(source_ids)
        ra, dec, *lie = numbers
        orientation = Orientation(*lie) if lie else None
        return Cutouts(asked, flux, self.bands, self.pixel_scale, present, (ra, dec), orientation)

    def has(self, source_ids: np.ndarray) -> np.ndarray:
        """Whether the store has a cutout of each source, boolean, shape (N,)."""
        return self._rows_of(source_ids)[1] >= 0

    def _rows_of(self, source_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ids as the store keeps them, and the row of each or -1, both of shape (N,).

        Text is the whole number that it spells where the store has numbers, and the other way
        round, as in every join: 12 is "12", not "012".
        """
        ids = np.asarray(source_ids)
        possible = np.ones(len(ids), dtype=bool)
        if self._ids_are_numbers and ids.dtype.kind not in "iu":
            numbers = [int(each) if _spells_number(each) else None for each in ids]
            possible = np.array([each is not None for each in numbers], dtype=bool)
            ids = np.array([each or 0 for each in numbers], dtype=np.int64)
        elif not self._ids_are_numbers and ids.dtype.kind in "iu":
            ids = np.array([str(each) for each in ids.tolist()], dtype=object)
        keys = keys_of(ids)
        if not len(self._key):
            return ids, np.full(len(ids), -1)
        place = np.minimum(np.searchsorted(self._key, keys), len(self._key) - 1)
        return ids, np.where(possible & (self._key[place] == keys), self._row[place], -1)

    def _group(self, group: int) -> tuple[np.ndarray, ...]:
        """Ids (n,), stored pixels (n, B, H, W) and other numbers (K, n) of one row group."""
        with self._lock:
            if group in self._kept:
                self._kept.move_to_end(group)
                return self._kept[group]
        path, number = self._groups[group]
        names = ["source_id", "flux", *self._numbers]
        id_column, flux_column, *others = _read_columns(path, number, names, self._footers)
        pixels = flux_column.storage.flatten().to_numpy(zero_copy_only=False)
        pixels = pixels.astype(self.layout.pixel_type, copy=False)
        numbers = np.stack([floats(each) for each in others])
        content = _id_values(id_column), pixels.reshape(-1, *self.shape), numbers
        with self._lock:
            self._kept[group] = content
            while len(self._kept) > GROUPS_KEPT:
                self._kept.popitem(last=False)
        return content

    def _check_unique(self) -> None:
        again = np.flatnonzero(self._key[1:] == self._key[:-1])
        if len(again):
            row = int(self._row[again[0] + 1])
            raise CutoutError(
                f"{self.path}: repeats {counted(len(again), 'source')}, the first is "
                f"'{self.source_ids()[row]}'. Pack the cutouts again, each source once."
            )


def _spells_number(text: str) -> bool:
    """Whether a text is a whole number of 64 bits as it is usually written."""
    digits = text.removeprefix("-")
    usual = digits.isascii() and digits.isdigit() and (digits[0] != "0" or text == "0")
    return usual and len(digits) < 20 and -(2**63) <= int(text) < 2**63


class Described(Protocol):
    """A cutout store as far as its description goes; attributes as of `CutoutStore`."""

    @property
    def path(self) -> Path: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def sha256(self) -> str: ...
    @property
    def simulated(self) -> bool: ...


class CutoutsById(Described, Protocol):
    """Whatever gives cutouts by id as a `CutoutStore` does."""

    def __len__(self) -> int: ...
    def source_ids(self, first: int | None = None) -> np.ndarray: ...
    def has(self, source_ids: np.ndarray) -> np.ndarray: ...
    def read(self, source_ids: np.ndarray) -> Cutouts: ...


def check_suits(
    store: Described,
    bands: tuple[str, ...],
    pixel_scale: float,
    size: int,
    place: object,
    or_else: str = "",
) -> None:
    """Raise a CutoutError unless the store matches the training data of an ensemble.

    More bands, in any order, and larger cutouts are fine (see `Cutouts.select_bands` and `crop`);
    the pixel scale may differ by 1 %.

    Parameters
    ----------
    store : CutoutStore or PartitionedStore
    bands, pixel_scale, size
        The ensemble's; `pixel_scale` in arcsec, `size` in pixels.
    place : object
        Name of the ensemble in messages.
    or_else : str
        What else helps where the store lacks bands.
    """
    missing = [band for band in bands if band not in store.layout.bands]
    if missing:
        raise CutoutError(
            f"{store.path}: its bands are {', '.join(store.layout.bands)}, but {place} needs "
            f"{', '.join(bands)}. Pack cutouts that have {', '.join(missing)} too"
            f"{', or ' * bool(or_else)}{or_else}."
        )
    if abs(store.layout.pixel_scale / pixel_scale - 1) > 0.01:
        raise CutoutError(
            f"{store.path}: its pixels are {store.layout.pixel_scale:g} arcsec, but {place} needs "
            f"{pixel_scale:g} arcsec. Cut the images again at that scale."
        )
    height, width = store.layout.height, store.layout.width
    if min(height, width) < size:
        raise CutoutError(
            f"{store.path}: its cutouts are {height} x {width} pixels, but {place} needs "
            f"{size} x {size}. Cut larger images."
        )


def _check_complete(path: Path, parts: list[Part]) -> None:
    """Raise unless the files of a folder belong together and none is missing."""
    first, n = parts[0], parts[0].entry.parts
    for part in parts:
        if part.entry.layout != first.entry.layout or part.entry.parts != n:
            raise CutoutError(
                f"{part.path}: differs from {first.path.name} in bands, pixel scale, size, "
                "encoding or number of files. Keep each cutout store in a folder of its own."
            )
    if [part.entry.part for part in parts] != list(range(n)):
        raise CutoutError(
            f"{path}: {len(parts)} of the {n} files of this cutout store are here, or "
            "one is here twice. Copy it again."
        )


def listed_parts(folder: Path, files: Sequence[ListedFile]) -> list[Part]:
    """Some of the files of a partitioned store, which must be those that were listed.

    Raises
    ------
    CutoutError
        If one is missing, damaged or another one.
    """
    parts = [read_part(each.pixel.file(folder)) for each in files]
    for part, each in zip(parts, files, strict=True):
        if part.entry.sha256 != each.sha256 or part.entry.layout != parts[0].entry.layout:
            raise CutoutError(
                f"{part.path}: is not the file that {folder / LISTING} lists. Copy the store "
                "again, or pack it again in another folder."
            )
    return parts


def fingerprint(layout: Layout, hashes: Sequence[str]) -> str:
    """The fingerprint of a store whose files have these hashes; see `CutoutStore.sha256`."""
    facts = {"layout": layout.model_dump(), "parts": [*hashes]}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read_columns(
    path: Path,
    group: int | None,
    columns: list[str],
    footers: dict[Path, pq.FileMetaData] | None = None,
) -> list[pa.Array]:
    """Columns of one row group, or of the whole file; `footers` keeps the footer of the last file.

    To parse the footer of a large file takes far longer than to read one of its groups.
    """
    footers = {} if footers is None else footers
    with ParquetReader(path, CutoutError, footers.get(path)) as file:
        table = file.read(columns, None if group is None else [group])
        if path not in footers:
            footers.clear()
            footers[path] = file.metadata
    return [table.column(name).combine_chunks() for name in columns]


def _id_values(column: pa.Array) -> np.ndarray:
    """Ids as int64, or as an object array of str."""
    return column.to_numpy(zero_copy_only=False)
