"""The published networks by name, and how many parameters a network has.

Wu & Peek (2020, arXiv:2009.12318) compare the first three; the tiny ones are their baselines. All
take five bands and predict the mean of six latents.
"""

from __future__ import annotations

import torch

from targetsel.networks.network import Network, NetworkPlan


def presets() -> dict[str, NetworkPlan]:
    """The plans of the published networks, by name."""
    return {
        "hybrid": _published("stem"),
        "batch-normalisation": _published("nowhere"),
        "full-deconvolution": _published("everywhere"),
        "tiny-deconvolution": NetworkPlan(depth=0, deconvolution="stem", head="mean"),
        "tiny-batch-normalisation": NetworkPlan(depth=0, deconvolution="nowhere", head="mean"),
    }


def count_parameters(plan: NetworkPlan) -> int:
    """Trainable numbers of a network of this plan; none of them is allocated."""
    with torch.device("meta"):
        network = Network(plan)
    return sum(parameter.numel() for parameter in network.parameters())


def _published(deconvolution: str) -> NetworkPlan:
    return NetworkPlan(
        deconvolution=deconvolution,
        groups=64,
        squeeze=8,
        attention=True,
        activation="mish",
        head="mean",
    )
