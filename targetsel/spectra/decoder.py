"""The spectral decoder: latents to rest-frame spectrum, and its encoder.

Everywhere outside the autoencoder latents are standardised: mean 0 and variance 1 over the
training spectra. The scaler is kept with the weights and undone here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from targetsel.errors import EnsembleError, SpectrumError
from targetsel.spectra.autoencoder import HIDDEN, SpectralAutoencoder
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.spectra.latent_space import LatentSpace
from targetsel.spectra.spectrum import Spectra
from targetsel.weights.safetensors import load_weights, read_safetensors, write_safetensors

FILE_NAME = "decoder.safetensors"


class Decoder:
    """Standardised latents to spectra, and back."""

    def __init__(self, network: SpectralAutoencoder):
        self.network = network.eval()

    @property
    def n_latents(self) -> int:
        return self.space.n_latents

    @property
    def space(self) -> LatentSpace:
        return self.network.space

    @classmethod
    def read(cls, path: Path) -> Decoder:
        """The decoder in a safetensors file, or in a folder that holds `decoder.safetensors`."""
        path = Path(path)
        path = path / FILE_NAME if path.is_dir() else path
        tensors = read_safetensors(path)
        first = tensors.get("decoder.0.weight")
        if "latent_mean" not in tensors or first is None or first.ndim != 2:
            raise EnsembleError(f"{path}: no tensor 'latent_mean': not a spectral decoder")
        if len(first) != HIDDEN[1]:  # before a network is made as wide as the file says
            raise EnsembleError(
                f"{path}: tensor 'decoder.0.weight' has shape {tuple(first.shape)}, expected "
                f"{HIDDEN[1]} rows"
            )
        components = tensors.get("pca_components")
        if components is not None and components.ndim != 2:
            raise EnsembleError(
                f"{path}: tensor 'pca_components' has {components.ndim} axes, not 2"
            )
        space = LatentSpace(first.shape[1], None if components is None else len(components))
        network = SpectralAutoencoder(space)
        load_weights(network, tensors, path)
        if not (network.latent_std > 0).all():
            raise EnsembleError(f"{path}: tensor 'latent_std' holds numbers that are not positive")
        return cls(network)

    def write(self, path: Path) -> None:
        write_safetensors(self.network.state_dict(), path)

    @torch.inference_mode()
    def encode(self, flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the standardised latents, each (N, D).

        The standard deviation is the encoder's own and serves as the labels' noise. Of principal
        components it is the diagonal's root: their small correlations are left out.

        Parameters
        ----------
        flux : ndarray, shape (N, 1000)
            Rest-frame flux density on `spectra.grid`, gaps filled; its scale does not matter.
        """
        flux = np.asarray(flux, dtype=np.float64)
        if flux.ndim != 2 or flux.shape[1] != N_PIXELS:
            raise SpectrumError(f"spectra of shape {flux.shape}, expected (N, {N_PIXELS})")
        unit = flux / np.sqrt((flux**2).sum(axis=1, keepdims=True))
        net = self.network
        mean, log_variance = net.encode(torch.from_numpy(unit).float() - net.mean_spectrum)
        mean, variance = net.standardise(mean, log_variance.exp())
        return mean.numpy(), variance.sqrt().numpy()

    @torch.inference_mode()
    def decode(self, latents: np.ndarray, source_id: np.ndarray | None = None) -> Spectra:
        """The rest-frame spectra of latents.

        Parameters
        ----------
        latents : ndarray, shape (N, S, D)
            Standardised latents.
        source_id : ndarray, shape (N,), optional
            Row numbers if not given.

        Returns
        -------
        Spectra
            `flux` of shape (N, S, 1000), float32.
        """
        net = self.network
        n, s, d = latents.shape
        standardised = torch.from_numpy(np.ascontiguousarray(latents.reshape(-1, d))).float()
        flux = net.decoder(net.unstandardise(standardised)) + net.mean_spectrum
        ids = np.arange(n) if source_id is None else source_id
        return Spectra(ids, flux.numpy().reshape(n, s, N_PIXELS), wavelengths())

    def jacobian(self, latents: np.ndarray) -> np.ndarray:
        """Derivative of the decoded flux by the standardised latents, (S, D) to (S, 1000, D)."""
        net = self.network

        def decoded(each: torch.Tensor) -> torch.Tensor:
            flux: torch.Tensor = net.decoder(net.unstandardise(each[None]))[0]
            return flux

        with torch.no_grad():
            by_latent = torch.func.vmap(torch.func.jacfwd(decoded))
            found = by_latent(torch.from_numpy(np.ascontiguousarray(latents)).float())
        return np.asarray(found.numpy(), dtype=np.float64)
