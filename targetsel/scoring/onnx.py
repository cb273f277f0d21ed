"""Networks as ONNX graphs, for programs that do not have torch.

Writing them needs the packages onnx and onnxscript; running them, any ONNX runtime.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from targetsel.errors import EnsembleError
from targetsel.extras import require
from targetsel.imaging.stretch import Stretch
from targetsel.networks.deconvolution import fold
from targetsel.networks.network import Network, NetworkPlan
from targetsel.novelty.novelty import EDGE, LEVELS, NoveltyReference
from targetsel.scoring.engines import Members
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.onnx_program import onnx_program
from targetsel.tables.files import written_beside
from targetsel.tasks import task


def export_member(network: Network, size: int, path: Path) -> None:
    """Write one network as an ONNX graph.

    Its input `stretched` (N, B, size, size) is what the ensemble's input plan prepares; its outputs
    are `latent_mean` (N, D), `latent_factor` (N, D, D) and `pooled_features` (N, F). Of a network
    that predicts the redshift, the last of D is ln(1 + redshift) on the scale of its plan.
    """
    _check_of_cutouts(network.plan)
    names = ("latent_mean", "latent_factor", "pooled_features")
    shape = (2, network.plan.n_bands, size, size)
    card = {"network": network.plan.model_dump(mode="json")}
    _export(_MemberGraph(network), "stretched", shape, names, card, path)


def export_ensemble(ensemble: Ensemble, path: Path) -> None:
    """Write a whole ensemble as one ONNX graph; its card is the graph's metadata `targetsel`.

    The input `flux` (N, B, H, W) [nanomaggy], NaN where there is no data, has the bands, pixel
    scale and size of the card. Outputs, in standardised latents: `latent_mean` (N, D) and
    `latent_cov` (N, D, D) of the mixture, `member_mean` (N, M, D) and `member_factor`
    (N, M, D, D) of its members, and `source_novelty` (N,), that of the features alone. Where the
    card says that networks predict the redshift, the last of D is ln(1 + redshift) on its scale.
    """
    _check_of_cutouts(ensemble.networks[0].plan)
    plan = ensemble.input
    names = ("latent_mean", "latent_cov", "member_mean", "member_factor", "source_novelty")
    shape = (2, len(plan.bands), plan.size, plan.size)
    _export(_EnsembleGraph(ensemble).cpu(), "flux", shape, names, ensemble.card, path)


def _check_of_cutouts(plan: NetworkPlan) -> None:
    """Refuse networks that take vectors, which graphs have no input for."""
    if plan.vector:
        raise EnsembleError(
            f"these networks take vectors of {plan.vector} numbers; graphs are of networks that "
            "take cutouts alone. Name such an ensemble with --ensemble."
        )


class _MemberGraph(nn.Module):
    def __init__(self, network: Network):
        super().__init__()
        self.network = fold(network).cpu()

    def forward(self, stretched: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.network.features(stretched)
        return *self.network.posterior(features), features


class _EnsembleGraph(nn.Module):
    """Binning, stretch, networks, mixture and novelty in one."""

    def __init__(self, ensemble: Ensemble):
        super().__init__()
        self.binning = ensemble.input.binning
        self.stretch = _StretchGraph(ensemble.input.stretch)
        self.members = Members([fold(network) for network in ensemble.networks])
        self.novelty = _NoveltyGraph(ensemble.novelty)

    def forward(self, flux: Tensor) -> tuple[Tensor, ...]:
        if self.binning > 1:
            flux = functional.avg_pool2d(flux, self.binning) * self.binning**2
        x = self.stretch(flux)
        features = self.members(x)
        member_mean, member_factor = self.members.posterior(features)
        mean = member_mean.mean(dim=1)
        delta = member_mean - mean.unsqueeze(1)
        member_cov = member_factor @ member_factor.transpose(2, 3)
        cov = member_cov.mean(dim=1) + delta.transpose(1, 2) @ delta / member_mean.shape[1]
        return mean, cov, member_mean, member_factor, self.novelty(features)


class _StretchGraph(nn.Module):
    """`Stretch.apply`."""

    def __init__(self, stretch: Stretch):
        super().__init__()
        self.stretch = stretch
        self.sigma = nn.Buffer(torch.tensor(stretch.sky_sigma)[:, None, None])
        self.offset = nn.Buffer(torch.tensor(stretch.offset or (0.0,))[:, None, None])

    def forward(self, flux: Tensor) -> Tensor:
        known = torch.where(torch.isnan(flux), torch.zeros_like(flux), flux)
        x = (known / self.sigma).clamp(-self.stretch.clip, self.stretch.clip)
        if self.stretch.kind == "asinh":
            x = (x / self.stretch.softening).asinh()
        return x / self.stretch.scale - self.offset


class _NoveltyGraph(nn.Module):
    """`NoveltyReference.novelty`, for features (M, N, F)."""

    def __init__(self, novelty: NoveltyReference):
        super().__init__()
        self.mean = nn.Buffer(torch.from_numpy(novelty.mean).float())
        self.whitening = nn.Buffer(torch.from_numpy(novelty.whitening).float())
        self.distances = nn.Buffer(torch.from_numpy(novelty.distances).float())
        self.levels = nn.Buffer(torch.from_numpy(LEVELS).float())

    def forward(self, features: Tensor) -> Tensor:
        white = (features - self.mean.unsqueeze(1)) @ self.whitening
        distance = white.square().mean(dim=(0, 2)).sqrt()
        last = len(self.distances) - 1
        above = (distance.unsqueeze(1) > self.distances).sum(dim=1).clamp(1, last)
        low, high = self.distances[above - 1], self.distances[above]
        part = ((distance - low) / (high - low).clamp_min(1e-12)).clamp(0.0, 1.0)
        step = self.levels[above] - self.levels[above - 1]
        share = 1.0 - (self.levels[above - 1] + part * step)
        reach = self.distances[last] - self.distances[last // 2] + 1e-3
        over = (distance - self.distances[last]).clamp_min(0.0)
        share = torch.where(over > 0, EDGE * reach / (reach + over), share)
        return torch.where(distance <= self.distances[0], torch.ones_like(share), share)


def _export(
    graph: nn.Module,
    input_name: str,
    shape: tuple[int, ...],
    output_names: tuple[str, ...],
    card: dict[str, Any],
    path: Path,
) -> None:
    """Write a graph for any number of sources, with its weights inside, atomically."""
    require("onnx", f"{path}: writing ONNX")
    with written_beside(path) as beside, task("exporting", 1, "graphs") as advance:
        program = onnx_program(graph, input_name, torch.zeros(shape), output_names, any_number=True)
        program.model.metadata_props["targetsel"] = json.dumps(card, sort_keys=True)
        program.save(beside, external_data=False)
        advance(1)
