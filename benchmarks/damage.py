"""Damaged files: every reader on mutants of every kind of file that targetsel reads.

    python benchmarks/damage.py --count 300 [--kind scored] [--seed 7] [--seconds 60]

A mutant is a good file with some bytes changed, or with its structure changed: a column, key or
card removed, renamed or of another type, nulls, NaN, huge numbers, lists of other lengths, footers
and metadata lost, blocks zeroed, pages lost, files joined (`mutants.py`). Its reader must take it
or refuse it with a `TargetselError`. Failures are a traceback, a crash, over 10 s, over 2 GB of
memory, a program that is run, a change of any file outside the output, and ids that are not those
of the file that was taken (`damage_ids.py`). The mutant is kept, with what happened, in a folder
named after its kind, seed and number, below build/damaged.

`KINDS` says how a file of each kind is made and what reads it. All is drawn from the seed, so
`--kind scored --seed 7 --only 123` makes that mutant again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import damage_ids
import numpy as np
from damage_files import (
    DESI_SETTINGS,
    LINES,
    PACK,
    RULES,
    SCORED,
    SELECT,
    TARGETS,
    both,
    command,
    copied,
    make_arrays,
    make_assigned,
    make_base,
    make_calibration,
    make_catalog,
    make_checkpoint,
    make_design,
    make_distributions,
    make_filled,
    make_grid_spectra,
    make_hats,
    make_hdf5,
    make_ids,
    make_images,
    make_journal,
    make_listed,
    make_nested,
    make_parts,
    make_pickle,
    make_priors,
    make_region,
    make_spectra,
    make_spectrum,
    one_of,
    read_calibration,
    read_catalog,
    read_checkpoint,
    read_decoder,
    read_ensemble,
    read_hats,
    read_journal,
    read_labels,
    read_priors,
    read_store,
    read_weights,
    shipped,
    text,
)
from damage_spectra import make_desi, make_spspec
from mutants import Random, damaged

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the files of tests

from targetsel.cli import REFUSALS
from targetsel.errors import TargetselError

LIMIT_SECONDS = 10.0  # of a processor, which other work on the machine does not shorten
IDLE = 6  # times as long may it take in all
LIMIT_BYTES = 2 * 1024**3
PORTION = 100  # mutants that one process reads
KEEP = Path(__file__).parents[1] / "build" / "damaged"

# --- kinds of files -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes
    ----------
    make : callable
        Makes good files in a folder, given the folder of `make_base`; gives the paths of those
        that are to be damaged.
    read : callable
        Reads them; what it writes goes into ``out/`` of the folder.
    writes : tuple of str
        Names of files that reading may change, besides.
    ids : callable, optional
        Says how the ids that the reader takes differ from those in the damaged file; else "".
    """

    make: Callable[[Path, Path], list[Path]]
    read: Callable[[Path], object]
    writes: tuple[str, ...] = ()
    ids: Callable[[Path], str] | None = None


