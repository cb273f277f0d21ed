"""Losses, schedule and optimisers by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from targetsel.training.optimisation import (
    OPTIMISERS,
    Lookahead,
    gaussian_loss,
    one_cycle,
    ranger,
    rms_error,
    widened,
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


def test_one_cycle_starts_at_a_25th_peaks_after_a_quarter_and_ends_at_a_100000th():
    assert one_cycle(0.0, 3e-2) == pytest.approx((1.2e-3, 0.95))
    assert one_cycle(0.25, 3e-2) == pytest.approx((3e-2, 0.85))
    assert one_cycle(1.0, 3e-2) == pytest.approx((3e-7, 0.95))


def test_one_cycle_is_half_way_in_the_middle_of_either_part():
    assert one_cycle(0.125, 1.0) == pytest.approx(((1 + 1 / 25) / 2, 0.90))
    assert one_cycle(0.625, 1.0) == pytest.approx(((1 + 1e-5) / 2, 0.90))


@given(st.floats(0, 1), st.floats(1e-4, 1e-1))
def test_rate_never_leaves_the_range_of_its_ends_and_peak(progress, peak):
    rate, momentum = one_cycle(progress, peak)
    assert peak * 1e-5 * (1 - 1e-9) <= rate <= peak * (1 + 1e-9)
    assert 0.85 - 1e-9 <= momentum <= 0.95 + 1e-9


def test_lookahead_moves_slow_weights_half_way_every_sixth_step():
    # plain descent on a slope of 1 with rate 1: six steps go from 10 to 4, half way is 7
    weight = torch.nn.Parameter(torch.tensor([10.0]))
    optimiser = Lookahead(torch.optim.SGD([weight], lr=1.0), k=6, alpha=0.5)
    seen = []
    for _ in range(13):
        weight.grad = torch.ones(1)
        optimiser.step()
        seen.append(weight.item())
    assert seen == [9, 8, 7, 6, 5, 7, 6, 5, 4, 3, 2, 4, 3]


def test_ranger_follows_the_recurrences_of_its_papers():
    decay, eps, rate, momentum, square = 0.01, 1e-6, 0.1, 0.95, 0.99
    weight = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimiser = ranger([weight], rate, decay)
    value = slow = 1.0
    average = squares = 0.0
    infinite = 2 / (1 - square) - 1
    for step in range(1, 20):
        gradient = math.sin(step) + 0.5
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        average = momentum * average + (1 - momentum) * gradient
        squares = square * squares + (1 - square) * gradient**2
        value -= rate * decay * value
        unbiased = average / (1 - momentum**step)
        length = infinite - 2 * step * square**step / (1 - square**step)
        if length > 5:
            rectification = math.sqrt(
                (length - 4) * (length - 2) * infinite
                / ((infinite - 4) * (infinite - 2) * length)
            )  # fmt: skip
            spread = (math.sqrt(squares) + eps) / math.sqrt(1 - square**step)
            value -= rate * rectification * unbiased / spread
        else:
            value -= rate * unbiased
        if step % 6 == 0:
            slow += 0.5 * (value - slow)
            value = slow
        assert weight.item() == pytest.approx(value, rel=1e-9)


def test_schedule_reaches_the_steps():
    weight = torch.nn.Parameter(torch.ones(1))
    optimiser = ranger([{"params": [weight], "weight_decay": 0.0}], 1.0)
    optimiser.set(*one_cycle(0.25, 0.5))
    weight.grad = torch.ones(1)
    optimiser.step()
    assert weight.item() == pytest.approx(0.5)  # RAdam's first step is the rate times the gradient
    optimiser.zero_grad()
    assert weight.grad is None


@pytest.mark.parametrize("name", ["adamw", "ranger"])
def test_an_optimiser_goes_on_exactly_from_its_state(name):
    def descend(weight, optimiser, steps):
        for step in steps:
            optimiser.set(*one_cycle(step / 20, 0.1))
            weight.grad = weight.detach() ** 3
            optimiser.step()

    start = torch.tensor([1.0, -2.0])
    whole = torch.nn.Parameter(start.clone())
    descend(whole, OPTIMISERS[name]([whole], 0.1), range(20))
    first = torch.nn.Parameter(start.clone())
    half = OPTIMISERS[name]([first], 0.1)
    descend(first, half, range(11))
    second = torch.nn.Parameter(first.detach().clone())
    other = OPTIMISERS[name]([second], 0.1)
    other.load(half.state())
    descend(second, other, range(11, 20))
    assert torch.equal(second, whole)
