"""Memberships kept on disk, so that the memory does not grow with the number of targets."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import OutputError
from targetsel.selection.membership import Membership

_OWN = "\0"  # begins the names of columns that are no source's


class Spool:
    """Pieces of a membership, written one after the other, read back in the same order."""

    def __init__(self, file: Path, like: Membership, output: Path | None) -> None:
        table = _table(like)
        self.file = file
        self.output = output
        self.n_rows = 0
        self.names = like.names
        self._sink = pa.OSFile(str(file), "wb")
        self._writer = pa.ipc.new_file(self._sink, table.schema)

    def add(self, piece: Membership) -> int:
        """Keep a piece; the number of its first row."""
        first = self.n_rows
        with _told_of(self.output):
            self._writer.write_table(_table(piece))
        self.n_rows += len(piece)
        return first

    def pieces(self) -> Iterator[Membership]:
        """All pieces; nothing can be added any more."""
        self._writer.close()
        self._sink.close()
        # Not mapped into memory: the pages of a large file would count as ours.
        with pa.OSFile(str(self.file), "rb") as source, pa.ipc.open_file(source) as reader:
            for i in range(reader.num_record_batches):
                yield _membership(pa.Table.from_batches([reader.get_batch(i)]), self.names)


@contextlib.contextmanager
def spooled(like: Membership, output: Path | None) -> Iterator[Spool]:
    """A spool for memberships such as `like`, on the same disk as `output`; gone afterwards.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full.
    """
    with contextlib.ExitStack() as stack:
        with _told_of(output):
            place = None if output is None else output.parent
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix=".targetsel-", dir=place)
            )
            spool = Spool(Path(folder) / "members.arrow", like, output)
        yield spool


@contextlib.contextmanager
def _told_of(output: Path | None) -> Iterator[None]:
    """A disk's refusal, told as an `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{output or tempfile.gettempdir()}: could not be written: {error.strerror or error}. "
            "Nothing was left there; free some space or choose another place."
        ) from error


def _table(piece: Membership) -> pa.Table:
    table = piece.sources.append_column(f"{_OWN}id", pa.array(piece.target_id, pa.int64()))
    width = len(piece.names)
    for name in ("selected", "probability", "rank", "priority"):
        values = getattr(piece, name)
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        lists = pa.FixedSizeListArray.from_arrays(flat, width)
        table = table.append_column(f"{_OWN}{name}", lists)
    return table


def _membership(table: pa.Table, names: tuple[str, ...]) -> Membership:
    own = [name for name in table.column_names if name.startswith(_OWN)]
    arrays = {name[1:]: table.column(name).combine_chunks() for name in own}

    def matrix(name: str) -> np.ndarray:
        flat = arrays[name].flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(-1, len(names))

    return Membership(
        table.drop_columns(own),
        arrays["id"].to_numpy(),
        names,
        *(matrix(name) for name in ("selected", "probability", "rank", "priority")),
    )
