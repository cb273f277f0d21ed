"""Every tool, with settings and files that suit a list made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml
from astropy.io import fits

from targetsel.handoff.export import TOOLS, Export, export
from targetsel.handoff.prepare import ExportOptions
from targetsel.handoff.settings import ToolSettings
from targetsel.handoff.tool import Tool
from targetsel.selection.target_list import TargetList
from tests.handoff.lists_by_hand import moving_list, wide_list

SETTINGS = {
    "desi": {"epoch": "2026.5", "obsconditions": {"STRONG": "DARK|GRAY", "WEAK": "BRIGHT"}},
    "desi-tertiary": {
        "program_number": "12",
        "faprgrm": "tertiary12",
        "obsconds": "DARK",
        "sbprof": "ELG",
        "goaltime": "1000",
        "checker": "AB",
    },
    "pfs-uploader": {
        "exptime": {"STRONG": "1800", "WEAK": "3600"},
        "resolution": "L",
        "reference_arm": "r",
    },
    "pfs-netflow": {"epoch": "2026.5", "exptime": "1800", "qa_reference_arm": "n"},
    "pfs-ga": {"exptime": "1800", "catid": "10092", "obcode": "by_hand_"},
    "4most": {
        "subsurvey": "S8_BG",
        "template": {"STRONG": "emission_z0.1.fits", "WEAK": "passive_z0.1.fits"},
        "ruleset": {"STRONG": "LineSNR", "WEAK": "ContinuumSNR"},
    },
    "sdss-v": {"cadence": {"STRONG": "dark_1x2", "WEAK": "bright_1x1"}},
    "weave": {"template": "template.fits", "fill": {"OBSTEMP": "NBCEC", "PROGTEMP": "41331"}},
    "nirspec": {"epoch": "2026.5"},
    "2df": {"epoch": "2026.5", "label": "A field by hand", "ra": "150.0", "dec": "2.2"},
    "hectospec": {"epoch": "2026.5"},
    "deimos": {"epoch": "2026.5"},
    "mosfire": {"epoch": "2026.5"},
    "gmmps": {"epoch": "2026.5", "image": "image.fits"},
    "gmskcreate": {"epoch": "2026.5"},
    "tom": {"groups": ["observers", "night of March 14"]},
    "table": {"columns": ["source_id", "target_id", "ra", "dec", "priority", "flux_r_sdss"]},
}
NAMES = tuple(SETTINGS)
GOLDEN = Path(__file__).with_name("golden")
DESI_AND_PFS = NAMES[:5]  # whose lists may lie anywhere


def settings(tool: Tool, values: Mapping | None = None) -> ToolSettings:
    """Settings as a file would give them."""
    if not values:
        return tool.settings.read(None, tool.name)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "settings.yaml"
        path.write_text(yaml.safe_dump(dict(values), sort_keys=False))
        return tool.settings.read(path, tool.name)


def exported(
    name: str, where: Path, targets: TargetList | None = None, changed=None, **options
) -> Export:
    """The list written for the tool of this name, into a folder or to a file.

    `changed` settings win; None leaves one out.
    """
    tool, folder = TOOLS[name], where if where.is_dir() else where.parent
    path = where / f"list{tool.suffix}" if where.is_dir() else where
    values = {k: v for k, v in (SETTINGS[name] | (changed or {})).items() if v is not None}
    if name in FILES:
        key, write = FILES[name]
        if not (folder / SETTINGS[name][key]).exists():
            write(folder / SETTINGS[name][key])
        if key in values:
            values[key] = str(folder / values[key])
    if targets is None:
        targets = wide_list() if name in DESI_AND_PFS else moving_list()
    chosen = ExportOptions(**({"assume_still": True} | options))
    return export(targets, tool, settings(tool, values), path, chosen)


def write_template(path: Path, without: str = "") -> None:
    """A template with no rows, some of WEAVE's columns, and all kinds of column keywords."""
    empty = np.zeros(0)
    columns = [
        fits.Column("CNAME", "20A", disp="A20", array=empty.astype("S20")),
        fits.Column("TARGSRVY", "15A", disp="A15", array=empty.astype("S15")),
        fits.Column("TARGPROG", "40A", disp="A40", array=empty.astype("S40")),
        fits.Column("TARGID", "30A", disp="A30", array=empty.astype("S30")),
        fits.Column("TARGPRIO", "E", disp="F4.1", array=empty),
        fits.Column("TARGUSE", "1A", disp="A1", array=empty.astype("S1")),
        fits.Column("PROGTEMP", "8A", disp="A8", array=empty.astype("S8")),
        fits.Column("OBSTEMP", "5A", disp="A5", array=empty.astype("S5")),
        fits.Column("GAIA_DR", "3A", disp="A3", array=empty.astype("S3")),
        fits.Column("GAIA_RA", "D", unit="deg", disp="F11.7", array=empty),
        fits.Column("GAIA_DEC", "D", unit="deg", disp="F11.7", array=empty),
        fits.Column("GAIA_EPOCH", "E", unit="yr", disp="F6.1", array=empty),
        fits.Column("GAIA_PMRA", "E", unit="mas/yr", disp="F10.3", array=empty),
        fits.Column("GAIA_PMDEC", "E", unit="mas/yr", disp="F10.3", array=empty),
        fits.Column("HEALPIX", "J", null=-99, disp="I8", array=empty.astype(int)),
        fits.Column("MAG_G", "E", unit="mag", disp="F6.3", array=empty),
        fits.Column("MAG_R", "E", unit="mag", disp="F6.3", array=empty),
        fits.Column("MAG_R_ERR", "E", unit="mag", disp="F6.3", array=empty),
        fits.Column("MAG_I", "E", unit="mag", disp="F6.3", array=empty),
    ]
    table = fits.BinTableHDU.from_columns([c for c in columns if c.name != without])
    table.header["EXTNAME"] = "TEMPLATE"
    for place, column in enumerate(table.columns, start=1):
        if column.name == "GAIA_RA":
            table.header[f"TDMIN{place}"] = (0.0, "smallest value")
            table.header[f"TDMAX{place}"] = (360.0, "largest value")
            table.header[f"TUCD{place}"] = "pos.eq.ra"
            table.header[f"TPROP{place}"] = 0
    primary = fits.PrimaryHDU()
    primary.header["DATAMVER"] = "8.00"
    primary.header["MAG_G_CM"] = "SDSS"
    fits.HDUList([primary, table]).writeto(path)


