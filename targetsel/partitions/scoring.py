"""Scoring of a HATS catalog, one partition at a time, into another HATS catalog.

A partition is scored as `scoring.stream.score` scores a catalog: what comes out depends on the
partition, its cutouts, the ensemble, the rules and the options alone, so that it is the same bytes
whoever scores it. Limits of rules that are quantiles of the catalog are taken over all partitions
before the first one is scored.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from targetsel.embeddings.file import Embeddings
from targetsel.errors import CatalogError, CutoutError, OutputError, shown
from targetsel.imaging.nested_images import without_images
from targetsel.imaging.partitioned_store import PartitionedStore
from targetsel.jobs.job import Job
from targetsel.jobs.perform import Work
from targetsel.networks.inputs import OTHER_BANDS, InputsById
from targetsel.partitions.catalog_job import HowToRun, Kind, PartitionedRun, write_part
from targetsel.partitions.images_inside import ImagesInside
from targetsel.partitions.remote_parts import files_of_rows, here, opened, whole_of
from targetsel.photometry.brightness import with_brightness
from targetsel.photometry.columns import notes_in
from targetsel.remote.copies import copies
from targetsel.rules.rules import Rules
from targetsel.scored.columns import NOT_NEEDED, REDSHIFT_LEFT_OUT
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions
from targetsel.scoring.stream import needed_sources, provenance_of, score, scored_schema
from targetsel.selection.needed import Asked
from targetsel.sky.catalog import CatalogFile
from targetsel.tables.hats import HatsCatalog, Pixel


@dataclass(frozen=True)
class PartitionedScore(PartitionedRun):
    """The result of a job of scoring.

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
    def n_cutouts(self) -> int:
        """Sources that have a cutout, or where none are taken a vector."""
        return int(self.total("cutouts"))

    @property
    def n_unmeasured(self) -> int:
        """Sources with a prediction that lack the posterior of a proxy."""
        return int(self.total("unmeasured"))

    @property
    def redshift_left_out(self) -> str:
        """Why predicted redshifts are not written (see `ScoreRun`); empty where they are."""
        said = (str(each.facts.get(REDSHIFT_LEFT_OUT, "")) for each in self.states)
        return next(filter(None, said), "")

    @property
    def n_not_needed(self) -> int:
        """Sources that the rules rule out by their catalog alone."""
        return self.statuses.get(NOT_NEEDED, 0)

    def check(self, job: Job) -> None:
        """Refuse cutouts of another catalog.

        Raises
        ------
        CatalogError, CutoutError
            If no source of any part has a cutout, or none a vector.
        """
        if not self.n_cutouts and job.settings["embeddings"]:
            raise CatalogError(
                f"{job.settings['embeddings']}: none of its ids is among the {self.n_rows:,} of "
                f"{job.settings['catalog']}. Name the column of ids that the embeddings have, "
                "--id-col, or the embeddings of this catalog, --embeddings."
            )
        if not self.n_cutouts and not job.settings["images"]:
            raise CutoutError(
                f"{job.settings['cutouts']}: none of its sources is among the {self.n_rows:,} of "
                f"{job.settings['catalog']}. Name the column of ids that the cutouts were packed "
                "with, --id-col, or the store of this catalog, --cutouts."
            )


@dataclass(frozen=True)
class HowToScore:
    """How the partitions of a catalog are scored.

    Attributes
    ----------
    cutouts : Path or None
        The store; or the catalog itself, whose own images are read then; None for an ensemble that
        takes none.
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
    embeddings : Path or None
        The file of the embeddings that the ensemble takes, if it does.
    """

    cutouts: Path | None
    ensemble: Path | str
    options: ScoreOptions = field(default_factory=ScoreOptions)
    calibrated: bool = True
    device: str = "cpu"
    engine: str = "torch"
    brightness: Sequence[str] = ()
    rules: Sequence[Rules] = ()
    columns: Mapping[str, str | None] = field(default_factory=dict)
    zeropoint: float | None = None
    embeddings: Path | None = None


def score_partitions(
    catalog: HatsCatalog, how: HowToScore, output: Path, run: HowToRun
) -> PartitionedScore:
    """Score every partition of a HATS catalog, or those of one shard, into another one.

    Partitions that are done stay; those that failed in an earlier run are tried again. Once all
    are done, the folder becomes a HATS catalog. For an output in an object store the job's folder
    is one of its name in the working directory, and each partition is uploaded when it is done.

    Raises
    ------
    CatalogError, CutoutError, EnsembleError, RuleError
        If the inputs do not fit together, or no source has a cutout.
    OutputError
        If the output holds something else, or a job of other inputs or options.
    """
    return KIND.perform(_begun(catalog, how, output), run)


