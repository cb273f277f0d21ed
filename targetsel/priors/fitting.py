"""The decoder's residual, fitted on a file of spectra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import SpectrumError, did_you_mean
from targetsel.networks.stored_posterior import matrix
from targetsel.priors.residual import SpectralResidual
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.decoder import FILE_NAME, Decoder
from targetsel.spectra.grid import N_PIXELS
from targetsel.tables.files import sha256_of_file
from targetsel.tables.parquet import read_footer

MOST = 16_384  # spectra that are looked at, evenly from the whole file


def fit_residual(spectra: Path, column: str, ensemble: Path) -> int:
    """Fit the residual and write it beside an ensemble's decoder; on how many spectra.

    Parameters
    ----------
    spectra : Path
        Parquet whose `column` has lists of 1000 pixels of noise-free flux on the decoder's grid,
        such as `flux_true` of a mock sky. At most 16,384 rows are used.

    Raises
    ------
    SpectrumError, CatalogError, EnsembleError
    """
    read_footer(spectra)
    schema = pq.read_schema(spectra)
    if column not in schema.names:
        raise SpectrumError(f"{spectra}: no column '{column}'.{did_you_mean(column, schema.names)}")
    kind = schema.field(column).type
    if not (pa.types.is_fixed_size_list(kind) and kind.list_size == N_PIXELS):
        raise SpectrumError(f"{spectra}: column '{column}' holds {kind}, expected lists of 1000")
    folder = find_ensemble(ensemble)
    flux = _some_rows(spectra, column)
    decoder = Decoder.read(folder / FILE_NAME)
    fitted = SpectralResidual.fit(flux, decoder, sha256_of_file(folder / FILE_NAME))
    fitted.write(folder)
    return len(flux)


def _some_rows(path: Path, column: str) -> np.ndarray:
    """Usable spectra of evenly spaced rows, shape (N, 1000)."""
    with pq.ParquetFile(path) as file:
        every = -(-file.metadata.num_rows // MOST)
        parts, first = [], 0
        for batch in file.iter_batches(1024, columns=[column]):
            rows = np.arange(-first % every, batch.num_rows, every)
            parts.append(matrix(pa.table(batch.take(pa.array(rows)))[column]).astype(np.float32))
            first += batch.num_rows
    flux = np.concatenate(parts)
    return flux[np.isfinite(flux).all(axis=1) & (flux != 0).any(axis=1)]
