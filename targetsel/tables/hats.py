"""HATS catalogs: one Parquet file for each HEALPix pixel that holds sources, and files about them.

A `HatsCatalog` knows the pixels of a catalog on disk and where their rows are. `finish_hats` writes
what stands beside the rows, once all partitions are there::

    root/hats.properties, root/properties       names of columns, number of rows; written last
    root/partition_info.csv                     the pixels
    root/dataset/_common_metadata, _metadata    the columns; the footers of all partitions
    root/dataset/Norder=2/Dir=0/Npix=33.parquet the rows of one pixel of order 2

The pixels are disjoint, of whatever orders, and the same partitions give the same bytes: no date of
the day is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, absent, counted
from targetsel.tables.files import PARQUET_SUFFIXES, disk_errors, written_beside
from targetsel.tables.hats_pixels import (
    DEEPEST,
    check_apart_pixels,
    check_partitions,
    partitions_in,
    pixels_listed,
)
from targetsel.tables.hats_pixels import Pixel as Pixel
from targetsel.tables.hats_properties import (
    PROPERTIES,
    hats_kind,
    primary_of,
    properties_of,
    rows_said,
)
from targetsel.tables.hats_properties import is_hats as is_hats
from targetsel.tables.reading import reading
from targetsel.version import __version__

INDEX = "_healpix_29"  # column of pixels of order 29, by which rows are sorted
KINDS = ("object", "source")  # of tables with rows of their own


@dataclass(frozen=True, eq=False, repr=False)
class HatsCatalog:
    """A HATS catalog on disk.

    Attributes
    ----------
    root : Path
        The folder of its properties.
    properties : mapping of str
    pixels : tuple of Pixel
        Disjoint, in their order on the sky.
    """

    root: Path
    properties: Mapping[str, str]
    pixels: tuple[Pixel, ...]

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a catalog, or the primary catalog of a collection; no row is read.

        Parameters
        ----------
        path : Path or str
            The catalog's folder.

        Raises
        ------
        CatalogError
            If nothing is there, it is another table than a catalog (a margin, an index), its
            properties cannot be used, pixels overlap, or the files are not those of its pixels.
        """
        path = Path(path)
        if not path.exists():
            raise CatalogError(absent(path))
        root = primary_of(path)
        properties = properties_of(root)
        if not properties:
            raise CatalogError(
                f"{root}: has no {PROPERTIES[0]}, so it is no HATS catalog. Name the folder of "
                "one, or make one with 'targetsel partition'."
            )
        kind = hats_kind(root)[0]
        if kind not in KINDS:
            raise CatalogError(
                f"{root}: its properties say dataproduct_type={kind}; expected "
                f"{' or '.join(KINDS)}. Name the folder of a catalog."
            )
        rows_said(root, properties)
        suffix = properties.get("hats_npix_suffix", ".parquet")
        there = sorted(partitions_in(root, suffix))
        listed = root / "partition_info.csv"
        pixels = sorted(pixels_listed(listed)) if listed.is_file() else there
        check_apart_pixels(root, pixels)
        check_partitions(root, pixels, there, suffix)
        return cls(root, properties, tuple(pixels))

    def __repr__(self) -> str:
        rows = "" if self.num_rows is None else f"{counted(self.num_rows, 'row')} in "
        return f"HatsCatalog of {rows}{counted(len(self.pixels), 'partition')}: {self.root}"

    @property
    def name(self) -> str:
        return self.properties.get("obs_collection", self.root.name)

    @property
    def num_rows(self) -> int | None:
        """The number of rows that its properties count; None where they do not say."""
        return rows_said(self.root, self.properties)

    @property
    def suffix(self) -> str:
        """The ending of its partitions' names; "/" where they are folders of files."""
        return self.properties.get("hats_npix_suffix", ".parquet")

    @property
    def fingerprint(self) -> str:
        """A hash that changes with the partitions and the sizes of their files."""
        sizes = [(pixel.name, self.sizes_of(pixel)) for pixel in self.pixels]
        return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()

    def sizes_of(self, pixel: Pixel) -> list[int]:
        """The sizes of a pixel's files [byte]."""
        return [each.stat().st_size for each in self.files_of(pixel)]

    def path_of(self, pixel: Pixel) -> Path:
        """The file of a pixel's rows, or the folder of its files."""
        return pixel.file(self.root, self.suffix)

    def files_of(self, pixel: Pixel) -> list[Path]:
        """The files of a pixel's rows, in the order of their names.

        Raises
        ------
        CatalogError
            If the partition is a folder without files.
        """
        path = self.path_of(pixel)
        if not path.is_dir():
            return [path]
        files = [each for each in path.iterdir() if each.suffix.lower() in PARQUET_SUFFIXES]
        if not files:
            raise CatalogError(
                f"{path}: no Parquet file in this partition; expected some that end in .parquet. "
                "Copy the catalog again."
            )
        return sorted(each for each in files if not each.name.startswith((".", "_")))

    def rows_of(self, pixel: Pixel) -> int:
        """The number of rows of a pixel, from the footers of its files.

        Raises
        ------
        CatalogError
            If one is damaged.
        """
        return sum(_footer(each).num_rows for each in self.files_of(pixel))

    def check_inside(self, pixel: Pixel, healpix: np.ndarray) -> None:
        """Refuse rows of a partition that lie outside of its pixel.

        Parameters
        ----------
        pixel : Pixel
        healpix : ndarray of int64, shape (N,)
            Pixels of order 29 of the partition's rows.

        Raises
        ------
        CatalogError
        """
        first, end = pixel.range29
        outside = np.flatnonzero((healpix < first) | (healpix >= end))
        if len(outside):
            raise CatalogError(
                f"{self.path_of(pixel)}: {len(outside):,} of {counted(len(healpix), 'row')} lie "
                f"outside of pixel {pixel.number} of order {pixel.order}, the first is row "
                f"{outside[0]} (counted from 0). Was the file moved? Copy the catalog again."
            )


