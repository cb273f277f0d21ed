"""Fetching a catalog's cutouts from a survey into a cutout store, through any interruption."""

from __future__ import annotations

import contextlib
import datetime
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CutoutError
from targetsel.imaging.packing import Piece, Positions, check_replaceable, write_store
from targetsel.surveys.fetched_cutouts import FetchedSources, Source, sources_in
from targetsel.surveys.http import AT_ONCE
from targetsel.surveys.survey import OK, BandAnswer, Survey
from targetsel.tables.files import check_output, held, written_beside
from targetsel.tables.ids import uniform

# More workers than requests at once: while some wait for answers, others look at theirs.
WORKERS = AT_ONCE + 4
FAILURES_IN_A_ROW = 50
SOURCES_PER_PIECE = 64
SKY_SOURCES = 256

Progress = Callable[[int, int], None]
Batches = Callable[[], Iterable[Positions]]


@dataclass(frozen=True)
class Fetched:
    """How a catalog fared.

    Attributes
    ----------
    written : int
        Sources in the store.
    known : int
        Sources that an earlier run had finished.
    statuses : mapping
        How many sources had which outcome: "ok", or that of the first band that had another.
    unfinished : int
        Sources that another run should ask for again.
    """

    written: int
    known: int
    statuses: Counter[str]
    unfinished: int


def fetch(
    survey: Survey, batches: Batches, store: Path, progress: Progress | None = None
) -> Fetched:
    """Fetch what is still missing, then write the store and its manifest.

    What was fetched stays in the folder `<store>.fetched` (see `journal`), so that nothing is
    asked for twice, neither after a kill nor when the catalog has grown. The manifest,
    `<store>.manifest.parquet`, has a row for each source and band. The same answers give the same
    store, byte for byte, whatever order they came in.

    Parameters
    ----------
    survey : Survey
    batches : callable
        Gives the catalog, in pieces, each time it is called.
    store : Path
        Cutout store to write, a folder.
    progress : callable, optional
        Told now and then how many sources have been asked for in this run, of how many.

    Raises
    ------
    CutoutError
        If the service answers no one any more, or no source has a cutout.
    OutputError
        If something else is where the store or the manifest goes, another run is at work, or
        what is there was fetched with other settings.
    """
    manifest = store.with_name(f"{store.name}.manifest.parquet")
    check_replaceable(store)
    check_output(manifest)
    folder = store.with_name(f"{store.name}.fetched")
    with held(folder), contextlib.closing(FetchedSources(folder, survey)) as fetched:
        known = _fetch_missing(batches, fetched, progress or (lambda asked, missing: None))
        statuses, unfinished = _write_manifest(manifest, batches, fetched)
        sigma = _sky_sigma(batches, fetched)
        written = write_store(store, _pieces(batches, fetched), sigma)
    return Fetched(written, known, statuses, unfinished)


def _sources(batches: Batches) -> Iterator[Source]:
    return itertools.chain.from_iterable(map(sources_in, batches()))


def _fetch_missing(batches: Batches, fetched: FetchedSources, progress: Progress) -> int:
    """Ask for every source that is not finished; the number of those that were.

    Those that failed before come last, and are left for another run if they keep failing.
    """
    counts = Counter(map(fetched.state, _sources(batches)))
    failed = [source for source in _sources(batches) if fetched.state(source) == "failed"]
    missing = counts["new"] + counts["failed"]
    progress(0, missing)
    new = (source for source in _sources(batches) if fetched.state(source) == "new")
    trouble = _ask_for(new, fetched, lambda done: progress(done, missing))
    if trouble is not None:
        raise CutoutError(
            f"{trouble.url}: {FAILURES_IN_A_ROW} sources in a row could not be fetched, the last "
            f"one because: {trouble.status}. What came is kept: run the same command later."
        )
    _ask_for(failed, fetched, lambda done: progress(counts["new"] + done, missing))
    return counts["finished"]


def _ask_for(
    sources: Iterable[Source], fetched: FetchedSources, progress: Callable[[int], None]
) -> BandAnswer | None:
    """Ask for sources until all are answered, or too many in a row have failed.

    The last failure is given back then.
    """
    in_a_row = 0
    with contextlib.closing(_answers(fetched.survey, sources)) as answered:
        for done, (source, answers) in enumerate(answered, start=1):
            fetched.add(source, answers)
            progress(done)
            failed = [answer for answer in answers if not answer.final]
            in_a_row = in_a_row + 1 if failed else 0
            if in_a_row == FAILURES_IN_A_ROW:
                return failed[0]
    return None


def _answers(
    survey: Survey, sources: Iterable[Source]
) -> Generator[tuple[Source, list[BandAnswer]], None, None]:
    """What the survey says of each source, in the order in which answers come."""
    waiting: dict[Future[list[BandAnswer]], Source] = {}
    queue = iter(sources)
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="fetch")
    try:
        while True:
            while len(waiting) < 2 * WORKERS and (source := next(queue, None)) is not None:
                waiting[pool.submit(survey.fetch, source.ra, source.dec)] = source
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pieces(batches: Batches, fetched: FetchedSources) -> Iterator[Piece]:
    """The cutouts of all finished sources, for `write_store`."""
    sources = _sources(batches)
    while some := list(itertools.islice(sources, SOURCES_PER_PIECE)):
        ra, dec = np.array([(source.ra, source.dec) for source in some]).T
        yield fetched.cutouts(some), ra, dec


def _sky_sigma(batches: Batches, fetched: FetchedSources) -> np.ndarray:
    """Standard deviation of the sky [nanomaggy/pixel], shape (B,).

    From sources that a hash of their ids chooses, so that their order does not matter.
    """

    def chance(source: Source) -> float:
        return float(uniform(np.array([source.source_id]), 0, "sky sigma")[0, 0])

    usable = filter(fetched.has_pixels, _sources(batches))
    chosen = heapq.nsmallest(SKY_SOURCES, usable, key=chance)
    if not chosen:
        raise CutoutError(
            f"{fetched.folder}: no source has a cutout. The manifest says why, source by source."
        )
    return fetched.cutouts(chosen).sky_sigma()


MANIFEST = pa.schema(
    [
        pa.field("band", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False, metadata={"unit": "byte"}),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("troubles", pa.list_(pa.string()), nullable=False),
    ]
)


def _write_manifest(
    path: Path, batches: Batches, fetched: FetchedSources
) -> tuple[Counter[str], int]:
    """Write a row for each source and band; how sources fared, and how many are unfinished."""
    statuses: Counter[str] = Counter()
    unfinished = 0
    with written_beside(path) as beside, contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for batch in batches():
            rows: list[dict[str, Any]] = []
            for source in sources_in(batch):
                entry = fetched.entry(source)
                if entry is None:
                    continue
                unfinished += not entry["finished"]
                found = [answer["status"] for answer in entry["answers"]]
                statuses[next((each for each in found if each != OK), OK)] += 1
                rows += [{"source_id": source.source_id, **_row(a)} for a in entry["answers"]]
            schema = _manifest_schema(batch)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(beside, schema, compression="zstd"))
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return statuses, unfinished


def _row(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"time": datetime.datetime.fromtimestamp(answer["time"], datetime.UTC)}


def _manifest_schema(batch: Positions) -> pa.Schema:
    id_type = pa.int64() if batch.source_id.dtype.kind in "iu" else pa.string()
    return MANIFEST.insert(0, pa.field("source_id", id_type, nullable=False))
