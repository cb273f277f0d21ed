"""The prior of a redshift: a density on a range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from targetsel.errors import SpectrumError

HIGHEST = 10.0
REACH = 4.0  # standard deviations of a Gaussian to either side
N_KNOTS = 513


@dataclass(frozen=True)
class RedshiftPrior:
    """A density of the redshift, piecewise linear between knots and zero beyond them.

    Attributes
    ----------
    redshift : ndarray, shape (Z,)
        Knots, increasing.
    density : ndarray, shape (Z,)
        Density per unit redshift; its integral is scaled to 1.
    """

    redshift: np.ndarray
    density: np.ndarray

    def __post_init__(self) -> None:
        z, density = self.redshift, self.density
        if z.ndim != 1 or len(z) < 2 or z.shape != density.shape:
            raise SpectrumError(
                f"redshift prior: redshifts of shape {z.shape} and densities of shape "
                f"{density.shape}, expected at least two of each"
            )
        if not (np.isfinite(z).all() and (np.diff(z) > 0).all()):
            raise SpectrumError("redshift prior: its redshifts do not increase; sort them")
        if z[0] < 0 or z[-1] > HIGHEST:
            raise SpectrumError(
                f"redshift prior: runs from {z[0]:.6g} to {z[-1]:.6g}, expected 0 to {HIGHEST:g}"
            )
        if not (np.isfinite(density).all() and (density >= 0).all() and density.any()):
            raise SpectrumError(
                "redshift prior: expected densities of at least 0, and one that is more"
            )
        object.__setattr__(self, "density", density / np.trapezoid(density, z))

    @classmethod
    def flat(cls, low: float, high: float) -> RedshiftPrior:
        """A uniform density between two redshifts."""
        return cls(np.array([low, high], float), np.ones(2))

    @classmethod
    def gaussian(cls, redshift: float, error: float) -> RedshiftPrior:
        """A Gaussian, cut off at 4 standard deviations and at 0.

        Raises
        ------
        SpectrumError
            If the redshift is missing, negative or too large, or the error is not positive.
        """
        if not 0 <= redshift <= HIGHEST:
            raise SpectrumError(f"redshift is {redshift:.6g}, expected 0 to {HIGHEST:g}")
        if not 0 < error <= HIGHEST:
            raise SpectrumError(f"error of the redshift is {error:.6g}, expected more than 0")
        low, high = redshift - REACH * error, redshift + REACH * error
        z = np.linspace(max(low, 0.0), min(high, HIGHEST), N_KNOTS)
        return cls(z, np.exp(-0.5 * ((z - redshift) / error) ** 2))

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest redshift."""
        return float(self.redshift[0]), float(self.redshift[-1])

    def log_density(self, stretch: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density of log10(1 + redshift), at values of any shape."""
        z = 10**stretch - 1
        density = np.interp(z, self.redshift, self.density, left=0.0, right=0.0)
        with np.errstate(divide="ignore"):
            return np.log(density * (1 + z) * np.log(10))
