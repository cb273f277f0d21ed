"""Measured spectra in the rest frame on the decoder's grid, with their gaps filled.

Gaps are filled as in Yip et al. (2004, AJ 128, 585) and Portillo et al. (2020, AJ 160, 45): the
masked pixels of a spectrum are replaced by the best combination of a basis of principal components,
fitted to the others. The basis is for spectra of unit sum of squares, and that sum includes the
replaced pixels, so the fit is iterated. The shipped basis was fitted to the mock sky's spectra
(`examples/make_spectral_basis.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import N_PIXELS, edges, edges_between, wavelengths
from targetsel.spectra.spectrum import ERROR_FLOOR, MeasuredSpectra, ObservedSpectrum
from targetsel.tables.files import written_beside
from targetsel.tables.numpy_files import read_npz
from targetsel.tables.reading import reading

LEAST_COVERED = 0.5  # least measured share of a pixel, and of the grid
SPIKE = 1.5  # error over its smoothed surroundings that marks a sky line or bad pixel
_SMOOTH = 5  # [pixel]
N_COMPONENTS = 10
N_ITERATIONS = 20


def rest_frame(spectra: Sequence[ObservedSpectrum]) -> MeasuredSpectra:
    """Spectra in the rest frame on the grid, with masked pixels set to 0.

    Besides the pixels already masked, those under spikes of the error (sky lines, bad pixels) are
    masked, with two pixels on either side; nearly as in Portillo et al. (2020, AJ 160, 45).

    Raises
    ------
    SpectrumError
        If a spectrum's unmasked pixels cover less than half of the grid.
    """
    flux, ivar = np.zeros((2, len(spectra), N_PIXELS))
    for row, spectrum in enumerate(spectra):
        flux[row], ivar[row] = _one(spectrum)
    ids = np.array([spectrum.source_id for spectrum in spectra])
    redshift = np.array([spectrum.redshift for spectrum in spectra], dtype=np.float64)
    return MeasuredSpectra(ids, redshift, flux, ivar)


def _one(spectrum: ObservedSpectrum) -> tuple[np.ndarray, np.ndarray]:
    wavelength, flux, ivar = spectrum.at_rest()
    _check_reach(spectrum, wavelength)
    flux, ivar = resample(edges_between(wavelength), flux, ivar, edges())
    ivar[_under_spike(flux, ivar)] = 0
    flux[ivar == 0] = 0
    if (covered := (ivar > 0).mean()) < LEAST_COVERED:
        raise SpectrumError(
            f"{spectrum.place}: unmasked pixels cover {covered:.0%} of the rest-frame grid, "
            f"expected at least {LEAST_COVERED:.0%}"
        )
    return flux, ivar


def resample(
    old: np.ndarray, flux: np.ndarray, ivar: np.ndarray, new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Flux density and inverse variance on other pixels; the flux of unmasked pixels is conserved.

    A new pixel is the mean of the unmasked old pixels in it, weighted by the overlapping width. It
    is masked if these fill less than half of it. Its variance treats the old pixels as
    independent. Neighbouring new pixels that share an old one are correlated; that is ignored.

    Parameters
    ----------
    old, new : ndarray, shapes (L + 1,) and (M + 1,)
        Pixel edges [Angstrom], increasing.
    flux, ivar : ndarray, shape (L,)
        Flux density per unit wavelength; inverse variance, 0 where masked.

    Returns
    -------
    flux, ivar : ndarray, shape (M,)
        Both 0 where masked.
    """
    cuts = np.unique(np.concatenate([old, new]))
    middle, width = 0.5 * (cuts[1:] + cuts[:-1]), np.diff(cuts)
    source = np.searchsorted(old, middle, side="right") - 1
    target = np.searchsorted(new, middle, side="right") - 1
    inside = (source >= 0) & (source < len(flux)) & (target >= 0) & (target < len(new) - 1)
    source, target, width = source[inside], target[inside], width[inside]
    good = ivar[source] > 0
    source, target, width = source[good], target[good], width[good]

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(target, values, minlength=len(new) - 1)

    shared = total(width)
    enough = shared >= LEAST_COVERED * np.diff(new)
    divisor = np.where(enough, shared, 1.0)
    mean = np.where(enough, total(width * flux[source]) / divisor, 0.0)
    variance = total(width**2 / ivar[source]) / divisor**2
    return mean, np.divide(1.0, variance, out=np.zeros_like(variance), where=enough)


def _check_reach(spectrum: ObservedSpectrum, wavelength: np.ndarray) -> None:
    """Check that the spectrum, including its masked pixels, covers half of the grid."""
    first, last = wavelength[[0, -1]]
    grid = wavelengths()
    covered = ((grid >= first) & (grid <= last)).mean()
    if covered < LEAST_COVERED:
        raise SpectrumError(
            f"{spectrum.place}: at redshift {spectrum.redshift:.6g} the spectrum lies at "
            f"{first:.0f}-{last:.0f} Angstrom and covers {covered:.0%} of the rest-frame grid "
            f"({grid[0]:.1f}-{grid[-1]:.1f} Angstrom), expected at least {LEAST_COVERED:.0%}"
        )