def _begun(catalog: HatsCatalog, how: HowToScore, output: Path) -> Job:
    """The job, with all that can be wrong checked before the first partition is scored."""
    network = Ensemble.read(how.ensemble, how.device, how.calibrated, how.engine)
    whole = whole_of(catalog, how.columns)
    cutouts: PartitionedStore | ImagesInside | None = None
    if how.cutouts is not None and how.cutouts.resolve() == catalog.root.resolve():
        cutouts = ImagesInside.open(catalog, whole, how.columns, how.zeropoint)
    elif how.cutouts is not None:
        cutouts = PartitionedStore.open(how.cutouts)
    store = InputsById(cutouts, _embeddings(how.embeddings, network))
    network.inputs.check(store, network.name, OTHER_BANDS)
    whole = without_images(whole)
    whole = replace(whole, schema=with_brightness(whole.schema, how.brightness, catalog.root))
    asked = Asked(how.rules, scored_schema(whole, network)) if how.rules else None
    values = asked.quantile_values(partial(_tables, catalog, whole)) if asked else []
    folder = Path(how.ensemble)
    settings = {
        "columns": dict(how.columns),
        "cutouts": None if how.cutouts is None else str(how.cutouts.resolve()),
        "images": cutouts.settings if isinstance(cutouts, ImagesInside) else None,
        "cutouts_at": str(copies.place_of(how.cutouts) or "") if how.cutouts else "",
        "embeddings": None if how.embeddings is None else str(how.embeddings.resolve()),
        "ensemble": str(folder.resolve() if folder.is_dir() else how.ensemble),
        "calibrated": how.calibrated,
        "device": how.device,
        "engine": how.engine,
        "options": asdict(how.options),
        "brightness": list(how.brightness),
        "rules": [list(each.files[0]) for each in how.rules],
        "quantiles": values,
    }
    identity = {
        **provenance_of(store, network, how.options),
        "columns": whole.columns,
        "brightness": notes_in(whole.schema),
        "rules": asked.provenance if asked else None,
    }
    return KIND.begin(catalog, output, settings, identity)


def _tables(catalog: HatsCatalog, whole: CatalogFile) -> Iterator[pa.Table]:
    for file in files_of_rows(catalog, whole):
        yield from (piece.table for piece in file.batches(262_144))


def work_of(job: Job) -> Work:
    """The work of a job of scoring: reads the ensemble, and checks that nothing has changed."""
    told = job.settings
    network = Ensemble.read(told["ensemble"], told["device"], told["calibrated"], told["engine"])
    catalog = opened(told["catalog"])
    cutouts: PartitionedStore | ImagesInside | None = None
    if told["images"]:
        cutouts = ImagesInside.told(told["images"], catalog)
    elif told["cutouts"]:
        cutouts = PartitionedStore.open(here(told["cutouts"], told["cutouts_at"]))
    store = InputsById(cutouts, _embeddings(told["embeddings"], network))
    options = ScoreOptions(**told["options"])
    for name, value in provenance_of(store, network, options).items():
        if job.identity[name] != value:
            raise OutputError(
                f"{job.output}: was begun with {name} {shown(job.identity[name])}; for this "
                f"process, on {platform.node()}, it is {shown(value)}. Let all processes use the "
                "same, or begin another job, in another folder."
            )
    rules = [Rules.parse(text, name) for name, text in told["rules"]]

    def ask(schema: pa.Schema) -> Asked:
        return Asked(rules, schema, told["quantiles"])

    def write(path: Path, output: Path) -> dict[str, Any]:
        file = CatalogFile.open(path, **told["columns"])
        schema = with_brightness(file.schema, told["brightness"], catalog.root)
        file = replace(file, schema=schema)
        needed = partial(needed_sources, file, network, ask) if rules else None
        asked = ask if rules else None
        with _inputs_of(store, Pixel.of_path(output), file, needed) as inputs:
            run = score(file, inputs, network, output, options, ask=asked, is_part=True)
        return {
            "rows": sum(run.statuses.values()),
            "statuses": run.statuses,
            "cutouts": run.n_cutouts,
            "unmeasured": run.n_unmeasured,
            **({REDSHIFT_LEFT_OUT: said} if (said := run.redshift_left_out) else {}),
        }

    return partial(write_part, job, catalog, write=write)


def _embeddings(path: Path | str | None, network: Ensemble) -> Embeddings | None:
    return None if path is None else Embeddings.open(Path(path), network.inputs.column)


@contextlib.contextmanager
def _inputs_of(
    store: InputsById, pixel: Pixel, file: CatalogFile, needed: Any
) -> Iterator[InputsById]:
    """The inputs of one partition, at least those of needed sources, within the block."""
    if store.cutouts is None:
        yield store
    elif isinstance(store.cutouts, PartitionedStore):
        yield replace(store, cutouts=store.cutouts.of(pixel))
    else:
        with store.cutouts.unpacked(file, needed) as cutouts:
            yield replace(store, cutouts=cutouts)


KIND = Kind("score", "scoring", work_of, PartitionedScore)
