"""Bright stars beside a source, with halos, spikes and saturated cores, and trails of satellites.

Stars are drawn up to 90 arcsec away, since the halo of a bright one reaches that far. Their number
and profiles follow the mosaic of benchmarks/real_images.py; saturation, bleeding, spikes, trails
and how the sky is subtracted around stars were set by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from targetsel.mock.camera import Camera
from targetsel.mock.images import Population, blackbody
from targetsel.mock.optics import AUREOLE_BETA, AUREOLE_WIDTH, Optics, moffat
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT

REACH = 90.0  # arcsec
# The faintest are the brightest of `images.STARS`; `number` is of a square arcmin.
BRIGHT = Population(number=0.03, slope=0.25, brightest=8.0, faintest=14.5, kelvin=5500.0)
KELVIN_SCATTER = 0.2  # of the logarithm
LEAST = 0.1  # sigma of a pixel; a star with less light at the nearest pixel is not drawn
BOWL, BOWL_WIDTH = 0.01, 12.0  # scatter of the share of a star's light subtracted around it; arcsec
SPIKES, SPIKE_LENGTH, SPIKE_WIDTH = 0.008, 5.0, 0.5  # share of the light; arcsec
SATURATED = (13.0, 15.5)  # magnitudes of stars that saturate the middle pixel; each band's scatters
SATURATED_SCATTER = 0.5  # by this [mag]
BLEEDING, BLEEDING_LENGTH = 0.6, 1.5  # chance in a band; arcsec of a star that just saturates
TRAIL, TRAIL_HEIGHT = 0.004, (2.0, 30.0)  # chance of a trail; its height [sigma of a pixel]


@dataclass(frozen=True)
class Glare:
    """Light of bright stars and trails in a cutout.

    Attributes
    ----------
    light : ndarray, shape (B, H + 2, W + 2)
        [nanomaggy], float32
    saturated : ndarray, shape (B, H, W)
        Whether a pixel is saturated.
    level : float
        What saturated pixels show, as a share of the light at which they saturate; NaN if they
        are masked.
    """

    light: np.ndarray
    saturated: np.ndarray
    level: float

    def spoil(self, cutout: np.ndarray) -> np.ndarray:
        """The cutout (B, H, W) with saturated pixels as the camera leaves them."""
        return np.where(self.saturated, np.float32(self.level) * cutout, cutout)


def draw_glare(
    survey: Camera,
    optics: Optics,
    size: int,
    realism: float,
    rng: np.random.Generator,
    neighbours: float = 1.0,
) -> Glare | None:
    """The glare of the stars around one source; None if there is none.

    Parameters
    ----------
    optics : Optics
        The source's, whose PSFs the stars share.
    size : int
        Width and height of the cutout [pixel].
    realism : float
        Factor on the numbers of stars and trails.
    neighbours : float
        Another factor on that of stars.
    """
    place = (np.arange(size + 2) - (size + 1) / 2) * survey.pixel_scale
    stars = _draw_stars(survey, realism * neighbours, rng)
    limit = _saturation(survey, optics, rng)
    turn, down, level = rng.uniform(0, np.pi / 2), rng.random() < 0.5, _level(rng)
    light = np.zeros((len(survey.bands), size + 2, size + 2))
    for x, y, flux in stars:
        if _nearest_light(x, y, flux, place[-1], survey) < LEAST:
            continue
        dx, dy = place - x, (place - y)[:, None]
        light += flux[:, None, None] * _profile(dx, dy, optics, turn, rng) * survey.pixel_scale**2
        along, across = (dy, dx) if down else (dx, dy)
        light += limit * _bleeding(along, across, light.max(axis=(1, 2)) / limit[:, 0, 0], rng)
    trail = _trail(survey, optics, place, rng, realism)
    if trail is None and not light.any():
        return None
    saturated = light > limit
    light = np.minimum(light, limit) + (0.0 if trail is None else trail)
    return Glare(light.astype(np.float32), saturated[:, 1:-1, 1:-1], level)


def _draw_stars(
    survey: Camera, factor: float, rng: np.random.Generator
) -> list[tuple[float, float, np.ndarray]]:
    """Places from the source [arcsec] and fluxes in the bands [nanomaggy]."""
    number = rng.poisson(factor * BRIGHT.number * np.pi * (REACH / 60) ** 2)
    stars = []
    for _ in range(number):
        distance, turn = REACH * np.sqrt(rng.random()), 2 * np.pi * rng.random()
        magnitude = BRIGHT.magnitude(rng.random())
        kelvin = BRIGHT.kelvin * np.exp(KELVIN_SCATTER * rng.standard_normal())
        flux = 10 ** (-0.4 * (magnitude - NANOMAGGY_ZERO_POINT))
        colours = blackbody(survey.wavelength, kelvin)
        stars.append((distance * np.cos(turn), distance * np.sin(turn), flux * colours))
    return stars


def _nearest_light(x: float, y: float, flux: np.ndarray, half: float, survey: Camera) -> float:
    """A star's light at the nearest pixel of the cutout [sigma of a pixel], in its best band."""
    away = np.array([max(abs(x) - half, 0.0), max(abs(y) - half, 0.0)])
    halo = 0.1 * moffat(away[0], away[1], AUREOLE_WIDTH, AUREOLE_BETA) * survey.pixel_scale**2
    return float((flux * halo / survey.sky_sigma).max())


