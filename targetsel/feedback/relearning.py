"""Learning from outcomes: a recalibration of an ensemble, fitted to what came of its lists.

Tables of outcomes are joined with the scored catalog that the lists were chosen from. Sources
without a fiber say nothing, failures are counted and left out, and all others count as many
sources as their weights say.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.calibration.calibration import Calibration
from targetsel.calibration.drift import DriftRecord, drift
from targetsel.calibration.proxies import ClassMap
from targetsel.calibration.recalibration import (
    FEWEST,
    TOO_FEW,
    ClassRecord,
    Measured,
    QuantityRecord,
    Recalibration,
    relearned,
    relearned_classes,
)
from targetsel.documents.brief import brief
from targetsel.errors import CatalogError, EnsembleError, OutputError, counted
from targetsel.feedback.observed import succeeded
from targetsel.feedback.redshift_column import with_redshift
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.scored.file import ScoredFile
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.scored.truth import WEIGHT, Truth, numbers_in
from targetsel.scoring.recalibrating import (
    calibration_of,
    check_unfollowed,
    sha256_of_card,
    stored_calibration,
)
from targetsel.spectra.lines import BPT_CLASSES, BPT_PROXIES, bpt_probabilities
from targetsel.spectra.proxies import QUANTILES, Proxies, ProxyPosterior, proxy_names
from targetsel.tables.columns import floats, in_one_piece, matrix, true_or_false
from targetsel.tables.files import folder_written_beside, make_folder, sha256_of_file
from targetsel.tables.ids import keys_of, uniform
from targetsel.tables.parquet import footer_in, says_simulated
from targetsel.tables.types import is_number
from targetsel.version import __version__

ASSIGNED = "assigned"
TIMES = ("mjd", "mjd_obs", "obs_mjd")  # columns of times, the first one present
MATCHED, FAILED, NO_FIBER, USED = "in the catalog", "failed", "without a fiber", "used"


@brief
@dataclass(frozen=True)
class LearnedFrom:
    """N sources of a scored catalog whose spectra succeeded, in the order of their ids' keys.

    Attributes
    ----------
    source_id, group, weight, magnitude : ndarray, shape (N,)
    knots : dict of ndarray, shape (N, L)
        Predicted quantiles by quantity.
    true : dict of ndarray, shape (N,)
        Measured values of those quantities; NaN where there is none.
    shares : dict of ndarray, shape (N,)
        Predicted probabilities of the classes in the [NII] diagram.
    order : ndarray, shape (N,)
        Indices in the order of time: of the tables, then of their column `mjd`, then by chance.
    unweighted, of_lists : list of str
        The tables without weights, and those whose weights stand for the list alone.
    counts : dict of int
        Rows of all tables, by what became of them.
    simulated : bool
    """

    source_id: np.ndarray
    group: np.ndarray
    weight: np.ndarray
    magnitude: np.ndarray
    knots: dict[str, np.ndarray]
    true: dict[str, np.ndarray]
    shares: dict[str, np.ndarray]
    order: np.ndarray
    unweighted: list[str]
    of_lists: list[str]
    counts: dict[str, int]
    simulated: bool

    def __len__(self) -> int:
        return len(self.source_id)

    def measured(self, name: str) -> Measured:
        """The sources of which one quantity is predicted and measured."""
        about = (self.magnitude, self.weight, self.group)
        return Measured.of(self.knots[name], self.true[name], *about)

    @classmethod
    def read(cls, scored: Path, tables: Sequence[Path]) -> LearnedFrom:
        """The sources of all tables, joined with the scored catalog by id.

        Raises
        ------
        CatalogError
            If a file cannot be read, a table has no measured value of any source of the catalog,
            or two tables have one of the same source.
        """
        with ScoredFile(scored) as file:
            names, classes = proxy_names(file.schema), {*BPT_CLASSES} <= {*file.schema.names}
        needed = [MAGNITUDE, *(name + QUANTILES for name in names)]
        needed += BPT_CLASSES if classes else ()
        counts: Counter[str] = Counter({MATCHED: 0, FAILED: 0, NO_FIBER: 0, USED: 0})
        parts = []
        for path in tables:
            with with_redshift(path) as called:
                known = LabelledSources.read(scored, called, needed, all_columns=True)
            known = replace(known, truth=replace(known.truth, path=path))
            good = succeeded(known.truth)
            fiber = _has_fiber(known.truth)
            counts["rows"] += len(known) + known.left_out["only in the truth"]
            counts[MATCHED] += len(known)
            counts[NO_FIBER] += int((~fiber).sum())
            counts[FAILED] += int((fiber & ~good).sum())
            counts[USED] += int((fiber & good).sum())
            parts.append(known.take(fiber & good))
        _check_once(parts, tables)
        return cls._joined(parts, names, BPT_CLASSES if classes else (), dict(counts))

    @classmethod
    def _joined(
        cls,
        parts: Sequence[LabelledSources],
        names: Sequence[str],
        classes: Sequence[str],
        counts: dict[str, int],
    ) -> LearnedFrom:
        ids = np.concatenate([keys_of(each.source_id) for each in parts])
        order = np.argsort(ids, kind="stable")

        def together(pieces: Sequence[np.ndarray]) -> np.ndarray:
            return np.concatenate(pieces)[order]

        def nothing(part: LabelledSources) -> np.ndarray:
            return np.full(len(part), np.nan)

        return cls(
            source_id=together([each.source_id for each in parts]),
            group=together([keys_of(each.group) for each in parts]),
            weight=together([each.weight for each in parts]),
            magnitude=together([floats(each.scored[MAGNITUDE]) for each in parts]),
            knots={
                name: together([matrix(each.scored[name + QUANTILES]) for each in parts])
                for name in names
            },
            true={
                name: together([each.proxies.get(name, nothing(each)) for each in parts])
                for name in names
            },
            shares={
                name: together([floats(each.scored[name]) for each in parts]) for name in classes
            },
            order=_order(together, parts),
            unweighted=[
                each.truth.path.name
                for each in parts
                if WEIGHT not in each.truth.table.column_names
            ],
            of_lists=[
                each.truth.path.name for each in parts if each.truth.footer.get("weights") == "list"
            ],
            counts=counts,
            simulated=any(
                says_simulated(each.truth.footer) or says_simulated(_footer(each)) for each in parts
            ),
        )


def _footer(known: LabelledSources) -> Mapping[str, Any]:
    """The footer of the scored catalog."""
    return footer_in(known.scored.schema.metadata)


def _order(
    together: Callable[[Sequence[np.ndarray]], np.ndarray], parts: Sequence[LabelledSources]
) -> np.ndarray:
    """Indices in the order of time, shape (N,); by a hash of ids where nothing tells it."""
    tables = together([np.full(len(each), k) for k, each in enumerate(parts)])
    times = together([_time(each.truth) for each in parts])
    chance = uniform(together([each.source_id for each in parts]), 0, "order of outcomes")[:, 0]
    return np.lexsort((chance, times, tables))


def _time(truth: Truth) -> np.ndarray:
    """The time of each spectrum [day], shape (N,); 0 where the table does not tell it."""
    named = {name.lower(): name for name in truth.table.column_names}
    name = next((named[each] for each in TIMES if each in named), None)
    if name is None:
        return np.zeros(len(truth))
    kind = truth.table.schema.field(name).type
    if not is_number(kind):
        raise CatalogError(
            f"{truth.path}, column '{name}': holds {kind}; expected the times of spectra in days. "
            "Convert or rename it."
        )
    return numbers_in(truth.table, name)  # of which NaN is the last


def _has_fiber(truth: Truth) -> np.ndarray:
    """Whether each target got a fiber, shape (N,); a table that does not say has no others."""
    if ASSIGNED not in truth.table.column_names:
        return np.ones(len(truth), dtype=bool)
    told = true_or_false(in_one_piece(truth.table[ASSIGNED]), ASSIGNED, truth.path)
    return np.asarray(told.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)


def _check_once(parts: Sequence[LabelledSources], tables: Sequence[Path]) -> None:
    """Refuse a source that succeeded in two tables."""
    home: dict[int, Path] = {}
    for part, path in zip(parts, tables, strict=True):
        for key, name in zip(keys_of(part.source_id).tolist(), part.source_id, strict=True):
            if key in home:
                raise CatalogError(
                    f"{path}: has a spectrum of the source {name}, and so has {home[key]}. Keep "
                    "the better one of each source."
                )
            home[key] = path


# ---------------------------------------------------------------------- fitting


def relearn(
    scored: Path, tables: Sequence[Path], folder: Path, name: str | None = None
) -> Calibration:
    """The calibration of an ensemble with one more recalibration, learnt from outcomes.

    Parameters
    ----------
    scored : Path
        A catalog that this ensemble scored, with its calibration as it is now.
    tables : sequence of Path
        Tables of outcomes of lists chosen from it, in the order of time.
    folder : Path
        The ensemble.
    name : str, optional
        Name of the new version; by default "relearned-1", "relearned-2" and so on.

    Raises
    ------
    CatalogError, EnsembleError
        If a file cannot be read or is of another ensemble or calibration, a table is one that the
        ensemble has learnt from before, no quantity was measured often enough, or the name is
        taken.
    """
    card, calibration = stored_calibration(folder)
    called = _new_name(name, calibration)
    with ScoredFile(scored) as file:
        check_unfollowed(file)
        file.check_scored_by(str(card.get("name", "")), sha256_of_card(card))
        found = calibration_of(file)
        if found != calibration.sha256:
            raise EnsembleError(
                f"{scored}: was scored with the calibration {found[:12]}, but that of {folder} "
                f"is {calibration.sha256[:12]} ('{calibration.name}'). Name the ensemble as it "
                "was, or give the catalog with this calibration."
            )
    known = LearnedFrom.read(scored, tables)
    _check_new(tables, calibration)
    results = {each: relearned(known.measured(each)) for each in known.knots}
    records = {each: record for each, (_, record) in results.items()}
    maps = {each: scores for each, (scores, _) in results.items() if scores is not None}
    if not maps:
        raise CatalogError(_why_not(known, records, tables))
    classes, class_record = _classes(known)
    return calibration.recalibrated(
        Recalibration(
            name=called,
            of=calibration.sha256,
            code_version=__version__,
            outcomes=[{"name": each.name, "sha256": sha256_of_file(each)} for each in tables],
            unweighted=known.unweighted,
            of_lists=known.of_lists,
            simulated=known.simulated,
            counts=known.counts,
            quantities=records,
            class_record=class_record,
            drift=_drift(known),
            proxies=maps,
            classes=classes,
        )
    )


def _check_new(tables: Sequence[Path], calibration: Calibration) -> None:
    """Refuse what the ensemble has learnt from, which cannot show a drift any more."""
    before = {
        each["sha256"]: version.name
        for version in calibration.recalibrations
        for each in version.outcomes
    }
    for path in tables:
        if (known := before.get(sha256_of_file(path))) is not None:
            raise EnsembleError(
                f"{path}: the ensemble has learnt from it already, as '{known}'. Give outcomes "
                "that came since, or name the ensemble as it was before, to learn from all at once."
            )


def _drift(known: LearnedFrom) -> DriftRecord:
    """How much the outcomes speak against the posteriors as they are."""
    posterior = ProxyPosterior(tuple(known.knots), known.knots, {})
    below = {name: posterior.probability_below(name, each) for name, each in known.true.items()}
    return drift(below, known.weight, known.order, known.group)


def _new_name(name: str | None, calibration: Calibration) -> str:
    taken = [each.name for each in calibration.versions]
    if name is None:
        number = len(taken)
        while f"relearned-{number}" in taken:
            number += 1
        return f"relearned-{number}"
    if not name.strip() or not name.isprintable():
        raise EnsembleError(
            f"--name {name!r}: is no name of a calibration. Give a word, such as spring-2027."
        )
    if name in taken:
        raise EnsembleError(
            f"--name {name}: the ensemble has a calibration of that name already. Give another."
        )
    return name


def _why_not(
    known: LearnedFrom, records: Mapping[str, QuantityRecord], tables: Sequence[Path]
) -> str:
    """Why no quantity gets a map."""
    named = ", ".join(map(str, tables))
    if not len(known):
        return (
            f"{named}: no spectrum of a source of the catalog succeeded; "
            f"{known.counts[FAILED]:,} failed, and {known.counts[NO_FIBER]:,} targets got no "
            "fiber. Give the outcomes of other lists, too."
        )
    if all(each.stays == TOO_FEW for each in records.values()):
        most = max(records, key=lambda each: records[each].effective)
        return (
            f"{named}: {counted(len(known), 'spectrum', 'spectra')} of sources of the catalog "
            f"succeeded, and no quantity was measured of enough: '{most}' of "
            f"{records[most].n:,}, which count as {records[most].effective:.0f} of equal weight; "
            f"expected {FEWEST} or more. Wait for more spectra, or give the outcomes of several "
            "lists."
        )
    return (
        f"{named}: for outcomes kept aside, posteriors recalibrated on the others are worse than "
        "they were. Leave the ensemble as it is."
    )


def _classes(known: LearnedFrom) -> tuple[ClassMap | None, ClassRecord | None]:
    """The map of class probabilities, if their lines were measured."""
    if not known.shares or not {*BPT_PROXIES} <= {*known.true}:
        return None, None
    true = np.stack([known.true[name] for name in BPT_PROXIES], axis=1)
    measured = np.isfinite(true).all(axis=1)
    if not measured.any():
        return None, None
    classes = bpt_probabilities(Proxies(known.source_id, BPT_PROXIES, true[:, None]))
    told = {name: np.where(measured, classes[name], np.nan) for name in known.shares}
    return relearned_classes(known.shares, told, known.weight, known.group)


def write_relearned(calibration: Calibration, folder: Path, output: Path) -> None:
    """Write the folder of an ensemble with another calibration: copies of its files, and that.

    Raises
    ------
    OutputError
        If there is something in the folder, or it cannot be written.
    """
    make_folder(output.parent)
    with folder_written_beside(output) as beside:
        for path in sorted(each for each in folder.iterdir() if each.is_file()):
            shutil.copyfile(path, beside / path.name)
        calibration.write(beside)


def check_new_folder(output: Path) -> None:
    """Refuse a folder for an ensemble that has something in it.

    Raises
    ------
    OutputError
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise OutputError(f"{output}: already exists. Choose a new folder for the ensemble.")
