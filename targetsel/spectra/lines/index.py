"""Indices: numbers measured on a spectrum from weighted sums of its pixels.

Every index is calculated in two steps: a few *moments*, each a weighted sum of pixels (the mean of
a side band, the flux of one pixel of the line), and then a short formula of these moments. Since
the first step is linear it can be folded into the last layer of a decoder, a mask only changes
weights, and the errors of pixels propagate exactly. All three uses share the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy  # whose `special` is imported when it is first used

from targetsel.spectra.grid import SpectrumPixels, WavelengthBand

SPEED_OF_LIGHT = 299_792.458  # [km/s]
# Least measured share of a line band, and of a side band.
LEAST_OF_LINE, LEAST_OF_SIDE = 0.9, 0.5


@dataclass(frozen=True, eq=False)
class Estimator:
    """An index on given pixels.

    Attributes
    ----------
    run : slice
        The p pixels that it uses.
    rows : ndarray, shape (K, p)
        Weights of these pixels in each of the K moments.
    value : callable
        Function from the moments (K, ...), which may be complex, to the index (...); NaN where
        the continuum is not positive.
    rows_of : callable
        Function from masks of measured pixels (N, p) to the rows of N spectra (N, K, p).
    """

    run: slice
    rows: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]
    rows_of: Callable[[np.ndarray], np.ndarray]

    def moments(self, flux: np.ndarray) -> np.ndarray:
        """Moments of shape (K, ...) of spectra (..., L)."""
        return np.moveaxis(flux[..., self.run].astype(np.float64) @ self.rows.T, -1, 0)


@dataclass(frozen=True)
class SideBands:
    """The straight-line continuum through the means of two side bands, at their centres."""

    blue: WavelengthBand
    red: WavelengthBand

    @property
    def bands(self) -> tuple[tuple[WavelengthBand, float], ...]:
        """The bands, and the least measured share of each."""
        return (self.blue, LEAST_OF_SIDE), (self.red, LEAST_OF_SIDE)

    def at(self, wavelength: np.ndarray | float, means: np.ndarray) -> np.ndarray:
        """The continuum at M wavelengths, (M, ...), from the means of the sides (2, ...)."""
        span = self.red.centre - self.blue.centre
        along = (np.atleast_1d(wavelength) - self.blue.centre) / span
        return means[0] + along.reshape(-1, *[1] * (means.ndim - 1)) * (means[1] - means[0])


@dataclass(frozen=True)
class Width:
    """Equivalent width of a line [Angstrom], or an index in magnitudes.

    Worthey et al. (1994, ApJS 94, 687), eqs. 2 and 3; pixels are weighted by their fraction inside
    a band. A masked pixel of the line takes the value of the continuum.

    Attributes
    ----------
    scale : str
        "emission" or "absorption": the sign convention of the width; "magnitude" is positive in
        absorption.
    """

    line: WavelengthBand
    sides: SideBands
    scale: str = "emission"

    @property
    def bands(self) -> tuple[tuple[WavelengthBand, float], ...]:
        return (self.line, LEAST_OF_LINE), *self.sides.bands

    @property
    def features(self) -> tuple[WavelengthBand, ...]:
        """Bands of the line or break itself, without its side bands."""
        return (self.line,)

    def on(self, pixels: SpectrumPixels) -> Estimator:
        run = _run(pixels, self.bands)
        overlap = _overlap(pixels, run, self.line)
        touched = np.flatnonzero(overlap)
        centres = pixels.centres[run][touched]
        means = _mean_rows(pixels, run, (self.sides.blue, self.sides.red))
        light = np.diag(overlap)[touched]

        def rows_of(measured: np.ndarray) -> np.ndarray:
            sides = _over_measured(means, measured)
            filled = self.sides.at(centres, sides.swapaxes(0, 1)).swapaxes(0, 1)
            known = measured[:, touched, None]
            lights = np.where(known, light, overlap[touched, None] * filled)
            return np.concatenate([sides, lights], axis=1)

        def value(moments: np.ndarray) -> np.ndarray:
            continuum = self.sides.at(centres, moments[:2])
            with np.errstate(divide="ignore", invalid="ignore"):
                width = self._scaled((moments[2:] / continuum).sum(axis=0))
            return np.where((continuum.real > 0).all(axis=0), width, np.nan)

        return Estimator(run, np.concatenate([means, light]), value, rows_of)

    def _scaled(self, relative: np.ndarray) -> np.ndarray:
        """The index, from the integral of flux over continuum [Angstrom]."""
        if self.scale == "magnitude":
            return -2.5 * np.log10(relative / self.line.width)
        width = relative - self.line.width
        return width if self.scale == "emission" else -width


@dataclass(frozen=True)
class Break:
    """Ratio of the mean flux per unit *frequency* in two bands, red over blue.

    Bruzual (1983, ApJ 273, 105); Balogh et al. (1999, ApJ 527, 54). NaN where the blue band's mean
    is not positive.
    """

    blue: WavelengthBand
    red: WavelengthBand

    @property
    def bands(self) -> tuple[tuple[WavelengthBand, float], ...]:
        return (self.blue, LEAST_OF_SIDE), (self.red, LEAST_OF_SIDE)

    @property
    def features(self) -> tuple[WavelengthBand, ...]:
        """Bands of the line or break itself, without its side bands."""
        return self.blue, self.red

    def on(self, pixels: SpectrumPixels) -> Estimator:
        run = _run(pixels, self.bands)
        means = _mean_rows(pixels, run, (self.blue, self.red))
        squared = pixels.centres[run] ** 2

        def rows_of(measured: np.ndarray) -> np.ndarray:
            return _over_measured(means, measured) * squared

        def value(moments: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(moments[0].real > 0, moments[1] / moments[0], np.nan)

        return Estimator(run, means * squared, value, rows_of)


@dataclass(frozen=True)
class Level:
    """Flux density of the continuum at the centre of a line, in the spectrum's own unit."""

    line: WavelengthBand
    sides: SideBands

    @property
    def bands(self) -> tuple[tuple[WavelengthBand, float], ...]:
        return self.sides.bands

    @property
    def features(self) -> tuple[WavelengthBand, ...]:
        """Bands of the line or break itself, without its side bands."""
        return ()

    def on(self, pixels: SpectrumPixels) -> Estimator:
        run = _run(pixels, self.bands)
        means = _mean_rows(pixels, run, (self.sides.blue, self.sides.red))

        def rows_of(measured: np.ndarray) -> np.ndarray:
            return _over_measured(means, measured)

        def value(moments: np.ndarray) -> np.ndarray:
            return self.sides.at(self.line.centre, moments)[0]

        return Estimator(run, means, value, rows_of)


