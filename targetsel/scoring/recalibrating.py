"""Recalibrations applied to scored rows, while scoring and long after it.

A recalibration reads the stored quantiles of a row, its stored magnitude and class probabilities,
and nothing else: so a catalog that is scored with a recalibrated ensemble, and one that was scored
before and is recalibrated, hold the same bytes. No network runs. Correlations, copula groups and
the latents' posterior stay.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.calibration.calibration import FILE_NAME, Calibration
from targetsel.calibration.proxies import ScoreMap, mapped
from targetsel.calibration.recalibration import Recalibration
from targetsel.errors import CatalogError, EnsembleError
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.networks.network import NetworkPlan
from targetsel.scored.columns import STATUS, SUMMARIES
from targetsel.scored.file import RESTORE, ScoredFile
from targetsel.scored.slim import BITS, compression, is_slim, slim_posterior, to_bits
from targetsel.scoring.card import card_bytes, read_card
from targetsel.spectra.proxies import NORMAL_SCORES, QUANTILES, ProxyPosterior
from targetsel.tables.any_form import AnyTable, paths_in
from targetsel.tables.columns import arrow_column, floats, in_one_piece, matrix
from targetsel.tables.files import check_table_output
from targetsel.tables.parquet import ParquetSink
from targetsel.tasks import tracked

ROWS = 8192
OBSERVED, REDSHIFTS = "observed", "redshifts"  # entries of a footer, of what follows from lines


@dataclass(frozen=True)
class RecalibratedRun:
    """The counts of `recalibrate`.

    Attributes
    ----------
    n_sources, n_predicted : int
        Sources of the catalog, and those of them with a prediction.
    applied : tuple of Recalibration
        The recalibrations that it got, the first one first.
    n_beyond : dict of int
        By quantity, the sources whose prediction lies beyond those that outcomes were of, so that
        what was learnt is extrapolated.
    """

    n_sources: int
    n_predicted: int
    applied: tuple[Recalibration, ...]
    n_beyond: dict[str, int]


def recalibrated_rows(
    rows: pa.Table, recalibrations: Sequence[Recalibration], slim: bool = False
) -> pa.Table:
    """Scored rows after some recalibrations; each row depends on itself alone.

    Parameters
    ----------
    rows : pa.Table
        With the columns that scoring adds, in any order.
    recalibrations : sequence of Recalibration
        The first one first.
    slim : bool
        Whether the rows are slim (see `scored.slim`), and stay so.
    """
    for each in recalibrations:
        magnitude = floats(rows[MAGNITUDE])
        for name, scores in each.maps.items():
            if name + QUANTILES in rows.column_names:
                rows = _moved(rows, name, scores, magnitude, slim)
        if each.classes is not None:
            shares = {name: floats(rows[name]) for name in each.classes.coefficients}
            found = {**each.classes(shares)}
            for name, values in found.items():
                rows = _replaced(rows, name, to_bits(values, BITS) if slim else values)
    return rows


def _moved(
    rows: pa.Table, name: str, scores: ScoreMap, magnitude: np.ndarray, slim: bool
) -> pa.Table:
    """The rows with the posterior of one quantity moved."""
    knots = matrix(rows[name + QUANTILES])
    good = np.isfinite(knots).all(axis=1)
    moved = knots.copy()
    moved[good] = mapped({name: knots[good]}, {name: scores}, magnitude[good])[name]
    std = ProxyPosterior((name,), {name: moved}, {}).std(name)
    values = {name + QUANTILES: moved}
    for end, _, _, score in SUMMARIES:
        values[name + end] = std if score is None else moved[:, list(NORMAL_SCORES).index(score)]
    for column, each in (slim_posterior(name, values) if slim else values).items():
        if column in rows.column_names:
            rows = _replaced(rows, column, each)
    return rows


def _replaced(rows: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    """The rows with new values in a column, null where it was."""
    place = rows.column_names.index(name)
    known = in_one_piece(rows[name]).is_valid().to_numpy(zero_copy_only=False)
    field = rows.schema.field(place)
    return rows.set_column(place, field, arrow_column(values, field.type, known))


# ---------------------------------------------------------------------- whole catalogs


def stored_calibration(folder: Path) -> tuple[dict[str, Any], Calibration]:
    """The card of an ensemble and its calibration, without reading networks.

    Raises
    ------
    EnsembleError
        If there is no such ensemble, or it has no calibration, or a damaged one.
    """
    card = read_card(folder)
    plan = NetworkPlan(**card["network"])
    found = Calibration.read(
        folder, sha256_of_card(card), plan.n_latents, plan.redshift is not None
    )
    if found is None:
        raise EnsembleError(
            f"{folder}: has no {FILE_NAME}, and a recalibration corrects calibrated posteriors. "
            "Fit one with 'targetsel calibrate' first."
        )
    return card, found


def sha256_of_card(card: Mapping[str, Any]) -> str:
    """The hash that identifies an ensemble."""
    return hashlib.sha256(card_bytes(card)).hexdigest()


def recalibrate(scored: AnyTable, folder: Path, output: Path) -> RecalibratedRun:
    """Write a scored catalog with the recalibrations of its ensemble that it does not have yet.

    Memory does not grow with the catalog.

    Raises
    ------
    CatalogError, EnsembleError, OutputError
        If a file cannot be read or written; or the catalog was scored by another ensemble or
        calibration, has all recalibrations already, or holds what follows from its line strengths.
    """
    check_table_output(output, paths_in([scored]))
    with ScoredFile(scored, (MAGNITUDE, STATUS)) as file:
        missing = lacking(file, folder)
        _, calibration = stored_calibration(folder)
        slim, n_predicted = is_slim(file.footer), 0
        n_beyond: Counter[str] = Counter()
        with ParquetSink(output, file.schema, compression=compression(file.footer)) as sink:
            sink.footer.update(file.footer, calibration=calibration.provenance)
            pieces = file.tables(rows=ROWS)
            for piece in tracked(pieces, "recalibrating", len(file), "sources", len):
                n_predicted += pc.sum(pc.equal(piece[STATUS], "ok")).as_py() or 0
                n_beyond.update(beyond(piece, missing[0]))
                sink.write(recalibrated_rows(piece, missing, slim))
        return RecalibratedRun(len(file), n_predicted, missing, dict(n_beyond))


def beyond(rows: pa.Table, recalibration: Recalibration) -> dict[str, int]:
    """By quantity, the rows whose median lies beyond the reach of a recalibration's outcomes."""
    found = {}
    for name in recalibration.maps:
        reach = recalibration.quantities[name].reach
        if name in rows.column_names and reach is not None:
            median = floats(rows[name])
            found[name] = int(((median < reach[0]) | (median > reach[1])).sum())
    return found


