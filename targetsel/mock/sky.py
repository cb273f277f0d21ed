"""The mock sky: real galaxies' positions and magnitudes, simulated images and spectra.

For each galaxy a fiber spectrum is drawn from the anchor model, given the real galaxy's colours,
luminosity and redshift. Its old stars form a bulge and a disk, young stars and lines a larger disk
with arms and knots. The image agrees with the fiber spectrum: each component's light is divided
by the share of it in a fiber. The image's total r flux is the real galaxy's.

A source depends on the seed and its id alone, not on other sources. Each step has random numbers
of its own, so that two variations of a sky differ only in the varied property.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np

from targetsel.mock.anchor import DECODER_PIXELS, FIRST, LAST, Anchor
from targetsel.mock.camera import PAN_STARRS, Camera, draw_seeing, expose
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.images import FiberLight, canvas_of, draw_galaxy, draw_neighbours, point_spread
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
from targetsel.photometry.bands import synthetic_photometry
from targetsel.photometry.flux import NJY_PER_NANOMAGGY, ab_magnitude
from targetsel.spectra.grid import wavelengths

CUTOUT_SIZE = 64
BLUER = 200  # pixels below the first of `anchor.WAVELENGTH`, down to 2430 Angstrom


class Step(IntEnum):
    """Purposes of random numbers; each has a sequence of its own."""

    SPECTRUM = 0
    STRUCTURE = 1
    PLACES = 2
    NEIGHBOURS = 3
    CAMERA = 4
    SPECTROGRAPH = 5


@dataclass(frozen=True)
class MockSources:
    """A block of mock sources.

    Attributes
    ----------
    galaxies : Galaxies
        The real galaxies that they are drawn for.
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
        Changes to camera and galaxies. Default: none.
    size : int
        Width and height of the cutouts [pixel].
    """
    variation = variation or Variation()
    survey = variation.survey(survey)

    def normals(step: Step, n: int) -> np.ndarray:
        return np.array([rng.standard_normal(n) for rng in _rngs(galaxies, seed, step)])

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
    light = _fiber_light(galaxies, spectra, survey)
    flux = _images(galaxies, light, structure, seed, survey, variation, size)
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


def _rngs(galaxies: Galaxies, seed: int, step: Step) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, int(number), step]) for number in galaxies.source_id]


def _images(
    galaxies: Galaxies,
    light: FiberLight,
    structure: Structure,
    seed: int,
    survey: Camera,
    variation: Variation,
    size: int,
) -> np.ndarray:
    """Cutouts [nanomaggy], float32, shape (N, B, size, size)."""
    canvas, r = canvas_of(survey.pixel_scale), survey.bands.index("r")
    r_flux = galaxies.flux[:, 2] / NJY_PER_NANOMAGGY
    zero_point = variation.zero_points(survey)
    steps = (Step.PLACES, Step.NEIGHBOURS, Step.CAMERA)
    rngs = zip(*(_rngs(galaxies, seed, step) for step in steps), strict=True)
    side = size * survey.pixel_scale
    flux = np.empty((len(galaxies), len(survey.bands), size, size), dtype=np.float32)
    for row, (places, nearby, camera) in enumerate(rngs):
        psf = point_spread(canvas, *draw_seeing(survey, camera))
        source = draw_galaxy(structure, row, light.of(row), canvas, places)
        sky = source.scaled(r, r_flux[row]).through(psf)
        neighbours = draw_neighbours(survey, canvas, side, variation.neighbours, nearby)
        if neighbours is not None:
            sky += neighbours.through(psf)
        flux[row] = expose(canvas.images(sky, size + 2), survey, zero_point, camera)
    return flux


def _fiber_light(galaxies: Galaxies, spectra: FiberSpectra, survey: Camera) -> FiberLight:
    """Fluxes of each component in the fiber, in the survey's bands.

    Below the spectra's first pixel, which matters only for a u band, flux is taken to be that of
    the first pixel.
    """
    extended = wavelengths(FIRST - BLUER, LAST)
    maps = synthetic_photometry(survey.passbands, extended, galaxies.redshift)
    maps[:, :, BLUER] += maps[:, :, :BLUER].sum(axis=2)
    maps = maps[:, :, BLUER:]
    parts = (spectra.old, spectra.young, spectra.lines)
    return FiberLight(*(np.matmul(maps, part[:, :, None])[:, :, 0] for part in parts))


def _colours(light: FiberLight, survey: Camera) -> dict[str, np.ndarray]:
    """Colours of neighbouring bands, each (N,)."""
    magnitude = dict(zip(survey.bands, -2.5 * np.log10(light.total.T), strict=True))
    return {f"{a}_{b}": magnitude[a] - magnitude[b] for a, b in pairwise(survey.bands)}
