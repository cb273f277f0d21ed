"""Random numbers of a mock sky: of each source and each step of its making, independent.

Two variations of a sky differ only in what they vary, because no step takes another one's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Step(IntEnum):
    """Purposes of random numbers; each has a sequence of its own."""

    SPECTRUM = 0
    STRUCTURE = 1
    PLACES = 2
    NEIGHBOURS = 3
    CAMERA = 4
    SPECTROGRAPH = 5
    # Of the trouble of real images.
    OPTICS = 6
    TEXTURE = 7
    BRIGHT_STARS = 8
    COMPANY = 9
    SHAPE = 10
    PLACE = 11


@dataclass(frozen=True)
class Chance:
    """The random numbers of one source."""

    seed: int
    source_id: int

    def of(self, step: Step) -> np.random.Generator:
        """A generator that gives the same numbers whenever it is asked for."""
        return np.random.default_rng([self.seed, self.source_id, step])
