"""Point spread functions as real ones are: with wings, shapes and places of their own in each band.

`realism` takes the mock's plain PSF, three Gaussians of one shape at one place, to a Moffat profile
(Moffat 1969, A&A 3, 455) with an aureole. Values were measured by benchmarks/real_images.py on a
mosaic of KiDS and VIKING and on PSFs of HSC, unless they are said to be set by hand. Those in which
surveys differ are on their cards (`surveys.card.Wings`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import nnls

from targetsel.mock.images import Canvas, phases, point_spread
from targetsel.surveys.card import MEASURED_WINGS, Wings

# Scatter of ln(FWHM) beyond that of the plain PSF: common to the bands, and of each band.
WIDTH = (0.06, 0.07)
BETA_SCATTER = (0.12, 0.07)  # of the logarithm of the Moffat profiles' exponent, likewise
BETAS = (1.6, 5.0)  # limits
ELLIPTICITY = 0.03  # of each component, common to the bands and again of each band
# Light of the aureole, a Moffat profile of its own: scatter of ln(share), exponent and FWHM
# [arcsec]. With it PSFs are as bright as six stars of the mosaic at 2 to 9 arcsec.
AUREOLE_SCATTER, AUREOLE_BETA, AUREOLE_WIDTH = 0.3, 1.4, 4.8
# Light subtracted together with the sky, as if spread by a Gaussian of this sigma [arcsec]: scatter
# of the share. Set by hand.
OVER_SUBTRACTED, SUBTRACTED_WIDTH = 0.03, 4.0

N_GAUSSIANS = 11
NARROWEST = 0.23  # sigma of the first Gaussian of a Moffat profile [FWHM]; each is 2^1/2 wider


@dataclass(frozen=True)
class Optics:
    """PSFs at one source.

    Attributes
    ----------
    seeing : ndarray, shape (B,)
        Full width at half maximum [arcsec].
    shear : ndarray, shape (2, B)
        Ellipticities along the axes and along the diagonals; see `images.point_spread`.
    beta : ndarray, shape (B,)
        Exponents of the Moffat profiles.
    aureole : float
        Share of the light in the aureole.
    offset : ndarray, shape (2, B)
        How far the image in a band lies from its place along x and y [arcsec].
    subtracted : ndarray, shape (B,)
        Share of the light that was subtracted with the sky around it.
    """

    seeing: np.ndarray
    shear: np.ndarray
    beta: np.ndarray
    aureole: float
    offset: np.ndarray
    subtracted: np.ndarray


def draw_optics(
    seeing: np.ndarray,
    shear: tuple[float, float],
    realism: float,
    rng: np.random.Generator,
    wings: Wings = MEASURED_WINGS,
) -> Optics:
    """PSFs that scatter around those of `camera.draw_seeing`.

    Parameters
    ----------
    seeing : ndarray, shape (B,)
        FWHM of the plain PSF in each band [arcsec].
    shear : (float, float)
        Its ellipticity.
    realism : float
        Factor on what is added, from 0 to 1.
    wings : Wings
        Of the survey.
    """
    bands = len(seeing)
    common, own = rng.standard_normal(5), rng.standard_normal((7, bands))
    width = WIDTH[0] * common[0] + WIDTH[1] * own[0]
    beta = wings.beta * np.exp(BETA_SCATTER[0] * common[1] + BETA_SCATTER[1] * own[1])
    bent = realism * ELLIPTICITY * (common[2:4, None] + own[2:4])
    return Optics(
        seeing=seeing * np.exp(realism * width),
        shear=np.clip(np.array(shear)[:, None] + bent, -0.3, 0.3),
        beta=np.clip(beta, *BETAS),
        aureole=realism * min(wings.aureole * math.exp(AUREOLE_SCATTER * common[4]), 0.3),
        offset=realism * wings.offset * own[4:6],
        subtracted=realism * OVER_SUBTRACTED * np.abs(own[6]),
    )


def real_point_spread(canvas: Canvas, optics: Optics, realism: float) -> np.ndarray:
    """Transform of each band's PSF at its place, complex, shape (B, P).

    Its value at frequency 0, the light, is 1 less what was subtracted with the sky.

    Parameters
    ----------
    realism : float
        Weight of the Moffat profiles; the rest is the plain PSF of the same width.
    """
    units = [canvas.square(np.array([[1 + a, b], [b, 1 - a]])) for a, b in optics.shear.T]
    profile = np.array([moffat_shares(round(beta, 1)) for beta in optics.beta])
    psf = _sum_of_gaussians(np.array(units), optics.seeing, realism * profile)
    if realism < 1:
        mean = optics.shear.mean(axis=1)
        psf += np.float32(1 - realism) * point_spread(canvas, optics.seeing, (mean[0], mean[1]))
    aureole, spread = _round_halos(canvas)
    psf += np.float32(optics.aureole) * (aureole - psf)
    psf *= 1 - optics.subtracted.astype(np.float32)[:, None] * spread
    return _moved(canvas, psf, optics.offset)


@cache
def _round_halos(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Transforms of the aureole and of the light subtracted with the sky, each (P,)."""
    unit = canvas.square(np.eye(2))
    shares = moffat_shares(AUREOLE_BETA)[None]
    aureole = _sum_of_gaussians(unit[None], np.array([AUREOLE_WIDTH]), shares)[0]
    return aureole, np.exp(unit * np.float32(SUBTRACTED_WIDTH**2))


