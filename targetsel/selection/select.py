"""Selection of a target list from a scored file, in bounded memory."""

from __future__ import annotations

import contextlib
import itertools
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.expressions.grammar import unwrapped
from targetsel.photometry.brightness import (
    brightness_lines,
    find_brightness,
    with_brightness,
)
from targetsel.rules.rules import Rules
from targetsel.scored.columns import NOT_NEEDED
from targetsel.scored.known_match import KnownSpectra
from targetsel.scored.simulated_training import caution_in
from targetsel.selection.carried_columns import carried
from targetsel.selection.funnel import ConditionCounter, Funnel
from targetsel.selection.guarantees import guaranteed, guarantees
from targetsel.selection.known_by_class import KnownOfClass
from targetsel.selection.limits import Limits
from targetsel.selection.membership import Membership, check_unique
from targetsel.selection.needed import n_not_needed
from targetsel.selection.outcome import ClassSummary, Selection
from targetsel.selection.scored_sources import ScoredCatalog, scored_catalog
from targetsel.selection.target_list import (
    TargetList,
    columns_needed,
    provenance,
    target_table,
)
from targetsel.selection.unscored import with_pixels
from targetsel.sky.external_files import Ids
from targetsel.tables.any_form import AnyTable, paths_in
from targetsel.tables.files import check_table_output, disk_errors
from targetsel.tables.parquet import ParquetSink
from targetsel.tasks import tracked

ROWS_AT_A_TIME = 8192


def select(
    scored: AnyTable,
    rules: Rules,
    output: Path,
    threads: int = 1,
    labelled: tuple[Path, Path] | None = None,
    with_funnels: bool = False,
    brightness: Sequence[str] = (),
    known: KnownSpectra | None = None,
) -> Selection:
    """Write the target list of a scored file: `apply_rules` and `rank` in bounded memory.

    The file is read once (a few times, where rules name quantiles of the catalog), some thousands
    of rows at a time and only the columns that matter. Selected sources wait on disk, beside the
    output, unless it is clear that a limit leaves them out; only the numbers that `limit` and
    `dedup` compare stay in memory.

    Parameters
    ----------
    scored : Path, or a scored catalog in memory
        One without scores will do for rules on its own columns; it is read into memory then.
    rules : Rules
        Rules of one file, or of several (`Rules.together`).
    output : Path
        The target list to be written.
    threads : int
        Row groups read at the same time; the list is the same.
    labelled : pair of Path, optional
        A scored catalog and the truth about its sources (see `ClaimOutcomes.read`), for classes
        with a guarantee.
    with_funnels : bool
        Count also what each condition rejects alone. That evaluates every condition on every
        source, where otherwise row groups that cannot hold targets are not even read. The sources
        that pass one condition after the other are always counted, and kept in the list's footer.
    brightness : sequence of str
        Which column holds which band's fluxes or magnitudes, such as "r_sdss=rmag", where the
        scored file does not say it (see `photometry.brightness`). The list keeps and notes them.
    known : KnownSpectra, optional
        Files of spectra that sources may have already. Known sources are left out of every class
        that does not say itself what becomes of them (see `rules.plan`).

    Raises
    ------
    CatalogError
        If the scored file is missing, damaged or not a scored file, or lacks a column that
        `brightness` names.
    RuleError
        If the rules do not fit its columns, or a guarantee cannot be given.
    OutputError
        If the list cannot be written; nothing is left then.
    """
    paths = paths_in([scored])
    check_table_output(output, (*paths, *(labelled or ()), *(known.paths if known else ())))
    with scored_catalog(with_pixels(scored, rules), rules, known=known) as catalog:
        file = catalog.file
        file.schema = with_brightness(file.schema, brightness, next(iter(paths), None))
        found = select_from(catalog, output, threads, labelled, with_funnels)
        lines = brightness_lines(find_brightness(file.schema))
        return replace(found, brightness=tuple(lines))


