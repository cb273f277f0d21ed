"""Emission lines in fibers: place, flux, signal-to-noise ratio and exposure time.

A rest-frame equivalent width W at redshift z above a continuum f, both where the line is observed,
is a flux of W (1 + z) f. All but the width (and the redshift, where it is uncertain) is taken as
known, so that flux, S/N and exposure time follow the width's posterior. The share of the light in
the fiber is taken to be the same for line and continuum.

Lines of the night sky are [OI], NaI and the strongest OH lines between 5570 and 9010 Angstrom, in
air, under the wavelengths that reduction software takes from Osterbrock et al. (1996, PASP 108,
277); not checked against the paper's own tables. The choice of the strongest is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from targetsel.errors import SpectrographError, unknown
from targetsel.spectra.grid import air_to_vacuum
from targetsel.spectra.lines import LineTable
from targetsel.spectrographs.spectrograph import (
    LONGEST,
    Arm,
    Exposure,
    Spectrograph,
    effective_width,
    exposure_time,
    rates,
    signal_to_noise,
)

OBSERVED_UNITS = {"lineflux": "erg.s**-1.cm**-2", "snr": "", "exposure_time": "s"}
QUANTITIES = tuple(OBSERVED_UNITS)
SKY_LINES_END = 9010.0  # [Angstrom]; beyond, we have no list
_SKY_LINES_IN_AIR = (
    *(5577.338, 5889.953, 5895.923, 6300.304, 6363.780),
    *(6498.729, 6533.044, 6553.617, 6863.955, 6923.220),
    *(7276.405, 7316.282, 7340.885, 7571.746, 7750.640, 7794.112, 7821.503, 7841.266),
    *(7913.708, 7964.650, 7993.332, 8344.602, 8399.170, 8415.231, 8430.174, 8452.250, 8493.389),
    *(8791.186, 8827.096, 8885.850, 8903.114, 8919.610, 8943.395, 8958.063, 8988.366),
)
SKY_LINES = np.array([air_to_vacuum(each) for each in _SKY_LINES_IN_AIR])


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
        """Rest-frame wavelength of its light on average [Angstrom]."""
        return sum(wavelength * share for wavelength, share in self.components)

    @property
    def offsets(self) -> np.ndarray:
        """The components' places relative to `wavelength`."""
        return np.array([each for each, _ in self.components]) / self.wavelength - 1

    @property
    def shares(self) -> np.ndarray:
        return np.array([share for _, share in self.components])


# The emission lines among the proxies that catalogs are scored with.
LINES = {
    line.name: line
    for line in (
        Line(each.name, each.emission_lines)
        for each in LineTable.shipped().definitions
        if each.predicted and each.emission_lines
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
            raise SpectrographError(unknown("line", plain, LINES))
        chosen[plain] = LINES[plain]
    return tuple(chosen.values()) or tuple(LINES.values())


@dataclass(frozen=True)
class ObservedLine:
    """A line of N sources at S redshifts each, as it arrives at the fibers.

    Attributes
    ----------
    line : Line
    redshift : ndarray, shape (N, S)
    continuum : ndarray, shape (N, S)
        Within the fiber [erg/s/cm2/Angstrom].
    """

    line: Line
    redshift: np.ndarray
    continuum: np.ndarray

    @property
    def wavelength(self) -> np.ndarray:
        """[Angstrom], shape (N, S)."""
        return self.line.wavelength * (1 + self.redshift)

    def falls_into(self, arm: Arm) -> np.ndarray:
        """Whether all components are within an arm's range, shape (N, S)."""
        first, last = (each * self.wavelength for each in self._ends)
        return (first >= arm.start) & (last <= arm.end)

    def in_range(self, spectrograph: Spectrograph) -> np.ndarray:
        """1 where an arm sees the line, else 0; NaN without a redshift, shape (N, S)."""
        seen = np.any([self.falls_into(arm) for arm in spectrograph.arms], axis=0)
        return np.where(np.isfinite(self.redshift), seen, np.nan)

    def clear_of_sky(self, spectrograph: Spectrograph) -> np.ndarray:
        """1 where no strong sky line is within a resolution element of the line, else 0.

        NaN out of range, and where strong sky lines are not listed; shape (N, S).
        """
        clear = np.full(self.wavelength.shape, np.nan)
        for arm, seen in self._arms(spectrograph):
            margin = 1 / arm.resolution(self.wavelength)
            first, last = (
                (end + side * margin) * self.wavelength
                for end, side in zip(self._ends, (-1, 1), strict=True)
            )
            clear = np.where(seen, is_clear_of_sky(first, last), clear)
        return clear

    def quantities(
        self,
        equivalent_width: np.ndarray,
        exposure: Exposure,
        asked: tuple[str, ...] = QUANTITIES,
    ) -> dict[str, np.ndarray]:
        """Flux, signal-to-noise ratio and exposure time for equivalent widths, as far as asked for.

        Parameters
        ----------
        equivalent_width : ndarray, shape (N, S)
            Rest frame [Angstrom], positive in emission.

        Returns
        -------
        dict of str to ndarray, shape (N, S)
            "lineflux" [erg/s/cm2]; "snr", 0 out of range; "exposure_time" [s], `LONGEST` there.
        """
        spectrograph = exposure.spectrograph
        flux = equivalent_width * (1 + self.redshift) * self.continuum
        found = {"lineflux": flux}
        if asked == ("lineflux",):
            return found
        unseen = {"snr": 0.0, "exposure_time": LONGEST}
        found |= {name: np.full(flux.shape, unseen[name]) for name in asked if name in unseen}
        for arm, seen in self._arms(spectrograph):
            if not seen.any():
                continue
            width = effective_width(self.wavelength, self.line.offsets, self.line.shares, arm)
            rate = rates(flux, self.continuum, self.wavelength, width, arm, spectrograph)
            if "snr" in found:
                snr = signal_to_noise(rate, exposure.time, spectrograph.readout)
                found["snr"] = np.where(seen, snr, found["snr"])
            if "exposure_time" in found:
                time = exposure_time(rate, exposure.snr, spectrograph.readout)
                found["exposure_time"] = np.where(seen, time, found["exposure_time"])
        known = np.isfinite(flux)
        return {name: np.where(known, values, np.nan) for name, values in found.items()}

    @property
    def _ends(self) -> tuple[float, float]:
        """The outermost components, relative to the wavelength."""
        return 1 + self.line.offsets.min(), 1 + self.line.offsets.max()

    def _arms(self, spectrograph: Spectrograph) -> list[tuple[Arm, np.ndarray]]:
        """Each arm, and where it is the one that sees the line best."""
        light = np.stack(
            [
                np.where(self.falls_into(arm), arm.throughput(self.wavelength), 0.0)
                for arm in spectrograph.arms
            ]
        )
        best = np.where(light.max(axis=0) > 0, light.argmax(axis=0), -1)
        return [(arm, best == place) for place, arm in enumerate(spectrograph.arms)]


def is_clear_of_sky(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Whether no strong line lies between `start` and `end` [Angstrom, vacuum]: 1, 0 or NaN.

    NaN where our list does not reach.
    """
    inside = np.searchsorted(SKY_LINES, end, side="right") > np.searchsorted(SKY_LINES, start)
    return np.where(end > SKY_LINES_END, np.nan, np.where(inside, 0.0, 1.0))
