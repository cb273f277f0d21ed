"""Columns of the files of a training set.

They stand by themselves so that the manual can tell them without importing torch.
"""

from __future__ import annotations

import pyarrow as pa

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import N_PIXELS
from targetsel.tables.columns import ID, Column, FileKind
from targetsel.tables.parquet import described

ID_FIELD = described("source_id", pa.int64(), "", "meta.id;meta.main", nullable=False)
_GRID = pa.list_(pa.float32(), N_PIXELS)
SPECTRA = pa.schema(
    [
        ID_FIELD,
        described("flux", _GRID, "", "", "rest frame, on the grid of spectra.grid; any unit"),
        described("ivar", _GRID, "", "", "inverse variance of flux, 0 where masked"),
    ]
)
DROPPED = pa.schema(
    [
        ID_FIELD,
        described("step", pa.string(), "", "", "the step that lost the source"),
        described("reason", pa.string(), "", "", "why the source is not in the training set"),
    ]
)

LATENTS = FileKind(
    "a file of latents",
    (
        Column("source_id", ID, meaning="id of the source"),
        Column("latent_mean", pa.list_(pa.float32()), meaning="standardised latents"),
        Column(
            "latent_std",
            pa.list_(pa.float32()),
            meaning="their scatter under fresh noise of the spectrum",
            required=False,
        ),
    ),
    "Expected a file as 'targetsel spectra encode' writes it.",
    SpectrumError,
)
