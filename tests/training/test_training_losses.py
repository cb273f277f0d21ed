"""Losses against closed forms."""

import numpy as np
import pytest
import torch

from targetsel.training.losses import gaussian_loss, rms_error, widened


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


def test_noise_of_the_labels_widens_what_they_are_compared_with():
    # factor 0.6 and noise 0.8 make a deviation of 1: the loss is half the squared error
    factor, noise = torch.tensor([[[0.6]]]), torch.tensor([[0.8]])
    mean, target = torch.zeros(1, 1), torch.tensor([[3.0]])
    assert gaussian_loss(mean, factor, target, noise).item() == pytest.approx(4.5, abs=1e-6)


def test_widened_factors_multiply_to_the_covariance_and_the_noise():
    torch.manual_seed(0)
    factor = torch.randn(5, 3, 3).tril() + 2 * torch.eye(3)
    noise = torch.rand(5, 3)
    wide = widened(factor, noise)
    expected = factor @ factor.mT + torch.diag_embed(noise**2)
    assert (wide @ wide.mT).numpy() == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-4)


def test_a_factor_too_narrow_for_single_precision_can_be_widened():
    factor = torch.tensor([[[1.0, 0.0], [1.0, 1e-5]]])
    wide = widened(factor, torch.zeros(1, 2))
    assert wide[0, 1, 1].item() == pytest.approx(1e-5, rel=1e-3)


def test_a_factor_that_is_no_number_makes_the_loss_none_either():
    factor = torch.full((1, 2, 2), torch.nan)
    zero, noise = torch.zeros(1, 2), torch.ones(1, 2)
    assert gaussian_loss(zero, factor, zero, noise).isnan()


def test_a_source_of_weight_two_counts_as_two_of_it():
    draw = torch.Generator().manual_seed(4)
    mean, target = torch.randn(3, 2, generator=draw), torch.randn(3, 2, generator=draw)
    factor = torch.eye(2).expand(3, 2, 2) * torch.tensor([0.5, 1.0, 2.0])[:, None, None]
    twice = torch.tensor([0, 1, 2, 2])
    weight = 3 / 4 * torch.tensor([1.0, 1.0, 2.0])
    for loss in (rms_error, gaussian_loss):
        expected = loss(mean[twice], factor[twice], target[twice])
        assert loss(mean, factor, target, None, weight) == pytest.approx(expected.item(), rel=1e-6)
