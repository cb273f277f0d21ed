"""Strong lines of the night sky.

[OI], NaI and the strongest OH lines between 5570 and 9010 Angstrom, in air, under the wavelengths
that reduction software takes from Osterbrock et al. (1996, PASP 108, 277); not checked against the
paper's own tables. The choice of the strongest is ours.
"""

from __future__ import annotations

import numpy as np

from targetsel.spectra.lines import air_to_vacuum

END = 9010.0  # [Angstrom]; beyond, we have no list
_IN_AIR = (
    *(5577.338, 5889.953, 5895.923, 6300.304, 6363.780),
    *(6498.729, 6533.044, 6553.617, 6863.955, 6923.220),
    *(7276.405, 7316.282, 7340.885, 7571.746, 7750.640, 7794.112, 7821.503, 7841.266),
    *(7913.708, 7964.650, 7993.332, 8344.602, 8399.170, 8415.231, 8430.174, 8452.250, 8493.389),
    *(8791.186, 8827.096, 8885.850, 8903.114, 8919.610, 8943.395, 8958.063, 8988.366),
)
LINES = np.array([air_to_vacuum(each) for each in _IN_AIR])


def is_clear(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Whether no strong line lies between `start` and `end` [Angstrom, vacuum]: 1, 0 or NaN.

    NaN where our list does not reach.
    """
    inside = np.searchsorted(LINES, end, side="right") > np.searchsorted(LINES, start)
    return np.where(end > END, np.nan, np.where(inside, 0.0, 1.0))
