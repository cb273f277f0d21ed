"""The mock sky: real galaxies, some of them moved farther away; simulated images and spectra.

For each galaxy a fiber spectrum is drawn from the anchor model, given the galaxy's colours,
luminosity and redshift. Its old stars form a bulge and a disk, young stars and lines a larger disk
with arms and knots. The image agrees with the fiber spectrum: each component's light is divided
by the share of it in a fiber. The image's total r flux is the galaxy's. The spectrum in a fiber of
another width (`Variation.fiber`) follows from the shares of the same components in it.

A source depends on the seed and its id alone, not on other sources. Each step has random numbers
of its own, so that two variations of a sky differ only in the varied property.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from targetsel.mock.anchor import DECODER_PIXELS, Anchor
from targetsel.mock.camera import PAN_STARRS, Camera
from targetsel.mock.exposure import Exposures
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.images import FIBER, FiberLight, draw_components, light_of
from targetsel.mock.irregular import draw_irregularity, misplaced
from targetsel.mock.morphology import N_NORMALS as STRUCTURE_NORMALS
from targetsel.mock.morphology import Structure, draw_structure
from targetsel.mock.plan import BLOCK, Variation
from targetsel.mock.spectra import (
    N_NORMALS,
    FiberSpectra,
    draw_spectra,
    measure_spectra,
    signal_to_noise,
)
from targetsel.mock.steps import Chance, Step
from targetsel.mock.ultraviolet import WHOLE
from targetsel.photometry.bands import synthetic_photometry
from targetsel.photometry.flux import NJY_PER_NANOMAGGY, ab_magnitude

CUTOUT_SIZE = 64


@dataclass(frozen=True)
class MockSources:
    """A block of mock sources.

    Attributes
    ----------
    galaxies : Galaxies
        The galaxies that they are drawn for, where they are seen.
    flux : ndarray, shape (N, B, H, W)
        Cutouts [nanomaggy]; NaN where pixels are lost.
    spectra : ndarray, shape (N, 1000)
        Noise-free fiber spectra on the decoder's grid; the sum of squares of each is 1.
    measured, ivar : ndarray, shape (N, 1000)
        The same with a spectrograph's noise, and its inverse variance.
    snr : ndarray, shape (N,)
        Median signal to noise of a pixel of `measured`.
    widths : dict of ndarray, shape (N,)
        True rest equivalent widths of the emission lines [Angstrom].
    fiber_colours : dict of ndarray, shape (N,)
        Magnitude in one band minus that in the next one, of the light in the fiber, without
        noise.
    weight : ndarray, shape (N,)
        Number of sources that each one stands for, where strong emitters are over-sampled.
    structure : Structure
        Sizes, shapes and components.
    """

    galaxies: Galaxies
    flux: np.ndarray
    spectra: np.ndarray
    measured: np.ndarray
    ivar: np.ndarray
    snr: np.ndarray
    widths: dict[str, np.ndarray]
    fiber_colours: dict[str, np.ndarray]
    weight: np.ndarray
    structure: Structure


def observe(
    galaxies: Galaxies,
    seed: int,
    survey: Camera = PAN_STARRS,
    variation: Variation | None = None,
    size: int = CUTOUT_SIZE,
) -> Iterator[MockSources]:
    """Mock observations of some galaxies, in blocks, each a result of `observe_block`."""
    for start in range(0, len(galaxies), BLOCK):
        rows = galaxies.take(np.arange(start, min(start + BLOCK, len(galaxies))))
        yield observe_block(rows, seed, survey, variation, size)


def observe_block(
    galaxies: Galaxies,
    seed: int,
    survey: Camera = PAN_STARRS,
    variation: Variation | None = None,
    size: int = CUTOUT_SIZE,
) -> MockSources:
    """Mock observations of one block of galaxies, already chosen by `variation.galaxies`.

    Parameters
    ----------
    variation : Variation, optional
        Of camera and galaxies. Default: `Variation()`.
    size : int
        Width and height of the cutouts [pixel].
    """
    variation = variation or Variation()
    survey = variation.survey(survey)

    chances = [Chance(seed, int(number)) for number in galaxies.source_id]

    def normals(step: Step, n: int) -> np.ndarray:
        return np.array([chance.of(step).standard_normal(n) for chance in chances])

    drawn = draw_spectra(
        galaxies.known,
        normals(Step.SPECTRUM, N_NORMALS),
        Anchor.shipped(),
        variation.over_sampling,
    )
    spectra = variation.spectra(drawn)
    structure = draw_structure(
        galaxies, spectra, normals(Step.STRUCTURE, STRUCTURE_NORMALS), variation.link
    )
    structure = misplaced(structure, variation.realism, chances)
    light = _fiber_light(galaxies, spectra, survey)
    exposures = Exposures(survey, variation, size)
    flux, gains = _images(galaxies, light, structure, chances, exposures)
    if variation.fiber != FIBER:
        spectra, light = spectra.times(gains), light.times(gains)
    shape = spectra.total[:, DECODER_PIXELS]
    shape = shape / np.sqrt((shape**2).sum(axis=1, keepdims=True))
    noise = normals(Step.SPECTROGRAPH, 1 + shape.shape[1])
    magnitude = ab_magnitude(galaxies.flux[:, 2])
    snr = signal_to_noise(magnitude, noise[:, 0])
    measured, ivar = measure_spectra(shape, galaxies.redshift, snr, noise[:, 1:])
    return MockSources(
        galaxies,
        flux,
        shape,
        measured,
        ivar,
        snr,
        spectra.widths,
        _colours(light, survey),
        spectra.weight,
        structure,
    )


def _images(
    galaxies: Galaxies,
    light: FiberLight,
    structure: Structure,
    chances: list[Chance],
    exposures: Exposures,
) -> tuple[np.ndarray, np.ndarray]:
    """Cutouts [nanomaggy], float32, shape (N, B, size, size), and `Components.gain`, (N, 3)."""
    survey, size, realism = exposures.survey, exposures.size, exposures.variation.realism
    canvas = exposures.canvas
    fiber = canvas.fiber_of(exposures.variation.fiber)
    r = survey.bands.index("r")
    r_flux = galaxies.flux[:, 2] / NJY_PER_NANOMAGGY
    magnitude = ab_magnitude(galaxies.flux[:, 2])
    flux = np.empty((len(galaxies), len(survey.bands), size, size), dtype=np.float32)
    gains = np.empty((len(galaxies), 3))
    for row, chance in enumerate(chances):
        shape = draw_irregularity(structure, row, survey, realism, chance.of(Step.SHAPE))
        places = chance.of(Step.PLACES)
        parts = draw_components(structure, row, canvas, places, shape)
        gains[row] = parts.gain(fiber, canvas)
        source = light_of(parts, structure, row, light.of(row), canvas, shape)
        flux[row] = exposures.image(source.scaled(r, r_flux[row]), magnitude[row], chance)
    return flux, gains


def _fiber_light(galaxies: Galaxies, spectra: FiberSpectra, survey: Camera) -> FiberLight:
    """Fluxes of each component in the fiber, in the survey's bands."""
    old, young = np.moveaxis(spectra.ultraviolet, 1, 0)
    bluer, rest = (old, young, np.zeros_like(old)), (spectra.old, spectra.young, spectra.lines)
    parts = [np.concatenate(both, axis=1) for both in zip(bluer, rest, strict=True)]
    maps = synthetic_photometry(survey.passbands, WHOLE, galaxies.redshift)
    return FiberLight(*(np.matmul(maps, part[:, :, None])[:, :, 0] for part in parts))


def _colours(light: FiberLight, survey: Camera) -> dict[str, np.ndarray]:
    """Colours of neighbouring bands, each (N,)."""
    magnitude = dict(zip(survey.bands, -2.5 * np.log10(light.total.T), strict=True))
    return {f"{a}_{b}": magnitude[a] - magnitude[b] for a, b in pairwise(survey.bands)}
