"""Is a file's target list what `targetsel select` writes? Looked at once, before anyone reads it.

Lists are also joined, cut and edited by hand; what would mislead a tool is refused here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from targetsel.errors import HandoffError
from targetsel.selection.target_list import TargetList
from targetsel.tables.columns import is_number

FASTEST = 20_000.0  # mas/yr, about twice the motion of Barnard's star
EPOCHS = (1900.0, 2200.0)  # Julian years, between which an epoch is plausible


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if kinds.is_dictionary(kind) else kind
    return kinds.is_string(kind) or kinds.is_large_string(kind)


def _is_id(kind: pa.DataType) -> bool:
    return kinds.is_integer(kind) or _is_text(kind)


# The columns without gaps, those that may have some, and those that may be missing.
_FULL: dict[str, Callable[[pa.DataType], bool]] = {
    "target_id": kinds.is_integer,
    "source_id": _is_id,
    "ra": kinds.is_floating,
    "dec": kinds.is_floating,
    "priority": kinds.is_integer,
    "subpriority": kinds.is_floating,
    "program": _is_text,
    "target_bits": kinds.is_integer,
}
_WITH_GAPS = dict.fromkeys(("ref_epoch", "pmra", "pmdec", "n_obs"), is_number)
_OPTIONAL = dict.fromkeys(("parallax", "exptime", "obs_conditions"), is_number)


def check_list(targets: TargetList) -> None:
    """Refuse a list whose columns or values cannot be those of targets.

    Raises
    ------
    HandoffError
        If a column is missing, of another type or has gaps; ids are negative or not unique;
        positions, motions, epochs, sub-priorities or numbers of observations are impossible; or
        a target class has a name of several lines.
    """
    table = targets.table
    _check_columns(table)
    target_id = table["target_id"].to_numpy()
    _check(table, "target_id", target_id >= 0, "no negative ids")
    if len(np.unique(target_id)) != len(target_id):
        raise HandoffError("the list has several targets of one target_id. Select anew.")
    ra, dec, subpriority = (table[name].to_numpy() for name in ("ra", "dec", "subpriority"))
    _check(table, "ra", (ra >= 0) & (ra < 360), "0 to 360 deg")
    _check(table, "dec", np.abs(dec) <= 90, "-90 to 90 deg")
    _check(table, "subpriority", (subpriority >= 0) & (subpriority < 1), "0 to 1, without 1")
    for name in ("pmra", "pmdec"):
        motion = _number(table, name)
        _check(table, name, np.isnan(motion) | (np.abs(motion) <= FASTEST), "a motion in mas/yr")
    since, n_obs = _number(table, "ref_epoch"), _number(table, "n_obs")
    plausible = (since > EPOCHS[0]) & (since < EPOCHS[1])
    _check(
        table, "ref_epoch", np.isnan(since) | (since == 0) | plausible, "a Julian year, or nothing"
    )
    _check(table, "n_obs", np.isnan(n_obs) | (n_obs >= 1), "1 or more, or nothing")
    for name in table["program"].unique().to_pylist():
        if not name.isprintable():
            raise HandoffError(f"the list has a target class {name!r}; expected one line of text.")


def _check_columns(table: pa.Table) -> None:
    for name, is_right in (_FULL | _WITH_GAPS | _OPTIONAL).items():
        count = table.column_names.count(name)
        if count == 0 and name in _OPTIONAL:
            continue
        if count != 1:
            raise HandoffError(f"the list has {count or 'no'} columns '{name}'. Select anew.")
        if not is_right(table.schema.field(name).type):
            raise HandoffError(
                f"the list's column '{name}' is of type {table.schema.field(name).type}, which is "
                "not that of a target list. Select anew."
            )
        if name in _FULL and table[name].null_count:
            raise HandoffError(f"the list's column '{name}' has gaps. Select anew.")


def _number(table: pa.Table, name: str) -> np.ndarray:
    return table[name].cast(pa.float64()).to_numpy()


def _check(table: pa.Table, name: str, right: np.ndarray, expected: str) -> None:
    wrong = np.flatnonzero(~right)
    if len(wrong):
        first = wrong[0].item()
        raise HandoffError(
            f"{name} of {len(wrong)} of {len(right)} targets is impossible: that of target "
            f"{table['target_id'][first]} is {table[name][first]}; expected {expected}."
        )
