"""The features by which sources are put into cells: latents, or a magnitude and colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.photometry.bands import Band
from targetsel.photometry.brightness import find_brightness
from targetsel.photometry.columns import CatalogPhotometry
from targetsel.photometry.selection_weights import common_bands, magnitude_and_colours, of_magnitude
from targetsel.scored.file import ScoredFile
from targetsel.tables.columns import matrix

Kind = Literal["latents", "colours"]
LATENT_MEAN = "latent_mean"


@dataclass(frozen=True)
class Features:
    """Numbers that describe each source of a scored catalog.

    Attributes
    ----------
    kind : str
        "latents", the means of their posterior; or "colours", a magnitude and the colours of
        neighbouring bands.
    names : tuple of K strings
    columns : tuple of str
        The columns that they are read from.
    """

    kind: Kind
    names: tuple[str, ...]
    columns: tuple[str, ...]
    photometry: CatalogPhotometry | None = None
    bands: tuple[Band, ...] = ()

    @classmethod
    def of(cls, file: ScoredFile, kind: Kind) -> Features:
        """The features of an open scored catalog.

        Raises
        ------
        CatalogError
            If it lacks them.
        """
        return _latents(file) if kind == "latents" else _colours(file)

    def values(self, table: pa.Table) -> np.ndarray:
        """The features of N sources, shape (N, K); NaN where unknown."""
        if self.photometry is None:
            found = matrix(table[LATENT_MEAN])
        else:
            photometry = replace(self.photometry, table=table)
            found = magnitude_and_colours(photometry, self.bands)
        return np.where(np.isfinite(found), found, np.nan)


def _latents(file: ScoredFile) -> Features:
    if LATENT_MEAN not in file.schema.names:
        raise CatalogError(
            f"{file.path}: has no column '{LATENT_MEAN}', since it was scored as slim rows or not "
            "at all. Take cells of magnitudes with --features colours, or score the catalog "
            "without --slim."
        )
    n = file.schema.field(LATENT_MEAN).type.list_size  # `ScoredFile` restores it
    return Features("latents", tuple(f"latent {k + 1}" for k in range(n)), (LATENT_MEAN,))


def _colours(file: ScoredFile) -> Features:
    photometry = find_brightness(file.schema)
    if not photometry.bands():
        raise CatalogError(
            f"{file.path}: has no brightness in any band. Say which column holds which with "
            "--brightness BAND=COLUMN, or take cells of latents."
        )
    bands = common_bands(photometry, photometry, file.path, file.path)
    middle = str(of_magnitude(bands))
    pairs = pairwise(bands)
    names = (middle, *(f"{blue} - {red}" for blue, red in pairs))
    columns = dict.fromkeys(each.name for each in photometry.columns.values())
    return Features("colours", names, tuple(columns), photometry, bands)
