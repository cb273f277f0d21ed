"""Commands that are killed at random moments and run again.

    python benchmarks/kills.py score [--kills 100] [--seed 0] [--folder FOLDER]

A command runs once undisturbed, which gives the reference. Then it is killed (SIGKILL, with the
processes that it started) at a random moment of another run in a copy of the same inputs, and run
again to its end. Checked are, each time:

* under the name of a result there is nothing after the kill, or the whole result;
* the second run gives the bytes of the reference, and leaves the same files, so no litter;
* it says that it resumes as many finished pieces as there were, where the command has pieces.

A command is one `Case` below: its words, its inputs, and how its finished pieces are counted. Runs
are forked from this process, which has imported all that they need, so that kills fall into the
work and not into imports.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the toys of tests


@dataclass(frozen=True)
class Case:
    """A command to be killed.

    Attributes
    ----------
    words : str
        The command line after "targetsel"; it runs in the folder of its inputs.
    make : callable
        Writes the inputs into a folder.
    imports : str
        Modules to import before the first run.
    prepare : callable
        Called once in this process: cuts the work into small pieces.
    finished : callable, optional
        Number of pieces that a killed run has finished, from its folder.
    resumed : str
        Regular expression of the number of pieces that the next run says to resume.
    """

    words: str
    make: Callable[[Path], None]
    imports: str
    prepare: Callable[[], None] = lambda: None
    finished: Callable[[Path], int] | None = None
    resumed: str = ""


def make_score(folder: Path) -> None:
    """48 sources of the demonstration, and one member of the shipped ensemble."""
    from targetsel.mock.demonstration import write_demonstration
    from targetsel.novelty.novelty import NoveltyReference
    from targetsel.scoring.ensemble import Ensemble

    write_demonstration(folder, 48)
    for name in ("truth.parquet", "spectra.parquet"):
        (folder / name).unlink()
    shipped = Ensemble.read(calibrated=False)
    novelty = NoveltyReference.unknown(1, shipped.networks[0].head.in_features)
    card = {key: value for key, value in shipped.card.items() if key != "networks"}
    Ensemble(shipped.networks[:1], shipped.decoder, novelty, card).write(folder / "one")


def make_pack(folder: Path) -> None:
    """Images of 400 sources, and a catalog of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(400):
        np.save(folder / "images" / f"{number}.npy", rng.normal(size=(3, 32, 32)))
    places = {"ra": rng.uniform(0, 360, 400), "dec": rng.uniform(-90, 90, 400)}
    pq.write_table(pa.table({"source_id": np.arange(400), **places}), folder / "catalog.parquet")


def small_parts() -> None:
    import targetsel.imaging.packing

    targetsel.imaging.packing.SOURCES_PER_PART = 64


def small_chunks() -> None:
    import targetsel.scoring.stream

    targetsel.scoring.stream.ROWS_PER_CHUNK = 8


def make_scored(folder: Path) -> None:
    """24 sources of the demonstration, scored by the shipped ensemble, and spectra of two."""
    import pyarrow.parquet as pq

    from targetsel.mock.demonstration import write_demonstration
    from targetsel.spectra.grid import wavelengths

    write_demonstration(folder, 24)
    status, said = run(Case("score catalog.parquet --threads 2", make_scored, ""), folder)
    assert status == 0, said
    spectra = pq.read_table(folder / "spectra.parquet").slice(0, 2)
    flux = np.stack(spectra["flux_true"].to_numpy())
    np.savez(
        folder / "spectra.npz",
        source_id=spectra["source_id"].to_numpy(),
        wavelength=wavelengths() * 1.1,
        flux=flux,
        ivar=np.full_like(flux, 400 / flux.mean() ** 2),
    )
    write = Case("priors write catalog.scored.parquet -o known.parquet", make_scored, "")
    status, said = run(write, folder)
    assert status == 0, said


def make_train(folder: Path) -> None:
    """A toy sky whose networks learn in seconds."""
    import pyarrow as pa

    from targetsel.tables.columns import list_column
    from targetsel.tables.parquet import write_table
    from tests.training.toy_sky import toy_decoder, toy_labels, toy_store

    labels = toy_labels()
    toy_store(folder / "cutouts", labels)
    columns = {
        "source_id": pa.array(labels.source_id),
        "latent_mean": list_column(labels.mean),
        "latent_std": list_column(labels.noise),
    }
    write_table(pa.table(columns), folder / "latents.parquet")
    toy_decoder().write(folder / "decoder.safetensors")


def make_decoder_train(folder: Path) -> None:
    """Noise-free spectra about the mean of the shipped basis."""
    from targetsel.spectra.rest_frame import Basis

    basis, rng = Basis.shipped(), np.random.default_rng(0)
    parts = 0.02 * rng.normal(size=(400, len(basis.components)))
    np.savez(folder / "spectra.npz", flux=basis.mean + parts @ basis.components)


