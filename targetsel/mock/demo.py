"""The demonstration's share of the mock sky."""

from __future__ import annotations

import numpy as np

from targetsel.identity import uniform

DEMONSTRATION_SHARE = 0.25
SEED = 42


def in_demonstration(source_id: np.ndarray) -> np.ndarray:
    """Which real galaxies the demonstration shows; the shipped ensemble never saw them."""
    return uniform(source_id, 0, "demonstration")[:, 0] < DEMONSTRATION_SHARE
