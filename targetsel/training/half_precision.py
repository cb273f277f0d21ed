"""Weights in half precision, where that changes nothing that matters."""

from __future__ import annotations

import copy
import warnings

import numpy as np

from targetsel.imaging.cutout import Cutouts
from targetsel.networks.network import Network
from targetsel.networks.posterior import LatentPosterior
from targetsel.scoring.ensemble import Ensemble, halves
from targetsel.spectra.lines import measure
from targetsel.spectra.proxies import Proxies

N_DRAWS = 128
SOURCES_DECODED_AT_ONCE = 32
LARGEST_CHANGE = 0.01  # of a proxy, in units of its posterior standard deviation


def in_half_precision(ensemble: Ensemble, cutouts: Cutouts) -> tuple[Ensemble, float]:
    """The ensemble with rounded weights, and the largest change of any proxy of these cutouts.

    The change is that of a proxy's posterior median, in units of its posterior standard deviation.
    """
    networks = [_rounded(network) for network in ensemble.networks]
    rounded = Ensemble(networks, ensemble.decoder, ensemble.novelty, ensemble.card)
    middle, spread = medians(ensemble, ensemble.predict(cutouts))
    other, _ = medians(ensemble, rounded.predict(cutouts))
    change = np.abs(other - middle)[spread > 0] / spread[spread > 0]
    return rounded, float(np.nanmax(change, initial=0.0))


def _rounded(network: Network) -> Network:
    other = copy.deepcopy(network)
    other.load_state_dict(halves(network))
    return other.eval()


def medians(ensemble: Ensemble, posterior: LatentPosterior) -> tuple[np.ndarray, np.ndarray]:
    """Posterior median and standard deviation of every proxy of `measure`, each (N, P)."""
    middle, spread = [], []
    for start in range(0, len(posterior), SOURCES_DECODED_AT_ONCE):
        part = posterior.take(slice(start, start + SOURCES_DECODED_AT_ONCE))
        values = decoded(ensemble, part.draw(N_DRAWS)).values
        with warnings.catch_warnings():  # of a source where no draw can be measured
            warnings.simplefilter("ignore", RuntimeWarning)
            middle.append(np.nanmedian(values, axis=1))
            spread.append(np.nanstd(values, axis=1))
    return np.concatenate(middle), np.concatenate(spread)


def decoded(ensemble: Ensemble, latents: np.ndarray) -> Proxies:
    """The proxies of decoded latents (N, S, D)."""
    return measure(ensemble.decoder.decode(latents))
