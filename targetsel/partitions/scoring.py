"""Scoring of a HATS catalog, one partition at a time, into another HATS catalog.

A partition is scored as `scoring.stream.score` scores a catalog: what comes out depends on the
partition, its cutouts, the ensemble, the rules and the options alone, so that it is the same bytes
whoever scores it. Limits of rules that are quantiles of the catalog are taken over all partitions
before the first one is scored.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from targetsel.errors import CutoutError, OutputError
from targetsel.imaging.nested_images import without_images
from targetsel.imaging.partitioned_store import PartitionedStore
from targetsel.imaging.store import CutoutStore, check_suits
from targetsel.jobs.job import DONE, FAILED, Job, PartState, shard_of
from targetsel.jobs.launch import Launcher
from targetsel.jobs.perform import Work, facts_of_file
from targetsel.partitions.images_inside import ImagesInside
from targetsel.partitions.remote_parts import (
    files_of_rows,
    folder_for,
    here,
    named,
    opened,
    publish_part,
    publish_rest,
    rows_of,
    whole_of,
)
from targetsel.photometry.brightness import with_brightness
from targetsel.photometry.columns import notes_in
from targetsel.remote.copies import copies
from targetsel.remote.places import Place
from targetsel.rules.rules import Rules
from targetsel.scored.columns import NOT_NEEDED
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions
from targetsel.scoring.stream import (
    OTHER_BANDS,
    needed_sources,
    provenance_of,
    score,
    scored_schema,
)
from targetsel.selection.needed import Asked
from targetsel.sky.catalog import CatalogFile
from targetsel.tables.hats import HatsCatalog, Pixel, finish_hats
from targetsel.tables.hats_properties import properties_of
from targetsel.tasks import task

KIND = "score"
LEFT_OUT = "targetsel_left_out"  # property that names the partitions that failed


@dataclass(frozen=True)
class PartitionedRun:
    """The result of a job: its folder, and how far its parts have come.

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

    output: Path
    states: tuple[PartState, ...]
    is_finished: bool
    published: str = ""

    @property
    def failed(self) -> tuple[PartState, ...]:
        return tuple(each for each in self.states if each.status == FAILED)

    @property
    def n_done(self) -> int:
        return sum(each.status == DONE for each in self.states)

    @property
    def n_rows(self) -> int:
        """Rows of the parts that are done."""
        return int(self.total("rows"))

    @property
    def n_cutouts(self) -> int:
        """Sources that have a cutout."""
        return int(self.total("cutouts"))

    @property
    def n_unmeasured(self) -> int:
        """Sources with a prediction that lack the posterior of a proxy."""
        return int(self.total("unmeasured"))

    @property
    def n_not_needed(self) -> int:
        """Sources that the rules rule out by their catalog alone."""
        return self.statuses.get(NOT_NEEDED, 0)

    def total(self, fact: str) -> float:
        """The sum of a number over the parts that are done."""
        return float(sum(each.facts.get(fact, 0) for each in self.states))

    @property
    def statuses(self) -> dict[str, int]:
        """Sources by status."""
        counts: Counter[str] = Counter()
        for each in self.states:
            counts.update(each.facts.get("statuses", {}))
        return dict(counts.most_common())


@dataclass(frozen=True)
class HowToScore:
    """How the partitions of a catalog are scored.

    Attributes
    ----------
    cutouts : Path
        The store; or the catalog itself, whose own images are read then.
    ensemble : Path or str
        A folder, or the name of a shipped one.
    options : ScoreOptions
    calibrated : bool
        Whether the ensemble's calibration is applied.
    device, engine : str
        What the networks run on, and what runs them.
    brightness : sequence of str
        Options such as "r_sdss=rmag" (see `photometry.brightness`).
    rules : sequence of Rules
        Those that decide which sources are needed; none if all are.
    columns : mapping
        Names of the columns "ra_col", "dec_col" and "id_col" that are not found by themselves.
    zeropoint : float or None
        AB magnitude of one count, of images in the catalog that do not say it.
    """

    cutouts: Path
    ensemble: Path | str
    options: ScoreOptions = field(default_factory=ScoreOptions)
    calibrated: bool = True
    device: str = "cpu"
    engine: str = "torch"
    brightness: Sequence[str] = ()
    rules: Sequence[Rules] = ()
    columns: Mapping[str, str | None] = field(default_factory=dict)
    zeropoint: float | None = None


