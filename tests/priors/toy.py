"""A decoder simple enough to check by hand: one latent makes a line stronger."""

from __future__ import annotations

import numpy as np

from targetsel.priors.prior import Prior
from targetsel.priors.spectral_model import SpectralModel, SpectralResidual
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.spectrum import ObservedSpectrum, Spectra
from targetsel.statistics.gaussian_mixture import GaussianMixture

HALPHA = 6564.6
LEVEL = 1000**-0.5


class LineDecoder:
    """A sloping continuum, and a line at Halpha whose strength is 1 + 0.4 x the latent."""

    n_latents = 1

    def __init__(self):
        pixel = (np.log(wavelengths()) - np.log(HALPHA)) / 0.0009
        self.line = LEVEL * np.exp(-0.5 * pixel**2)
        self.continuum = LEVEL * np.linspace(0.8, 1.2, 1000)

    def decode(self, latents):
        flux = self.continuum + (1 + 0.4 * latents) * self.line
        return Spectra(np.arange(len(latents)), flux, wavelengths())

    def jacobian(self, latents):
        return np.tile(0.4 * self.line[:, None], (len(latents), 1, 1))


def residual(size=0.02, directions=2):
    """A residual of one range: two waves, and a tenth of them in each pixel by itself."""
    phase = np.linspace(0, 6, 1000)
    waves = np.stack([np.sin(phase), np.cos(2 * phase)], axis=1)[:, :directions]
    variance = np.full((1, 1000), (0.1 * size * LEVEL) ** 2)
    return SpectralResidual(
        np.array([]), np.zeros((1, 1000)), size * LEVEL * waves[None], variance, "decoder"
    )


def model():
    return SpectralModel(LineDecoder(), residual())


def gaussian(mean=0.0, std=1.0):
    return GaussianMixture(np.ones(1), np.array([[mean]]), factor=np.array([[[std]]]))


def prior(source_id=7, latents=None):
    return Prior(source_id, latents or gaussian(), model())


def observed(latent, redshift, noise, rng, bend=0.0):
    """A spectrum of the model, with relative noise a pixel, in a unit of its own."""
    drawn = model().draw(np.array([[latent]]), rng)[0]
    flux = drawn * (1 + bend * np.linspace(-1, 1, 1000)) + noise * LEVEL * rng.normal(size=1000)
    ivar = np.full(1000, (noise * LEVEL) ** -2.0)
    unit = 3e-17
    wavelength = wavelengths() * (1 + redshift)
    return ObservedSpectrum("toy", 7, wavelength, unit * flux, ivar / unit**2, 0.0)