def _profile(
    dx: np.ndarray, dy: np.ndarray, optics: Optics, turn: float, rng: np.random.Generator
) -> np.ndarray:
    """A star's light [1 / arcsec^2] at these distances, shape (B, len(dy), len(dx))."""
    x, y = optics.offset[:, :, None, None]
    core = moffat(dx - x, dy - y, optics.seeing[:, None, None], optics.beta[:, None, None])
    halo = moffat(dx, dy, AUREOLE_WIDTH, AUREOLE_BETA)
    along, across = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    bowl = np.exp(-0.5 * (dx**2 + dy**2) / BOWL_WIDTH**2) / (2 * np.pi * BOWL_WIDTH**2)
    taken = BOWL * rng.standard_normal((len(x), 1, 1))
    spikes = SPIKES * (_spike(along, across) + _spike(across, along))
    return (1 - optics.aureole) * core + optics.aureole * halo + spikes - taken * bowl


def _spike(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """A line of light through a star that fades with the square of the distance [1 / arcsec^2]."""
    width = np.exp(-0.5 * (across / SPIKE_WIDTH) ** 2) / (np.sqrt(2 * np.pi) * SPIKE_WIDTH)
    return width / (4 * SPIKE_LENGTH * (1 + np.abs(along) / SPIKE_LENGTH) ** 2)


def _saturation(survey: Camera, optics: Optics, rng: np.random.Generator) -> np.ndarray:
    """Light of a pixel at which it saturates [nanomaggy], shape (B, 1, 1)."""
    scattered = SATURATED_SCATTER * rng.standard_normal(len(survey.bands))
    magnitude = rng.uniform(*SATURATED) + scattered
    peak = moffat(np.array(0.0), np.array(0.0), optics.seeing, optics.beta)
    limit = 10 ** (-0.4 * (magnitude - NANOMAGGY_ZERO_POINT)) * peak * survey.pixel_scale**2
    return limit[:, None, None]


def _level(rng: np.random.Generator) -> float:
    """Saturated pixels are flat in half of the images, holes in a quarter, and else masked."""
    fate, depth = rng.random(2)
    return 1.0 if fate < 0.5 else float(depth) if fate < 0.75 else float("nan")


def _bleeding(
    along: np.ndarray, across: np.ndarray, excess: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Charge that ran over along columns or rows, in units of saturation, shape (B, H, W).

    Parameters
    ----------
    excess : ndarray, shape (B,)
        Light of the star's middle in units of saturation.
    """
    bleeds = (rng.random(len(excess)) < BLEEDING) & (excess > 1)
    length = BLEEDING_LENGTH * np.maximum(excess, 1e-9) ** 0.7 * rng.uniform(0.5, 1.5)
    width = rng.uniform(0.15, 0.5)  # arcsec
    fading = np.clip(1.5 * (1 - np.abs(along) / length[:, None, None]), 0, 1)
    return bleeds[:, None, None] * fading * (np.abs(across) < width)


def _trail(
    survey: Camera, optics: Optics, place: np.ndarray, rng: np.random.Generator, realism: float
) -> np.ndarray | None:
    """The trail of a satellite in one band [nanomaggy], shape (B, H, W), or None."""
    chance, turn, where = rng.random(), np.pi * rng.random(), rng.uniform(-1, 1)
    height = np.exp(rng.uniform(*np.log(TRAIL_HEIGHT)))
    band = rng.integers(len(survey.bands))
    if chance >= realism * TRAIL:
        return None
    across = np.cos(turn) * place + np.sin(turn) * place[:, None] - where * place[-1]
    trail = np.zeros((len(survey.bands), len(place), len(place)))
    sigma = optics.seeing[band] / 2.3548
    trail[band] = height * survey.sky_sigma[band] * np.exp(-0.5 * (across / sigma) ** 2)
    return trail
