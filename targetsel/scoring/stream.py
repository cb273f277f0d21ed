"""Scoring of a catalog of any size as a stream, resumable.

The catalog is sorted on the sky and cut into chunks; each chunk is scored on its own, so that
neither the order of the rows nor the number of threads changes a byte, and an interrupted run
resumes with the first chunk that is not on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, CutoutError, OutputError, TargetselError
from targetsel.imaging.nested_images import without_images
from targetsel.networks.inputs import OTHER_BANDS, AnyStore, Inputs, InputsById
from targetsel.novelty.support import Tally
from targetsel.photometry.brightness import with_brightness
from targetsel.photometry.columns import notes_in
from targetsel.remote.copies import unfinished
from targetsel.scored.columns import (
    APPEARANCE,
    NOT_NEEDED,
    REDSHIFT_LEFT_OUT,
    STATUS,
    UNMEASURED_PROXIES,
    check_names,
    why_left_out,
)
from targetsel.scored.simulated_training import CAUTION, caution_about
from targetsel.scored.slim import compression
from targetsel.scoring.chunks import Chunk, NeededRows, Piece
from targetsel.scoring.rows import ScoreOptions, score_inputs
from targetsel.sky.catalog import ROWS_PER_READ, Catalog, CatalogFile
from targetsel.sky.chunks import schema_of_chunks, sorted_chunks, with_pixels
from targetsel.spectra.apertures import APERTURE
from targetsel.tables.any_form import paths_in
from targetsel.tables.any_format import is_simulated
from targetsel.tables.files import (
    check_table_output,
    disk_errors,
    held,
    remove_folder,
    sha256_of_file,
    written_beside,
)
from targetsel.tables.parquet import DECODER_KEY, SIMULATED, ParquetSink, write_table
from targetsel.tasks import task, tracked
from targetsel.version import __version__
from targetsel.workers.pool import map_bounded, read_ahead, return_freed_memory

if TYPE_CHECKING:
    from targetsel.scoring.ensemble import Ensemble

Item = TypeVar("Item")

ROWS_PER_CHUNK = 256
CHUNKS_AT_ONCE = 8  # where few sources of a chunk are needed


class BoundRules(Protocol):
    """Rules bound to the catalog (see `selection.needed`)."""

    provenance: dict[str, Any]

    def needed(self, tables: Callable[[], Iterable[pa.Table]]) -> NeededRows: ...


@dataclass(frozen=True)
class ScoreRun:
    """The result of `score`: the file and its counts.

    Attributes
    ----------
    output : Path
        The file written.
    statuses : dict of int
        Its rows by status.
    n_cutouts : int
        Sources that have a cutout in the store, or where none are taken a vector.
    n_unmeasured : int
        Sources with a prediction that lack the posterior of a proxy.
    n_resumed : int
        Chunks that an earlier run had finished.
    changed : tuple of str
        What was different for an earlier run, whose work could not be used.
    support : Tally
        How far the training supports the sources that have predictions.
    all_needed : str
        Why rules need the predictions of all sources; empty where they do not, or none were given.
    caution : str
        What to know of an ensemble that learnt from simulated images only; else empty.
    redshift_left_out : str
        Why predicted redshifts are not written: the catalog has a column `photoz` of its own.
        Empty where they are, or none are predicted.
    """

    output: Path
    statuses: dict[str, int]
    n_cutouts: int
    n_unmeasured: int
    n_resumed: int
    changed: tuple[str, ...]
    support: Tally
    all_needed: str = ""
    caution: str = ""
    redshift_left_out: str = ""

    @property
    def n_not_needed(self) -> int:
        """Sources that the rules rule out by their catalog alone."""
        return self.statuses.get(NOT_NEEDED, 0)


def score(
    catalog: CatalogFile,
    given: AnyStore,
    ensemble: Ensemble,
    output: Path,
    options: ScoreOptions = ScoreOptions(),
    threads: int = 1,
    brightness: Sequence[str] = (),
    ask: Callable[[pa.Schema], BoundRules] | None = None,
    is_part: bool = False,
) -> ScoreRun:
    """Score every source of a catalog and write the scored catalog to `output`.

    Columns of brightness get a note on what they hold: by `brightness`, such as "r_sdss=rmag", the
    YAML file beside the catalog, or their usual names (see `photometry.brightness`).

    A column of images inside the catalog (see `imaging.nested_images`) is left out. A column
    `photoz` of its own stays, and no redshift is added.

    With `ask`, which binds rules to the columns that the scored catalog will have, pixels are read
    of those sources alone that the rules need; the others keep their row, without predictions.

    A catalog that is a part of a larger one (`is_part`) may have no cutout at all.

    Finished chunks are kept in the folder `<output>.partial` until the end (in the working
    directory, where the output is uploaded). A run that finds one of the same catalog, store,
    ensemble, options, rules and version resumes from it, and replaces others.

    Raises
    ------
    CatalogError, CutoutError, EnsembleError, OutputError
        Nothing is left under `output` then; `<output>.partial` stays if it holds scored rows.
    """
    output, store = Path(output), InputsById.of(given)
    check_table_output(output, (*paths_in([catalog]), *store.paths))
    ensemble.inputs.check(store, ensemble.name, OTHER_BANDS)
    check_names(catalog.schema, str(catalog.path))
    catalog = _prepared(catalog, brightness)
    catalog.check()
    asked = ask(scored_schema(catalog, ensemble)) if ask else None
    simulated = any(map(is_simulated, paths_in([catalog])))
    provenance = full_provenance(catalog.schema, store, ensemble, options, asked, simulated)
    with _partial(output) as partial:
        work = _Work.begin(catalog, partial, provenance)
        n_cutouts = _n_cutouts(work, catalog, store, at_least=0 if is_part else 1)
        needed = asked.needed(work.chunks) if asked else None

        def pieces() -> Iterator[Piece]:
            for k in range(work.n_chunks):
                if k not in work.finished:
                    rows = Catalog(pq.read_table(work.chunk(k)), catalog.columns)
                    yield from Chunk(k, rows, needed).pieces(ROWS_PER_CHUNK)

        def read(piece: Piece) -> tuple[Piece, Inputs]:
            return piece, store.seen(piece.sources, ensemble.inputs, catalog.path)

        def score_piece(ready: tuple[Piece, Inputs]) -> int:
            piece, inputs = ready
            rows = score_inputs(piece.sources, inputs, ensemble, options)
            whole = piece.chunk.with_scored(piece.place, rows)
            if whole is None:
                return 0
            work.finish(piece.chunk.number, whole)
            return whole.num_rows

        finished = sum(work.finished.values())
        n_resumed = len(work.finished)
        with (
            task("scoring", work.n_rows, "sources", finished) as advance,
            contextlib.closing(read_ahead(read, pieces())) as ready,
        ):
            for n_rows in _in_threads(score_piece, ready, threads):
                advance(n_rows)
        whole = partial / f"whole{''.join(output.suffixes[-2:])}"  # in the format of its ending
        counts, support = _join(work, catalog, ensemble, provenance, whole)
        with disk_errors(output):
            shutil.move(whole, output)  # maybe to another disk, where it is a copy of a remote file
    statuses, n_unmeasured = counts
    return ScoreRun(
        output,
        statuses,
        n_cutouts,
        n_unmeasured,
        n_resumed,
        work.changed,
        support,
        needed.reason if needed else "",
        provenance.get(CAUTION, ""),
        provenance.get(REDSHIFT_LEFT_OUT, ""),
    )


def needed_sources(
    catalog: CatalogFile,
    ensemble: Ensemble,
    ask: Callable[[pa.Schema], BoundRules],
    brightness: Sequence[str] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of a catalog, and whether `score` would read the pixels of each; shapes (N,).

    For images that are packed into a store first. Parameters as of `score`.
    """
    check_names(catalog.schema, str(catalog.path))
    catalog = _prepared(catalog, brightness)
    schema = schema_of_chunks(catalog)

    def tables() -> Iterator[pa.Table]:
        return (with_pixels(rows, schema) for rows in catalog.batches(ROWS_PER_READ))

    needed = ask(scored_schema(catalog, ensemble)).needed(tables)
    ids, found = [], []
    for table in tables():
        ids.append(Catalog(table, catalog.columns).source_id)
        found.append(needed.rows(table))
    return np.concatenate(ids), np.concatenate(found)


