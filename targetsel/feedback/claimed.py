"""Which claims of a list's classes came true of the spectra of its targets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from targetsel.errors import TargetselError
from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas, plan
from targetsel.selection.claims import comes_true
from targetsel.selection.inclusion import inclusion_column
from targetsel.selection.sources import Sources
from targetsel.selection.target_list import TargetList, rules_of
from targetsel.spectra.lines import PREDICTABLE, UNITS
from targetsel.spectra.proxies import CORRELATION, NORMAL_SCORES, QUANTILES
from targetsel.spectrographs.lines import QUANTITIES
from targetsel.tables.parquet import described

NO_CLAIM = "it claims nothing about spectra"
_SCORES = {b"normal_scores": b"-2.5,...,2.5"}


def claims_of(
    targets: TargetList, measured: Mapping[str, np.ndarray], success: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """By class, whether its claim came true of each target, and why others cannot be tested.

    Parameters
    ----------
    targets : TargetList
        M targets, with the rules in the footer and the columns that these name.
    measured : mapping of ndarray, shape (M,)
        Measured on the spectra; NaN where they are not known.
    success : ndarray of bool, shape (M,)

    Returns
    -------
    dict of ndarray, shape (M,)
        1 where it came true, 0 where it did not, NaN where that is not known.
    dict of str
        Reasons, in half a sentence.
    """
    names = [str(each) for each in targets.footer.get("bits", {})]
    if "rules_files" not in targets.footer:
        return {}, dict.fromkeys(names, "the list has lost its rules")
    scored = as_scored(_without_inclusion(targets.table, names))
    try:
        classes = _classes(targets, scored)
    except TargetselError as error:
        return {}, dict.fromkeys(names, f"its rules cannot be applied to the list ({error})")
    claims, untested = {}, {}
    for each in classes:
        if each.truth is None:
            untested[each.name] = NO_CLAIM
            continue
        needed = sorted(f.proxies(each.truth))
        if lacking := [name for name in needed if name not in measured]:
            untested[each.name] = f"'{lacking[0]}' was not measured"
            continue
        if any(isinstance(part, f.CatalogQuantile) for part in f.walk(each.truth)):
            untested[each.name] = "the list lacks the quantiles of the catalog that it names"
            continue
        known = success & np.isfinite(sum(measured[name] for name in needed))
        true = comes_true(each.truth, Sources(scored), measured)
        claims[each.name] = np.where(known, true.astype(np.float64), np.nan)
    return claims, untested


def _without_inclusion(table: pa.Table, classes: Sequence[str]) -> pa.Table:
    """The list without what its classes' limits stated of it, which is no column of a catalog."""
    stated = {inclusion_column(name).name for name in classes}
    return table.select([name for name in table.column_names if name not in stated])


def as_scored(table: pa.Table) -> pa.Table:
    """The targets as rules see a scored catalog: what is predicted has a column of quantiles.

    A list does not keep these; they are empty, as claims are tested on measured values.
    """
    ours = [name for name in table.column_names if is_observed(table.column_names, name)]
    predicted = (*PREDICTABLE, *ours)
    for k, name in enumerate(predicted):
        lists = pa.list_(pa.float32(), len(NORMAL_SCORES))
        columns = [
            described(name, pa.float32(), UNITS.get(name, "")),
            pa.field(name + QUANTILES, lists, metadata=_SCORES),
        ]
        if k:
            others = {b"with": ",".join(predicted[:k]).encode()}
            columns.append(pa.field(name + CORRELATION, pa.list_(pa.float32(), k), metadata=others))
        for field in columns:
            if field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def is_observed(names: Collection[str], name: str) -> bool:
    """Whether a list's column is a line's flux, S/N or exposure time that `observe` predicted."""
    is_of_line = any(name.startswith(f"{each}_") for each in QUANTITIES)
    return is_of_line and {f"{name}_q16", f"{name}_q84"} <= {*names}


def _classes(targets: TargetList, scored: pa.Table) -> tuple[ClassFormulas, ...]:
    """The classes of a list, with the quantiles of the catalog that its footer keeps."""
    wanted = plan(rules_of(targets), scored.schema)
    stored = targets.footer.get("catalog_quantiles") or {}
    values: dict[f.Formula, float] = {
        each: float(stored[text])
        for each, text in wanted.quantiles.items()
        if stored.get(text) is not None
    }
    return wanted.with_values(values).classes