KINDS: dict[str, Kind] = {
    "catalog-parquet": Kind(
        copied("catalog.parquet"),
        read_catalog("catalog.parquet"),
        ids=damage_ids.of_catalog("catalog.parquet"),
    ),
    **{
        f"catalog-{suffix}": Kind(
            make_catalog(f".{suffix}"),
            read_catalog(f"c.{suffix}"),
            ids=damage_ids.of_catalog(f"c.{suffix}"),
        )
        for suffix in ("fits", "xml", "ecsv", "csv")
    },
    "catalog-hats": Kind(make_hats, read_hats),
    "scored": Kind(
        copied(SCORED, "bright.yaml"),
        command("select", "--rules", "bright.yaml", SCORED, "-o", "out/t.parquet"),
        ids=damage_ids.of_scored(SCORED),
    ),
    "scored-maps": Kind(
        copied(SCORED, "maps.json"),
        command("lines", "apply", SCORED, "--maps", "maps.json", "-o", "out/c.parquet"),
    ),
    "targets": Kind(
        copied(TARGETS), command("density", TARGETS), ids=damage_ids.of_targets(TARGETS)
    ),
    "targets-export": Kind(
        copied(TARGETS, "desi.yaml"),
        command(
            "export", TARGETS, "--for", "desi", "--config", "desi.yaml", "--assume-still",
            "-o", "out/t.fits",
        ),
    ),
    **{
        f"redshifts-{name}": Kind(
            make_distributions(name),
            command("join-redshifts", SCORED, "--redshift-pdf", name, "-o", "out/j.parquet"),
        )
        for name in ("z.hdf5", "z.pq")
    },
    "truth": Kind(
        copied("known.parquet", SCORED, "strong.yaml"),
        command("forecast", "--rules", "strong.yaml", SCORED, "--labelled", SCORED,
                "--truth", "known.parquet"),
        ids=damage_ids.of_truth("known.parquet", SCORED),
    ),
    "latents": Kind(
        copied("latents.parquet", SCORED, "tiny"),
        command("compare", SCORED, "--spectra", "latents.parquet", "--ensemble", "tiny",
                "-o", "out/c.parquet"),
    ),
    "labels-latents": Kind(copied("latents.parquet", "tiny"), read_labels),
    **{
        f"labels-{suffix}": Kind(make_grid_spectra(suffix), read_labels)
        for suffix in ("npz", "parquet")
    },
    "checkpoint": Kind(make_checkpoint, read_checkpoint),
    "cutouts": Kind(copied("cutouts"), read_store),
    "cutouts-partitions": Kind(make_parts, read_store),
    "images-nested": Kind(
        make_nested,
        command("cutouts", "pack", "nested.parquet", "-o", "out/store", "--catalog",
                "nested.parquet", "--zeropoint", "22.5"),
    ),
    "images-hdf5": Kind(
        make_hdf5,
        command("cutouts", "pack", "images", "-o", "out/store", "--catalog", "catalog.parquet",
                "--zeropoint", "22.5"),
    ),
    "images-fits": Kind(make_images, command(*PACK)),
    "images-npy": Kind(
        make_arrays, command(*PACK, "--pixel-scale", "0.25", "--zeropoint", "22.5")
    ),
    "spectra-desi": Kind(make_desi, command("spectra", "measure", "coadd-d.fits", "-o", "out/m")),
    "spectra-spspec": Kind(make_spspec, command("spectra", "measure", "s.fit", "-o", "out/m")),
    "spectra-fits": Kind(make_spectrum, command("spectra", "measure", "s.fits", "-o", "out/m")),
    **{
        f"spectra-{suffix}": Kind(
            make_spectra(f".{suffix}"),
            command("spectra", "measure", f"s.{suffix}", "--redshift", "0.1", "-o", "out/m"),
        )
        for suffix in ("npz", "csv", "parquet")
    },
    "rules": Kind(text("r.yaml", RULES, SCORED, "other.parquet"), command(*SELECT)),
    **{
        f"excluded-{suffix}": Kind(
            make_listed(f".{suffix}"), command(*SELECT), ids=damage_ids.of_excluded(f"x.{suffix}")
        )
        for suffix in ("parquet", "csv", "fits", "ecsv")
    },
    **{
        f"region-{suffix}": Kind(make_region(f".{suffix}"), command(*SELECT))
        for suffix in ("reg", "fits", "json")
    },
    "calibration": Kind(make_calibration, read_calibration),
    "card": Kind(one_of("tiny/card.json"), read_ensemble),
    "safetensors": Kind(one_of("tiny/decoder.safetensors"), read_decoder),
    "weights": Kind(make_pickle, read_weights),
    "journal": Kind(make_journal, read_journal, ("settings.json", "journal.jsonl", "pieces")),
    "settings": Kind(
        text("s.yaml", DESI_SETTINGS, TARGETS),
        command("export", TARGETS, "--for", "desi", "--assume-still", "--config", "s.yaml",
                "-o", "out/t.fits"),
    ),
    "assigned-desi": Kind(
        make_assigned, command("import-assignment", TARGETS, "fba-000001.fits", "-o", "out/left")
    ),
    "assigned-pfs": Kind(
        make_design,
        command("import-assignment", TARGETS, "pfsDesign-0x0000000000000001.fits", "-o", "out/l"),
    ),
    "ids": Kind(
        make_ids,
        command("import-assignment", TARGETS, "fba-000001.fits", "--ids", "ids.ecsv",
                "-o", "out/l"),
    ),
    **{
        f"filled-{tool}": Kind(
            make_filled(name, tool),
            command("export", TARGETS, "--for", tool, "--assume-still", "--config", "s.yaml",
                    "-o", "out/t.fits"),
        )
        for tool, name in (("weave", "t.fits"), ("gmmps", "i.fits"))
    },
    "priors": Kind(make_priors, read_priors),
    "maps": Kind(
        copied("maps.json", SCORED),
        command("lines", "apply", SCORED, "--maps", "maps.json", "-o", "out/c.parquet"),
    ),
    "lines": Kind(text("l.yaml", LINES), command("lines", "show", "--lines", "l.yaml")),
    "spectrograph": Kind(
        both(shipped("targetsel.spectrographs", "data/desi.yaml", "s.yaml"), copied(SCORED)),
        command("observe", SCORED, "--spectrograph", "s.yaml", "--size", "1arcsec",
                "--line", "ew_halpha", "-o", "out/o.parquet"),
    ),
    "variation": Kind(
        text("v.yaml", "link: 0.5\nseeing: 1.2\nzero_point: {g: 0.03}\nredshift: [0.02, 0.1]\n"),
        command("mock", "--n", "1", "--workers", "1", "--variation", "v.yaml", "-o", "out/sky"),
    ),
}  # fmt: skip