def _under_spike(flux: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    """Pixels under a spike of the error, and two on either side, shape (L,).

    An emission line of the source also raises the error, by its photon noise, but raises the flux
    more. So a spike counts only where the signal-to-noise ratio is not above its surroundings'.
    This differs from Portillo et al., whose masks remove the strongest lines.
    """
    good = ivar > 0

    def smooth(values: np.ndarray) -> np.ndarray:
        return gaussian_filter1d(np.where(good, values, 0.0), _SMOOTH)

    share = np.maximum(smooth(np.ones(len(ivar))), 1e-12)
    error = 1 / np.sqrt(np.where(good, ivar, np.inf))
    ratio = flux * np.sqrt(ivar)
    spike = (error >= SPIKE * smooth(error) / share) & (ratio <= smooth(ratio) / share)
    return uniform_filter1d((good & spike).astype(float), 5, mode="constant") > 0.1


@dataclass(frozen=True)
class Basis:
    """Mean and principal components of spectra of unit sum of squares.

    Attributes
    ----------
    mean : ndarray, shape (1000,)
    components : ndarray, shape (K, 1000)
        Orthonormal rows, the largest variance first.
    """

    mean: np.ndarray
    components: np.ndarray

    @classmethod
    def fit(cls, flux: np.ndarray, n_components: int = N_COMPONENTS) -> Basis:
        """The basis of spectra without gaps, of shape (N, 1000)."""
        unit = flux / np.sqrt((flux.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        mean = unit.mean(axis=0)
        unit -= mean
        _, vectors = np.linalg.eigh(unit.T @ unit)
        rows = vectors[:, ::-1][:, :n_components].T
        largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
        return cls(mean, rows * np.sign(largest))

    @classmethod
    def read(cls, path: Path) -> Basis:
        """The basis in an .npz file that `write` wrote.

        Raises
        ------
        SpectrumError
            If the file is no basis on the decoder's grid.
        """
        arrays = read_npz(path, ("mean", "components"), SpectrumError, "a spectral basis")
        with reading(path, SpectrumError, "a spectral basis"):
            basis = cls(*(each.astype(np.float64) for each in arrays.values()))
        if basis.mean.shape != (N_PIXELS,) or basis.components.shape[1:] != (N_PIXELS,):
            raise SpectrumError(
                f"{path}: not a spectral basis on the rest-frame grid; expected {N_PIXELS} pixels"
            )
        return basis

    @staticmethod
    @cache
    def shipped() -> Basis:
        """The shipped basis: ten components of the mock spectra that the shipped decoder learnt."""
        return Basis.read(Path(str(files("targetsel.spectra") / "data" / "basis.npz")))

    def write(self, path: Path) -> None:
        """Write the basis as .npz, in single precision."""
        with written_beside(path) as beside, open(beside, "wb") as stream:
            np.savez_compressed(
                stream,
                mean=self.mean.astype(np.float32),
                components=self.components.astype(np.float32),
            )

    def reconstruct(self, unit: np.ndarray, ivar: np.ndarray) -> np.ndarray:
        """Least-squares combination for one spectrum of unit sum of squares, shape (1000,).

        Parameters
        ----------
        unit, ivar : ndarray, shape (1000,)
            Flux density, and its inverse variance in the same unit; 0 where masked.
        """
        weight = ivar / (1 + ivar * ERROR_FLOOR)
        weighted = self.components * weight
        normal = weighted @ self.components.T
        normal[np.diag_indices_from(normal)] *= 1 + 1e-10
        return self.mean + np.linalg.solve(normal, weighted @ (unit - self.mean)) @ self.components


def fill_gaps(spectra: MeasuredSpectra) -> MeasuredSpectra:
    """The spectra with their masked pixels replaced; `ivar` stays 0 there.

    Raises
    ------
    SpectrumError
        If a spectrum is not positive on average.
    """
    basis = Basis.shipped()
    flux = spectra.flux.copy()
    for row, ivar in enumerate(spectra.ivar):
        if not flux[row, ivar > 0] @ basis.mean[ivar > 0] > 0:
            raise SpectrumError(
                f"spectrum {spectra.source_id[row]} is not positive on average, so its gaps "
                "cannot be filled. Check its sky subtraction."
            )
        flux[row] = _fill(flux[row], ivar, basis)
    return replace(spectra, flux=flux)


def _fill(flux: np.ndarray, ivar: np.ndarray, basis: Basis) -> np.ndarray:
    gap = ivar == 0
    if not gap.any():
        return flux
    scale = (flux[~gap] @ basis.mean[~gap]) / (basis.mean[~gap] ** 2).sum()
    model = scale * basis.mean
    for _ in range(N_ITERATIONS):
        norm = np.sqrt((model**2).sum())  # robust to a few wrong pixels of the flux
        before, model = model, norm * basis.reconstruct(flux / norm, ivar * norm**2)
        if np.abs(model - before)[gap].max() < 1e-7 * norm:
            break
    return np.where(gap, model, flux)
