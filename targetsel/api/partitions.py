"""Catalogs of many partitions: scored by processes or a cluster, and how far that has come."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from targetsel.api.given import AnyCutouts, AnyEnsemble, AnyPath
from targetsel.errors import CatalogError, OutputError
from targetsel.extras import require
from targetsel.remote.copies import goes_to_parts, with_addresses
from targetsel.scoring import DEFAULT
from targetsel.tables.any_form import is_path, paths_in

if TYPE_CHECKING:
    from targetsel.jobs.progress import Progress
    from targetsel.partitions.catalog_job import HowToRun
    from targetsel.rules.rules import AnyRules
    from targetsel.tables.hats import HatsCatalog

LsdbCatalog: TypeAlias = Any  # lsdb.Catalog; LSDB is imported where one is asked for


@dataclass(frozen=True)
class Cluster:
    """The processes that do the partitions of a catalog, and the partitions that they do.

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
                    f"{option}: is for HATS catalogs whose result goes into a folder. Make "
                    f"{catalog} one with 'targetsel partition', and name a folder with -o."
                )

    @contextlib.contextmanager
    def run(self) -> Iterator[HowToRun]:
        """The processes and their share; processes that Dask began here end with the block.

        Raises
        ------
        OutputError
            If the time limit is none, or no scheduler answers.
        """
        from targetsel.jobs.launch import dask_client, on_dask, on_this_machine
        from targetsel.partitions.catalog_job import HowToRun

        seconds = self.seconds
        if not self.dask and self.scheduler is None:
            launcher = on_this_machine(self.workers)
            yield HowToRun(launcher, self.shard, seconds, self.without_failed)
            return
        with dask_client(self.scheduler, self.workers) as client:
            yield HowToRun(on_dask(client), self.shard, seconds, self.without_failed)


def is_partitioned(catalog: Any, output: AnyPath | None) -> bool:
    """Whether a catalog is in HATS, and what is made of it is to go into a folder."""
    from targetsel.tables.hats_properties import is_hats

    paths = paths_in([catalog])
    return bool(paths) and is_hats(paths[0]) and goes_to_parts(output)


def partitions_of(catalog: Any) -> HatsCatalog:
    """The HATS catalog of a path, for which `is_partitioned` is true."""
    from targetsel.partitions.remote_parts import opened

    return opened(paths_in([catalog])[0])


def check_on_disk(**given: object) -> None:
    """Refuse cutouts, ensembles and embeddings, by their names, that other processes cannot read.

    Raises
    ------
    OutputError
    """
    for name, each in given.items():
        if not is_path(each):
            raise OutputError(
                f"{name}: held in memory, where the processes that do the partitions cannot read "
                "it. Give the path of a folder."
            )


@with_addresses()
def score_catalog(
    catalog: LsdbCatalog,
    cutouts: AnyCutouts,
    ensemble: AnyEnsemble = DEFAULT,
    *,
    calibrated: bool = True,
    seed: int = 0,
    device: str = "cpu",
    engine: str = "torch",
    brightness: Sequence[str] = (),
    rules: AnyRules | None = None,
    id_col: str | None = None,
) -> LsdbCatalog:
    """A catalog of LSDB with the predictions of every source, computed when they are asked for.

    Each partition is scored by itself, on one thread, by whichever process computes it; networks
    are read once in each. Values are those of `score`. Rows stay where they are, in their order,
    and so do the index and all columns. A margin is scored like the catalog. Several processes, as
    in a Dask cluster, need to see the folders of the cutouts and of the ensemble. An error while
    partitions are computed, such as ids that are repeated within one, or an ensemble that has
    changed since, is raised by LSDB as a RuntimeError with our text.

    What `write_catalog` writes is a scored catalog, which `select` takes: units and provenance are
    among its properties. What `compute` gives gets them by ``frame.attrs = scored.meta.attrs``;
    `select`, and whatever takes a scored catalog, then takes the frame like a file.

    Parameters
    ----------
    catalog : lsdb.Catalog
        Sources with ids and positions [deg, ICRS], such as ``lsdb.open_catalog("sky")``.
    cutouts : str or Path
        A store of cutouts, as `pack` makes it.
    ensemble : str or Path
        A folder, or the name of a shipped one.
    calibrated : bool
        Whether to apply the ensemble's calibration.
    seed : int
        Seed of the draws.
    device : str
        Device of the networks: "cpu" or "cuda".
    engine : str
        What runs the networks: "torch"; or "onnxruntime" or "openvino", which the extra of that
        name installs.
    brightness : sequence of str
        Columns of brightness, such as "r_sdss=rmag".
    rules : Rules, str, Path, dict, or a list of these, optional
        Predict only sources that a class of these could choose; the others have the status
        "not needed".
    id_col : str, optional
        Name of the column of ids, where it is not found by itself.

    Returns
    -------
    lsdb.Catalog
        With the columns that `score` adds: equivalent widths in Angstrom, positive in emission.

    Raises
    ------
    ExtraError
        If LSDB is not installed; the extra "cluster" brings it.
    CatalogError
        If it is no catalog of LSDB, has no column of ids or a column that would be added.
    CutoutError
        If the cutouts cannot be read, or do not suit the ensemble.
    EnsembleError
        If there is no such ensemble or engine, or its folder is damaged.
    RuleError
        If the rules are not valid, do not fit the columns, or ask for a quantile of the catalog.
    OutputError
        If cutouts or ensemble are held in memory.

    See Also
    --------
    select_catalog : What rules decide of each source.
    score : The same for files.
    partition : Makes a HATS catalog, which LSDB opens.

    Examples
    --------
    >>> import lsdb
    >>> import targetsel as ts
    >>> sky = ts.partition("catalog.parquet", "sky", rows=1000)
    >>> scored = ts.score_catalog(lsdb.open_catalog("sky"), "cutouts")
    >>> first = scored.partitions[0].compute(progress_bar=False)
    >>> first.attrs = scored.meta.attrs
    >>> len(ts.select(first, "emission")) <= len(first)
    True
    """
    from targetsel.partitions.lazy import FramePlan, Networks, carrying, score_frame, told_of
    from targetsel.rules.rules import Rules
    from targetsel.scoring.rows import ScoreOptions

    _check_lsdb(catalog, "score")
    check_on_disk(cutouts=cutouts, ensemble=ensemble)
    several = rules if isinstance(rules, list | tuple) else [rules]
    folder = Path(str(ensemble))
    networks = Networks(
        str(folder.resolve() if folder.is_dir() else ensemble),
        str(Path(str(cutouts)).resolve()),
        calibrated,
        device,
        engine,
        ScoreOptions(seed=seed),
    )
    about = catalog.hc_structure
    plan = FramePlan.of(
        catalog.meta,
        told_of(catalog),
        networks,
        {
            "ra_col": about.catalog_info.ra_column,
            "dec_col": about.catalog_info.dec_column,
            "id_col": id_col,
        },
        brightness,
        [Rules.of(each) for each in several if each is not None],
        None if about.catalog_path is None else Path(str(about.catalog_path)),
    )
    planned = catalog.map_partitions(score_frame, plan, meta=score_frame(catalog.meta, plan))
    return carrying(planned, plan.schema)