def _footer(path: Path) -> pq.FileMetaData:
    with reading(path, CatalogError, "a Parquet file"):
        return pq.read_metadata(path)


# --- writing --------------------------------------------------------------------------------------


def finish_hats(
    root: Path,
    name: str,
    pixels: Iterable[Pixel],
    *,
    ra_column: str,
    dec_column: str,
    properties: Mapping[str, str] = {},
) -> HatsCatalog:
    """Make a HATS catalog of partitions that are all written, each at `Pixel.file`.

    The properties are written last, so that a folder of a run that was stopped is no catalog.
    Partitions without rows are removed and left out.

    Parameters
    ----------
    root : Path
    name : str
        The catalog's name.
    pixels : iterable of Pixel
    ra_column, dec_column : str
        Names of the columns of positions [deg, ICRS].
    properties : mapping of str
        Further properties, or others than are written without them.

    Returns
    -------
    HatsCatalog

    Raises
    ------
    CatalogError
        If a partition is missing or damaged, has other columns than the first, overlaps another,
        is there and not named, or none has rows.
    OutputError
        If the files cannot be written.
    """
    with disk_errors(root):
        for each in PROPERTIES:
            (root / each).unlink(missing_ok=True)
        footers = {pixel: _footer(pixel.file(root)) for pixel in sorted({*pixels})}
        for pixel in [each for each, footer in footers.items() if not footer.num_rows]:
            pixel.file(root).unlink()
            del footers[pixel]
    kept = list(footers)
    check_apart_pixels(root, kept)
    check_partitions(root, kept, list(partitions_in(root)))
    schema = _one_schema(root, footers)
    for column in (ra_column, dec_column):
        if column not in schema.names:
            raise CatalogError(
                f"{kept[0].file(root)}: has no column '{column}'; expected the positions there. "
                "Write the partitions again."
            )
    _write_metadata(root, schema, footers)
    lines = ["Norder,Npix", *(f"{each.order},{each.number}" for each in kept)]
    _write_text(root / "partition_info.csv", lines)
    about = {**_about(root, name, footers), "hats_col_ra": ra_column, "hats_col_dec": dec_column}
    if INDEX in schema.names:
        about |= {"hats_col_healpix": INDEX, "hats_col_healpix_order": str(DEEPEST)}
    about |= properties
    told = ["#HATS catalog", *(f"{key}={' '.join(said.split())}" for key, said in about.items())]
    for each in reversed(PROPERTIES):
        _write_text(root / each, told)
    return HatsCatalog.open(root)


def _about(root: Path, name: str, footers: Mapping[Pixel, pq.FileMetaData]) -> dict[str, str]:
    """The properties that follow from the partitions."""
    rows = [footer.num_rows for footer in footers.values()]
    n_bytes = sum(pixel.file(root).stat().st_size for pixel in footers)
    share = sum(4.0**-pixel.order for pixel in footers) / 12
    return {
        "obs_collection": name,
        "dataproduct_type": KINDS[0],
        "hats_nrows": str(sum(rows)),
        "hats_npix_suffix": ".parquet",
        "hats_max_rows": str(max(rows)),
        "hats_order": str(max(pixel.order for pixel in footers)),
        "moc_sky_fraction": f"{share:.5g}",
        "hats_estsize": str(-(-n_bytes // 1024)),  # KiB
        "hats_builder": f"targetsel {__version__}",
        "hats_version": "v1.0",
    }


def _one_schema(root: Path, footers: Mapping[Pixel, pq.FileMetaData]) -> pa.Schema:
    """The schema of all partitions, with the entries of footers in which all agree."""
    first, *others = footers
    schema = footers[first].schema.to_arrow_schema()
    common = {*(footers[first].metadata or {}).items()}
    for pixel in others:
        its = footers[pixel].schema.to_arrow_schema()
        if not its.equals(schema):
            raise CatalogError(
                f"{pixel.file(root)}: has not the columns of {first.file(root)}, or not of the "
                "same types. The partitions of a catalog must have the same columns; write it "
                "again."
            )
        common &= {*(footers[pixel].metadata or {}).items()}
    entries = {key: said for key, said in sorted(common) if key != b"ARROW:schema"}
    return schema.with_metadata(entries or None)


def _write_metadata(
    root: Path, schema: pa.Schema, footers: Mapping[Pixel, pq.FileMetaData]
) -> None:
    """Write the columns, and the footers of all partitions with their places."""
    for pixel, footer in footers.items():
        footer.set_file_path(f"{pixel.name}.parquet")
    with written_beside(root / "dataset" / "_common_metadata") as beside:
        pq.write_metadata(schema, beside)
    with written_beside(root / "dataset" / "_metadata") as beside:
        pq.write_metadata(schema, beside, metadata_collector=list(footers.values()))


def _write_text(path: Path, lines: Sequence[str]) -> None:
    with written_beside(path) as beside:
        beside.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")
