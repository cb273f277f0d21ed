"""The demonstration: a real catalog under a mock sky, scored and selected as any other.

The catalog's positions, redshifts and magnitudes are real SDSS galaxies; their images and spectra
are simulated (`targetsel.mock`). The shipped ensemble has not seen these galaxies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.catalog import CatalogFile
from targetsel.errors import CatalogError, OutputError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import CutoutStore
from targetsel.latents.ensemble import Ensemble
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.sky import MockSources, observe
from targetsel.mock.survey import PAN_STARRS
from targetsel.parquet import described, read_footer, write_table
from targetsel.pipeline import Progress, score
from targetsel.selection.membership import truth
from targetsel.selection.rules import Rules, shipped_rules
from targetsel.selection.select import Summary, select
from targetsel.selection.target_list import TargetList
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import DESCRIPTIONS, PROXIES, UNITS, measure
from targetsel.spectra.spectrum import Spectra

SEED = 42


@dataclass(frozen=True)
class Outcome:
    """What came of one target class: counts of targets.

    `expected_true` and `actual_true` are None for a class that claims nothing of its spectra.
    """

    rules: str
    name: str
    selected: int
    expected_true: float | None
    actual_true: int | None


def write_demonstration(folder: Path, n: int | None = None) -> int:
    """Write `catalog.parquet`, `cutouts/` and `truth.parquet` into a folder; how many sources.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    n : int, optional
        Only the first `n` sources.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: could not be made: {error.strerror}") from error
    for path in (folder / "catalog.parquet", folder / "truth.parquet"):
        if path.exists() and not is_simulated(path):
            raise OutputError(
                f"{path}: already exists and is no demonstration's. Choose another folder."
            )
    galaxies = Galaxies.of_demonstration()
    if n is not None:
        galaxies = galaxies.take(np.arange(min(n, len(galaxies))))
    truths: list[pa.Table] = []
    sigma = PAN_STARRS.sky_sigma.tolist()
    write_store(folder / "cutouts", _pieces(galaxies, truths), sigma)
    write_table(pa.concat_tables(truths), folder / "truth.parquet", {"images": "simulated"})
    write_table(galaxies.table(), folder / "catalog.parquet", {"images": "simulated"})
    return len(galaxies)


def is_simulated(path: Path) -> bool:
    """Whether a file is one that `write_demonstration` wrote."""
    try:
        return read_footer(path).get("images") == "simulated"
    except CatalogError:
        return False


def _pieces(
    galaxies: Galaxies, truths: list[pa.Table]
) -> Iterator[tuple[Cutouts, np.ndarray, np.ndarray]]:
    """Mock cutouts with positions; what is true of them is appended to `truths`."""
    for sources in observe(galaxies, SEED):
        truths.append(truth_table(sources))
        rows = sources.galaxies
        cutouts = Cutouts(rows.source_id, sources.flux, PAN_STARRS.bands, PAN_STARRS.pixel_scale)
        yield cutouts, rows.ra, rows.dec


def truth_table(sources: MockSources) -> pa.Table:
    """Every proxy measured on the noise-free fiber spectra, and the lines that were put in."""
    ids = sources.galaxies.source_id
    proxies = measure(Spectra(ids, sources.spectra[:, None], wavelengths()))
    fields = [described("source_id", pa.int64(), "", "meta.id;meta.main", nullable=False)]
    columns: list[np.ndarray] = [ids]
    for name in PROXIES:
        about = DESCRIPTIONS[name] + ", on the noise-free mock spectrum"
        fields.append(described(name, pa.float32(), UNITS[name], "", about))
        columns.append(proxies[name][:, 0].astype(np.float32))
    for name, width in sources.widths.items():
        about = f"equivalent width of {name} that the mock spectrum was given"
        fields.append(described(f"input_{name}", pa.float32(), "Angstrom", "", about))
        columns.append(width.astype(np.float32))
    return pa.table([pa.array(column) for column in columns], schema=pa.schema(fields))


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
    write_demonstration(folder, n)
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
    return found


def outcomes(summary: Summary, scored: Path, truths: Path, rules: Rules) -> list[Outcome]:
    """How many targets of each class are what the class claims, by the mock sky's truth."""
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
    place = {key: row for row, key in enumerate(table["source_id"].to_pylist())}
    return table.take(pa.array([place[key] for key in ids.to_pylist()], pa.int64()))
