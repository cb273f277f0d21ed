"""Commands that are killed, or interrupted, and run again.

    python benchmarks/kills.py score [--kills 100] [--signal KILL] [--seed 0] [--folder FOLDER]
    python benchmarks/kills.py score --twice 20

A command runs undisturbed, which gives the reference. Then it is killed (SIGKILL) in another run in
a copy of the same inputs, and run again to its end. Half of the moments are spread evenly in time;
the others are events: before a file is opened for writing, made, renamed or removed, and before the
command says its result. All of the last events are among them, so that the end is not missed. A run
that ends before its moment does not count, and another is tried, stopped a little sooner. Every
second kill takes only the process itself and leaves its workers to notice; every fourth run again
is killed once more.

Checked are, each time:

* under the name of a result there is nothing after the kill, or the whole result;
* the next run gives the bytes of the reference, and leaves the same files, so no litter;
* it says that it resumes as many finished pieces as there were, where the command has pieces;
* its processes end with it.

With `--signal INT` or `TERM` the command is interrupted instead, with all its processes as by a
terminal or alone as by `kill`. Checked are moreover its exit status (130, 143), that there is no
traceback, and that its last line says what is kept. With `--twice` two runs begin at once on one
output: one may refuse in one line, and the result must be that of the reference.

Runs are forked from this process, which imports what the first of them imported, so that kills fall
into the work and not into imports. The commands are in kills_cases.py.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import importlib
import io
import json
import mmap
import os
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the toys of tests

EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
LAST_EVENTS = 25  # of which every one is tried
ENDS_AFTER = 10.0  # [s] within which the processes of a killed run must have ended
SOONER = 0.8  # of its time, where a run had ended before its moment
STATUSES = {signal.SIGINT: 130, signal.SIGTERM: 143}
KEPT = re.compile(
    r"Interrupted\. .*: run the same command again to (go on from there|begin anew)\."
)
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Moment:
    """When a run is stopped: after a part of its time, in seconds, or before an event."""

    part: float | None = None
    seconds: float | None = None
    event: int | None = None

    def __str__(self) -> str:
        return f"event {self.event}" if self.seconds is None else f"{self.seconds:.2f} s"


NEVER = Moment()


@dataclass
class Tally:
    """What became of the runs that were stopped.

    Attributes
    ----------
    hit : int
        Runs that were stopped within their work.
    missed : int
        Runs that ended before their moment.
    resumed : int
        Finished pieces that the next runs resumed.
    parts : list of float
        How much of the events of a whole run had passed, for each hit.
    times : list of float
        How much of the time of a whole run had passed, for each hit by time.
    before : list of str
        The event that was next, for each hit at an event.
    faults : list of str
    """

    hit: int = 0
    missed: int = 0
    resumed: int = 0
    parts: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Counted:
    """A count of events in memory that is shared with the run that counts them."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 4096)

    def clear(self) -> None:
        self._map[:] = bytes(4096)

    @property
    def n(self) -> int:
        return int.from_bytes(self._map[:8], "little")

    @property
    def last(self) -> str:
        return self._map[8:].rstrip(b"\0").decode(errors="replace")

    def add(self, what: str) -> int:
        self._map[:8] = (self.n + 1).to_bytes(8, "little")
        self._map[8:] = what.encode()[:4000].ljust(4088, b"\0")
        return self.n


class Runs:
    """Runs of one command in copies of its inputs.

    Attributes
    ----------
    words : list of str
        The command line after "targetsel".
    place : Path
        Where the copies are made.
    counted : Counted
        The events of the last run.
    """

    def __init__(self, words: str, place: Path) -> None:
        self.words, self.place, self.counted = words.split(), place, Counted()
        self._seconds: list[float] = []

    def run(self, folder: Path) -> tuple[int, str]:
        """Exit status (negative: the signal that ended it) and output of an undisturbed run."""
        start = time.monotonic()
        ended = self.end(self.start(folder), folder)
        self._seconds.append(time.monotonic() - start)
        return ended

    @property
    def seconds(self) -> float:
        """How long an undisturbed run takes, now that the machine is as busy as it is."""
        return statistics.median(self._seconds[-5:])

    def start(
        self,
        folder: Path,
        moment: Moment = NEVER,
        number: int = signal.SIGKILL,
        alone: bool = False,
        log: str = "log",
    ) -> int:
        """Begin a run; its process, which leads a group of its own."""
        self.counted.clear()
        child = os.fork()
        if not child:
            stop = (moment.event, number, alone)
            _command(self.words, folder, folder.with_suffix(f".{log}"), self.counted, stop)
        with contextlib.suppress(OSError):  # whichever of both comes first
            os.setpgid(child, child)
        return child

    def end(self, child: int, folder: Path, log: str = "log") -> tuple[int, str]:
        """Wait for a run; exit status and output."""
        _, status = os.waitpid(child, 0)
        path = folder.with_suffix(f".{log}")
        said = path.read_text(errors="replace") if path.exists() else ""
        return os.waitstatus_to_exitcode(status), said

    def copied(self, inputs: Path, name: str) -> Path:
        """A fresh copy of the inputs."""
        folder = self.place / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(inputs, folder)
        return folder