# A line, or lines of a fixed ratio: (vacuum wavelength [Angstrom], strength) of each.
Profile = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Fit:
    """Equivalent width [Angstrom], positive in emission, from a linear fit of Gaussians.

    Gaussians at fixed wavelengths and a straight line are fitted by unweighted least squares to the
    pixels of a band, which separates blended lines. Each line is the sum of Gaussians of fixed
    widths with free amplitudes: a single width would also keep the fit linear, but be wrong by a
    fifth for lines that are a half broader.

    Attributes
    ----------
    band : WavelengthBand
        The fitted band.
    profile : Profile
        The measured line. The width is that of its first wavelength.
    beside : tuple of Profile
        Other lines in the band.
    sigma : tuple of floats
        Velocity dispersions of the Gaussians [km/s].
    """

    band: WavelengthBand
    profile: Profile
    beside: tuple[Profile, ...]
    sigma: tuple[float, ...]

    @property
    def bands(self) -> tuple[tuple[WavelengthBand, float], ...]:
        centre = self.profile[0][0]
        reach = 2 * centre * min(self.sigma) / SPEED_OF_LIGHT
        return (self.band, LEAST_OF_SIDE), (
            WavelengthBand(centre - reach, centre + reach),
            LEAST_OF_LINE,
        )

    @property
    def features(self) -> tuple[WavelengthBand, ...]:
        """Bands of the line or break itself, without its side bands."""
        return (self.bands[1][0],)

    def on(self, pixels: SpectrumPixels) -> Estimator:
        run = _run(pixels, self.bands)
        design = self._design(pixels, run)
        inside = _overlap(pixels, run, self.band) > 0

        def rows_of(measured: np.ndarray) -> np.ndarray:
            weight = (measured & inside)[:, :, None]
            solved = np.linalg.pinv(design * weight) * weight.swapaxes(1, 2)
            strength = solved[:, : len(self.sigma)].sum(axis=1)
            return np.stack([strength, solved[:, -2]], axis=1)

        def value(moments: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(moments[1].real > 0, moments[0] / moments[1], np.nan)

        return Estimator(run, rows_of(np.ones((1, len(inside)), dtype=bool))[0], value, rows_of)

    def _design(self, pixels: SpectrumPixels, run: slice) -> np.ndarray:
        """Design matrix of p pixels: lines of unit flux, the level at the line, and the slope."""
        edges = pixels.edges[run.start : run.stop + 1]
        columns = []
        for profile in (self.profile, *self.beside):
            for sigma in self.sigma:
                column = np.zeros(len(edges) - 1)
                for wavelength, strength in profile:
                    scale = np.sqrt(2) * wavelength * sigma / SPEED_OF_LIGHT
                    below = scipy.special.erf((edges - wavelength) / scale) / 2
                    column += strength * np.diff(below) / np.diff(edges)
                columns.append(column)
        distance = (pixels.centres[run] - self.profile[0][0]) / self.band.width
        return np.stack([*columns, np.ones_like(distance), distance], axis=1)


Index = Width | Break | Level | Fit


@cache
def on_decoder(index: Index) -> Estimator:
    """Estimator of an index on the pixels of decoded spectra."""
    return index.on(SpectrumPixels.of_decoder())


def on(index: Index, pixels: SpectrumPixels) -> Estimator:
    """Estimator of an index on given pixels.

    Raises
    ------
    SpectrumError
        If one of its bands reaches beyond them.
    """
    return on_decoder(index) if pixels is SpectrumPixels.of_decoder() else index.on(pixels)


def _run(pixels: SpectrumPixels, bands: tuple[tuple[WavelengthBand, float], ...]) -> slice:
    """The pixels from the first band to the last."""
    runs = [pixels.overlap(band)[0] for band, _ in bands]
    return slice(min(run.start for run in runs), max(run.stop for run in runs))


def _overlap(pixels: SpectrumPixels, run: slice, band: WavelengthBand) -> np.ndarray:
    """Width of each pixel of a run inside a band [Angstrom], shape (p,)."""
    overlap = np.zeros(run.stop - run.start)
    touched, values = pixels.overlap(band)
    overlap[touched.start - run.start : touched.stop - run.start] = values
    return overlap


def _mean_rows(pixels: SpectrumPixels, run: slice, bands: tuple[WavelengthBand, ...]) -> np.ndarray:
    """Weights of the pixels in each band's mean, shape (bands, p)."""
    overlap = np.array([_overlap(pixels, run, band) for band in bands])
    return overlap / overlap.sum(axis=1, keepdims=True)


def _over_measured(rows: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Weights of means (B, p), renormalised over measured pixels (N, p), shape (N, B, p)."""
    weights = rows * measured[:, None]
    total = weights.sum(axis=2, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)
