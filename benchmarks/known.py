"""Time and memory of leaving out the sources that have a spectrum already.

    python benchmarks/known.py [--sources 1000000] [--spectra 1000000] [--runs 2]

A made-up catalog of sources on a quarter of the sky and a Parquet file with as many columns as
DESI's redshift catalogs have of those that matter. Half of the spectra are of sources of the
catalog, scattered by 0.1 arcsec, a tenth of these a second time; the others lie anywhere there.
Prints the CPU time of `targetsel select` with and without `--known`, its peak memory, and the share
of the spectra's sources that were found, which should be 1.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Figure, command, cpu_time, print_figures, reference_work

from targetsel.sky.positions import healpix_of
from targetsel.tables.parquet import read_footer

SCATTER = 0.1  # [arcsec]
RULES = """schema: targetsel/rules/v1
name: bright
classes:
  BRIGHT:
    bit: 0
    priority: 1
    where: [rmag < 17]
"""


def positions(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Places on a quarter of the sky [deg]."""
    return rng.uniform(90, 270, n), np.degrees(np.arcsin(rng.uniform(0, 1, n)))


def write_files(folder: Path, sources: int, spectra: int) -> int:
    """The catalog and the spectra; returns the number of sources that have one."""
    rng = np.random.default_rng(1)
    ra, dec = positions(rng, sources)
    pixels = healpix_of(ra, dec)
    order = np.argsort(pixels)
    ra, dec, pixels = ra[order], dec[order], pixels[order]
    columns = {
        "source_id": np.arange(sources),
        "ra": ra,
        "dec": dec,
        "_healpix_29": pixels,
        "rmag": rng.normal(20, 2, sources).astype(np.float32),
    }
    catalog = folder / "sky.scored.parquet"
    pq.write_table(pa.table(columns), catalog, row_group_size=65_536)
    of_sources = rng.choice(sources, min(spectra // 2, sources), replace=False)
    taken = np.concatenate([of_sources, of_sources[: len(of_sources) // 10]])
    other_ra, other_dec = positions(rng, spectra - len(taken))
    east, north = rng.normal(0, SCATTER / 3600, (2, len(taken)))
    there = {
        "TARGETID": np.arange(spectra),
        "TARGET_RA": np.concatenate([ra[taken] + east / np.cos(np.radians(dec[taken])), other_ra]),
        "TARGET_DEC": np.concatenate([np.clip(dec[taken] + north, -90, 90), other_dec]),
        "Z": rng.uniform(0, 1.5, spectra),
        "ZERR": rng.uniform(1e-5, 1e-3, spectra),
        "ZWARN": np.zeros(spectra, np.int64),
        "ZCAT_PRIMARY": np.ones(spectra, bool),
        "OBJTYPE": pa.array(["TGT"] * spectra).dictionary_encode(),
    }
    shuffled = pa.table(there).take(pa.array(rng.permutation(spectra)))
    pq.write_table(shuffled, folder / "spectra.parquet", row_group_size=65_536)
    (folder / "bright.yaml").write_text(RULES)
    return len(of_sources)


def figures(
    folder: Path, sources: int = 1_000_000, spectra: int = 1_000_000, runs: int = 2
) -> dict[str, Figure]:
    """What a selection takes with and without files of known spectra."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        there = Path(scratch)
        n_known = write_files(there, sources, spectra)
        words = ("select", "--rules", "bright.yaml", "sky.scored.parquet", "-o", "list.parquet")
        ways = {"without": (), "with --known": ("--known", "spectra.parquet")}
        times: dict[str, list[float]] = {way: [] for way in ways}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        memory: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(runs):
            for way, more in ways.items():
                before = cpu_time(reference_work)
                cost = command(*words, *more, cwd=there)
                seconds[way].append(cost.seconds)
                times[way].append(cost.seconds / before)
                memory[way].append(cost.peak)
        found = read_footer(there / "list.parquet")["known"]["n_known"]
    measured: dict[str, Figure] = {}
    for way in ways:
        took = float(np.median(seconds[way]))
        measured[f"select {way}, time"] = Figure(
            tuple(times[way]), "reference works", "time", seconds=took, per=sources
        )
        measured[f"select {way}, memory"] = Figure(tuple(memory[way]), "MiB", "memory")
    measured["known sources that were found"] = Figure(
        (found / n_known,), "share", "accuracy", higher_is_better=True
    )
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=int, default=1_000_000)
    parser.add_argument("--spectra", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    folder = Path(tempfile.gettempdir())
    print_figures(figures(folder, options.sources, options.spectra, options.runs))


if __name__ == "__main__":
    main()
