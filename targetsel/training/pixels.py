"""Cutouts of a training: prepared once in a scratch file, and augmented in each epoch.

Augmentation keeps a network from learning the orientation of cutouts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from targetsel.imaging.store import CutoutStore
from targetsel.networks.input_plan import InputPlan
from targetsel.tables.files import written_beside

CUTOUTS_AT_ONCE = 256
LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class PreparedCutouts:
    """Stretched cutouts of N sources on disk, in float16, clipped to its range.

    Attributes
    ----------
    path : Path
        File of the array (N, B, n_pixels, n_pixels).
    status : ndarray of str, shape (N,)
        "ok", or the reason why a cutout is unusable; its pixels are then zeros.
    """

    path: Path
    status: np.ndarray

    @classmethod
    def of(
        cls,
        folder: Path,
        store: CutoutStore,
        source_id: np.ndarray,
        plan: InputPlan,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> PreparedCutouts:
        """Prepared cutouts of these sources, reused if the folder has them already.

        The folder must not be used for other sources, stores or plans.
        """
        path, statuses = folder / "pixels.npy", folder / "status.json"
        if path.exists() and statuses.exists():
            return cls(path, np.array(json.loads(statuses.read_text())))
        n, found = len(source_id), []
        shape = (n, len(plan.bands), plan.n_pixels, plan.n_pixels)
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        with written_beside(path) as beside, open(beside, "wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for start in range(0, n, CUTOUTS_AT_ONCE):
                ids = source_id[start : start + CUTOUTS_AT_ONCE]
                cutouts = store.read(ids).select_bands(plan.bands).crop(plan.size)
                good = cutouts.status == "ok"
                prepared = np.where(good[:, None, None, None], plan.prepare(cutouts.flux), 0.0)
                stream.write(np.clip(prepared, -LARGEST, LARGEST).astype("<f2").tobytes())
                found += cutouts.status.tolist()
                progress(min(start + CUTOUTS_AT_ONCE, n), n)
        with written_beside(statuses) as beside:
            beside.write_text(json.dumps(found))
        return cls(path, np.array(found))

    def reader(self) -> Callable[[np.ndarray], np.ndarray]:
        """Function from row numbers to stretched cutouts (N, B, H, W), float32."""
        array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return lambda rows: array[rows].astype(np.float32)


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