@cache
def moffat_shares(beta: float) -> np.ndarray:
    """Shares of light of Gaussians that add up to a Moffat profile, shape (N_GAUSSIANS,).

    The Gaussian k has a sigma of NARROWEST 2^(k/2) FWHM of the profile. The profile, cut off at
    10 FWHM, is fitted without negative shares.
    """
    radius = np.geomspace(0.02, 10.0, 300)
    profile = (1 + 4 * (2 ** (1 / beta) - 1) * radius**2) ** -beta
    sigma = NARROWEST * 2 ** (np.arange(N_GAUSSIANS) / 2)
    surface = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) / (2 * np.pi * sigma**2)
    weight = radius**0.5  # as for Sersic profiles
    share, _ = nnls(surface * weight[:, None] / profile[:, None] ** 0.5, weight * profile**0.5)
    return share / share.sum()


def moffat(
    x: np.ndarray, y: np.ndarray, width: np.ndarray | float, beta: np.ndarray | float
) -> np.ndarray:
    """Surface brightness of a round Moffat profile of unit flux [1 / arcsec^2].

    Parameters
    ----------
    x, y : ndarray
        Place from the centre [arcsec].
    width : ndarray or float
        FWHM [arcsec].
    beta : ndarray or float
    """
    core = 4 * (2 ** (1 / beta) - 1) / width**2
    return (beta - 1) / np.pi * core * (1 + core * (x**2 + y**2)) ** -beta


def _sum_of_gaussians(units: np.ndarray, width: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Transforms (B, P) of Gaussians as in `moffat_shares`, with shares (B, K), widths (B,).

    Each is the square of the one before it, which is many times faster than an exponential.
    """
    narrowest = (NARROWEST * width).astype(np.float32)[:, None]
    gaussian = np.exp(units * narrowest**2)
    total, part = np.zeros_like(gaussian), np.empty_like(gaussian)
    for each in share.T.astype(np.float32)[:, :, None]:
        total += np.multiply(each, gaussian, out=part)
        np.square(gaussian, out=gaussian)
    return total


def _moved(canvas: Canvas, psf: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """PSFs moved by offsets (2, B) along x and y [arcsec]."""
    along = phases(canvas.u[0], offset[0][:, None])[:, None, :]
    across = phases(canvas.v[:, 0], offset[1][:, None])[:, :, None]
    return (psf.reshape(len(psf), canvas.v.size, canvas.u.size) * across * along).reshape(psf.shape)