def _command(
    words: list[str],
    folder: Path,
    log: Path,
    counted: Counted,
    stop: tuple[int | None, int, bool],
) -> None:
    """Run the command in this process, and end it."""
    from targetsel.cli import main as command

    status = 1
    try:
        os.setpgid(0, 0)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        watch = _Watch(folder, counted, *stop)
        sys.stdout = io.TextIOWrapper(_Saying(watch), write_through=True)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        sys.argv = ["targetsel", *words]
        known = set(sys.modules)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
        sys.addaudithook(watch)
        try:
            command()
        finally:
            watch.event = -1  # what follows is no more of the command
            log.with_suffix(".modules").write_text("\n".join(set(sys.modules) - known))
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class _Watch:
    """Counts events, and stops the run before one of them."""

    def __init__(
        self, folder: Path, counted: Counted, event: int | None, number: int, alone: bool
    ) -> None:
        self.folder, self.counted, self.event = str(folder), counted, event
        self.number, self.alone, self.process = number, alone, os.getpid()

    def __call__(self, event: str, arguments: tuple) -> None:
        if event in EVENTS or (event == "open" and self._writes(arguments)):
            self.note(f"{event} {arguments[0]}")

    def note(self, what: str) -> None:
        if self.event == -1:
            return
        if self.counted.add(what) == self.event:
            (os.kill if self.alone else os.killpg)(self.process, self.number)

    def _writes(self, arguments: tuple) -> bool:
        path, _, flags = arguments
        if isinstance(path, int) or not flags & (os.O_WRONLY | os.O_RDWR):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(self.folder)


class _Saying(io.RawIOBase):
    """Standard output whose first line is an event."""

    def __init__(self, watch: _Watch) -> None:
        self._watch, self._said = watch, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        if not self._said:
            self._said = True
            self._watch.note("said")
        return os.write(1, data)


# ---------------------------------------------------------------------- what is checked


@dataclass(frozen=True)
class Reference:
    """An undisturbed run.

    Attributes
    ----------
    inputs : Path
    before, after : dict of str
        Hashes of the files before and after it, by name.
    events : int
        How many events it has.
    """

    inputs: Path
    before: dict[str, str]
    after: dict[str, str]
    events: int

    def not_whole(self, found: dict[str, str]) -> list[str]:
        """Results that are there and neither whole nor as they were before."""
        return [
            name
            for name, value in found.items()
            if name in self.after
            and ".fetched/" not in name  # a journal, which grows
            and value not in (self.after[name], self.before.get(name, self.after[name]))
        ]

    def differences(self, found: dict[str, str]) -> Iterator[str]:
        for name in sorted(found.keys() | self.after.keys()):
            if found.get(name) == self.after.get(name):
                continue
            if name not in self.after:
                yield f"{name} is left over"
            else:
                yield f"{name} {'differs' if name in found else 'is missing'}"


