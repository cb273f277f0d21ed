"""Files that appear whole or not at all, and never in place of what they were made from.

Results are written beside their final name and renamed at the end, so that a killed run or a
full disk never leaves half a file where a reader would look for a whole one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from targetsel.errors import OutputError

try:
    import fcntl
except ImportError:  # not a Unix system: two runs at once go unnoticed there
    fcntl = None  # type: ignore[assignment]


def check_output(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse a place for a result before any work is done.

    Parameters
    ----------
    path : Path
        The file to be written.
    inputs : iterable of Path
        Files and folders that are read for it.

    Raises
    ------
    OutputError
        If the folder is missing, something other than a file is at `path`, or `path` is one of
        the inputs or lies in one.
    """
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Create it first.")
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a device or pipe"
        raise OutputError(f"{path}: is {what}; expected a file's name. Choose another name.")
    for each in inputs:
        if path.resolve() == each.resolve():
            raise OutputError(f"{path}: is read by the same command. Choose another name.")
        if each.is_dir() and each.resolve() in path.resolve().parents:
            raise OutputError(
                f"{path}: lies in the folder {each}, which is read by the same command. "
                "Choose another place."
            )


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it lies in, unless it is there.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: could not be made: {error.strerror or error}.") from error


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to `path` when the block ends without an error.

    Raises
    ------
    OutputError
        If the place will not do (see `check_output`), or the disk is full or not writable;
        nothing is left then.
    """
    path = Path(path)
    check_output(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _disk_errors(path):
            yield beside
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_written_beside(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its place when the block ends without an error.

    A folder that is already at `path` is replaced.

    Raises
    ------
    OutputError
        If the disk is full or not writable; nothing is left then.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    before = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        with _disk_errors(path):
            shutil.rmtree(beside, ignore_errors=True)  # of a killed run that had the same number
            beside.mkdir()
            yield beside
            if path.exists():
                os.replace(path, before)
            os.replace(beside, path)
    finally:
        if before.exists() and not path.exists():
            os.replace(before, path)
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Convert OSError to OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written: {error.strerror or error}. "
            "Nothing was left there; free some space or choose another place."
        ) from error


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """A folder for one run alone, made if it is missing.

    The lock goes with the process, however that ends, and with the folder where that is removed.

    Raises
    ------
    OutputError
        If another run holds the folder, or it cannot be made.
    """
    place = folder / "lock"
    try:
        while True:
            folder.mkdir(exist_ok=True)
            lock = open(place, "a")  # noqa: SIM115
            _lock(lock, folder)
            if place.exists():  # else it was removed with the folder of the run that held it before
                break
            lock.close()
    except OSError as error:
        raise OutputError(
            f"{folder}: could not be written: {error.strerror or error}. Choose another place."
        ) from error
    with lock:
        yield


def _lock(file: IO[str], folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise OutputError(
            f"{folder}: another run is writing there. Wait for it, or choose another output."
        ) from None
    except OSError:  # a file system without locks
        pass


def sha256_of_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
