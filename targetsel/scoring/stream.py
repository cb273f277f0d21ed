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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from targetsel.errors import OutputError, TargetselError
from targetsel.imaging.store import CutoutStore, check_suits
from targetsel.novelty.support import Tally
from targetsel.scored.columns import APPEARANCE, check_names
from targetsel.scoring.rows import ScoreOptions, score_rows
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.sky.chunks import sorted_chunks
from targetsel.tables.files import check_output, held, written_beside
from targetsel.tables.parquet import DECODER_KEY, ParquetSink, is_simulated, write_table
from targetsel.version import __version__
from targetsel.workers.pool import map_bounded, return_freed_memory

if TYPE_CHECKING:
    from targetsel.scoring.ensemble import Ensemble

ROWS_PER_CHUNK = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scored:
    """Summary of `score`: the file written, its rows by status, how many were there already, and
    how far the training supports the sources that have predictions."""

    output: Path
    statuses: dict[str, int]
    n_resumed: int
    support: Tally


def score(
    catalog: CatalogFile,
    store: CutoutStore,
    ensemble: Ensemble,
    output: Path,
    options: ScoreOptions = ScoreOptions(),
    threads: int = 1,
    progress: Progress = lambda done, total: None,
) -> Scored:
    """Score every source of a catalog and write the scored catalog to `output`.

    Finished chunks are kept in the folder `<output>.partial` until the end. A run that finds one
    of the same catalog, store, ensemble, options and version resumes from it, and removes others.

    Raises
    ------
    CatalogError, CutoutError, EnsembleError, OutputError
        Nothing is left under `output` then; `<output>.partial` stays if it holds scored rows.
    """
    output = Path(output)
    check_output(output, (catalog.path, store.path))
    plan = ensemble.input
    check_suits(store, plan.bands, plan.pixel_scale, plan.size, ensemble.name)
    check_names(catalog.schema, str(catalog.path))
    catalog.check()
    provenance = _provenance(store, ensemble, options)
    if store.simulated or is_simulated(catalog.path):
        provenance["images"] = "simulated"
    with _partial(output) as partial:
        chunks = _chunks(catalog, partial, provenance)

        def work(k: int) -> int:
            rows = Catalog(pq.read_table(chunks.paths[k]), catalog.columns)
            table = score_rows(rows, store, ensemble, options)
            write_table(table, chunks.parts[k])
            return table.num_rows

        is_done = [_is_whole(path) for path in chunks.parts]
        finished = _rows([path for path, done in zip(chunks.parts, is_done, strict=True) if done])
        progress(finished, chunks.n_rows)
        waiting = [k for k, done in enumerate(is_done) if not done]
        for n_rows in _in_threads(work, waiting, threads):
            finished += n_rows
            progress(finished, chunks.n_rows)
        whole = partial / "whole.parquet"
        statuses, support = _join(chunks, catalog, ensemble, provenance, whole)
        os.replace(whole, output)
    return Scored(output, statuses, sum(is_done), support)


@contextlib.contextmanager
def _partial(output: Path) -> Iterator[Path]:
    """The folder for unfinished work, held by this run; it stays if scored rows would be lost."""
    partial = output.with_name(output.name + ".partial")
    with held(partial):
        try:
            yield partial
        except TargetselError as error:
            if not any(partial.glob("part-*.parquet")):
                shutil.rmtree(partial, ignore_errors=True)
            elif isinstance(error, OutputError):
                raise OutputError(
                    f"{error} Rows scored so far are kept in {partial}, where the same "
                    "command resumes."
                ) from error
            raise
        shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True)
class _Work:
    """Chunks of the sorted catalog on disk, and the paths of their scored parts."""

    paths: list[Path]
    n_rows: int
    sha256: str

    @property
    def parts(self) -> list[Path]:
        return [path.with_name(path.name.replace("chunk-", "part-")) for path in self.paths]


def _chunks(catalog: CatalogFile, partial: Path, provenance: dict[str, Any]) -> _Work:
    """The sorted chunks: those of an interrupted run with the same inputs, or new ones."""
    note = partial / "run.json"
    run = {"catalog": _identity(catalog), **provenance}
    try:
        known = json.loads(note.read_text())
    except (OSError, ValueError):
        known = {}
    same = known.get("run") == json.loads(json.dumps(run))
    if not same or not all(map(_is_whole, _paths(partial, known["chunks"]))):
        for old in (note, *partial.glob("part-*.parquet")):
            old.unlink(missing_ok=True)
        chunks = sorted_chunks(catalog, partial, ROWS_PER_CHUNK)
        known = {"run": run, "chunks": chunks.n_chunks, "rows": chunks.n_rows,
                 "sha256": chunks.sha256}  # fmt: skip
        with written_beside(note) as beside:
            beside.write_text(json.dumps(known))
    return _Work(_paths(partial, known["chunks"]), known["rows"], known["sha256"])


def _paths(partial: Path, n_chunks: int) -> list[Path]:
    return [partial / f"chunk-{k:05d}.parquet" for k in range(n_chunks)]


def _is_whole(path: Path) -> bool:
    """Whether a chunk or part exists, and was not truncated by a crash of the machine."""
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def _identity(catalog: CatalogFile) -> dict[str, Any]:
    """Names, sizes and times of a catalog's files, which differ once it has changed."""
    path = catalog.path
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return {"columns": dict(catalog.columns), "files": stats}


def _provenance(store: CutoutStore, ensemble: Ensemble, options: ScoreOptions) -> dict[str, Any]:
    calibration = ensemble.calibration
    return {
        "targetsel": __version__,
        "ensemble": {"name": ensemble.name, "sha256": ensemble.sha256},
        DECODER_KEY: ensemble.card["files"].get("decoder.safetensors"),
        "calibration": calibration.provenance if calibration else None,
        "cutouts": {"sha256": store.sha256},
        "device": str(ensemble.device),
        "options": asdict(options),
    }


def _in_threads(work: Callable[[int], int], items: list[int], threads: int) -> Iterator[int]:
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


def _rows(parts: list[Path]) -> int:
    return sum(pq.read_metadata(path).num_rows for path in parts)


def _join(
    chunks: _Work,
    catalog: CatalogFile,
    ensemble: Ensemble,
    provenance: dict[str, Any],
    output: Path,
) -> tuple[dict[str, int], Tally]:
    """Write all parts as one file; return its number of rows by status, and its support."""
    schema = pq.read_schema(chunks.parts[0])
    statuses: Counter[str] = Counter()
    support = Tally(ensemble.novelty.support)
    with ParquetSink(output, schema) as sink:
        for path in chunks.parts:
            part = pq.read_table(path)
            statuses.update(part["status"].to_pylist())
            predicted = part.filter(pc.equal(part["status"], "ok"))
            support.add(np.stack([predicted[name].to_numpy() for name in APPEARANCE], axis=1))
            sink.write(part)
        sink.footer.update(
            provenance,
            catalog={"sha256": chunks.sha256, "n_rows": chunks.n_rows},
            columns=dict(catalog.columns),
            statuses=dict(sorted(statuses.items())),
            validation=ensemble.card.get("validation", {}),
            support=support.summary,
        )
    return dict(statuses), support