def moments_of(reference: Reference, n: int, rng: np.random.Generator) -> list[Moment]:
    """Moments of N stops: events, of which the last ones are all tried, and times."""
    last = min(LAST_EVENTS, reference.events, n // 4)
    first = np.arange(1, reference.events - last + 1)
    others = first[np.linspace(0, len(first) - 1, min(len(first), n // 2 - last)).astype(int)]
    events = [*others.tolist(), *range(reference.events - last + 1, reference.events + 1)]
    n_times = n - len(events)
    times = (np.arange(n_times) + rng.random(n_times)) / n_times
    found = [Moment(event=each) for each in events] + [Moment(each) for each in times.tolist()]
    return [found[k] for k in rng.permutation(n)]


def snapshot(folder: Path) -> dict[str, str]:
    """The hash of every file in a folder; empty for folders."""
    return {str(path.relative_to(folder)): _hash(path) for path in folder.rglob("*")}


def _hash(path: Path) -> str:
    return "" if path.is_dir() else hashlib.sha256(_content(path)).hexdigest()


def _content(path: Path) -> bytes:
    """The bytes of a file, less what is of the hour: times, and the order of answers."""
    if path.name.endswith(".manifest.parquet"):
        with contextlib.suppress(Exception):  # where it is not whole
            table = pq.read_table(path).drop_columns("time")
            return repr((table.schema.metadata, table.to_pylist())).encode()
    if path.name == "pieces":
        return b"%d" % path.stat().st_size
    if path.name == "journal.jsonl":
        return b"\n".join(sorted(_answers(path)))
    return path.read_bytes()


def _answers(path: Path) -> Iterator[bytes]:
    """The lines of a journal, less places and times."""
    for line in path.read_bytes().splitlines():
        entry = json.loads(line)
        for reply in entry["replies"]:
            reply["time"] = 0
        yield json.dumps(entry | {"start": 0, "check": 0}).encode()


def all_ended(group: int) -> bool:
    """Whether all processes of a group end within `ENDS_AFTER`."""
    until = time.monotonic() + ENDS_AFTER
    while time.monotonic() < until:
        with contextlib.suppress(ChildProcessError):  # orphans come to this process
            os.waitpid(-group, os.WNOHANG)
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


# ---------------------------------------------------------------------- kills


def referred(runs: Runs, case, place: Path) -> Reference:  # type: ignore[no-untyped-def]
    """The inputs, and what undisturbed runs make of them."""
    inputs = place / "inputs"
    if not (place / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        inputs.mkdir(parents=True)
        case.make(inputs)
        (place / "made").touch()
    found = []
    for k in range(4):
        whole = runs.copied(inputs, "whole")
        status, said = runs.run(whole)
        if status:
            raise SystemExit(f"{case.words}: fails undisturbed: {said}")
        found.append(snapshot(whole))
        if not k:
            for name in (place / "whole.modules").read_text().split():
                with contextlib.suppress(Exception):  # parts of modules
                    importlib.import_module(name)
    if any(each != found[0] for each in found):
        raise SystemExit(f"{case.words}: undisturbed runs differ")
    return Reference(inputs, snapshot(inputs), found[0], runs.counted.n)


def stop(runs: Runs, case, reference: Reference, given: argparse.Namespace) -> Tally:  # type: ignore[no-untyped-def]
    """Stop a command many times, run it again each time, and tell what is wrong."""
    rng, tally, number = np.random.default_rng(given.seed), Tally(), given.number
    until = time.monotonic() + 60 * given.minutes
    for k, moment in enumerate(moments_of(reference, given.kills, rng)):
        if time.monotonic() > until:
            break
        for missed in range(8):
            folder = runs.copied(reference.inputs, "stopped")
            part, seconds = moment.part, runs.seconds
            if part is not None:
                moment = Moment(part, seconds * part * SOONER**missed)
            status, said = _stopped(runs, folder, moment, number, bool(k % 2), tally)
            if status != 0:
                break
            tally.missed += 1
        else:
            continue
        tally.hit += 1
        tally.parts.append(runs.counted.n / reference.events)
        if moment.event is not None:
            tally.before.append(runs.counted.last)
        elif moment.seconds is not None:
            tally.times.append(moment.seconds / seconds)
        about = f"stop {k} at {moment}, of {seconds:.2f} s and {reference.events} events"
        faults = [*_after_stop(reference, folder, number, status, said)]
        if k % 4 == 0:  # stop the run again, too
            again = Moment(seconds=float(rng.uniform(0, seconds)))
            _stopped(runs, folder, again, number, False, tally)
            faults += [f"again {each}" for each in _after_stop(reference, folder)]
        faults += _after_next(runs, case, reference, folder, tally)
        tally.faults += [f"{about}: {each}" for each in faults]
        if faults:
            shutil.copytree(folder, runs.place / f"fault-{k}", dirs_exist_ok=True)
    return tally


def _stopped(
    runs: Runs, folder: Path, moment: Moment, number: int, alone: bool, tally: Tally
) -> tuple[int, str]:
    """A run that is stopped at a moment, alone or with its processes."""
    child = runs.start(folder, moment, number, alone)
    if moment.seconds is not None:
        time.sleep(moment.seconds)
        with contextlib.suppress(ProcessLookupError):
            (os.kill if alone else os.killpg)(child, number)
    status, said = runs.end(child, folder)
    if not all_ended(child):
        tally.faults.append(f"{moment}: processes go on after {ENDS_AFTER:.0f} s")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    return status, said


def _after_stop(
    reference: Reference,
    folder: Path,
    number: int = signal.SIGKILL,
    status: int = -signal.SIGKILL,
    said: str = "",
) -> Iterator[str]:
    for name in reference.not_whole(snapshot(folder)):
        yield f"{name} is there and not whole"
    if number == signal.SIGKILL:
        if status != -signal.SIGKILL:
            yield f"status {status}: {said}"
        return
    last = said.strip().rpartition("\n")[2]
    if status != STATUSES[signal.Signals(number)]:
        yield f"status {status}"
    if "Traceback" in said:
        yield f"a traceback: {said}"
    elif not KEPT.match(last):
        yield f"its last line is {last!r}"


def _after_next(runs: Runs, case, reference: Reference, folder: Path, tally: Tally) -> list[str]:  # type: ignore[no-untyped-def]
    """What is wrong with the next run after a stop."""
    n = case.finished(folder) if case.finished else 0
    whole = not [*reference.differences(snapshot(folder))]
    status, said = runs.run(folder)
    faults = [*reference.differences(snapshot(folder))]
    refused = status == 2 and re.search(case.refuses, said) if case.refuses else None
    if status and not (refused and not faults):
        faults.append(f"the next run fails: {said}")
    if case.finished and n != case.resumed(said) and not refused and not whole:
        faults.append(f"{n} pieces were finished, and the next run says: {said}")
    tally.resumed += n
    return faults


def twice(runs: Runs, reference: Reference, n: int) -> Tally:
    """Two runs that begin at once on one output, N times."""
    tally, rng = Tally(), np.random.default_rng(0)
    for k in range(n):
        folder = runs.copied(reference.inputs, "twice")
        first = runs.start(folder, log="first.log")
        time.sleep(rng.uniform(0, runs.seconds) if k % 2 else 0)
        second = runs.start(folder, log="second.log")
        ends = [runs.end(first, folder, "first.log"), runs.end(second, folder, "second.log")]
        refused = [said for status, said in ends if status == 2]
        tally.hit += len(refused) == 1
        for status, said in ends:
            if status not in (0, 2) or (status == 2 and len(said.strip().splitlines()) != 1):
                tally.faults.append(f"pair {k}: status {status}: {said}")
        if len(refused) == 2:
            tally.faults.append(f"pair {k}: both refuse: {refused}")
        differs = [*reference.differences(snapshot(folder))]
        tally.faults += [f"pair {k}: {each} ({refused})" for each in differs]
    return tally


def main() -> None:
    """Stop one command, or all, and print what went wrong."""
    from kills_cases import CASES

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("case", choices=[*CASES, "all"])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--signal", choices=("KILL", "INT", "TERM"), default="KILL")
    parser.add_argument("--twice", type=int, default=0, metavar="PAIRS")
    parser.add_argument("--minutes", type=float, default=60, help="stop fewer times after these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work, with inputs made before")
    given = parser.parse_args()
    given.number = signal.Signals[f"SIG{given.signal}"]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    faults = 0
    with contextlib.ExitStack() as stack:
        place = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in CASES if given.case == "all" else [given.case]:
            faults += try_case(CASES[name], (place / name).absolute(), given)
    sys.exit(bool(faults))


def try_case(case, place: Path, given: argparse.Namespace) -> int:  # type: ignore[no-untyped-def]
    """Try one command, print the outcome, and return the number of faults."""
    import targetsel.cli  # noqa: F401

    case.prepare()
    with case.service(place.parent) as url:
        runs = Runs(case.words.format(url=url), place)
        reference = referred(runs, case, place)
        print(f"{case.words}: {runs.seconds:.2f} s, {reference.events} events", flush=True)
        if given.twice:
            tally = twice(runs, reference, given.twice)
            print(f"  {given.twice} pairs at once, of which {tally.hit} times one refused")
        else:
            tally = stop(runs, case, reference, given)
            tell(tally, given.kills, given.signal)
    print("\n".join(f"  FAULT {each}" for each in tally.faults[:20]) or "  no fault", flush=True)
    return len(tally.faults)


def tell(tally: Tally, wanted: int, name: str) -> None:
    """Print how the stops were spread."""
    edges = np.linspace(0, 1, 11)
    by_time, by_event = (
        np.histogram(each, edges)[0].tolist() for each in (tally.times, tally.parts)
    )
    print(f"  SIG{name}: {tally.hit} of {wanted} hit, {tally.missed} runs ended before")
    print(f"  hits at times, by tenths of the run: {by_time}")
    print(f"  all hits by tenths of the events passed: {by_event}")
    print(f"  {tally.resumed} finished pieces resumed; events hit, by what came next:")
    kinds = sorted({each.split()[0] for each in tally.before})
    print("    " + ", ".join(f"{k} {sum(b.startswith(k) for b in tally.before)}" for k in kinds))


if __name__ == "__main__":
    main()
