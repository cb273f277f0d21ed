"""Catalogs in HATS that are read from object stores and web servers, or written to object stores.

Rows are brought partition by partition, by whoever scores them, and are removed again. What is
made of a partition is uploaded as soon as it is done; the properties, by which the folder becomes
a catalog, come last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Self

from targetsel.errors import CatalogError, OutputError, TargetselError
from targetsel.jobs.job import Job
from targetsel.remote.copies import begun_here, copies, show_addresses
from targetsel.remote.places import Place
from targetsel.remote.stores import RemoteFile
from targetsel.remote.transfer import bring, files_in, find, send
from targetsel.scored.file import ScoredFile
from targetsel.sky.catalog import CatalogFile
from targetsel.tables.hats import HatsCatalog, Pixel
from targetsel.tables.hats_pixels import check_apart_pixels, check_partitions, pixels_listed
from targetsel.tables.hats_properties import PROPERTIES, properties_of


@dataclass(frozen=True, eq=False, repr=False)
class RemoteHats(HatsCatalog):
    """A HATS catalog whose properties alone are on disk.

    Attributes
    ----------
    place : Place
        Where all of it is.
    files : mapping of Pixel to RemoteFile
    """

    place: Place
    files: Mapping[Pixel, RemoteFile]

    @classmethod
    def at(cls, place: Place) -> Self:
        """The catalog at a place; no row is read.

        Raises
        ------
        CatalogError
            If there is none, its partitions are folders, or some are missing.
        RemoteError
            If it cannot be read.
        """
        root = copies.fetched_without_rows(place)
        if root is None:
            raise CatalogError(
                f"{place}: has no {PROPERTIES[0]}, so it is no HATS catalog. Name the folder of "
                "one."
            )
        root.mkdir(exist_ok=True)
        properties = properties_of(root)
        suffix = properties.get("hats_npix_suffix", ".parquet")
        if suffix == "/":
            raise CatalogError(
                f"{place}: its partitions are folders; expected files. Copy it here, and name the "
                "copy."
            )
        listed = root / "partition_info.csv"
        pixels = sorted(pixels_listed(listed)) if listed.is_file() else []
        files = _files_of(place, pixels, suffix)
        pixels = pixels or sorted(files)
        try:
            check_apart_pixels(root, pixels)
            check_partitions(root, pixels, sorted(files), suffix)
        except TargetselError as error:
            show_addresses(error)
            raise
        return cls(root, properties, tuple(pixels), place, files)

    def sizes_of(self, pixel: Pixel) -> list[int]:
        """The size of a pixel's file [byte]; 0 where a web server does not say."""
        return [self.files[pixel].size or 0]

    @contextlib.contextmanager
    def brought(self, pixel: Pixel) -> Iterator[Path]:
        """The file of a pixel's rows, on disk within the block."""
        path = self.path_of(pixel)
        path.parent.mkdir(parents=True, exist_ok=True)
        bring(_of_pixel(self.place, pixel, self.suffix), self.files[pixel], path)
        try:
            yield path
        except TargetselError as error:
            show_addresses(error)
            raise
        finally:
            path.unlink(missing_ok=True)


def _files_of(place: Place, pixels: list[Pixel], suffix: str) -> dict[Pixel, RemoteFile]:
    """The files of partitions: those listed, or where nothing is listed, those in the folder."""
    if place.is_web:
        found = {each: find(_of_pixel(place, each, suffix)) for each in pixels}
        return {each: file for each, file in found.items() if file is not None}
    files = files_in(place / "dataset")
    return {
        Pixel.of_path(each.key): file
        for each, file in files.items()
        if "/Npix=" in each.key and each.key.endswith(suffix)
    }


def _of_pixel(place: Place, pixel: Pixel, suffix: str = ".parquet") -> Place:
    """The place of a partition."""
    return place / pixel.file(Path(), suffix).as_posix()


def opened(catalog: Path | str) -> HatsCatalog:
    """A HATS catalog on disk, or one whose rows stay in an object store or on a web server.

    Parameters
    ----------
    catalog : Path or str
        Its folder, its address, or the copy of its properties.

    Raises
    ------
    CatalogError
        If there is none.
    RemoteError
        If it cannot be read.
    """
    place = Place.of(catalog) or copies.rows_at(Path(catalog))
    return HatsCatalog.open(catalog) if place is None else RemoteHats.at(place)


