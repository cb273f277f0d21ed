"""Catalogs of many partitions: scored by processes or a cluster, and how far that has come."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targetsel.api.given import AnyCutouts, AnyEnsemble, AnyPath
from targetsel.errors import OutputError
from targetsel.tables.any_form import is_path, paths_in
from targetsel.tables.files import ASTROPY_FORMATS, PARQUET_SUFFIXES

if TYPE_CHECKING:
    from targetsel.jobs.launch import Launcher
    from targetsel.jobs.progress import Progress
    from targetsel.partitions.scoring import PartitionedRun
    from targetsel.rules.rules import Rules


@dataclass(frozen=True)
class Cluster:
    """Who works on the partitions of a catalog.

    Attributes
    ----------
    workers : int
        Processes on this machine.
    dask : bool
        Whether Dask begins them.
    scheduler : str or None
        An existing Dask cluster: its address, or its scheduler file.
    shard : str or None
        The share of the partitions that this run does, such as "3/8".
    time_limit : str or None
        Time that a partition may take, such as "2h".
    without_failed : bool
        Whether the folder becomes a catalog although some partitions failed.
    """

    workers: int = 1
    dask: bool = False
    scheduler: str | None = None
    shard: str | None = None
    time_limit: str | None = None
    without_failed: bool = False

    @property
    def seconds(self) -> float | None:
        """The time limit [s].

        Raises
        ------
        OutputError
            If it is no time.
        """
        if self.time_limit is None:
            return None
        from targetsel.documents.models import parse_quantity

        try:
            seconds = parse_quantity(self.time_limit, "s", bare=False)
        except ValueError as error:
            raise OutputError(f"--time-limit is {error}, such as 30min or 2h.") from None
        if not seconds > 0:
            raise OutputError(f"--time-limit {self.time_limit}: expected more than 0, such as 2h.")
        return seconds

    def check_unused(self, catalog: Path | str) -> None:
        """Refuse settings that have no meaning for a catalog that is not partitioned.

        Raises
        ------
        OutputError
        """
        used = {
            "--dask": self.dask,
            "--scheduler": self.scheduler,
            "--shard": self.shard,
            "--time-limit": self.time_limit,
            "--without-failed": self.without_failed,
        }
        for option, value in used.items():
            if value:
                raise OutputError(
                    f"{option}: is for HATS catalogs that are scored into a folder. Make {catalog} "
                    "one with 'targetsel partition', and name a folder with -o."
                )

    @contextlib.contextmanager
    def launcher(self) -> Iterator[Launcher]:
        """The processes; those that Dask began here end with the block."""
        from targetsel.jobs.launch import dask_client, on_dask, on_this_machine

        if not self.dask and self.scheduler is None:
            yield on_this_machine(self.workers)
            return
        with dask_client(self.scheduler, self.workers) as client:
            yield on_dask(client)


def is_partitioned(catalog: Any, output: AnyPath | None) -> bool:
    """Whether a catalog is in HATS and is to be scored into a folder."""
    from targetsel.tables.hats_properties import is_hats

    paths = paths_in([catalog])
    if not paths or not is_hats(paths[0]) or output is None:
        return False
    endings = {each.lower() for each in Path(output).suffixes[-2:]}
    return not endings & {*PARQUET_SUFFIXES, *ASTROPY_FORMATS}


def score_catalog_partitions(
    catalog: Any,
    cutouts: AnyCutouts,
    ensemble: AnyEnsemble,
    output: AnyPath,
    cluster: Cluster,
    *,
    calibrated: bool,
    seed: int,
    device: str,
    engine: str,
    brightness: Sequence[str],
    rules: Sequence[Rules],
    columns: dict[str, str | None],
) -> PartitionedRun:
    """What `ts.score` does to a HATS catalog with a folder as output."""
    from targetsel.partitions.scoring import score_partitions
    from targetsel.scoring.rows import ScoreOptions
    from targetsel.tables.hats import HatsCatalog

    for name, given in (("cutouts", cutouts), ("ensemble", ensemble)):
        if not is_path(given):
            raise OutputError(
                f"the {name} of a HATS catalog that is scored into a folder: held in memory, where "
                "other processes cannot read them. Give their folder."
            )
    seconds = cluster.seconds
    with cluster.launcher() as launcher:
        return score_partitions(
            HatsCatalog.open(paths_in([catalog])[0]),
            Path(str(cutouts)),
            str(ensemble),
            Path(output),
            launcher,
            options=ScoreOptions(seed=seed),
            calibrated=calibrated,
            device=device,
            engine=engine,
            brightness=brightness,
            rules=rules,
            columns=columns,
            shard=cluster.shard,
            seconds=seconds,
            without_failed=cluster.without_failed,
        )


def status(folder: AnyPath) -> Progress:
    """How far the partitions of a job have come, as `targetsel status` says.

    Parameters
    ----------
    folder : str or Path
        The folder that `score` writes of a HATS catalog.

    Returns
    -------
    Progress
        Partitions by status, rows, rate and remaining time; ``failed`` names those that failed,
        with the reason.

    Raises
    ------
    OutputError
        If there is no such job.

    See Also
    --------
    score : Begins the job, and goes on with it.

    Examples
    --------
    >>> import targetsel as ts
    >>> sky = ts.partition("catalog.parquet", "sky", rows=1000)
    >>> scored = ts.score("sky", "cutouts", output="sky.scored")
    >>> ts.status("sky.scored").counts["waiting"]
    0
    """
    from targetsel.jobs.job import Job
    from targetsel.jobs.progress import Progress

    return Progress.of(Job.open(Path(folder)))
