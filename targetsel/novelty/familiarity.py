"""How familiar sources are to an ensemble, and what it must know of its training to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from targetsel.errors import CutoutError, EnsembleError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.measurements import (
    CHECKS,
    appearance,
    central_magnitude,
    quality,
    reference_band,
)
from targetsel.imaging.store import CutoutStore
from targetsel.networks.input_plan import InputPlan
from targetsel.novelty.novelty import Novelty, NoveltyReference
from targetsel.scoring.ensemble import Ensemble
from targetsel.tables.ids import uniform
from targetsel.training.split import TEST, Split, ids_hash, told_by

AT_ONCE = 1024  # held-out sources are read in; a store is quicker at many than at few
FEWEST = 4  # sources that a reference can be made of
MOST = 8000  # that it is made of


@dataclass(frozen=True)
class Familiarity:
    """What is said of N sources.

    Attributes
    ----------
    novelty : Novelty
        NaN, and without a reason, where the cutout's status is not "ok".
    looks : ndarray, shape (N, 3)
        Magnitude, colour and size on the cutout (`imaging.measurements.appearance`); NaN likewise.
    support : ndarray of bool, shape (N,)
        Whether training sources look like it (`support`).
    """

    novelty: Novelty
    looks: np.ndarray
    support: np.ndarray


def familiarity(ensemble: Ensemble, cutouts: Cutouts, by_features: np.ndarray) -> Familiarity:
    """How familiar the sources are whose posteriors' `novelty` is `by_features`, shape (N,)."""
    plan = ensemble.input
    chosen = cutouts.select_bands(plan.bands).crop(plan.size)
    good = chosen.status == "ok"
    checks, seen = _measured(chosen.take(good), plan)
    n, known = len(good), np.flatnonzero(good)
    judged = ensemble.novelty.judge(by_features[good], checks)
    shares = np.full((3, n), np.nan)
    shares[:, known] = judged.share, judged.by_features, judged.by_image
    reason = np.full(n, None, dtype=object)
    reason[known] = judged.reason
    all_looks = np.full((n, 3), np.nan)
    all_looks[known] = seen
    support = ensemble.novelty.support.holds(all_looks)
    return Familiarity(Novelty(shares[0], shares[1], shares[2], reason), all_looks, support)


def fit_reference(ensemble: Ensemble, store: CutoutStore, ids: np.ndarray) -> NoveltyReference:
    """The reference for an ensemble from cutouts of training sources that it has not learnt from.

    Parameters
    ----------
    ids : ndarray
        Held-out sources (see `held_out`). At most `MOST` evenly spaced ones are used, less those
        that have no cutout or lack pixels.

    Raises
    ------
    CutoutError
        If fewer than four can be used.
    """
    plan, ids = ensemble.input, np.sort(ids)  # in whatever order they come
    ids = ids[np.linspace(0, len(ids) - 1, min(len(ids), MOST)).astype(int)]
    features: list[np.ndarray] = []
    numbers: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, len(ids), AT_ONCE):
        cutouts = store.read(ids[start : start + AT_ONCE]).select_bands(plan.bands).crop(plan.size)
        whole = cutouts.take(cutouts.status == "ok")
        if len(whole):
            features.append(ensemble.features(whole.flux))
            numbers.append(_measured(whole, plan))
    n = sum(len(checks) for checks, _ in numbers)
    if n < FEWEST:
        raise CutoutError(
            f"{store.path}: {n} whole cutouts of {len(ids)} held-out sources, expected at least "
            f"{FEWEST}. Give the store of the ensemble's training."
        )
    checks, seen = (np.concatenate(each) for each in zip(*numbers, strict=True))
    return NoveltyReference.fit(
        np.concatenate(features, axis=1), checks, seen[np.isfinite(seen).all(axis=1)]
    )


def as_in_nature(source_id: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sources of an over-sampled population, thinned out so that each kind is as frequent as it is.

    A source is kept with a chance proportional to its weight, by a hash of its id.
    """
    return source_id[uniform(source_id, 0, "novelty")[:, 0] * weight.max() < weight]


def held_out(
    ensemble: Ensemble, store: CutoutStore, source_id: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """Those of its training's sources that no member has learnt from or watched.

    Parameters
    ----------
    source_id, group : ndarray, shape (N,)
        All sources of the training.

    Raises
    ------
    EnsembleError
        If they are not what the card says.
    """
    split: dict[str, Any] = ensemble.card.get("training", {}).get("split", {}).get("test", {})
    told = told_by(ensemble.card)
    if not split or told is None:
        raise EnsembleError(
            "the ensemble's card does not say how its training was split, so that held-out sources "
            "are not known. Name their ids instead."
        )
    fold = Split.of(source_id, group, 1, told[0]).fold
    ids = source_id[fold == TEST]
    whole = [
        part.source_id[part.status == "ok"]
        for part in (store.read(ids[k : k + AT_ONCE]) for k in range(0, len(ids), AT_ONCE))
    ]
    found = np.concatenate(whole) if whole else ids
    if ids_hash(found) != split["ids_sha256"]:
        raise EnsembleError(
            f"{store.path}: {len(found)} held-out sources follow from these ids, but the ensemble "
            f"was tested on {split['n']} others. Give the catalog and the cutouts of its training."
        )
    return found


def _measured(cutouts: Cutouts, plan: InputPlan) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the checks (N, 9) and the looks (N, 3) of whole cutouts."""
    if not len(cutouts):
        return np.zeros((0, len(CHECKS))), np.zeros((0, 3))
    sky = np.array(plan.stretch.sky_sigma) / plan.binning
    magnitude = central_magnitude(cutouts, reference_band(plan.bands))
    return quality(cutouts.flux, sky), appearance(cutouts.flux, plan.bands, magnitude)
