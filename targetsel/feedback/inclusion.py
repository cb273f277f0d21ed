"""Inclusion probabilities of the targets of a list: its own, or those of a selection function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import CatalogError
from targetsel.rules.plan import INCLUSION
from targetsel.selection.target_list import TargetList
from targetsel.tables.any_format import footer_if_any, table_reader
from targetsel.tables.columns import floats
from targetsel.tables.ids import exact_ids, matched, repeated_ids
from targetsel.tables.types import is_number

MADE_BY = "'targetsel selection-function'"


@dataclass(frozen=True)
class StatedInclusion:
    """The probabilities with which M targets were chosen.

    Attributes
    ----------
    of_class : ndarray, shape (M,)
        By the class that a target is observed for, its program.
    of_any : ndarray, shape (M,)
        By any of the classes that it is a candidate of, which choose independently.
    known : bool
        Whether something states them; they are 1 otherwise.
    """

    of_class: np.ndarray
    of_any: np.ndarray
    known: bool

    @classmethod
    def none(cls, n: int) -> StatedInclusion:
        """That of a list of n targets that states none."""
        return cls(np.ones(n), np.ones(n), False)


def inclusion_of(targets: TargetList, path: Path | None) -> StatedInclusion:
    """The probability that each of M targets was chosen.

    A column ``inclusion_CLASS`` of the file, or else of the list, states it for the candidates of
    that class; it is 1 where nothing does.

    Raises
    ------
    CatalogError
        If the file is of another list, holds none of it or a target twice, or a probability is
        none.
    """
    own = targets.table
    if path is None:
        table, rows, place = own, np.arange(len(own)), "the list"
    else:
        table, rows, place = _inclusion_table(path, targets)
    names = [name for name in table.column_names if name.startswith(INCLUSION)]
    if not names and path is None:
        return StatedInclusion.none(len(own))
    program = np.array(own["program"].to_pylist(), dtype=object)
    of_class, missed = np.ones(len(own)), np.ones(len(own))
    for name in sorted({INCLUSION + str(each) for each in targets.footer.get("bits", program)}):
        here = program == name.removeprefix(INCLUSION)
        if name not in names:
            if here.any() and path is not None:
                raise CatalogError(
                    f"{place}: has no column '{name}', though the list has such targets. Write it "
                    f"with {MADE_BY} by the rules of this list."
                )
            missed[here] = 0.0  # a list states that of classes with a random share alone
            continue
        values = floats(table[name])[rows]
        _check(values, here, f"{place}, column '{name}'")
        of_class[here] = values[here]
        missed *= 1 - np.nan_to_num(values)
    return StatedInclusion(of_class, 1 - missed, True)


def _check(values: np.ndarray, own: np.ndarray, place: str) -> None:
    """Refuse what is no probability; the targets of the class itself must have one above 0."""
    wrong = (values < 0) | (values > 1) | (own & ~(values > 0))
    if wrong.any():
        raise CatalogError(
            f"{place}: is {values[wrong][0]:g} for {int(wrong.sum()):,} targets; expected a "
            f"probability above 0 and up to 1. Write it anew with {MADE_BY}."
        )


def _inclusion_table(path: Path, targets: TargetList) -> tuple[pa.Table, np.ndarray, str]:
    """The columns of inclusion of a file, and its row of each target."""
    own = targets.table
    with table_reader(path) as file:
        names = file.schema.names
        if "target_id" not in names:
            raise CatalogError(
                f"{path}: no column 'target_id', so it is no selection function. Write one with "
                f"{MADE_BY}."
            )
        wanted = [name for name in names if name.startswith(INCLUSION)]
        for name in wanted:
            if not is_number(file.schema.field(name).type):
                raise CatalogError(
                    f"{path}, column '{name}': holds {file.schema.field(name).type}; expected "
                    f"numbers. Write it anew with {MADE_BY}."
                )
        ids = [name for name in ("target_id", "source_id") if name in names]
        table = file.read([*ids, *wanted])
    ours, theirs = (each.get("rules_sha256") for each in (targets.footer, footer_if_any(path)))
    if ours and theirs and ours != theirs:
        raise CatalogError(
            f"{path}: was written by other rules than the list was. Write it with {MADE_BY} by the "
            "rules of this list."
        )
    there = exact_ids(table["target_id"], "target_id", path)
    table, there = table.filter(pc.is_valid(there)), there.drop_null()
    rows = matched(own["target_id"].to_numpy(), there.to_numpy(zero_copy_only=False))
    if (rows < 0).any():
        raise CatalogError(
            f"{path}: lacks {int((rows < 0).sum()):,} of the list's {len(rows):,} targets, such as "
            f"{own['target_id'][int(np.argmin(rows))]}. Give that of this list."
        )
    if repeated := repeated_ids(lambda: [there], len(there)):
        raise CatalogError(
            f"{path}: has several rows of the target {repeated[0]}. Write it anew with {MADE_BY}."
        )
    if "source_id" in table.column_names:
        _check_sources(path, own, table.take(pa.array(rows)))
    return table, rows, str(path)


def _check_sources(path: Path, own: pa.Table, found: pa.Table) -> None:
    """Refuse a file whose targets of the list's ids are other sources."""
    both = (exact_ids(each["source_id"], "source_id", path) for each in (own, found))
    ours, theirs = (each.cast(pa.string()) for each in both)
    if (other := pc.fill_null(pc.not_equal(ours, theirs), True).to_numpy(False)).any():
        k = int(np.argmax(other))
        raise CatalogError(
            f"{path}: its target {own['target_id'][k]} is the source '{theirs[k]}', and that of "
            f"the list is '{ours[k]}'. Give that of this list."
        )
