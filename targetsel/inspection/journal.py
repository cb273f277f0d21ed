"""The journal of a notes file: what was noted since the file was written, a JSON line for each.

A line is on the disk before it counts. One that was cut short, by a kill or a full disk, never
counted, and is taken away before the next is written. So every whole line is good, or damaged.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path

from targetsel.errors import CatalogError, OutputError
from targetsel.tables.files import disk_errors, take_lock

ENDING = ".journal"
SCHEMA = "targetsel/notes-journal/v1"
Row = dict[str, str]


def journal_of(notes: Path) -> Path:
    """The journal beside a notes file."""
    return notes.with_name(notes.name + ENDING)


def read_journal(path: Path) -> list[tuple[str, Row]]:
    """The notes in a journal, each behind its place, also while it is written; none without one.

    Raises
    ------
    CatalogError
        If it cannot be read, or is damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CatalogError(
            f"{path}: holds the newest notes, and could not be read: {error.strerror or error}. "
            "Ask who serves them to end the server, or to give you a copy."
        ) from error
    return _lines(content, path)[1:]


def _lines(content: bytes, path: Path) -> list[tuple[str, Row]]:
    """The first line, which says what this is, and a note in each other one."""
    whole = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
    lines = [_line(each, f"{path}, line {k}") for k, each in enumerate(whole, 1)]
    if lines and lines[0][1].get("journal") != SCHEMA:
        raise CatalogError(f"{path}, line 1: is of no journal of notes. Move the file away.")
    for place, row in lines[1:]:
        if not {"source_id", "VI_scanner"} <= row.keys():
            raise _damage(place)
    return lines


def _line(line: bytes, place: str) -> tuple[str, Row]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise _damage(place)
    return place, found


def _damage(place: str) -> CatalogError:
    return CatalogError(
        f"{place}: is damaged; expected a note in JSON. Copy the file, then remove this line."
    )


class NotesJournal:
    """A journal that this process alone writes, made if it is missing.

    Its mode lets only its owner read it, as its first line holds what the server must not tell.

    Parameters
    ----------
    path : Path
    first : mapping of str to str
        The first line of a new one.

    Attributes
    ----------
    first : mapping of str to str
        The first line; of a journal that a killed process left, its own.
    rows : list of tuple of str and dict
        The notes that were in it when it was opened, each behind its place.

    Raises
    ------
    OutputError
        If another process writes it, or it cannot be made.
    CatalogError
        If it is damaged.
    """

    def __init__(self, path: Path, first: Mapping[str, str]) -> None:
        self.path = path
        with disk_errors(path):
            self._file = _opened_alone(path)
        try:
            with disk_errors(path):
                content = os.pread(self._file, os.fstat(self._file).st_size, 0)
            lines = _lines(content, path)
            self._size = content.rfind(b"\n") + 1
            self.first = lines[0][1] if lines else {"journal": SCHEMA, **first}
            self.rows = lines[1:]
            if not lines:
                with disk_errors(path):
                    self.add(self.first)
                    sync_folder(path.parent)
        except BaseException:
            os.close(self._file)
            raise
        self._start = content.find(b"\n") + 1 if lines else self._size

    def add(self, row: Mapping[str, str]) -> None:
        """Put a line on the disk; OSError where that fails, and then it is not there."""
        line = json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"
        self._check_place()
        if os.fstat(self._file).st_size != self._size:
            os.ftruncate(self._file, self._size)  # what an attempt before left
        try:
            if os.pwrite(self._file, line, self._size) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)

    def _check_place(self) -> None:
        """Refuse to write to a file that has gone from its place, where nobody would find it."""
        with contextlib.suppress(OSError):
            if os.path.samestat(self.path.stat(), os.fstat(self._file)):
                return
        raise OSError(errno.ENOENT, f"{self.path.name} was moved or removed; put it back")

    def clear(self) -> None:
        """Remove all notes, which are in the file by now."""
        os.ftruncate(self._file, self._start)
        os.fsync(self._file)
        self._size = self._start

    @property
    def is_empty(self) -> bool:
        return self._size == self._start

    def close(self) -> None:
        """Let others write it; an empty one goes."""
        if self.is_empty:
            with contextlib.suppress(OSError):
                self._check_place()
                self.path.unlink()
        os.close(self._file)
        self._file = -1  # so that a late note is refused, and goes to no other file


def _opened_alone(path: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not take_lock(file):
            os.close(file)
            raise OutputError(
                f"{path}: another server keeps notes there. Open its page, or choose another file "
                "with --notes."
            )
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(file)):
                return file
        os.close(file)  # it was removed by the process that had it before


def sync_folder(folder: Path) -> None:
    """Put the names of a folder's files on the disk, where the system can."""
    with contextlib.suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