def select_from(
    catalog: ScoredCatalog,
    output: Path,
    threads: int = 1,
    labelled: tuple[Path, Path] | None = None,
    with_funnels: bool = False,
) -> Selection:
    """Write the target list of a scored catalog; parameters as in `select`.

    Raises
    ------
    RuleError, OutputError
        As `select`.
    """
    rules, file, wanted = catalog.rules, catalog.file, catalog.plan
    if with_funnels and (n := n_not_needed(file)):
        raise CatalogError(
            f"{file.path}: a funnel of each condition alone asks for the predictions of all "
            f"sources, and {n:,} have the status '{NOT_NEEDED}'. Leave out --funnel, or score the "
            "catalog without --rules."
        )
    promises = guarantees(catalog, labelled)
    classes = guaranteed(catalog, promises)
    counters = [ConditionCounter(each, catalog.part, with_funnels, True) for each in classes]
    limits = Limits(rules, classes)
    pieces = file.selected(classes, counters, columns_needed(wanted.classes, file.schema), threads)
    nothing = next(pieces)
    with MembersOnDisk(nothing, output) as spill:
        for piece in _in_larger_pieces(pieces):
            spill.add(limits.add(piece))
        left_out = _left_out(counters, len(file))
        targets, nothing = limits.applied(spill.pieces()), limits.beside(nothing)
        if not spill.is_sorted:  # `score` writes files in the order of the list
            whole = Membership.concatenate([nothing, *targets])
            targets = iter([whole.in_order_of_the_sky()])
        targets = _each_once(_in_larger_pieces(targets), file.path)
        funnels = tuple(each.result(len(file)) for each in counters)
        kept = carried(wanted.classes, nothing.sources.schema, limits.stated)
        table = partial(target_table, rules=rules, kept=kept)
        with ParquetSink(output, table(nothing).schema) as sink:
            for piece in itertools.chain([nothing], targets):
                sink.write(table(piece))
            sink.footer.update(
                provenance(rules, wanted, file.schema, limits, len(file), catalog.quantiles)
            )
            sink.footer["guarantees"] = {
                name: _finite(asdict(each)) for name, each in promises.items()
            }
            sink.footer["funnels"] = [_counted(each) for each in funnels]
            of_classes = _known_of_classes(counters, limits, len(file)) if catalog.known else ()
            if catalog.known is not None:
                sink.footer["known"] = catalog.known.record | {
                    "left_out": _known_left_out(counters, len(file)),
                    "kept": limits.known_kept,
                    "classes": [each.record for each in of_classes],
                }
    summaries = tuple(
        ClassSummary(
            each.name,
            each.bit,
            each.priority if isinstance(each.priority, int) else unwrapped(each.priority),
            int(limits.passed[c]),
            int(limits.selected[c]),
            None if classes[c].truth is None else float(limits.expected_true[c]),
            _known_left_out(counters, len(file)).get(each.name),
            limits.known_kept[each.name] if catalog.known is not None else None,
            limits.random.get(each.name),
        )
        for c, each in enumerate(rules.classes)
    )
    return Selection(
        output,
        len(file),
        limits.n_targets,
        summaries,
        funnels,
        left_out,
        promises,
        dict(limits.overlaps.most_common()),
        caution_in(file.footer),
        known=catalog.known,
        cautions=wanted.cautions,
        known_of_classes=of_classes,
    )


def _known_of_classes(
    counters: Sequence[ConditionCounter], limits: Limits, n_sources: int
) -> tuple[KnownOfClass, ...]:
    """What is known of the sources of each class."""
    left_out = _known_left_out(counters, n_sources)
    return tuple(
        KnownOfClass.of(
            each.name,
            left_out.get(each.name),
            limits.known_kept[each.name],
            limits.failed_kept[each.name],
            [*each.known_redshifts, *limits.known_redshifts[each.name]],
        )
        for each in counters
    )


def _known_left_out(counters: Sequence[ConditionCounter], n_sources: int) -> dict[str, int]:
    """The known sources that obey all else of a class, for each class that leaves them out unasked
    (see `rules.plan`)."""
    return {
        counter.name: n
        for counter in counters
        for each, n in counter.left_out(n_sources).items()
        if each.step == "known"
    }


