"""Aperture photometry inside a network: what the numbers are, and that they teach."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.imaging.stretch import Stretch
from targetsel.networks.aperture_photometry import (
    ASINH_SCALE,
    LINEAR_SCALE,
    NUMBERS_PER_BAND,
    POINT,
    RADII,
    SKY_SIGMA,
    Photometry,
    apertures,
    measured,
)
from targetsel.networks.network import Network, NetworkPlan

N_APERTURES = len(RADII)


def galaxy(sigma=(4.0, 4.0), flux=100.0, angle=0.0, size=64, bands=1):
    """A Gaussian of these widths [pixel] and total flux, shape (1, bands, size, size)."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    image = np.exp(-0.5 * ((along / sigma[0]) ** 2 + (across / sigma[1]) ** 2))
    image = torch.from_numpy(image / image.sum() * flux).float()
    return image.expand(1, bands, size, size)


def named(x):
    """The numbers by what they are, for one source."""
    bands = x.shape[1]
    colours, concentration, total, size, ellipticity = measured(x)[0].split(
        [(bands - 1) * N_APERTURES, N_APERTURES - 1, 1, bands, bands]
    )
    return {
        "colours": colours.reshape(bands - 1, N_APERTURES),
        "concentration": concentration,
        "total": total[0],
        "size": size,
        "ellipticity": ellipticity,
    }


@pytest.mark.parametrize("size", [48, 64, 224])
def test_apertures_cover_the_area_of_their_circles(size):
    areas = apertures(size, size).sum(dim=1)
    expected = torch.pi * (torch.tensor(RADII) * size / 2) ** 2
    assert ((areas / expected - 1).abs() < 0.02).all()


def test_the_total_is_the_flux_in_the_largest_aperture_over_its_noise():
    noise = SKY_SIGMA * apertures(64, 64)[-1].square().sum().sqrt()
    found = named(galaxy(sigma=(2.0, 2.0), flux=100.0))["total"]  # all of it lies inside
    assert found.item() == pytest.approx(math.asinh(100.0 / noise.item()), rel=1e-4)


def test_sky_alone_has_a_flux_of_about_its_noise_in_every_aperture():
    torch.manual_seed(0)
    sky = torch.randn(2000, 1, 32, 32) * SKY_SIGMA
    numbers = measured(sky)
    brightest = numbers[:, N_APERTURES - 1]  # behind four differences
    backwards = numbers[:, : N_APERTURES - 1].flip(1).cumsum(1)
    fluxes = torch.cat([brightest[:, None], brightest[:, None] - backwards], dim=1).sinh()
    assert ((fluxes.std(dim=0) - 1).abs() < 0.05).all()


def test_a_band_twice_as_bright_differs_by_the_logarithm_of_two_in_every_aperture():
    x = galaxy(bands=2).clone()
    x[:, 1] *= 2
    assert torch.allclose(named(x)["colours"], torch.tensor(math.log(2)), atol=2e-3)


def test_a_round_galaxy_has_its_size_and_no_ellipticity():
    found = named(galaxy(sigma=(3.2, 3.2)))  # a tenth of half the cutout
    assert found["size"].item() == pytest.approx(math.sqrt(2 * 0.1**2 + POINT), rel=1e-3)
    assert found["ellipticity"].item() < 1e-3


def test_ellipticity_is_that_of_the_moments_whatever_the_angle():
    a, b = 0.15**2, 0.075**2  # squared widths, in squares of half the cutout
    for angle in (0.0, 0.4, 1.3):
        found = named(galaxy(sigma=(4.8, 2.4), angle=angle))
        assert found["ellipticity"].item() == pytest.approx((a - b) / (a + b + POINT), rel=0.02)


