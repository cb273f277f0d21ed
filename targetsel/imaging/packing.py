"""Writing cutout stores from cutouts that arrive piece by piece, in any order."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cdshealpix.nested
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.coordinates import Latitude, Longitude

from targetsel.errors import CutoutError, OutputError, counted
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.orientation import UNKNOWN, Orientation
from targetsel.imaging.store import (
    ASINH,
    FLUX,
    KEY,
    ORIENTATION,
    PLAIN,
    SOURCE,
    Encoding,
    Layout,
    Packed,
    PartFooter,
    read_part,
)
from targetsel.imaging.store_listing import is_listed
from targetsel.imaging.stored_pixels import encode
from targetsel.sky.catalog import Catalog
from targetsel.sky.positions import SAME_PLACE, separation
from targetsel.tables.files import disk_errors, folder_written_beside, written_beside
from targetsel.tables.ids import matched
from targetsel.tables.parquet import FOOTER_KEY
from targetsel.tasks import task
from targetsel.workers.pool import read_ahead

SOURCES_PER_PART = 4096
SOURCES_PER_GROUP = 64

Piece = tuple[Cutouts, np.ndarray, np.ndarray]


class Positions(Protocol):
    """Sources with ids and positions [deg, ICRS], such as a `Catalog`; arrays of shape (N,)."""

    @property
    def source_id(self) -> np.ndarray: ...
    @property
    def ra(self) -> np.ndarray: ...
    @property
    def dec(self) -> np.ndarray: ...


class ImagesOfSources(Protocol):
    """Images that are packed: a `Folder` of files, `NestedImages`, or `Hdf5Images`."""

    @property
    def path(self) -> Path: ...
    @property
    def names(self) -> Collection[str]:
        """Ids of the sources that have images, as text, where they are known beforehand."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]: ...
    @property
    def settings(self) -> dict[str, Any]:
        """All that pixels depend on beside the files."""
        ...

    @property
    def rows_per_piece(self) -> int:
        """Sources to read at a time."""
        ...

    def sky_sigma(self) -> np.ndarray: ...
    def cutouts_of(self, sources: Catalog) -> Cutouts: ...
    def check_asked(self, not_asked: Collection[str], first: str) -> None:
        """Raise a CutoutError if no image is of a source of the catalog; `first` tells of one."""
        ...


def write_store(
    path: Path,
    pieces: Iterable[Piece],
    sky_sigma: Iterable[float],
    encoding: Encoding = ASINH,
    footer: Mapping[str, Any] | None = None,
) -> int:
    """Write a cutout store, whole or not at all; the number of sources in it.

    The same cutouts give the same bytes, however they are ordered and cut into pieces. Pieces go
    to a scratch file beside `path` (about the size of the store) and from there, sorted, into the
    store; in memory stay one piece and some 100 bytes per source.

    Parameters
    ----------
    path : Path
        Folder to write; a cutout store that is already there is replaced.
    pieces : iterable of (Cutouts, ra, dec)
        Positions of shape (N,) [deg, ICRS]. Sources that are not present are left out.
    sky_sigma : B floats
        Standard deviation of the sky in each band [nanomaggy/pixel]: the unit of the steps of
        "asinh-int16" (see `encoding`), recorded for both encodings.
    encoding : "asinh-int16" or "float32"
    footer : mapping, optional
        Provenance of the cutouts, written into every file under the key ``targetsel``.
    """
    check_replaceable(Path(path))
    with folder_written_beside(Path(path)) as folder:
        spill = _Spill(folder / "scratch", Path(path), tuple(map(float, sky_sigma)), encoding)
        with contextlib.closing(spill):
            for cutouts, ra, dec in pieces:
                spill.add(cutouts, np.asarray(ra), np.asarray(dec))
            sources = spill.sources()
            told = {} if footer is None else {FOOTER_KEY.decode(): json.dumps(footer)}
            parts = math.ceil(len(sources) / SOURCES_PER_PART)
            with task("writing the store", len(sources), "cutouts") as advance:
                for part in range(parts):
                    rows = sources.iloc[part * SOURCES_PER_PART : (part + 1) * SOURCES_PER_PART]
                    _write_part(folder / f"part-{part:05d}.parquet", spill, rows, part, parts, told)
                    advance(len(rows))
        return len(sources)


