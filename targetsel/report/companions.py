"""The files that a target list was made from: its scored catalog, and the cutouts that were scored.

They are known by what their footers say of each other, never by their names alone. A list tells the
hashes of the catalog, the ensemble and the calibration that it was selected from, and a scored
catalog the fingerprint of its cutouts. So another file that lies beside the list is not taken for
the one that it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targetsel.errors import CatalogError, CutoutError, TargetselError, visible
from targetsel.imaging.store import CutoutStore
from targetsel.scored.beside import scored_catalogs
from targetsel.scored.file import ScoredFile
from targetsel.tables.any_format import table_reader
from targetsel.tables.parquet import footer_in

TOLD = ("catalog", "ensemble", "calibration")  # what lists and scored catalogs both tell
STORES = "*cutouts*"  # how folders and files of cutouts are named


@dataclass(frozen=True)
class Companions:
    """What a list, or a scored catalog, is drawn with.

    Attributes
    ----------
    scored : Path
    store : CutoutStore or None
    reason : str
        Why there is no store; empty where there is one.
    found : tuple of str
        What was found rather than given, in words.
    cautions : tuple of str
        What was given, and is not what the list was made from, as sentences.
    """

    scored: Path
    store: CutoutStore | None
    reason: str = ""
    found: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


def is_scored(path: Path) -> bool:
    """Whether a table is a scored catalog rather than a target list, which is never a folder."""
    if path.is_dir():
        return True
    with table_reader(path) as file:
        footer = footer_in(file.footer_entries)
        is_list = "format" in footer
        return "member_mean" in file.schema.names or ("ensemble" in footer and not is_list)


def refuse_list(path: Path) -> None:
    """Refuse a target list where one source of a scored catalog is drawn.

    Raises
    ------
    CatalogError
        If it is one, or cannot be read.
    """
    if not is_scored(path) and "format" in _footer(path):
        raise CatalogError(
            f"{path}: is a target list; one source is drawn from a scored catalog. Name the "
            "catalog that the list was selected from, or draw the whole list with --all."
        )


def companions_of(
    targets: Path, scored: Path | None = None, store: CutoutStore | None = None
) -> Companions:
    """The scored catalog and the cutouts of a list; those that are not given are looked for.

    Parameters
    ----------
    targets : Path
        A target list, or a scored catalog.
    scored : Path or None
        The scored catalog, where it is named.
    store : CutoutStore or None
        The store, where it is named.

    Raises
    ------
    CatalogError
        If a file cannot be read, or no scored catalog, or more than one, is that of the list.
    """
    listed = not is_scored(targets)
    source = (scored or scored_of(targets)) if listed else targets
    with ScoredFile(source) as file:
        footer = file.footer
    found, cautions = [], []
    if listed and scored is None:
        found.append(f"scored catalog {source}")
    if listed and scored is not None and _agree(_footer(targets), footer) is False:
        cautions.append(f"{targets.name} was not selected from {scored.name}, by its footer.")
    wanted = fingerprint_in(footer)
    if store is not None:
        if wanted is not None and store.sha256 != wanted:
            cautions.append(f"The cutouts of {store.path.name} are not those that were scored.")
        return Companions(source, store, "", tuple(found), tuple(cautions))
    store, reason = _store_with(wanted, source, targets)
    if store is not None and not _has_any(store, source):
        reason = f"{store.path} has none of its sources, whose ids are others now"
        store = None
    if store is not None:
        found.append(f"cutouts {store.path}")
    return Companions(source, store, reason, tuple(found), tuple(cautions))


def scored_of(targets: Path) -> Path:
    """The scored catalog that a list was selected from: beside the list, or in this folder.

    Raises
    ------
    CatalogError
        If none is, or more than one.
    """
    told, others = _footer(targets), []
    for folder in _folders(targets):
        verdicts = {path: _is_from(told, path) for path in scored_catalogs(folder)}
        for verdict in (True, None):
            same = [path for path, each in verdicts.items() if each is verdict]
            if len(same) == 1:
                return same[0]
            if same:
                names = ", ".join(visible(path.name) for path in same)
                raise CatalogError(
                    f"{targets}: could be selected from several scored catalogs beside it: "
                    f"{names}. Name one with --scored."
                )
        others += [visible(path.name) for path in verdicts]
    if others:
        raise CatalogError(
            f"{targets}: was not selected from {', '.join(others[:5])}, as its footer names "
            "another catalog, ensemble or calibration. Name its scored catalog with --scored."
        )
    raise CatalogError(
        f"{targets}: no scored catalog, such as *.scored.parquet, lies beside it. Name the one "
        "that it was selected from with --scored, or make it with 'targetsel score'."
    )


def fingerprint_of(targets: Path) -> str | None:
    """The fingerprint of the cutouts behind a list, or any table; None where it is not known."""
    try:
        told = _footer(targets)
        own = fingerprint_in(told)
        if own is not None or "format" not in told:
            return own
        with ScoredFile(scored_of(targets)) as file:
            return fingerprint_in(file.footer)
    except TargetselError:
        return None


def fingerprint_in(footer: Mapping[str, Any]) -> str | None:
    """The fingerprint of the cutouts that were scored, as a footer has it."""
    return _hash(footer.get("cutouts"))


def stores_beside(*near: Path) -> Iterator[CutoutStore]:
    """The stores that are named like cutouts, in the folders of these files and in this one."""
    for folder in _folders(*near):
        for path in sorted(folder.glob(STORES)):
            if path.is_dir() or path.suffix == ".parquet":
                try:
                    yield CutoutStore.open(path)
                except CutoutError:
                    continue


def _store_with(wanted: str | None, *near: Path) -> tuple[CutoutStore | None, str]:
    """The store of this fingerprint beside some files, or what keeps it from being found."""
    if wanted is None:
        return None, f"{near[0]} does not say which cutouts were scored"
    others = []
    for store in stores_beside(*near):
        if store.sha256 == wanted:
            return store, ""
        others.append(visible(store.path.name))
    if others:
        return None, f"the cutouts that were scored are not those of {', '.join(others[:5])}"
    return None, f"no cutout store, such as cutouts/, lies beside {near[0]}"


def _has_any(store: CutoutStore, scored: Path) -> bool:
    with ScoredFile(scored) as file:
        tables = file.tables([file.names["source_id"]])
        return any(store.has(table.column(0).to_numpy()).any() for table in tables)


def _folders(*near: Path) -> list[Path]:
    """The folders of some files, and this one, each once."""
    folders = [*(path.parent for path in near), Path()]
    return list({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1]


def _footer(path: Path) -> dict[str, Any]:
    with table_reader(path) as file:
        return footer_in(file.footer_entries)


def _is_from(told: Mapping[str, Any], scored: Path) -> bool | None:
    """Whether a list whose footer tells this was selected from a file; None if they do not tell."""
    try:
        with ScoredFile(scored) as file:
            return _agree(told, file.footer)
    except TargetselError:
        return False


def _agree(told: Mapping[str, Any], own: Mapping[str, Any]) -> bool | None:
    if _hash(told.get(TOLD[0])) is None or _hash(own.get(TOLD[0])) is None:
        return None
    return all(_hash(told.get(name)) == _hash(own.get(name)) for name in TOLD)


def _hash(entry: object) -> str | None:
    found = entry.get("sha256") if isinstance(entry, dict) else None
    return found if isinstance(found, str) else None
