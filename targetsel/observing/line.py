"""The lines whose flux is predicted: a scored equivalent width and where its light lies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from targetsel.errors import SpectrographError, did_you_mean


@dataclass(frozen=True)
class Line:
    """An emission line, or several that one width counts together.

    Attributes
    ----------
    proxy : str
        The column of its rest-frame equivalent width.
    components : tuple of (float, float)
        Rest-frame vacuum wavelength [Angstrom], and share of the flux, of each.
    """

    proxy: str
    components: tuple[tuple[float, float], ...]

    @property
    def name(self) -> str:
        return self.proxy.removeprefix("ew_")

    @property
    def wavelength(self) -> float:
        """Where its light lies on average [Angstrom]."""
        return sum(wavelength * share for wavelength, share in self.components)

    @property
    def offsets(self) -> np.ndarray:
        """The components' places relative to `wavelength`."""
        return np.array([each for each, _ in self.components]) / self.wavelength - 1

    @property
    def shares(self) -> np.ndarray:
        return np.array([share for _, share in self.components])


# Shares of [OII] and [SII] are those of thin gas; [NII] 6550 is a third of 6585, and of the complex
# the shares are typical of star-forming galaxies. They only spread the light over pixels.
LINES = {
    line.name: line
    for line in (
        Line("ew_oii", ((3727.09, 0.42), (3729.88, 0.58))),
        Line("ew_hbeta", ((4862.68, 1.0),)),
        Line("ew_oiii", ((5008.24, 1.0),)),
        Line("ew_halpha", ((6564.61, 1.0),)),
        Line("ew_nii", ((6585.27, 1.0),)),
        Line("ew_halpha_nii", ((6549.86, 0.08), (6564.61, 0.68), (6585.27, 0.24))),
        Line("ew_sii", ((6718.29, 0.58), (6732.67, 0.42))),
    )
}


def chosen_lines(names: Iterable[str]) -> tuple[Line, ...]:
    """The lines of these names, with or without `ew_`; without any, all.

    Raises
    ------
    SpectrographError
    """
    chosen = {}
    for name in names:
        plain = name.removeprefix("ew_")
        if plain not in LINES:
            hint = did_you_mean(name, [*LINES, *(each.proxy for each in LINES.values())])
            raise SpectrographError(
                f"unknown line '{name}'.{hint or ' Known are ' + ', '.join(LINES) + '.'}"
            )
        chosen[plain] = LINES[plain]
    return tuple(chosen.values()) or tuple(LINES.values())
