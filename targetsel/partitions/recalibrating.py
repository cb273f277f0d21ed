"""Recalibration of a scored HATS catalog, one partition at a time.

A row depends on itself alone, so that partitions have the rows of the whole catalog recalibrated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from targetsel.calibration.recalibration import Recalibration
from targetsel.errors import OutputError
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.jobs.job import Job
from targetsel.jobs.perform import Work
from targetsel.partitions.catalog_job import HowToRun, Kind, PartitionedRun, write_part
from targetsel.partitions.remote_parts import opened, scored_whole
from targetsel.scored.columns import STATUS
from targetsel.scoring.recalibrating import (
    RecalibratedRun,
    lacking,
    recalibrate,
    stored_calibration,
)
from targetsel.tables.hats import HatsCatalog
from targetsel.version import __version__

COUNTS = ("n_sources", "n_predicted", "n_beyond")


@dataclass(frozen=True)
class PartitionedRecalibrated(PartitionedRun):
    """The result of a job of recalibrating.

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
    def outcome(self) -> RecalibratedRun:
        """The counts of all parts that are done, together."""
        counts = [each.facts["counts"] for each in self.states if each.facts]
        beyond: Counter[str] = Counter()
        for each in counts:
            beyond.update(each["n_beyond"])
        settings = Job.open(self.output).settings
        return RecalibratedRun(
            sum(each["n_sources"] for each in counts),
            sum(each["n_predicted"] for each in counts),
            _applied(settings),
            dict(beyond),
        )


def _applied(settings: Mapping[str, Any]) -> tuple[Recalibration, ...]:
    """The recalibrations that a job applies."""
    _, calibration = stored_calibration(Path(settings["ensemble"]))
    return calibration.recalibrations[-settings["n_applied"] :]


def recalibrate_partitions(
    catalog: HatsCatalog, ensemble: Path, output: Path, run: HowToRun
) -> PartitionedRecalibrated:
    """Recalibrate every partition of a scored HATS catalog, or those of one shard, into another.

    Partitions that are done stay; those that failed in an earlier run are tried again. Once all
    are done, the folder becomes a HATS catalog.

    Raises
    ------
    CatalogError, EnsembleError
        As `scoring.recalibrating.recalibrate`.
    OutputError
        If the output holds something else, or a job of other inputs.
    """
    return KIND.perform(_begun(catalog, ensemble, output), run)


def _begun(catalog: HatsCatalog, ensemble: Path, output: Path) -> Job:
    """The job, with all that can be wrong checked before the first partition."""
    with scored_whole(catalog, (MAGNITUDE, STATUS)) as file:
        missing = lacking(file, ensemble)
        columns = file.names
    settings = {"ensemble": str(ensemble.resolve()), "n_applied": len(missing)}
    identity = {"targetsel": __version__, **_inputs(ensemble), "columns": columns}
    return KIND.begin(catalog, output, settings, identity)


def _inputs(ensemble: Path) -> dict[str, Any]:
    """What the result depends on, beside the catalog."""
    return {"calibration": stored_calibration(ensemble)[1].sha256}


def work_of(job: Job) -> Work:
    """The work of a job of recalibrating: checks that the ensemble's calibration is the same."""
    ensemble, catalog = Path(job.settings["ensemble"]), opened(job.settings["catalog"])
    for name, value in _inputs(ensemble).items():
        if job.identity[name] != value:
            raise OutputError(
                f"{job.output}: its {name} has changed since the job began. Begin another job, in "
                "another folder."
            )

    def write(path: Path, output: Path) -> Mapping[str, Any]:
        found = recalibrate(path, ensemble, output)
        counts = {name: getattr(found, name) for name in COUNTS}
        return {"rows": found.n_sources, "counts": counts}

    return partial(write_part, job, catalog, write=write)


KIND = Kind("recalibrate", "recalibrating", work_of, PartitionedRecalibrated)
