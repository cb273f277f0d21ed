"""The spectral decoder: latents to rest-frame spectra or directly to line strengths, and back.

Everywhere outside the autoencoder latents are standardised: mean 0 and variance 1 over the
training spectra. The scaler is kept with the weights and undone here.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from targetsel.errors import EnsembleError, SpectrumError
from targetsel.spectra.autoencoder import HIDDEN, LatentSpace, SpectralAutoencoder
from targetsel.spectra.distilled import DistilledIndices
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.spectra.lines import PROXIES, LineTable
from targetsel.spectra.lines.index import Estimator, on_decoder
from targetsel.spectra.proxies import Proxies
from targetsel.spectra.spectrum import Spectra
from targetsel.weights.safetensors import load_weights, read_safetensors, write_safetensors

FILE_NAME = "decoder.safetensors"
# Draws of one source that a CPU decodes together: the widest layer stays in a core's own cache.
DRAWS_AT_ONCE = 256
SOURCES_AT_ONCE = 64


class Decoder:
    """Standardised latents to spectra, and back."""

    def __init__(self, network: SpectralAutoencoder):
        self.network = network.eval()

    @property
    def n_latents(self) -> int:
        return self.space.n_latents

    @property
    def space(self) -> LatentSpace:
        return self.network.space

    @classmethod
    def read(cls, path: Path) -> Decoder:
        """The decoder in a safetensors file, or in a folder that holds `decoder.safetensors`.

        Raises
        ------
        EnsembleError
            If the file is missing, damaged, or not of a spectral decoder.
        """
        path = Path(path)
        path = path / FILE_NAME if path.is_dir() else path
        tensors = read_safetensors(path)
        first = tensors.get("decoder.0.weight")
        if "latent_mean" not in tensors or first is None or first.ndim != 2:
            raise EnsembleError(
                f"{path}: no tensor 'latent_mean', so it is not a spectral decoder. "
                "Name another file."
            )
        if len(first) != HIDDEN[1]:  # before a network of the file's width is allocated
            raise EnsembleError(
                f"{path}: tensor 'decoder.0.weight' has shape {tuple(first.shape)}, expected "
                f"{HIDDEN[1]} rows"
            )
        components = tensors.get("pca_components")
        if components is not None and components.ndim != 2:
            raise EnsembleError(
                f"{path}: tensor 'pca_components' has {components.ndim} axes, expected 2"
            )
        space = LatentSpace(first.shape[1], None if components is None else len(components))
        network = SpectralAutoencoder(space)
        load_weights(network, tensors, path)
        if not (network.latent_std > 0).all():
            raise EnsembleError(
                f"{path}: tensor 'latent_std' holds numbers of 0 or less, expected more than 0"
            )
        return cls(network)

    def write(self, path: Path) -> None:
        """Write network and scaler as a safetensors file."""
        write_safetensors(self.network.state_dict(), path)

    @torch.inference_mode()
    def encode(self, flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the standardised latents, each (N, D).

        The standard deviation is the encoder's own estimate. For principal components it is the
        root of the covariance's diagonal: their small correlations are ignored.

        Parameters
        ----------
        flux : ndarray, shape (N, 1000)
            Rest-frame flux density on `spectra.grid`, gaps filled; its scale does not matter.

        Raises
        ------
        SpectrumError
            If spectra have another shape.
        """
        flux = np.asarray(flux, dtype=np.float64)
        if flux.ndim != 2 or flux.shape[1] != N_PIXELS:
            raise SpectrumError(f"spectra of shape {flux.shape}, expected (N, {N_PIXELS})")
        unit = flux / np.sqrt((flux**2).sum(axis=1, keepdims=True))
        net = self.network
        mean, log_variance = net.encode(torch.from_numpy(unit).float() - net.mean_spectrum)
        mean, variance = net.standardise(mean, log_variance.exp())
        return mean.numpy(), variance.sqrt().numpy()

    @torch.inference_mode()
    def decode(self, latents: np.ndarray, source_id: np.ndarray | None = None) -> Spectra:
        """The rest-frame spectra of latents.

        Parameters
        ----------
        latents : ndarray, shape (N, S, D)
            Standardised latents.
        source_id : ndarray, shape (N,), optional
            Row numbers if not given.

        Returns
        -------
        Spectra
            `flux` of shape (N, S, 1000), float32.
        """
        net = self.network
        n, s, d = latents.shape
        standardised = torch.from_numpy(np.ascontiguousarray(latents.reshape(-1, d))).float()
        flux = net.decoder(net.unstandardise(standardised)) + net.mean_spectrum
        ids = np.arange(n) if source_id is None else source_id
        return Spectra(ids, flux.numpy().reshape(n, s, N_PIXELS), wavelengths())

    def jacobian(self, latents: np.ndarray) -> np.ndarray:
        """Derivative of the decoded flux by the standardised latents, (S, D) to (S, 1000, D)."""
        net = self.network

        def decoded(each: torch.Tensor) -> torch.Tensor:
            flux: torch.Tensor = net.decoder(net.unstandardise(each[None]))[0]
            return flux

        with torch.no_grad():
            by_latent = torch.func.vmap(torch.func.jacfwd(decoded))
            found = by_latent(torch.from_numpy(np.ascontiguousarray(latents)).float())
        return np.asarray(found.numpy(), dtype=np.float64)


