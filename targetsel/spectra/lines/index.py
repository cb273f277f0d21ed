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
from itertools import combinations
from typing import Any

import numpy as np
import scipy  # whose `special` is imported when it is first used

from targetsel.spectra.grid import SpectrumPixels, WavelengthBand
from targetsel.spectra.proxies import module_of

SPEED_OF_LIGHT = 299_792.458  # [km/s]
# Least measured share of a line band, and of a side band.
LEAST_OF_LINE, LEAST_OF_SIDE = 0.9, 0.5
# Of a fit: smallest singular value over the largest, and squared pixels lost in rounding.
LEAST_SINGULAR, ROUNDING = 1e-8, 1e-12
AT_ONCE = 256  # spectra that are fitted at once


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
    slopes : callable, optional
        Function from the moments (K, n) to the derivatives (K, n) of the index by each, where
        complex steps would be slow.
    of_tensors : bool
        Whether `value` takes tensors, too.
    """

    run: slice
    rows: np.ndarray
    value: Callable[[Any], Any]
    rows_of: Callable[[np.ndarray], np.ndarray]
    slopes: Callable[[np.ndarray], np.ndarray] | None = None
    of_tensors: bool = False

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

    def at(self, wavelength: np.ndarray | float, means: Any) -> Any:
        """The continuum at M wavelengths, (M, ...), from the means of the sides (2, ...)."""
        span = self.red.centre - self.blue.centre
        along = (np.atleast_1d(wavelength) - self.blue.centre) / span
        along = along.reshape(-1, *[1] * (means.ndim - 1))
        if module_of(means) is not np:
            along = means.new_tensor(along)
        return means[0] + along * (means[1] - means[0])


# A line, or lines of a fixed ratio: (vacuum wavelength [Angstrom], strength) of each.
Profile = tuple[tuple[float, float], ...]


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

        def value(moments: Any) -> Any:
            continuum = self.sides.at(centres, moments[:2])
            with np.errstate(divide="ignore", invalid="ignore"):
                width = self._scaled((moments[2:] / continuum).sum(axis=0))
            return module_of(width).where((continuum.real > 0).all(axis=0), width, np.nan)

        return Estimator(run, np.concatenate([means, light]), value, rows_of, of_tensors=True)

    def counted_share(self, lines: Profile, sigma: float) -> float:
        """Share of the flux of Gaussian lines that the width counts.

        It is what falls into the line's band, less what raises the continuum between the side
        bands. Lines on a bright continuum lose this share of their width; strong ones slightly
        less.

        Parameters
        ----------
        lines : Profile
            Lines whose strengths add up to 1.
        sigma : float
            Velocity dispersion [km/s] with all smoothing, the pixels' included.
        """

        def within(band: WavelengthBand) -> float:
            ends = np.array([band.start, band.end])
            share = 0.0
            for wavelength, strength in lines:
                below = scipy.special.ndtr((ends / wavelength - 1) * SPEED_OF_LIGHT / sigma)
                share += strength * float(below[1] - below[0])
            return share

        means = [within(side) / side.width for side in (self.sides.blue, self.sides.red)]
        continuum = self.sides.at(self.line.centre, np.array(means))[0]
        return within(self.line) - self.line.width * float(continuum)

    def _scaled(self, relative: Any) -> Any:
        """The index, from the integral of flux over continuum [Angstrom]."""
        if self.scale == "magnitude":
            return -2.5 * module_of(relative).log10(relative / self.line.width)
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

        def value(moments: Any) -> Any:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = moments[1] / moments[0]
            return module_of(ratio).where(moments[0].real > 0, ratio, np.nan)

        return Estimator(run, means * squared, value, rows_of, of_tensors=True)


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


@dataclass(frozen=True)
class Fit:
    """Equivalent width [Angstrom], positive in emission, from fits of Gaussians.

    Gaussians at fixed wavelengths and a straight line are fitted by unweighted least squares to the
    pixels of a band, which separates blended lines. Each line is a sum of Gaussians with free
    amplitudes: of two breadths, in a fit for each pair of `sigma`, and of every other breadth, in
    one more fit. No single pair suits every line (80 and 250 km/s are wrong by a tenth at 150), and
    many breadths at once add half to the noise; so strengths and levels are averaged over all fits.

    Weights are the fits' likelihoods for noise of unknown size, R^(-(p - q) / 2) with R the sum of
    squared residuals of p pixels and q the most columns, times p^(-1 / 2) for each further column
    (Schwarz 1978, Ann. Statist. 6, 461). Where noise hides the breadth, all pairs count alike;
    where it does not, the best do; and many breadths count where no pair fits.

    Attributes
    ----------
    band : WavelengthBand
        The fitted band.
    profile : Profile
        The measured line. The width is that of its first wavelength.
    beside : tuple of Profile
        Other lines in the band.
    sigma : tuple of floats
        Velocity dispersions [km/s] of lines as they reach the pixels, so with the instrument's
        smoothing; that by the pixels is part of the fit.
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
        run, _ = pixels.overlap(self.band)
        n = len(self.sigma)
        fits = _AveragedFits.of(*self._designs(pixels, run, self._chosen))
        three = tuple(sorted({0, n // 2, n - 1}))
        filler = self._designs(pixels, run, [three])[0][0]

        def rows_of(measured: np.ndarray) -> np.ndarray:
            # A masked pixel takes the value of a fit of three breadths to the others.
            known = measured[:, :, None]
            solved = np.linalg.pinv(filler * known, rcond=LEAST_SINGULAR) * known.swapaxes(1, 2)
            return np.where(known, np.eye(len(filler)), filler @ solved)

        return Estimator(run, np.eye(len(filler)), fits.value, rows_of, fits.slopes)

    @property
    def _chosen(self) -> list[tuple[int, ...]]:
        """The breadths of each fit, by their places in `sigma`."""
        n = len(self.sigma)
        half = tuple(int(each) for each in np.linspace(0, n - 1, n // 2).round())
        return list(combinations(range(n), min(2, n))) + ([half] if len(half) > 2 else [])

    def _designs(
        self, pixels: SpectrumPixels, run: slice, chosen: list[tuple[int, ...]]
    ) -> tuple[np.ndarray, int]:
        """Design matrices (M, p, q) of p pixels, and the number of their columns for each line.

        Columns are the level at the measured line, the slope, and lines of unit flux, the measured
        one first; they are zero beyond a fit's own breadths.
        """
        edges = pixels.edges[run.start : run.stop + 1]
        lines = np.zeros((1 + len(self.beside), len(self.sigma) + 1, len(edges) - 1))
        for line, profile in zip(lines, (self.profile, *self.beside), strict=True):
            for wavelength, strength in profile:
                scale = np.sqrt(2) * wavelength * np.array(self.sigma)[:, None] / SPEED_OF_LIGHT
                below = scipy.special.erf((edges - wavelength) / scale) / 2
                line[:-1] += strength * np.diff(below) / np.diff(edges)
        distance = (pixels.centres[run] - self.profile[0][0]) / self.band.width
        most = max(map(len, chosen))
        padded = [[*each, *[-1] * (most - len(each))] for each in chosen]  # the last line is zero
        columns = [
            np.stack([np.ones_like(distance), distance, *np.concatenate(lines[:, each])], axis=1)
            for each in padded
        ]
        return np.array(columns), most


@dataclass(frozen=True, eq=False)
class _AveragedFits:
    """Linear fits of M designs to the same p pixels, averaged by how well they fit.

    Attributes
    ----------
    strength, level : ndarray, shape (M, p)
        Weights of the pixels in each fit's flux of the line, and level of the continuum at it.
    spanned : ndarray, shape (M, p, q)
        Orthonormal columns that span each design, zero where it lacks rank.
    rank : ndarray, shape (M,)
    """

    strength: np.ndarray
    level: np.ndarray
    spanned: np.ndarray
    rank: np.ndarray

    @classmethod
    def of(cls, designs: np.ndarray, n_breadths: int) -> _AveragedFits:
        """Fits of designs (M, p, q): the level, the slope, `n_breadths` columns of the line, ..."""
        left, size, right = np.linalg.svd(designs, full_matrices=False)
        kept = size > LEAST_SINGULAR * size[:, :1]
        inverse = np.divide(1.0, size, out=np.zeros_like(size), where=kept)
        solved = (right.swapaxes(1, 2) * inverse[:, None]) @ left.swapaxes(1, 2)
        strength = solved[:, 2 : 2 + n_breadths].sum(axis=1)
        return cls(strength, solved[:, 0], left * kept[:, None], kept.sum(axis=1))

    def value(self, flux: np.ndarray) -> np.ndarray:
        """Equivalent width (...) from the pixels (p, ...); NaN where the level is not positive."""
        pixels = flux.reshape(len(flux), -1)
        widths = np.empty(pixels.shape[1])
        for start in range(0, len(widths), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            strength, level, _, _ = self._average(pixels[:, some])
            widths[some] = _width(strength, level)
        return widths.reshape(flux.shape[1:])

    def slopes(self, flux: np.ndarray) -> np.ndarray:
        """Derivatives (p, n) of the width by the pixels (p, n)."""
        strength, level, weights, residuals = self._average(flux)
        # d log(weight) / d pixel is -(p - q) residual / R.
        freedom = self._freedom * weights[:, None] * residuals / _squares(residuals, flux)[:, None]

        def slope(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
            return rows.T @ weights - np.einsum("mn,mpn->pn", rows @ flux - mean, freedom)

        width = _width(strength, level)
        return (slope(self.strength, strength) - width * slope(self.level, level)) / level

    @property
    def _freedom(self) -> int:
        return max(self.strength.shape[1] - int(self.rank.max()), 1)

    def _average(self, flux: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Strength and level (n,), weights of the fits (M, n) and their residuals (M, p, n)."""
        residuals = flux - self.spanned @ (self.spanned.swapaxes(1, 2) @ flux)
        likelihood = -0.5 * self._freedom * np.log(_squares(residuals, flux))
        likelihood -= 0.5 * np.log(len(flux)) * self.rank[:, None]
        weights = np.exp(likelihood - likelihood.max(axis=0))
        weights /= weights.sum(axis=0)
        strength, level = (
            (weights * (rows @ flux)).sum(axis=0) for rows in (self.strength, self.level)
        )
        return strength, level, weights, residuals


def _squares(residuals: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Sums of squared residuals (M, n), with what rounding leaves of the pixels (p, n)."""
    lost = ROUNDING * (flux**2).sum(axis=0)
    return (residuals**2).sum(axis=1) + np.where(lost > 0, lost, 1.0)


def _width(strength: np.ndarray, level: np.ndarray) -> np.ndarray:
    return np.divide(strength, level, out=np.full(level.shape, np.nan), where=level > 0)


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
