"""The brightness of sources by their catalog's photometry, which may stand beside their vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from targetsel.embeddings.vectors import Vectors
from targetsel.errors import CatalogError
from targetsel.photometry.bands import Band
from targetsel.photometry.brightness import find_brightness
from targetsel.photometry.columns import CatalogPhotometry
from targetsel.photometry.selection_weights import common_bands, magnitude_and_colours
from targetsel.sky.catalog import Catalog
from targetsel.tables.ids import IdIndex


class Brightness:
    """A magnitude and colours of a catalog's sources, by id.

    Attributes
    ----------
    names : tuple of K strings
        The bands, blue ones first.
    is_corrected : bool
        Whether they are corrected for Galactic extinction.
    """

    def __init__(
        self, source_id: np.ndarray, bands: tuple[Band, ...], photometry: CatalogPhotometry
    ) -> None:
        self.names = tuple(str(band) for band in bands)
        self.is_corrected = bool(bands) and photometry.is_corrected(bands[0])
        self._index = IdIndex(source_id)
        self._values = magnitude_and_colours(photometry, bands)
        lacks = np.column_stack([np.isnan(photometry.magnitude(band)) for band in bands])
        self._lacking = np.full(len(source_id), "", dtype=object)
        for row in np.flatnonzero(lacks.any(axis=1)):
            self._lacking[row] = ", ".join(np.array(self.names)[lacks[row]])

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        place: Path | str,
        names: tuple[str, ...] = (),
        corrected: bool | None = None,
    ) -> Brightness:
        """The brightness of a catalog's sources.

        Parameters
        ----------
        place : Path or str
            The catalog, beside which a YAML file may lie; for errors.
        names : tuple of str, optional
            Bands to take; by default those of the survey that most are of.
        corrected : bool, optional
            Whether they must be corrected for Galactic extinction.

        Raises
        ------
        CatalogError
            If the catalog has no such bands.
        """
        path = place if isinstance(place, Path) else None
        found = find_brightness(catalog.table.schema, catalog=path)
        photometry = replace(found, table=catalog.table)
        known = {str(band): band for band in photometry.bands()}
        if not known and not names:
            raise CatalogError(
                f"{place}: has no brightness in any band. Say which column holds which in a file "
                "CATALOG.photometry.yaml beside it, or train without --photometry."
            )
        if missing := [name for name in names if name not in known]:
            verb = "is" if len(missing) == 1 else "are"
            has = f"has brightness in {', '.join(known)}" if known else "has no brightness"
            raise CatalogError(
                f"{place}: {has}; the ensemble takes magnitudes in {', '.join(names)}, and "
                f"{', '.join(missing)} {verb} not there. Say which column holds which with "
                f"--brightness {missing[0]}=COLUMN."
            )
        bands = (
            tuple(known[name] for name in names)
            if names
            else common_bands(photometry, photometry, place, place)
        )
        if corrected is not None and photometry.is_corrected(bands[0]) != corrected:
            was, is_now = ("", "not ") if corrected else ("not ", "")
            raise CatalogError(
                f"{place}: its magnitudes are {is_now}corrected for extinction, and those of the "
                f"ensemble's training were {was}so. Give columns that are alike."
            )
        return cls(catalog.source_id, bands, photometry)

    def beside(self, vectors: Vectors) -> Vectors:
        """The vectors with the brightness of their sources behind them."""
        rows = self._index.rows(vectors.source_id)
        known = rows >= 0
        values = np.full((len(rows), len(self.names)), np.nan)
        values[known] = self._values[rows[known]]
        lacking = np.full(len(rows), ", ".join(self.names), dtype=object)
        lacking[known] = self._lacking[rows[known]]
        return replace(vectors, brightness=values, lacking=lacking)