DEEDS: list[str] = []  # of the mutant that is read
RUNS = {
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "os.kill",
    "socket.connect", "socket.getaddrinfo", "webbrowser.open",
}  # fmt: skip
WRITES = {"open", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
          "os.chmod", "os.truncate", "shutil.rmtree", "shutil.move"}  # fmt: skip
HARMLESS = {"collections", "torch", "torch._utils", "numpy", "numpy.dtypes"}

# --- reading under limits -------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """A mutant that was neither read nor refused."""

    kind: str
    number: int
    what: str
    detail: str = ""


@dataclass
class Tally:
    """Mutants of one kind."""

    read: int = 0
    refused: int = 0
    seconds: float = 0.0  # of a processor
    failures: list[Failure] = field(default_factory=list)


def generator(seed: int, kind: str, number: int) -> Random:
    return np.random.default_rng([seed, zlib.crc32(kind.encode()), number])


def outcome(kind: Kind, folder: Path) -> tuple[str, str]:
    """ "read" or "refused", or else what went wrong and its traceback."""
    (folder / "out").mkdir(exist_ok=True)
    before = _contents(folder, kind)
    try:
        with (
            open(os.devnull, "w") as null,
            contextlib.redirect_stdout(null),
            contextlib.redirect_stderr(null),
        ):
            kind.read(folder)
        found, detail = "read", ""
    except BaseException as error:
        found, detail = _judged(error), traceback.format_exc()
    if DEEDS:
        found, detail = f"did what no file may ask for: {DEEDS[0]}", "\n".join(DEEDS)
        DEEDS.clear()
    if found == "read" and kind.ids is not None and (difference := kind.ids(folder)):
        found, detail = "took other ids than the file has", difference
    if found in ("read", "refused") and _contents(folder, kind) != before:
        found, detail = "changed a file that it read, or wrote outside its output", ""
    shutil.rmtree(folder / "out", ignore_errors=True)
    return found, detail


def _judged(error: BaseException) -> str:
    if _ran_out_of_memory(error):
        return "over 2 GB of memory"
    if isinstance(error, TargetselError):
        line = str(error)
        return "refused" if "\n" not in line and len(line) < 2000 else "message of several lines"
    if isinstance(error, SystemExit) and error.code in (0, 1, 2):
        return "refused"
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return "refused"
    names = {each.__name__ for each in type(error).__mro__}
    return "refused" if names & {"ClickException", "Exit"} else type(error).__name__


