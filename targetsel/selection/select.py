"""From a scored file to a target list, in bounded memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError
from targetsel.parquet import read_footer
from targetsel.selection.membership import (
    ClassFormulas,
    Membership,
    class_formulas,
    column_names,
    evaluate_block,
    ids_serve,
    posterior_needed,
)
from targetsel.selection.rules import Rules
from targetsel.selection.target_list import columns_needed, rank, within_limits

ROWS_AT_A_TIME = 8192
# Once this many selected rows have gathered, those beyond a class's limit are let go; and again
# whenever their number has doubled.
ROWS_BEFORE_THINNING = 200_000


@dataclass(frozen=True)
class ClassSummary:
    """What became of one target class.

    Attributes
    ----------
    n_passed : int
        Sources that obey every condition.
    n_selected : int
        Those left by ``limit``.
    expected_true : float or None
        How many of the selected the posterior expects to be what the class claims; None where it
        claims nothing about their spectra.
    """

    name: str
    bit: int
    priority: int
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
    """What `select` did: the file it wrote, and the counts."""

    output: Path
    n_sources: int
    n_targets: int
    classes: tuple[ClassSummary, ...]


def select(scored_path: Path, rules: Rules, output: Path) -> Summary:
    """Write the target list of a scored file.

    The file is read once, a few thousand rows at a time and only the columns that matter; what
    stays in memory are the selected rows, and of classes with a limit the best so far.

    Raises
    ------
    CatalogError
        If the scored file is missing, damaged or not a scored file.
    RuleError
        If the rules do not fit its columns.
    OutputError
        If the list cannot be written; nothing is left then.
    """
    scored_path, output = Path(scored_path), Path(output)
    from targetsel.files import check_output

    check_output(output, (scored_path,))
    with _opened(scored_path) as scored:
        formulas = class_formulas(rules, scored.schema_arrow)
        n_passed = np.zeros(len(formulas), dtype=np.int64)
        kept: list[Membership] = []
        enough = ROWS_BEFORE_THINNING
        for piece in _evaluated(scored, formulas):
            n_passed += piece.selected.sum(axis=0)
            kept.append(piece.take(np.flatnonzero(piece.selected.any(axis=1))))
            if sum(map(len, kept)) > enough:
                kept = [within_limits(Membership.concatenate(kept), rules)]
                enough = max(ROWS_BEFORE_THINNING, 2 * len(kept[0]))
        n_sources = scored.metadata.num_rows
    chosen = within_limits(Membership.concatenate(kept), rules)
    targets = rank(chosen, rules)
    targets.write(output)
    return Summary(
        Path(output), n_sources, len(targets), _counted(chosen, rules, formulas, n_passed)
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """The scored file, with its faults told as a `CatalogError`."""
    read_footer(path)
    try:
        with pq.ParquetFile(path) as scored:
            _check(path, scored.schema_arrow)
            yield scored
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CatalogError(f"{path}: damaged ({reason}). Score the catalog again.") from error


def _check(path: Path, schema: pa.Schema) -> None:
    names = column_names(schema)
    for name in ("_healpix_29", *names.values()):
        if name not in schema.names:
            raise CatalogError(
                f"{path}: no column '{name}'; this is not a scored file. Make one with "
                "targetsel score."
            )


def _evaluated(scored: pq.ParquetFile, formulas: tuple[ClassFormulas, ...]) -> Iterator[Membership]:
    """The membership of all rows, a block at a time; an empty file gives one empty block."""
    schema = scored.schema_arrow
    id_column = column_names(schema)["source_id"]
    serve = all(
        ids_serve(batch.column(0)) for batch in scored.iter_batches(65536, columns=[id_column])
    )
    needed = columns_needed(formulas, schema, posterior_needed(formulas))
    layout = pa.schema([schema.field(name) for name in needed], schema.metadata)
    first = 0
    for batch in scored.iter_batches(ROWS_AT_A_TIME, columns=needed):
        block = pa.Table.from_batches([batch]).select(needed).cast(layout)
        ids = block.column(id_column).cast(pa.int64()).to_numpy() if serve else None
        places = np.arange(first, first + len(block)) if ids is None else ids
        yield evaluate_block(formulas, block, places)
        first += len(block)
    if first == 0:
        yield evaluate_block(formulas, layout.empty_table(), np.empty(0, dtype=np.int64))


def _counted(
    chosen: Membership, rules: Rules, formulas: tuple[ClassFormulas, ...], n_passed: np.ndarray
) -> tuple[ClassSummary, ...]:
    return tuple(
        ClassSummary(
            each.name,
            each.bit,
            each.priority,
            int(n_passed[c]),
            int(chosen.selected[:, c].sum()),
            None if formulas[c].truth is None else float(np.nansum(chosen.probability[:, c])),
        )
        for c, each in enumerate(rules.classes)
    )
