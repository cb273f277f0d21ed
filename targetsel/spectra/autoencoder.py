"""The spectral autoencoder, an information-maximising variational one, and its latent space.

Zhao et al. (2019, arXiv:1706.02262) with the layers of Portillo et al. (2020, AJ 160, 45):
1000-549-110-latents and back, leaky ReLU, a linear output.

Latent spaces have names. `vae6` has an autoencoder's own six latents. `vae10pca6` has the
first six principal components of ten latents, as Wu & Peek (2020, arXiv:2009.12318) predict and
decode them. Other sizes are named likewise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import N_PIXELS

HIDDEN = (549, 110)
N_NORMAL = 200  # draws of the prior that the latents of a batch are compared with


@dataclass(frozen=True)
class LatentSpace:
    """Dimensions of an autoencoder's latents, and of their principal components if used.

    Attributes
    ----------
    native : int
        Number of latents of the autoencoder, R.
    components : int or None
        Number of principal components that represent a spectrum; None: the native latents do.
    """

    native: int
    components: int | None = None

    def __post_init__(self) -> None:
        if self.native < 1:
            raise SpectrumError(f"{self.native} latents: an autoencoder needs at least one")
        if self.components is not None and not 1 <= self.components <= self.native:
            raise SpectrumError(
                f"latent space '{self.name}': {self.components} principal components of "
                f"{self.native} latents; expected 1 to {self.native}"
            )

    @classmethod
    def parse(cls, name: str) -> LatentSpace:
        """The latent space of a name such as `vae6` or `vae10pca6`.

        Raises
        ------
        SpectrumError
            If the name has another form.
        """
        match = re.fullmatch(r"vae(\d{1,4})(?:pca(\d{1,4}))?", name)
        if match is None:
            raise SpectrumError(
                f"latent space '{name}' is not known. Expected vaeN or vaeNpcaK, such as vae6 "
                "or vae10pca6."
            )
        native, components = match.groups()
        return cls(int(native), int(components) if components else None)

    @property
    def name(self) -> str:
        return f"vae{self.native}" + (f"pca{self.components}" if self.components else "")

    @property
    def n_latents(self) -> int:
        """Number of latents that represent a spectrum, D."""
        return self.components or self.native


@dataclass(frozen=True)
class LossParts:
    """The three terms of the loss, each summed over a batch.

    Attributes
    ----------
    fit : Tensor
        Half of chi squared.
    divergence : Tensor
        Kullback-Leibler divergence of each spectrum's latents from the standard normal.
    mismatch : Tensor
        Maximum mean discrepancy of the batch's latents from the standard normal, times the
        number of latents in the batch.
    """

    fit: Tensor
    divergence: Tensor
    mismatch: Tensor

    def total(self, alpha: float = 0.0, lambda_: float = 100.0) -> Tensor:
        """Total loss: Zhao et al. (2019), eq. 6, with the sign changed."""
        return self.fit + (1 - alpha) * self.divergence + (lambda_ + alpha - 1) * self.mismatch


class SpectralAutoencoder(nn.Module):
    """Encoder and decoder on spectra less their mean, and the scaler of the latents.

    Raw latents are those of the encoder and decoder. Standardised latents have mean 0 and
    variance 1 over the training spectra; where the latent space has principal components, it is
    the components that are standardised.
    """

    def __init__(self, space: LatentSpace):
        super().__init__()
        wide, narrow = HIDDEN
        self.space = space
        self.encoder = nn.Sequential(
            nn.Linear(N_PIXELS, wide), nn.LeakyReLU(0.01), nn.Linear(wide, narrow),
            nn.LeakyReLU(0.01), nn.Linear(narrow, 2 * space.native),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(space.native, narrow), nn.LeakyReLU(0.01), nn.Linear(narrow, wide),
            nn.LeakyReLU(0.01), nn.Linear(wide, N_PIXELS),
        )  # fmt: skip
        self.mean_spectrum = nn.Buffer(torch.zeros(N_PIXELS))
        self.latent_mean = nn.Buffer(torch.zeros(space.n_latents))
        self.latent_std = nn.Buffer(torch.ones(space.n_latents))
        if space.components:
            self.pca_mean = nn.Buffer(torch.zeros(space.native))
            self.pca_components = nn.Buffer(torch.eye(space.components, space.native))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the raw latents (N, R) of spectra less their mean (N, 1000)."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance

    def loss_parts(self, x: Tensor, weight: Tensor, generator: torch.Generator) -> LossParts:
        """The terms of the loss of a batch.

        Parameters
        ----------
        x : Tensor, shape (N, 1000)
            Spectra of unit sum of squares, minus the mean spectrum.
        weight : Tensor, shape (N, 1000)
            1 / (variance + ERROR_FLOOR), zero where a pixel is masked.
        """
        mean, log_variance = self.encode(x)
        std = (0.5 * log_variance).exp()

        def draw() -> Tensor:
            return mean + std * torch.randn(mean.shape, generator=generator)

        fit = 0.5 * (weight * (x - self.decoder(draw())) ** 2).sum()
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        normal = torch.randn((N_NORMAL, self.space.native), generator=generator)
        mismatch = maximum_mean_discrepancy(draw(), normal) * mean.numel()
        return LossParts(fit, divergence, mismatch)

    # ------------------------------------------------------------------ the label scaler

    def standardise(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the standardised latents (N, D), from those of the raw ones."""
        mean, variance = self._project(mean, variance)
        return (mean - self.latent_mean) / self.latent_std, variance / self.latent_std**2

    def unstandardise(self, latents: Tensor) -> Tensor:
        """Raw latents (N, R) of standardised ones (N, D)."""
        latents = latents * self.latent_std + self.latent_mean
        if self.space.components:
            latents = latents @ self.pca_components + self.pca_mean
        return latents

    def fit_scaler(self, mean: Tensor) -> None:
        """Set the scaler, and the principal components if there are any, from raw latents (N, R).

        Each component's sign is such that its largest coefficient is positive.
        """
        if self.space.components:
            self.pca_mean.copy_(mean.mean(dim=0))
            _, _, rows = torch.linalg.svd((mean - self.pca_mean).double(), full_matrices=False)
            rows = rows[: self.space.components]
            largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
            self.pca_components.copy_(rows * largest.sign())
        used, _ = self._project(mean, torch.zeros_like(mean))
        self.latent_mean.copy_(used.mean(dim=0))
        self.latent_std.copy_(used.std(dim=0))

    def _project(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        if not self.space.components:
            return mean, variance
        rows = self.pca_components
        return (mean - self.pca_mean) @ rows.T, variance @ (rows**2).T


def maximum_mean_discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of two sets (N, R), kernel exp(-mean_d (x - y)^2)."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = (a[:, None] - b[None]).square().mean(dim=2)
        return torch.exp(-squared).mean()

    return kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
