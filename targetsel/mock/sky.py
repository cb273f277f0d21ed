"""The mock sky: real galaxies' positions and magnitudes, simulated images and spectra.

For each galaxy a fiber spectrum is drawn from the anchor model, given the real galaxy's colours,
luminosity and redshift. Its old stars make a bulge, all else a disk that holds the emission lines.
The fiber spectrum stays as it was drawn: each component's light is divided by the share of it
that a fiber sees. The image's total r flux is the real galaxy's.

Everything about a source follows from the seed and its id, whatever its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from targetsel.mock.anchor import Anchor
from targetsel.mock.galaxies import NANOJANSKY, Galaxies
from targetsel.mock.images import Shapes, add_noise, draw_images, fiber_share
from targetsel.mock.photometry import response
from targetsel.mock.spectra import N_NORMALS, FiberSpectra, draw_spectra
from targetsel.mock.survey import PAN_STARRS, Survey
from targetsel.mock.templates import DECODER_PIXELS, WAVELENGTH

CUTOUT_SIZE = 64


@dataclass(frozen=True)
class MockSources:
    """A block of mock sources.

    Attributes
    ----------
    galaxies : Galaxies
        The real rows behind them.
    flux : ndarray, shape (N, B, H, W)
        Cutouts [nanomaggy].
    spectra : ndarray, shape (N, 1000)
        Noise-free fiber spectra on the decoder's grid; the sum of squares of each is 1.
    widths : dict of ndarray, shape (N,)
        Emission lines that were put in: rest equivalent width [Angstrom].
    """

    galaxies: Galaxies
    flux: np.ndarray
    spectra: np.ndarray
    widths: dict[str, np.ndarray]


def observe(
    galaxies: Galaxies, seed: int, survey: Survey = PAN_STARRS, block: int = 256
) -> Iterator[MockSources]:
    """Mock observations of some galaxies, block by block."""
    anchor = Anchor.shipped()
    for start in range(0, len(galaxies), block):
        rows = galaxies.take(np.arange(start, min(start + block, len(galaxies))))
        rngs = [np.random.default_rng([seed, int(number)]) for number in rows.source_id]
        spectra = draw_spectra(
            rows.known, np.array([rng.standard_normal(N_NORMALS) for rng in rngs]), anchor
        )
        shapes = _draw_shapes(rows, spectra, rngs)
        bulge, disk = _band_fluxes(rows, spectra, shapes, survey)
        images = draw_images(bulge, disk, shapes, survey, CUTOUT_SIZE)
        shape = spectra.total[:, DECODER_PIXELS]
        norm = np.sqrt((shape**2).sum(axis=1, keepdims=True))
        yield MockSources(rows, add_noise(images, survey, rngs), shape / norm, spectra.widths)


def half_light_radius(absolute_r: np.ndarray, early: np.ndarray) -> np.ndarray:
    """Half-light radius [kpc] from absolute r magnitude.

    The forms of Shen et al. (2003, MNRAS 343, 978), eqs. 14 and 15, with rounded coefficients.
    """
    late = 10 ** (
        -0.4 * 0.26 * absolute_r
        + (0.51 - 0.26) * np.log10(1 + 10 ** (-0.4 * (absolute_r + 20.91)))
        - 1.71
    )
    return np.where(early, 10 ** (-0.4 * 0.60 * absolute_r - 4.63), late)


def _draw_shapes(
    galaxies: Galaxies, spectra: FiberSpectra, rngs: list[np.random.Generator]
) -> Shapes:
    from astropy.cosmology import FlatLambdaCDM

    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    kpc_per_arcsec = 1 / cosmology.arcsec_per_kpc_proper(galaxies.redshift).value
    magnitude = 31.4 - 2.5 * np.log10(galaxies.flux[:, 2])
    absolute = magnitude - cosmology.distmod(galaxies.redshift).value - galaxies.redshift
    middle = (WAVELENGTH > 5500) & (WAVELENGTH < 6100)
    old_share = spectra.old[:, middle].mean(axis=1)
    uniform = np.array([rng.uniform(size=6) for rng in rngs])
    normal = np.array([rng.standard_normal(4) for rng in rngs])
    radius = half_light_radius(absolute, old_share > 0.8) * 10 ** (0.13 * normal[:, 0])
    radius /= kpc_per_arcsec
    inclination = uniform[:, 0]  # cosine, uniform for random orientations
    angle = 2 * np.pi * uniform[:, 1]
    return Shapes(
        bulge_radius=np.clip(radius * np.where(old_share > 0.8, 1.0, 0.45), 0.2, 12.0),
        disk_radius=np.clip(radius * np.where(old_share > 0.8, 1.5, 1.15), 0.3, 15.0),
        bulge_axis_ratio=0.6 + 0.4 * uniform[:, 2],
        disk_axis_ratio=np.sqrt(inclination**2 * (1 - 0.2**2) + 0.2**2),
        bulge_angle=angle + 0.3 * normal[:, 3],
        disk_angle=angle,
        x=0.12 * normal[:, 1],
        y=0.12 * normal[:, 2],
    )


def _band_fluxes(
    galaxies: Galaxies, spectra: FiberSpectra, shapes: Shapes, survey: Survey
) -> tuple[np.ndarray, np.ndarray]:
    """Total flux of bulge and disk in each band [nanomaggy], two arrays (N, B)."""
    maps = response("panstarrs", survey.bands, WAVELENGTH, galaxies.redshift)
    in_fiber = (
        np.einsum("nbl,nl->nb", maps, spectra.old),
        np.einsum("nbl,nl->nb", maps, spectra.young + spectra.lines),
    )
    bulge = in_fiber[0] / fiber_share(shapes.bulge_radius, shapes.bulge_axis_ratio, 4.0)[:, None]
    disk = in_fiber[1] / fiber_share(shapes.disk_radius, shapes.disk_axis_ratio, 1.0)[:, None]
    r = survey.bands.index("r")
    scale = galaxies.flux[:, 2] / NANOJANSKY / (bulge + disk)[:, r]
    return bulge * scale[:, None], disk * scale[:, None]
