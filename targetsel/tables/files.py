"""Files that appear whole or not at all, and never in place of what they were made from.

Results are written beside their final name and renamed at the end, so that a killed run or a
full disk never leaves half a file where a reader would look for a whole one.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from targetsel.errors import OutputError

try:
    import fcntl
except ImportError:  # not a Unix system: two runs at once go unnoticed there
    fcntl = None  # type: ignore[assignment]


PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
# Endings of the other formats of tables, with the names that astropy has for them.
ASTROPY_FORMATS = {
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
}
# The files that the running command has read, by device and inode; None outside of commands.
_INPUTS: ContextVar[dict[tuple[int, int], Path] | None] = ContextVar("inputs", default=None)


@contextlib.contextmanager
def one_command() -> Iterator[None]:
    """Remember every file that is read, so that none of them is written over.

    It stands around a whole command. A notebook may write over what it read before.
    """
    token = _INPUTS.set({})
    try:
        yield
    finally:
        _INPUTS.reset(token)


def note_input(path: Path) -> None:
    """Remember a file or folder that the running command reads; see `one_command`."""
    known = _INPUTS.get()
    if known is not None:
        with contextlib.suppress(OSError):
            state = path.stat()
            known.setdefault((state.st_dev, state.st_ino), path)


def is_stream(path: Path) -> bool:
    """Whether a pipe or device is at `path`: its bytes come once, or never."""
    return path.exists() and not path.is_file() and not path.is_dir()


def change_in_place(folder: Path) -> None:
    """Let the running command write over files of a folder that it has read, and is to change."""
    known = _INPUTS.get() or {}
    for key, path in list(known.items()):
        if folder.resolve() in path.resolve().parents:
            del known[key]


def _is_input(path: Path) -> bool:
    """Whether the running command has read the file at `path`, under whatever name."""
    with contextlib.suppress(OSError):
        state = path.stat()
        return (state.st_dev, state.st_ino) in (_INPUTS.get() or {})
    return False


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
        the inputs, lies in one, or was read by the running command.
    """
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Create it first.")
    if path.name == "-":
        raise OutputError("-: results are written to files only. Choose a file's name.")
    if path.is_dir() or is_stream(path):
        what = "a folder" if path.is_dir() else "a device or pipe"
        raise OutputError(f"{path}: is {what}; expected a file's name. Choose another name.")
    if _is_input(path):
        raise OutputError(f"{path}: is read by the same command. Choose another name.")
    inputs = list(inputs)
    for each in inputs:
        note_input(each)
    check_apart([path], inputs)


