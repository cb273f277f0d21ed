"""From latents to line strengths without the spectrum in between.

The decoder's last layer is linear, and so are the moments that every index is made of: their
product is a smaller last layer, which gives the moments and no pixels. What follows, the indices'
own formulas, is the same as on the full grid.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from targetsel.spectra.decoder import Decoder
from targetsel.spectra.lines import PROXIES, LineTable
from targetsel.spectra.lines.index import Estimator, on_decoder
from targetsel.spectra.proxies import Proxies

# Draws that go through the network together: always as many, the last block being filled up, so
# that the same numbers come out whatever other draws and sources there are. Few enough that the
# widest layer stays in a core's own cache.
BLOCK = 128
SOURCES_AT_ONCE = 8


class FoldedDecoder:
    """A decoder and a line table in one: latents to the table's indices.

    Parameters
    ----------
    decoder : Decoder
    table : LineTable, optional
        What to measure. Default: `PROXIES`.
    """

    def __init__(self, decoder: Decoder, table: LineTable | None = None):
        self.table = table or LineTable.shipped().choose(PROXIES)
        self._estimators = {name: on_decoder(index) for name, index in self.table.measured}
        self._network = decoder.network
        *hidden, last = [each for each in decoder.network.decoder if isinstance(each, nn.Linear)]
        layers: list[tuple[Tensor, Tensor]] = [(each.weight, each.bias) for each in hidden]
        layers.append(_folded(last, decoder.network.mean_spectrum, [*self._estimators.values()]))
        self._layers = [(weight.detach(), bias.detach()[:, None]) for weight, bias in layers]
        self._slope = float(decoder.network.decoder[1].negative_slope)  # type: ignore[arg-type]

    def measure(self, latents: np.ndarray, source_id: np.ndarray | None = None) -> Proxies:
        """The indices of the spectra of latents.

        Parameters
        ----------
        latents : ndarray, shape (N, S, D)
            Standardised latents.
        source_id : ndarray, shape (N,), optional
            Row numbers if not given.

        Returns
        -------
        Proxies
            `values` of shape (N, S, P), in the order of the table's names: to 1e-4 Angstrom
            those of `lines.measure` on the decoded spectra, where these have a continuum.
        """
        n, s, _ = latents.shape
        values = np.empty((n, s, len(self.table.names)))
        for start in range(0, n, SOURCES_AT_ONCE):
            rows = slice(start, start + SOURCES_AT_ONCE)
            values[rows] = self._indices(self._moments(latents[rows]))
        ids = np.arange(n) if source_id is None else source_id
        return Proxies(ids, self.table.names, values)

    @torch.inference_mode()
    def _moments(self, latents: np.ndarray) -> np.ndarray:
        """The moments (K, N, S) of latents (N, S, D)."""
        n, s, d = latents.shape
        # One column a draw. Writing into the same arrays again and again spares new memory.
        block = torch.zeros(BLOCK, d)
        layers = [(*each, torch.empty(len(each[0]), BLOCK)) for each in self._layers]
        moments = np.empty((len(layers[-1][2]), n, s))
        for source in range(n):
            for start in range(0, s, BLOCK):
                draws = latents[source, start : start + BLOCK]
                block[: len(draws)] = torch.from_numpy(draws)
                x = self._network.unstandardise(block).T
                for weight, bias, out in layers[:-1]:
                    x = nn.functional.leaky_relu_(
                        torch.addmm(bias, weight, x, out=out), self._slope
                    )
                weight, bias, out = layers[-1]
                x = torch.addmm(bias, weight, x, out=out)
                moments[:, source, start : start + BLOCK] = x[:, : len(draws)].numpy()
        return moments

    def _indices(self, moments: np.ndarray) -> np.ndarray:
        """The indices (..., P) from their moments (K, ...)."""
        values, first = {}, 0
        for name, estimator in self._estimators.items():
            last = first + len(estimator.rows)
            values[name] = estimator.value(moments[first:last])
            first = last
        found = self.table.with_formulas(values)
        return np.stack([found[name] for name in self.table.names], axis=-1)


def _folded(
    last: nn.Linear, mean_spectrum: Tensor, estimators: list[Estimator]
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a last layer followed by the moments of some estimators."""
    rows = np.zeros((sum(len(each.rows) for each in estimators), last.out_features))
    first = 0
    for each in estimators:
        rows[first : first + len(each.rows), each.run] = each.rows
        first += len(each.rows)
    matrix = torch.from_numpy(rows)
    weight = matrix @ last.weight.double()
    return weight.float(), (matrix @ (last.bias + mean_spectrum).double()).float()
