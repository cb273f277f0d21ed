"""Record on disk of the answers fetched so far, from which a killed run resumes.

A folder holds `settings.json`, what the answers depend on; `pieces`, one answer's bytes after the
other; and `journal.jsonl`, a line for each answer with its place in `pieces`. Bytes are written
before the line that refers to them, and each line ends with its checksum, so that every whole line
is valid. The first line that is not, which a killed run or a fault of the disk left, is cut off
with all that follow: their answers are fetched again.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from targetsel.errors import OutputError, shown
from targetsel.tables.files import written_beside
from targetsel.tables.reading import reading

_CHECK = b', "check": '


class Journal:
    """The answers of one run at a time, by key; of each key the last one counts.

    In memory it keeps some 150 bytes per key.

    Parameters
    ----------
    folder : Path
        Exists, and is held by this run (see `files.held`).
    settings : mapping
        All that the answers depend on; plain values for JSON.

    Raises
    ------
    OutputError
        If the folder was begun with other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        check_settings(folder / "settings.json", settings)
        self._place: dict[str, int] = {}
        self._pieces = _open(folder / "pieces")
        self._lines = _open(folder / "journal.jsonl")
        self._recover()

    def close(self) -> None:
        self._lines.close()
        self._pieces.close()

    def add(self, key: str, record: Mapping[str, Any], piece: bytes = b"") -> None:
        """Append an answer: its record, and its bytes."""
        start = self._pieces.seek(0, os.SEEK_END)
        self._pieces.write(piece)
        self._pieces.flush()
        frame = {"key": key, "start": start, "length": len(piece), "crc": zlib.crc32(piece)}
        line = self._lines.seek(0, os.SEEK_END)
        self._lines.write(_line({**record, **frame}))
        self._lines.flush()
        self._place[key] = line

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of the last answer for a key, or None."""
        if key not in self._place:
            return None
        self._lines.seek(self._place[key])
        return _record(self._lines.readline())

    def piece(self, record: Mapping[str, Any]) -> bytes:
        """The bytes that a record refers to.

        Raises
        ------
        OutputError
            If the bytes are damaged.
        """
        self._pieces.seek(record["start"])
        piece = self._pieces.read(record["length"])
        if zlib.crc32(piece) != record["crc"]:
            raise OutputError(
                f"{self.folder / 'pieces'}: damaged at '{record['key']}'. Remove {self.folder} "
                "and fetch again."
            )
        return piece

    def _recover(self) -> None:
        """Find the line of every key; cut off the rest that a killed run left."""
        n_bytes = self._pieces.seek(0, os.SEEK_END)
        self._lines.seek(0)
        good = end = 0
        for line in self._lines:
            record = _record(line)
            if record is None or record["start"] + record["length"] > n_bytes:
                break
            self._place[record["key"]] = good
            good, end = good + len(line), record["start"] + record["length"]
        self._lines.truncate(good)
        self._pieces.truncate(end)


def check_settings(path: Path, settings: Mapping[str, Any], of: Path | None = None) -> None:
    """Write settings, or check that they equal those written before.

    Parameters
    ----------
    path : Path
        Their file.
    settings : mapping
        Plain values for JSON.
    of : Path, optional
        The folder that they are of, which errors name. Default: that of the file.

    Raises
    ------
    OutputError
        If one differs.
    """
    settings, folder = json.loads(json.dumps(settings)), of or path.parent
    if not path.exists():
        with written_beside(path) as beside:
            beside.write_text(json.dumps(settings, indent=1, sort_keys=True))
        return
    with reading(path, OutputError, "settings of a run", f"Remove {folder} and run again."):
        before = dict(json.loads(path.read_text()))
    for name in sorted({*before, *settings}):
        if before.get(name) != settings.get(name):
            raise OutputError(
                f"{folder}: was begun with {name} {shown(before.get(name))}; now it is "
                f"{shown(settings.get(name))}. Use the same options, choose another output, or "
                "remove the folder."
            )


def _line(record: Mapping[str, Any]) -> bytes:
    """A record as a line of JSON whose last entry, "check", is the checksum of the others."""
    text = json.dumps(record).encode()
    return text[:-1] + _CHECK + b"%d}\n" % zlib.crc32(text)


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None if it is not whole or not as it was written."""
    text, _, check = line.rpartition(_CHECK)
    if check != b"%d}\n" % zlib.crc32(text + b"}"):
        return None
    record: dict[str, Any] = json.loads(text + b"}")
    return record


def _open(path: Path) -> IO[bytes]:
    """A file to read and append to, made if it is missing."""
    path.touch()
    return open(path, "r+b")
