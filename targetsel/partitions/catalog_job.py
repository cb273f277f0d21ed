"""A job over the partitions of a HATS catalog, which makes another HATS catalog of them.

Each kind of work (`partitions.scoring`, `partitions.observing`) says what is done with one
partition, and what its result depends on. Here is what all have in common: where the rows are and
where the result goes, which partitions are left to do, and the end of the whole.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from targetsel.errors import CatalogError, OutputError
from targetsel.jobs.job import DONE, FAILED, RUNNING, WAITING, Job, PartState, shard_of
from targetsel.jobs.launch import Launcher
from targetsel.jobs.perform import Maker, facts_of_file
from targetsel.jobs.start import Start
from targetsel.partitions.remote_parts import (
    folder_for,
    named,
    opened,
    publish_part,
    publish_rest,
    rows_of,
)
from targetsel.scored.folders import schema_to_keep
from targetsel.tables.files import disk_errors, make_folder
from targetsel.tables.formats import open_table
from targetsel.tables.hats import HatsCatalog, Pixel, finish_hats
from targetsel.tables.hats_properties import properties_of
from targetsel.tables.notes import SCHEMA, packed_schema
from targetsel.tasks import task

LEFT_OUT = "targetsel_left_out"  # property that names the partitions that failed


@dataclass(frozen=True)
class HowToRun:
    """Who does the parts of a job, and which ones.

    Attributes
    ----------
    launcher : Launcher
        The processes that do the work (see `jobs.launch`).
    shard : str or None
        Such as "3/8", for the third of eight runs that share the partitions.
    seconds : float or None
        Time that a partition may take; one that takes longer counts as failed.
    without_failed : bool
        Whether the folder becomes a catalog although some partitions failed.
    """

    launcher: Launcher
    shard: str | None = None
    seconds: float | None = None
    without_failed: bool = False


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

    def total(self, fact: str) -> float:
        """The sum of a number over the parts that are done."""
        return float(sum(each.facts.get(fact, 0) for each in self.states))

    @property
    def statuses(self) -> dict[str, int]:
        """Sources by status."""
        return self.counted("statuses")

    @property
    def remarks(self) -> list[str]:
        """What to know of the parts that are done, a sentence each."""
        return sorted(self.counted("remarks"))

    @property
    def cautions(self) -> list[str]:
        """Why what was written may be wrong or of less use, a sentence each."""
        return sorted(self.counted("cautions"))

    def counted(self, fact: str) -> dict[str, int]:
        """The sums of several numbers over the parts that are done, by name, the largest first."""
        counts: Counter[str] = Counter()
        for each in self.states:
            counts.update(each.facts.get(fact, {}))
        return dict(counts.most_common())

    def check(self, job: Job) -> None:
        """Refuse what only the whole catalog shows to be wrong.

        Raises
        ------
        TargetselError
        """


R = TypeVar("R", bound=PartitionedRun)


@dataclass(frozen=True)
class Kind(Generic[R]):
    """What a job does with every partition of a catalog.

    Attributes
    ----------
    name : str
        Such as "score".
    doing : str
        The same for those who watch: "scoring".
    work_of : Maker
        Makes the work of a job, which `write_part` helps to do.
    run : type
        The class of its results.
    """

    name: str
    doing: str
    work_of: Maker
    run: type[R]

    def begin(
        self,
        catalog: HatsCatalog,
        output: Path,
        settings: Mapping[str, Any],
        identity: Mapping[str, Any],
    ) -> Job:
        """A new job over the partitions of a catalog, or the one that was begun there.

        Parameters
        ----------
        settings, identity : mapping
            As of `Job`; the names of the columns "ra" and "dec" are in the `columns` of the
            identity. The catalog and the output are added to both.

        Raises
        ------
        OutputError
            If the output is the catalog itself, holds something else, or a job of other inputs or
            options.
        """
        folder, published = folder_for(Path(output))
        if folder.resolve() == catalog.root.resolve():
            raise OutputError(f"{folder}: is the catalog itself. Choose another output.")
        place = str(published or "")
        return Job.begin(
            folder,
            self.name,
            {**settings, "catalog": named(catalog), "published": place},
            {
                **identity,
                "catalog": catalog.fingerprint,
                **({"published": place} if place else {}),
            },
            [pixel.name for pixel in catalog.pixels],
        )

    def perform(self, job: Job, how: HowToRun) -> R:
        """Do the parts of a job, or those of one shard, and make a catalog of them once all are.

        Parts that are done stay; those that failed in an earlier run are tried again.

        Raises
        ------
        OutputError
            If the shard is none, processes cannot begin, none of the first parts can be done, or
            the catalog has changed since the job began.
        TargetselError
            If the whole is refused.
        """
        parts = job.parts if how.shard is None else shard_of(job.parts, how.shard)
        waiting = _to_do(job, parts)
        start = Start(job)
        with task(self.doing, len(waiting), "partitions") as advance:
            for state in how.launcher(job, waiting, self.work_of, how.seconds):
                start.check(state)
                if state.status in (DONE, FAILED):
                    job.report(state)
                if state.status != WAITING:
                    advance(1)
        return self._finished(job, how.without_failed)

    def _finished(self, job: Job, without_failed: bool) -> R:
        """Make the folder of a job a HATS catalog, if all parts are done.

        Of several processes that come here at the same time one does it. A catalog that is
        finished stays as it is. Parts that failed may be left out; the properties then name them.
        """
        states = tuple(_checked(job, each) for each in job.states())
        run = self.run(job.output, states, False)
        failed = [each.name for each in run.failed] if without_failed else []
        if run.n_done + len(failed) < len(states) or not run.n_done:
            return run
        run.check(job)
        with job.finishing() as mine:
            if not mine:
                return run
            said = properties_of(job.output)
            if not (
                said.get("hats_nrows") == str(run.n_rows)
                and said.get(LEFT_OUT, "") == " ".join(failed)
            ):
                _check_catalog(job)
                _make_catalog(job, states, failed)
            if job.settings["published"]:
                publish_rest(job.output, job.settings["published"])
        return self.run(job.output, states, True, job.settings["published"])


def _to_do(job: Job, parts: Iterable[str]) -> list[str]:
    """The parts that are not done; the attempts of those that failed are counted anew."""
    waiting = []
    for part in parts:
        log = job.log(part)
        state = _checked(job, log.state())
        if state.status != DONE:
            if state.attempts and state.status != RUNNING:
                log.again()
            waiting.append(part)
    return waiting


def _checked(job: Job, state: PartState) -> PartState:
    """The state of a part; one that was done and whose file is lost or cut short waits again."""
    if state.status != DONE or not state.facts["rows"]:
        return state
    file = Pixel.of_path(state.name).file(job.output)
    if file.is_file() and file.stat().st_size == state.facts["bytes"]:
        return state
    job.log(state.name).again()
    return replace(state, status=WAITING, attempts=0, facts={})


def _check_catalog(job: Job) -> None:
    """Refuse to make a catalog of partitions that may be of two versions of the input."""
    catalog = job.settings["catalog"]
    if opened(catalog).fingerprint != job.identity["catalog"]:
        raise OutputError(
            f"{catalog}: its partitions are not those, or not of the sizes, that it had when "
            f"{job.output} was begun. Begin another job, in another folder."
        )


def _make_catalog(job: Job, states: Iterable[PartState], failed: list[str]) -> None:
    columns = job.identity["columns"]
    pixels = [Pixel.of_path(each.name) for each in states if each.facts.get("rows")]
    try:
        kept = {SCHEMA: packed_schema(schema_to_keep(pixels[0].file(job.output)))}
        finish_hats(
            job.output,
            job.output.name,
            pixels,
            ra_column=columns["ra"],
            dec_column=columns["dec"],
            properties=kept | ({LEFT_OUT: " ".join(failed)} if failed else {}),
        )
    except CatalogError as error:
        raise CatalogError(
            f"{error} Remove the file of that partition, and run the same command again."
        ) from error


def write_part(
    job: Job,
    catalog: HatsCatalog,
    part: str,
    write: Callable[[Path, Path], Mapping[str, Any]],
) -> dict[str, Any]:
    """Write what a job makes of one partition, publish it, and give its facts.

    Parameters
    ----------
    catalog : HatsCatalog
    part : str
    write : function of two Paths
        Reads the rows of the partition and writes the result; gives its facts, `rows` among them.
        A partition without rows is not read, and nothing is kept of one that has none afterwards.
    """
    pixel = Pixel.of_path(part)
    output, unfinished = pixel.file(job.output), job.unfinished(part)
    for each in (output, unfinished):
        make_folder(each.parent)
    with rows_of(catalog, pixel) as path:
        facts = write(path, unfinished) if open_table(path).num_rows else {"rows": 0}
    if not facts["rows"]:
        unfinished.unlink(missing_ok=True)
        return dict(facts)
    with disk_errors(output):
        os.replace(unfinished, output)
    if job.settings["published"]:
        publish_part(output, job.settings["published"], pixel)
    return {**facts_of_file(output, facts["rows"]), **facts}
