"""Targets of a list joined with what came of them: a fiber, a spectrum, its redshift and lines.

A target without a fiber says nothing about its spectrum. One with a fiber and without a redshift is
a failure, and counts: it is in the table of spectra without a result, or not there at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.documents.brief import brief
from targetsel.errors import CatalogError, HandoffError
from targetsel.feedback.claimed import as_scored, claims_of
from targetsel.feedback.inclusion import StatedInclusion, inclusion_of
from targetsel.feedback.redshift_column import with_redshift
from targetsel.handoff.assignment import Assignment
from targetsel.scored.known_spectra import (
    LEAST_QUALITY,
    QUALITIES,
    WARNINGS,
    are_usual_qualities,
)
from targetsel.scored.truth import Truth, numbers_in
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import check_same_places
from targetsel.spectra.photoz import PHOTOZ, TRUE
from targetsel.tables.any_format import table_reader
from targetsel.tables.columns import floats, in_one_piece, true_or_false
from targetsel.tables.parquet import FOOTER_KEY, says_simulated
from targetsel.tables.types import is_number, is_text

SUCCESS, STATUS = "success", "status"
TARGET_IDS = ("target_id", "targetid")  # of the list, where a table has no `source_id`


@brief
@dataclass(frozen=True)
class ObservedTargets:
    """M targets of a list, and what came of each.

    Attributes
    ----------
    targets : TargetList
    assigned : ndarray of bool, shape (M,)
        Whether it got a fiber that works; where no assignment is given, whether it is in the table.
    given : bool
        Whether an assignment is given.
    success : ndarray of bool, shape (M,)
        Whether it has a fiber, and a spectrum with a result and no warning.
    measured : dict of ndarray, shape (M,)
        The redshift (as ``photoz``) and lines of the successes; NaN where they are not known.
    claims : dict of ndarray, shape (M,)
        By class, whether its claim came true: 1 or 0, and NaN where that is not known.
    untested : dict of str
        By class, why its claim cannot be tested.
    inclusion : StatedInclusion
        The probability that a candidate like it was chosen. Where it is known all candidates are
        stood for, and not the list alone.
    counts : dict of int
        Rows of the table, by what became of them.
    simulated : bool
    """

    targets: TargetList
    assigned: np.ndarray
    given: bool
    success: np.ndarray
    measured: Mapping[str, np.ndarray]
    claims: Mapping[str, np.ndarray]
    untested: Mapping[str, str]
    inclusion: StatedInclusion
    counts: Mapping[str, int]
    simulated: bool

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def program(self) -> np.ndarray:
        """The class of each target, shape (M,)."""
        return np.array(self.targets.table["program"].to_pylist(), dtype=object)

    @cached_property
    def probability(self) -> np.ndarray:
        """The probability that the list states of its class's claim, shape (M,)."""
        return floats(self.targets.table["probability"])

    @cached_property
    def chance(self) -> np.ndarray:
        """The share of targets of the same class and priority that got a fiber, shape (M,)."""
        priority = self.targets.table["priority"].to_numpy()
        pairs = [f"{p} {c}" for p, c in zip(priority.tolist(), self.program, strict=True)]
        place = np.unique(pairs, return_inverse=True)[1]
        return (np.bincount(place, self.assigned) / np.bincount(place))[place]

    @cached_property
    def weight(self) -> np.ndarray:
        """Candidates of its class that each target stands for, shape (M,).

        1 / (chance * inclusion), and 0 for targets without a fiber (Horvitz & Thompson 1952, JASA
        47, 663).
        """
        return self._weight(self.inclusion.of_class)

    @cached_property
    def weight_of_any(self) -> np.ndarray:
        """Candidates of any class that each target stands for, shape (M,).

        A candidate of several classes, each of which could have chosen it, counts once.
        """
        return self._weight(self.inclusion.of_any)

    def _weight(self, inclusion: np.ndarray) -> np.ndarray:
        chance = np.where(self.assigned, self.chance, 1.0)
        return np.where(self.assigned, 1 / (chance * inclusion), 0.0)

    @property
    def only_successes(self) -> bool:
        """Whether no failure is known because nothing says which targets were tried."""
        return not self.given and bool(self.success[self.assigned].all())

    @classmethod
    def read(
        cls,
        targets: TargetList,
        table: Path,
        assignment: Assignment | None = None,
        inclusion: Path | None = None,
    ) -> ObservedTargets:
        """The targets of a list joined with a table of spectra.

        Parameters
        ----------
        targets : TargetList
        table : Path
            A row for each spectrum: ids of sources (or `target_id`), and a redshift, lines and
            indices, or both. A row without any, with `success` false, a `zwarn` other than 0 or a
            `status` other than "ok" is a failure.
        assignment : Assignment, optional
            Of the same list.
        inclusion : Path, optional
            What `selection-function` wrote for the list.

        Raises
        ------
        CatalogError
            If a file cannot be read, holds none of the list, an id twice, or the wrong units.
        HandoffError
            If the list is empty, or no target of it was assigned.
        """
        if not len(targets):
            raise HandoffError(
                "the list has no targets, so nothing can come of them. Name another list."
            )
        stated = inclusion_of(targets, inclusion)
        truth = _read_truth(table, targets)
        rows = _rows_of(truth, targets, table)
        there = rows >= 0
        given = assignment is not None
        assigned = there if assignment is None else assignment.assigned
        if not assigned.any():
            raise HandoffError(
                "no target of the list got a fiber that works, so nothing came of any. Give the "
                "files of pointings that were observed."
            )
        success = assigned & there & succeeded(truth)[np.maximum(rows, 0)]
        measured = {
            name: np.where(success, values[np.maximum(rows, 0)], np.nan)
            for name, values in truth.proxies.items()
        }
        claims, untested = claims_of(targets, measured, success)
        counts = {
            "spectra": len(truth),
            "of targets": int(there.sum()),
            "not on the list": len(truth) - len(np.unique(rows[there])),
            "of targets without a fiber": int((there & ~assigned).sum()),
        }
        simulated = says_simulated(truth.footer) or says_simulated(targets.footer)
        found = (targets, assigned, given, success, measured, claims, untested)
        return cls(*found, stated, counts, simulated)


