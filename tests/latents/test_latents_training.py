"""Training: losses against closed forms, orientations, and a network that learns."""

import numpy as np
import pytest
import torch

from targetsel.latents.network import Network, NetworkPlan
from targetsel.latents.training import (
    Recipe,
    augmented,
    gaussian_loss,
    recompute_statistics,
    rms_error,
    train_network,
    turned,
)


def test_rms_error_of_three_and_four_is_the_root_of_twelve_and_a_half():
    mean = torch.tensor([[3.0, 4.0]])
    assert rms_error(mean, torch.empty(0), torch.zeros(1, 2)).item() == pytest.approx(12.5**0.5)


def test_gaussian_loss_is_the_negative_log_likelihood_without_its_constant():
    torch.manual_seed(0)
    factor = torch.randn(4, 3, 3).tril() + 3 * torch.eye(3)
    mean, target = torch.randn(4, 3), torch.randn(4, 3)
    normal = torch.distributions.MultivariateNormal(mean, scale_tril=factor.double().float())
    constant = 1.5 * np.log(2 * np.pi)
    expected = -normal.log_prob(target).mean() - constant
    factor = factor * factor.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)
    assert gaussian_loss(mean, factor, target).item() == pytest.approx(expected.item(), rel=1e-4)


def test_turned_cutouts_take_all_eight_orientations_and_keep_their_pixels():
    cutout = np.arange(2 * 9, dtype=np.float32).reshape(1, 2, 3, 3)
    many = turned(np.repeat(cutout, 400, axis=0), np.random.default_rng(0))
    seen = {each.tobytes() for each in many}
    assert len(seen) == 8
    assert all(np.array_equal(np.sort(each[0].ravel()), np.arange(9)) for each in many)


def test_augmented_cutouts_are_turned_by_ten_degrees_at_most_or_by_quarters():
    y, x = np.mgrid[-16:17, -16:17]
    ray = np.exp(-((x - 10) ** 2 + y**2) / 8.0).astype(np.float32)
    flux = augmented(np.repeat(ray[None, None], 2000, axis=0), np.random.default_rng(0)).numpy()
    total = flux.sum(axis=(1, 2, 3))
    east, north = (
        (flux[:, 0] * x).sum(axis=(1, 2)) / total,
        (flux[:, 0] * y).sum(axis=(1, 2)) / total,
    )
    assert np.hypot(east, north) == pytest.approx(10, abs=0.05)
    angle = np.degrees(np.arctan2(north, east))
    from_quarter = np.abs((angle + 45) % 90 - 45)
    assert 9 < from_quarter.max() < 10.1
    assert (from_quarter > 0.05).mean() == pytest.approx(0.75, abs=0.04)
    assert (np.abs(angle) < 11).mean() == pytest.approx(0.5 + 0.5 / 4, abs=0.04)
    assert augmented(np.ones((4, 2, 5, 5), np.float32), np.random.default_rng(1)).numpy() == (
        pytest.approx(1)  # nothing comes in from beyond the border
    )


def toy_problem(n=192):
    """Cutouts whose brightness and colour are the two latents."""
    rng = np.random.default_rng(3)
    latents = rng.normal(size=(n, 2))
    y, x = np.mgrid[-8:8, -8:8] / 3.0
    blob = np.exp(-(x**2 + y**2))
    light = np.exp(latents @ np.array([[0.5, 0.5], [-0.5, 0.5]]))
    flux = light[:, :, None, None] * blob + 0.02 * rng.normal(size=(n, 2, 16, 16))
    return flux.astype(np.float32), latents


def test_a_small_network_learns_brightness_and_colour_and_the_same_again_from_the_same_seed():
    flux, latents = toy_problem()
    plan = NetworkPlan(n_bands=2, n_latents=2, width=0.125)
    recipe = Recipe(epochs_mean=8, epochs_covariance=2, batch=32, learning_rate=1e-2, seed=5)
    rows = np.arange(160)

    def train() -> Network:
        return train_network(
            lambda chosen: flux[chosen], rows, latents, plan, recipe, lambda line: None
        )

    network = train()
    with torch.inference_mode():
        mean, factor = network(torch.from_numpy(flux[160:]))
    error = np.sqrt(((mean.numpy() - latents[160:]) ** 2).mean())
    assert error < 0.6 * latents[160:].std()
    assert (factor.diagonal(dim1=1, dim2=2) > 0).all()
    again = train()
    for (name, one), other in zip(
        network.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_recomputed_statistics_are_plain_averages_over_the_batches():
    torch.manual_seed(0)
    flux, _ = toy_problem(64)
    network = Network(NetworkPlan(n_bands=2, n_latents=2, width=0.125))
    layer = network.stem[0]
    layer.running_mean.fill_(9.0)
    recompute_statistics(network, lambda rows: flux[rows], np.arange(64), batch=32)
    means = [layer._statistics(torch.from_numpy(flux[k : k + 32]))[0] for k in (0, 32)]
    assert layer.running_mean == pytest.approx(
        ((means[0] + means[1]) / 2).detach().numpy(), abs=1e-6
    )
    assert layer.momentum == pytest.approx(0.1)
    assert not network.training