def write_store_file(
    path: Path,
    pieces: Iterable[Piece],
    sky_sigma: Iterable[float],
    encoding: Encoding = ASINH,
    footer: Mapping[str, Any] | None = None,
) -> int:
    """Write a cutout store of a single file, whole or not at all; the number of sources in it.

    Where no source has a cutout, no file is written. Parameters as of `write_store`; the columns
    of the orientation are always there, so that such files of one folder have the same.
    """
    spill = _Spill(
        path.with_name(f".{path.name}.scratch"), path, tuple(map(float, sky_sigma)), encoding
    )
    with disk_errors(path), contextlib.closing(spill):
        for cutouts, ra, dec in pieces:
            spill.add(cutouts, np.asarray(ra), np.asarray(dec))
        if spill.is_empty:
            return 0
        spill.is_oriented = True
        sources = spill.sources()
        told = {} if footer is None else {FOOTER_KEY.decode(): json.dumps(footer)}
        with written_beside(path) as beside:
            _write_part(beside, spill, sources, 0, 1, told)
    return len(sources)


@dataclass
class PackedCounts:
    """Counts of the sources of a catalog whose cutouts are packed; see `Packed`."""

    asked: int = 0
    elsewhere: int = 0
    first: str = ""  # words on the first source

    def add(self, piece: Positions, cutouts: Cutouts) -> None:
        if not self.first and len(piece.source_id):
            self.first = f", whose first is '{piece.source_id[0]}'"
        self.asked += len(piece.source_id)
        if cutouts.position is not None:
            apart = separation(piece.ra, piece.dec, *cutouts.position) * 3600
            self.elsewhere += int((apart > SAME_PLACE).sum())


def cut_pieces(
    images: ImagesOfSources, catalog: Iterable[Catalog], tally: PackedCounts, not_asked: set[str]
) -> Iterator[Piece]:
    """The cutouts of a catalog that is given in pieces, counted; read ahead of the writing.

    Its sources are taken out of `not_asked`.
    """

    def read(piece: Catalog) -> tuple[Catalog, Cutouts]:
        return piece, images.cutouts_of(piece)

    for piece, cutouts in read_ahead(read, catalog):
        tally.add(piece, cutouts)
        not_asked.difference_update(map(str, piece.source_id))
        yield cutouts, piece.ra, piece.dec


def of_needed(
    pieces: Iterable[Catalog], source_ids: np.ndarray, needed: np.ndarray
) -> Iterator[Catalog]:
    """The rows of needed sources.

    Parameters
    ----------
    pieces : iterable of Catalog
    source_ids, needed : ndarray, shape (N,)
        Ids, and whether each source is needed.
    """
    chosen = {*source_ids[needed].tolist()}
    for piece in pieces:
        rows = np.array([each in chosen for each in piece.source_id.tolist()], dtype=bool)
        if rows.any():
            yield Catalog(piece.table.filter(rows), piece.columns)


def pack(
    images: ImagesOfSources,
    catalog: Iterable[Catalog],
    path: Path,
    sky_sigma: Iterable[float],
    encoding: Encoding = ASINH,
) -> Packed:
    """Write the cutouts that `images` has of a catalog, given in pieces, into a store at `path`.

    Raises
    ------
    CutoutError
        If the images have no source of the catalog, or one of them cannot be used.
    """
    tally, not_asked = PackedCounts(), set(images.names)

    def pieces() -> Iterator[Piece]:
        yield from cut_pieces(images, catalog, tally, not_asked)
        images.check_asked(not_asked, tally.first)

    written = write_store(path, pieces(), sky_sigma, encoding)
    return Packed(
        written,
        tally.asked - written,
        tally.elsewhere,
        tuple(sorted(not_asked)),
        images.left_out,
    )