def _left_out(counters: Sequence[ConditionCounter], n_sources: int) -> dict[str, int]:
    """Sources that each list under ``exclude`` leaves out, by the condition's text.

    Raises
    ------
    RuleError
        If it is a list of numbers where the catalog has text or the reverse, and leaves out none.
    """
    found: dict[str, int] = {}
    for counter in counters:
        for condition, n in counter.left_out(n_sources).items():
            if condition.step == "exclude":
                found[condition.text] = max(n, found.get(condition.text, 0))
                finder = getattr(condition.formula, "finder", None)
                if n == 0 and n_sources and isinstance(finder, Ids) and finder.otherwise:
                    raise condition.place.error(
                        f"no source is listed here: its ids, such as {finder.otherwise}, are "
                        "written otherwise than those of the catalog; write them as there"
                    )
    return found


def preview(catalog: ScoredCatalog, labelled: tuple[Path, Path] | None = None) -> TargetList:
    """The target list that `select` would write; `labelled` as there."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "preview.targets.parquet"
        select_from(catalog, output, labelled=labelled)
        return TargetList.read(output)


def _each_once(targets: Iterable[Membership], place: Path | str) -> Iterator[Membership]:
    """The same targets, none of which may be there twice."""
    ids = [np.empty(0, dtype=np.int64)]
    for piece in targets:
        ids.append(piece.target_id)
        yield piece
    check_unique(np.concatenate(ids), place)


def _in_larger_pieces(pieces: Iterable[Membership]) -> Iterator[Membership]:
    waiting: list[Membership] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(map(len, waiting)) >= ROWS_AT_A_TIME:
            yield Membership.concatenate(waiting)
            waiting = []
    if waiting:
        yield Membership.concatenate(waiting)


def _counted(funnel: Funnel) -> dict[str, Any]:
    """A funnel for the footer, without numbers that were not counted."""
    rows = ({key: n for key, n in asdict(row).items() if n is not None} for row in funnel.rows)
    return {"name": funnel.name, "n_sources": funnel.n_sources, "rows": list(rows)}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """The same with None in place of numbers that JSON cannot hold."""
    return {
        key: None if isinstance(each, float) and not math.isfinite(each) else each
        for key, each in values.items()
    }


# --- memberships on disk -------------------------------------------------------------------------


class MembersOnDisk:
    """Pieces of a membership, written one after the other and read back in the same order.

    Parameters
    ----------
    like : Membership
        Any piece; it may be empty.
    output : Path
        They wait on the disk of this file. Nothing is left there, however the process ends.

    Attributes
    ----------
    is_sorted : bool
        Whether all pieces are in the order of sky position and target id.

    Raises
    ------
    OutputError
        Here and from `add`, if the folder cannot be written or the disk is full.
    """

    def __init__(self, like: Membership, output: Path) -> None:
        self.is_sorted = True
        self._output = output
        self._names = like.names
        self._last = (-1, -1)
        self._n_rows = 0
        with disk_errors(self._output):
            self._file = tempfile.TemporaryFile(dir=output.parent)  # noqa: SIM115
        self._writer = pa.ipc.new_stream(self._file, like.to_table().schema)

    def __enter__(self) -> MembersOnDisk:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # what a full disk did not take
            self._file.close()

    def add(self, piece: Membership) -> None:
        """Write a piece."""
        if not len(piece):
            return
        with disk_errors(self._output):
            self._writer.write_table(piece.to_table())
        keys = np.stack([piece.sources["_healpix_29"].to_numpy(), piece.target_id])
        keys = np.concatenate([np.array(self._last)[:, None], keys], axis=1)
        (before, id_before), (after, id_after) = keys[:, :-1], keys[:, 1:]
        ascending = (before < after) | (before == after) & (id_before <= id_after)
        self.is_sorted &= bool(ascending.all())
        self._last = tuple(keys[:, -1])
        self._n_rows += len(piece)

    def pieces(self) -> Iterator[Membership]:
        """All pieces; none can be added any more."""
        with disk_errors(self._output):
            self._writer.close()
            self._file.seek(0)
        batches = pa.ipc.open_stream(self._file)
        for batch in tracked(batches, "writing targets", self._n_rows, "sources", len):
            yield Membership.from_table(pa.Table.from_batches([batch]), self._names)
