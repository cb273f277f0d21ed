"""Observation of a scored HATS catalog, one partition at a time, into another HATS catalog.

What is added to a source depends on its own row and the observation alone, so that partitions have
the rows that `observing.observation` gives of the whole catalog.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from targetsel.errors import OutputError
from targetsel.jobs.job import Job
from targetsel.jobs.perform import Work
from targetsel.nights.visibility import AIRMASS
from targetsel.observing.observation import Observation, provenance_of, write_observed
from targetsel.partitions.catalog_job import HowToRun, Kind, PartitionedRun, write_part
from targetsel.partitions.remote_parts import opened, rows_of, scored_whole
from targetsel.scored.file import ScoredFile
from targetsel.tables.hats import HatsCatalog
from targetsel.version import __version__


@dataclass(frozen=True)
class HowToObserve:
    """The words of `targetsel observe`, as `Observation.of` takes them."""

    size: str | float | None = None
    spectrograph: str = "desi"
    lines: Sequence[str] = ()
    exposure: str | None = None
    snr: float = 5.0
    brightness: Sequence[str] = ()
    in_fiber: bool = False
    redshift: str = ""
    redshift_error: str = ""
    redshift_grid: str | None = None
    reddening: str = ""
    dereddened: bool = False
    site: str | None = None
    night: Sequence[str] = ()
    airmass: float = AIRMASS
    horizon: float = 0.0
    twilight: str = "astronomical"

    def observation(self, scored: Path, beside: Path | None = None) -> Observation:
        """The observation of a scored catalog, or of a part of the one at `beside`.

        Raises
        ------
        SpectrographError, CatalogError
            If a spectrograph, a line, a column or a quantity is not known.
        """
        return Observation.of(scored, **asdict(self), beside=beside)


def observe_partitions(
    catalog: HatsCatalog, how: HowToObserve, output: Path, run: HowToRun
) -> PartitionedRun:
    """Observe every partition of a scored HATS catalog, or those of one shard, into another one.

    Partitions that are done stay; those that failed in an earlier run are tried again. Once all
    are done, the folder becomes a HATS catalog.

    Raises
    ------
    CatalogError, SpectrographError
        If the catalog and the words do not fit together.
    OutputError
        If the output holds something else, or a job of other inputs or options.
    """
    return KIND.perform(_begun(catalog, how, output), run)


def _begun(catalog: HatsCatalog, how: HowToObserve, output: Path) -> Job:
    """The job, with all that can be wrong checked before the first partition is observed."""
    path = Path(how.spectrograph)
    how = replace(how, spectrograph=str(path.resolve())) if path.is_file() else how
    with scored_whole(catalog) as file:
        observation = how.observation(Path(file.path), catalog.root)
        observation.check_columns(file)
        columns = file.names
    if observation.redshift.grid is not None:
        observation.redshift.check_densities(_densities(catalog, observation))
    identity = {
        "targetsel": __version__,
        "observed": provenance_of(observation),
        "lines": [each.name for each in observation.lines],
        "columns": columns,
    }
    return KIND.begin(catalog, output, {"words": asdict(how)}, identity)


def _densities(catalog: HatsCatalog, observation: Observation) -> Iterator[pa.Table]:
    """The densities of redshifts of all sources."""
    for pixel in catalog.pixels:
        with rows_of(catalog, pixel) as path, ScoredFile(path) as file:
            yield from file.tables([str(observation.redshift.value)])


def work_of(job: Job) -> Work:
    """The work of a job of observing."""
    how = HowToObserve(**job.settings["words"])
    catalog = opened(job.settings["catalog"])

    def write(path: Path, output: Path) -> Mapping[str, Any]:
        observation = how.observation(path, catalog.root)
        if provenance_of(observation) != job.identity["observed"]:
            raise OutputError(
                f"{job.output}: its spectrograph or columns have changed since the job began. "
                "Begin another job, in another folder."
            )
        run = write_observed(path, observation, output)
        rows = run.statuses.total()
        said = {"remarks": dict.fromkeys(run.nights, rows)}
        if run.caution:
            said["cautions"] = {run.caution: rows}
        return {"rows": rows, "statuses": dict(run.statuses), **said}

    return partial(write_part, job, catalog, write=write)


KIND = Kind("observe", "observing", work_of, PartitionedRun)
