"""Addresses in the arguments of commands and functions, exchanged for local copies.

`with_addresses` and `local_copies` stand around a whole command: files and folders that it reads
are brought to a folder of this process before it begins, and what it wrote in place of an address
is uploaded when it has ended without an error. What fails publishes nothing. The folder lies where
temporary files do (TMPDIR), and goes with the process; within it a copy is used again as long as
size and time of the original are the same. Unfinished work that can be resumed lies in the working
directory.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import inspect
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from targetsel.errors import RemoteError, TargetselError
from targetsel.remote.places import SCHEMES, Place
from targetsel.remote.stores import RemoteFile
from targetsel.remote.transfer import bring, files_in, find, send
from targetsel.tables.files import ASTROPY_FORMATS, PARQUET_SUFFIXES
from targetsel.tables.hats_properties import PROPERTIES

BESIDE = ".photometry.yaml"  # ending of the file that says more about a table of the same name
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # errors of the operating system
LAST = (*PROPERTIES,)  # a folder with these is a whole catalog
SERVICES = ("url",)  # parameters that name a service on the web, and no file

P = ParamSpec("P")
R = TypeVar("R")


class Copies:
    """The folder of this process with copies of remote files, each below its scheme and host.

    Attributes
    ----------
    root : Path or None
        None until there is one.
    """

    def __init__(self) -> None:
        self.root: Path | None = None
        self._known: dict[Place, RemoteFile] = {}
        self._states: dict[Path, tuple[int, int] | None] = {}
        self._without_rows: set[Path] = set()

    def path(self, place: Place) -> Path:
        """Where the copy of a place is, or will be; its folder is made."""
        if self.root is None:
            self.root = Path(tempfile.mkdtemp(prefix="targetsel-")).resolve()
            atexit.register(self.remove, os.getpid())
        path = place.below(self.root)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def remove(self, process: int) -> None:
        """Remove the folder, if this is the process that made it."""
        if self.root is not None and process == os.getpid():
            shutil.rmtree(self.root, ignore_errors=True)
            self.root = None
            self._known.clear()
            self._states.clear()
            self._without_rows.clear()

    def keep(self) -> None:
        """Leave the folder there when the process ends."""
        atexit.unregister(self.remove)

    def fetched(self, place: Place) -> Path:
        """A copy of a file or folder.

        Raises
        ------
        RemoteError
            If there is nothing, or it cannot be read.
        """
        if (file := find(place)) is not None:
            self._bring_beside(_beside(place))
            return self._bring(place, file)
        wanted = {each: file for each, file in files_in(place).items() if _is_data(each, place)}
        if not wanted:
            if place.is_web:
                raise RemoteError(
                    f"{place}: no such file, and a folder on a web server cannot be listed. Name "
                    "a file there."
                )
            raise RemoteError(f"{place}: no such file or folder. Check the name and the bucket.")
        for each, file in wanted.items():
            self._bring(each, file)
        self._without_rows.discard(self.path(place))
        return self.path(place)

    def _bring_beside(self, places: Iterable[Place]) -> None:
        """Bring files that may be there, or not."""
        for place in places:
            try:
                if (file := find(place)) is not None:
                    self._bring(place, file)
            except RemoteError as error:
                if not error.is_refused:
                    raise

    def _bring(self, place: Place, file: RemoteFile) -> Path:
        path = self.path(place)
        is_same = file.version and self._known.get(place) == file
        if not is_same or self._states.get(path) != _state(path):
            bring(place, file, path)
            self._known[place], self._states[path] = file, _state(path)
        return path

    def check_unchanged(self, place: Place) -> None:
        """Refuse that a copy was changed: its original is not.

        Raises
        ------
        RemoteError
        """
        path = self.path(place)
        inside = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
        for each in inside:
            if _state(each) != self._states.get(each):
                raise RemoteError(
                    f"{place}: is changed by this command, which is done to files here alone. "
                    "Copy it here, and name the copy."
                )

    def fetched_without_rows(self, place: Place) -> Path | None:
        """A copy of the properties of a HATS catalog alone; None where there is no such catalog.

        `rows_at` knows it from a whole one.

        Raises
        ------
        RemoteError
            If it cannot be read.
        """
        names = [place / each for each in (*PROPERTIES, "partition_info.csv")]
        files = {each: file for each in names if (file := find(each)) is not None}
        if not any(each in files for each in names[:-1]):
            return None
        self._bring_beside([*_beside(place), replace(place, key=f"{place.key}{BESIDE}")])
        for each, file in files.items():
            self._bring(each, file)
        self._without_rows.add(self.path(place))
        return self.path(place)

    def rows_at(self, path: Path) -> Place | None:
        """Where the rows are of a HATS catalog that was brought without them."""
        return self.place_of(path) if path in self._without_rows else None

    def place_of(self, path: Path) -> Place | None:
        """The place that a path among the copies stands for; None for other paths."""
        if self.root is None or self.root not in path.parents:
            return None
        return Place.of(as_addresses(os.fspath(path)))

    def with_beside(self, path: Path) -> Path:
        """A path beside a copy; what is there in its original's place is brought, if anything is.

        Other paths come back as they are.
        """
        place = None if path.exists() else self.place_of(path)
        if place is not None and (find(place) is not None or files_in(place)):
            return self.fetched(place)
        return path

    def begun(self, place: Place) -> Path:
        """A local path to write what is to be published at a place.

        Raises
        ------
        RemoteError
            If a folder is there already, or the place cannot be reached.
        """
        if place.is_web:
            raise RemoteError(
                f"{place}: nothing can be written to a web server. Name a place in a bucket, such "
                "as s3://bucket/name, or a file."
            )
        if not place.key:
            raise RemoteError(f"{place}: is a bucket. Name a file in it.")
        if find(place) is None and files_in(place) and not begun_here(place):
            raise RemoteError(f"{place}: is a folder with files already. Choose another name.")
        return self.path(place)

    def published(self, place: Place) -> None:
        """Upload what was written for a place; files that make a catalog of a folder come last.

        Raises
        ------
        RemoteError
            If it cannot be written; the message says where it is kept.
        """
        path = self.path(place)
        files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
        try:
            for each in sorted(files, key=lambda file: (file.name in LAST, file)):
                name = each.relative_to(path).as_posix() if each != path else ""
                there = place / name if name else place
                if each.exists() and _is_data(there, place):
                    send(each, there)
                    self._known.pop(there, None)
        except RemoteError as error:
            kept = self._kept(path)
            raise RemoteError(f"{error} The result is kept. Copy it from '{kept}'.") from None

    def _kept(self, path: Path) -> Path:
        """Where a result stays that was not uploaded: in the working directory, if it can."""
        here = Path.cwd() / path.name
        if not here.exists():
            with contextlib.suppress(OSError):
                shutil.move(path, here)
                return here
        self.keep()
        return path


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of a file; None where there is none."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_size, found.st_mtime_ns
    return None


copies = Copies()


def begun_here(place: Place) -> bool:
    """Whether a catalog for a place is being scored into the working directory."""
    return Path(place.key.rpartition("/")[2], "_job").is_dir()


def unfinished(output: Path) -> Path:
    """The folder for unfinished work on an output: beside it, or in the working directory.

    Beside the copy of a remote file it would go with the process, and nothing could resume.
    """
    name = f"{output.name}.partial"
    return output.with_name(name) if copies.place_of(output) is None else Path.cwd() / name


def goes_to_parts(output: object) -> bool:
    """Whether an output is a folder of partitions, and no table of its own, by its name."""
    if not isinstance(output, str | os.PathLike):
        return False
    endings = {each.lower() for each in Path(output).suffixes[-2:]}
    return not endings & {*PARQUET_SUFFIXES, *ASTROPY_FORMATS}


def _beside(place: Place) -> list[Place]:
    """The places of files that say more about a table, if they are there."""
    folder, slash, name = place.key.rpartition("/")
    if name.endswith((".yaml", ".yml")):
        return []
    stem = Path(name.removesuffix(".gz")).stem
    stems = dict.fromkeys(stem.removesuffix(each) for each in ("", ".targets", ".scored"))
    return [replace(place, key=f"{folder}{slash}{each}{BESIDE}") for each in stems]


def _is_data(file: Place, folder: Place) -> bool:
    """Whether a file of a folder is part of what it holds: not hidden, and no record of a job."""
    inside = file.key[len(folder.key) :].strip("/").split("/")
    return not any(each.startswith(".") or each == "_job" for each in inside)


def as_addresses(text: str) -> str:
    """A text in which copies have the addresses of what they are copies of."""
    if copies.root is None:
        return text
    schemes = "|".join({*SCHEMES.values()})
    return re.sub(rf"(?<!'){re.escape(os.fspath(copies.root))}/({schemes})/", r"\1://", text)


def show_addresses(error: TargetselError) -> None:
    """Name addresses in an error's message where it names their copies, and what disk is full."""
    text = as_addresses(str(error))
    if text != str(error) and getattr(error.__cause__, "errno", None) in FULL:
        text += (
            f" It is the disk of temporary files here that is full: set TMPDIR to a folder with "
            f"more room than '{tempfile.gettempdir()}' has."
        )
    error.args = (text,)
    error.detail = as_addresses(error.detail)