def _read_truth(path: Path, targets: TargetList) -> Truth:
    """The table of spectra, read as truth files are."""
    with with_redshift(path) as called:
        return replace(_named_as_usual(called, targets), path=path)


def _named_as_usual(path: Path, targets: TargetList) -> Truth:
    with table_reader(path) as file:
        names = file.schema.names
    named = "source_id"
    if named not in names:
        ids = ("source_id", *TARGET_IDS)
        named = next((each for one in ids for each in names if each.lower() == one), named)
    footer = json.dumps({"columns": {"source_id": named}}).encode()
    schema = as_scored(targets.table).schema.with_metadata({FOOTER_KEY: footer})
    truth = Truth.read(path, schema, all_columns=True)
    if not truth.names:
        raise CatalogError(
            f"{path}: has no redshift ('{TRUE}') and no line strength. Measure the spectra with "
            "'targetsel spectra measure'."
        )
    return truth


def _rows_of(truth: Truth, targets: TargetList, path: Path) -> np.ndarray:
    """The row of the table of each target, or -1, shape (M,)."""
    table = targets.table
    by_target = truth.table.column_names[0].lower() in TARGET_IDS
    ids = table["target_id" if by_target else "source_id"].to_numpy()
    rows = truth.index.rows(ids)
    there = rows >= 0
    if not there.any():
        raise CatalogError(
            f"{path}: none of its {len(truth):,} ids (the first is '{truth.source_id[0]}') is on "
            f"the list (the first there is '{ids[0]}'). Use the same ids in both."
        )
    if truth.position:
        ours = tuple(numbers_in(table, name)[there] for name in ("ra", "dec"))
        theirs = tuple(each[rows[there]] for each in truth.position)
        check_same_places(ids[there], ours, theirs, "the list", path)  # type: ignore[arg-type]
    return rows


def succeeded(truth: Truth) -> np.ndarray:
    """Whether each spectrum has a result and no warning, shape (N,).

    Parameters
    ----------
    truth : Truth
        With all its columns.

    Raises
    ------
    CatalogError
        If a column that says so holds something else.
    """
    table, n = truth.table, len(truth)
    known = [np.isfinite(values) for values in truth.proxies.values()]
    good = np.isfinite(truth.proxies[PHOTOZ]) if PHOTOZ in truth.proxies else np.any(known, axis=0)
    by_name = {name.lower(): name for name in table.column_names}
    if name := by_name.get(SUCCESS):
        said = true_or_false(in_one_piece(table[name]), name, truth.path)
        good = good & said.fill_null(False).to_numpy(zero_copy_only=False)
    if (name := by_name.get(STATUS)) and is_text(table.schema.field(name).type):
        good = good & pc.equal(table[name].cast(pa.string()), "ok").fill_null(False).to_numpy()
    for name in (by_name[each] for each in WARNINGS if each in by_name):
        kind = table.schema.field(name).type
        if not (is_number(kind) or pa.types.is_boolean(kind)):
            raise CatalogError(
                f"{truth.path}, column '{name}': holds {kind}; expected whole numbers, 0 for a "
                "redshift without a warning. Convert or rename it."
            )
        good = good & (floats(table[name].cast(pa.float64())) == 0)
    for name in (by_name[each] for each in QUALITIES if each in by_name):
        if is_number(table.schema.field(name).type):
            quality = floats(table[name].cast(pa.float64()))
            if are_usual_qualities(quality) and np.isfinite(quality).any():
                good = good & (quality >= LEAST_QUALITY)
    assert good.shape == (n,)
    return np.asarray(good, dtype=bool)
