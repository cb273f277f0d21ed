"""The commands that kills.py kills: their words, their inputs, and how their work is cut."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def no_service(folder: Path) -> Iterator[str]:
    """For commands that ask no archive."""
    yield ""


@contextlib.contextmanager
def archives(folder: Path) -> Iterator[str]:
    """The address of services on loopback that have the sources of `places`."""
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    catalog = folder / "sky.parquet"
    pq.write_table(places(), catalog)
    words = [sys.executable, "-m", "tests.emulator", str(catalog), "--port", "0"]
    with subprocess.Popen(
        [*words, "--latency", "0.02"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().rpartition(": ")[0]
        finally:
            process.kill()


@dataclass(frozen=True)
class Case:
    """A command to be killed.

    Attributes
    ----------
    words : str
        The command line after "targetsel"; it runs in the folder of its inputs. "{url}" stands for
        the address of the services.
    make : callable
        Writes the inputs into a folder.
    prepare : callable
        Called once in this process: cuts the work into small pieces.
    finished : callable, optional
        Number of pieces that a killed run has finished, from its folder.
    resumed : callable
        Number of pieces that a run says to resume, from its output.
    service : callable
        Context of the services that the command asks.
    refuses : str
        Regular expression of the words with which the next run may refuse a result that is whole.
    """

    words: str
    make: Callable[[Path], None]
    prepare: Callable[[], None] = lambda: None
    finished: Callable[[Path], int] | None = None
    resumed: Callable[[str], int] = lambda said: 0
    service: Callable[[Path], contextlib.AbstractContextManager[str]] = no_service
    refuses: str = ""


def targetsel(words: str, folder: Path) -> None:
    """Run a command to its end, in a process of its own."""
    run = [sys.executable, "-m", "targetsel", *words.split()]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(run, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def make_score(folder: Path) -> None:
    """24 sources of the demonstration, and one member of the shipped ensemble."""
    from targetsel.mock.demonstration import write_demonstration
    from targetsel.novelty.novelty import NoveltyReference
    from targetsel.scoring.ensemble import Ensemble

    write_demonstration(folder, 24)
    for name in ("truth.parquet", "spectra.parquet"):
        (folder / name).unlink()
    shipped = Ensemble.read(calibrated=False)
    novelty = NoveltyReference.unknown(1, shipped.networks[0].head.in_features)
    card = {key: value for key, value in shipped.card.items() if key != "networks"}
    Ensemble(shipped.networks[:1], shipped.decoder, novelty, card).write(folder / "one")


def make_pack(folder: Path) -> None:
    """Images of 200 sources, and a catalog of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(200):
        np.save(folder / "images" / f"{number}.npy", rng.normal(size=(3, 32, 32)))
    places = {"ra": rng.uniform(0, 360, 200), "dec": rng.uniform(-90, 90, 200)}
    pq.write_table(pa.table({"source_id": np.arange(200), **places}), folder / "catalog.parquet")


def small_parts() -> None:
    import targetsel.imaging.packing

    targetsel.imaging.packing.SOURCES_PER_PART = 32


def small_chunks() -> None:
    import targetsel.scoring.stream

    targetsel.scoring.stream.ROWS_PER_CHUNK = 4


def make_scored(folder: Path) -> None:
    """24 sources of the demonstration, scored by the shipped ensemble, and spectra of two."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from targetsel.mock.demonstration import write_demonstration
    from targetsel.spectra.grid import wavelengths

    write_demonstration(folder, 24)
    targetsel("score catalog.parquet --threads 2", folder)
    few = pq.read_table(folder / "catalog.scored.parquet").slice(0, 4)
    pq.write_table(few, folder / "few.parquet")
    spectra = pq.read_table(folder / "spectra.parquet")
    spectra = spectra.filter(pc.is_in(spectra["source_id"], few["source_id"].slice(0, 2)))
    flux = np.stack(spectra["flux_true"].to_numpy())
    np.savez(
        folder / "spectra.npz",
        source_id=spectra["source_id"].to_numpy(),
        wavelength=wavelengths() * 1.1,
        flux=flux,
        ivar=np.full_like(flux, 400 / flux.mean() ** 2),
    )
    targetsel("priors write few.parquet -o known.parquet", folder)


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


def make_list(folder: Path) -> None:
    """A target list of 24 sources, and what a tool wants to know."""
    make_scored(folder)
    (folder / "all.yaml").write_text(RULES)
    targetsel("select catalog.scored.parquet --rules all.yaml -o list.parquet", folder)
    for tool, settings in TOOL_SETTINGS.items():
        (folder / f"{tool}.yaml").write_text(settings)


def make_plain(folder: Path) -> None:
    """A scored catalog that pandas has written again."""
    import pandas as pd

    make_scored(folder)
    pd.read_parquet(folder / "catalog.scored.parquet").to_parquet(folder / "plain.parquet")


def no_inputs(folder: Path) -> None:
    """Of commands that read nothing."""


def make_many(folder: Path) -> None:
    """2,000 scored rows: those of 24 sources again and again."""
    from select_memory import repeated

    make_scored(folder)
    repeated(folder / "catalog.scored.parquet", folder / "many.parquet", 2_000, 256)


def make_uncalibrated(folder: Path) -> None:
    """A copy of the shipped ensemble without calibration, and 900 sources that it has scored."""
    import shutil

    from targetsel.mock.demonstration import write_demonstration
    from targetsel.scoring.ensemble import find_ensemble

    write_demonstration(folder, 900)
    shutil.copytree(find_ensemble("mock-ps1"), folder / "own")
    (folder / "own" / "calibration.json").unlink()
    targetsel("score catalog.parquet --ensemble own --uncalibrated --threads 2", folder)


def places() -> pa.Table:
    """Sources about (150, 2) that the services have."""
    import pyarrow as pa

    rng = np.random.default_rng(1)
    n = 32
    ra, dec = rng.uniform(149.3, 150.7, n), rng.uniform(1.3, 2.7, n)
    numbers = {"plate": np.full(n, 266), "mjd": np.full(n, 51602), "fiber": np.arange(n) + 1}
    return pa.table({"source_id": np.arange(n) + 1, "ra": ra, "dec": dec, **numbers})


def make_places(folder: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(places(), folder / "catalog.parquet")


def answered(folder: Path) -> int:
    """Questions with a final answer in the journals of a folder; none of them may come twice."""
    keys = []
    for journal in folder.glob("*.fetched/journal.jsonl"):
        for line in journal.read_bytes().splitlines():
            with contextlib.suppress(ValueError):  # cut off by the kill
                entry = json.loads(line)
                keys += [entry["key"]] if entry["final"] else []
    if len(set(keys)) != len(keys):
        raise RuntimeError(f"{folder}: a question was asked again after its answer")
    return len(keys)


def small_batches() -> None:
    import targetsel.surveys.http

    targetsel.surveys.http.PAUSE = 0.01


def number_in(expression: str) -> Callable[[str], int]:
    """Finds a number in a text, or else 0."""

    def find(said: str) -> int:
        found = re.search(expression, said)
        return int(found[1].replace(",", "")) if found else 0

    return find


def known_tiles(said: str) -> int:
    """Tiles of the cone of "fetch-catalog" that are not asked for."""
    return N_TILES - number_in(r"tiles of the sky: \d+ of (\d+)")(said)


KNOWN = number_in(r"([\d,]+)  known from")
N_TILES = 22
RULES = """\
schema: targetsel/rules/v1
name: all
classes:
  ALL:
    bit: 0
    priority: 3000
    where: [redshift > 0]
    rank: ew_halpha
