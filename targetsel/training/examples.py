"""Examples that members of an ensemble learn from: their split, prepared cutouts, augmentation.

A common test set is kept from all members, and each leaves out one fold of the others to choose its
best epoch. Cutouts are prepared once in a scratch file. Augmentation keeps a network from learning
the orientation of cutouts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from targetsel.errors import CutoutError, EnsembleError
from targetsel.networks.input_plan import InputPlan
from targetsel.networks.inputs import AnyStore, InputPlans, InputsById
from targetsel.networks.network import NetworkPlan, parted
from targetsel.sky.positions import check_same_places
from targetsel.tables.files import sha256_of_file, written_beside
from targetsel.tables.ids import uniform
from targetsel.tasks import tracked

TEST_SHARE = 0.1
FEWEST_FOLDS = 5
TEST = -1
SOURCES_READ_AT_ONCE = 1024
CUTOUTS_AT_ONCE = 256
LARGEST = float(np.finfo(np.float16).max)

# A source of inputs: row numbers to stretched flux (N, B, H, W), or other inputs, float32.
ReadRows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Examples:
    """Inputs, the targets to be predicted from them, and the training rows.

    Attributes
    ----------
    read : callable
        Returns the prepared inputs of row numbers, such as stretched cutouts.
    targets : ndarray, shape (all rows, D)
        Standardised latents of every row that `read` knows, and perhaps a standardised
        ln(1 + redshift) behind them.
    training : ndarray of int
        The training rows.
    noise : ndarray, shape (all rows, D), or None
        Standard deviation of `targets` about the true ones; None: they are exact.
    validation : ndarray of int
        Validation rows, evaluated after each epoch; without them the last epoch's weights are
        kept.
    weight : ndarray, shape (all rows,), or None
        Number of sources that each row stands for; None: 1.
    """

    read: ReadRows
    targets: np.ndarray
    training: np.ndarray
    noise: np.ndarray | None = None
    validation: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    weight: np.ndarray | None = None


# ---------------------------------------------------------------------- split


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
                f"{len(np.unique(group.astype(str)))} groups of sources are too few for a test set "
                f"and {n_folds} folds: one of these would be empty. Give more sources, or smaller "
                "groups."
            )
        return cls(source_id, fold, n_folds)

    @property
    def test(self) -> np.ndarray:
        """Rows of the common test set."""
        return np.flatnonzero(self.fold == TEST)

    def validation(self, member: int) -> np.ndarray:
        """Rows of a member's validation sources, which choose its best epoch."""
        return np.flatnonzero(self.fold == member % self.n_folds)

    def training(self, member: int) -> np.ndarray:
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