def lacking(file: ScoredFile, folder: Path) -> tuple[Recalibration, ...]:
    """The recalibrations of an ensemble that a scored catalog lacks.

    Raises
    ------
    CatalogError, EnsembleError
        If it lacks none, was scored by another ensemble or with a calibration that they were not
        fitted on, or holds what follows from its line strengths.
    """
    card, calibration = stored_calibration(folder)
    check_unfollowed(file)
    file.check_scored_by(str(card.get("name", "")), sha256_of_card(card))
    versions = [each.sha256 for each in calibration.versions]
    found = calibration_of(file)
    if not calibration.recalibrations:
        raise EnsembleError(
            f"{folder}: has a calibration, but no recalibration. Name the folder that 'targetsel "
            "relearn' wrote, with --ensemble."
        )
    if found == versions[-1]:
        raise CatalogError(
            f"{file.path}: has the recalibration '{calibration.name}' of {folder} already. Choose "
            "from it as it is."
        )
    if found not in versions:
        raise EnsembleError(
            f"{file.path}: was scored with the calibration {str(found)[:12]}, but the "
            f"recalibrations of {folder} were fitted on {versions[0][:12]}. Score the catalog "
            "with that ensemble."
        )
    return calibration.recalibrations[versions.index(found) :]


def calibration_of(file: ScoredFile) -> str:
    """SHA-256 of the calibration that a catalog was scored with.

    Raises
    ------
    CatalogError
        If there was none, or the file does not say.
    """
    told = file.footer.get("calibration")
    if not isinstance(told, dict) or not isinstance(told.get("sha256"), str):
        if "ensemble" in file.footer and told is None:
            raise CatalogError(
                f"{file.path}: its posteriors are not calibrated, and a recalibration corrects "
                "calibrated ones. Score the catalog without --uncalibrated."
            )
        raise CatalogError(
            f"{file.path}: no longer says with which calibration it was scored, since another "
            f"program wrote the file. {RESTORE}"
        )
    return str(told["sha256"])


def check_unfollowed(file: ScoredFile) -> None:
    """Refuse a scored catalog with columns that follow from what a recalibration changes.

    Raises
    ------
    CatalogError
    """
    for entry, what, step in (
        (REDSHIFTS, "has redshifts from elsewhere", "join redshifts to the result"),
        (OBSERVED, "is observed already, with its line strengths of before", "observe the result"),
    ):
        if entry in file.footer:
            raise CatalogError(
                f"{file.path}: {what}. Recalibrate the scored catalog as it was, and {step}."
            )
