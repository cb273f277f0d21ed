"""Prediction of proxies, stations 4 to 6 of the walk: draws, decoding, and calibration at once.

The redshift, where it is predicted, joins the proxies here: its draws come with those of the
latents, and are not decoded.

Everything runs on the decoder's device for `BATCH_SIZE` sources together; only the quantiles and
correlations of proxies, and shares of draws in classes, leave it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from targetsel.calibration.calibration import CalibrationSteps
from targetsel.networks.posterior import LatentPosterior
from targetsel.spectra.decoder import FoldedDecoder
from targetsel.spectra.draws import ProxyDraws
from targetsel.spectra.lines import BPT_LINES, bpt_probabilities
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import ProxyPosterior

BATCH_SIZE = 128  # sources that are decoded together


@dataclass(frozen=True)
class PredictedProxies:
    """Predicted proxies of N sources.

    Attributes
    ----------
    posterior : ProxyPosterior
        Calibrated, with a Gaussian copula.
    shares : mapping of class to ndarray, shape (N,)
        Shares of draws in the classes of the [NII] diagram.
    """

    posterior: ProxyPosterior
    shares: Mapping[str, np.ndarray]

    @classmethod
    def joined(cls, parts: Sequence[PredictedProxies]) -> PredictedProxies:
        """The sources of several predictions."""
        shares = [each.shares for each in parts]
        return cls(
            ProxyPosterior.joined([each.posterior for each in parts]),
            {name: np.concatenate([each[name] for each in shares]) for name in shares[0]},
        )


def predict_proxies(
    decoder: FoldedDecoder,
    steps: CalibrationSteps,
    posterior: LatentPosterior,
    n_draws: int,
    seed: int,
) -> PredictedProxies:
    """Proxies of N sources from their calibrated latents; those of each depend on it alone.

    Parameters
    ----------
    steps : CalibrationSteps
        Its steps after that of the latents are applied.
    n_draws : int
        Draws of the latents for each source.
    """
    if not len(posterior):
        return _nothing(_names(decoder, posterior))
    parts = [*_batches(decoder, steps, posterior, n_draws, seed)]
    raw = ProxyPosterior.joined([each.posterior for each in parts]).take(slice(len(posterior)))
    found = steps.proxies(raw, posterior.magnitude)
    shares = []
    for start, each in zip(range(0, len(posterior), BATCH_SIZE), parts, strict=True):
        rows = _whole_batch(start, len(posterior))
        shares.append(class_shares(each, found.take(rows)))
    joined = {name: np.concatenate([each[name] for each in shares]) for name in shares[0]}
    return PredictedProxies(found, {k: each[: len(posterior)] for k, each in joined.items()})


@torch.inference_mode()
def _batches(
    decoder: FoldedDecoder,
    steps: CalibrationSteps,
    posterior: LatentPosterior,
    n_draws: int,
    seed: int,
) -> Iterator[ProxyDraws]:
    """Complete draws of `BATCH_SIZE` sources each."""
    for start in range(0, len(posterior), BATCH_SIZE):
        some = posterior.take(_whole_batch(start, len(posterior)))
        drawn = some.drawn(n_draws, seed, decoder.device)
        values = decoder.indices(drawn[..., : some.n_latents].contiguous())
        if some.has_redshift:
            redshift = torch.expm1(drawn[..., -1]).to(values)
            values = torch.cat([values, redshift[None]])
        yield steps.complete(ProxyDraws(some.source_id, _names(decoder, some), values), seed)


def _names(decoder: FoldedDecoder, posterior: LatentPosterior) -> tuple[str, ...]:
    """Names of the proxies that are predicted from a posterior."""
    return (*decoder.table.names, *([PHOTOZ] if posterior.has_redshift else []))


def _whole_batch(start: int, n: int) -> np.ndarray:
    """Rows of the batch from `start` on, of N; the last repeats where they end.

    Tensors of other shapes would round differently.
    """
    return np.minimum(start + np.arange(BATCH_SIZE), n - 1)


def class_shares(draws: ProxyDraws, posterior: ProxyPosterior) -> dict[str, np.ndarray]:
    """Shares of draws in the classes of the [NII] diagram, each draw moved to the posterior."""
    moved = draws.moved({name: posterior.knots(name) for name in BPT_LINES})
    return bpt_probabilities(moved.proxies)


def _nothing(names: tuple[str, ...]) -> PredictedProxies:
    """The prediction of no source."""
    none = torch.empty(len(names), 0, 1)
    draws = ProxyDraws(np.empty(0, dtype=np.int64), names, none)
    return PredictedProxies(draws.posterior, class_shares(draws, draws.posterior))
