"""Fetching spectra into a spectrum store, through any interruption.

A spectrum store is a Parquet file with a row for each source: `source_id`, `redshift`, and the
lists `wavelength`, `flux` and `ivar` as they were observed; `spectra.reading` reads it.
"""

from __future__ import annotations

import contextlib
import datetime
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import targetsel
from targetsel.errors import SpectrumError, did_you_mean
from targetsel.surveys.http import AT_ONCE
from targetsel.surveys.spectrum_service import OK, Found, SpectrumService, Wanted
from targetsel.tables.files import check_output, held
from targetsel.tables.journal import Journal
from targetsel.tables.parquet import ParquetSink, described, write_table

FAILURES_IN_A_ROW = 50
ROWS_PER_GROUP = 256
FLUX_UNIT = "1e-17 erg / (s cm2 Angstrom)"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fetched:
    """How the spectra fared.

    Attributes
    ----------
    written : int
        Spectra in the store.
    known : int
        Sources that an earlier run had finished.
    statuses : Counter of str
        How many sources had which outcome.
    unfinished : int
        Sources that another run should ask for again.
    """

    written: int
    known: int
    statuses: Counter[str]
    unfinished: int


def wanted_in(table: pa.Table, service: SpectrumService, place: str) -> list[Wanted]:
    """The spectra that a table of sources names.

    Parameters
    ----------
    table : pa.Table
        With the columns that the service needs (see its `columns`), and perhaps source_id, for
        which those that name the spectrum stand in, and redshift.
    place : str
        The table's name, for messages.

    Raises
    ------
    SpectrumError
        If a column is missing or has no value somewhere.
    """
    by_lower = {name.lower(): name for name in table.column_names}
    columns = {}
    for role, usual in service.columns.items():
        name = next((by_lower[each] for each in usual if each in by_lower), None)
        if name is not None:
            columns[role.removesuffix("?")] = _values(table, name, place, role)
        elif not role.endswith("?"):
            hint = did_you_mean(role, table.column_names)
            raise SpectrumError(f"{place}: no column '{role}', which names a spectrum.{hint}")
    if "source_id" in by_lower:
        ids = _values(table, by_lower["source_id"], place, "source_id")
    else:
        ids = ["-".join(map(str, names)) for names in zip(*columns.values(), strict=True)]
    if len(set(ids)) < len(ids):
        twice = next(key for key, count in Counter(ids).items() if count > 1)
        raise SpectrumError(f"{place}: has the source '{twice}' twice. Keep one row of each.")
    redshift: list[float | None] = [None] * len(ids)
    if "redshift" in by_lower:
        redshift = table[by_lower["redshift"]].cast(pa.float64()).to_pylist()
    return [
        Wanted(key, {role: values[row] for role, values in columns.items()}, redshift[row])
        for row, key in enumerate(ids)
    ]


def fetch_spectra(
    service: SpectrumService,
    wanted: Sequence[Wanted],
    output: Path,
    progress: Progress = lambda done, total: None,
) -> Fetched:
    """Fetch what is still missing, then write the spectrum store and its manifest.

    What was fetched stays in `<output>.fetched`, so that nothing is asked for twice, neither
    after a kill nor when there are more sources. `<output>.manifest.parquet` has a row for each
    source. The same answers give the same store, byte for byte, whatever order they came in.

    Raises
    ------
    SpectrumError
        If the service answers no more, or no source has a spectrum.
    OutputError
        If the output cannot be written, or was begun with another service.
    """
    check_output(output)
    folder = output.with_name(f"{output.name}.fetched")
    wanted = sorted(wanted, key=lambda each: each.source_id)
    with held(folder), contextlib.closing(Journal(folder, service.settings())) as journal:
        missing = [each for each in wanted if not _finished(journal, each)]
        _fetch_missing(service, missing, journal, progress)
        fared = _write_manifest(output, wanted, journal)
        written = _write_store(output, wanted, journal, service)
    return Fetched(written, len(wanted) - len(missing), *fared)


def _values(table: pa.Table, name: str, place: str, role: str) -> list[Any]:
    if table[name].null_count and not role.endswith("?"):
        raise SpectrumError(
            f"{place}: {table[name].null_count} rows have no '{name}'. Remove these rows."
        )
    return table[name].to_pylist()


def _key(wanted: Wanted) -> str:
    """The same for the same spectrum under the same id and redshift."""
    names = ",".join(f"{role}={wanted.names[role]}" for role in sorted(wanted.names))
    return f"{wanted.source_id!r}:{names}:{wanted.redshift!r}"


def _finished(journal: Journal, wanted: Wanted) -> bool:
    record = journal.record(_key(wanted))
    return record is not None and record["final"]


