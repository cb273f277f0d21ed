"""The engine of every fetch: request what is missing, keep every answer, resume if interrupted.

The folder `<output>.fetched` holds a `Journal` of all answers, so that nothing is asked for twice,
neither after a kill nor when there is more to fetch. The output is written from the journal, in an
order of its own: the same answers give the same bytes, whatever order they came in.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa

from targetsel.errors import TargetselError
from targetsel.imaging.orientation import UNKNOWN, Lie
from targetsel.surveys.http import AT_ONCE, Answer, Unanswered
from targetsel.tables.columns import ID, NEVER, Column, schema_of
from targetsel.tables.files import held, remove_folder
from targetsel.tables.journal import Journal
from targetsel.tables.parquet import ParquetSink
from targetsel.tasks import task
from targetsel.workers.pool import map_bounded

# More workers than requests at once: while some wait for answers, others process theirs.
WORKERS = AT_ONCE + 4
FAILURES_IN_A_ROW = 50
ROWS_PER_GROUP = 8192

# Statuses of replies.
OK = "ok"
OUTSIDE = "outside the footprint"
NO_DATA = "no data"
NO_SPECTRUM = "no such spectrum"

# The columns of a manifest: a row for each source (and band) that was asked for.
SOURCE = Column("source_id", ID, "", "meta.id;meta.main", "id in the catalog", NEVER)
BAND = Column("band", pa.string(), "", "instr.bandpass", "band of the cutout", NEVER)
REPLY = (
    Column("status", pa.string(), "", "meta.code.status", "ok, or why there is no data", NEVER),
    Column("url", pa.string(), "", "meta.ref.url", "address that answered", NEVER),
    Column("bytes", pa.int64(), "byte", "", "length of the answer", NEVER),
    Column("sha256", pa.string(), "", "meta.checksum", "SHA-256 of the answer", NEVER),
    Column("time", pa.timestamp("ms", tz="UTC"), "", "time", "arrival of the answer", NEVER),
    Column("troubles", pa.list_(pa.string()), "", "", "failures of the requests before", NEVER),
)

Question = TypeVar("Question")


@dataclass(frozen=True)
class FetchSummary:
    """Counts of the outcomes of a fetch.

    Attributes
    ----------
    written : int
        Sources in the output.
    known : int
        Sources that an earlier run had finished.
    statuses : Counter of str
        Number of sources by outcome: "ok", or that of the first band that had another.
    unfinished : int
        Sources that another run should request again.
    dropped : mapping
        Number of rows left out, by reason.
    """

    written: int
    known: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    unfinished: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """The outcome of one request: its result, or the reason why there is none.

    Attributes
    ----------
    status : str
        "ok", or the reason why there is no value.
    value : ndarray, ObservedSpectrum or None
    answer : Answer
        What the service sent, or what is known of the request.
    final : bool
        False where another run should request it again.
    lie : (float, float)
        How pixels lie on the sky, see `imaging.orientation`.
    """

    status: str
    value: Any = None
    answer: Answer = field(default_factory=Answer)
    final: bool = True
    lie: Lie = UNKNOWN

    def record(self) -> dict[str, Any]:
        """The reply without its value, as a journal and a manifest keep it."""
        content = self.answer.content
        return {
            "status": self.status,
            "url": self.answer.url,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest() if content else "",
            "time": self.answer.time,
            "troubles": list(self.answer.troubles),
        }


@dataclass(frozen=True)
class Fetched:
    """Replies to one question, and their content.

    There is one reply for each band where the question is about several, or one for all of them
    where there is no good answer.
    """

    replies: Sequence[Reply]
    content: bytes = b""


class FetchFolder(Generic[Question]):
    """Questions put to one service, and the journal of its answers.

    Attributes
    ----------
    folder : Path
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        key: Callable[[Question], str],
        error: type[TargetselError],
    ) -> None:
        self.folder, self._journal, self._key, self._error = folder, journal, key, error
        self._codec = pa.Codec("zstd", compression_level=1)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        output: Path,
        settings: Mapping[str, Any],
        key: Callable[[Question], str],
        error: type[TargetselError],
    ) -> Iterator[FetchFolder[Question]]:
        """The folder beside an output, for this run alone; made if it is missing.

        Parameters
        ----------
        settings : mapping
            All that the answers depend on, apart from the question; plain values for JSON.
        key : callable
            Gives a text that identifies a question.
        error : type
            Class of the error that is raised where the service does not answer any more.

        Raises
        ------
        OutputError
            If another run holds it, or it was begun with other settings.
        """
        folder = output.with_name(f"{output.name}.fetched")
        with held(folder), contextlib.closing(Journal(folder, settings)) as journal:
            yield cls(folder, journal, key, error)

    def record(self, question: Question) -> dict[str, Any] | None:
        """The last entry about a question, with "final" and "replies", or None."""
        return self._journal.record(self._key(question))

    def statuses(self, question: Question) -> list[str]:
        """Status of each reply to a question; empty where it was not asked."""
        record = self.record(question)
        return [] if record is None else [reply["status"] for reply in record["replies"]]

    def is_finished(self, question: Question) -> bool:
        """Whether a question has a final answer."""
        return self._state(question) == "finished"

    def content(self, question: Question) -> bytes:
        """The content of the answer to a question; empty where there is none."""
        record = self.record(question)
        if record is None or not record["length"]:
            return b""
        return self._codec.decompress(self._journal.piece(record), record["size"], asbytes=True)

    def remove(self) -> None:
        """Remove the folder."""
        remove_folder(self.folder)

    def fetch_missing(
        self,
        questions: Callable[[], Iterable[Question]],
        ask: Callable[[Sequence[Question]], Sequence[Fetched]],
        at_once: int = 1,
        what: str = "fetching",
        unit: str = "sources",
    ) -> int:
        """Ask every question without a final answer; returns the number of those that had one.

        Questions that failed in an earlier run come last, and are left for another run if they
        keep failing.

        Parameters
        ----------
        questions : callable
            Gives the questions anew each time it is called.
        ask : callable
            Gives the answers to at most `at_once` questions, or raises `Unanswered` for all of
            them; called from several threads.
        what, unit : str
            What is done and to which things, for those who want to see its progress.

        Raises
        ------
        TargetselError
            If too many new questions in a row get no answer.
        """
        states = Counter(map(self._state, questions()))
        failed = [each for each in questions() if self._state(each) == "failed"]
        new = (each for each in questions() if self._state(each) == "new")
        limit = max(FAILURES_IN_A_ROW, 3 * at_once)
        with task(what, states["new"] + states["failed"], unit) as advance:
            for some in (new, failed):
                in_a_row = 0
                with contextlib.closing(self._answers(some, ask, at_once)) as answers:
                    for question, (record, piece) in answers:
                        self._journal.add(self._key(question), record, piece)
                        advance(1)
                        in_a_row = 0 if record["final"] else in_a_row + 1
                        if in_a_row >= limit:
                            break
                if in_a_row >= limit and some is new:
                    raise self._error(
                        f"{record['failed_at']}: {in_a_row} requests in a row got no good answer, "
                        f"the last one because: {record['failure']}. What came is kept: run the "
                        "same command later."
                    )
        return states["finished"]

    def write_manifest(
        self,
        path: Path,
        batches: Iterable[Sequence[Question]],
        ids: pa.DataType,
        bands: Sequence[str],
    ) -> tuple[Counter[str], int]:
        """Write a row for each source and band that was asked for.

        Parameters
        ----------
        batches : iterable of sequences
            Questions that have a `source_id`.
        ids : DataType
            Type of the ids.
        bands : sequence of str
            One for each reply to a question; empty where a question has one reply, without band.

        Returns
        -------
        Counter of str
            Number of sources by outcome.
        int
            Number of unfinished sources.
        """
        others = schema_of((BAND, *REPLY) if bands else REPLY)
        schema = pa.schema([SOURCE.field.with_type(ids), *others])
        statuses, unfinished = Counter[str](), 0
        with ParquetSink(path, schema, ROWS_PER_GROUP) as sink:
            for batch in batches:
                rows: list[dict[str, Any]] = []
                for question in batch:
                    record = self.record(question)
                    if record is None:
                        continue
                    unfinished += not record["final"]
                    found = [reply["status"] for reply in record["replies"]]
                    statuses[next((each for each in found if each != OK), OK)] += 1
                    replies = record["replies"]
                    replies *= max(len(bands), 1) // len(replies)
                    for band, reply in zip(bands or [""], replies, strict=True):
                        when = datetime.datetime.fromtimestamp(reply["time"], datetime.UTC)
                        key = {"source_id": question.source_id, "band": band}  # type: ignore[attr-defined]
                        rows.append(key | reply | {"time": when})
                sink.write(pa.Table.from_pylist(rows, schema))
        return statuses, unfinished

    def _state(self, question: Question) -> str:
        """Whether a question is "finished", "failed" when it was last asked, or "new"."""
        record = self.record(question)
        if record is None:
            return "new"
        return "finished" if record["final"] else "failed"

    def _answers(
        self,
        questions: Iterable[Question],
        ask: Callable[[Sequence[Question]], Sequence[Fetched]],
        at_once: int,
    ) -> Generator[tuple[Question, tuple[dict[str, Any], bytes]], None, None]:
        """Questions with their journal entries, in the order in which answers come."""

        def work(some: Sequence[Question]) -> list[tuple[Question, tuple[dict[str, Any], bytes]]]:
            try:
                answers = ask(some)
            except Unanswered as error:
                answers = [Fetched([unanswered(error)])] * len(some)
            return list(zip(some, map(self._entry, answers), strict=True))

        several = batches_of(questions, at_once)
        with contextlib.closing(map_bounded(work, several, WORKERS, in_order=False)) as answered:
            yield from itertools.chain.from_iterable(answered)

    def _entry(self, fetched: Fetched) -> tuple[dict[str, Any], bytes]:
        """Journal record and compressed content."""
        failed = [reply for reply in fetched.replies if not reply.final]
        record = {
            "final": not failed,
            "replies": [reply.record() for reply in fetched.replies],
            "size": len(fetched.content),
        }
        if failed:
            return record | {"failed_at": failed[0].answer.url, "failure": failed[0].status}, b""
        if not fetched.content:
            return record, b""
        return record, self._codec.compress(fetched.content, asbytes=True)


def unanswered(error: Unanswered) -> Reply:
    """The reply without a good answer, so that another run requests it again."""
    return Reply(str(error), None, Answer(error.url, troubles=error.troubles), final=False)


def manifest_of(output: Path) -> Path:
    """The manifest beside an output: a row for each source (and band) that was asked for."""
    return output.with_name(f"{output.name}.manifest.parquet")


def batches_of(items: Iterable[Question], size: int) -> Iterator[list[Question]]:
    """Lists of at most `size` items."""
    items = iter(items)
    while some := list(itertools.islice(items, size)):
        yield some


def bytes_of_table(table: pa.Table) -> bytes:
    """A table as an Arrow stream; its metadata is kept."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def table_of_bytes(content: bytes) -> pa.Table:
    """The table in an Arrow stream."""
    return pa.ipc.open_stream(content).read_all()