def named(catalog: HatsCatalog) -> str:
    """What `opened` takes, in any process."""
    return str(catalog.place if isinstance(catalog, RemoteHats) else catalog.root.resolve())


def here(path: str, address: str) -> Path:
    """A folder; or where this machine does not see it, a copy made anew of its original.

    Parameters
    ----------
    path : str
    address : str
        The original's; empty where it is no copy.

    Raises
    ------
    RemoteError
        If the original cannot be read.
    """
    place = None if Path(path).exists() else Place.of(address)
    return Path(path) if place is None else copies.fetched(place)


@contextlib.contextmanager
def rows_of(catalog: HatsCatalog, pixel: Pixel) -> Iterator[Path]:
    """The file of a pixel's rows, or the folder of its files, on disk within the block."""
    if isinstance(catalog, RemoteHats):
        with catalog.brought(pixel) as path:
            yield path
    else:
        yield catalog.path_of(pixel)


def whole_of(catalog: HatsCatalog, columns: Mapping[str, str | None]) -> CatalogFile:
    """The columns of a catalog; of one that is not on disk, by its first partition."""
    if not isinstance(catalog, RemoteHats):
        return CatalogFile.open(catalog.root, **columns)
    with rows_of(catalog, catalog.pixels[0]) as path:
        return CatalogFile.open(path, **columns)


@contextlib.contextmanager
def scored_whole(catalog: HatsCatalog, columns: Iterable[str] = ()) -> Iterator[ScoredFile]:
    """A scored catalog that must have these columns, open within the block.

    Of one that is not on disk, it is the first partition.
    """
    if isinstance(catalog, RemoteHats):
        with rows_of(catalog, catalog.pixels[0]) as path, ScoredFile(path, columns) as file:
            yield file
    else:
        with ScoredFile(catalog.root, columns) as file:
            yield file


def files_of_rows(catalog: HatsCatalog, whole: CatalogFile) -> Iterator[CatalogFile]:
    """The whole catalog at once where it is on disk, or else its partitions one by one."""
    if not isinstance(catalog, RemoteHats):
        yield whole
        return
    roles = {"ra_col": "ra", "dec_col": "dec", "id_col": "source_id"}
    given = {option: whole.columns[role] for option, role in roles.items()}
    for pixel in catalog.pixels:
        with rows_of(catalog, pixel) as path:
            yield replace(CatalogFile.open(path, **given), schema=whole.schema)


# --- results --------------------------------------------------------------------------------------


def folder_for(output: Path) -> tuple[Path, Place | None]:
    """The folder of a job, and where its result is published, if it is."""
    place = copies.place_of(output)
    return (output, None) if place is None else (Path.cwd() / output.name, place)


def job_of(output: Path | str | PathLike[str]) -> Job:
    """The job that writes to a folder, or to an address from the working directory.

    Raises
    ------
    OutputError
        If there is none.
    """
    place = Place.of(output)
    if place is None:
        return Job.open(Path(output))
    name = place.key.rpartition("/")[2]
    if begun_here(place):
        job = Job.open(Path.cwd() / name)
        if job.settings.get("published") == str(place):
            return job
    raise OutputError(
        f"{place}: no job that writes there was begun in this directory. Go where it was begun, "
        f"or name its folder there, '{name}'."
    )


def publish_part(path: Path, published: str, pixel: Pixel) -> None:
    """Upload what was made of a partition.

    Raises
    ------
    RemoteError
        If it cannot be written.
    """
    send(path, _of_pixel(_place(published), pixel))


def publish_rest(folder: Path, published: str) -> None:
    """Upload all of a finished catalog that are not partitions, the properties last.

    Raises
    ------
    RemoteError
        If it cannot be written.
    """
    place = _place(published)
    about = [folder / "partition_info.csv", *sorted((folder / "dataset").glob("_*"))]
    for each in (*about, *(folder / name for name in reversed(PROPERTIES))):
        send(each, place / each.relative_to(folder).as_posix())


def _place(published: str) -> Place:
    place = Place.of(published)
    assert place is not None
    return place
