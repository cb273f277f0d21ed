"""Distillation of a decoder: a small network learns the indices of decoded spectra from latents.

Lessons are draws of the posteriors of many scored sources, widened a little so that the network
knows what lies beyond them, and the indices that the decoder and the line table give. Errors count
in units of the spread that a source's own posterior has in an index, since it is quantiles of that
posterior that are wanted; far from its median they count less. A tenth of the sources is kept
aside, and the errors of their quantiles are measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from scipy.special import ndtri
from torch import Tensor, nn

from targetsel.errors import EnsembleError
from targetsel.networks.posterior import LatentPosterior, stored_posterior
from targetsel.scored.file import ScoredFile
from targetsel.spectra.decoder import FoldedDecoder
from targetsel.spectra.distilled import (
    WIDTH,
    DistillationErrors,
    DistillationRecord,
    DistilledIndices,
    IndexNetwork,
    lines_sha256,
)
from targetsel.tables.files import sha256_of_file
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import says_simulated
from targetsel.tasks import task
from targetsel.training.optimisation import Optimiser, one_cycle, one_thread
from targetsel.version import __version__

if TYPE_CHECKING:
    from targetsel.scoring.ensemble import Ensemble

STEPS = 16_000
BOUND = 0.05  # of the medians' errors, in standard deviations of the posterior
ASIDE = 0.1  # share of the sources that measure the errors
FEWEST, MOST = 100, 20_000  # sources
N_DRAWS = 192  # of each source
WIDER = 0.25  # scatter of the logarithm by which posteriors are widened
BATCH, PEAK, WARM_UP, LAST = 4096, 8e-3, 0.03, 1e-3
NEAR = 0.3  # errors that count by their square [spread]
BY_DISTANCE = 0.2  # how much less an error counts far from the median
SMALLEST_SPREAD = 0.05  # quantile of the sources' spreads that smaller ones count as
INSIDE = 0.9995  # of the lessons' latents on either side, and within the radius
LEVELS = (0.0228, 0.1587, 0.5, 0.8413, 0.9772)
AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Lessons:
    """B draws of latents with their indices.

    Attributes
    ----------
    latents : Tensor, shape (B, D)
    values : Tensor, shape (B, P)
        The indices, all of them measured.
    unit : Tensor, shape (B, P)
        What an error of each is measured in.
    """

    latents: Tensor
    values: Tensor
    unit: Tensor

    def __len__(self) -> int:
        return len(self.latents)

    @classmethod
    def of(cls, posterior: LatentPosterior, decoder: FoldedDecoder, seed: int) -> Lessons:
        """Lessons from the posteriors of N sources."""
        normal = ndtri(uniform(posterior.source_id, seed, "widening"))
        factor = np.exp(WIDER * np.abs(normal)) * np.ones(posterior.member_mean.shape[2])
        latents = posterior.stretched(factor).drawn(N_DRAWS, seed)
        values = decoded(decoder, latents)
        low, middle, high = quantiles(values, LEVELS[1:4]).unbind(dim=2)
        spread = (high - low) / 2
        least = spread.nanquantile(SMALLEST_SPREAD, dim=1, keepdim=True)
        unit = torch.maximum(spread, least)[..., None]
        unit = unit + BY_DISTANCE * (values - middle[..., None]).abs()
        flat = [each.flatten(1).T for each in (values, unit)]
        good = torch.isfinite(flat[0] + flat[1]).all(dim=1)
        return cls(latents.flatten(0, 1)[good], *(each[good] for each in flat))


def decoded(decoder: FoldedDecoder, latents: Tensor) -> Tensor:
    """The indices (P, N, S) of latents (N, S, D)."""
    return torch.cat([decoder.indices(some) for some in latents.split(AT_ONCE)], dim=1)


def quantiles(values: Tensor, levels: Sequence[float]) -> Tensor:
    """Quantiles (P, N, L) of draws (P, N, S); those that are NaN do not count."""
    parts = values.split(AT_ONCE, dim=1)
    at = torch.tensor(levels, dtype=values.dtype)
    return torch.cat([each.nanquantile(at, dim=2) for each in parts], dim=2).permute(1, 2, 0)


def distil(
    ensemble: Ensemble,
    scored: Sequence[Path],
    steps: int = STEPS,
    seed: int = 0,
    bound: float = BOUND,
) -> DistilledIndices:
    """Distil the indices of an ensemble's decoder.

    Parameters
    ----------
    scored : sequence of Path
        Scored catalogs of the ensemble, of sources like those to come.
    steps : int
        Batches of `BATCH` draws to learn from.
    seed : int
    bound : float
        Largest error of an index's medians, as their root mean square over sources kept aside in
        standard deviations of the posterior.

    Raises
    ------
    CatalogError
        If a scored catalog cannot be read.
    EnsembleError
        If it is of another ensemble, sources are too few, or the errors exceed the bound.
    """
    decoder = ensemble.folded_decoder
    posterior, simulated = read_posteriors(ensemble, scored)
    aside = uniform(posterior.source_id, seed, "kept aside")[:, 0] < ASIDE
    if len(posterior) < FEWEST or not aside.any():
        raise EnsembleError(
            f"{', '.join(map(str, scored))}: {len(posterior)} sources have a prediction, expected "
            f"at least {FEWEST}. Score more."
        )
    with one_thread(), torch.inference_mode():
        lessons = Lessons.of(posterior.take(~aside), decoder, seed)
    with one_thread():
        lessons = Lessons(*(each.clone() for each in vars(lessons).values()))  # to be learnt from
        network = learn(lessons, steps, seed, decoder.first_layer)
        found = DistilledIndices(
            network,
            DistillationRecord(
                schema="targetsel/indices/v1",
                code_version=__version__,
                decoder_sha256=ensemble.decoder_sha256,
                lines_sha256=lines_sha256(decoder.table),
                scored_sha256=tuple(map(sha256_of_file, scored)),
                proxies=decoder.table.names,
                simulated=simulated,
                n_sources=int((~aside).sum()),
                n_draws=len(lessons),
                n_aside=int(aside.sum()),
                seed=seed,
                steps=steps,
                outside=0.0,
                errors={},
            ),
        )
        found = with_errors(found, decoder, posterior.take(aside))
    name, errors = found.record.worst
    if not errors.median <= bound:
        raise EnsembleError(
            f"--steps {steps}: medians of {name} are off by {errors.median:.3f} standard "
            f"deviations of the posterior (rms of {found.record.n_aside} sources), expected at "
            f"most {bound:g}. Give more steps, or more sources."
        )
    return found


def read_posteriors(ensemble: Ensemble, scored: Sequence[Path]) -> tuple[LatentPosterior, bool]:
    """Posteriors of at most `MOST` sources, and whether any file is of simulated images."""
    parts, simulated = [], False
    for path in scored:
        with ScoredFile(path, ("member_mean", "member_cov")) as file:
            file.check_scored_by(ensemble.name, ensemble.sha256)
            simulated |= says_simulated(file.footer)
            names = [file.names["source_id"], "member_mean", "member_cov"]
            table = pa.concat_tables(list(file.tables(names)))
            found = stored_posterior(table, table[names[0]].to_numpy(zero_copy_only=False))
        parts.append(found.take(found.known))
    whole = LatentPosterior.joined(parts)
    chosen = np.sort(np.argsort(uniform(whole.source_id, 0, "lessons")[:, 0], kind="stable")[:MOST])
    return whole.take(chosen), simulated


# ---------------------------------------------------------------------- learning


def learn(
    lessons: Lessons, steps: int, seed: int, first: tuple[Tensor, Tensor] | None = None
) -> IndexNetwork:
    """The network after so many batches, in the units of latents and indices.

    Parameters
    ----------
    first : pair of Tensor, optional
        Weight and bias of the decoder's first layer, from which it starts.
    """
    centre = lessons.values.median(dim=0).values
    scale = 5 * lessons.unit.median(dim=0).values  # so that numbers are about 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = IndexNetwork(lessons.latents.shape[1], WIDTH, len(centre))
    if first is not None:
        state, n = network.state_dict(), min(WIDTH, len(first[0]))
        state["layers.0.weight"][:n], state["layers.0.bias"][:n] = first[0][:n], first[1][:n]
    optimiser = Optimiser(torch.optim.Adam(network.parameters(), lr=PEAK, betas=(0.9, 0.99)))
    target, weight = (lessons.values - centre) / scale, scale / lessons.unit
    generator = torch.Generator().manual_seed(seed)
    batch = min(BATCH, len(lessons))
    chosen: Iterator[Tensor] = iter(())
    nothing = torch.zeros(batch, len(centre))
    with task("distilling", steps, "steps") as advance:
        for step in range(steps):
            rows = next(chosen, None)
            if rows is None or len(rows) < batch:
                order = torch.randperm(len(lessons), generator=generator)
                chosen = iter(order.split(batch))
                rows = next(chosen)
            optimiser.set(one_cycle(step / steps, PEAK, WARM_UP, LAST)[0])
            error = (network(lessons.latents[rows]) - target[rows]) * weight[rows]
            loss = nn.functional.smooth_l1_loss(error, nothing, beta=NEAR)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            advance(1)
    _finish(network, lessons.latents, centre, scale)
    return network.eval()


@torch.no_grad()
def _finish(network: IndexNetwork, latents: Tensor, centre: Tensor, scale: Tensor) -> None:
    """Give the last layer the units of the indices, and note the region of the latents."""
    last = network.layers[-1]
    assert isinstance(last, nn.Linear)
    last.weight.mul_(scale[:, None])
    last.bias.mul_(scale).add_(centre)
    rows = np.sort(latents.double().numpy(), axis=0)
    place = math.floor((1 - INSIDE) * len(rows))
    network.low.copy_(torch.from_numpy(rows[place]))
    network.high.copy_(torch.from_numpy(rows[-1 - place]))
    network.centre.copy_(latents.double().mean(dim=0))
    covariance = torch.cov(latents.double().T)
    network.whitening.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)))
    distance = ((latents - network.centre) @ network.whitening.T).norm(dim=1)
    network.radius.copy_(torch.from_numpy(np.sort(distance.numpy()))[-1 - place])


# ---------------------------------------------------------------------- errors


@torch.inference_mode()
def with_errors(
    distilled: DistilledIndices, decoder: FoldedDecoder, posterior: LatentPosterior
) -> DistilledIndices:
    """The same with the errors on N sources in its record."""
    latents = posterior.drawn(N_DRAWS, distilled.record.seed + 1)
    held = distilled.holds(latents)
    latents = latents[held]
    true = decoded(decoder, latents)
    found = torch.cat([distilled(some) for some in latents.split(AT_ONCE)], dim=1)
    mean = true.nanmean(dim=2, keepdim=True)
    spread = (true - mean).square().nanmean(dim=2).sqrt()[..., None]
    off = (quantiles(found, LEVELS) - quantiles(true, LEVELS)) / spread
    sizes = off.square().nanmean(dim=1).sqrt().numpy()  # (P, L)
    errors = {
        name: DistillationErrors(
            median=_rounded(size[2]),
            one_sigma=_rounded(np.sqrt((size[[1, 3]] ** 2).mean())),
            two_sigma=_rounded(np.sqrt((size[[0, 4]] ** 2).mean())),
            worst_median=_rounded(each[:, 2].abs().nan_to_num(0).max()),
        )
        for name, size, each in zip(decoder.table.names, sizes, off, strict=True)
    }
    outside = _rounded(1 - held.double().mean())
    update = {"errors": errors, "outside": outside}
    return DistilledIndices(distilled.network, distilled.record.model_copy(update=update))


def _rounded(value: float | np.floating | Tensor) -> float:
    return round(float(value), 4)
