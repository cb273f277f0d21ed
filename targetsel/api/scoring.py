"""Scored catalogs made, added to, restored, and what they are calibrated by."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targetsel.api.given import AnyCutouts, AnyEnsemble, AnyPath, ensemble_of
from targetsel.api.images import as_store, usual_cutouts
from targetsel.api.partitions import (
    Cluster,
    check_on_disk,
    is_partitioned,
    partitions_of,
)
from targetsel.api.redshifts import join_redshifts
from targetsel.errors import SpectrographError
from targetsel.nights.night import GivenNights, dates_of
from targetsel.nights.sites import Site
from targetsel.nights.visibility import AIRMASS
from targetsel.remote.copies import with_addresses
from targetsel.rules.rules import AnyRules, Rules
from targetsel.scoring import DEFAULT
from targetsel.spectra.photoz import PHOTOZ
from targetsel.tables.any_form import AnyTable, paths_in

if TYPE_CHECKING:
    from targetsel.calibration.calibration import Calibration
    from targetsel.observing.observation import ObservedRun
    from targetsel.partitions.catalog_job import PartitionedRun
    from targetsel.partitions.comparing import PartitionedCompared
    from targetsel.partitions.scoring import PartitionedScore
    from targetsel.scored.rows import Scored
    from targetsel.scoring.stream import ScoreRun
    from targetsel.scoring.surprise import Compared


@with_addresses("output", in_parts="catalog")
def score(
    catalog: AnyTable,
    cutouts: AnyCutouts | None = None,
    ensemble: AnyEnsemble = DEFAULT,
    output: AnyPath | None = None,
    *,
    embeddings: AnyTable | None = None,
    calibrated: bool = True,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    engine: str = "torch",
    brightness: Sequence[str] = (),
    rules: AnyRules | None = None,
    zeropoint: float | None = None,
    slim: bool = False,
    workers: int = 1,
    dask: bool = False,
    scheduler: str | None = None,
    shard: str | None = None,
    time_limit: str | None = None,
    without_failed: bool = False,
    ra_col: str | None = None,
    dec_col: str | None = None,
    id_col: str | None = None,
) -> Scored[ScoreRun | PartitionedScore]:
    """Predict latents and line strengths of every source, as `targetsel score` does.

    Parameters
    ----------
    catalog : str, Path, Catalog or table of astropy, pandas, polars, Arrow or numpy
        Sources with ids and positions [deg, ICRS].
    cutouts : str, Path, CutoutStore, Folder or Cutouts, optional
        A store; or images, which are packed first as `pack` does, to a temporary folder; with
        `rules`, those of needed sources alone. The catalog itself stands for the images in its
        column `image`. By default the folder cutouts beside the catalog's file; where there is
        none, these images. An ensemble that takes embeddings alone takes none.
    ensemble : str, Path or Ensemble
        A folder, the name of a shipped one, or one that was read.
    output : str or Path, optional
        File to stream to, for catalogs of any size; by default the result stays in memory. A
        folder, for a catalog in HATS: each partition is scored by itself, and the folder becomes a
        HATS catalog once all are; ``run`` says which failed.
    embeddings : str, Path or table, optional
        The vectors of the sources, for an ensemble that was trained on such, in the column that
        its card names.
    calibrated : bool
        Whether to apply the ensemble's calibration, where it is read here.
    seed : int
        Seed of the draws.
    threads : int
        Worker threads; the result does not depend on them.
    device : str
        Device of the networks where the ensemble is read here: "cpu" or "cuda".
    engine : str
        What runs the networks where the ensemble is read here: "torch"; or on the CPU, in less
        time, "onnxruntime" or "openvino", which the extra of that name installs.
    brightness : sequence of str
        Columns of brightness as the command's option takes them, such as "r_sdss=rmag".
    rules : Rules, str, Path, dict, or a list of these, optional
        Predict only sources that a class of these could choose; pixels of the others are not
        read, and their status is "not needed". `select` makes the same lists of them.
    zeropoint : float, optional
        AB magnitude of one count, of images in the catalog that do not say it.
    slim : bool
        Whether to leave out the posterior of the latents and round what is predicted: all that
        rules read, in a quarter of the bytes.
    workers : int
        Processes that score the partitions of a HATS catalog. Even one is a new process, so that a
        script must do its work below ``if __name__ == "__main__":``.
    dask : bool
        Whether Dask begins these processes, which the extra "cluster" installs.
    scheduler : str, optional
        Address or scheduler file of a Dask cluster that scores the partitions.
    shard : str, optional
        Such as "3/8": score only every eighth partition, from the third on.
    time_limit : str, optional
        Time that a partition may take, such as "2h".
    without_failed : bool
        Whether the folder becomes a HATS catalog although some partitions failed.
    ra_col, dec_col, id_col : str, optional
        Names of columns that are not found by themselves.

    Returns
    -------
    Scored
        Equivalent widths in Angstrom, positive in emission; every column has its unit. Rows are in
        the order of the sky, not of the catalog: match by id.

    Raises
    ------
    CatalogError
        If the catalog cannot be read, has no column of ids or positions, or repeats an id.
    RuleError
        If the rules are not valid, or do not fit the columns of the catalog.
    CutoutError
        If there are no cutouts, they do not suit the ensemble, or none is of a source of the
        catalog.
    EnsembleError
        If there is no such ensemble or engine, its folder is damaged, or the embeddings are others
        than those of its training.
    ExtraError
        If the engine is not installed.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    select : Choose targets by what this predicts.
    calibrate : Correct the ensemble by labelled sources.
    score_rows : The same for rows and images in memory.

    Examples
    --------
    >>> import targetsel as ts
    >>> scored = ts.score("catalog.parquet", "cutouts")
    >>> scored["ew_halpha"].shape == scored["source_id"].shape
    True
    """
    from targetsel.embeddings.file import Embeddings
    from targetsel.networks.inputs import InputsById
    from targetsel.scored.rows import Scored, scored_into
    from targetsel.scoring.rows import ScoreOptions
    from targetsel.scoring.stream import needed_sources
    from targetsel.scoring.stream import score as stream
    from targetsel.selection.needed import Asked
    from targetsel.sky.catalog import CatalogFile

    several = rules if isinstance(rules, list | tuple) else [rules]
    chosen = [Rules.of(each) for each in several if each is not None]
    cluster = Cluster(workers, dask, scheduler, shard, time_limit, without_failed)
    options = ScoreOptions(seed=seed, slim=slim)
    if output is not None and is_partitioned(catalog, output):
        from targetsel.partitions.scoring import HowToScore, score_partitions

        columns = {"ra_col": ra_col, "dec_col": dec_col, "id_col": id_col}
        store: Any = cutouts
        if cutouts is None and (embeddings is None or _takes_cutouts(ensemble)):
            store = usual_cutouts(catalog, **columns)
        given = {"cutouts": store, "ensemble": ensemble, "embeddings": embeddings}
        check_on_disk(**{name: each for name, each in given.items() if each is not None})
        how = HowToScore(
            None if store is None else Path(str(store)),
            str(ensemble),
            options,
            calibrated,
            device,
            engine,
            brightness,
            chosen,
            columns,
            zeropoint,
            None if embeddings is None else Path(str(embeddings)),
        )
        with cluster.run() as parts:
            run = score_partitions(partitions_of(catalog), how, Path(output), parts)
        return Scored(run.output, run)
    cluster.check_unused(next(iter(paths_in([catalog])), "the catalog"))
    sources = CatalogFile.open(catalog, ra_col, dec_col, id_col)
    network = ensemble_of(ensemble, device, calibrated, engine)
    if cutouts is None and network.inputs.cutouts is not None:
        cutouts = usual_cutouts(sources)
    vectors = None
    if embeddings is not None:
        vectors = Embeddings.open(embeddings, network.inputs.column)
    ask = partial(Asked, chosen) if chosen else None
    needed = partial(needed_sources, sources, network, ask, brightness) if ask else None
    images: Any = contextlib.nullcontext() if cutouts is None else as_store(
        cutouts, sources, needed, zeropoint
    )  # fmt: skip
    with images as store:
        return scored_into(
            output,
            lambda path: stream(
                sources,
                InputsById(store, vectors),
                network,
                path,
                options,
                threads,
                brightness,
                ask=ask,
            ),
        )


def _takes_cutouts(ensemble: AnyEnsemble) -> bool:
    return ensemble_of(ensemble).inputs.cutouts is not None


@with_addresses("output", in_parts="scored")
def observe(
    scored: AnyTable,
    size: str | float | None = None,
    output: AnyPath | None = None,
    *,
    spectrograph: str = "desi",
    lines: Sequence[str] = (),
    exposure: str | None = None,
    snr: float = 5.0,
    brightness: Sequence[str] = (),
    in_fiber: bool = False,
    redshift: str | float = "",
    redshift_error: str | float = "",
    redshift_grid: str | None = None,
    redshift_pdf: AnyPath | None = None,
    ebv: str = "",
    dereddened: bool = False,
    site: str | Site | None = None,
    night: GivenNights | None = None,
    airmass: float = AIRMASS,
    horizon: float = 0.0,
    twilight: str = "astronomical",
    workers: int = 1,
    dask: bool = False,
    scheduler: str | None = None,
    shard: str | None = None,
    time_limit: str | None = None,
    without_failed: bool = False,
) -> Scored[ObservedRun | PartitionedRun]:
    """Line fluxes, signal-to-noise ratios and exposure times, as `targetsel observe` adds them.

    Parameters
    ----------
    scored : Scored, str, Path or table
    size : str or float, optional
        Half-light radius: a column, one value for all such as "1.5arcsec", or a number [arcsec].
        Only with `in_fiber` it is not needed.
    output : str or Path, optional
        File to write; by default the result stays in memory. A folder, for a scored catalog in
        HATS: each partition is observed by itself, and the folder becomes a HATS catalog once all
        are; ``run`` says which failed.
    spectrograph : str
        "4most", "boss", "desi", "pfs", "sdss", or a YAML file.
    lines : sequence of str
        Emission lines such as "halpha"; by default all.
    exposure : str, optional
        Exposure time such as "1000s" or "15min"; by default the spectrograph's.
    snr : float
        Signal-to-noise ratio that exposure times must reach.
    brightness : sequence of str
        Columns of brightness as the command's option takes them, such as "r_sdss=rmag".
    in_fiber : bool
        Use magnitudes of the light within the fiber, columns such as ``fiberflux_r``.
    redshift, redshift_error : str or float
        A column, or one value for all; by default the column ``redshift``, or where there is none,
        ``photoz`` with its posterior, if the ensemble predicts it.
    redshift_grid : str, optional
        "START:END", the redshifts of the first and last density, where `redshift` is a column
        with a list of densities.
    redshift_pdf : str or Path, optional
        File of redshifts, joined by id as `join_redshifts` does; `redshift` and `redshift_error`
        are then its columns.
    ebv : str
        Column of Galactic E(B-V) [mag]; by default no dust.
    dereddened : bool
        Magnitudes are corrected for Galactic dust already.
    site : str or Site, optional
        Where sources are observed, for columns such as ``hours_up``; see `visibility`.
    night : str, date, or several of them, optional
        Dates of evenings at the site.
    airmass, horizon : float
    twilight : str
        When sources are up, and when it is dark, as of `visibility`.
    workers : int
        Processes that observe the partitions of a HATS catalog.
    dask, without_failed : bool
    scheduler, shard, time_limit : str, optional
        Who these are, and which partitions they do, as of `score`.

    Returns
    -------
    Scored
        With columns such as ``lineflux_halpha``, ``snr_halpha`` and ``exposure_time_halpha`` [s].

    Raises
    ------
    SpectrographError
        If there is no such spectrograph, the size or the redshift cannot be used, or the catalog
        lacks a column that is named.
    VisibilityError
        If the site, the night or a limit cannot be understood, or it does not get dark.
    CatalogError
        If the scored catalog cannot be read, or is none.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    score : Makes the scored catalog.
    select : Rules may ask for ``snr_halpha`` and the like.
    compare : What spectra say once they are taken.

    Examples
    --------
    >>> import targetsel as ts
    >>> seen = ts.observe("catalog.scored.parquet", "2arcsec", lines=["halpha"], exposure="15min")
    >>> seen["exposure_time_halpha"].shape == seen["snr_halpha"].shape
    True
    """
    joined = None
    if redshift_pdf is not None:
        if redshift_grid is not None or (output is not None and is_partitioned(scored, output)):
            raise SpectrographError(
                f"{redshift_pdf}: is joined to a scored catalog in one file, without a redshift "
                "grid. Join it with 'targetsel join-redshifts', and observe the result."
            )
        scored = join_redshifts(
            scored, redshift_pdf, redshift=str(redshift), redshift_error=redshift_error
        )
        joined = scored.run
        redshift, redshift_error = PHOTOZ, ""
    from targetsel.observing.observation import Observation, write_observed
    from targetsel.partitions.observing import HowToObserve, observe_partitions
    from targetsel.scored.rows import Scored, scored_into

    cluster = Cluster(workers, dask, scheduler, shard, time_limit, without_failed)
    words: dict[str, Any] = {
        "size": size,
        "spectrograph": spectrograph,
        "lines": tuple(lines),
        "exposure": exposure,
        "snr": float(snr),
        "brightness": tuple(brightness),
        "in_fiber": in_fiber,
        "redshift": str(redshift),
        "redshift_error": str(redshift_error),
        "redshift_grid": redshift_grid,
        "reddening": ebv,
        "dereddened": dereddened,
        "site": Site.find(site).words if site else None,
        "night": tuple(map(str, dates_of(night))) if night else (),
        "airmass": airmass,
        "horizon": horizon,
        "twilight": twilight,
    }
    if output is not None and is_partitioned(scored, output):
        how = HowToObserve(**words)
        with cluster.run() as parts:
            run = observe_partitions(partitions_of(scored), how, Path(output), parts)
        return Scored(run.output, run)
    cluster.check_unused(next(iter(paths_in([scored])), "the scored catalog"))
    observation = Observation.of(scored, **words)
    return scored_into(
        output, lambda path: replace(write_observed(scored, observation, path), joined=joined)
    )


@with_addresses("output", in_parts="scored")
def compare(
    scored: AnyTable,
    spectra: AnyPath,
    output: AnyPath | None = None,
    *,
    ensemble: AnyEnsemble = DEFAULT,
    seed: int = 0,
    workers: int = 1,
    dask: bool = False,
    scheduler: str | None = None,
    shard: str | None = None,
    time_limit: str | None = None,
    without_failed: bool = False,
) -> Scored[Compared | PartitionedCompared]:
    """The scored catalog with the surprise of each measured spectrum, as `targetsel compare`.

    Parameters
    ----------
    scored : Scored, str, Path or table
    spectra : str or Path
        Latents of measured spectra, as `targetsel spectra encode` writes them.
    output : str or Path, optional
        File to write; by default the result stays in memory. A folder, for a scored catalog in
        HATS: each partition is compared by itself, and the folder becomes a HATS catalog once all
        are; ``run`` says which failed, and its ``outcome`` has the counts.
    ensemble : str, Path or Ensemble
        The one that scored the catalog.
    seed : int
        Seed of the posterior draws.
    workers : int
        Processes that compare the partitions of a HATS catalog.
    dask, without_failed : bool
    scheduler, shard, time_limit : str, optional
        Who these are, and which partitions they do, as of `score`.

    Returns
    -------
    Scored

    Raises
    ------
    CatalogError
        If a file cannot be read, the spectra have no latents, or none of their sources has a
        prediction; or if the catalog was compared already.
    EnsembleError
        If there is no such ensemble, or it is not the one that scored the catalog.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    encode_spectra : Writes the latents of measured spectra.
    select : Rules may ask for ``surprise``.
    evaluate : The quality of all predictions together.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.encode_spectra("measured-spectra.parquet", "latents.parquet")
    >>> compared = ts.compare("catalog.scored.parquet", "latents.parquet")
    >>> compared.run.n
    5
    """
    from targetsel.partitions.comparing import HowToCompare, compare_partitions
    from targetsel.scored.rows import Scored, scored_into
    from targetsel.scoring.surprise import compare as compare_with

    cluster = Cluster(workers, dask, scheduler, shard, time_limit, without_failed)
    if output is not None and is_partitioned(scored, output):
        check_on_disk(ensemble=ensemble)
        how = HowToCompare(Path(spectra), str(ensemble), seed)
        with cluster.run() as parts:
            run = compare_partitions(partitions_of(scored), how, Path(output), parts)
        return Scored(run.output, run)
    cluster.check_unused(next(iter(paths_in([scored])), "the scored catalog"))
    network = ensemble_of(ensemble, calibrated=False)
    return scored_into(
        output, lambda path: compare_with(scored, Path(spectra), network, path, seed)
    )


@with_addresses()
def calibrate(
    scored: AnyTable,
    truth: AnyPath,
    ensemble: AnyEnsemble,
    *,
    local: bool = True,
    like: AnyTable | None = None,
) -> Calibration:
    """Fit an ensemble's calibration to labelled sources, as `targetsel calibrate`.

    Parameters
    ----------
    scored : Scored, str, Path or table
        Scored with ``calibrated=False``, of sources that were not used in training.
    truth : str or Path
        Parquet with the ids and the true latents, proxies or both.
    ensemble : str, Path or Ensemble
    local : bool
        Also correct intervals by all that is predicted of a source.
    like : str, Path or table, optional
        Catalog of the sources that predictions are for: labelled sources are weighted so that their
        magnitudes and colours, in the scored catalog, are distributed as there (see
        `selection_weights`).

    Returns
    -------
    Calibration
        `Calibration.write` writes it to the ensemble's folder, where `score` finds it.

    Raises
    ------
    CatalogError
        If a file cannot be read, the catalog was scored with a calibration, too few of its
        sources have known spectra, or these are too unlike those of `like`.
    EnsembleError
        If the ensemble is not the one that scored the catalog, or the latents are of another
        decoder.

    See Also
    --------
    score : Takes the calibrated ensemble.
    evaluate : The quality of predictions, calibrated or not.
    selection_weights : What `like` gives the labelled sources.
    train : Makes the ensemble.

    Examples
    --------
    With the ensemble that the example of `train` makes:

    >>> import targetsel as ts
    >>> scored = ts.score("catalog.parquet", "cutouts", "mine", calibrated=False)
    >>> calibration = ts.calibrate(scored, "truth.parquet", "mine")
    >>> calibration.write("mine")
    """
    from targetsel.calibration.fitting import calibrate as fit
    from targetsel.sky.catalog import CatalogFile

    target = None if like is None else CatalogFile.open(like)
    return fit(scored, Path(truth), ensemble_of(ensemble, calibrated=False), local, target)


@with_addresses("output")
def restore(scored: AnyPath, original: AnyPath, output: AnyPath) -> Scored:
    """Give a scored catalog back what another program lost of it, as `targetsel restore` does.

    Parameters
    ----------
    scored : str or Path
        Scored catalog that another program has filtered or rewritten.
    original : str or Path
        The scored catalog that it was made from.
    output : str or Path
        Scored catalog to write, with the units, correlations and provenance of the original.

    Returns
    -------
    Scored

    Raises
    ------
    CatalogError
        If a file cannot be read, or its sources are not those of the original, with the same
        values.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    score : Writes the original.

    Examples
    --------
    >>> import targetsel as ts
    >>> ts.read("catalog.scored.parquet").to_pandas()[:10].to_parquet("ten.parquet")
    >>> whole = ts.restore("ten.parquet", "catalog.scored.parquet", "restored.parquet")
    >>> len(whole)
    10
    """
    from targetsel.scored.restoring import restore as write
    from targetsel.scored.rows import Scored

    write(Path(scored), Path(original), Path(output))
    return Scored.read(Path(output))
