"""The demonstration: a mock sky of real galaxies, scored and selected like any catalog.

The catalog's positions, redshifts and magnitudes are those of real SDSS galaxies; their images and
spectra are simulated (`targetsel.mock`). The shipped ensemble was not trained on these galaxies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.imaging.store import CutoutStore
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.plan import SkyPlan
from targetsel.mock.writing import write_sky
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.rules.starting import first_rules
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.stream import Progress, score
from targetsel.selection.claims import truth
from targetsel.selection.select import Selection, select
from targetsel.selection.target_list import TargetList
from targetsel.sky.catalog import CatalogFile
from targetsel.spectra.grid import wavelengths
from targetsel.tables.columns import matrix
from targetsel.tables.ids import matched
from targetsel.tables.parquet import read_footer, write_table

SEED = 42
N_MEASURED = 5
FIRST_RULES, MEASURED, KNOWN = (
    "my-first-rules.yaml",
    "measured-spectra.parquet",
    "known-spectra.parquet",
)
# What tools need beyond the list, by their names.
SETTINGS = {
    "desi": """\
# Settings of 'targetsel export --for desi'; 'targetsel export --list' describes them all.
epoch: 2026.5           # of the observation; positions are moved to it
obsconditions: DARK     # or BRIGHT, or DARK|BRIGHT
""",
    "sdss-v": """\
# Settings of 'targetsel export --for sdss-v'; 'targetsel export --list' describes them all.
cadence: bright_1x1
""",
    "pfs-uploader": """\
# Settings of 'targetsel export --for pfs-uploader'; 'targetsel export --list' describes them all.
exptime: 1800           # [s]
resolution: L           # or M
reference_arm: r
""",
    "deimos": """\
# Settings of 'targetsel export --for deimos'; 'targetsel export --list' describes them all.
epoch: 2026.5           # of the observation; positions are moved to it
""",
}


@dataclass(frozen=True)
class Outcome:
    """Numbers of targets of one class: selected, expected to be true, and true.

    `expected_true` and `actual_true` are None for a class without conditions on spectra.
    """

    rules: str
    name: str
    selected: int
    expected_true: float | None
    actual_true: int | None


def write_demonstration(folder: Path, n: int | None = None, workers: int = 1) -> int:
    """Write the demonstration's mock sky into a folder (see `write_sky`).

    Returns the number of sources.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    n : int, optional
        Only the first `n` sources.
    workers : int
        Processes that make sources.
    """
    galaxies = Galaxies.of_demonstration()
    n = len(galaxies) if n is None else min(n, len(galaxies))
    write_sky(folder, SkyPlan(galaxies, n, SEED, held_out=True), workers)
    return n


def run(
    folder: Path,
    n: int | None = None,
    threads: int = 1,
    progress: Progress = lambda done, total: None,
) -> list[Outcome]:
    """Make the demonstration in a folder, score it, and select with every shipped rule file.

    Leaves `catalog.scored.parquet` and one `<rules>.targets.parquet` per rule file beside what
    `write_demonstration` writes.
    """
    write_demonstration(folder, n, threads)
    scored = folder / "catalog.scored.parquet"
    score(
        CatalogFile.open(folder / "catalog.parquet"),
        CutoutStore.open(folder / "cutouts"),
        Ensemble.read(),
        scored,
        threads=threads,
        progress=progress,
    )
    found: list[Outcome] = []
    for path in shipped_rules():
        rules = Rules.read(path)
        summary = select(scored, rules, folder / f"{path.stem}.targets.parquet")
        found += outcomes(summary, scored, folder / "truth.parquet", rules)
    write_beginnings(folder)
    return found


def write_beginnings(folder: Path) -> None:
    """Write files to try other commands on: first rules, settings of tools, a few spectra.

    `known-spectra.parquet` has the truth of every other source, as if only those were observed;
    `measured-spectra.parquet` has the noisy spectra of the first of them, as they are observed.
    """
    text = first_rules(FIRST_RULES, folder / "catalog.scored.parquet")
    (folder / FIRST_RULES).write_text(text, encoding="utf-8", newline="\n")
    (folder / "settings").mkdir(exist_ok=True)
    for tool, settings in SETTINGS.items():
        path = folder / "settings" / f"{tool}.yaml"
        path.write_text(settings, encoding="utf-8", newline="\n")
    known = pq.read_table(folder / "truth.parquet")
    known = known.take(np.arange(0, len(known), 2))
    write_table(known, folder / KNOWN, read_footer(folder / "truth.parquet"))
    spectra = folder / "spectra.parquet"
    measured = observed_spectra(spectra, folder / "catalog.parquet", known["source_id"])
    write_table(measured, folder / MEASURED, {"images": read_footer(spectra)["images"]})


def observed_spectra(spectra: Path, catalog: Path, ids: pa.ChunkedArray) -> pa.Table:
    """Noisy spectra of the first of these sources at their redshifts, shape (N_MEASURED,)."""
    chosen = ids[:N_MEASURED]
    rest = _joined(pq.read_table(spectra, columns=["source_id", "flux", "ivar"]), chosen)
    sources = _joined(pq.read_table(catalog), chosen)
    redshift = sources["redshift"].to_numpy()
    observed = wavelengths() * (1 + redshift[:, None])
    return pa.table(
        {
            "source_id": chosen,
            "ra": sources["ra"],
            "dec": sources["dec"],
            "redshift": redshift,
            "wavelength": list(observed),
            "flux": list(matrix(rest["flux"])),
            "ivar": list(matrix(rest["ivar"])),
        }
    )


def outcomes(summary: Selection, scored: Path, truths: Path, rules: Rules) -> list[Outcome]:
    """Numbers of targets of each class, and of those that truly belong to it."""
    assert summary.output is not None
    targets = TargetList.read(summary.output).table
    rows = _joined(pq.read_table(scored), targets["source_id"])
    measured = _joined(pq.read_table(truths), targets["source_id"])
    bits = targets["target_bits"].to_numpy()
    counted = []
    for each in summary.classes:
        members = np.flatnonzero((bits >> each.bit) & 1)
        actual = None
        if each.expected_true is not None:
            true = truth(rules, each.name, rows.take(members), measured.take(members))
            actual = int(true.sum())
        counted.append(Outcome(rules.name, each.name, len(members), each.expected_true, actual))
    return counted


def _joined(table: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    """The rows of a table with these ids, in their order."""
    return table.take(matched(ids.to_numpy(), table["source_id"].to_numpy()))