def test_a_concentrated_galaxy_gains_less_light_with_every_aperture():
    narrow, wide = (named(galaxy(sigma=(s, s)))["concentration"] for s in (3.0, 9.0))
    assert (narrow < wide).all()


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    level=st.sampled_from([0.0, 0.05, 100.0]),
)
def test_numbers_are_finite_and_the_same_however_a_cutout_is_mirrored(seed, shape, level):
    torch.manual_seed(seed)
    x = level * torch.randn(2, *shape)
    numbers = measured(x)
    assert numbers.shape == (2, NUMBERS_PER_BAND * shape[0])
    assert torch.isfinite(numbers).all()
    for turned in (x.flip(2), x.flip(3), x.mT):
        assert torch.allclose(measured(turned.contiguous()), numbers, atol=1e-3)


def test_a_gap_on_one_side_of_a_galaxy_is_filled_from_the_other():
    x = galaxy(bands=2).clone()
    whole = measured(x)
    x[:, 1, 20:30, 33:50] = 0.0
    assert torch.allclose(measured(x), whole, atol=1e-5)


def test_a_gap_in_the_middle_moves_the_features_no_farther_than_five_deviations():
    torch.manual_seed(5)
    layers = Photometry(2, 4, torch.nn.ReLU)
    level = SKY_SIGMA * torch.randn(64, 2, 1, 1)
    x = galaxy(bands=2) * (1 + 0.01 * torch.randn(64, 2, 1, 1)) + level
    layers(x)
    layers.eval()
    seen = []
    layers.layers[2].register_forward_hook(lambda layer, given, out: seen.append(given[0]))
    x[:, 1, 24:40, 24:40] = 0.0
    layers(x)
    assert seen[0].abs().max() == 5.0


def test_photometry_stays_in_float32_under_autocast():
    x = galaxy(bands=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = measured(x)
    assert torch.equal(found, measured(x))
    assert measured(x.half()).dtype == torch.float32


@pytest.mark.parametrize("width", [0, 0.125])
def test_photometry_adds_its_features_behind_the_pooled_ones(width):
    network = Network(NetworkPlan(n_bands=2, n_latents=3, width=width, photometry=7)).eval()
    x = torch.randn(4, 2, 32, 32) * SKY_SIGMA
    features = network.features(x)
    assert features.shape == (4, 7 + (64 if width else 0))
    assert torch.equal(features[:, -7:], network.photometry(x))
    assert network(x)[1].shape == (4, 3, 3)


def test_photometry_alone_has_no_convolutions():
    network = Network(NetworkPlan(width=0, photometry=32))
    assert not any(isinstance(layer, torch.nn.Conv2d) for layer in network.modules())
    expected = (35 + 1) * 32 + (32 + 1) * 32 + (32 + 1) * 27
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_photometry_alone_learns_a_colour_that_noise_does_not_hide():
    torch.manual_seed(3)
    colour = torch.rand(512, 1) * 2 - 1
    x = galaxy(bands=2, size=16, sigma=(2.0, 2.0)).repeat(512, 1, 1, 1)
    x[:, 1] *= colour[:, :, None].exp()
    x += SKY_SIGMA * torch.randn_like(x)
    network = Network(NetworkPlan(n_bands=2, n_latents=1, width=0, photometry=16, head="mean"))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(150):
        loss = (network(x[:256])[0] - colour[:256]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    error = (network.eval()(x[256:])[0] - colour[256:]).square().mean().sqrt()
    assert error < 0.15 * colour.std()


def test_gradients_reach_the_pixels_even_of_an_empty_cutout():
    x = torch.zeros(3, 2, 8, 8, requires_grad=True)
    measured(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_photometry_undoes_an_asinh_stretch():
    rng = np.random.default_rng(5)
    flux = rng.normal(0, 300, (6, 2, 16, 16))
    usual = {"sky_sigma": (1.0, 2.0), "softening": 10.0, "clip": 1e6}
    linear = Stretch(kind="linear", scale=LINEAR_SCALE, **usual).apply(flux)
    asinh = Stretch(kind="asinh", scale=ASINH_SCALE, **usual).apply(flux)
    torch.manual_seed(0)
    one = Photometry(2, 8, torch.nn.ReLU).eval()
    other = Photometry(2, 8, torch.nn.ReLU, softening=10.0).eval()
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        expected, found = one(torch.from_numpy(linear)), other(torch.from_numpy(asinh))
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-4)