def pack_cutouts(
    cutouts: Cutouts, catalog: Catalog, path: Path, encoding: Encoding = ASINH
) -> Packed:
    """Write cutouts in memory of a catalog's sources into a store at `path`.

    Raises
    ------
    CutoutError
        If none of them is of a source of the catalog.
    """
    rows = matched(cutouts.source_id, catalog.source_id)
    if (rows < 0).all():
        first = f"{cutouts.source_id[0]} and {catalog.source_id[0]}"
        raise CutoutError(
            f"the cutouts: none of their {len(cutouts):,} ids is in the catalog (such as {first}). "
            "Give the catalog of these sources."
        )
    found, rows = cutouts.take(rows >= 0), rows[rows >= 0]
    pieces = [(found, catalog.ra[rows], catalog.dec[rows])]
    written = write_store(path, pieces, cutouts.sky_sigma(), encoding)
    others = tuple(map(str, cutouts.source_id[matched(cutouts.source_id, found.source_id) < 0]))
    return Packed(written, len(catalog) - written, not_asked=others)


class _Spill:
    """Encoded cutouts in a scratch file, in the order they came, and their places in it."""

    def __init__(
        self, path: Path, store: Path, sky_sigma: tuple[float, ...], encoding: Encoding
    ) -> None:
        self.path = path
        self.store = store
        self.sky_sigma = sky_sigma
        self.encoding = encoding
        self.layout: Layout | None = None
        self.is_oriented = False
        self._pieces: list[pd.DataFrame] = []
        self._example = ""  # of a source that was asked for
        self._codec = pa.Codec("zstd", compression_level=1)
        self._file = open(path, "w+b")  # noqa: SIM115

    def close(self) -> None:
        self._file.close()
        self.path.unlink()

    def add(self, cutouts: Cutouts, ra: np.ndarray, dec: np.ndarray) -> None:
        """Keep the cutouts that are present."""
        if not self._example and len(cutouts):
            self._example = f", such as '{cutouts.source_id[0]}'"
        cutouts, ra, dec = cutouts.take(cutouts.present), ra[cutouts.present], dec[cutouts.present]
        self._check_layout(cutouts)
        lie = cutouts.orientation or Orientation.of([UNKNOWN] * len(cutouts))
        starts = []
        for pixels in encode(cutouts.flux, self.sky_sigma, self.encoding):
            starts.append(self._file.tell())
            self._file.write(self._codec.compress(pixels.tobytes(), asbytes=True))
        piece = {
            "source_id": cutouts.source_id,
            "ra": ra,
            "dec": dec,
            "_healpix_29": _healpix(cutouts.source_id, ra, dec, self.store),
            "position_angle": lie.position_angle,
            "parity": lie.parity,
            "start": np.array(starts, dtype=np.int64),
            "length": np.diff([*starts, self._file.tell()]),
        }
        self._pieces.append(pd.DataFrame(piece))
        self.is_oriented |= bool(lie.known.any())

    @property
    def is_empty(self) -> bool:
        """Whether no cutout was kept."""
        return not any(map(len, self._pieces))

    def sources(self) -> pd.DataFrame:
        """All sources in the order of a store, with their places in the scratch file."""
        pieces = [piece for piece in self._pieces if len(piece)]
        if not pieces:
            raise CutoutError(
                f"{self.store}: not written, as no source has a cutout{self._example}. "
                "Use the same ids in the catalog and in the names of the images."
            )
        sources = pd.concat(pieces, ignore_index=True)
        twice = sources["source_id"].duplicated()
        if twice.any():
            raise CutoutError(
                f"{self.store}: not written, as {counted(twice.sum(), 'source')} came again, the "
                f"first is '{sources['source_id'][twice].iloc[0]}'. Give each source once."
            )
        return sources.sort_values(["_healpix_29", "source_id"], ignore_index=True)

    def pixels(self, rows: pd.DataFrame) -> np.ndarray:
        """The encoded pixels of some rows of `sources`, shape (N, B, H, W)."""
        assert self.layout is not None
        dtype, size = self.layout.pixel_type, int(np.prod(self.layout.shape))
        pixels = np.empty((len(rows), size), dtype)
        for row, (start, length) in enumerate(zip(rows["start"], rows["length"], strict=True)):
            self._file.seek(start)
            packed = self._file.read(length)
            plain = self._codec.decompress(packed, size * dtype.itemsize, asbytes=True)
            pixels[row] = np.frombuffer(plain, dtype)
        return pixels.reshape(len(rows), *self.layout.shape)

    def _check_layout(self, cutouts: Cutouts) -> None:
        """Check that a piece has the layout of the first one."""
        for band, sigma in zip(cutouts.bands, self.sky_sigma, strict=True):
            if not 0 < sigma < np.inf:
                raise CutoutError(
                    f"{self.store}: the sky sigma of band {band} is {sigma} nanomaggy/pixel, "
                    "expected a positive number. Is the band empty in every cutout? Leave it out."
                )
        height, width = cutouts.flux.shape[2:]
        layout = Layout(
            bands=cutouts.bands,
            pixel_scale=float(cutouts.pixel_scale),
            height=height,
            width=width,
            encoding=self.encoding,
            sky_sigma=self.sky_sigma,
        )
        if self.layout is None:
            self.layout = layout
        if layout != self.layout:
            raise CutoutError(
                f"{self.store}: not written, as {', '.join(layout.bands)} of {height} x {width} "
                f"pixels at {layout.pixel_scale:g} arcsec follow {', '.join(self.layout.bands)} of "
                f"{self.layout.height} x {self.layout.width} at {self.layout.pixel_scale:g}. "
                "One store takes cutouts of one kind: pack the others by themselves."
            )