def score_partitions(
    catalog: HatsCatalog,
    how: HowToScore,
    output: Path,
    launcher: Launcher,
    *,
    shard: str | None = None,
    seconds: float | None = None,
    without_failed: bool = False,
) -> PartitionedRun:
    """Score every partition of a HATS catalog, or those of one shard, into another one.

    Partitions that are done stay; those that failed in an earlier run are tried again. Once all
    are done, the folder becomes a HATS catalog. For an output in an object store the job's folder
    is one of its name in the working directory, and each partition is uploaded when it is done.

    Parameters
    ----------
    launcher : Launcher
        The processes that do the work (see `jobs.launch`).
    shard : str, optional
        Such as "3/8", for the third of eight runs that share the partitions.
    seconds : float, optional
        Time that a partition may take; one that takes longer counts as failed.
    without_failed : bool
        Whether the folder becomes a catalog although some partitions failed.

    Raises
    ------
    CatalogError, CutoutError, EnsembleError, RuleError
        If the inputs do not fit together.
    OutputError
        If the output holds something else, or a job of other inputs or options.
    """
    output, published = folder_for(Path(output))
    job = _begun(catalog, how, output, published)
    parts = job.parts if shard is None else shard_of(job.parts, shard)
    run_parts(job, parts, launcher, work_of, seconds)
    return finish(job, without_failed)


def _begun(catalog: HatsCatalog, how: HowToScore, output: Path, published: Place | None) -> Job:
    """The job, with all that can be wrong checked before the first partition is scored."""
    if output.resolve() == catalog.root.resolve():
        raise OutputError(f"{output}: is the catalog itself. Choose another output.")
    network = Ensemble.read(how.ensemble, how.device, how.calibrated, how.engine)
    whole = whole_of(catalog, how.columns)
    is_inside = how.cutouts.resolve() == catalog.root.resolve()
    store = (
        ImagesInside.open(catalog, whole, how.columns, how.zeropoint)
        if is_inside
        else PartitionedStore.open(how.cutouts)
    )
    plan = network.input
    check_suits(store, plan.bands, plan.pixel_scale, plan.size, network.name, OTHER_BANDS)
    whole = without_images(whole)
    whole = replace(whole, schema=with_brightness(whole.schema, how.brightness, catalog.root))
    asked = Asked(how.rules, scored_schema(whole, network)) if how.rules else None
    values = asked.quantile_values(partial(_tables, catalog, whole)) if asked else []
    folder = Path(how.ensemble)
    settings = {
        "catalog": named(catalog),
        "columns": dict(how.columns),
        "cutouts": str(how.cutouts.resolve()),
        "images": store.settings if isinstance(store, ImagesInside) else None,
        "cutouts_at": str(copies.place_of(how.cutouts) or ""),
        "ensemble": str(folder.resolve() if folder.is_dir() else how.ensemble),
        "calibrated": how.calibrated,
        "device": how.device,
        "engine": how.engine,
        "options": asdict(how.options),
        "brightness": list(how.brightness),
        "rules": [list(each.files[0]) for each in how.rules],
        "quantiles": values,
        "published": str(published or ""),
    }
    identity = {
        **provenance_of(store, network, how.options),
        "catalog": catalog.fingerprint,
        "columns": whole.columns,
        "brightness": notes_in(whole.schema),
        "rules": asked.provenance if asked else None,
    }
    if published is not None:
        identity["published"] = str(published)
    return Job.begin(output, KIND, settings, identity, [pixel.name for pixel in catalog.pixels])


def _tables(catalog: HatsCatalog, whole: CatalogFile) -> Iterator[pa.Table]:
    for file in files_of_rows(catalog, whole):
        yield from (piece.table for piece in file.batches(262_144))