def check_apart(outputs: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Refuse results that would take the place of an input or of each other, or lie in an input.

    Raises
    ------
    OutputError
    """
    for path in outputs:
        for each in inputs:
            if _same_file(path, each):
                raise OutputError(f"{path}: is read by the same command. Choose another name.")
            if each.is_dir() and each.resolve() in path.resolve().parents:
                raise OutputError(
                    f"{path}: lies in the folder {each}, which is read by the same command. "
                    "Choose another place."
                )
    for one, other in itertools.combinations(outputs, 2):
        if _same_file(one, other):
            raise OutputError(f"{one}: is to be written twice. Choose another name for one.")


def table_format(path: Path) -> str:
    """The format of a table by its file's ending: "parquet", or astropy's name of another.

    Without an ending it is Parquet.

    Raises
    ------
    OutputError
        If the ending is that of no format in which tables can be written.
    """
    endings = [each.lower() for each in path.suffixes if each.lower() != ".tmp"]
    packed = endings[-1:] == [".gz"]
    ending = endings[-2 if packed else -1] if endings[packed:] else ""
    if (ending in ("", *PARQUET_SUFFIXES)) and not packed:
        return "parquet"
    if ending in ASTROPY_FORMATS:
        return ASTROPY_FORMATS[ending]
    raise OutputError(
        f"{path}: no table can be written as '{''.join(endings[-1 - packed :])}'; expected "
        f"{', '.join((PARQUET_SUFFIXES[0], *ASTROPY_FORMATS))}. Choose one of these endings."
    )


def check_table_output(path: Path, inputs: Iterable[Path] = (), parquet: bool = False) -> None:
    """Refuse a place for a table before any work is done: `check_output`, and its ending.

    Parameters
    ----------
    path : Path
    inputs : iterable of Path
    parquet : bool
        Whether it must be Parquet, as files that our own commands read.

    Raises
    ------
    OutputError
        As `check_output` and `table_format`.
    """
    if table_format(path) != "parquet" and parquet:
        raise OutputError(
            f"{path}: this file is written as Parquet only, which other commands of targetsel "
            "read. Choose the ending .parquet."
        )
    check_output(path, inputs)


def _same_file(path: Path, other: Path) -> bool:
    """Whether two paths are of one file, under whatever names, or would be."""
    with contextlib.suppress(OSError):
        return path.samefile(other)
    return path.resolve() == other.resolve()


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
        if folder.exists():
            raise OutputError(
                f"{folder}: is a file; expected a folder. Choose another name."
            ) from None
        raise OutputError(
            f"{folder}: could not be made: {error.strerror or error}. Choose another folder."
        ) from error


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
    _sweep(path)
    beside = _temporary(path, "tmp")
    try:
        with disk_errors(path):
            yield beside
            os.replace(beside, path)
    finally:
        with contextlib.suppress(OSError):  # that of a read-only disk would hide the one above
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
    _sweep(path)
    beside, before = _temporary(path, "tmp"), _temporary(path, "old")
    try:
        with disk_errors(path):
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


def remove_folder(folder: Path) -> None:
    """Remove a folder at once: a run that is killed meanwhile leaves nothing under its name.

    What killed runs left of it before goes too, also if the folder is not there.
    """
    _sweep(folder)
    if folder.exists():
        beside = _temporary(folder, "tmp")
        os.replace(folder, beside)
        shutil.rmtree(beside, ignore_errors=True)


def _temporary(path: Path, ending: str) -> Path:
    """A hidden name beside `path` that says which process on which machine uses it."""
    return path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.{ending}")


def _sweep(path: Path) -> None:
    """Remove what runs on this machine that were killed left beside `path`.

    A folder that was at `path` when its replacement was interrupted is put back.
    """
    host = re.escape(platform.node())
    of_runs = re.compile(rf"\.{re.escape(path.name)}\.{host}-(\d+)\.(tmp|old)")
    with contextlib.suppress(OSError):
        for each in path.parent.iterdir():
            found = of_runs.fullmatch(each.name)
            if not found or _runs(int(found[1])):
                continue
            if found[2] == "old" and not path.exists():
                os.replace(each, path)
            elif each.is_dir() and not each.is_symlink():
                shutil.rmtree(each, ignore_errors=True)
            else:
                each.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether another process of this number runs on this machine."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # someone else's
        return True
    return True


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Convert OSError while a file is written for `path` to OutputError."""
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
        If another run holds the folder, it holds files that no run of targetsel left there, or
        it cannot be made.
    """
    place = folder / "lock"
    _check_begun(folder, place)
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


def _check_begun(folder: Path, lock: Path) -> None:
    """Refuse a folder with contents that no run began: they are someone's, and would be lost."""
    if folder.is_dir() and not lock.exists() and any(folder.iterdir()):
        raise OutputError(
            f"{folder}: is needed for unfinished work, but holds files that targetsel did not "
            "write. Move them, or choose another output."
        )


def _lock(file: IO[str], folder: Path) -> None:
    if not take_lock(file):
        file.close()
        raise OutputError(
            f"{folder}: another run is writing there. Wait for it, or choose another output."
        )


def take_lock(file: IO[Any] | int, shared: bool = False) -> bool:
    """Lock a file without waiting; False where another process has it.

    The lock goes with the process, however that ends. Where the system has no locks, all get one.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def sha256_of_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
