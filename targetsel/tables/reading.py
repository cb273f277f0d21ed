"""The boundary around libraries that read files.

A library raises nearly anything on a damaged file. `reading` turns all of that into one clear
error that names the file. It stands around calls of libraries alone, so that a bug of ours still
shows its traceback. What it sees being read in a command, `check_output` refuses as a place to
write to.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, TargetselError, absent
from targetsel.tables.files import ASTROPY_FORMATS, is_stream, note_input
from targetsel.tasks import task, tracked

# Bounds for what a damaged footer may ask of memory; real ones are far below.
LONGEST_STRING = 256 * 1024**2
MOST_ENTRIES = 10_000_000
# Bytes of a column that are read at once; Arrow would read all that a row group has.
BUFFER = 1 << 18
NEXT_STEP = "Copy or make it again."


@contextlib.contextmanager
def reading(
    path: Path | str,
    error: type[TargetselError] = CatalogError,
    expected: str = "",
    next_step: str = NEXT_STEP,
) -> Iterator[None]:
    """Convert what a library raises while it reads a file.

    Parameters
    ----------
    path : Path or str
        The file, or the address of an answer, as the message names it.
    error : type
        Class of the exception that is raised instead.
    expected : str
        The kind of file, with its article: "a Parquet file".
    next_step : str

    Raises
    ------
    TargetselError
        Of class `error`, if the block raises any `Exception`. A `TargetselError` passes as it is.
    """
    if isinstance(path, Path):
        _note(path, error)
    with _converted(path, error, expected, next_step):
        yield


def _note(path: Path, error: type[TargetselError]) -> None:
    """Refuse a pipe or device, and remember that the running command reads this file."""
    if is_stream(path):
        raise error(f"{path}: is a pipe or device; expected a file. Write it to a file first.")
    note_input(path)


@contextlib.contextmanager
def _converted(
    path: Path | str, error: type[TargetselError], expected: str, next_step: str
) -> Iterator[None]:
    """Convert what the block raises, as `reading` does, and look at nothing else."""
    try:
        with warnings.catch_warnings():
            # Odd units and overlong comments are no reason to stop, or to fill the screen.
            warnings.simplefilter("ignore")
            yield
    except TargetselError:
        raise
    except FileNotFoundError:
        raise error(absent(path)) from None
    except PermissionError as fault:
        raise error(
            f"{path}: could not be read: {fault.strerror}. Name a file that you may read."
        ) from fault
    except Exception as fault:
        what = f"not {expected}, or " if expected else ""
        raise error(f"{path}: {what}damaged or cut short ({reason(fault)}). {next_step}") from fault


def reason(fault: BaseException) -> str:
    """The first line of an exception's message without its full stop; else its class's name."""
    line = (str(fault).splitlines() or [""])[0]
    return re.sub(r"[.\s]+$", "", line)[:300] or type(fault).__name__


class ParquetReader:
    """One Parquet file, open for reading; every fault of its bytes is an error of one class.

    Checksums of pages are checked where the file has them, and the memory that a footer may ask
    for is bounded.

    Parameters
    ----------
    path : Path
    error : type
        Class of the errors.
    metadata : pq.FileMetaData, optional
        The file's footer, where it was read before.
    encoded : iterable of str
        Columns of text that are read as dictionaries, each text once.
    source : pa.Buffer, optional
        Its bytes, where they are in memory, as those of a table in another format (see
        `any_format.table_reader`).

    Attributes
    ----------
    schema : pa.Schema
        As it is in the file, with its metadata.
    metadata : pq.FileMetaData

    Raises
    ------
    TargetselError
        Of class `error`, here and by every method, if the file is missing or damaged.
    """

    def __init__(
        self,
        path: Path,
        error: type[TargetselError] = CatalogError,
        metadata: pq.FileMetaData | None = None,
        encoded: Iterable[str] = (),
        source: pa.Buffer | None = None,
    ) -> None:
        self.path = Path(path)
        self._error = error
        if self.path.is_dir():
            raise error(f"{path}: is a folder; expected a Parquet file.")
        packed = Path(self.path.name.lower().removesuffix(".gz")).suffix
        if source is None and packed in ASTROPY_FORMATS and self.path.exists():
            raise error(
                f"{path}: ends in '{self.path.suffix}'; expected a Parquet file (.parquet)."
            )
        self._source = source
        _note(self.path, error)
        with self._reading():
            self._file = pq.ParquetFile(
                self.path if source is None else pa.BufferReader(source),
                metadata=metadata,
                read_dictionary=list(encoded),
                pre_buffer=False,
                buffer_size=BUFFER,
                page_checksum_verification=True,
                thrift_string_size_limit=LONGEST_STRING,
                thrift_container_size_limit=MOST_ENTRIES,
            )
            self.metadata: pq.FileMetaData = self._file.metadata
            self.schema: pa.Schema = self._file.schema_arrow
        in_groups = sum(self.group_sizes)
        if in_groups != self.metadata.num_rows:
            self._refuse_rows("", in_groups, self.metadata.num_rows)

    def again(self, encoded: Iterable[str] = ()) -> ParquetReader:
        """The same file opened once more, with the columns `encoded` as dictionaries."""
        return ParquetReader(self.path, self._error, self.metadata, encoded, self._source)

    def __enter__(self) -> ParquetReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def num_rows(self) -> int:
        return self.metadata.num_rows

    @property
    def footer_entries(self) -> Mapping[bytes, bytes]:
        """Key-value metadata of the footer."""
        return self.metadata.metadata or {}

    @property
    def group_sizes(self) -> list[int]:
        """Number of rows of each row group."""
        return [self.metadata.row_group(k).num_rows for k in self._groups(None)]

    @cached_property
    def _places(self) -> dict[str, int]:
        """The numbers of the columns.

        Not from `metadata.schema`, which would keep all of them in memory until Python looks for
        circles: that is long, where many files are read.
        """
        with self._reading():
            first = self.metadata.row_group(0)
            return {first.column(k).path_in_schema: k for k in range(first.num_columns)}

    def statistics(self, group: int, column: str) -> pq.Statistics | None:
        """The footer's statistics of a column in a row group, if it has any."""
        place = self._places.get(column)
        if place is None:
            return None
        return self.metadata.row_group(group).column(place).statistics

    def batches(
        self,
        rows: int,
        columns: Iterable[str] | None = None,
        row_groups: Iterable[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Row groups, by default all, in pieces of at most `rows` rows; only these columns."""
        groups = self._groups(row_groups)
        names = None if columns is None else list(columns)
        n_rows = sum(self.metadata.row_group(k).num_rows for k in groups)
        pieces = self._pieces(rows, names, groups)
        yield from tracked(pieces, f"reading {self.path.name}", n_rows, size=len)

    def _pieces(
        self, rows: int, names: list[str] | None, groups: list[int]
    ) -> Iterator[pa.RecordBatch]:
        with self._reading():
            pieces = self._file.iter_batches(
                rows, row_groups=groups, columns=names, use_threads=False
            )
        found = 0
        while True:
            with self._reading():
                piece = next(pieces, None)
                if piece is not None:
                    piece.validate(full=True)
            if piece is None:
                self._check_rows(found, groups, names)
                return
            found += piece.num_rows
            yield piece if names is None else piece.select(names)

    def read(
        self, columns: Iterable[str] | None = None, row_groups: Iterable[int] | None = None
    ) -> pa.Table:
        """Row groups, by default all, in memory; only these columns, in this order."""
        names = None if columns is None else list(columns)
        groups = self._groups(row_groups)
        n_rows = sum(self.metadata.row_group(k).num_rows for k in groups)
        with task(f"reading {self.path.name}", n_rows) as advance, self._reading():
            # Whoever reads row groups one after the other has threads of their own, or needs none.
            table = self._file.read_row_groups(
                groups, columns=names, use_threads=row_groups is None
            )
            table.validate(full=True)
            advance(n_rows)
        self._check_rows(table.num_rows, groups, names)
        return table if names is None else table.select(names)

    def _groups(self, row_groups: Iterable[int] | None) -> list[int]:
        return list(range(self.metadata.num_row_groups) if row_groups is None else row_groups)

    def _check_rows(self, found: int, groups: list[int], columns: list[str] | None) -> None:
        """Refuse pages that hold fewer rows than the footer says; the library is silent there."""
        expected = sum(self.metadata.row_group(k).num_rows for k in groups)
        if found != expected:
            which = "" if columns is None else f", column {', '.join(map(repr, columns[:3]))}"
            self._refuse_rows(which, found, expected)

    def _refuse_rows(self, which: str, found: int, expected: int) -> NoReturn:
        raise self._error(
            f"{self.path}{which}: damaged or cut short: {found} rows are there, and its footer "
            f"says {expected}. Copy or make it again."
        )

    def _reading(self) -> contextlib.AbstractContextManager[Any]:
        return _converted(self.path, self._error, "a Parquet file", NEXT_STEP)
