"""What a spectrograph sees of predicted lines: flux, place, signal-to-noise and exposure time.

A rest-frame equivalent width W at redshift z above a continuum f, both where the line is observed,
is a flux of W (1 + z) f. All but the width (and the redshift, where it is uncertain) is taken as
known, so that flux, S/N and exposure time follow the width's posterior. The share of the light in
the fiber is taken to be the same for line and continuum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from targetsel.errors import SpectrographError
from targetsel.observing import sky_lines
from targetsel.observing.exposure import (
    LONGEST,
    Rates,
    effective_width,
    exposure_time,
    rates,
    signal_to_noise,
)
from targetsel.observing.line import Line
from targetsel.observing.spectrograph import Arm, Spectrograph, parse_quantity

QUANTITIES = ("lineflux", "snr", "exposure_time")


@dataclass(frozen=True)
class Exposure:
    """What is asked of a spectrograph.

    Attributes
    ----------
    time : float
        [s], for signal-to-noise ratios.
    snr : float
        For exposure times.
    """

    spectrograph: Spectrograph
    time: float
    snr: float

    @classmethod
    def asked(cls, spectrograph: Spectrograph, time: str | None, snr: float) -> Exposure:
        """With a time such as "15min", or else the spectrograph's usual one.

        Raises
        ------
        SpectrographError
            If the time is no time or has no unit, or a number is out of bounds.
        """
        try:
            seconds = spectrograph.exposure if time is None else parse_quantity(time, "s", False)
        except ValueError as error:
            raise SpectrographError(f"exposure is {error}, such as 1000s or 15min") from None
        if not 1 <= seconds <= LONGEST:
            raise SpectrographError(f"exposure is {seconds:g} s, expected 1 to {LONGEST:g} s")
        if not 0 < snr <= 1e4:
            raise SpectrographError(f"signal-to-noise ratio {snr:g}, expected above 0, to 10000")
        return cls(spectrograph, seconds, snr)


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

    @classmethod
    def of(
        cls,
        line: Line,
        redshift: np.ndarray,
        continuum: Callable[[np.ndarray], np.ndarray],
        share: np.ndarray,
    ) -> ObservedLine:
        """A line above what `continuum` gives for whole sources at wavelengths (N, S), of which
        `share`, shape (N,), enters the fiber."""
        return cls(line, redshift, continuum(line.wavelength * (1 + redshift)) * share[:, None])

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
            clear = np.where(seen, sky_lines.is_clear(first, last), clear)
        return clear

    def quantities(self, width: np.ndarray, exposure: Exposure) -> dict[str, np.ndarray]:
        """Flux, signal-to-noise ratio and exposure time for equivalent widths.

        Parameters
        ----------
        width : ndarray, shape (N, S)
            Rest frame [Angstrom], positive in emission.

        Returns
        -------
        dict of str to ndarray, shape (N, S)
            "lineflux" [erg/s/cm2]; "snr", 0 out of range; "exposure_time" [s], `LONGEST` there.
        """
        spectrograph = exposure.spectrograph
        flux = width * (1 + self.redshift) * self.continuum
        snr, time = np.zeros(flux.shape), np.full(flux.shape, LONGEST)
        for arm, seen in self._arms(spectrograph):
            found = self._rates(flux, arm, spectrograph)
            snr = np.where(seen, signal_to_noise(found, exposure.time, spectrograph.readout), snr)
            needed = exposure_time(found, exposure.snr, spectrograph.readout)
            time = np.where(seen, needed, time)
        known = np.isfinite(flux)
        return {
            "lineflux": flux,
            "snr": np.where(known, snr, np.nan),
            "exposure_time": np.where(known, time, np.nan),
        }

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

    def _rates(self, flux: np.ndarray, arm: Arm, spectrograph: Spectrograph) -> Rates:
        width = effective_width(self.wavelength, self.line.offsets, self.line.shares, arm)
        return rates(flux, self.continuum, self.wavelength, width, arm, spectrograph)
