"""Reading a folder that `targetsel mock` wrote: its images and spectra are simulated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.store import CutoutStore
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.lines import PROXIES
from targetsel.spectra.rest_frame import fill_gaps
from targetsel.spectra.spectrum import MeasuredSpectra

ROWS_AT_ONCE = 512
HEADING = "mock sky: simulated images"


@dataclass(frozen=True)
class Sky:
    """The sources of a mock sky, in the catalog's order.

    Attributes
    ----------
    name : str
    folder : Path
    source_id : ndarray, shape (N,)
    group : ndarray, shape (N,)
        The real galaxy behind each source.
    weight : ndarray, shape (N,)
        What each source counts for in the population that the sky stands for.
    proxies : dict of ndarray, shape (N,)
        Measured on the noise-free spectra.
    redshift : ndarray, shape (N,)
    """

    name: str
    folder: Path
    source_id: np.ndarray
    group: np.ndarray
    weight: np.ndarray
    proxies: dict[str, np.ndarray]
    redshift: np.ndarray

    @classmethod
    def read(cls, folder: Path, name: str = "") -> Sky:
        columns = ["source_id", "group_id", "redshift"]
        catalog = pq.read_table(folder / "catalog.parquet", columns=columns)
        truth = pq.read_table(folder / "truth.parquet")
        ids = catalog["source_id"].to_numpy()
        truth = truth.take(places(truth["source_id"].to_numpy(), ids))
        if "weight" in truth.column_names:
            weight = truth["weight"].to_numpy().astype(float)
        else:
            weight = np.ones(len(ids))
        proxies = {each: truth[each].to_numpy().astype(float) for each in PROXIES}
        group = catalog["group_id"].to_numpy()
        redshift = catalog["redshift"].to_numpy().astype(float)
        return cls(name or folder.name, folder, ids, group, weight, proxies, redshift)

    def __len__(self) -> int:
        return len(self.source_id)

    @cached_property
    def store(self) -> CutoutStore:
        return CutoutStore.open(self.folder / "cutouts")

    def take(self, rows: np.ndarray) -> Sky:
        """Some of the sources, by mask or indices."""
        proxies = {name: values[rows] for name, values in self.proxies.items()}
        ids, group, weight = self.source_id[rows], self.group[rows], self.weight[rows]
        return Sky(self.name, self.folder, ids, group, weight, proxies, self.redshift[rows])

    def labels(self, decoder: Decoder, column: str) -> np.ndarray:
        """Encodings of the spectra in a column (`flux` or `flux_true`), shape (N, D)."""
        if column == "flux":
            return decoder.encode(self.measured().flux)[0].astype(float)
        file = pq.ParquetFile(self.folder / "spectra.parquet")
        ids, found = [], []
        for batch in file.iter_batches(4096, columns=["source_id", column]):
            ids.append(batch["source_id"].to_numpy())
            found.append(decoder.encode(matrix(batch[column]))[0])
        return np.concatenate(found)[places(np.concatenate(ids), self.source_id)].astype(float)

    def measured(self) -> MeasuredSpectra:
        """The noisy spectra, filled beyond their ends as `targetsel spectra encode` does."""
        names = ["source_id", "flux", "ivar"]
        spectra = pq.read_table(self.folder / "spectra.parquet", columns=names)
        rows = places(spectra["source_id"].to_numpy(), self.source_id)
        flux, ivar = matrix(spectra["flux"])[rows], matrix(spectra["ivar"])[rows]
        return fill_gaps(MeasuredSpectra(self.source_id, self.redshift, flux, ivar))

    def cutouts(self) -> Iterator[Cutouts]:
        """All cutouts in the catalog's order, some hundred at a time."""
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield self.store.read(self.source_id[start : start + ROWS_AT_ONCE])


def places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Indices in `ids` of the wanted ones, shape (len(wanted),)."""
    order = np.argsort(ids)
    place = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    if (missing := ids[place] != wanted).any():
        raise SystemExit(f"{int(missing.sum())} ids are missing, such as {wanted[missing][0]}")
    return place


def matrix(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Lists of equal length as rows, shape (N, length)."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
