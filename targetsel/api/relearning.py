"""Learn from outcomes, and apply what was learnt to catalogs that are scored already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath, AnyPaths, paths_of
from targetsel.api.partitions import Cluster, is_partitioned, partitions_of
from targetsel.remote.copies import with_addresses
from targetsel.scoring import DEFAULT
from targetsel.tables.any_form import AnyTable, paths_in

if TYPE_CHECKING:
    from targetsel.calibration.recalibration import Recalibration
    from targetsel.partitions.recalibrating import PartitionedRecalibrated
    from targetsel.scored.rows import Scored
    from targetsel.scoring.recalibrating import RecalibratedRun


@with_addresses("output")
def relearn(
    scored: AnyPath,
    outcomes: AnyPaths,
    output: AnyPath,
    *,
    ensemble: AnyPath = DEFAULT,
    name: str | None = None,
) -> Recalibration:
    """Recalibrate an ensemble with what came of its lists, as `targetsel relearn` does.

    Parameters
    ----------
    scored : str or Path
        Scored catalog that the lists were chosen from.
    outcomes : str, Path, or several
        Tables of `outcomes`, the earliest first; or other tables with ids and measured values, as
        `outcomes` takes them.
    output : str or Path
        New folder for the ensemble: its files, and the calibration with one more step.
    ensemble : str or Path
        The one that scored the catalog.
    name : str, optional
        Name of the new version; by default "relearned-1", "relearned-2" and so on.

    Returns
    -------
    Recalibration
        ``quantities`` holds, of each quantity, how many counted, and the coverage and width of
        intervals before and after, for outcomes kept aside.

    Raises
    ------
    CatalogError
        If a file cannot be read, no source of a table is in the catalog, a source has a spectrum
        in two tables, no quantity was measured of enough sources, or none got better.
    EnsembleError
        If there is no such ensemble, it has no calibration, or the catalog was scored by another
        one; or the name is taken.
    OutputError
        If there is something in the new folder, or it cannot be written.

    See Also
    --------
    outcomes : Makes the tables.
    recalibrate : Applies the result to a catalog that is scored already.
    calibrate : The first calibration of an ensemble.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.relearn("catalog.scored.parquet", "truth.parquet", "relearned")
    >>> found.name, found.quantities["ew_halpha"].stays
    ('relearned-1', '')
    """
    from targetsel.feedback.relearning import check_new_folder, write_relearned
    from targetsel.feedback.relearning import relearn as learn
    from targetsel.scoring.ensemble import find_ensemble

    folder = find_ensemble(ensemble if isinstance(ensemble, str) else Path(ensemble))
    place = Path(output)
    check_new_folder(place)
    found = learn(Path(scored), paths_of(outcomes), folder, name)
    write_relearned(found, folder, place)
    return found.recalibrations[-1]


@with_addresses("output", in_parts="scored")
def recalibrate(
    scored: AnyTable,
    ensemble: AnyPath,
    output: AnyPath | None = None,
    *,
    workers: int = 1,
    dask: bool = False,
    scheduler: str | None = None,
    shard: str | None = None,
    time_limit: str | None = None,
    without_failed: bool = False,
) -> Scored[RecalibratedRun | PartitionedRecalibrated]:
    """The scored catalog with what its ensemble learnt since, as `targetsel recalibrate`.

    Its columns are the same, to the last bit, as if it were scored again, but no network runs.

    Parameters
    ----------
    scored : Scored, str, Path or table
    ensemble : str or Path
        Folder that `relearn` wrote.
    output : str or Path, optional
        File to write; by default the result stays in memory. A folder, for a scored catalog in
        HATS: each partition is recalibrated by itself, and the folder becomes a HATS catalog once
        all are; ``run`` says which failed, and its ``outcome`` has the counts.
    workers : int
        Processes that recalibrate the partitions of a HATS catalog.
    dask, without_failed : bool
    scheduler, shard, time_limit : str, optional
        Who these are, and which partitions they do, as of `score`.

    Returns
    -------
    Scored
        ``run`` has the counts, and the recalibrations that were applied.

    Raises
    ------
    CatalogError
        If the scored catalog cannot be read, is not calibrated, has the recalibrations already,
        is observed, or has redshifts from elsewhere.
    EnsembleError
        If there is no such ensemble, it has no recalibration, or the catalog was scored by another
        ensemble or calibration.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    relearn : Makes the recalibration.
    score : Applies it to catalogs that are not scored yet.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.relearn("catalog.scored.parquet", "truth.parquet", "relearned-again")
    >>> after = ts.recalibrate("catalog.scored.parquet", "relearned-again")
    >>> [each.name for each in after.run.applied]
    ['relearned-1']
    """
    from targetsel.partitions.recalibrating import recalibrate_partitions
    from targetsel.scored.rows import Scored, scored_into
    from targetsel.scoring.ensemble import find_ensemble
    from targetsel.scoring.recalibrating import recalibrate as apply

    cluster = Cluster(workers, dask, scheduler, shard, time_limit, without_failed)
    folder = find_ensemble(ensemble if isinstance(ensemble, str) else Path(ensemble))
    if output is not None and is_partitioned(scored, output):
        with cluster.run() as parts:
            run = recalibrate_partitions(partitions_of(scored), folder, Path(output), parts)
        return Scored(run.output, run)
    cluster.check_unused(next(iter(paths_in([scored])), "the scored catalog"))
    return scored_into(output, lambda path: apply(scored, folder, path))
