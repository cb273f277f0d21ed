"""Noise-free images of mock galaxies: sums of light profiles, drawn in Fourier space.

A galaxy is a sum of Gaussians (Hogg & Lang 2013, PASP 125, 719) and points: in Fourier space the
PSF and the fiber are products, a shift is a phase, and no pixel is integrated. All transforms are
of unit flux, on the half plane of `Canvas`, flattened to P numbers.

An ellipse is a matrix of second moments, shape (2, 2) [arcsec^2]: R R^T for the linear map R that
takes the unit circle to the isophote through the half-light radius.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.fft import irfft2
from scipy.optimize import nnls
from scipy.special import gammaincinv, j1

from targetsel.mock.camera import Camera
from targetsel.mock.irregular import LANE_LENGTH, LANE_WIDTH, REGULAR, Irregularity, draw_tails
from targetsel.mock.morphology import Structure, draw_arms, draw_knots, ellipse

FIBER = 3.0  # diameter of the fiber that spectra are drawn for [arcsec]
FIBER_SEEING = 1.4  # arcsec
LEAST_FIBER_SHARE = 0.02
SMALLEST_SHARE = 1e-3  # in a fiber; below, shares of two fibers are not compared
# Pixels; the margin around a cutout receives the light that wraps around. Small pixels, and large
# cutouts, have a larger canvas: of 24 arcsec, and four thirds of the cutout.
CANVAS, CANVAS_ARCSEC, CANVAS_PER_CUTOUT = 128, 24.0, 4 / 3


@cache
def sersic_gaussians(index: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares of light and widths [half-light radius] of Gaussians that add up to a Sersic profile.

    The surface brightness of the Sersic profile, cut off at 8 half-light radii, is fitted without
    negative shares between 0.02 and 8 half-light radii.
    """
    radius = np.geomspace(0.02, 8.0, 200)
    b = gammaincinv(2 * index, 0.5)
    profile = np.exp(-b * (radius ** (1 / index) - 1))
    sigma = np.geomspace(0.02, 4.0, 12)
    surface = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) / (2 * np.pi * sigma**2)
    weight = radius**0.5  # compromise between equal weight per radius and per light
    share, _ = nnls(surface * weight[:, None] / profile[:, None] ** 0.5, weight * profile**0.5)
    used = share > 1e-4 * share.sum()
    share, sigma = share[used] / share[used].sum(), sigma[used]
    light = (1 - np.exp(-0.5 * (radius[:, None] / sigma) ** 2)) @ share
    return share, sigma / np.interp(0.5, light, radius)


