"""What the folders of HATS tables say of themselves: kind, properties, number of rows.

HATS, of the IVOA Note of that name, is a folder with a file ``hats.properties`` (also
``properties``) and Parquet files ``Norder=k/Dir=d/Npix=n.parquet``, one for each HEALPix pixel that
holds sources. A collection is a folder of such folders: the catalog, and tables that repeat its
rows, margins and indexes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from targetsel.errors import CatalogError, counted
from targetsel.tables.reading import reading

OF_HATS = ("Norder", "Dir", "Npix")  # keys of a HATS catalog's folders, which are no columns
REPEATING = ("margin", "index", "association", "map")  # kinds of HATS tables without own sources
PROPERTIES = ("hats.properties", "properties")  # files of one content; readers look for the first


def primary_of(folder: Path) -> Path:
    """The primary catalog of a HATS collection; the folder itself where it is none.

    Raises
    ------
    CatalogError
        If the collection's primary table is missing, or the folder is that of a margin, an index
        or another table that repeats rows.
    """
    collection = _entries(folder / "collection.properties")
    if collection:
        name = collection.get("hats_primary_table_url", "")
        primary = folder / name
        if not name or ".." in Path(name).parts or not primary.is_dir():
            raise CatalogError(
                f"{folder}: its collection.properties names the primary table '{name}', which is "
                "not there. Copy the collection again, or name the folder of a catalog."
            )
        folder = primary
    kind, of = hats_kind(folder)
    if kind in REPEATING:
        hint = f", {of}" if of else ""
        raise CatalogError(
            f"{folder}: is the {kind} of a HATS catalog, whose rows repeat those of the catalog. "
            f"Name the catalog itself{hint}."
        )
    return folder


def files_of_one_catalog(folder: Path, paths: list[Path]) -> list[Path]:
    """The files in a folder, without those that are not rows of the one HATS catalog in it.

    Files that lie in no HATS table are all kept where none does.

    Raises
    ------
    CatalogError
        If the folder holds several HATS catalogs, or margins and indexes alone.
    """
    homes = {path: _hats_folder(folder, path) for path in paths}
    if not any(homes.values()):
        return paths
    catalogs = {home for home in homes.values() if home and hats_kind(home)[0] not in REPEATING}
    if len(catalogs) != 1:
        names = ", ".join(sorted(str(each.relative_to(folder)) for each in catalogs)) or "none"
        raise CatalogError(
            f"{folder}: holds several HATS tables, and not one catalog (catalogs: {names}). Name "
            "the folder of one."
        )
    return [path for path in paths if homes[path] in catalogs]


def check_rows_of_hats(folder: Path, path: Path, found: int) -> None:
    """Refuse a HATS catalog whose files hold other rows than its properties count.

    Parameters
    ----------
    folder : Path
        What is read. Of a part of a catalog nothing is known, so that nothing is checked.
    path : Path
        A file of it.
    found : int
        Number of rows in all its files.

    Raises
    ------
    CatalogError
    """
    home = _hats_folder(folder, path)
    if home is None or (home != folder and folder not in home.parents):
        return
    said = rows_said(home, properties_of(home))
    if said is not None and said != found:
        raise CatalogError(
            f"{home}: its files hold {counted(found, 'row')}, but its properties count "
            f"{said:,} (hats_nrows); are files missing? Copy the catalog again."
        )


def rows_said(folder: Path, properties: Mapping[str, str]) -> int | None:
    """The number of rows that a HATS table's properties count; None where they do not say.

    Raises
    ------
    CatalogError
        If it is no number.
    """
    said = properties.get("hats_nrows", "")
    if said and not (said.isascii() and said.isdecimal()):
        raise CatalogError(
            f"{folder}: its properties say hats_nrows={said}; expected a whole number. "
            "Copy the catalog again, or correct the line."
        )
    return int(said) if said else None


def properties_of(folder: Path) -> dict[str, str]:
    """The properties of a HATS table of the present format; none of another folder.

    Raises
    ------
    CatalogError
        If the file is no text.
    """
    return _entries(folder / PROPERTIES[0]) or _entries(folder / PROPERTIES[1])


def position_columns(path: Path | str) -> dict[str, str]:
    """The names of the columns "ra" and "dec" that a HATS catalog or collection says; or none."""
    folder = Path(path)
    if not folder.is_dir() or not is_hats(folder):
        return {}
    said = properties_of(primary_of(folder))
    named = {role: said.get(f"hats_col_{role}", "") for role in ("ra", "dec")}
    return {role: name for role, name in named.items() if name}


def hats_kind(folder: Path) -> tuple[str, str]:
    """The kind of a HATS table, and the name of the catalog it belongs to, where they are said."""
    found = properties_of(folder)
    if found:
        return found.get("dataproduct_type", ""), found.get("hats_primary_table_url", "")
    try:
        older = json.loads((folder / "catalog_info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "", ""
    older = older if isinstance(older, dict) else {}
    return str(older.get("catalog_type", "")), str(older.get("primary_catalog", ""))


def is_hats(path: Path) -> bool:
    """Whether a folder is that of a HATS table or collection of the present format."""
    if not path.is_dir():
        return False
    if (path / "collection.properties").is_file():
        return True
    return any((path / name).is_file() for name in PROPERTIES) and (
        "dataproduct_type" in properties_of(path) or (path / "dataset").is_dir()
    )


def partition_home(path: Path) -> Path | None:
    """The folder of the HATS catalog that a file or folder is a partition of; None for others."""
    above = [*path.parents[:4]]
    keys = [each.name.partition("=")[0] for each in above[:3]]
    return above[3] if len(above) == 4 and keys == ["Dir", "Norder", "dataset"] else None


def _hats_folder(folder: Path, path: Path) -> Path | None:
    """The HATS catalog, `folder` or one below it, that a file lies in; None for other files."""
    for parent in path.parents:
        if parent.name.startswith("Norder="):
            root = parent.parent
            return root.parent if root.name == "dataset" and root != folder else root
        if parent == folder:
            return None
    return None


def _entries(path: Path) -> dict[str, str]:
    """The entries of a Java properties file; empty where there is none."""
    if not path.is_file():
        return {}
    with reading(path, CatalogError, "a properties file"):
        lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}
