"""Split of grouped sources into a common test set, and folds that members leave out in turn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from targetsel.errors import EnsembleError
from targetsel.imaging.store import CutoutStore
from targetsel.tables.ids import uniform

TEST_SHARE = 0.1
FEWEST_FOLDS = 5
TEST = -1
SOURCES_READ_AT_ONCE = 1024


@dataclass(frozen=True)
class Split:
    """Assignment of N sources to test set and folds; a group is never split.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    fold : ndarray of int, shape (N,)
        Fold from 0 to `n_folds` - 1, or `TEST` for a source that no member is trained or
        validated on.
    n_folds : int
    """

    source_id: np.ndarray
    fold: np.ndarray
    n_folds: int

    @classmethod
    def of(cls, source_id: np.ndarray, group: np.ndarray, n_members: int, seed: int) -> Split:
        """The split defined by a hash of seed and group.

        Raises
        ------
        EnsembleError
            If a part is empty.
        """
        n_folds = max(n_members, FEWEST_FOLDS)
        fold = (uniform(group, seed, "fold")[:, 0] * n_folds).astype(np.int64)
        fold[uniform(group, seed, "test")[:, 0] < TEST_SHARE] = TEST
        empty = set(range(TEST, n_folds)) - set(fold.tolist())
        if empty:
            raise EnsembleError(
                f"{len(np.unique(group.astype(str)))} groups of sources do not fill a test and "
                f"{n_folds} folds. Give more sources, or smaller groups."
            )
        return cls(source_id, fold, n_folds)

    @property
    def test(self) -> np.ndarray:
        """Rows of the common test set."""
        return np.flatnonzero(self.fold == TEST)

    def watched(self, member: int) -> np.ndarray:
        """Rows of a member's validation sources, which choose its best epoch."""
        return np.flatnonzero(self.fold == member % self.n_folds)

    def learnt(self, member: int) -> np.ndarray:
        """Rows that a member is trained on."""
        return np.flatnonzero((self.fold != TEST) & (self.fold != member % self.n_folds))

    def to_card(self) -> dict[str, Any]:
        """Number of sources in each part, and the SHA-256 of their ids."""
        card = {"test": self._part(TEST)}
        return card | {f"fold {fold}": self._part(fold) for fold in range(self.n_folds)}

    def _part(self, fold: int) -> dict[str, Any]:
        ids = self.source_id[self.fold == fold]
        return {"n": len(ids), "ids_sha256": ids_hash(ids)}


def recorded_split(card: Mapping[str, Any]) -> tuple[int, int] | None:
    """Seed and number of folds of the split that an ensemble's card records, if any."""
    training = card.get("training", {})
    parts, seeds = training.get("split"), training.get("recipe", {}).get("seed")
    if not parts or not seeds:
        return None
    return training.get("split_seed", seeds[0]), sum(name.startswith("fold") for name in parts)


def ids_hash(source_id: np.ndarray) -> str:
    """The SHA-256 of a set of ids, in whatever order."""
    return hashlib.sha256("\n".join(sorted(source_id.astype(str))).encode()).hexdigest()


def as_in_nature(source_id: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Ids of an over-sampled population, thinned to natural frequencies; (N,) to (M,), M <= N.

    A source is kept with a probability proportional to its weight, by a hash of its id.
    """
    return source_id[uniform(source_id, 0, "novelty")[:, 0] * weight.max() < weight]


def held_out(
    card: Mapping[str, Any], store: CutoutStore, source_id: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """Sources of an ensemble's training that no member was trained or validated on.

    Parameters
    ----------
    card : mapping
        The ensemble's card.
    store : CutoutStore
        The training's cutouts.
    source_id, group : ndarray, shape (N,)
        All sources of the training.

    Raises
    ------
    EnsembleError
        If they do not match the card.
    """
    split: dict[str, Any] = card.get("training", {}).get("split", {}).get("test", {})
    told = recorded_split(card)
    if not split or told is None:
        raise EnsembleError(
            "the ensemble's card does not say how its training was split, so that held-out sources "
            "are not known. Name their ids instead."
        )
    fold = Split.of(source_id, group, 1, told[0]).fold
    ids = source_id[fold == TEST]
    starts = range(0, len(ids), SOURCES_READ_AT_ONCE)
    parts = (store.read(ids[start : start + SOURCES_READ_AT_ONCE]) for start in starts)
    whole = [part.source_id[part.status == "ok"] for part in parts]
    found = np.concatenate(whole) if whole else ids
    if ids_hash(found) != split["ids_sha256"]:
        raise EnsembleError(
            f"{store.path}: {len(found)} held-out sources follow from these ids, but the ensemble "
            f"was tested on {split['n']} others. Give the catalog and the cutouts of its training."
        )
    return found
