"""Company of a source as real ones have it: blends, galaxies around it, colours that scatter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from targetsel.mock.camera import Camera
from targetsel.mock.images import (
    GALAXIES,
    Canvas,
    Light,
    Population,
    blackbody,
    smooth_galaxy,
)
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT

# Colours of neighbours, from 37 stars and 68 galaxies in the mosaic of benchmarks/real_images.py:
# of a blackbody of this temperature, plus what is left at some wavelengths [mag], plus scatter in
# each band [mag].
KELVIN = 4200.0
LEFT = ((4770.0, -0.025), (6250.0, 0.035), (7520.0, 0.035), (8770.0, 0.03), (10200.0, -0.06))
COLOUR_SCATTER = 0.05
# Galaxies that belong to the source: their mean number, how far away they are at most [arcsec], and
# from how much brighter to how much fainter than it [mag]. Set by hand: the number falls with the
# distance, as for an angular correlation with a slope near -1.
CLUSTERED, CLUSTER_RADIUS, FAINTER = 0.25, 10.0, (-0.5, 4.0)
BLENDED_FROM = 0.5  # mag fainter than the source; a brighter neighbour would be the source itself


def blends_from(magnitude: float, realism: float, rng: np.random.Generator) -> float:
    """r magnitude from which neighbours may lie within `images.CLEARANCE` of a source.

    Infinite in the share 1 - `realism` of the sources, where none may.
    """
    return magnitude + BLENDED_FROM if rng.random() < realism else np.inf


def draw_companions(
    survey: Camera, canvas: Canvas, magnitude: float, factor: float, rng: np.random.Generator
) -> Light | None:
    """The light of galaxies that cluster around a source, or None if there are none.

    Parameters
    ----------
    magnitude : float
        The source's, in r.
    factor : float
        Factor on their number.
    """
    faintest = min(magnitude + FAINTER[1], GALAXIES.faintest)
    brightest = min(magnitude + FAINTER[0], faintest - 0.5)
    around = Population(CLUSTERED, GALAXIES.slope, brightest, faintest, GALAXIES.kelvin)
    transforms, fluxes = [], []
    for _ in range(rng.poisson(factor * around.number)):
        distance, turn = CLUSTER_RADIUS * rng.random(), 2 * np.pi * rng.random()
        of_this = around.magnitude(rng.random())
        kelvin = float(np.clip(around.kelvin * np.exp(0.2 * rng.normal()), 3200, 9000))
        shape = smooth_galaxy(canvas, of_this, kelvin, rng.random(3))
        transforms.append(canvas.shift(distance * np.cos(turn), distance * np.sin(turn)) * shape)
        flux = 10 ** (-0.4 * (of_this - NANOMAGGY_ZERO_POINT))
        fluxes.append(flux * blackbody(survey.wavelength, kelvin))
    return Light(np.array(transforms), np.array(fluxes)) if fluxes else None


def recoloured(light: Light, survey: Camera, realism: float, rng: np.random.Generator) -> Light:
    """The light of neighbours in colours as real ones have; that near 6200 Angstrom stays."""
    wavelength = survey.wavelength
    redder = blackbody(wavelength, KELVIN) / blackbody(wavelength, GALAXIES.kelvin)
    at, left = np.array(LEFT).T
    left = np.interp(wavelength, at, left)
    magnitude = left + COLOUR_SCATTER * rng.standard_normal(light.flux.shape)
    factor = (redder * 10 ** (-0.4 * magnitude)) ** realism
    return replace(light, flux=light.flux * factor)