def _write_part(
    path: Path,
    spill: _Spill,
    rows: pd.DataFrame,
    number: int,
    parts: int,
    told: Mapping[str, str],
) -> None:
    """One file of the store, row group by row group; `told` goes into its footer too.

    The orientation is no part of the hash, as nothing that is predicted depends on it.
    """
    assert spill.layout is not None
    digest = hashlib.sha256()
    id_type = pa.int64() if pd.api.types.is_integer_dtype(rows["source_id"]) else pa.string()
    names = [*PLAIN, *(ORIENTATION if spill.is_oriented else ())]
    key, *others = (SOURCE[name].field for name in names)
    flux = pa.field(FLUX.name, spill.layout.flux_type, nullable=False)
    schema = pa.schema([key.with_type(id_type), *others, flux])
    pixel_encoding = "DELTA_BINARY_PACKED" if spill.encoding == ASINH else "BYTE_STREAM_SPLIT"
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        column_encoding={"flux.list.element": pixel_encoding},
        write_statistics=names,
        write_page_checksum=True,
    ) as writer:
        for start in range(0, len(rows), SOURCES_PER_GROUP):
            group = rows.iloc[start : start + SOURCES_PER_GROUP]
            pixels = spill.pixels(group)
            digest.update(json.dumps(group[list(PLAIN)].to_dict("list")).encode())
            digest.update(pixels.tobytes())
            columns = [
                pa.array(group[name], schema.field(name).type, from_pandas=True) for name in names
            ]
            columns.append(pa.FixedShapeTensorArray.from_numpy_ndarray(pixels))
            writer.write_table(pa.table(columns, schema=schema))
        entry = PartFooter(
            **dict(spill.layout), part=number, parts=parts, sha256=digest.hexdigest()
        )
        text = json.dumps(entry.model_dump(), sort_keys=True)
        writer.add_key_value_metadata({KEY.decode(): text, **told})


def _healpix(source_id: np.ndarray, ra: np.ndarray, dec: np.ndarray, store: Path) -> np.ndarray:
    """Nested HEALPix cell of order 29, int64, shape (N,)."""
    bad = ~(np.isfinite(ra) & (np.abs(dec) <= 90))
    if bad.any():
        row = int(np.argmax(bad))
        raise CutoutError(
            f"{store}: not written, as source '{source_id[row]}' lies at ra {ra[row]}, "
            f"dec {dec[row]}, not on the sky. Expected ICRS degrees."
        )
    cells = cdshealpix.nested.lonlat_to_healpix(
        Longitude(ra, unit="deg"), Latitude(dec, unit="deg"), depth=29
    )
    return cells.astype(np.int64)


def check_replaceable(path: Path) -> None:
    """Raise an OutputError if `path` is neither free nor a cutout store."""
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Create it first.")
    if not path.exists() or (path.is_dir() and is_listed(path)):
        return
    try:
        for file in path.iterdir():
            read_part(file)
    except (OSError, CutoutError) as error:
        raise OutputError(
            f"{path}: already exists and is not a cutout store. Remove it or choose another place."
        ) from error
