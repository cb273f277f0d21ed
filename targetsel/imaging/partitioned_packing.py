"""Cutouts of a HATS catalog packed partition by partition; a run that was stopped goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from targetsel.errors import CutoutError, OutputError
from targetsel.imaging.nested_images import without_images
from targetsel.imaging.packing import (
    ImagesOfSources,
    PackedCounts,
    Piece,
    check_replaceable,
    cut_pieces,
    write_store_file,
)
from targetsel.imaging.store import ASINH, Encoding, Packed, Part, listed_parts, read_part
from targetsel.imaging.store_listing import LISTING, SETTINGS, ListedFile, StoreListing, is_listed
from targetsel.sky.catalog import ROWS_PER_READ, CatalogFile
from targetsel.sky.partitions import partitions_of
from targetsel.tables.files import check_apart, folder_written_beside, make_folder
from targetsel.tables.hats import HatsCatalog, Pixel
from targetsel.tables.journal import check_settings
from targetsel.tables.parquet import says_simulated
from targetsel.tasks import task


def pack_partitions(
    images: ImagesOfSources,
    catalog: HatsCatalog,
    path: Path,
    encoding: Encoding,
    columns: Mapping[str, str | None],
) -> Packed:
    """Write the cutouts that `images` has of a HATS catalog, a file for each partition.

    Files that are whole stay, so that the same call goes on where an earlier one was stopped; the
    listing is written last (see `store_listing`). In memory stays what `write_store` needs for one
    partition.

    Parameters
    ----------
    images : Folder, NestedImages or Hdf5Images
    catalog : HatsCatalog
    path : Path
        The folder to write.
    encoding : "asinh-int16" or "float32"
    columns : mapping
        Names of the columns "ra_col", "dec_col" and "id_col" that are not found by themselves.

    Raises
    ------
    CatalogError
        If the catalog cannot be used.
    CutoutError
        If the images have no source of the catalog, or one of them cannot be used.
    OutputError
        If the folder holds something else, or what was packed from other images or options.
    """
    sigma = tuple(map(float, images.sky_sigma()))
    whole = CatalogFile.open(catalog.root, **columns)
    settings = {
        **images.settings,
        "sky_sigma": sigma,
        "encoding": encoding,
        "columns": dict(whole.columns),
        "catalog": catalog.fingerprint,
    }
    _begin(path, catalog, settings)
    tally, not_asked = PackedCounts(), set(images.names)
    written = 0
    with task("packing", len(catalog.pixels), "partitions") as advance:
        for pixel, sources in partitions_of(whole):
            file = pixel.file(path)
            if (there := _whole(file)) is None:
                make_folder(file.parent)
                file.unlink(missing_ok=True)  # damaged; there may be no cutout any more
                pieces = cut_pieces(
                    images, sources.batches(images.rows_per_piece), tally, not_asked
                )
                written += write_store_file(file, pieces, sigma, encoding)
            else:
                tally.asked += sources.num_rows
                written += sum(there.group_rows)
                bare = without_images(sources)
                for piece in bare.batches(ROWS_PER_READ) if not_asked else ():
                    not_asked.difference_update(map(str, piece.source_id))
            advance(1)
    images.check_asked(not_asked, tally.first)
    _finish(path, catalog)
    return Packed(
        written, tally.asked - written, tally.elsewhere, tuple(sorted(not_asked)), images.left_out
    )


def _begin(path: Path, catalog: HatsCatalog, settings: Mapping[str, Any]) -> None:
    """Make the folder, or check that the one that is there was begun with the same settings."""
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Create it first.")
    check_apart([path], [catalog.root])
    if path.exists() and not is_listed(path) and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(
            f"{path}: already exists and is not a cutout store in partitions. Remove it or choose "
            "another place."
        )
    if (path / LISTING).exists() and not (path / SETTINGS).exists():
        raise OutputError(
            f"{path}: holds cutouts that were fetched, and no images can be packed to them. Choose "
            "another place."
        )
    make_folder(path)
    check_settings(path / SETTINGS, settings)


def _whole(file: Path) -> Part | None:
    """The file of a partition that an earlier run wrote; None where it is not there, or damaged."""
    try:
        return read_part(file) if file.exists() else None
    except CutoutError:
        return None


def write_partitions(
    path: Path,
    partitions: Iterable[tuple[Pixel, Iterable[Piece]]],
    sky_sigma: Iterable[float],
    encoding: Encoding = ASINH,
) -> int:
    """Write a store in partitions, whole or not at all; the number of sources in it.

    Parameters
    ----------
    path : Path
        Folder to write; a cutout store that is already there is replaced.
    partitions : iterable of (Pixel, pieces)
        In the order of the sky; pieces, `sky_sigma` and `encoding` as of `packing.write_store`.

    Raises
    ------
    CutoutError
        If no source has a cutout.
    OutputError
        If something else is at `path`, or it cannot be written.
    """
    check_replaceable(path)
    sky_sigma = [*sky_sigma]
    with folder_written_beside(path) as folder:
        pixels, written = [], 0
        for pixel, pieces in partitions:
            make_folder(pixel.file(folder).parent)
            written += write_store_file(pixel.file(folder), pieces, sky_sigma, encoding)
            pixels.append(pixel)
        if not written:
            raise CutoutError(
                f"{path}: not written, as no source has a cutout; expected one of some source. "
                "Name a catalog of sources with images."
            )
        _list_files(folder, pixels)
    return written


def _finish(path: Path, catalog: HatsCatalog) -> None:
    """List the files of all partitions; what a run left that was killed goes."""
    for litter in path.rglob(".*.scratch"):
        litter.unlink()
    if not any(pixel.file(path).exists() for pixel in catalog.pixels):
        raise CutoutError(
            f"{path}: no source of {catalog.root} has a cutout. Use the same ids in the catalog "
            "and in the names of the images."
        )
    _list_files(path, catalog.pixels)


def _list_files(path: Path, pixels: Iterable[Pixel]) -> None:
    """Write the listing of a store whose files are all there: of partitions with cutouts."""
    files, simulated = [], False
    for pixel in pixels:
        if pixel.file(path).exists():
            part = read_part(pixel.file(path))
            files.append(_entry(pixel, part))
            simulated = simulated or says_simulated(part.footer)
    listed_parts(path, files)
    StoreListing(simulated=simulated, files=tuple(files)).write(path)


def _entry(pixel: Pixel, part: Part) -> ListedFile:
    return ListedFile(
        order=pixel.order,
        number=pixel.number,
        rows=sum(part.group_rows),
        sha256=part.entry.sha256,
    )