def _fetch_missing(
    service: SpectrumService, missing: Sequence[Wanted], journal: Journal, progress: Progress
) -> None:
    done = failed_in_a_row = 0
    progress(0, len(missing))
    with contextlib.closing(_answers(service, missing)) as answered:
        for some, found in answered:
            for each, answer in zip(some, found, strict=True):
                _keep(journal, each, answer)
                failed_in_a_row = 0 if answer.final else failed_in_a_row + 1
            done += len(some)
            progress(done, len(missing))
            if failed_in_a_row >= max(FAILURES_IN_A_ROW, 3 * service.at_once):
                raise SpectrumError(
                    f"{answer.about['url']}: {failed_in_a_row} sources in a row could not be "
                    f"fetched, the last one because: {answer.status}. What came is kept: run the "
                    "same command later."
                )


def _answers(
    service: SpectrumService, missing: Sequence[Wanted]
) -> Generator[tuple[Sequence[Wanted], list[Found]], None, None]:
    """What the service says, in the order in which answers come."""
    waiting: dict[Future[list[Found]], Sequence[Wanted]] = {}
    queue = _batches(missing, service.at_once)
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")
    try:
        while True:
            while len(waiting) < 2 * AT_ONCE and (some := next(queue, None)) is not None:
                waiting[pool.submit(service.fetch, some)] = some
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(wanted: Sequence[Wanted], size: int) -> Iterator[Sequence[Wanted]]:
    return (wanted[start : start + size] for start in range(0, len(wanted), size))


def _keep(journal: Journal, wanted: Wanted, found: Found) -> None:
    piece = b""
    record = {"final": found.final, "status": found.status, "about": dict(found.about)}
    if (spectrum := found.spectrum) is not None:
        arrays = np.stack([spectrum.wavelength, spectrum.flux, spectrum.ivar]).astype("<f4")
        piece = pa.Codec("zstd", compression_level=1).compress(arrays.tobytes(), asbytes=True)
        record |= {"n_pixels": len(spectrum.flux), "redshift": spectrum.redshift}
    journal.add(_key(wanted), record, piece)


def _write_manifest(
    output: Path, wanted: Sequence[Wanted], journal: Journal
) -> tuple[Counter[str], int]:
    """Write a row for each source that was asked for; the outcomes, and how many are open."""
    rows, statuses, unfinished = [], Counter[str](), 0
    for each in wanted:
        record = journal.record(_key(each))
        if record is None:
            continue
        statuses[record["status"]] += 1
        unfinished += not record["final"]
        about = record["about"]
        when = datetime.datetime.fromtimestamp(about.get("time", 0), datetime.UTC)
        rows.append(
            {"source_id": each.source_id, "status": record["status"], **about, "time": when}
        )
    fields = [
        _id_field(wanted),
        pa.field("status", pa.string()),
        pa.field("url", pa.string()),
        pa.field("bytes", pa.int64(), metadata={"unit": "byte"}),
        pa.field("sha256", pa.string()),
        pa.field("time", pa.timestamp("ms", tz="UTC")),
        pa.field("troubles", pa.list_(pa.string())),
    ]
    path = output.with_name(f"{output.name}.manifest.parquet")
    write_table(pa.Table.from_pylist(rows, pa.schema(fields)), path)
    return statuses, unfinished


def _write_store(
    output: Path, wanted: Sequence[Wanted], journal: Journal, service: SpectrumService
) -> int:
    """Write the spectra that came; how many."""
    good = [each for each in wanted if (journal.record(_key(each)) or {}).get("status") == OK]
    if not good:
        raise SpectrumError(f"{output}: no source has a spectrum. The manifest beside it says why.")
    schema = store_schema(_id_field(wanted))
    with ParquetSink(output, schema, ROWS_PER_GROUP) as sink:
        sink.footer.update(service.settings(), code_version=targetsel.__version__)
        for some in _batches(good, ROWS_PER_GROUP):
            sink.write(pa.Table.from_pylist([_row(journal, each) for each in some], schema))
    return len(good)


def store_schema(source_id: pa.Field) -> pa.Schema:
    """The columns of a spectrum store."""
    numbers = pa.list_(pa.float32())
    about = "observed frame, vacuum"
    return pa.schema(
        [
            source_id,
            described("redshift", pa.float64(), ucd="src.redshift"),
            described("wavelength", numbers, "Angstrom", "em.wl", about),
            described("flux", numbers, FLUX_UNIT, "phot.flux.density;em.wl"),
            described("ivar", numbers, "", "", "inverse variance of flux, 0 where masked"),
        ]
    )


def _row(journal: Journal, wanted: Wanted) -> dict[str, Any]:
    record = journal.record(_key(wanted))
    assert record is not None
    shape = 3, record["n_pixels"]
    plain = pa.Codec("zstd").decompress(journal.piece(record), 4 * 3 * shape[1], asbytes=True)
    wavelength, flux, ivar = np.frombuffer(plain, "<f4").reshape(shape)
    names = {"wavelength": wavelength, "flux": flux, "ivar": ivar}
    return {"source_id": wanted.source_id, "redshift": record["redshift"], **names}


def _id_field(wanted: Sequence[Wanted]) -> pa.Field:
    whole = all(isinstance(each.source_id, int) for each in wanted)
    kind = pa.int64() if whole else pa.string()
    return described("source_id", kind, "", "meta.id;meta.main", nullable=False)
