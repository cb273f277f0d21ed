"""Scored catalogs by their names in a folder, for those who name none."""

from __future__ import annotations

from pathlib import Path

from targetsel.errors import CatalogError
from targetsel.tables.files import ASTROPY_FORMATS, PARQUET_SUFFIXES

SCORED = ".scored.parquet"
ARGUMENT = "the argument SCORED"


def scored_catalogs(folder: Path) -> list[Path]:
    """Files, and folders that `score` wrote of a catalog in HATS, that are named as it names them.

    Their names are sorted.
    """
    files = (each for each in folder.glob("*.scored.*") if _is_table(each))
    folders = (each for each in folder.glob("*.scored") if each.is_dir())
    return sorted([*files, *folders])


def _is_table(path: Path) -> bool:
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    return path.is_file() and ending in (*PARQUET_SUFFIXES, *ASTROPY_FORMATS) and ending != ".csv"


def only_scored_file(folder: Path = Path(), by: str = ARGUMENT) -> Path:
    """The only scored catalog of a folder.

    Parameters
    ----------
    folder : Path
    by : str
        The argument or option that names one, for errors.

    Raises
    ------
    CatalogError
        If there is none, or if there are several; it lists them.
    """
    found = scored_catalogs(folder)
    if len(found) == 1:
        return found[0]
    if not found:
        raise CatalogError(
            f"{folder.resolve()}: has no *{SCORED}. Name one as {by}, or make one with 'targetsel "
            "score'."
        )
    names = ", ".join(path.name for path in found)
    raise CatalogError(
        f"{folder.resolve()}: has several scored catalogs: {names}. Name one as {by}."
    )
