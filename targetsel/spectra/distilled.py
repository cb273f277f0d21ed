"""Indices straight from latents, by a small network that learnt them from a decoder.

Decoding a draw of the latents takes two layers of hundreds of units, and formulas of many moments.
A network of two layers of `WIDTH` units gives the indices themselves in a fifth of that work, with
an error that is small beside what the draws themselves leave, and that is measured: the file
`indices.safetensors` beside a decoder holds the network, the region of latents that it learnt, and
a record of its errors (`training.distillation` makes it). Sources with draws outside of the region
are decoded (`decoder.FoldedDecoder`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from targetsel.documents.models import DocumentModel, FromList, validate_values
from targetsel.errors import EnsembleError
from targetsel.spectra.lines import LineTable
from targetsel.tables.files import sha256_of_file
from targetsel.weights.safetensors import (
    load_weights,
    read_metadata,
    read_safetensors,
    write_safetensors,
)

FILE_NAME = "indices.safetensors"
RECORD = "record"  # entry of the file's metadata
WIDTH = 128  # units of each of the two hidden layers
WIDEST = 4096  # of a file that is read
SLOPE = 0.01
MOST_OUTSIDE = 0.02  # share of a source's draws outside of the region
_AGAIN = "Make it again with 'targetsel ensemble distil', or remove it: spectra are decoded then."

Size = Annotated[float, Field(ge=0)]


class DistillationErrors(DocumentModel):
    """Errors of an index's quantiles, as the root mean square over sources kept aside.

    In standard deviations of each source's decoded draws, at the median and at 1 and 2 sigma on
    either side; `worst_median` is the largest of any source.
    """

    median: Size
    one_sigma: Size
    two_sigma: Size
    worst_median: Size


class DistillationRecord(DocumentModel):
    """What a distilled network was made from, and how far it is from decoding.

    Attributes
    ----------
    decoder_sha256, lines_sha256 : str
        The decoder's file and the definitions of the indices (`lines_sha256`).
    scored_sha256 : tuple of str
        The scored catalogs whose posteriors it learnt from.
    proxies : tuple of P strings
    n_sources, n_draws, n_aside : int
        Sources and different draws that it learnt from, and sources kept aside.
    outside : float
        Share of the sources kept aside that lie outside of its region, and are decoded.
    errors : dict of DistillationErrors
        Of each proxy.
    """

    schema_: Literal["targetsel/indices/v1"] = Field("targetsel/indices/v1", alias="schema")
    code_version: str
    decoder_sha256: str
    lines_sha256: str
    scored_sha256: Annotated[tuple[str, ...], FromList]
    proxies: Annotated[tuple[str, ...], FromList]
    simulated: bool
    n_sources: int
    n_draws: int
    n_aside: int
    seed: int
    steps: int
    outside: Size
    errors: dict[str, DistillationErrors]

    @property
    def worst(self) -> tuple[str, DistillationErrors]:
        """The proxy whose medians are farthest from decoded ones, and its errors."""
        return max(self.errors.items(), key=lambda item: item[1].median)


class IndexNetwork(nn.Module):
    """Two hidden layers from latents to indices, and the region of latents that they hold in.

    Parameters
    ----------
    n_latents, width, n_indices : int

    Attributes
    ----------
    low, high : Tensor, shape (D,)
        Range of each latent.
    centre : Tensor, shape (D,)
    whitening : Tensor, shape (D, D)
        Lower triangular.
    radius : Tensor, shape ()
        Largest length of the whitened distance from the centre.
    """

    low: Tensor
    high: Tensor
    centre: Tensor
    whitening: Tensor
    radius: Tensor

    def __init__(self, n_latents: int, width: int, n_indices: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_latents, width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(width, width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(width, n_indices),
        )
        for name in ("low", "high", "centre"):
            self.register_buffer(name, torch.zeros(n_latents))
        self.register_buffer("whitening", torch.eye(n_latents))
        self.register_buffer("radius", torch.tensor(0.0))

    def forward(self, latents: Tensor) -> Tensor:
        """The indices (B, P) of latents (B, D)."""
        found: Tensor = self.layers(latents)
        return found

    def contains(self, latents: Tensor) -> Tensor:
        """Whether latents (..., D) lie in the region, shape (...).

        Term by term: a sum over an axis may round differently for another place in memory.
        """
        inside = ((latents >= self.low) & (latents <= self.high)).all(dim=-1)
        apart = latents - self.centre
        squared = torch.zeros_like(apart[..., 0])
        for row in range(apart.shape[-1]):
            whitened = self.whitening[row, 0] * apart[..., 0]
            for column in range(1, row + 1):
                whitened = whitened + self.whitening[row, column] * apart[..., column]
            squared = squared + whitened.square()
        return inside & (squared <= self.radius.square())


@dataclass(frozen=True, eq=False)
class DistilledIndices:
    """A distilled network with its record, on the CPU.

    Attributes
    ----------
    network : IndexNetwork
    record : DistillationRecord
    sha256 : str
        Hash of its file; empty before it is written.
    """

    network: IndexNetwork
    record: DistillationRecord
    sha256: str = ""

    def holds(self, latents: Tensor) -> Tensor:
        """Whether nearly all draws (N, S, D) of a source lie in the region, shape (N,)."""
        outside = latents.shape[1] - self.network.contains(latents).sum(dim=1)
        return outside <= MOST_OUTSIDE * latents.shape[1]

    def __call__(self, latents: Tensor) -> Tensor:
        """The indices (P, N, S) of latents (N, S, D); those of a source depend on it alone."""
        n, s, _ = latents.shape
        *hidden, (weight, bias) = self._layers
        values = torch.empty(len(bias), n, s)
        for k, source in enumerate(latents):
            # Products of parts of an array may round differently, and so may those whose columns
            # are the draws, by several threads.
            x = source.clone()
            for factor, shift in hidden:
                x = nn.functional.leaky_relu_(torch.addmm(shift, x, factor), SLOPE)
            values[:, k] = torch.addmm(bias, x, weight).T
        return values

    @property
    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (in, out) and biases (out,)."""
        linear = [each for each in self.network.layers if isinstance(each, nn.Linear)]
        return [(each.weight.detach().T, each.bias.detach()) for each in linear]

    @property
    def summary(self) -> str:
        """Description in one line, for the terminal."""
        name, errors = self.record.worst
        simulated = " (simulated)" if self.record.simulated else ""
        return (
            f"line strengths by a network that was distilled from the decoder: of "
            f"{self.record.n_aside:,} sources kept aside{simulated} medians are off by at most "
            f"{errors.median:.3f} standard deviations of the posterior ({name}, rms)"
        )

    @property
    def provenance(self) -> dict[str, str | float]:
        """Entry of a scored file's footer."""
        return {"sha256": self.sha256, "largest_median_error": self.record.worst[1].median}

    def misfit(self, decoder_sha256: str, table: LineTable) -> str:
        """Why it cannot stand for a decoder and a line table; empty if it can."""
        if self.record.decoder_sha256 != decoder_sha256:
            return "it was made for another decoder"
        if self.record.lines_sha256 != lines_sha256(table):
            return "it was made for other indices, or other definitions of them"
        return ""

    # ------------------------------------------------------------------ reading, writing

    def write(self, folder: Path) -> None:
        """Write it into a decoder's folder, replacing one that is there."""
        record = json.dumps(self.record.model_dump(mode="json", by_alias=True), sort_keys=True)
        write_safetensors(self.network.state_dict(), folder / FILE_NAME, {RECORD: record})

    @classmethod
    def read(cls, folder: Path, n_latents: int) -> DistilledIndices | None:
        """The distilled network in the folder of a decoder of D latents, if there is one.

        Raises
        ------
        EnsembleError
            If it is damaged, or of another format.
        """
        path = folder / FILE_NAME
        if not path.exists():
            return None
        tensors, record = read_safetensors(path), _record(path)
        first, last = (tensors.get(f"layers.{k}.weight") for k in (0, 4))
        if first is None or last is None or first.ndim != 2 or last.ndim != 2:
            raise EnsembleError(f"{path}: has no layers 'layers.0' and 'layers.4'. {_AGAIN}")
        width = len(first)
        if width > WIDEST or len(last) != len(record.proxies):  # before memory is allocated
            raise EnsembleError(
                f"{path}: is a network of {width} units with {len(last)} results, expected at most "
                f"{WIDEST} units and the {len(record.proxies)} of its record. {_AGAIN}"
            )
        network = IndexNetwork(n_latents, width, len(last))
        load_weights(network, tensors, path)
        return cls(network.eval(), record, sha256_of_file(path))


def _record(path: Path) -> DistillationRecord:
    text = read_metadata(path).get(RECORD)
    if text is None:
        raise EnsembleError(f"{path}: says nothing of what it was made from. {_AGAIN}")
    try:
        values = dict(json.loads(text))
    except (ValueError, TypeError):
        raise EnsembleError(f"{path}: its record is no map in JSON. {_AGAIN}") from None
    return validate_values(values, DistillationRecord, f"{path}, its record", EnsembleError)


def lines_sha256(table: LineTable) -> str:
    """A hash of the names and definitions of a table's indices, without what only describes."""
    told = {"about", "source", "symbol", "predicted"}
    definitions = [each.model_dump(mode="json", exclude=told) for each in table.definitions]
    text = json.dumps([list(table.names), definitions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