"""
TOOL_SETTINGS = {
    "desi": "epoch: 2027.0\nobsconditions: DARK\n",
    "pfs-uploader": "exptime: 900\nresolution: L\nreference_arm: r\n",
}
CASES = {
    "score": Case(
        "score catalog.parquet --ensemble one --threads 2",
        make_score,
        small_chunks,
        lambda folder: len(list(folder.glob("*.partial/part-*.parquet"))),
        number_in(r"had finished (\d+) chunks"),
    ),
    "pack": Case(
        "cutouts pack images -o store --catalog catalog.parquet --bands gri --pixel-scale 0.25 "
        "--zeropoint 22.5",
        make_pack,
        small_parts,
    ),
    **{
        name: Case(words, make_scored)
        for name, words in (
            ("priors", "priors write few.parquet -o priors.parquet"),
            ("priors-fits", "priors write few.parquet -o priors --format fits"),
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
        refuses="already holds a finished ensemble",
    ),
    "train-workers": Case(
        "train cutouts --latents latents.parquet --decoder decoder.safetensors -o new --epochs 4 "
        "--members 2 --width 0.125 --bin 2 --workers 2 --device cpu",
        make_train,
        refuses="already holds a finished ensemble",
    ),
    "decoder-train": Case(
        "decoder train spectra.npz -o new --epochs 6 --latents vae2",
        make_decoder_train,
        refuses="already holds a trained decoder",
    ),
    **{
        f"fetch-{name}": Case(
            f"fetch {name} {words} --rate 1000 -o fetched{ending}",
            make_places,
            small_batches,
            answered,
            known_tiles if name == "catalog" else KNOWN,
            archives,
        )
        for name, words, ending in (
            ("catalog", "--survey sdss --cone 150,2,1 --url {url}", ".parquet"),
            ("cutouts", "catalog.parquet --survey ps1 --bands gri --size 24 --url {url}", ""),
            ("spectra", "catalog.parquet --survey sdss --url {url}/sas", ".parquet"),
        )
    },
    "select": Case(
        "select many.parquet --rules emission -o list.parquet --threads 2",
        make_many,
    ),
    "observe": Case(
        "observe many.parquet -o observed.parquet --size 1.5arcsec --redshift-error 0.0",
        make_many,
    ),
    "mock": Case("mock --n 48 -o sky --workers 1", no_inputs),
    "mock-workers": Case("mock --n 600 -o sky --workers 2", no_inputs),
    "demo": Case("demo sky --n 24 --threads 2", no_inputs),
    "encode": Case(
        "spectra encode spectra.npz --redshift 0.1 -o latents.parquet --picture p.png", make_scored
    ),
    "measure": Case("spectra measure spectra.npz --redshift 0.1 -o measured.parquet", make_scored),
    "calibrate": Case(
        "calibrate catalog.scored.parquet --truth truth.parquet --ensemble own",
        make_uncalibrated,
        refuses="already exists",
    ),
    "restore": Case(
        "restore plain.parquet --from catalog.scored.parquet -o restored.parquet", make_plain
    ),
    **{
        f"export-{tool}": Case(f"export list.parquet --for {tool} --config {tool}.yaml", make_list)
        for tool in TOOL_SETTINGS
    },
}
