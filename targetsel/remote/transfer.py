"""Files brought from object stores and web servers, and sent there, whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from targetsel.errors import RemoteError
from targetsel.remote.places import Cut, Place, meaning
from targetsel.remote.stores import RemoteFile, store_of
from targetsel.tables.files import disk_errors, written_beside

ATTEMPTS = 4
FIRST_WAIT = 0.5  # [s] before the second attempt; each further wait is twice as long

T = TypeVar("T")


def tried(place: Place, action: Callable[[], T]) -> T:
    """The result of an action, tried again where a connection is lost.

    Raises
    ------
    RemoteError
        If it fails for a reason that does not pass, or every time.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except OSError as error:
            failure = meaning(error, place)
            if failure.passes and attempt < ATTEMPTS:
                time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
                continue
            times = f", {attempt} times in a row" if failure.passes else ""
            told = RemoteError(f"{place}: {failure.reason}{times}. {failure.next_step}")
            told.is_refused = failure.is_refusal
            # The error itself may hold the address with its password, so it is not chained.
            raise told from None
    raise AssertionError


def find(place: Place) -> RemoteFile | None:
    """The file at a place; None where there is none.

    Raises
    ------
    RemoteError
        If the store cannot be reached, refuses, or has no such bucket.
    """
    return tried(place, lambda: store_of(place).find(place))


def files_in(folder: Place) -> dict[Place, RemoteFile]:
    """All files in a folder and its folders, in the order of their names.

    Raises
    ------
    RemoteError
        As `find`.
    """
    found = tried(folder, lambda: store_of(folder).files(folder))
    return dict(sorted(found.items(), key=lambda each: each[0].key))


def bring(place: Place, file: RemoteFile, path: Path) -> None:
    """Write the content of a remote file to `path`.

    Parameters
    ----------
    place : Place
    file : RemoteFile
        As `find` and `files_in` give it. What arrives must have its size.
    path : Path
        Appears when all has arrived.

    Raises
    ------
    RemoteError
        As `find`; or if the file is changed meanwhile, or gone.
    OutputError
        If the disk is full.
    """
    with written_beside(path) as beside:
        tried(place, lambda: _bring_once(place, file, path, beside))
    if (now := find(place)) != file:
        path.unlink()
        what = "is gone now" if now is None else "was changed while it was read"
        raise RemoteError(f"{place}: {what}. Run the command again.")


def _bring_once(place: Place, file: RemoteFile, path: Path, beside: Path) -> None:
    """Write the content to `beside`, on behalf of `path`."""
    n = 0
    pieces = store_of(place).pieces(place)
    with open(beside, "wb") as out:
        for piece in pieces:
            with disk_errors(path):
                out.write(piece)
            n += len(piece)
    if file.size is not None and n != file.size:
        raise Cut(f"{n:,} of {file.size:,} bytes arrived")


def send(path: Path, place: Place) -> None:
    """Upload a file; at `place` it is there whole, or as it was before.

    Raises
    ------
    RemoteError
        As `find`, or if nothing may be written there.
    """
    tried(place, lambda: store_of(place).put(path, place))