CASES = {
    "score": Case(
        "score catalog.parquet --ensemble one --threads 2",
        make_score,
        "targetsel.scoring.stream targetsel.walk scipy.stats pandas",
        small_chunks,
        lambda folder: len(list(folder.glob("*.partial/part-*.parquet"))),
        r"had finished (\d+) chunks",
    ),
    "pack": Case(
        "cutouts pack images -o store --catalog catalog.parquet --bands gri --pixel-scale 0.25 "
        "--zeropoint 22.5",
        make_pack,
        "targetsel.imaging.packing targetsel.imaging.folder targetsel.sky.catalog",
        small_parts,
    ),
    **{
        name: Case(words, make_scored, "targetsel.priors.update")
        for name, words in (
            ("priors", "priors write catalog.scored.parquet -o priors.parquet"),
            ("priors-fits", "priors write catalog.scored.parquet -o priors --format fits"),
            (
                "priors-update",
                "priors update known.parquet --spectra spectra.npz --redshift-range 0.05 0.15 "
                "-o updated.parquet",
            ),
        )
    },
    "train": Case(
        "train cutouts --latents latents.parquet --decoder decoder.safetensors -o new --epochs 4 "
        "--members 2 --width 0.125 --bin 2 --workers 1 --device cpu",
        make_train,
        "targetsel.training.plan targetsel.training.ensemble_training matplotlib.figure pandas",
    ),
    "decoder-train": Case(
        "decoder train spectra.npz -o new --epochs 6 --latents vae2",
        make_decoder_train,
        "targetsel.training.decoder_training matplotlib.figure",
    ),
}


def main() -> None:
    """Kill one command, or all, and print what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("case", choices=[*CASES, "all"])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    given = parser.parse_args()
    faults = 0
    with contextlib.ExitStack() as stack:
        place = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in CASES if given.case == "all" else [given.case]:
            found = kill(CASES[name], place / name, given.kills, given.seed)
            faults += len(found)
            print("\n".join(found[:20]) or f"{name}: no fault")
    sys.exit(bool(faults))


def kill(case: Case, place: Path, kills: int, seed: int) -> list[str]:
    """Faults found in a number of kills of one command, as sentences."""
    import targetsel.cli  # noqa: F401

    for name in case.imports.split():
        importlib.import_module(name)
    case.prepare()
    shutil.rmtree(place, ignore_errors=True)
    inputs, rng, faults = place / "inputs", np.random.default_rng(seed), []
    inputs.mkdir(parents=True)
    case.make(inputs)
    at_first = snapshot(inputs)
    whole = copied(inputs, place / "whole")
    start = time.monotonic()
    status, said = run(case, whole)
    duration = time.monotonic() - start
    if status:
        return [f"{case.words}: fails undisturbed: {said}"]
    expected = snapshot(whole)
    results = {name: value for name, value in expected.items() if at_first.get(name) != value}
    hit = resumed = 0
    for k in range(kills):
        folder, delay = copied(inputs, place / "killed"), rng.uniform(0, 1.05 * duration)
        status, _ = run(case, folder, delay)
        about = f"kill {k} after {delay:.2f} of {duration:.2f} s"
        faults += [
            f"{about}: {name} is there and not whole"
            for name, value in snapshot(folder).items()
            if name in results and results[name] != value and at_first.get(name) != value
        ]
        if status == 0:
            continue
        hit += 1
        n = case.finished(folder) if case.finished else 0
        status, said = run(case, folder)
        if status:
            faults.append(f"{about}: the next run fails: {said}")
            continue
        after = snapshot(folder)
        for name in sorted(after.keys() | expected.keys()):
            if after.get(name) != expected.get(name):
                what = "is left over" if name not in expected else "is missing"
                differs = name in after and name in expected
                faults.append(f"{about}: {name} {'differs' if differs else what}")
        found = re.search(case.resumed, said) if case.resumed else None
        if case.finished and n != (int(found[1]) if found else 0):
            faults.append(f"{about}: {n} pieces were finished, and the next run says: {said}")
        resumed += n
    print(f"{case.words}: {hit} of {kills} runs killed, {resumed} finished pieces resumed")
    return faults


def run(case: Case, folder: Path, delay: float | None = None) -> tuple[int, str]:
    """Exit status and output of a command, which is killed after `delay` seconds."""
    log = folder.with_suffix(".log")
    child = os.fork()
    if not child:
        _command(case, folder, log)
    with contextlib.suppress(OSError):  # whichever of both comes first
        os.setpgid(child, child)
    if delay is not None:
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return status, log.read_text(errors="replace") if log.exists() else ""


def _command(case: Case, folder: Path, log: Path) -> None:
    """Run the command in this process, and end it."""
    from targetsel.cli import main as command

    status = 1
    try:
        os.setpgid(0, 0)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        sys.argv = ["targetsel", *case.words.split()]
        command()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def copied(inputs: Path, folder: Path) -> Path:
    """A fresh copy of the inputs."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(inputs, folder)
    return folder


def snapshot(folder: Path) -> dict[str, str]:
    """The hash of every file in a folder; empty for folders."""
    return {str(path.relative_to(folder)): _hash(path) for path in folder.rglob("*")}


def _hash(path: Path) -> str:
    return "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