def _ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an allocation failed that a larger machine would have granted."""
    while error is not None:
        if isinstance(error, MemoryError):
            size = re.search(r"[EPT]iB|size (\d+) failed", str(error))
            return not size or (size[1] is not None and int(size[1]) < 2**40)
        error = error.__cause__
    return False


def watch(folder: Path) -> None:
    """Note in `DEEDS` every program that is run, and every file outside that is written."""
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "out")
    inside = (str(folder), str(folder.resolve()), os.devnull)
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def note(event: str, values: tuple) -> None:
        if event in RUNS or (event == "pickle.find_class" and values[1] not in HARMLESS):
            DEEDS.append(f"{event} {values[-2:]}")
        elif event in WRITES and isinstance(values[0], str | bytes | os.PathLike):
            if event == "open" and not (values[2] or 0) & writing:
                return
            path = os.path.join(_within(event, values), os.fsdecode(values[0]))
            if not path.startswith(inside):
                DEEDS.append(f"{event} {path}")

    sys.addaudithook(note)


def _within(event: str, values: tuple) -> str:
    """The folder to which the path of an event is relative."""
    number = values[-1] if event in ("os.remove", "os.rmdir", "os.mkdir") else -1
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{number}") if number >= 0 else os.getcwd()
    return os.sep


def _contents(folder: Path, kind: Kind) -> list[tuple[str, int, int]]:
    return sorted(
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and "out" not in path.parts and path.name not in kind.writes
    )


def try_kind(
    name: str, base: Path, seed: int, numbers: list[int], keep: Path | None = None,
    seconds: float = np.inf,
) -> Tally:  # fmt: skip
    """Read mutants of one kind, each in a process that is replaced when it dies or hangs.

    No further one is begun after so many seconds of a processor.
    """
    kind, tally = KINDS[name], Tally()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            good = {path: path.read_bytes() for path in kind.make(base, place)}
        found, detail = outcome(kind, place)
        if found != "read":
            tally.failures.append(Failure(name, -1, f"good files were not read: {found}", detail))
            return tally
        left = list(numbers)
        while left:
            some = left[:PORTION] if tally.seconds < seconds else []
            if not some:
                break
            for number, what, detail, used in _forked(kind, name, place, good, seed, some):
                left.remove(number)
                tally.seconds += used
                if what in ("read", "refused"):
                    setattr(tally, what, getattr(tally, what) + 1)
                    continue
                tally.failures.append(Failure(name, number, what, detail))
                if keep is not None:
                    _keep(keep / f"{name}-{seed}-{number}", good, name, seed, number, what, detail)
    return tally


def mutant(good: dict[Path, bytes], name: str, seed: int, number: int) -> tuple[Path, bytes]:
    """One file of a kind, chosen by the seed, and its damaged bytes."""
    rng = generator(seed, name, number)
    path = sorted(good)[rng.integers(len(good))]
    return path, damaged(path, good[path], rng)


def _forked(
    kind: Kind, name: str, place: Path, good: dict[Path, bytes], seed: int, numbers: list[int]
) -> Iterator[tuple[int, str, str, float]]:
    """Results of mutants and the seconds they took, until all are done or one ends the process."""
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiver)
        _work(kind, name, place, good, seed, numbers, sender)
    os.close(sender)
    done, said, hung = 0, b"", False
    used, since = _used(child), time.monotonic()
    while done < len(numbers) and not hung:
        ready, _, _ = select.select([receiver], [], [], LIMIT_SECONDS / 10)
        if not ready:
            late = time.monotonic() - since > IDLE * LIMIT_SECONDS
            hung = late or _used(child) - used > LIMIT_SECONDS
            continue
        piece = os.read(receiver, 1 << 16)
        if not piece:
            break
        *lines, said = (said + piece).split(b"\n")
        for line in lines:
            yield numbers[done], *json.loads(line)
            done += 1
        used, since = _used(child), time.monotonic()
    os.close(receiver)
    if hung:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    for path, content in good.items():
        path.write_bytes(content)
    if done < len(numbers):
        what = f"over {LIMIT_SECONDS:g} s" if hung else f"the process died (status {status})"
        yield numbers[done], what, "", 0.0


def _used(process: int) -> float:
    """Seconds of a processor that a process has used; 0 of one that has ended."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _work(
    kind: Kind, name: str, place: Path, good: dict[Path, bytes], seed: int, numbers: list[int],
    sender: int,
) -> None:  # fmt: skip
    """The life of a process that reads mutants; it does not return."""
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        watch(place)
        with os.fdopen(sender, "wb", buffering=0) as pipe:
            for number in numbers:
                start = time.process_time()
                path, content = mutant(good, name, seed, number)
                path.write_bytes(content)
                found = outcome(kind, place)
                for each, before in good.items():
                    each.write_bytes(before)
                result = (*found, time.process_time() - start)
                pipe.write(json.dumps(result).encode() + b"\n")
    except BaseException:
        traceback.print_exc()
        os._exit(3)
    os._exit(0)


def _keep(
    folder: Path, good: dict[Path, bytes], name: str, seed: int, number: int, what: str, detail: str
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path, content = mutant(good, name, seed, number)
    (folder / path.name).write_bytes(content)
    (folder / "what.txt").write_text(
        f"{what}\npython benchmarks/damage.py --kind {name} --seed {seed} --only {number}\n{detail}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="default: all")
    parser.add_argument("--count", type=int, default=100, help="mutants of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the number of one mutant")
    parser.add_argument("--seconds", type=float, default=np.inf, help="of a processor, each kind")
    parser.add_argument("--keep", type=Path, default=KEEP, help="folder of failures")
    given = parser.parse_args()
    numbers = list(range(given.count)) if given.only is None else [given.only]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            make_base(base)
        for name in given.kind or KINDS:
            tally = try_kind(name, base, given.seed, numbers, given.keep, given.seconds)
            failed += len(tally.failures)
            print(
                f"{name:18} {tally.read:6} read {tally.refused:6} refused "
                f"{len(tally.failures):4} failed  {tally.seconds:6.1f} s",
                flush=True,
            )
            for each in tally.failures[: 5 if given.only is None else 1]:
                last = each.detail.strip().splitlines()
                print(f"    {each.number}: {each.what}  {last[-1][:150] if last else ''}")
                if given.only is not None or each.number < 0:
                    print(each.detail)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