class FoldedDecoder:
    """A decoder combined with a line table: latents to the table's indices.

    Parameters
    ----------
    decoder : Decoder
    table : LineTable, optional
        Indices to measure. Default: `PROXIES`.
    device : str
        Where it computes, and `indices` expects latents.
    distilled : DistilledIndices, optional
        Made for this decoder and table: on a CPU it stands for both where a source's draws lie in
        its region.
    """

    def __init__(
        self,
        decoder: Decoder,
        table: LineTable | None = None,
        device: str | torch.device = "cpu",
        distilled: DistilledIndices | None = None,
    ):
        self.table = table or LineTable.shipped().choose(PROXIES)
        self.device = torch.device(device)
        self.distilled = distilled if self.device.type == "cpu" else None
        self._estimators = {name: on_decoder(index) for name, index in self.table.measured}
        first, *hidden, last = [
            each for each in decoder.network.decoder if isinstance(each, nn.Linear)
        ]
        layers = [_unstandardised(first, decoder.network)]
        layers += [(each.weight, each.bias) for each in hidden]
        layers.append(_folded(last, decoder.network.mean_spectrum, [*self._estimators.values()]))
        self._layers = [
            (weight.detach().to(self.device), bias.detach()[:, None].to(self.device))
            for weight, bias in layers
        ]
        self._slope = float(decoder.network.decoder[1].negative_slope)  # type: ignore[arg-type]

    @property
    def first_layer(self) -> tuple[Tensor, Tensor]:
        """Weight (H, D) and bias (H,) of the first hidden layer, for standardised latents."""
        weight, bias = self._layers[0]
        return weight, bias[:, 0]

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
            those of `lines.measure` on the decoded spectra, where these have a continuum and
            nothing is distilled.
        """
        n, s, _ = latents.shape
        values = np.empty((n, s, len(self.table.names)))
        for start in range(0, n, SOURCES_AT_ONCE):
            rows = slice(start, start + SOURCES_AT_ONCE)
            some = torch.from_numpy(np.ascontiguousarray(latents[rows], np.float32))
            values[rows] = self.indices(some.to(self.device)).permute(1, 2, 0).cpu().numpy()
        ids = np.arange(n) if source_id is None else source_id
        return Proxies(ids, self.table.names, values)

    @torch.inference_mode()
    def indices(self, latents: Tensor) -> Tensor:
        """The indices (P, N, S) of latents (N, S, D), as of `measure`, on their device."""
        if self.distilled is None:
            return self._decoded(latents)
        held = self.distilled.holds(latents)
        if held.all():
            return self.distilled(latents)
        values = torch.empty(len(self.table.names), *latents.shape[:2])
        values[:, held] = self.distilled(latents[held])
        values[:, ~held] = self._decoded(latents[~held])
        return values

    def _decoded(self, latents: Tensor) -> Tensor:
        """The indices (P, N, S) of the spectra of latents (N, S, D)."""
        moments = self._moments(latents).transpose(0, 1)  # (K, N, S)
        of_tensors = all(each.of_tensors for each in self._estimators.values())
        if not of_tensors or tuple(self._estimators) != self.table.names:
            found = self._in_double_precision(moments.cpu().numpy())
            return torch.from_numpy(found).to(latents.device)
        values = torch.empty(len(self._estimators), *moments.shape[1:], device=latents.device)
        for value, (estimator, rows) in zip(values, self._parts, strict=True):
            value[:] = estimator.value(moments[rows])
        return values

    def _in_double_precision(self, moments: np.ndarray) -> np.ndarray:
        """Indices (P, N, S) from moments (K, N, S), formulas and fits of lines included."""
        moments = moments.astype(np.float64)
        values = {
            name: estimator.value(moments[rows])
            for name, (estimator, rows) in zip(self._estimators, self._parts, strict=True)
        }
        found = self.table.with_formulas(values)
        return np.stack([found[name] for name in self.table.names])

    @property
    def _parts(self) -> list[tuple[Estimator, slice]]:
        """The estimators and their moments."""
        ends = np.cumsum([0, *(len(each.rows) for each in self._estimators.values())])
        rows = [slice(start, end) for start, end in pairwise(ends)]
        return list(zip(self._estimators.values(), rows, strict=True))

    def _moments(self, latents: Tensor) -> Tensor:
        """The moments (N, K, S) of latents (N, S, D)."""
        n, s, d = latents.shape
        at_once = 1 if latents.device.type == "cpu" else n
        moments = torch.empty(n, len(self._layers[-1][0]), s, device=latents.device)
        for first in range(0, n, at_once):
            for start in range(0, s, DRAWS_AT_ONCE):
                some = latents[first : first + at_once, start : start + DRAWS_AT_ONCE]
                # Whole arrays of their own: products of parts of one may round differently.
                x = some.reshape(-1, d).T.contiguous()
                for weight, bias in self._layers[:-1]:
                    x = nn.functional.leaky_relu_(torch.addmm(bias, weight, x), self._slope)
                weight, bias = self._layers[-1]
                x = torch.addmm(bias, weight, x).unflatten(1, some.shape[:2]).transpose(0, 1)
                moments[first : first + at_once, :, start : start + DRAWS_AT_ONCE] = x
        return moments


@torch.no_grad()
def _unstandardised(first: nn.Linear, network: SpectralAutoencoder) -> tuple[Tensor, Tensor]:
    """Weight and bias of the first layer for standardised latents."""
    basis = torch.eye(len(network.latent_std))
    origin = network.unstandardise(torch.zeros_like(basis[:1])).double()
    steps = network.unstandardise(basis).double() - origin
    weight = first.weight.double()
    return (weight @ steps.T).float(), (weight @ origin[0] + first.bias.double()).float()


def _folded(
    last: nn.Linear, mean_spectrum: Tensor, estimators: list[Estimator]
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the last layer combined with the moments of some estimators."""
    rows = np.zeros((sum(len(each.rows) for each in estimators), last.out_features))
    first = 0
    for each in estimators:
        rows[first : first + len(each.rows), each.run] = each.rows
        first += len(each.rows)
    matrix = torch.from_numpy(rows)
    weight = matrix @ last.weight.double()
    return weight.float(), (matrix @ (last.bias + mean_spectrum).double()).float()
