"""Comparison of a scored HATS catalog with measured spectra, one partition at a time.

What is added to a source depends on its own row and its spectrum alone, so that partitions have the
rows that `scoring.surprise` gives of the whole catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from targetsel.errors import OutputError
from targetsel.jobs.job import Job
from targetsel.jobs.perform import Work
from targetsel.partitions.catalog_job import HowToRun, Kind, PartitionedRun, write_part
from targetsel.partitions.remote_parts import here, opened, scored_whole
from targetsel.remote.copies import copies
from targetsel.scored.truth import Truth
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.surprise import NEEDED, Compared, compare, measured_for, together
from targetsel.tables.folders import sha256_of_table
from targetsel.tables.hats import HatsCatalog
from targetsel.version import __version__


@dataclass(frozen=True)
class PartitionedCompared(PartitionedRun):
    """The result of a job of comparing.

    Attributes
    ----------
    output : Path
    states : tuple of PartState
        Of every part of the job, whoever did it.
    is_finished : bool
        Whether the folder is a whole HATS catalog now.
    published : str
        The address in an object store where it is then, too; empty for folders.
    """

    @property
    def outcome(self) -> Compared:
        """The counts of all parts that are done, together.

        Raises
        ------
        CatalogError
            If no source can be compared.
        """
        job = Job.open(self.output)
        parts = [each.facts["counts"] for each in self.states if each.facts]
        with scored_whole(opened(job.settings["catalog"])) as file:
            measured = Truth.read(_spectra_of(job), file.schema)
        return together(measured, job.settings["catalog"], parts)

    def check(self, job: Job) -> None:
        """Refuse spectra of which none is of a source of the catalog with a prediction."""
        self.outcome  # noqa: B018  # raises


@dataclass(frozen=True)
class HowToCompare:
    """What the partitions of a catalog are compared with.

    Attributes
    ----------
    spectra : Path
        Latents of measured spectra (see `scoring.surprise.compare`).
    ensemble : Path or str
        The one that scored the catalog: a folder, or the name of a shipped one.
    seed : int
        Seed of the posterior draws.
    """

    spectra: Path
    ensemble: Path | str
    seed: int = 0


def compare_partitions(
    catalog: HatsCatalog, how: HowToCompare, output: Path, run: HowToRun
) -> PartitionedCompared:
    """Compare every partition of a scored HATS catalog, or those of one shard, into another one.

    Partitions that are done stay; those that failed in an earlier run are tried again. Once all
    are done, the folder becomes a HATS catalog.

    Raises
    ------
    CatalogError, EnsembleError
        If the files do not fit together, or no source can be compared.
    OutputError
        If the output holds something else, or a job of other inputs or options.
    """
    return KIND.perform(_begun(catalog, how, output), run)


def _begun(catalog: HatsCatalog, how: HowToCompare, output: Path) -> Job:
    """The job, with all that can be wrong checked before the first partition is compared."""
    network = Ensemble.read(how.ensemble, calibrated=False)
    with scored_whole(catalog, NEEDED) as file:
        measured_for(file, how.spectra, network)
        columns = file.names
    folder = Path(how.ensemble)
    settings = {
        "spectra": str(how.spectra.resolve()),
        "spectra_at": str(copies.place_of(how.spectra) or ""),
        "ensemble": str(folder.resolve() if folder.is_dir() else how.ensemble),
        "seed": how.seed,
    }
    identity = {
        "targetsel": __version__,
        **_inputs(network, how.spectra),
        "seed": how.seed,
        "columns": columns,
    }
    return KIND.begin(catalog, output, settings, identity)


def _inputs(network: Ensemble, spectra: Path) -> dict[str, Any]:
    """What the result depends on, beside the catalog and the seed."""
    return {
        "ensemble": {"name": network.name, "sha256": network.sha256},
        "spectra": sha256_of_table(spectra),
    }


def _spectra_of(job: Job) -> Path:
    return here(job.settings["spectra"], job.settings["spectra_at"])


def work_of(job: Job) -> Work:
    """The work of a job of comparing: reads the ensemble, and checks that nothing has changed."""
    told = job.settings
    network = Ensemble.read(told["ensemble"], calibrated=False)
    spectra, catalog = _spectra_of(job), opened(told["catalog"])
    for name, value in _inputs(network, spectra).items():
        if job.identity[name] != value:
            raise OutputError(
                f"{job.output}: its {name} has changed since the job began. Begin another job, in "
                "another folder."
            )

    def write(path: Path, output: Path) -> Mapping[str, Any]:
        found = compare(path, spectra, network, output, told["seed"], is_part=True)
        return {"rows": found.counts["n_scored"], "counts": found.counts}

    return partial(write_part, job, catalog, write=write)


KIND = Kind("compare", "comparing", work_of, PartitionedCompared)
