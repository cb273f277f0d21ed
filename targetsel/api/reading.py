"""Files and folders read as what their content shows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from targetsel.api.given import AnyPath
from targetsel.errors import CutoutError, SpectrumError, TargetselError, unknown
from targetsel.remote.copies import with_addresses
from targetsel.rules.rules import Rules

if TYPE_CHECKING:
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.store import CutoutStore
    from targetsel.scored.rows import Scored
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.selection.target_list import TargetList
    from targetsel.sky.catalog import Catalog

Kind: TypeAlias = Literal["catalog", "scored", "targets", "cutouts", "images", "ensemble", "rules"]
Thing: TypeAlias = "Catalog | Scored | TargetList | CutoutStore | Folder | Ensemble | Rules"

ENCODED = {"latent_mean", "chi2", "covered"}  # columns of what `spectra encode` writes
KINDS = {
    "catalog": ("sky.catalog", "Catalog", "read"),
    "scored": ("scored.rows", "Scored", "read"),
    "targets": ("selection.target_list", "TargetList", "read"),
    "cutouts": ("imaging.store", "CutoutStore", "open"),
    "images": ("imaging.folder", "Folder", "open"),
    "ensemble": ("scoring.ensemble", "Ensemble", "read"),
    "rules": ("rules.rules", "Rules", "read"),
}


@overload
def read(path: AnyPath, kind: None = None) -> Thing: ...
@overload
def read(path: AnyPath, kind: Literal["catalog"]) -> Catalog: ...
@overload
def read(path: AnyPath, kind: Literal["scored"]) -> Scored: ...
@overload
def read(path: AnyPath, kind: Literal["targets"]) -> TargetList: ...
@overload
def read(path: AnyPath, kind: Literal["cutouts"]) -> CutoutStore: ...
@overload
def read(path: AnyPath, kind: Literal["images"]) -> Folder: ...
@overload
def read(path: AnyPath, kind: Literal["ensemble"]) -> Ensemble: ...
@overload
def read(path: AnyPath, kind: Literal["rules"]) -> Rules: ...
@with_addresses()
def read(path: AnyPath, kind: Kind | None = None) -> Thing:
    """Read a file or folder as the kind of thing that its content shows, or that is asked for.

    Parameters
    ----------
    path : str or Path
        A catalog in any format, a scored catalog, a target list, a cutout store, a folder of
        images, an ensemble, or a rule file. In catalogs the columns of ids and positions [deg] are
        found by their usual names; `Catalog.read` takes other names.
    kind : str, optional
        "catalog", "scored", "targets", "cutouts", "images", "ensemble" or "rules": what it must be.
        Type checkers then know what comes back.

    Returns
    -------
    Catalog, Scored, TargetList, CutoutStore, Folder, Ensemble or Rules

    Raises
    ------
    TargetselError
        If there is nothing at the path, or it is damaged or of no known kind.
    SpectrumError
        If it holds the latents of spectra, which no class here does, and no kind is asked for.

    See Also
    --------
    Catalog.read : Catalogs whose columns have other names.
    Folder.open : Images whose bands or scale are not in their headers.

    Examples
    --------
    >>> import targetsel as ts
    >>> catalog = ts.read("catalog.parquet")
    >>> type(catalog).__name__, type(ts.read("cutouts")).__name__
    ('Catalog', 'CutoutStore')
    >>> catalog.ra.shape == catalog.source_id.shape
    True
    >>> rules = ts.read("emission", "rules")
    """
    place = Path(path)
    if kind is not None:
        return _read_as(place, kind)
    if place.suffix.lower() in (".yaml", ".yml"):
        return Rules.read(place)
    is_name = str(path) == place.name and not place.suffix and not place.exists()
    if is_name or (place / "card.json").exists():
        from targetsel.scoring.ensemble import Ensemble

        return Ensemble.read(str(path) if is_name else place)
    if place.is_dir() and (found := images_in(place)) is not None:
        return found
    return _read_table(place)


def _read_as(path: Path, kind: str) -> Any:
    if kind not in KINDS:
        raise TargetselError(unknown("kind", kind, KINDS))
    module, name, method = KINDS[kind]
    return getattr(getattr(import_module(f"targetsel.{module}"), name), method)(path)


def _read_table(path: Path) -> Thing:
    """Read a file in a format of tables as what it holds; a folder is a catalog of several."""
    from targetsel.sky.catalog import Catalog, CatalogFile
    from targetsel.tables.any_format import may_hold_lists
    from targetsel.tables.files import PARQUET_SUFFIXES
    from targetsel.tables.formats import open_table
    from targetsel.tables.reading import ParquetReader

    if path.is_file() and path.suffix.lower() in PARQUET_SUFFIXES:
        with ParquetReader(path) as file:
            kind = _kind_of(path, file.footer_entries, file.schema.names)
        return _read_as(path, kind)
    rows = open_table(path)
    kind = _kind_of(path, rows.schema.metadata or {}, rows.schema.names)
    if kind == "scored" if path.is_dir() else kind != "catalog" and may_hold_lists(path):
        return _read_as(path, kind)
    return Catalog.read(CatalogFile.of(path, rows))


def _kind_of(path: Path, entries: Mapping[bytes, bytes], names: Sequence[str]) -> Kind:
    """The kind of a table, by the entries of its footer and its columns."""
    from targetsel.imaging.store import KEY
    from targetsel.selection.target_list import FORMAT
    from targetsel.tables.parquet import footer_in

    if ENCODED <= {*names}:
        raise SpectrumError(
            f"{path}: holds latents of spectra, and is no catalog. Give the file itself to "
            'calibrate, compare or train; for its rows, read it as "catalog".'
        )
    if KEY in entries:
        return "cutouts"
    if footer_in(entries).get("format") == FORMAT:
        return "targets"
    if {"member_mean", "typicality"} & {*names} and "status" in names:
        return "scored"
    return "catalog"


def images_in(folder: Path) -> CutoutStore | Folder | None:
    """The cutout store in a folder, or the folder as one of images; None if it is neither."""
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.store import KEY, CutoutStore
    from targetsel.imaging.store_listing import is_listed
    from targetsel.tables.reading import ParquetReader

    if is_listed(folder):
        return CutoutStore.open(folder)
    for each in sorted(folder.glob("*.parquet")):
        with ParquetReader(each, CutoutError) as file:
            return CutoutStore.open(folder) if KEY in file.footer_entries else None
    with contextlib.suppress(CutoutError):
        return Folder.open(folder)
    return None