def write_image(path: Path, overwrite: bool = False) -> None:
    """An image of 301 x 301 pixels of 2 arcsec around (150, 2.2), with a bit of a header."""
    image = fits.ImageHDU(np.zeros((301, 301), np.int16), name="SCI")
    cards = {"CRPIX": 151.0, "CDELT": 2 / 3600}
    for axis, (kind, value) in enumerate((("RA---TAN", 150.0), ("DEC--TAN", 2.2)), start=1):
        image.header[f"CTYPE{axis}"] = kind
        image.header[f"CRVAL{axis}"] = value
        image.header[f"CRPIX{axis}"] = cards["CRPIX"]
        image.header[f"CDELT{axis}"] = cards["CDELT"] * (-1 if axis == 1 else 1)
    image.header["PIXSCALE"] = 2.0
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "GMOS-S"
    fits.HDUList([primary, image]).writeto(path, overwrite=overwrite)


def as_text(path: Path) -> str:
    """A FITS table as text: for each column its name, format, unit and values; then other cards."""
    with fits.open(path) as hdus:
        table = hdus[1]
        lines = [f"{table.name}: {len(table.data)} rows"]
        for column in table.columns:
            values = " ".join(_shown(value) for value in table.data[column.name])
            lines.append(f"{column.name} {column.format} [{column.unit or ''}] {values}".rstrip())
        structural = ("XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "EXTNAME")
        structural += ("TFIELDS", "TFORM", "TTYPE", "TUNIT")
        for card in table.header.cards:
            if not card.keyword.startswith(structural):
                lines.append(f"{card.keyword} = {card.value!r} / {card.comment}".rstrip(" /"))
    return "\n".join(lines) + "\n"


def _shown(value) -> str:
    if isinstance(value, np.ndarray):
        return "(" + " ".join(_shown(each) for each in value) + ")"
    if isinstance(value, str):
        return repr(value)
    return str(value)


FILES = {"weave": ("template", write_template), "gmmps": ("image", write_image)}
