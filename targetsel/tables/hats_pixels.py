"""The pixels of HATS catalogs: names of their files, their order, and checks of a set of them."""

from __future__ import annotations

import csv
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from targetsel.errors import CatalogError, counted
from targetsel.tables.reading import reading

DEEPEST = 29  # HEALPix order of the column by which rows are sorted
_PLACE = re.compile(r"Norder=(\d+)/(?:Dir=\d+/)?Npix=(\d+)(?=[./]|$)")


@functools.total_ordering
@dataclass(frozen=True)
class Pixel:
    """A pixel of HEALPix, nested; pixels are sorted by their place on the sky.

    Attributes
    ----------
    order : int
        0 for the twelve base pixels, to 29.
    number : int

    Raises
    ------
    CatalogError
        If there is no such pixel.
    """

    order: int
    number: int

    def __post_init__(self) -> None:
        if not 0 <= self.order <= DEEPEST or not 0 <= self.number < 12 * 4**self.order:
            raise CatalogError(
                f"HEALPix has no pixel {self.number} of order {self.order}; expected orders of 0 "
                f"to {DEEPEST}, and 12 x 4^order pixels counted from 0. Copy the catalog again."
            )

    def __lt__(self, other: Pixel) -> bool:
        return (self.range29[0], self.order) < (other.range29[0], other.order)

    @classmethod
    def of_path(cls, path: Path | str) -> Pixel:
        """The pixel whose rows are in a file, as the names of its folders say.

        Raises
        ------
        CatalogError
            If they do not.
        """
        found = _PLACE.search(Path(path).as_posix())
        if not found:
            raise CatalogError(
                f"{path}: is no partition of a HATS catalog; expected a place such as "
                f"{cls(2, 33).name}.parquet. Name a file below the catalog's folder dataset."
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def name(self) -> str:
        """Its place in a catalog, without an ending."""
        return f"Norder={self.order}/Dir={self.number // 10_000 * 10_000}/Npix={self.number}"

    def file(self, root: Path, suffix: str = ".parquet") -> Path:
        """The file of its rows in the catalog at `root`; the folder of them for the suffix "/"."""
        return root / "dataset" / f"{self.name}{suffix.rstrip('/')}"

    @property
    def range29(self) -> tuple[int, int]:
        """Its first pixel of order 29, and one past its last."""
        size = 4 ** (DEEPEST - self.order)
        return self.number * size, (self.number + 1) * size


def partitions_in(root: Path, suffix: str = ".parquet") -> Iterator[Pixel]:
    """The pixels whose files, or folders for the suffix "/", are in a catalog's folder."""
    for folder in root.glob("dataset/Norder=*/Dir=*"):
        for each in folder.iterdir():
            named = each.name.removesuffix(suffix) if suffix != "/" else each.name
            if re.fullmatch(r"Npix=\d+", named) and (named != each.name or suffix == "/"):
                yield Pixel.of_path(each)


def in_order_of_the_sky(paths: list[Path]) -> list[Path]:
    """The files of partitions in the order of their pixels, those of one pixel by name.

    They stay as they are where one is of no partition.
    """
    if not all(_PLACE.search(each.as_posix()) for each in paths):
        return paths
    return sorted(paths, key=lambda each: (Pixel.of_path(each).range29[0], each))


def pixels_listed(path: Path) -> Iterator[Pixel]:
    """The pixels that a catalog's partition_info.csv lists."""
    with reading(path, CatalogError, "a list of partitions"):
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    for line, row in enumerate(rows, start=2):
        try:
            order, number = int(row["Norder"]), int(row["Npix"])
        except (KeyError, TypeError, ValueError):
            raise CatalogError(
                f"{path}, line {line}: expected columns Norder and Npix with whole numbers. "
                "Copy the catalog again."
            ) from None
        yield Pixel(order, number)


def check_apart_pixels(root: Path, pixels: Sequence[Pixel]) -> None:
    """Refuse sorted pixels of which one is there twice, or holds another."""
    for one, other in itertools.pairwise(pixels):
        if one == other:
            raise CatalogError(
                f"{root}: pixel {one.name} is there twice; expected each once. "
                "Copy the catalog again."
            )
        if other.range29[0] < one.range29[1]:
            raise CatalogError(
                f"{root}: pixel {one.name} holds pixel {other.name}; expected pixels that do not "
                "overlap. Remove one of both, or make the catalog again."
            )


def check_partitions(
    root: Path, pixels: Sequence[Pixel], there: Sequence[Pixel], suffix: str = ".parquet"
) -> None:
    """Refuse files in a catalog's folder that are not those of its pixels."""
    if not pixels:
        raise CatalogError(f"{root}: has no partition with rows. Copy the catalog again.")
    if missing := sorted({*pixels} - {*there}):
        raise CatalogError(
            f"{missing[0].file(root, suffix)}: is not there; {len(missing):,} of "
            f"{counted(len(pixels), 'partition')} are missing. Copy the catalog again."
        )
    if more := sorted({*there} - {*pixels}):
        raise CatalogError(
            f"{more[0].file(root, suffix)}: is no partition of this catalog, which has "
            f"{counted(len(pixels), 'other partition')}. Remove the file, or make the catalog "
            "again."
        )
