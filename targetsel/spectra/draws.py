"""Draws of proxies as tensors, on the device that decoded them, and the posterior that they make.

A posterior keeps two things of its draws: the quantiles of each proxy, and the correlations of the
normal scores of the draws' ranks. All sums run over a source's own draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor
from torch.nn.functional import pad

from targetsel.spectra.proxies import (
    MOST_UNMEASURED,
    NORMAL_SCORES,
    Proxies,
    ProxyPosterior,
    interpolate,
)

LEVELS = ndtr(NORMAL_SCORES)
ALIGNED = 16  # numbers in a row of memory that vector instructions read at once, at most


@dataclass(frozen=True, eq=False)
class ProxyDraws:
    """S draws of P proxies of N sources.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    names : tuple of P strings
    values : Tensor, shape (P, N, S)
        NaN where a proxy cannot be measured.
    """

    source_id: np.ndarray
    names: tuple[str, ...]
    values: Tensor

    @classmethod
    def of(cls, proxies: Proxies, names: Sequence[str] | None = None) -> ProxyDraws:
        """The draws of all proxies of an array, or of some, in double precision."""
        names = proxies.names if names is None else tuple(names)
        values = np.stack([proxies[name] for name in names]).astype(np.float64)
        return cls(proxies.source_id, names, torch.from_numpy(values))

    @property
    def proxies(self) -> Proxies:
        """The draws as an array."""
        return Proxies(self.source_id, self.names, self.values.permute(1, 2, 0).cpu().numpy())

    def __getitem__(self, name: str) -> Tensor:
        """All draws of one proxy, shape (N, S)."""
        return self.values[self.names.index(name)]

    @cached_property
    def knots(self) -> Tensor:
        """Quantiles at `NORMAL_SCORES`, by Hazen's rule, shape (P, N, L).

        NaN where more than `MOST_UNMEASURED` of the draws cannot be measured.
        """
        rising, count = self.values.gather(2, self._order), self._count
        levels = torch.as_tensor(LEVELS, dtype=rising.dtype, device=rising.device)
        last = (count - 1).clip(min=0)
        place = torch.minimum((levels * count - 0.5).clip(min=0), last)
        low = place.long()
        below, above = (rising.gather(2, each) for each in (low, torch.minimum(low + 1, last)))
        usable = count >= (1 - MOST_UNMEASURED) * rising.shape[2]
        return torch.where(usable, below + (place - low) * (above - below), np.nan)

    @cached_property
    def scores(self) -> Tensor:
        """The normal score of each draw's rank, shape (P, N, S).

        0, the median's, where the proxy cannot be measured.
        """
        size = self.values.shape[2]
        ranked = torch.zeros_like(self.values)
        for count in self._count.unique().tolist():  # of most sources all draws are measured
            scores = np.zeros(size)
            scores[:count] = ndtri((np.arange(count) + 0.5) / max(count, 1))
            ranked[(self._count == count)[..., 0]] = torch.from_numpy(scores).to(ranked)
        return torch.empty_like(ranked).scatter_(2, self._order, ranked)

    @cached_property
    def _order(self) -> Tensor:
        """The draws from the lowest to the highest, those without a measurement last, (P, N, S).

        On a CPU NumPy sorts several times as fast as torch.
        """
        if self.values.device.type == "cpu":
            return torch.from_numpy(np.argsort(self.values.numpy(), axis=2))
        return self.values.argsort(dim=2)

    @cached_property
    def _count(self) -> Tensor:
        """Number of draws that could be measured, shape (P, N, 1)."""
        if self.values.device.type == "cpu":
            total = self.values.sum(dim=2, keepdim=True)
            if not total.isnan().any():  # so that none is to be counted
                return torch.full_like(total, self.values.shape[2], dtype=torch.int64)
        return self.values.shape[2] - torch.isnan(self.values).sum(dim=2, keepdim=True)

    @property
    def correlation(self) -> np.ndarray:
        """Correlations of the normal scores of all pairs of proxies, shape (N, P, P)."""
        # Filled up with zeros, so that each source begins at a like place in memory: elsewhere a
        # matrix product may round differently.
        scores = pad(self.scores.transpose(0, 1), (0, -self.values.shape[2] % ALIGNED)).contiguous()
        size = scores.square().sum(dim=2).sqrt().clip(min=1e-9)
        product = scores @ scores.transpose(1, 2)
        matrix = product / (size[:, :, None] * size[:, None])
        return matrix.clip(-1.0, 1.0).cpu().numpy().astype(np.float64)

    @cached_property
    def posterior(self) -> ProxyPosterior:
        """The posterior, with a Gaussian copula."""
        knots, matrix = self.knots.cpu().numpy().astype(np.float64), self.correlation
        return ProxyPosterior(
            self.names,
            dict(zip(self.names, knots, strict=True)),
            {
                (a, b): matrix[:, i, j]
                for j, b in enumerate(self.names)
                for i, a in enumerate(self.names[:j])
            },
        )

    def moved(self, quantiles: Mapping[str, np.ndarray]) -> ProxyDraws:
        """The draws with those of some proxies at the same normal scores of other quantiles (N, L).

        What cannot be measured stays so.
        """
        values = self.values.clone()
        for name, knots in quantiles.items():
            k = self.names.index(name)
            there = torch.as_tensor(knots, dtype=values.dtype, device=values.device)
            moved = interpolate(self.scores[k], there)
            values[k] = torch.where(values[k].isnan(), values[k], moved)
        return ProxyDraws(self.source_id, self.names, values)
