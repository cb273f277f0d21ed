"""From a scored file to a target list, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.expressions.grammar import unwrapped
from targetsel.rules import formula as f
from targetsel.rules.plan import Plan, plan
from targetsel.rules.rules import Rules
from targetsel.selection.funnel import Funnel, FunnelCounts
from targetsel.selection.guarantee import Guarantee, guaranteed, guarantees
from targetsel.selection.membership import Membership
from targetsel.selection.quantiles import catalog_quantiles
from targetsel.selection.scan import ScoredFile, scored_file
from targetsel.selection.spool import Spool, spooled
from targetsel.selection.target_list import (
    Counts,
    competitors,
    contests_of,
    provenance,
    target_table,
)
from targetsel.tables.files import check_output
from targetsel.tables.parquet import ParquetSink

ROWS_AT_A_TIME = 8192


@dataclass(frozen=True)
class ClassSummary:
    """What became of one target class.

    Attributes
    ----------
    priority : int or str
        The expression where sources have their own.
    n_passed : int
        Sources that obey every condition.
    n_selected : int
        Those left by `dedup` and ``limit``.
    expected_true : float or None
        How many of the selected the posterior expects to be what the class claims; None where it
        claims nothing about their spectra.
    """

    name: str
    bit: int
    priority: int | str
    n_passed: int
    n_selected: int
    expected_true: float | None

    @property
    def expected_purity(self) -> float | None:
        """The expected share of true members among the selected; None where there is no claim."""
        if self.expected_true is None or self.n_selected == 0:
            return None
        return self.expected_true / self.n_selected


@dataclass(frozen=True)
class Summary:
    """What `select` did: the file it wrote (unless it was a dry run), and the counts."""

    output: Path
    n_sources: int
    n_targets: int
    classes: tuple[ClassSummary, ...]
    written: bool = True
    funnels: tuple[Funnel, ...] = ()


def select(
    scored: Path,
    rules: Rules,
    output: Path,
    threads: int = 1,
    dry_run: bool = False,
    known: tuple[Path, Path] | None = None,
    with_funnels: bool = False,
) -> Summary:
    """Write the target list of a scored file.

    The file is read once (a few times, where rules name quantiles of the catalog), a few thousand
    rows at a time and only what matters of it. What is selected waits on disk, beside the output;
    in memory stays what `limit` and `dedup` compare.

    Parameters
    ----------
    scored : Path
    rules : Rules
        Of one file, or of several (`Rules.together`).
    output : Path
        Where the target list goes.
    threads : int
        Row groups looked at side by side; the list is the same.
    dry_run : bool
        Count only; nothing is written.
    known : pair of Path, optional
        A scored catalog and the truth about its sources (see `ClaimOutcomes.read`), for classes
        with a guarantee.
    with_funnels : bool
        Count what each condition rejects alone, beside what the conditions let through one after
        the other, which is always counted and kept in the list's footer. It asks every condition
        of every source, where otherwise what cannot have targets is not even read.

    Raises
    ------
    CatalogError
        If the scored file is missing, damaged or not a scored file.
    RuleError
        If the rules do not fit its columns, or a guarantee cannot be given.
    OutputError
        If the list cannot be written; nothing is left then.
    """
    scored, output = Path(scored), Path(output)
    if not dry_run:
        check_output(output, (scored, *(known or ())))
    promises = guarantees(rules, scored, known)
    with scored_file(scored) as file:
        wanted = plan(rules, file.schema)
        wanted = guaranteed(wanted, promises)
        values = catalog_quantiles(
            wanted.quantiles, lambda: file.sources(each.value for each in wanted.quantiles)
        )
        choice = _Choice(rules, wanted, file, values, promises)
        here = wanted.with_values(values)
        counts = [FunnelCounts(each, whole=with_funnels) for each in here.classes]
        pieces = file.selected(here, counts, threads)
        nothing = next(pieces)
        with spooled(nothing, None if dry_run else output) as spool:
            choice.gather(pieces, spool)
            choice.funnels = tuple(each.result(len(file)) for each in counts)
            choice.write(spool.pieces(), nothing, None if dry_run else output)
    return choice.summary(output, written=not dry_run)


class _Choice:
    """The work of `select` on one file."""

    def __init__(
        self,
        rules: Rules,
        wanted: Plan,
        file: ScoredFile,
        values: Mapping[f.Formula, float],
        promises: Mapping[str, Guarantee],
    ) -> None:
        self.rules, self.wanted, self.file = rules, wanted, file
        self.values, self.promises = values, promises
        self.contests = contests_of(rules, wanted.classes)
        n = len(self.contests)
        self.passed, self.left = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self.expected_true = np.zeros(n)
        self.n_targets = 0
        self.funnels: tuple[Funnel, ...] = ()
        # Files that `score` wrote are in the order of the list; any other is sorted in memory.
        self._sorted, self._last = True, (-1, -1)

    def _check_order(self, piece: Membership) -> None:
        keys = np.stack([piece.sources["_healpix_29"].to_numpy(), piece.target_id])
        keys = np.concatenate([np.array(self._last)[:, None], keys], axis=1)
        (before, id_before), (after, id_after) = keys[:, :-1], keys[:, 1:]
        self._sorted &= bool(((before < after) | (before == after) & (id_before <= id_after)).all())
        self._last = tuple(keys[:, -1])

    def gather(self, pieces: Iterator[Membership], spool: Spool) -> None:
        """Let all members compete, and keep them in the spool."""
        for piece in _in_larger_pieces(pieces):
            first = spool.add(piece)
            self._check_order(piece)
            self.passed += piece.selected.sum(axis=0)
            for c, contest in enumerate(self.contests):
                if contest.open:
                    contest.add(competitors(piece, c, contest, first))

    def write(
        self, members: Iterator[Membership], nothing: Membership, output: Path | None
    ) -> None:
        """Count the targets, and write them in the order of the sky."""
        targets = self._winners(members)
        if not self._sorted:
            everyone = Membership.concatenate([nothing, *targets])
            targets = iter([everyone.take(_by_sky(everyone))])
        targets = self._counted(targets)
        if output is None:
            for _ in targets:
                pass
            return
        table = partial(target_table, rules=self.rules, formulas=self.wanted.classes)
        with ParquetSink(output, table(nothing).schema) as sink:
            sink.write(table(nothing))
            for piece in targets:
                sink.write(table(piece))
            counts = Counts(len(self.file), self.passed, self.left, self.contests)
            promises = {name: _finite(asdict(each)) for name, each in self.promises.items()}
            sink.footer.update(
                provenance(self.rules, self.wanted, self.file.schema, counts, self.values, promises)
            )
            sink.footer["funnels"] = [_told(each) for each in self.funnels]

    def _winners(self, members: Iterator[Membership]) -> Iterator[Membership]:
        """The members that are left once every contest is settled."""
        winners = [contest.settled() if contest.open else None for contest in self.contests]
        first = 0
        for piece in members:
            selected = piece.selected.copy()
            for c, rows in enumerate(winners):
                if rows is not None:
                    low, high = np.searchsorted(rows, [first, first + len(piece)])
                    selected[:, c] = False
                    selected[rows[low:high] - first, c] = True
            first += len(piece)
            yield piece.only(selected)

    def _counted(self, targets: Iterator[Membership]) -> Iterator[Membership]:
        for piece in targets:
            self.left += piece.selected.sum(axis=0)
            self.expected_true += np.nansum(piece.probability, axis=0)
            self.n_targets += len(piece)
            yield piece

    def summary(self, output: Path, written: bool) -> Summary:
        classes = tuple(
            ClassSummary(
                each.name,
                each.bit,
                each.priority if isinstance(each.priority, int) else unwrapped(each.priority),
                int(self.passed[c]),
                int(self.left[c]),
                None if self.wanted.classes[c].truth is None else float(self.expected_true[c]),
            )
            for c, each in enumerate(self.rules.classes)
        )
        return Summary(output, len(self.file), self.n_targets, classes, written, self.funnels)


def _in_larger_pieces(pieces: Iterator[Membership]) -> Iterator[Membership]:
    waiting: list[Membership] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(map(len, waiting)) >= ROWS_AT_A_TIME:
            yield Membership.concatenate(waiting)
            waiting = []
    if waiting:
        yield Membership.concatenate(waiting)


def _told(funnel: Funnel) -> dict[str, Any]:
    """A funnel for the footer, without what was not counted."""
    rows = ({key: n for key, n in asdict(row).items() if n is not None} for row in funnel.rows)
    return {"name": funnel.name, "n_sources": funnel.n_sources, "rows": list(rows)}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """The same with None for what JSON has no number for."""
    return {
        key: None if isinstance(each, float) and not math.isfinite(each) else each
        for key, each in values.items()
    }


def _by_sky(membership: Membership) -> np.ndarray:
    """The order of sky position and target id."""
    healpix = membership.sources["_healpix_29"].to_numpy()
    return np.lexsort((membership.target_id, healpix))
