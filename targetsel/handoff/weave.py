"""WEAVE: a target catalog made by filling the template that WASP gives to each survey.

Nothing of the template is changed but its rows: every column keeps its format, unit, display, null
value and other keywords, and no column is added. Columns that are not filled get the template's
null (TNULL), NaN or an empty text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy import units
from astropy.io import fits
from pydantic import Field

from targetsel.errors import HandoffError
from targetsel.handoff.files import read_fits
from targetsel.handoff.settings import Text, ToolSettings
from targetsel.handoff.tool import PriorityScale, Tool, ToolTable, ToolTargets
from targetsel.tables.files import check_output, written_beside
from targetsel.tables.fits import open_fits
from targetsel.tables.reading import reading

# The columns that every template has: FITS formats that hold what they are filled with, and units.
NEEDED = {
    "TARGID": ("A", ""),
    "TARGPRIO": ("IJED", ""),
    "GAIA_RA": ("D", "deg"),
    "GAIA_DEC": ("D", "deg"),
    "GAIA_EPOCH": ("ED", "yr"),
    "GAIA_PMRA": ("ED", "mas/yr"),
    "GAIA_PMDEC": ("ED", "mas/yr"),
}
A_TEMPLATE = "a catalog template"


class WeaveSettings(ToolSettings):
    template: Text
    """the catalog template that WASP gives to your survey (FITS)"""
    fill: dict[str, Text] = Field(default={})
    """columns of the template with a value for all targets, such as `OBSTEMP: NBCEC`; also over
    those that are filled from the list, but for ids, positions and priorities"""


def write(targets: ToolTable, settings: WeaveSettings, path: Path) -> list[Path]:
    """Write the template's tables with our rows in the first."""
    template = settings.path("template")
    with open_fits(template, HandoffError) as hdus:
        with reading(template, HandoffError, A_TEMPLATE):
            place = next((k for k, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)), -1)
            own = list(hdus[place].columns) if place >= 0 else []
            header = hdus[place].header.copy()
        if place < 0:
            raise settings.error(
                "template", f"'template': {template} has no table; expected {A_TEMPLATE}"
            )
        columns = _columns(own, settings)
        values = {k: v for k, v in _values(targets, path, columns).items() if k in columns}
        values |= _constants(targets, settings, columns)
        for name in values:
            _check_width(name, values[name], columns[name], settings)
        for keyword in ("CHECKSUM", "DATASUM"):  # of the empty table
            header.remove(keyword, ignore_missing=True)
        stream = io.BytesIO()
        with reading(template, HandoffError, A_TEMPLATE):
            table = fits.BinTableHDU.from_columns(
                hdus[place].columns, header=header, nrows=len(targets), fill=True
            )
            for name, column in columns.items():
                table.data[name] = values[name] if name in values else _null(column)
            hdus[place] = table
            hdus.writeto(stream, output_verify="fix")
    check_output(path, [template])
    with written_beside(path) as beside:
        beside.write_bytes(stream.getvalue())
    return [path]


def read(path: Path) -> ToolTargets:
    """The catalog as cfitsio or astropy reads it."""
    table, reader = read_fits(path)
    return ToolTargets(
        table["TARGID"],
        table["GAIA_RA"],
        table["GAIA_DEC"],
        np.rint(table["TARGPRIO"]).astype(np.int64),
        reader,
    )


def _columns(own: list[fits.Column], settings: WeaveSettings) -> dict[str, fits.Column]:
    """The template's columns by name, if they are those of a template."""
    columns = {column.name: column for column in own}
    wrong = ""
    for name, (formats, unit) in NEEDED.items():
        if name not in columns:
            wrong = f"has no column {name}; it is no template for WEAVE targets"
        elif columns[name].format[-1] not in formats:
            wrong = (
                f"has the column {name} in the format {columns[name].format}; expected one of "
                f"{' '.join(formats)}"
            )
        elif unit and columns[name].unit and not _is_unit(columns[name].unit, unit):
            wrong = f"has the column {name} in '{columns[name].unit}'; expected '{unit}'"
        if wrong:
            raise settings.error("template", f"'template' {wrong}. Download one from WASP")
    for name, column in columns.items():
        if [each.name for each in own].count(name) > 1:
            wrong = f"has several columns {name}"
        elif not re.fullmatch(r"\d*A|1?[BIJKEDL]", column.format) or column.bscale or column.bzero:
            wrong = (
                f"has the column {name} in the format {column.format}; only texts and single "
                "numbers without a scale can be filled"
            )
        if wrong:
            raise settings.error("template", f"'template' {wrong}")
    return columns