def thinned(source_id: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Ids of an over-sampled population, thinned to its frequencies on the sky: (N,) to (M,).

    A source is kept with a probability proportional to its weight, by a hash of its id.
    """
    return source_id[uniform(source_id, 0, "novelty")[:, 0] * weight.max() < weight]


def held_out(
    card: Mapping[str, Any], given: AnyStore, source_id: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """Sources of an ensemble's training that no member was trained or validated on.

    Parameters
    ----------
    card : mapping
        The ensemble's card.
    given : CutoutStore or InputsById
        The training's cutouts, or its other inputs.
    source_id, group : ndarray, shape (N,)
        All sources of the training.

    Raises
    ------
    EnsembleError
        If they do not match the card.
    """
    store = InputsById.of(given)
    split: dict[str, Any] = card.get("training", {}).get("split", {}).get("test", {})
    recorded = recorded_split(card)
    if not split or recorded is None:
        raise EnsembleError(
            "the ensemble's card does not say how its training was split, so that held-out sources "
            "are not known. Name their ids instead."
        )
    fold = Split.of(source_id, group, 1, recorded[0]).fold
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


# ---------------------------------------------------------------------- prepared cutouts


@dataclass(frozen=True)
class PreparedCutouts:
    """Stretched cutouts of N sources on disk, or other inputs, in float16, clipped to its range.

    Attributes
    ----------
    path : Path
        File of the array (N, B, n_pixels, n_pixels), or of another shape (see `InputPlans.shape`).
    status : ndarray of str, shape (N,)
        "ok", or the reason why an input is unusable; its numbers are then zeros.
    """

    path: Path
    status: np.ndarray

    @classmethod
    def of(
        cls,
        folder: Path,
        given: AnyStore,
        source_id: np.ndarray,
        plan: InputPlans | InputPlan,
        position: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> PreparedCutouts:
        """Prepared cutouts of these sources, reused if the folder has them already and whole.

        The folder must not be used for other sources, stores or plans.

        Parameters
        ----------
        position : tuple of two ndarrays, shape (N,), optional
            Ra and dec [deg] of the sources in their catalog.

        Raises
        ------
        CutoutError
            If the cutouts were made for other positions.
        """
        path, about = folder / "pixels.npy", folder / "pixels.json"
        if (status := _status_of_whole(path, about)) is not None:
            return cls(path, status)
        store, plan, n, found = InputsById.of(given), InputPlans.of(plan), len(source_id), []
        shape = (n, *plan.shape)
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        with written_beside(path) as beside, open(beside, "wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            pieces = np.split(np.arange(n), range(CUTOUTS_AT_ONCE, n, CUTOUTS_AT_ONCE))
            kind = "cutouts" if plan.vectors is None else "sources"
            for rows in tracked(pieces, "preparing", n, kind, len):
                inputs = plan.select(store.read(source_id[rows]))
                if position is not None and inputs.position is not None:
                    ours = position[0][rows], position[1][rows]
                    names = "the catalog", str(store.path)
                    check_same_places(inputs.source_id, ours, inputs.position, *names, CutoutError)
                good = (inputs.status == "ok").reshape(-1, *(1 for _ in plan.shape))
                prepared = np.where(good, plan.prepare(inputs), 0.0)
                stream.write(np.clip(prepared, -LARGEST, LARGEST).astype("<f2").tobytes())
                found += inputs.status.tolist()
        with written_beside(about) as beside:
            beside.write_text(json.dumps({"sha256": sha256_of_file(path), "status": found}))
        return cls(path, np.array(found))

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Prepared inputs of row numbers, such as stretched cutouts (N, B, H, W), float32."""
        return np.load(self.path, mmap_mode="r", allow_pickle=False)[rows].astype(np.float32)


def _status_of_whole(path: Path, about: Path) -> np.ndarray | None:
    """The statuses beside prepared cutouts, or None if either file is missing or damaged."""
    try:
        noted = dict(json.loads(about.read_bytes()))
        return np.array(noted["status"]) if noted["sha256"] == sha256_of_file(path) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


# ---------------------------------------------------------------------- augmentation


def turned(flux: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cutouts, each in a random one of the eight orientations of a square, (N, B, H, W)."""
    turns = rng.integers(8, size=len(flux))
    out = np.empty_like(flux)
    for orientation in range(8):
        chosen = turns == orientation
        part = np.rot90(flux[chosen], orientation % 4, axes=(2, 3))
        out[chosen] = part[..., ::-1] if orientation >= 4 else part
    return out


def augmented(flux: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Cutouts augmented as in the training of the published networks, (N, B, H, W).

    Half of them get a random one of the eight orientations of a square, and three quarters
    are rotated by up to 10 degrees, interpolated bilinearly and reflected at the border.
    """
    n = len(flux)
    chosen = rng.random(n) < 0.5
    flux = np.where(chosen[:, None, None, None], turned(flux, rng), flux)
    angle = np.radians(rng.uniform(-10, 10, n)) * (rng.random(n) < 0.75)
    cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros(n)
    rotation = np.array([[cos, -sin, zero], [sin, cos, zero]]).transpose(2, 0, 1)
    x = torch.from_numpy(flux)
    grid = functional.affine_grid(
        torch.from_numpy(rotation).to(x), list(x.shape), align_corners=False
    )
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def augmented_inputs(
    x: np.ndarray, plan: NetworkPlan, augmentation: str, rng: np.random.Generator
) -> torch.Tensor:
    """Inputs of a network whose cutouts are augmented; vectors have no orientation and stay."""
    if not plan.n_bands:
        return torch.as_tensor(x)
    cutouts, vectors = parted(x, plan)
    changed = torch.as_tensor(AUGMENTATIONS[augmentation](cutouts, rng))
    if not plan.vector:
        return changed
    return torch.cat([changed.flatten(1), torch.as_tensor(vectors)], dim=1)


AUGMENTATIONS: dict[str, Callable[[np.ndarray, np.random.Generator], Any]] = {
    "orientations": turned,
    "published": augmented,
}