@contextlib.contextmanager
def local_copies(
    values: Mapping[str, Any], outputs: Collection[str], in_parts: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """The arguments of a command, with local paths where they were addresses.

    Parameters
    ----------
    values : mapping
        Arguments by name. Addresses may stand in lists and pairs.
    outputs : collection of str
        Names of those that are written.
    in_parts : collection of str
        Names of those of which catalogs in HATS are brought without their rows (see
        `Copies.fetched_without_rows`).

    Raises
    ------
    RemoteError
        If something cannot be read or written.
    TargetselError
        Whatever the block raises, with addresses in its message.
    """
    written: list[Place] = []
    read: list[Place] = []
    apart = {Place.of(values.get(name)) for name in in_parts}  # which stay so under any other name

    def exchanged(value: Any, name: str) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(exchanged(each, name) for each in value)
        if (place := Place.of(value)) is None:
            return value
        if name in outputs:
            written.append(place)
            path = copies.begun(place)
        else:
            properties = copies.fetched_without_rows(place) if place in apart else None
            path = properties or copies.fetched(place)
            if not properties:
                read.append(place)
        return str(path) if isinstance(value, str) else path

    # Outputs first: what cannot be written is said before anything is brought.
    order = sorted(values, key=lambda name: name not in outputs)
    try:
        changed = {name: exchanged(values[name], name) for name in order}
        yield {name: changed[name] for name in values}
    except TargetselError as error:
        show_addresses(error)
        raise
    for place in read:
        copies.check_unchanged(place)
    for place in written:
        if copies.path(place).exists():
            copies.published(place)


def with_addresses(*outputs: str, in_parts: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: paths among the arguments of a function may be addresses.

    Parameters
    ----------
    *outputs : str
        Names of the parameters that are written.
    in_parts : str
        Name of the one whose partitions are read one by one, if the output is a folder of some.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:  # which the call says better
                return function(*args, **kwargs)
            parts = [in_parts] if goes_to_parts(bound.arguments.get("output")) else []
            files = {k: v for k, v in bound.arguments.items() if k not in SERVICES}
            with local_copies(files, outputs, parts) as arguments:
                bound.arguments.update(arguments)
                return function(*bound.args, **bound.kwargs)

        return run

    return decorate
