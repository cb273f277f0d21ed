"""Other galaxies and stars that happen to lie near a mock source."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from targetsel.mock.images import Light
from targetsel.mock.profiles import Canvas
from targetsel.mock.spirals import ellipse
from targetsel.mock.survey import Survey


@dataclass(frozen=True)
class Population:
    """A kind of neighbour.

    Attributes
    ----------
    number : float
        How many lie in a square of 16 arcsec on average.
    slope, brightest, faintest : float
        Of the counts, log10(N) = slope m, between two r magnitudes.
    kelvin : float
        Median colour temperature, which scatters by a quarter.
    """

    number: float
    slope: float
    brightest: float
    faintest: float
    kelvin: float

    def magnitude(self, chance: float) -> float:
        """r magnitude at a quantile of the counts."""
        bright, faint = 10 ** (self.slope * self.brightest), 10 ** (self.slope * self.faintest)
        return math.log10(bright + chance * (faint - bright)) / self.slope


# Set by hand.
GALAXIES = Population(number=0.5, slope=0.35, brightest=15.5, faintest=22.5, kelvin=5000.0)
STARS = Population(number=0.15, slope=0.15, brightest=14.5, faintest=22.0, kelvin=4500.0)
SQUARE = 16.0  # arcsec
CLEARANCE = 2.0  # arcsec; what lies closer would be one source with it
RED = 4400.0  # Kelvin; galaxies below are drawn as spheroids


def draw_neighbours(
    survey: Survey, canvas: Canvas, side: float, factor: float, rng: np.random.Generator
) -> Light | None:
    """The light of everything near one source, or None where there is nothing.

    Parameters
    ----------
    side : float
        Of the cutout [arcsec]; neighbours up to an arcsec outside are drawn.
    factor : float
        More of them than there should be.
    """
    transforms, fluxes = [], []
    half = side / 2 + 1.0
    for kind in (GALAXIES, STARS):
        for _ in range(rng.poisson(factor * kind.number * (2 * half / SQUARE) ** 2)):
            x, y = rng.uniform(-half, half, 2)
            magnitude = kind.magnitude(rng.random())
            kelvin = float(np.clip(kind.kelvin * np.exp(0.25 * rng.normal()), 3200, 9000))
            shape = rng.random(3)
            if np.hypot(x, y) < CLEARANCE:
                continue
            light = canvas.shift(x, y)
            if kind is GALAXIES:
                light = light * _galaxy(canvas, magnitude, kelvin, shape)
            transforms.append(light)
            fluxes.append(10 ** (-0.4 * (magnitude - 22.5)) * blackbody(survey.wavelength, kelvin))
    return Light(np.array(transforms), np.array(fluxes)) if fluxes else None


def blackbody(wavelength: np.ndarray, kelvin: float) -> np.ndarray:
    """Flux density per unit frequency over that at 6200 Angstrom, shape (B,)."""

    def planck(angstrom: np.ndarray) -> np.ndarray:
        return angstrom**-3.0 / np.expm1(1.438777e8 / (angstrom * kelvin))

    return planck(wavelength) / planck(np.array(6200.0))


def _galaxy(canvas: Canvas, magnitude: float, kelvin: float, shape: np.ndarray) -> np.ndarray:
    """A smooth galaxy; sizes fall with magnitude from 2.4 arcsec at r = 18 with 0.2 dex scatter."""
    radius = 10 ** (0.38 - 0.13 * (magnitude - 18) + 0.35 * (shape[0] + shape[1] - 1))
    moments = ellipse(radius, 0.25 + 0.75 * shape[1], 2 * np.pi * shape[2])
    return canvas.sersic(4.0 if kelvin < RED else 1.0, moments)