def _prepared(catalog: CatalogFile, brightness: Sequence[str]) -> CatalogFile:
    """The catalog without images inside, and with notes on its columns of brightness."""
    file = next(iter(paths_in([catalog])), None)
    catalog = without_images(catalog)
    return replace(catalog, schema=with_brightness(catalog.schema, brightness, file))


def scored_schema(catalog: CatalogFile, ensemble: Ensemble) -> pa.Schema:
    """The columns that the scored catalog will have."""
    nobody = Catalog(schema_of_chunks(catalog).empty_table(), catalog.columns)
    return score_inputs(nobody, ensemble.inputs.nobody(nobody.source_id), ensemble).schema


@contextlib.contextmanager
def _partial(output: Path) -> Iterator[Path]:
    """The folder for unfinished work, held by this run; it stays if scored rows would be lost."""
    partial = unfinished(output)
    with held(partial):
        try:
            yield partial
        except TargetselError as error:
            if not any(partial.glob("part-*.parquet")):
                remove_folder(partial)
            elif isinstance(error, OutputError):
                raise OutputError(
                    f"{error} Rows scored so far are kept in {partial}: run the same command "
                    "again to resume."
                ) from error
            raise
        remove_folder(partial)


class _Work:
    """The folder for unfinished work: chunks of the sorted catalog, and their scored parts.

    `run.json` says what is scored, and the hash of every chunk; a line of `finished.txt` holds
    the number of a part, its rows and its hash. So what a crash of the machine or another program
    did to a file is noticed.

    Attributes
    ----------
    n_chunks, n_rows : int
    sha256 : str
        Fingerprint of the sorted catalog.
    finished : dict of int
        Rows of each part that an earlier run finished.
    changed : tuple of str
        What was different for an earlier run.
    """

    def __init__(self, folder: Path, known: dict[str, Any], changed: tuple[str, ...]) -> None:
        self.folder, self.changed = folder, changed
        self.n_chunks, self.n_rows = len(known["chunks"]), known["rows"]
        self.sha256 = known["sha256"]
        self._lock = Lock()
        self.finished = self._found()

    @classmethod
    def begin(cls, catalog: CatalogFile, folder: Path, provenance: dict[str, Any]) -> _Work:
        """The work that an earlier run of the same inputs left, or new chunks."""
        note = folder / "run.json"
        run = json.loads(json.dumps({"catalog": _identity(catalog), **provenance}))
        for litter in folder.glob(".*"):  # of a run that was killed
            _remove(litter)
        try:
            known = json.loads(note.read_text())
            earlier, _, _ = dict(known["run"]), int(known["rows"]), str(known["sha256"])
            whole = all(_has_hash(_chunk(folder, k), h) for k, h in enumerate(known["chunks"]))
        except (OSError, ValueError, TypeError, KeyError):  # a run was killed before it was whole
            known, earlier, whole = {}, run, False
        if earlier != run or not whole:
            for old in folder.iterdir():
                if old.name != "lock":
                    _remove(old)
            rows = ROWS_PER_CHUNK * (1 if run["rules"] is None else CHUNKS_AT_ONCE)
            chunks = sorted_chunks(catalog, folder, rows)
            hashes = [sha256_of_file(path) for path in chunks.paths]
            known = {"run": run, "chunks": hashes, "rows": chunks.n_rows, "sha256": chunks.sha256}
            with written_beside(note) as beside:
                beside.write_text(json.dumps(known))
        changed = tuple(key for key in run if earlier.get(key) != run[key])
        return cls(folder, known, changed)

    def chunk(self, k: int) -> Path:
        return _chunk(self.folder, k)

    def chunks(self) -> Iterator[pa.Table]:
        """All rows of the sorted catalog, chunk by chunk."""
        return (pq.read_table(self.chunk(k)) for k in range(self.n_chunks))

    def part(self, k: int) -> Path:
        return self.folder / f"part-{k:05d}.parquet"

    def finish(self, k: int, table: pa.Table) -> None:
        """Keep the scored rows of a chunk; the part appears once its hash is noted."""
        beside = self.folder / f".part-{k:05d}.parquet"
        write_table(table, beside)
        with self._lock, disk_errors(self.part(k)):
            with (self.folder / "finished.txt").open("a") as log:
                log.write(f"{k} {table.num_rows} {sha256_of_file(beside)}\n")
            os.replace(beside, self.part(k))

    def _found(self) -> dict[int, int]:
        """Rows of the parts that are there as they were written."""
        log, found = self.folder / "finished.txt", {}
        for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
            match line.split():
                case [k, rows, sha256] if k.isascii() and rows.isascii() and (k + rows).isdigit():
                    if int(k) < self.n_chunks and _has_hash(self.part(int(k)), sha256):
                        found[int(k)] = int(rows)
        return found


