"""Spectra given latents: the decoder, and what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from targetsel.priors.residual import SpectralResidual
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.decoder import FILE_NAME, Decoder
from targetsel.spectra.grid import N_PIXELS
from targetsel.tables.files import sha256_of_file

FINENESS = 8  # steps to a pixel of `SpectralModel.fine`


@dataclass(frozen=True)
class SpectralModel:
    """A spectrum is the decoded latents, plus a Gaussian residual that depends on them."""

    decoder: Decoder
    residual: SpectralResidual

    @classmethod
    def read(cls, ensemble: str | Path) -> SpectralModel:
        """The model of an ensemble: a folder, or a shipped one's name.

        Raises
        ------
        EnsembleError
        """
        folder = find_ensemble(ensemble)
        residual = SpectralResidual.read(folder, sha256_of_file(folder / FILE_NAME))
        return cls(Decoder.read(folder / FILE_NAME), residual)

    def decode(self, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean spectrum of each of S latents (S, D), and the range of its residual.

        Returns
        -------
        flux : ndarray, shape (S, 1000)
        ranges : ndarray, shape (S,)
        """
        decoded = self.decoder.decode(latents[None]).flux[0].astype(np.float64)
        ranges = self.residual.range_of(decoded)
        return decoded + self.residual.offset[ranges], ranges

    def draw(self, latents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One spectrum for each of S latents, with a draw of the residual, shape (S, 1000)."""
        flux, ranges = self.decode(latents)
        directions = rng.standard_normal((len(latents), self.residual.factor.shape[2]))
        return self.complete(flux, ranges, directions, rng)

    def complete(
        self,
        flux: np.ndarray,
        ranges: np.ndarray,
        directions: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Spectra (S, 1000) with residuals, given their normal scores (S, Q) along the factor.

        What each pixel has for itself is drawn.
        """
        deviation = np.sqrt(self.residual.variance)[ranges]
        flux = flux + rng.standard_normal(flux.shape) * deviation
        for k in np.unique(ranges):
            rows = ranges == k
            flux[rows] += directions[rows] @ self.residual.factor[k].T
        return flux

    @cached_property
    def fine(self) -> np.ndarray:
        """The residual's factor, and its variance last, shape (R, F, Q + 1).

        On F = 8 x 999 + 1 points from the first pixel to the last.
        """
        pixels = np.arange(N_PIXELS)
        points = np.arange((N_PIXELS - 1) * FINENESS + 1) / FINENESS
        factor = CubicSpline(pixels, self.residual.factor, axis=1)(points)
        variance = [np.interp(points, pixels, each) for each in self.residual.variance]
        return np.concatenate([factor, np.array(variance)[..., None]], axis=2)
