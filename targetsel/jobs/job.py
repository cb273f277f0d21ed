"""A large job: the same work on every part of a catalog, and its record on disk.

A job lives in the folder that it writes, below `_job`, which readers of catalogs leave out:

- `job.json` says what is done (`kind`, `settings`), what the result depends on (`identity`: hashes
  of input, networks and rules, options, version), and the names of its parts;
- `parts/NAME.jsonl` is the log of one part, a line for each event;
- `unfinished` holds what is made of parts in work;
- `progress.jsonl` gets a line for each part that is done or has failed, for those who watch.

Any number of processes on any number of machines that see the folder may work on the parts. A log
is only appended to, so that a process that is killed at any moment leaves a record of what it had
begun, and what is finished is never done again. A job is resumed with the same identity alone.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from targetsel.errors import OutputError
from targetsel.tables.files import disk_errors, make_folder, take_lock, written_beside
from targetsel.tables.journal import check_settings
from targetsel.tables.reading import reading

FOLDER = "_job"
MOST_ERRORS, MOST_DEATHS = 3, 5  # of a part, after which it counts as failed
DONE, FAILED, RUNNING, WAITING = "done", "failed", "running", "waiting"
LOOKS = 20  # of a process that finds a part held, before it leaves it to others
# What a line of a log must hold beside its event; others are left out as damaged.
NEEDED: Mapping[str, Sequence[tuple[str, type]]] = {
    "begun": (),
    "failed": (("reason", str),),
    "done": (("facts", dict),),
    "again": (),
}
KILLED = "its process was killed, ran out of memory or crashed. Try it with more memory."


@dataclass(frozen=True)
class PartState:
    """How far one part of a job has come.

    Attributes
    ----------
    name : str
    status : str
        "done", "failed" (after `MOST_ERRORS` or `MOST_DEATHS` of its process), "running" or
        "waiting".
    attempts : int
        Attempts of the present run.
    reason : str
        Why the last attempt failed; empty if none did.
    facts : mapping
        What the work says of its result, such as its number of rows; empty until it is done.
    """

    name: str
    status: str
    attempts: int
    reason: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """The work on every part of a catalog.

    Attributes
    ----------
    output : Path
        The folder that is written.
    kind : str
        What is done with each part, such as "score".
    settings : mapping
        All that the work needs, as plain values for JSON: names of files, and options.
    identity : mapping
        All that its result depends on.
    parts : tuple of str
        Names of the parts, which are paths below the catalog's folder without their ending.
    """

    output: Path
    kind: str
    settings: Mapping[str, Any]
    identity: Mapping[str, Any]
    parts: tuple[str, ...]

    @classmethod
    def begin(
        cls,
        output: Path,
        kind: str,
        settings: Mapping[str, Any],
        identity: Mapping[str, Any],
        parts: Sequence[str],
    ) -> Job:
        """A new job in a folder, or the one that was begun there.

        Raises
        ------
        OutputError
            If the folder holds a job of another identity, or files of something else.
        """
        folder = output / FOLDER
        if output.exists() and not folder.exists() and (
            not output.is_dir() or any(output.iterdir())
        ):  # fmt: skip
            raise OutputError(
                f"{output}: holds something else than an unfinished catalog of targetsel. Choose "
                "another output, or move it."
            )
        make_folder(folder / "parts")
        check_settings(folder / "identity.json", {"kind": kind, **identity}, output)
        whole = {"kind": kind, "settings": settings, "identity": identity, "parts": list(parts)}
        with written_beside(folder / "job.json") as beside:
            beside.write_text(json.dumps(whole, indent=1, sort_keys=True))
        return cls.open(output)

    @classmethod
    def open(cls, output: Path) -> Job:
        """The job of a folder.

        Raises
        ------
        OutputError
            If there is none, or its description is damaged.
        """
        path = Path(output) / FOLDER / "job.json"
        if not path.exists():
            raise OutputError(
                f"{output}: no job of targetsel (no {FOLDER}/{path.name}). Name the folder that a "
                "command such as 'targetsel score' writes of a HATS catalog."
            )
        with reading(path, OutputError, "the description of a job", "Begin the job again."):
            told = json.loads(path.read_text())
            return cls(
                Path(output), told["kind"], told["settings"], told["identity"], (*told["parts"],)
            )

    @property
    def folder(self) -> Path:
        return self.output / FOLDER

    def log(self, part: str) -> PartLog:
        return PartLog(part, self.folder / "parts" / f"{part.replace('/', '.')}.jsonl")

    def unfinished(self, part: str) -> Path:
        """Where the table of a part is made, which is moved to its place once it is whole."""
        return self.folder / "unfinished" / f"{part}.parquet"

    def report(self, state: PartState) -> None:
        """Write a line on a part that is done or has failed to `progress.jsonl`."""
        facts = {name: state.facts[name] for name in ("rows", "seconds") if name in state.facts}
        told = {"part": state.name, "status": state.status, **facts, "host": platform.node()}
        reason = {"reason": state.reason} if state.reason else {}
        _append(self.folder / "progress.jsonl", told | reason)

    @contextlib.contextmanager
    def finishing(self) -> Iterator[bool]:
        """The end of the job for one process alone; gives False where another is at it."""
        path = self.folder / "finish.lock"
        with disk_errors(path), open(path, "a") as file:
            yield take_lock(file)

    def states(self) -> list[PartState]:
        """How far every part has come, in the order of the parts."""
        return [self.log(part).state() for part in self.parts]

    @cached_property
    def sha256(self) -> str:
        """The hash of what is done, by which processes tell one job from another."""
        import hashlib

        text = json.dumps([self.kind, self.settings, self.identity], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def shard_of(parts: Sequence[str], shard: str) -> tuple[str, ...]:
    """The parts of one shard, such as "3/8": every eighth one from the third on.

    Raises
    ------
    OutputError
        If it is no number from 1 to N over N.
    """
    number, slash, of = shard.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise OutputError(
            f"--shard {shard}: expected K/N with K from 1 to N, such as 3/8 for the third of eight."
        )
    return tuple(parts[int(number) - 1 :: int(of)])


class PartLog:
    """The log of one part: who began it when, how it failed, and what it gave."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    def state(self, is_mine: bool = False) -> PartState:
        """How far the part has come; `is_mine` where this process holds it and has not begun."""
        begun = errors = 0
        reason, last = "", ""
        facts: Mapping[str, Any] = {}
        for line in self._lines():
            last = line["event"]
            match last:
                case "begun":
                    begun += 1
                    reason = self._reason_of_end()  # unless something is said of it afterwards
                case "failed":
                    errors, reason = errors + 1, line["reason"]
                case "again":
                    begun = errors = 0
                    reason = ""
                case "done":
                    reason, facts = "", line["facts"]
        if last == "done":
            return PartState(self.name, DONE, begun, "", facts)
        if last == "begun" and not is_mine and self._is_held():
            return PartState(self.name, RUNNING, begun, "", {})
        failed = errors >= MOST_ERRORS or begun - errors >= MOST_DEATHS
        return PartState(self.name, FAILED if failed else WAITING, begun, reason, {})

    def spans(self) -> Iterator[tuple[float, float]]:
        """When an attempt began and when it was done, each in seconds since 1970."""
        start = None
        for line in self._lines():
            if line["event"] == "begun":
                start = line.get("time")
            elif line["event"] == "done" and start is not None:
                end = line.get("time", start)
                # A clock that was set meanwhile does not change how long the part took.
                yield end - line["facts"].get("seconds", end - start), end

    def at_work(self) -> dict[str, Any]:
        """The last line on the beginning of an attempt; empty if there is none."""
        return next((each for each in reversed([*self._lines()]) if each["event"] == "begun"), {})

    def begun(self) -> None:
        self._add({"event": "begun", "host": platform.node(), "process": os.getpid()})

    def failed(self, reason: str, traceback: str) -> None:
        self._add({"event": "failed", "reason": reason, "traceback": traceback})

    def done(self, facts: Mapping[str, Any]) -> None:
        self._add({"event": "done", "host": platform.node(), "facts": dict(facts)})

    def again(self) -> None:
        """Begin to count the attempts anew, in another run."""
        self._add({"event": "again"})

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """The part for one process alone; gives False where another one has it.

        The lock goes with the process, however that ends.
        """
        with disk_errors(self.path), open(self._lock_path, "a") as file:
            patience = LOOKS
            while not (mine := take_lock(file)) and patience:  # somebody may only have a look
                time.sleep(0.01)
                patience -= 1
            yield mine

    def _is_held(self) -> bool:
        try:
            with open(self._lock_path) as file:  # which may be somebody else's
                return not take_lock(file, shared=True)
        except OSError:
            return False

    def _reason_of_end(self) -> str:
        """Why a process ended that said nothing."""
        try:
            limit, *trace = self.trace_path.read_text().splitlines()
        except (OSError, ValueError):
            return KILLED
        return limit if trace else KILLED

    @property
    def trace_path(self) -> Path:
        """Where a process was that took too long."""
        return self.path.with_suffix(".trace")

    @property
    def _lock_path(self) -> Path:
        return self.path.with_suffix(".lock")

    def _add(self, event: Mapping[str, Any]) -> None:
        _append(self.path, event)

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            text = self.path.read_text(errors="replace")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                found = json.loads(line)
                if all(isinstance(found[key], kind) for key, kind in NEEDED[found["event"]]):
                    yield found


def _append(path: Path, event: Mapping[str, Any]) -> None:
    """Append a line of JSON at once, so that lines of two processes never mix."""
    line = json.dumps({**event, "time": round(time.time(), 3)}) + "\n"
    with disk_errors(path):
        place = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            whole = b"\n" * _was_cut(path) + line.encode()
            if os.write(place, whole) < len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(place)
        finally:
            os.close(place)


def _was_cut(path: Path) -> bool:
    """Whether the last line is not whole, of a machine that crashed."""
    try:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except OSError:  # new, or empty
        return False
