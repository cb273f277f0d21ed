"""Checks of target lists before they are handed over.

Lists are also joined, cut and edited by hand; columns and values that would mislead a tool are
refused.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from targetsel.errors import HandoffError
from targetsel.handoff.settings import EPOCHS
from targetsel.photometry.columns import floats
from targetsel.selection.target_list import TARGETS, TargetList
from targetsel.tables.columns import NEVER

FASTEST = 20_000.0  # mas/yr, about twice the motion of Barnard's star
_NEEDED = (
    *("target_id", "source_id", "ra", "dec", "priority", "subpriority", "program", "target_bits"),
    *("ref_epoch", "pmra", "pmdec", "n_obs"),
)
_LIST = replace(
    TARGETS,
    columns=tuple(replace(each, required=each.name in _NEEDED) for each in TARGETS.columns),
    error=HandoffError,
)


def check_list(targets: TargetList) -> None:
    """Refuse a list whose columns or values cannot be those of targets.

    Raises
    ------
    HandoffError
        If a column is missing, there twice, of another type or has gaps; ids are negative or not
        unique; positions, motions, epochs, sub-priorities or numbers of observations are
        impossible; or a target class has a name of several lines.
    """
    table = targets.table
    for name in _NEEDED:
        if table.column_names.count(name) > 1:
            raise HandoffError(f"the list has several columns '{name}'. Select anew.")
    _LIST.check(table.schema, "the list")
    for column in _LIST.columns:
        if column.required and column.null_when == NEVER and table[column.name].null_count:
            raise HandoffError(f"the list's column '{column.name}' has gaps. Select anew.")
    target_id = table["target_id"].to_numpy()
    if len(np.unique(target_id)) != len(target_id):
        raise HandoffError("the list has several targets of one target_id. Select anew.")
    number = {each: floats(table[each]) for each in _NEEDED if each not in ("source_id", "program")}
    ra, dec, subpriority = number["ra"], number["dec"], number["subpriority"]
    _check(table, "target_id", target_id >= 0, "no negative ids")
    _check(table, "ra", (ra >= 0) & (ra < 360), "0 to 360 deg")
    _check(table, "dec", np.abs(dec) <= 90, "-90 to 90 deg")
    _check(table, "subpriority", (subpriority >= 0) & (subpriority < 1), "0 to 1, without 1")
    for name in ("pmra", "pmdec"):
        unknown = np.isnan(number[name])
        _check(table, name, unknown | (np.abs(number[name]) <= FASTEST), "a motion in mas/yr")
    since, n_obs = number["ref_epoch"], number["n_obs"]
    plausible = np.isnan(since) | (since == 0) | ((since > EPOCHS[0]) & (since < EPOCHS[1]))
    _check(table, "ref_epoch", plausible, "a Julian year, or nothing")
    _check(table, "n_obs", np.isnan(n_obs) | (n_obs >= 1), "1 or more, or nothing")
    for name in table["program"].unique().to_pylist():
        if not name.isprintable():
            raise HandoffError(f"the list has a target class {name!r}; expected one line of text.")


def _check(table: pa.Table, name: str, right: np.ndarray, expected: str) -> None:
    wrong = np.flatnonzero(~right)
    if len(wrong):
        first = wrong[0].item()
        raise HandoffError(
            f"{name} of {len(wrong)} of {len(right)} targets is impossible: that of target "
            f"{table['target_id'][first]} is {table[name][first]}; expected {expected}."
        )