def _chunk(folder: Path, k: int) -> Path:
    return folder / f"chunk-{k:05d}.parquet"


def _has_hash(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of_file(path) == sha256


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _identity(catalog: CatalogFile) -> dict[str, Any]:
    """Names and hashes of a catalog's files, which differ once its content has changed."""
    if not isinstance(catalog.path, Path):  # in memory, where nothing is resumed
        return {"columns": dict(catalog.columns), "files": {}}
    path = catalog.path
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    names = [str(each.relative_to(path)) if path.is_dir() else each.name for each in files]
    hashes = dict(zip(names, map(sha256_of_file, files), strict=True))
    return {"columns": dict(catalog.columns), "files": hashes}


def provenance_of(store: AnyStore, ensemble: Ensemble, options: ScoreOptions) -> dict[str, Any]:
    """Entries of a footer: all that a score depends on beside its catalog and rules."""
    calibration, distilled = ensemble.calibration, ensemble.draws_decoder.distilled
    aperture = ensemble.card.get(APERTURE)
    return {
        "targetsel": __version__,
        "ensemble": {"name": ensemble.name, "sha256": ensemble.sha256},
        DECODER_KEY: ensemble.card["files"].get("decoder.safetensors"),
        **({} if aperture is None else {APERTURE: aperture}),
        "calibration": calibration.provenance if calibration else None,
        "indices": distilled.provenance if distilled else None,
        **InputsById.of(store).provenance,
        "device": str(ensemble.device),
        "engine": ensemble.engine_version,
        "options": asdict(options),
    }


def full_provenance(
    catalog: pa.Schema,
    store: AnyStore,
    ensemble: Ensemble,
    options: ScoreOptions,
    asked: BoundRules | None,
    simulated: bool,
) -> dict[str, Any]:
    """`provenance_of` and what the catalog and rules add; `simulated` is said of the catalog."""
    provenance = provenance_of(store, ensemble, options)
    if notes := notes_in(catalog):
        provenance["brightness"] = notes
    simulated = InputsById.of(store).simulated or simulated
    if simulated:
        provenance |= SIMULATED
    if caution := caution_about(ensemble.card, simulated):
        provenance[CAUTION] = caution
    if ensemble.predicts_redshift and (why := why_left_out(catalog)):
        provenance[REDSHIFT_LEFT_OUT] = why
    provenance["rules"] = asked.provenance if asked else None
    return provenance


def _n_cutouts(work: _Work, catalog: CatalogFile, store: InputsById, at_least: int) -> int:
    """Number of sources that have a cutout, or else a vector."""
    found, name, first = 0, catalog.columns["source_id"], None
    for k in range(work.n_chunks):
        ids = pq.read_table(work.chunk(k), columns=[name])[name].to_numpy()
        first, found = ids[0] if first is None else first, found + int(store.has(ids).sum())
    if found < at_least and store.embeddings is not None:
        raise CatalogError(
            f"{store.embeddings.path}: none of the {work.n_rows:,} ids of {catalog.path} is among "
            f"its {len(store.embeddings):,} (such as {first} and "
            f"{store.embeddings.source_ids(1)[0]}). Name the column of ids that the embeddings "
            "have, --id-col, or the embeddings of this catalog, --embeddings."
        )
    if found < at_least:
        raise CutoutError(
            f"{catalog.path}: none of its {work.n_rows:,} ids is among the {len(store):,} of "
            f"{store.path} (such as {first} and {store.source_ids(1)[0]}). Name the column of ids "
            "that the cutouts were packed with, --id-col, or the store of this catalog, --cutouts."
        )
    return found


def _in_threads(work: Callable[[Item], int], items: Iterable[Item], threads: int) -> Iterator[int]:
    """Results as they come; each worker computes on one thread, so that its sums never change."""
    import torch

    torch.set_num_threads(1)
    return_freed_memory(4 * 2**20)
    yield from map_bounded(
        work,
        items,
        threads,
        in_order=False,
        ahead=threads,
        initializer=torch.set_num_threads,
        initargs=(1,),
    )


def _join(
    work: _Work,
    catalog: CatalogFile,
    ensemble: Ensemble,
    provenance: dict[str, Any],
    output: Path,
) -> tuple[tuple[dict[str, int], int], Tally]:
    """Write all parts as one file.

    Returns
    -------
    counts : (dict of int, int)
        Its rows by status, and those with a prediction that lack the posterior of a proxy.
    support : Tally
    """
    schema = pq.read_schema(work.part(0))
    statuses: Counter[str] = Counter()
    n_unmeasured = 0
    support = Tally(ensemble.novelty.support)
    with ParquetSink(output, schema, compression=compression(provenance)) as sink:
        parts = (pq.read_table(work.part(k)) for k in range(work.n_chunks))
        for part in tracked(parts, "joining", work.n_rows, "sources", len):
            statuses.update(part[STATUS].to_pylist())
            n_unmeasured += len(part) - part[UNMEASURED_PROXIES].null_count
            predicted = part.filter(pc.equal(part[STATUS], "ok"))
            support.add(np.stack([predicted[name].to_numpy() for name in APPEARANCE], axis=1))
            sink.write(part)
        sink.footer.update(
            provenance,
            catalog={"sha256": work.sha256, "n_rows": work.n_rows},
            columns=dict(catalog.columns),
            statuses=dict(sorted(statuses.items())),
            n_unmeasured=n_unmeasured,
            validation=ensemble.card.get("validation", {}),
            support=support.summary,
        )
    return (dict(statuses), n_unmeasured), support
