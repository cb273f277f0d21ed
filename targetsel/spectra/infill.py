"""Gaps in measured spectra, filled from a basis of principal components.

As in Yip et al. (2004, AJ 128, 585) and Portillo et al. (2020, AJ 160, 45): the masked pixels of a
spectrum are replaced by the best combination of the basis, fitted to the others; since the basis
describes spectra of unit sum of squares, and that sum holds the replaced pixels, this is repeated.
The basis that ships is learnt from the mock sky's spectra (`examples/make_spectral_basis.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import N_PIXELS
from targetsel.spectra.measured import ERROR_FLOOR, MeasuredSpectra
from targetsel.tables.files import written_beside

N_COMPONENTS = 10
N_ITERATIONS = 20


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
        try:
            with open(path, "rb") as stream:
                arrays = np.load(stream, allow_pickle=False)
                basis = cls(
                    arrays["mean"].astype(np.float64), arrays["components"].astype(np.float64)
                )
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise SpectrumError(f"{path}: not a spectral basis ({error})") from None
        if basis.mean.shape != (N_PIXELS,) or basis.components.shape[1:] != (N_PIXELS,):
            raise SpectrumError(f"{path}: not a spectral basis of {N_PIXELS} pixels")
        return basis

    @staticmethod
    @cache
    def shipped() -> Basis:
        """Ten components of the mock spectra that the shipped decoder has learnt."""
        return Basis.read(Path(str(files("targetsel.spectra") / "data" / "basis.npz")))

    def write(self, path: Path) -> None:
        with written_beside(path) as beside, open(beside, "wb") as stream:
            np.savez_compressed(
                stream,
                mean=self.mean.astype(np.float32),
                components=self.components.astype(np.float32),
            )

    def reconstruct(self, unit: np.ndarray, ivar: np.ndarray) -> np.ndarray:
        """The best combination for one spectrum of unit sum of squares, shape (1000,).

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


def fill_gaps(spectra: MeasuredSpectra, basis: Basis | None = None) -> MeasuredSpectra:
    """The spectra with their masked pixels replaced; `ivar` stays 0 there."""
    basis = basis or Basis.shipped()
    flux = spectra.flux.copy()
    for row, ivar in enumerate(spectra.ivar):
        if not flux[row, ivar > 0] @ basis.mean[ivar > 0] > 0:
            raise SpectrumError(
                f"spectrum {spectra.source_id[row]} is not positive on average, so it can be "
                "neither filled nor scaled: sky subtraction?"
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
        norm = np.sqrt((model**2).sum())  # of the model: a few wrong pixels would spoil the flux's
        before, model = model, norm * basis.reconstruct(flux / norm, ivar * norm**2)
        if np.abs(model - before)[gap].max() < 1e-7 * norm:
            break
    return np.where(gap, model, flux)
