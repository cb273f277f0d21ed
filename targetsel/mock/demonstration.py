"""The demonstration: a mock sky of real galaxies, scored and selected like any catalog.

The catalog's positions are those of real SDSS galaxies. So are the redshifts and magnitudes of
three sources in five; the others are simulated farther away, and all images and spectra are
simulated (`targetsel.mock`). The shipped ensemble was not trained on these galaxies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from targetsel.imaging.store import CutoutStore
from targetsel.mock.beginnings import rows_of, write_beginnings
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.plan import SkyPlan
from targetsel.mock.writing import write_sky
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.stream import score
from targetsel.selection.claims import truth
from targetsel.selection.outcome import Selection
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList
from targetsel.sky.catalog import CatalogFile

SEED = 42


@dataclass(frozen=True)
class Outcome:
    """Numbers of targets of one class.

    Attributes
    ----------
    rules : str
        Name of the rule file.
    name : str
    selected : int
    expected_true, actual_true : float, int, or None
        Targets for which the class's conditions on spectra are expected to be true, and are; None
        for a class without such conditions.
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


def run(folder: Path, n: int | None = None, threads: int = 1) -> list[Outcome]:
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
    )
    found: list[Outcome] = []
    for path in shipped_rules():
        rules = Rules.read(path)
        summary = select(scored, rules, folder / f"{path.stem}.targets.parquet")
        found += outcomes(summary, scored, folder / "truth.parquet", rules)
    write_beginnings(folder)
    return found


def outcomes(summary: Selection, scored: Path, truths: Path, rules: Rules) -> list[Outcome]:
    """Numbers of targets of each class, and of those that truly belong to it."""
    assert summary.output is not None
    targets = TargetList.read(summary.output).table
    rows = rows_of(pq.read_table(scored), targets["source_id"])
    measured = rows_of(pq.read_table(truths), targets["source_id"])
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
