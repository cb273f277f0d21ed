"""Aperture photometry inside a network: measured on the cutout that its convolutions see.

Fluxes in five round apertures of each band, and the size and ellipticity of the light in the
fourth, are additional inputs of the network's head. All are computed from the cutout, so that
nothing else has to be stored, given, or exported.

Apertures and sizes are in units of half the cutout's side. Cutouts come stretched by "linear" with
scale 20, or by "asinh" with scale 2, which is undone first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RADII = (0.1, 0.2, 0.35, 0.6, 0.95)
WINDOW = 3  # the aperture that sizes are measured in
LINEAR_SCALE, ASINH_SCALE = 20.0, 2.0  # scales of the stretches
SKY_SIGMA = 1 / LINEAR_SCALE  # of one linearly stretched pixel
FAINTEST = 5.0  # flux that sizes are divided by, at least [its noise]
POINT = 0.01  # added to a second moment, so that a point has no ellipticity
FARTHEST = 5.0  # largest distance from the mean over training sources [standard deviation]
NUMBERS_PER_BAND = len(RADII) + 2


class Photometry(nn.Module):
    """Stretched cutouts (N, B, H, W) to features (N, `hidden`): two layers behind `measured`.

    The numbers are first brought to mean 0 and variance 1 over the training sources, and bounded:
    a gap in the middle of one band makes colours that no galaxy has. `softening` is that of an
    asinh stretch [sky sigma], or 0 for the linear one.
    """

    def __init__(
        self, n_bands: int, hidden: int, activation: type[nn.Module], softening: float = 0.0
    ):
        super().__init__()
        self.softening = softening
        n = NUMBERS_PER_BAND * n_bands
        self.layers = nn.Sequential(
            nn.BatchNorm1d(n, affine=False),
            nn.Hardtanh(-FARTHEST, FARTHEST),
            nn.Linear(n, hidden),
            activation(),
            nn.Linear(hidden, hidden),
            activation(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.of_numbers(self.measured(x))

    def measured(self, x: Tensor) -> Tensor:
        """The numbers of `measured`, shape (N, 7 B): the same for networks of one `softening`."""
        if self.softening:
            x = (x.float() * ASINH_SCALE).sinh() * (self.softening * SKY_SIGMA)
        return measured(x)

    def of_numbers(self, numbers: Tensor) -> Tensor:
        """Features (N, `hidden`) of the numbers of `measured`."""
        features: Tensor = self.layers(numbers)
        return features


def measured(x: Tensor) -> Tensor:
    """Aperture photometry of linearly stretched cutouts (N, B, H, W), shape (N, 7 B), float32 or
    better.

    Fluxes become asinh(flux / noise) (Lupton et al. 1999, AJ 118, 1406), the noise that of the sky
    in the aperture, were pixels independent. In this order: differences between neighbouring bands
    in each aperture (colours), differences between neighbouring apertures of the mean over bands,
    that mean in the largest aperture; then each band's size, and each band's ellipticity, from
    second moments. No number changes when a cutout is turned or mirrored.

    A pixel without data, which the stretch leaves at exactly zero, is taken from the opposite side
    of the centre: galaxies are symmetric, nearly.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        x = torch.where(x == 0, x.flip(2, 3), x)
        weights = apertures(*x.shape[2:]).to(x)
        moments = weights[WINDOW] * _squares(*x.shape[2:]).to(x)
        sums = x.flatten(2) @ torch.cat([weights, moments]).T
        flux, (square, plus, cross) = sums[..., : len(RADII)], sums[..., len(RADII) :].unbind(2)
        noise = SKY_SIGMA * weights.square().sum(dim=1).sqrt()
        bright = (flux / noise).asinh()
        mean = bright.mean(dim=1)
        light = torch.maximum(flux[..., WINDOW], FAINTEST * noise[WINDOW])
        extent = (square / light).clamp(0.0, 1.0)
        elongation = ((plus**2 + cross**2).clamp_min(1e-12).sqrt() / light).clamp(0.0, 1.0)
        numbers = (
            (bright[:, 1:] - bright[:, :-1]).flatten(1),
            mean[:, 1:] - mean[:, :-1],
            mean[:, -1:],
            (extent + POINT).sqrt(),
            (elongation / (extent + POINT)).clamp(0.0, 1.0),
        )
        return torch.cat(numbers, dim=1)


def apertures(height: int, width: int) -> Tensor:
    """Share of each pixel that lies in each aperture, shape (5, H W).

    The border is a ramp one pixel wide: a good approximation to the exact overlap. No radius is
    less than one pixel.
    """
    y, x = _grid(height, width)
    half = min(height, width) / 2
    radius = (x**2 + y**2).sqrt() * half  # [pixel]
    edges = (torch.tensor(RADII).unsqueeze(1) * half).clamp_min(1.0)
    return (edges - radius + 0.5).clamp(0.0, 1.0)


def _squares(height: int, width: int) -> Tensor:
    """x^2 + y^2, x^2 - y^2 and 2 x y of each pixel, shape (3, H W)."""
    y, x = _grid(height, width)
    return torch.stack([x**2 + y**2, x**2 - y**2, 2 * x * y])


def _grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """y and x of each pixel from the centre [half the shorter side], each of shape (H W,)."""
    half = min(height, width) / 2
    y = (torch.arange(height) - (height - 1) / 2) / half
    x = (torch.arange(width) - (width - 1) / 2) / half
    return y.repeat_interleave(width), x.repeat(height)