@with_addresses()
def select_catalog(catalog: LsdbCatalog, rules: AnyRules) -> LsdbCatalog:
    """A scored catalog of LSDB with the target classes of every source, computed when asked for.

    All rows stay, in their order; ``query("target_bits > 0")`` leaves the targets. Values are those
    of the list that `select` makes of the same rows. What depends on other sources of the catalog
    is refused: limits, `dedup`, guarantees and quantiles of the catalog. An error while partitions
    are computed, such as sources that were not needed when the catalog was scored, is raised by
    LSDB as a RuntimeError with our text.

    Parameters
    ----------
    catalog : lsdb.Catalog
        A scored catalog: what `score_catalog` gives, or ``lsdb.open_catalog`` of a folder that
        `score` wrote, searched or filtered or not.
    rules : Rules, str, Path, dict, or a list of these
        A file, the name of a shipped one, its text or content.

    Returns
    -------
    lsdb.Catalog
        With the columns ``target_bits`` (a bit for each class, 0 without any), ``program`` (the
        class of highest priority), ``priority``, ``subpriority`` and ``probability``, which are
        null where no class chooses the source.

    Raises
    ------
    ExtraError
        If LSDB is not installed; the extra "cluster" brings it.
    CatalogError
        If it is no scored catalog of LSDB, or has one of these columns already.
    RuleError
        If the rules are not valid, do not fit the columns, or depend on more than one row.

    See Also
    --------
    score_catalog : Makes the scored catalog.
    select : The same for files, with limits and quantiles of the whole.
    apply_rules : The same for rows in memory.

    Examples
    --------
    >>> import lsdb
    >>> import targetsel as ts
    >>> sky = ts.partition("catalog.parquet", "sky", rows=1000)
    >>> scored = ts.score_catalog(lsdb.open_catalog("sky"), "cutouts")
    >>> targets = ts.select_catalog(scored, "emission").query("target_bits > 0")
    >>> first = targets.partitions[0].compute(progress_bar=False)
    >>> set(first["program"]) <= {"EXCITED", "STAR_FORMING"}
    True
    """
    from targetsel.partitions.lazy import carrying, told_of
    from targetsel.partitions.lazy_rules import RulesPlan, judge_frame
    from targetsel.rules.rules import Rules

    _check_lsdb(catalog, "select")
    plan = RulesPlan.of(catalog.meta, told_of(catalog), Rules.of(rules))
    planned = catalog.map_partitions(judge_frame, plan, meta=judge_frame(catalog.meta, plan))
    return carrying(planned, plan.schema)


def _check_lsdb(catalog: object, otherwise: str) -> None:
    """Refuse what is no catalog of LSDB; `otherwise` is the function for files.

    Raises
    ------
    CatalogError, ExtraError
    """
    require("cluster", "An LSDB catalog")
    from lsdb.catalog.catalog import Catalog

    if not isinstance(catalog, Catalog):
        raise CatalogError(
            f"the catalog is of type {type(catalog).__name__}; expected one of LSDB, such as "
            f"lsdb.open_catalog('sky'). Files and tables are for targetsel.{otherwise}."
        )


def status(folder: AnyPath) -> Progress:
    """Count the partitions of a job that are done, as `targetsel status` does.

    Parameters
    ----------
    folder : str or Path
        The folder that `score` writes of a HATS catalog; or the address that it writes to, in the
        directory where it does so.

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
    from targetsel.jobs.progress import Progress
    from targetsel.partitions.remote_parts import job_of

    return Progress.of(job_of(folder))
