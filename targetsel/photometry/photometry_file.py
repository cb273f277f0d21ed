"""The YAML file beside a catalog that says which of its columns is which band's brightness.

`catalog.photometry.yaml` for `catalog.fits`:

    schema: targetsel/photometry/v1
    brightness:
      r_sdss: rmag                      # AB magnitudes
      g_ps1: {column: g_kron, error: g_kron_err, unit: Jy, extinction: corrected}
      j_2mass: {column: jmag, system: Vega}

The options ``--brightness r_sdss=rmag,error=e_rmag`` say the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from targetsel.documents.json_schema import draft_7
from targetsel.documents.models import (
    DocumentModel,
    Expected,
    Number,
    PlacedText,
    map_of,
    read_model,
)
from targetsel.errors import CatalogError

ENDING = ".photometry.yaml"
_OURS = (".targets", ".scored")


class BandBrightness(DocumentModel):
    """The columns of one band's brightness, and what they hold."""

    model_config = ConfigDict(
        title="the brightness",
        use_attribute_docstrings=True,
        json_schema_extra={"type": ["object", "string"]},
    )

    column: PlacedText
    """column of fluxes or magnitudes"""
    error: PlacedText | None = None
    """column of their standard deviations, in the same unit"""
    unit: str = ""
    """unit of the column, such as mag, nJy or nanomaggy, where the catalog does not declare it"""
    system: Literal["AB", "Vega", "asinh"] | None = None
    """what magnitudes mean; by default as the band's survey publishes them, which mostly is AB"""
    offset: Number | None = None
    """what is added to magnitudes of this system for AB, where it is not known of the band"""
    source: str = ""
    """where the offset is from"""
    extinction: Literal["corrected", "not corrected"] | None = None
    """whether it is corrected for Galactic extinction; by default what the column's description
    says, or else not"""
    light: Literal["total", "psf", "fiber"] = "total"
    """whose light: of the whole source, of a point, or within a fiber"""


Brightness = Annotated[
    BandBrightness,
    BeforeValidator(lambda value: map_of("column", value)),
    Expected("the name of a column, or a map such as {column: rmag, error: e_rmag}"),
]


class PhotometryFile(DocumentModel):
    """Bands of a catalog, each with its column of brightness."""

    model_config = ConfigDict(title="the file")

    schema_: Literal["targetsel/photometry/v1"] = Field(alias="schema")
    brightness: dict[str, Brightness] = Field(
        description="by band, such as r_sdss, g_ps1, z_ls or g_gaia"
    )


def read_photometry_file(path: Path) -> PhotometryFile:
    """The content of such a file.

    Raises
    ------
    CatalogError
        With line, column and caret, if it is none.
    """
    return read_model(path, PhotometryFile, CatalogError)


def photometry_file_of(catalog: Path) -> Path | None:
    """The file beside a catalog, or a scored file's catalog; None without one."""
    name = catalog.name.removesuffix(".gz")
    stem = Path(name).stem if catalog.suffix and not catalog.is_dir() else name
    for each in dict.fromkeys((stem, *(stem.removesuffix(ending) for ending in _OURS))):
        path = catalog.with_name(each + ENDING)
        if path.is_file():
            return path
    return None


def photometry_schema() -> dict[str, Any]:
    """The JSON schema of such a file."""
    return draft_7(PhotometryFile, "targetsel photometry of a catalog")