def _is_unit(own: str, unit: str) -> bool:
    return bool(units.Unit(own, parse_strict="silent") == units.Unit(unit))


def _values(
    targets: ToolTable, path: Path, columns: Mapping[str, fits.Column]
) -> dict[str, np.ndarray]:
    """WEAVE's columns that the list fills, magnitudes only where the template has them."""
    n = len(targets)
    values: dict[str, np.ndarray] = {
        "TARGSRVY": np.full(n, path.stem),
        "TARGPROG": targets.program.astype(str),
        "TARGCAT": np.full(n, path.name),
        "TARGID": targets.id.astype(str),
        "TARGNAME": targets.id.astype(str),
        "TARGPRIO": targets.priority,
        "TARGUSE": np.full(n, "T"),
        "GAIA_RA": targets.ra,
        "GAIA_DEC": targets.dec,
        "GAIA_EPOCH": targets.epoch,
        "GAIA_PMRA": targets.pmra,
        "GAIA_PMDEC": targets.pmdec,
        "GAIA_PARAL": targets.filled("parallax", 0.0),
    }
    for band in reversed(targets.photometry.bands()):  # the list's first one of a name wins
        name = f"MAG_{band.name.upper()}"
        if name in columns:
            values[name] = targets.photometry.magnitude(band)
            values[f"{name}_ERR"] = targets.photometry.magnitude_error(band)
    return values


def _constants(
    targets: ToolTable, settings: WeaveSettings, columns: Mapping[str, fits.Column]
) -> dict[str, np.ndarray]:
    """The values of the setting ``fill``, the same for every target."""
    constants = {}
    for name, text in settings.fill.items():
        if name not in columns:
            raise settings.error(
                "fill", f"'fill' names {name}, which the template does not have; leave it out"
            )
        if name in NEEDED:
            raise settings.error(
                "fill", f"'fill' names {name}, which the list itself fills; leave it out"
            )
        kind = columns[name].dtype.base
        try:
            with np.errstate(over="ignore"):
                value = text if kind.kind in "SU" else kind.type(text)
            if kind.kind == "f" and np.isinf(value):
                raise ValueError(text)
            constants[name] = np.full(len(targets), value)
        except (ValueError, OverflowError):
            raise settings.error(
                "fill",
                f"'fill': {name} is '{text}'; expected a number in the format "
                f"{columns[name].format}",
            ) from None
    return constants


def _null(column: fits.Column) -> str | float | int:
    if column.dtype.base.kind in "SU":
        return ""
    if column.null not in (None, ""):
        return int(column.null)
    return np.nan if column.dtype.base.kind == "f" else 0


def _check_width(
    name: str, values: np.ndarray, column: fits.Column, settings: WeaveSettings
) -> None:
    if column.dtype.base.kind not in "SU":
        return
    for text in np.unique(values.astype(str)).tolist():
        if len(text) > column.dtype.itemsize or not text.isascii():
            remedy = "" if name in NEEDED else ". Set another value with `fill`"
            raise settings.error(
                "fill",
                f"'{text}' does not fit the template's column {name}, which has "
                f"{column.dtype.itemsize} ASCII characters{remedy}",
            )


TOOLS = (
    Tool(
        name="weave",
        title="WEAVE target catalog from the survey's own template",
        source="ingconfluence.ing.iac.es 'WEAVE Open-Time Phase 2 - Notes for PIs', and the "
        "template",
        tried="Known from documents only; no program of WEAVE's was run.",
        suffix=".fits",
        write=write,
        read=read,
        priorities=PriorityScale(best=10, worst=1),
        ids="name",
        epoch="columns",
        default_epoch=2016.0,
        names=r"[!-~]([ -~]*[!-~])?",
        names_are="printable ASCII characters, without blanks at the ends",
        settings=WeaveSettings,
        experimental=True,
    ),
)
