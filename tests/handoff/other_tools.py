"""The tools other than DESI's and PFS's, each with a list, settings and files that suit it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from targetsel.handoff.export import Export, export
from targetsel.handoff.prepare import ExportOptions
from targetsel.handoff.registry import TOOLS
from targetsel.selection.target_list import TargetList

from .lists_by_hand import settings, target_list

SETTINGS = {
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
}
NAMES = tuple(SETTINGS)


def moving_list() -> TargetList:
    """Four targets within 4 arcmin of (150, 2.2).

    102 moves by 1 arcsec/yr to the east, 103 by 1 arcsec/yr to the south, both since 2016.5, so
    that they are 10 arcsec away in 2026.5; 101 and 104 are galaxies without a known motion. 104
    lies a hair beside whole seconds and arcseconds.
    """
    return target_list(
        ra=[150.0, 150.01, 150.02, 149.9791666666],
        dec=[2.2, 2.21, 2.22, 2.1833333333],
        ref_epoch=[None, 2016.5, 2016.5, None],
        pmra=[None, 1000.0, 0.0, None],
        pmdec=[None, 0.0, -1000.0, None],
    )


def exported(
    name: str, folder: Path, targets: TargetList | None = None, changed=None, **options
) -> Export:
    """The list written for the tool of this name into `folder`; `changed` settings win."""
    tool = TOOLS[name]
    if name == "weave" and not (folder / "template.fits").exists():
        write_template(folder / "template.fits")
    if name == "gmmps" and not (folder / "image.fits").exists():
        write_image(folder / "image.fits")
    values = {**SETTINGS[name], **(changed or {})}
    values = {key: value for key, value in values.items() if value is not None}
    here = settings(tool, values, folder)
    chosen = ExportOptions(**{"assume_still": True, **options})
    path = folder / f"list{tool.suffix}"
    return export(targets or moving_list(), tool, here, path, chosen)


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
