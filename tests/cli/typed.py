"""The command line as it is typed, in this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from targetsel.cli import main


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


class Typed:
    """Runs `targetsel` with the words given; `capsys` and `monkeypatch` are pytest's."""

    def __init__(self, monkeypatch, capsys) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: object) -> Said:
        self._monkeypatch.setattr(sys, "argv", ["targetsel", *map(str, words)])
        self._capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        return Said(status, *self._capsys.readouterr())


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
