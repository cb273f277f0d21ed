"""The file in which a served page keeps notes: CSV as pages export it, and a journal beside it.

A note goes to the journal first, and is on the disk before anybody is told that it is kept. From
time to time, and at the end, all notes are written to the CSV file, and the journal is emptied.
"""

from __future__ import annotations

import contextlib
import csv
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from targetsel.errors import OutputError
from targetsel.inspection.journal import NotesJournal, Row, journal_of, sync_folder
from targetsel.inspection.notes import REVISION, newest_rows, note_of, revision_of, rows_of
from targetsel.sky.positions import check_same_places
from targetsel.tables.files import check_output, written_beside
from targetsel.tables.reading import reason

PROSPECT = (
    "TARGETID", "EXPID", "NIGHT", "TILEID", "Spec_version", "Redrock_version", "Template_version",
    "Redrock_spectype", "Redrock_z", "Redrock_deltachi2", "VI_scanner", "VI_quality", "VI_issue",
    "VI_z", "VI_spectype", "VI_comment",
)  # fmt: skip
COLUMNS = (*PROSPECT, "source_id", "ra", "dec", "class", "VI_time", REVISION)
SAID = ("VI_quality", "VI_issue", "VI_z", "VI_spectype", "VI_comment")  # by a person, of a source


@dataclass(frozen=True)
class PageSource:
    """What a page knows of one of its sources, as texts for a note's row.

    Attributes
    ----------
    target_id, class_ : str
    ra, dec : float or None
        [deg, ICRS]
    """

    target_id: str = "-1"
    class_: str = ""
    ra: float | None = None
    dec: float | None = None


class NotesFile:
    """The newest note of each source and person, on the disk, for this process alone.

    Every note that is kept gets the next revision, a number. A note is kept if it was based on the
    revision that the file holds of the same source and person, 0 if there was none. So nobody
    writes over what they have not seen, whatever their clocks say.

    Parameters
    ----------
    path : Path
        CSV; made when there is a first note.

    Attributes
    ----------
    revision : int
        Of the note that was kept last.

    Raises
    ------
    CatalogError
        If the file or its journal is damaged.
    OutputError
        If another server keeps notes there, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        check_output(path)
        self.path = path
        self._lock = threading.Lock()
        self._journal = NotesJournal(journal_of(path), {"token": secrets.token_urlsafe(24)})
        try:
            self._seen = _state(path)
            found = rows_of(path) if self._seen else []
            rows = newest_rows(found, self._journal.rows)
            notes = [note_of(cells, place, path.stem) for place, cells in rows]
            self.revision = max([0, *map(revision_of, rows)])
        except BaseException:
            self._journal.close()
            raise
        own = {name: "" for _, cells in found[:1] for name in cells if name not in COLUMNS}
        self._names = (*COLUMNS, *own)
        self._positions = {note.source_id: note.position for note in notes}
        self.rows: dict[tuple[str, str], Row] = {}
        for (place, row), note in zip(rows, notes, strict=True):
            row["VI_quality"] = "-1" if note.quality is None else str(note.quality)
            if not revision_of((place, row)):  # of a file that a page exported
                self.revision += 1
                row[REVISION] = str(self.revision)
            self.rows[row["source_id"], row.setdefault("VI_scanner", "")] = row
        with contextlib.suppress(OutputError):  # the journal has them
            self.write()

    @property
    def token(self) -> str:
        """A secret that lasts until the server ends of its own accord."""
        return self._journal.first["token"]

    def check_same_sources(self, sources: Mapping[str, PageSource]) -> None:
        """Refuse a page whose ids are those of other sources.

        Raises
        ------
        CatalogError
            If notes and page have a source of one id at different positions.
        """
        both = [
            (each, self._positions[each], (source.ra, source.dec))
            for each, source in sources.items()
            if each in self._positions and None not in (source.ra, source.dec)
        ]
        if not both:
            return
        ids, here, there = zip(*both, strict=True)
        ra, dec = np.array(here, dtype=float).T
        ra_of_page, dec_of_page = np.array(there, dtype=float).T
        check_same_places(
            np.array(ids), (ra, dec), (ra_of_page, dec_of_page), self.path, "the page"
        )

    def since(self, scanner: str, revision: int) -> list[Row]:
        """The notes of a person that were kept after a revision, in the order of revisions."""
        with self._lock:
            found = [(int(row[REVISION]), row) for row in self._of(scanner)]
        newer = [each for each in found if each[0] > revision]
        return [row for _, row in sorted(newer, key=lambda each: each[0])]

    def _of(self, scanner: str) -> list[Row]:
        return [row for (_, name), row in self.rows.items() if name == scanner]

    def keep(self, row: Row, based_on: int) -> tuple[Row, bool]:
        """Keep a note that was based on a revision of the same source and person.

        Returns
        -------
        row : dict
            The note that the file holds now, with its time and revision.
        is_kept : bool
            False where a note of another revision is there; it stays.

        Raises
        ------
        OSError
            If it could not be put on the disk; then it is not kept.
        """
        key = row["source_id"], row["VI_scanner"]
        with self._lock:
            known = self.rows.get(key)
            if known is not None and all(known.get(name, "") == row[name] for name in SAID):
                return known, True
            if known is not None and int(known[REVISION]) != based_on:
                return known, False
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            row = (known or {}) | row | {"VI_time": now, REVISION: str(self.revision + 1)}
            self._journal.add(row)
            self.revision += 1
            self.rows[key] = row
        return row, True

    def write(self) -> None:
        """Write all notes to the CSV file, and empty the journal.

        Raises
        ------
        OutputError
            If the disk is full, or another program has changed the file; the journal stays.
        """
        with self._lock:
            if self._journal.is_empty:
                return
            if _state(self.path) != self._seen:
                raise OutputError(
                    f"{self.path}: was changed by another program while its page was served. The "
                    f"notes since then stay in {self._journal.path}. Run the command again to join "
                    "both."
                )
            try:
                self._write_whole()
            except OutputError as error:
                told = getattr(error.__cause__, "strerror", None) or reason(error)
                raise OutputError(
                    f"{self.path}: could not be written: {told}. All "
                    f"notes are in {self._journal.path}. Free some space there, and run the "
                    "command again to join both."
                ) from error
            self._seen = _state(self.path)
            sync_folder(self.path.parent)
            with contextlib.suppress(OSError):  # both have them then, with the same revisions
                self._journal.clear()

    def _write_whole(self) -> None:
        with (
            written_beside(self.path) as beside,
            beside.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, self._names, restval="")
            writer.writeheader()
            writer.writerows(self.rows.values())
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Write all notes, and let others have the file.

        Raises
        ------
        OutputError
            As `write`; the journal then has the notes.
        """
        try:
            self.write()
        finally:
            with self._lock:
                self._journal.close()


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file's content; None where there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