def run_parts(
    job: Job, parts: Iterable[str], launcher: Launcher, maker: Any, seconds: float | None
) -> None:
    """Do the parts that are not done; what failed in an earlier run is tried again."""
    waiting = []
    for part in parts:
        log = job.log(part)
        state = log.state()
        if state.status != DONE:
            if state.attempts:
                log.again()
            waiting.append(part)
    with task("scoring", len(waiting), "partitions") as advance:
        for state in launcher(job, waiting, maker, seconds):
            job.report(state)
            advance(1)


def work_of(job: Job) -> Work:
    """The work of a job of scoring: reads the ensemble, and checks that nothing has changed."""
    told = job.settings
    network = Ensemble.read(told["ensemble"], told["device"], told["calibrated"], told["engine"])
    catalog = opened(told["catalog"])
    store = (
        ImagesInside.told(told["images"], catalog)
        if told["images"]
        else PartitionedStore.open(here(told["cutouts"], told["cutouts_at"]))
    )
    options = ScoreOptions(**told["options"])
    for name, value in provenance_of(store, network, options).items():
        if job.identity[name] != value:
            raise OutputError(
                f"{job.output}: its {name} has changed since the job began. Begin another job, in "
                "another folder."
            )
    rules = [Rules.parse(text, name) for name, text in told["rules"]]

    def ask(schema: pa.Schema) -> Asked:
        return Asked(rules, schema, told["quantiles"])

    def score_part(part: str) -> dict[str, Any]:
        pixel = Pixel.of_path(part)
        output = pixel.file(job.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        asked = ask if rules else None
        with rows_of(catalog, pixel) as path:
            file = CatalogFile.open(path, **told["columns"])
            schema = with_brightness(file.schema, told["brightness"], catalog.root)
            file = replace(file, schema=schema)
            needed = partial(needed_sources, file, network, ask) if rules else None
            with _cutouts_of(store, pixel, file, needed) as cutouts:
                run = score(file, cutouts, network, output, options, ask=asked, is_part=True)
        if told["published"] and run.statuses:
            publish_part(output, told["published"], pixel)
        return {
            **facts_of_file(output, sum(run.statuses.values())),
            "statuses": run.statuses,
            "cutouts": run.n_cutouts,
            "unmeasured": run.n_unmeasured,
        }

    return score_part


@contextlib.contextmanager
def _cutouts_of(
    store: PartitionedStore | ImagesInside, pixel: Pixel, file: CatalogFile, needed: Any
) -> Iterator[CutoutStore]:
    """The cutouts of one partition, at least those of needed sources, within the block."""
    if isinstance(store, PartitionedStore):
        yield store.of(pixel)
    else:
        with store.packed(file, needed) as packed:
            yield packed


def finish(job: Job, without_failed: bool = False) -> PartitionedRun:
    """Make the folder of a job a HATS catalog, once all parts are done.

    Of several processes that come here at the same time one does it. A catalog that is finished
    stays as it is.

    Parameters
    ----------
    without_failed : bool
        Whether to leave out the parts that failed, which the catalog's properties then name.

    Raises
    ------
    CutoutError
        If no source of any part has a cutout.
    """
    states = tuple(job.states())
    run = PartitionedRun(job.output, states, False)
    failed = [each.name for each in run.failed] if without_failed else []
    if run.n_done + len(failed) < len(states) or not run.n_done:
        return run
    if not run.n_cutouts and not job.settings["images"]:
        raise CutoutError(
            f"{job.settings['cutouts']}: none of its sources is among the {run.n_rows:,} of "
            f"{job.settings['catalog']}. Name the column of ids that the cutouts were packed with, "
            "--id-col, or the store of this catalog, --cutouts."
        )
    with job.finishing() as mine:
        if not mine:
            return run
        said = properties_of(job.output)
        if not (
            said.get("hats_nrows") == str(run.n_rows) and said.get(LEFT_OUT, "") == " ".join(failed)
        ):
            columns = job.identity["columns"]
            finish_hats(
                job.output,
                job.output.name,
                [Pixel.of_path(each.name) for each in states if each.status == DONE],
                ra_column=columns["ra"],
                dec_column=columns["dec"],
                properties={LEFT_OUT: " ".join(failed)} if failed else {},
            )
        if job.settings["published"]:
            publish_rest(job.output, job.settings["published"])
    return PartitionedRun(job.output, states, True, job.settings["published"])
