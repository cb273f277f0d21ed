"""Scored catalogs in many files: HATS catalogs, and folders of what `score` wrote.

They are one catalog only if the same ensemble, calibration, engine and options scored them all, on
whatever devices: the footer of the whole names those.
What the footers count is summed, and what each says of its own catalog and cutouts becomes one
hash, so that the whole has a footer as one file would have. Files that another program made of such
a catalog have lost theirs; the properties may have kept what was said of the whole.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.jobs.job import FOLDER as JOB
from targetsel.tables.any_format import table_reader
from targetsel.tables.folders import open_parquet
from targetsel.tables.hats_properties import partition_home, primary_of, properties_of
from targetsel.tables.many_files import ManyFiles
from targetsel.tables.notes import SCHEMA, unpacked_schema
from targetsel.tables.parquet import FOOTER_KEY, footer_in
from targetsel.tables.reading import ParquetReader

# Entries that files of one catalog may differ in.
OWN = ("catalog", "cutouts", "device", "statuses", "n_unmeasured", "support")


def scored_reader(path: Path) -> ParquetReader | ManyFiles:
    """The files of a scored catalog, open for reading: one in any format, or a folder of Parquet.

    Raises
    ------
    CatalogError
        If there is none, one is damaged, those of a folder were not scored alike, or some of them
        have yet to be scored.
    """
    if not path.is_dir():
        return _of_one_file(path)
    if (path / JOB).is_dir() and not properties_of(path):
        raise CatalogError(
            f"{path}: is not finished, some partitions have yet to be done. Run the same command "
            f"again; 'targetsel status {path}' says how far it is."
        )
    footers = _Footers()
    files = open_parquet(path, footers.add)
    entries = footers.joined
    home = partition_home(path) or primary_of(path)
    if not entries and (kept := kept_schema(properties_of(home))) is not None:
        files, entries = files.with_notes(kept), kept.metadata or {}
    return ManyFiles(files, entries)


def _of_one_file(path: Path) -> ParquetReader | ManyFiles:
    file = table_reader(path)
    home = partition_home(path)
    if home is None or FOOTER_KEY in file.footer_entries:
        return file
    kept = kept_schema(properties_of(home))
    if kept is None:
        return file
    file.__exit__()
    return ManyFiles(open_parquet(path).with_notes(kept), kept.metadata or {})


def schema_to_keep(part: Path) -> pa.Schema:
    """The columns of a scored catalog in partitions, one of which is `part`, and its provenance.

    Programs that read the catalog and write another lose these, but keep the properties, where
    `kept_schema` finds them. What files of one catalog may differ in is left out: it tells of their
    own rows, and others may be there.
    """
    with ParquetReader(part) as file:
        footer = {k: v for k, v in footer_in(file.footer_entries).items() if k not in OWN}
        entries = {FOOTER_KEY: json.dumps(footer, sort_keys=True).encode()}
        return file.schema.with_metadata(entries)


def kept_schema(properties: Mapping[str, object]) -> pa.Schema | None:
    """The columns with units and provenance that a catalog's properties keep; None if none."""
    try:
        return unpacked_schema(str(properties[SCHEMA]))
    except Exception:  # whatever unpacking a damaged text raises
        return None


class _Footers:
    """The footers of the files of one scored catalog, which are added one after the other."""

    def __init__(self) -> None:
        self._first: tuple[Path, dict[str, Any]] | None = None
        self._own: list[dict[str, Any]] = []

    def add(self, path: Path, entries: Mapping[bytes, bytes]) -> None:
        """Count one more file.

        Raises
        ------
        CatalogError
            If it was scored otherwise than the first.
        """
        footer = footer_in(entries)
        self._own.append({name: footer.pop(name) for name in OWN if name in footer})
        if self._first is None:
            self._first = path, footer
        first, expected = self._first
        for name in dict.fromkeys([*expected, *footer]):
            if footer.get(name) != expected.get(name):
                raise CatalogError(
                    f"{path}: its footer says {_said(name, footer)}, but that of {first} says "
                    f"{_said(name, expected)}. Files of one catalog must have been scored alike: "
                    "score one of them again, or move it to another folder."
                )

    @property
    def joined(self) -> dict[bytes, bytes]:
        """The entries of the footer of the whole; empty if the files have lost theirs."""
        if self._first is None or not (self._first[1] or any(self._own)):
            return {}
        if all(each == self._own[0] for each in self._own):  # pieces of one file
            known = self._own[0]
        else:
            known = self._together()
        return {FOOTER_KEY: json.dumps(self._first[1] | known, sort_keys=True).encode()}

    def _together(self) -> dict[str, Any]:
        """What the footers differ in, of all together."""
        own = {name: [each[name] for each in self._own if name in each] for name in OWN}
        joined = {
            "catalog": {
                "sha256": _hash_of(own["catalog"]),
                "n_rows": sum(_count(each, "n_rows") for each in own["catalog"]),
            },
            "cutouts": {"sha256": _hash_of(own["cutouts"])},
            "device": ", ".join(sorted({str(each) for each in own["device"]})),
            "statuses": _sum(own["statuses"]),
            "n_unmeasured": sum(each for each in own["n_unmeasured"] if isinstance(each, int)),
            "support": self._support(),
        }
        return {name: joined[name] for name in OWN if own[name]}

    def _support(self) -> dict[str, Any]:
        """The share of the predicted sources that have support. How many training sources
        represent them is not known of the whole."""
        known = [
            (each["support"], _count(each.get("statuses"), "ok"))
            for each in self._own
            if isinstance(each.get("support"), dict) and "share" in each["support"]
        ]
        n_predicted = sum(n for _, n in known)
        if not n_predicted:
            return {}
        share = sum(support["share"] * n for support, n in known) / n_predicted
        held_out = {"held_out": known[0][0]["held_out"]} if "held_out" in known[0][0] else {}
        return {"share": round(share, 6), **held_out}


def _count(found: object, name: str) -> int:
    number = found.get(name) if isinstance(found, dict) else None
    return number if isinstance(number, int) else 0


def _sum(statuses: Iterable[object]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in statuses:
        if isinstance(each, dict):
            total.update({name: n for name, n in each.items() if isinstance(n, int)})
    return dict(sorted(total.items()))


def _hash_of(found: Iterable[object]) -> str | None:
    """One hash for those of the files, whatever their order; None if one lacks its own.

    Files with the same hash, such as of a store of cutouts that all share, keep it.
    """
    hashes = {str(each.get("sha256") or "") if isinstance(each, dict) else "" for each in found}
    if "" in hashes:
        return None
    if len(hashes) == 1:
        return hashes.pop()
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def _said(name: str, footer: Mapping[str, Any]) -> str:
    """An entry of a footer in a few words."""
    found = footer.get(name)
    if found is None:
        return f"nothing of '{name}'"
    if isinstance(found, dict) and "sha256" in found:
        found = " ".join([*filter(None, [str(found.get("name") or "")]), str(found["sha256"])[:12]])
    text = found if isinstance(found, str) else json.dumps(found)
    return f"{name} {text if len(text) <= 60 else text[:60] + '...'}"
