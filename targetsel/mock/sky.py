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
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from targetsel.mock import infrared
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
from targetsel.photometry.bands import Band, find_passband, synthetic_photometry
from targetsel.photometry.flux import NJY_PER_NANOMAGGY, ab_magnitude

R = find_passband("r_sdss")  # of the fluxes that images are scaled to


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
    size: int | None = None,
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
    size: int | None = None,
) -> MockSources:
    """Mock observations of one block of galaxies, already chosen by `variation.galaxies`.

    Parameters
    ----------
    variation : Variation, optional
        Of camera and galaxies. Default: `Variation()`.
    size : int, optional
        Width and height of the cutouts [pixel]; default: the survey's.
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
    light = _fiber_light(galaxies, spectra, survey.passbands)
    exposures = Exposures(survey, variation, size or survey.size)
    red = light if "r" in survey.bands else _fiber_light(galaxies, spectra, (R,))
    flux, gains = _images(galaxies, light, red, structure, chances, exposures)
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
    red: FiberLight,
    structure: Structure,
    chances: list[Chance],
    exposures: Exposures,
) -> tuple[np.ndarray, np.ndarray]:
    """Cutouts [nanomaggy], float32, shape (N, B, size, size), and `Components.gain`, (N, 3).

    The light is scaled to the galaxy's r flux: in the survey's r, or else by `red`, the light in
    `R` alone, without dust lanes.
    """
    survey, size, realism = exposures.survey, exposures.size, exposures.variation.realism
    canvas = exposures.canvas
    fiber = canvas.fiber_of(exposures.variation.fiber)
    r = survey.bands.index("r") if "r" in survey.bands else None
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
        if r is not None:
            scaled = source.scaled(r, r_flux[row])
        else:
            seen = light_of(parts, structure, row, red.of(row), canvas).flux.sum()
            scaled = replace(source, flux=source.flux * (r_flux[row] / seen))
        flux[row] = exposures.image(scaled, magnitude[row], chance)
    return flux, gains


def _fiber_light(
    galaxies: Galaxies, spectra: FiberSpectra, passbands: tuple[Band, ...]
) -> FiberLight:
    """Fluxes of each component in the fiber, in some bands.

    The infrared is left out where no band reaches it.
    """
    pieces = [_of_stars(spectra.ultraviolet), (spectra.old, spectra.young, spectra.lines)]
    grid = WHOLE
    if any(band.reach[1] > WHOLE[-1] for band in passbands):
        pieces.append(_of_stars(spectra.infrared))
        grid = infrared.WHOLE
    parts = [np.concatenate(each, axis=1) for each in zip(*pieces, strict=True)]
    maps = synthetic_photometry(passbands, grid, galaxies.redshift)
    return FiberLight(*(np.matmul(maps, part[:, :, None])[:, :, 0] for part in parts))


def _of_stars(light: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light (N, 2, L) of old and other stars, and that of lines, which is none; each (N, L)."""
    return light[:, 0], light[:, 1], np.zeros_like(light[:, 0])


def _colours(light: FiberLight, survey: Camera) -> dict[str, np.ndarray]:
    """Colours of neighbouring bands, each (N,)."""
    magnitude = dict(zip(survey.bands, -2.5 * np.log10(light.total.T), strict=True))
    return {f"{a}_{b}": magnitude[a] - magnitude[b] for a, b in pairwise(survey.bands)}