class Canvas:
    """A square of pixels and its half plane of spatial frequencies.

    Attributes
    ----------
    pixel_scale : float
        [arcsec]
    width : int
        Pixels on a side, even.
    u, v : ndarray, shapes (1, C / 2 + 1) and (C, 1)
        Spatial frequencies along x (the last axis) and y [1/arcsec].
    fiber : ndarray, shape (P,)
        `fiber_of` a diameter of `FIBER`.
    """

    def __init__(self, pixel_scale: float, width: int = CANVAS) -> None:
        self.pixel_scale, self.width = pixel_scale, width
        u = np.fft.rfftfreq(width, pixel_scale)[None, :]
        v = np.fft.fftfreq(width, pixel_scale)[:, None]
        self.u, self.v = u.astype(np.float32), v.astype(np.float32)
        self._uu, self._uv, self._vv = (
            np.broadcast_to(product, (width, width // 2 + 1)).ravel().astype(np.float32)
            for product in (u**2, u * v, v**2)
        )
        self.fiber = self.fiber_of(FIBER)
        middle = np.exp(-1j * np.pi * pixel_scale * (width - 1) * (u + v))
        pixel = np.sinc(u * pixel_scale) * np.sinc(v * pixel_scale)
        self._to_pixels = (middle * pixel).ravel().astype(np.complex64)

    def square(self, ellipse: np.ndarray) -> np.ndarray:
        """Exponent -2 pi^2 f^2 of frequencies f in units of the ellipse, shape (P,)."""
        a, b, c = (-2 * np.pi**2 * ellipse[[0, 0, 1], [0, 1, 1]]).astype(np.float32)
        return a * self._uu + (2 * b) * self._uv + c * self._vv

    def gaussian(self, ellipse: np.ndarray) -> np.ndarray:
        """Transform of a Gaussian with these second moments, shape (P,)."""
        return np.exp(self.square(ellipse))

    def sersic(self, index: float, ellipse: np.ndarray) -> np.ndarray:
        """Transform of a Sersic profile with this half-light isophote, shape (P,)."""
        share, sigma = sersic_gaussians(index)
        return mixture(self.square(ellipse), share, sigma)

    def shift(self, x: float, y: float) -> np.ndarray:
        """Phases that move the light by x, y [arcsec], complex, shape (P,)."""
        return (phases(self.v, y) * phases(self.u, x)).ravel()

    def points(self, x: np.ndarray, y: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Transform of points at x, y [arcsec] with shares of light, all (K,); complex, (P,)."""
        rows = phases(self.v, y) * share.astype(np.float32)
        return (rows @ phases(self.u.T, x).T).ravel()

    def images(self, transforms: np.ndarray, size: int) -> np.ndarray:
        """The central `size` x `size` pixels of transforms (B, P), light per pixel, float32."""
        width = self.width
        half = (transforms * self._to_pixels).reshape(-1, width, width // 2 + 1)
        margin = (width - size) // 2
        inner = slice(margin, margin + size)
        return irfft2(half, s=(width, width), workers=1)[:, inner, inner]

    def fiber_of(self, diameter: float) -> np.ndarray:
        """Transform of a central fiber [arcsec] with the spectrograph's seeing, shape (P,).

        Its product with another transform is the share of light in the fiber (Parseval's theorem).
        """
        u = np.fft.rfftfreq(self.width, self.pixel_scale)[None, :]
        k = 2 * np.pi * np.hypot(u, np.fft.fftfreq(self.width, self.pixel_scale)[:, None])
        radius = diameter / 2
        disk = 2 * np.pi * radius * j1(k * radius) / np.where(k > 0, k, 1.0)
        disk[k == 0] = np.pi * radius**2
        seeing = np.exp(-0.5 * (k * FIBER_SEEING / 2.3548) ** 2)
        conjugates = np.where((u > 0) & (u < 0.5 / self.pixel_scale), 2.0, 1.0)
        both = disk * seeing * conjugates / (self.width * self.pixel_scale) ** 2
        return both.ravel().astype(np.float32)


canvas_of = cache(Canvas)


def canvas_for(pixel_scale: float, size: int) -> Canvas:
    """The canvas for cutouts of `size` pixels of `pixel_scale` [arcsec]."""
    least = max(CANVAS_ARCSEC / pixel_scale, CANVAS_PER_CUTOUT * size)
    return canvas_of(pixel_scale, max(CANVAS, 16 * math.ceil(least / 16)))


def mixture(square: np.ndarray, share: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Transform of a sum of Gaussians, widths in units of the ellipse of `square`, shape (P,)."""
    return share.astype(np.float32) @ np.exp(
        np.multiply.outer(sigma.astype(np.float32) ** 2, square)
    )


def phases(frequency: np.ndarray, place: float | np.ndarray) -> np.ndarray:
    """exp(-2 pi i frequency place), complex64; sine and cosine are many times faster than exp."""
    angle = np.multiply(-2 * np.pi * frequency, place, dtype=np.float32)
    turned = np.empty(angle.shape, dtype=np.complex64)
    turned.real, turned.imag = np.cos(angle), np.sin(angle)
    return turned


# ---------------------------------------------------------------------- galaxies and neighbours

# The PSF is three Gaussians: shares of the light, of widths 1, 2 and 4.
PSF_SHARES = (0.80, 0.17, 0.03)
CORE_WIDTH = 0.974  # the first one's FWHM, in units of the whole PSF's
BAR_LENGTH, BAR_AXIS_RATIO = 0.6, 0.25  # half-light radius of a bar, in units of the disk's
ARM_WIDTH, KNOT_WIDTH = 0.11, 0.035  # Gaussian, in units of the young disk's half-light radius
TAIL_WIDTH = 0.2  # likewise, of the old disk's
PATCHY = 0.01  # arms and knots with less than this share of the light are not drawn


@dataclass(frozen=True)
class FiberLight:
    """Band fluxes in the fiber, by component, each of shape (N, B), in one arbitrary unit."""

    old: np.ndarray
    young: np.ndarray
    lines: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Flux of all components together, shape (N, B)."""
        return self.old + self.young + self.lines

    def of(self, row: int) -> np.ndarray:
        """Old stars, young stars and lines of one galaxy, shape (3, B)."""
        return np.stack([self.old[row], self.young[row], self.lines[row]])

    def times(self, factors: np.ndarray) -> FiberLight:
        """The light, with that of old stars, young stars and lines times factors (N, 3)."""
        old, young, lines = factors.T[:, :, None]
        return FiberLight(old * self.old, young * self.young, lines * self.lines)


@dataclass(frozen=True)
class Components:
    """Transforms of K components (K, P), and the share of each in old and young stars and lines.

    The shares are of shape (3, K).
    """

    transforms: np.ndarray
    shares: np.ndarray

    def seen(self, fiber: np.ndarray) -> np.ndarray:
        """Share of the light of old stars, young stars and lines in a fiber (P,), shape (3,)."""
        return self.shares @ self.transforms.real @ fiber

    def gain(self, fiber: np.ndarray, canvas: Canvas) -> np.ndarray:
        """Light of old stars, young stars and lines in a fiber over that in `FIBER`, shape (3,).

        Dust lanes are left out.
        """
        here, there = (self.seen(each).clip(SMALLEST_SHARE) for each in (fiber, canvas.fiber))
        return here / there


@dataclass(frozen=True)
class Light:
    """Light of K components: transforms of unit flux (K, P), and fluxes in the bands (K, B)."""

    transforms: np.ndarray
    flux: np.ndarray

    def scaled(self, band: int, flux: float) -> Light:
        """The same light, scaled to this total flux in one band."""
        return replace(self, flux=self.flux * (flux / self.flux[:, band].sum()))

    def unblurred(self) -> np.ndarray:
        """Sum of all components in each band, shape (B, P)."""
        return self.flux.T.astype(np.float32) @ self.transforms


def light_of(
    components: Components,
    structure: Structure,
    row: int,
    fiber_light: np.ndarray,
    canvas: Canvas,
    irregularity: Irregularity = REGULAR,
) -> Light:
    """The light of a galaxy's components, in the unit of `fiber_light`.

    The light in the fiber is kept as given: the light of old stars, of young stars and of
    lines is each divided by the share of it that lies in a fiber (at least 0.02).

    Parameters
    ----------
    fiber_light : ndarray, shape (3, B)
        Flux of old stars, young stars and lines in the fiber.
    irregularity : Irregularity
        Departures from the structure; default: none.
    """
    transforms, shares = components.transforms, components.shares
    seen = components.seen(canvas.fiber).clip(LEAST_FIBER_SHARE)
    light = Light(transforms, shares.T @ (fiber_light / seen[:, None]))
    if irregularity.dust is not None:
        light = _with_dust_lane(light, structure, row, canvas, irregularity)
    return replace(
        light, transforms=light.transforms * canvas.shift(structure.x[row], structure.y[row])
    )


def point_spread(canvas: Canvas, seeing: np.ndarray, shear: tuple[float, float]) -> np.ndarray:
    """Transform of each band's PSF, shape (B, P).

    Parameters
    ----------
    seeing : ndarray, shape (B,)
        Full width at half maximum [arcsec].
    shear : (float, float)
        Difference of the second moments along x and y, and along the diagonals, over their sum.
    """
    unit = canvas.square(np.array([[1 + shear[0], shear[1]], [shear[1], 1 - shear[0]]]))
    core = np.exp(np.multiply.outer((CORE_WIDTH * seeing / 2.3548).astype(np.float32) ** 2, unit))
    wings = np.square(np.square(core))  # a Gaussian of twice the width is the fourth power
    halo = np.square(np.square(wings))
    return PSF_SHARES[0] * core + PSF_SHARES[1] * wings + PSF_SHARES[2] * halo


BULGE, NUCLEUS = 0, 2  # their places among the components


def draw_components(
    structure: Structure,
    row: int,
    canvas: Canvas,
    rng: np.random.Generator,
    irregularity: Irregularity = REGULAR,
) -> Components:
    """The components of one galaxy, around its centre."""
    s, k = structure, row
    angle, ratio, young = s.angle[k], s.disk_axis_ratio[k], s.young_radius[k]
    offset = s.lopsidedness[k] * young
    bulge, bar, arms, knots = s.bulge_share[k], s.bar_share[k], s.arm_share[k], s.knot_share[k]
    point, line_knots = s.point_share[k], s.line_knot_share[k]
    old_arms, old_knots = irregularity.old_arms * arms, irregularity.old_knots * knots
    in_disk = (1 - bulge - bar) * (1 - old_arms - old_knots)
    spheroid = ellipse(s.bulge_radius[k], s.bulge_axis_ratio[k], angle)
    disk = canvas.sersic(irregularity.disk_index, ellipse(s.disk_radius[k], ratio, angle))
    if any(irregularity.lopsided):
        disk = disk * canvas.shift(*irregularity.lopsided)
    smooth = canvas.sersic(1.0, ellipse(young, ratio, angle))
    smooth = smooth * canvas.shift(offset * np.cos(angle), offset * np.sin(angle))
    drawn = [
        (canvas.sersic(irregularity.bulge_index, spheroid), bulge, 0, 0),
        (disk, in_disk, 0, 0),
        (np.ones_like(disk), 0, 0.5 * point, point),
    ]
    if bar > PATCHY:
        drawn.append((canvas.gaussian(_bar(s, k)), bar, 0, 0))
    if arms + knots > PATCHY:
        places = draw_arms(s, k, rng)
        blurred = canvas.points(*places) * canvas.gaussian(ellipse(ARM_WIDTH * young, ratio, angle))
        spots = canvas.points(*draw_knots(s, k, places, rng))
        spots *= canvas.gaussian(ellipse(KNOT_WIDTH * young, ratio, angle))
        old = (1 - bulge - bar) * np.array([old_arms, old_knots])
        in_arms = (1 - 0.5 * point) * arms, (1 - point) * arms * (1 - line_knots)
        in_knots = (1 - 0.5 * point) * knots, (1 - point) * line_knots
        drawn += [(blurred, old[0], *in_arms), (spots, old[1], *in_knots)]
    shares = np.array([each[1:] for each in drawn]).T
    rest = 1 - shares.sum(axis=1)
    drawn.append((smooth, 0, rest[1], rest[2]))
    shares = np.column_stack([shares, [rest[0], rest[1], rest[2]]])
    more = _beyond(structure, row, canvas, rng, irregularity)
    if more:
        others = np.array([each[1:] for each in more]).T
        shares = np.column_stack([shares * (1 - others.sum(axis=1, keepdims=True)), others])
    transforms = np.stack([each[0].astype(np.complex64) for each in drawn + more])
    return Components(transforms, shares)


def _beyond(
    structure: Structure,
    row: int,
    canvas: Canvas,
    rng: np.random.Generator,
    irregularity: Irregularity,
) -> list[tuple[np.ndarray, float, float, float]]:
    """Halo, tidal tails and partner: transforms, and shares of old and young stars and lines."""
    s, k = structure, row
    more: list[tuple[np.ndarray, float, float, float]] = []
    if irregularity.halo_share > PATCHY:
        rounder = ellipse(irregularity.halo_radius, 0.5 + 0.5 * s.bulge_axis_ratio[k], s.angle[k])
        more.append((canvas.sersic(1.5, rounder), irregularity.halo_share, 0.0, 0.0))
    if irregularity.tail_share:
        tails = canvas.points(*draw_tails(s, k, rng))
        tails *= canvas.gaussian(ellipse(TAIL_WIDTH * s.disk_radius[k], 1.0, 0.0))
        share = irregularity.tail_share
        more.append((tails, share, share, share))
    partner = irregularity.partner
    if partner is not None:
        shape = ellipse(partner.radius, partner.axis_ratio, partner.angle)
        place = canvas.shift(partner.x, partner.y)
        more.append((canvas.sersic(2.0, shape) * place, partner.old, partner.young, partner.young))
    return more


def _with_dust_lane(
    light: Light, structure: Structure, row: int, canvas: Canvas, irregularity: Irregularity
) -> Light:
    """The light less that which a lane across the disk absorbs; that in the fiber is kept."""
    assert irregularity.dust is not None
    radius, ratio = structure.disk_radius[row], structure.disk_axis_ratio[row]
    angle, aside = structure.angle[row], irregularity.dust_offset
    strip = canvas.gaussian(ellipse(LANE_LENGTH * radius, LANE_WIDTH / LANE_LENGTH, angle))
    strip = strip * canvas.shift(-aside * np.sin(angle), aside * np.cos(angle))
    # An exponential disk of scale length h has F / (2 pi h^2 q) in the middle.
    area = LANE_LENGTH * LANE_WIDTH * 1.678**2 / ratio
    in_disk = light.flux.sum(axis=0) - light.flux[[BULGE, NUCLEUS]].sum(axis=0)
    taken = -irregularity.dust * area * in_disk
    lane = Light(np.vstack([light.transforms, strip[None]]), np.vstack([light.flux, taken]))
    before, after = (each.flux.T @ (each.transforms.real @ canvas.fiber) for each in (light, lane))
    return replace(lane, flux=lane.flux * (before / np.maximum(after, 0.3 * before)))


def _bar(structure: Structure, row: int) -> np.ndarray:
    """Projected second moments of a bar in the disk's plane, shape (2, 2) [arcsec^2]."""
    angle = structure.angle[row]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    length = BAR_LENGTH * structure.disk_radius[row] / 1.1774  # of a Gaussian, from half its light
    in_plane = ellipse(length, BAR_AXIS_RATIO, structure.bar_angle[row])
    project = turn @ np.diag([1.0, structure.disk_axis_ratio[row]])
    return project @ in_plane @ project.T


@dataclass(frozen=True)
class Population:
    """A kind of neighbour.

    Attributes
    ----------
    number : float
        Mean number in a square of 16 arcsec.
    slope, brightest, faintest : float
        Slope of the counts, log10(N) = slope m, and their limits in r magnitude.
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
CLEARANCE = 2.0  # arcsec; a closer neighbour would be one source with it
RED = 4400.0  # Kelvin; galaxies below are drawn as spheroids


def draw_neighbours(
    survey: Camera,
    canvas: Canvas,
    side: float,
    factor: float,
    rng: np.random.Generator,
    blends_from: float = np.inf,
) -> Light | None:
    """The light of all neighbours of one source, or None if it has none.

    Parameters
    ----------
    side : float
        Side of the cutout [arcsec]; neighbours up to an arcsec outside are drawn.
    factor : float
        Factor on the number of neighbours.
    blends_from : float
        r magnitude from which they may lie within `CLEARANCE` of the source; default: none may.
    """
    transforms, fluxes = [], []
    half = side / 2 + 1.0
    for kind in (GALAXIES, STARS):
        for _ in range(rng.poisson(factor * kind.number * (2 * half / SQUARE) ** 2)):
            x, y = rng.uniform(-half, half, 2)
            magnitude = kind.magnitude(rng.random())
            kelvin = float(np.clip(kind.kelvin * np.exp(0.25 * rng.normal()), 3200, 9000))
            shape = rng.random(3)
            if np.hypot(x, y) < CLEARANCE and magnitude < blends_from:
                continue
            light = canvas.shift(x, y)
            if kind is GALAXIES:
                light = light * smooth_galaxy(canvas, magnitude, kelvin, shape)
            transforms.append(light)
            fluxes.append(10 ** (-0.4 * (magnitude - 22.5)) * blackbody(survey.wavelength, kelvin))
    return Light(np.array(transforms), np.array(fluxes)) if fluxes else None


def blackbody(wavelength: np.ndarray, kelvin: float) -> np.ndarray:
    """Blackbody flux density per unit frequency, relative to 6200 Angstrom, shape (B,)."""

    def planck(angstrom: np.ndarray) -> np.ndarray:
        return angstrom**-3.0 / np.expm1(1.438777e8 / (angstrom * kelvin))

    return planck(wavelength) / planck(np.array(6200.0))


def smooth_galaxy(canvas: Canvas, magnitude: float, kelvin: float, shape: np.ndarray) -> np.ndarray:
    """A smooth galaxy; sizes fall with magnitude from 2.4 arcsec at r = 18 with 0.2 dex scatter."""
    radius = 10 ** (0.38 - 0.13 * (magnitude - 18) + 0.35 * (shape[0] + shape[1] - 1))
    moments = ellipse(radius, 0.25 + 0.75 * shape[1], 2 * np.pi * shape[2])
    return canvas.sersic(4.0 if kelvin < RED else 1.0, moments)
