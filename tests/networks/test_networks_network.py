"""The network family: published counts and shapes, what each option does, and plans on cards."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from targetsel.documents.models import validate_values
from targetsel.errors import EnsembleError
from targetsel.networks.deconvolution import Deconvolution
from targetsel.networks.network import (
    Network,
    NetworkPlan,
    SelfAttention,
    SqueezeExcitation,
    count_parameters,
    presets,
)

NARROW = {"n_bands": 2, "n_latents": 3, "width": 0.125}


def layers(network, kind):
    return [name for name, layer in network.named_modules() if isinstance(layer, kind)]


# ---------------------------------------------------------------- the published networks


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("hybrid", 6_734_743),
        ("batch-normalisation", 6_734_871),
        ("full-deconvolution", 6_730_007),
        ("tiny-deconvolution", 29_606),
        ("tiny-batch-normalisation", 29_734),
    ],
)
def test_published_networks_have_exactly_the_published_number_of_parameters(name, count):
    plan = presets()[name]
    assert (plan.n_bands, plan.n_latents) == (5, 6)
    assert count_parameters(plan) == count


def test_there_are_five_presets():
    assert len(presets()) == 5


def test_the_parts_of_the_hybrid_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        network = Network(presets()["hybrid"])

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert [count(network.stem[k]) for k in (0, 2, 4)] == [1_472, 9_248, 18_496]
    assert [count(block) for block in network.stages] == [
        38_792,
        38_792 + 4_097,
        161_808,
        154_512,
        645_408,
        616_736,
        2_577_984,
        2_464_320,
    ]
    assert count(network.head) == 3_078


def test_deconvolution_goes_into_the_stem_everywhere_or_nowhere():
    with torch.device("meta"):
        networks = {name: Network(plan) for name, plan in presets().items()}
    assert layers(networks["hybrid"], Deconvolution) == ["stem.0", "stem.2", "stem.4"]
    assert layers(networks["batch-normalisation"], Deconvolution) == []
    assert layers(networks["full-deconvolution"], nn.BatchNorm2d) == []
    plain = layers(networks["full-deconvolution"], nn.Conv2d)  # squeeze-and-excitation only
    assert len(plain) == 16
    assert all(name.endswith(("squeeze", "excite")) for name in plain)


def test_maps_of_a_224_pixel_cutout_have_the_published_sizes():
    network = Network(presets()["hybrid"]).eval()
    sizes = []
    watched = [network.stem[0], network.stem[2], network.stem[4], network.pool]
    for layer in [*watched, *list(network.stages)[1::2]]:
        layer.register_forward_hook(lambda layer, given, out: sizes.append(out.shape[2:]))
    with torch.inference_mode():
        network(torch.zeros(1, 5, 224, 224))
    assert sizes == [(n, n) for n in (112, 112, 112, 56, 56, 28, 14, 7)]


def test_squeezed_channels_are_8_16_32_and_64_and_attention_ends_the_first_stage_only():
    with torch.device("meta"):
        network = Network(presets()["hybrid"])
    hidden = [m.squeeze.out_channels for m in network.modules() if isinstance(m, SqueezeExcitation)]
    assert hidden == [8, 8, 16, 16, 32, 32, 64, 64]
    assert layers(network, SelfAttention) == ["stages.1.main.6"]


def test_the_first_convolution_of_each_block_has_64_groups_and_the_second_one():
    with torch.device("meta"):
        network = Network(presets()["hybrid"])
    assert [block.main[0].groups for block in network.stages] == 8 * [64]
    assert [block.main[3].groups for block in network.stages] == 8 * [1]
    assert [block.main[0].weight.shape[1] for block in network.stages] == [1, 1, 1, 2, 2, 4, 4, 8]


def test_published_networks_start_with_kaiming_weights_no_biases_and_blocks_that_do_nothing():
    torch.manual_seed(0)
    network = Network(presets()["hybrid"])
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
    second = network.stages[7].main[3].weight  # 512 channels of 3x3 go in
    assert second.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert network.head.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.05)
    whitened = network.stem[2].weight  # keeps a convolution's own start: uniform, 1 / sqrt(fan in)
    assert whitened.abs().max().item() == pytest.approx(288**-0.5, rel=0.01)
    for block in network.stages:
        assert not block.main[4].weight.any()
        assert torch.equal(block.main[1].weight, torch.ones_like(block.main[1].weight))
    x = torch.rand(1, 64, 8, 8)
    assert torch.allclose(network.stages[0].eval()(x), nn.functional.mish(x))


def test_the_tiny_networks_are_three_convolutions_of_which_two_halve_the_cutout():
    sizes = {}
    for name in ("tiny-deconvolution", "tiny-batch-normalisation"):
        network = Network(presets()[name]).eval()
        sizes[name] = tuple(network.pool(network.stem(torch.zeros(1, 5, 64, 64))).shape)
    assert sizes["tiny-batch-normalisation"] == (1, 64, 16, 16)
    assert sizes["tiny-deconvolution"] == (1, 64, 13, 13)  # published without padding


# ---------------------------------------------------------------- the options


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 34},
        {"depth": 50, "groups": 32, "squeeze": 16, "attention": True},
        {"depth": 50, "deconvolution": "everywhere", "groups": 64},
        {"deconvolution": "everywhere", "squeeze": 8, "attention": True, "activation": "mish"},
        {"deconvolution": "nowhere", "groups": 64, "width": 0.3},
        {"depth": 0},
        {"photometry": 8},
        {"photometry": 8, "width": 0, "activation": "mish"},
    ],
)
def test_every_option_trains_and_gives_a_mean_and_a_positive_covariance(options):
    torch.manual_seed(0)
    network = Network(NetworkPlan(**(NARROW | options)))
    mean, factor = network(torch.randn(3, 2, 33, 30))
    assert mean.shape == (3, 3)
    assert factor.shape == (3, 3, 3)
    assert (factor.diagonal(dim1=1, dim2=2) > 0).all()
    assert not factor.triu(1).any()
    (mean.square().sum() + factor.square().sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_depths_have_two_and_three_convolutions_in_each_block():
    def convolutions(depth):
        with torch.device("meta"):
            network = Network(NetworkPlan(depth=depth))
        main = [block.main for block in network.stages]
        return [sum(isinstance(m, nn.Conv2d) for m in block) for block in main]

    assert convolutions(18) == 8 * [2]
    assert convolutions(34) == 16 * [2]
    assert convolutions(50) == 16 * [3]
    with torch.device("meta"):
        assert Network(NetworkPlan(depth=50)).head.in_features == 2048


def test_self_attention_is_gram_matrix_times_mixed_channels_without_softmax():
    torch.manual_seed(1)
    layer = SelfAttention(4).train()
    x = torch.randn(2, 4, 3, 5)
    assert torch.equal(layer(x), x)  # gamma starts at zero
    for _ in range(200):
        layer(x)  # each training step is one power iteration
    layer.gamma.data.fill_(0.7)
    found = layer.eval()(x).detach().numpy()
    mixing = layer.weight.detach().double().numpy()
    mixing = mixing / np.linalg.svd(mixing)[1][0]
    for n in range(2):
        flat = x[n].double().numpy().reshape(4, 15)
        expected = 0.7 * (flat @ flat.T) @ (mixing @ flat) + flat
        assert np.abs(found[n].reshape(4, 15) - expected).max() < 1e-4


def test_self_attention_stays_in_float32_under_autocast():
    layer = SelfAttention(4).eval()
    layer.gamma.data.fill_(1.0)
    x = 100 * torch.randn(1, 4, 16, 16)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), expected)


def test_squeeze_and_excitation_scales_channels_by_what_the_whole_map_holds():
    layer = SqueezeExcitation(16, 8, "relu")
    nn.init.zeros_(layer.excite.weight)
    nn.init.zeros_(layer.excite.bias)
    x = torch.randn(2, 16, 4, 4)
    assert torch.allclose(layer(x), x / 2)  # sigmoid of nothing


# ---------------------------------------------------------------- plans and heads


def test_a_card_of_three_keys_still_means_the_network_it_was_written_for():
    plan = NetworkPlan(**json.loads('{"n_bands": 5, "n_latents": 6, "width": 0.25}'))
    names = list(Network(plan).state_dict())
    assert names[:4] == [
        "stem.0.weight",
        "stem.0.bias",
        "stem.0.running_mean",
        "stem.0.running_deconv",
    ]
    assert {"stages.2.main.3.weight", "stages.2.shortcut.1.weight", "head.bias"} <= set(names)
    assert "stages.2.shortcut.2.running_var" in names
    assert plan == NetworkPlan(width=0.25)
    assert not any(name.startswith("photometry") for name in names)
    assert Network(plan).head.out_features == 27


@pytest.mark.parametrize("name", presets())
def test_a_plan_comes_back_from_its_card(name):
    plan = presets()[name]
    assert NetworkPlan(**json.loads(json.dumps(plan.model_dump(mode="json")))) == plan


def test_a_network_without_a_covariance_head_has_the_errors_of_its_plan():
    plan = NetworkPlan(**NARROW, head="mean", latent_rmse=[0.5, 0.6, 0.7])
    network = Network(plan).eval()
    mean, factor = network(torch.randn(2, 2, 32, 32))
    assert mean.shape == (2, 3)
    assert torch.allclose(factor, torch.diag(torch.tensor([0.5, 0.6, 0.7])).expand(2, 3, 3))
    assert NetworkPlan(**json.loads(json.dumps(plan.model_dump(mode="json")))) == plan
    assert "rmse" not in network.state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 19}, "plan: depth is '19'; expected 0, 18, 34 or 50"),
        ({"deconvolution": "stems"}, "deconvolution is 'stems'; expected 'stem', .*mean 'stem'"),
        ({"activation": "gelu"}, "activation is 'gelu'; expected 'relu' or 'mish'"),
        ({"head": "both"}, "head is 'both'; expected 'covariance' or 'mean'"),
        ({"attention": "yes"}, "attention is 'yes'; expected a valid boolean"),
        ({"groups": 0}, "groups is '0'; expected a whole number, 1 to 10000"),
        ({"n_bands": "many"}, "n_bands is 'many'; expected a whole number, 0 to 1000"),
        ({"width": -1.0}, "width is '-1.0'; expected a number, 0 to 16"),
        ({"photometry": -1}, "photometry is '-1'; expected a whole number, 0 to 10000"),
        ({"widht": 1.0}, "unknown key 'widht' .* Did you mean 'width'"),
        ({"width": 0}, "width and photometry are both 0, so the network sees nothing"),
        ({"latent_rmse": (1.0,) * 6}, "head is 'covariance'"),
        ({"head": "mean", "latent_rmse": (1.0,)}, "latent_rmse has 1 numbers; expected 6"),
        ({"head": "mean", "latent_rmse": (1.0,) * 5 + (0.0,)}, "latent_rmse is '0.0'; .* above 0"),
    ],
)
def test_a_plan_that_means_nothing_is_refused_in_one_line(options, message):
    with pytest.raises(EnsembleError, match=message) as error:
        validate_values(options, NetworkPlan, "plan", EnsembleError)
    assert "\n" not in str(error.value)
