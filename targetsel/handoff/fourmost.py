"""4MOST: a target catalog for the 4MOST Facility Simulator (4FS), format version 2.6.

Columns, types, units and ranges are those of the 4FS web interface's manual
VIS-MAN-4MOST-47110-1720-0001, which is not public; they are taken from two public programs that
repeat its tables. The format has no priorities: 4MOST takes them from the subsurvey, its template
and its ruleset, each of which can be set by target class. MAG is apparent: give fluxes that are not
corrected for Galactic extinction.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from targetsel.errors import HandoffError
from targetsel.handoff.brightness import UNKNOWN, one_magnitude
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.reading import read_fits
from targetsel.handoff.settings import Settings
from targetsel.handoff.tool import ReadBack, Tool
from targetsel.handoff.writing import Column, write_fits

FORMAT = {
    "FMTDOC": ("VIS-MAN-4MOST-47110-1720-0001", "format document"),
    "FMTVERS": ("2.6", "format version"),
}
# Known names of filters; any other one can be given with `mag_type`.
SYSTEMS = {"sdss": "SDSS", "decam": "DECam", "lsst": "LSST"}
RESOLUTIONS = {"LRS": 1, "HRS": 2}
# A flat profile (1) would take magnitudes per square arcsecond, which target lists do not have.
EXTENTS = {"point": 0, "sersic": 2}
ARMS = ("BLUE", "GREEN", "RED")
LONGEST = 256


def write(prepared: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the catalog."""
    columns = [
        *_identity(prepared, settings),
        *_extent(prepared, settings),
        *_brightness(prepared, settings),
        *_remainder(prepared, settings),
    ]
    write_fits(path, columns, "TARGETS", FORMAT)
    return [path]


def read(path: Path) -> ReadBack:
    """The catalog as cfitsio or astropy reads it; it has no priorities."""
    table, reader = read_fits(path)
    return ReadBack(table["NAME"], table["RA"], table["DEC"], None, reader)


def _identity(prepared: Prepared, settings: Settings) -> list[Column]:
    """Columns 1 to 10: who, where, and by which template and rules."""
    n, resolution = len(prepared), settings.choice("resolution", RESOLUTIONS, "LRS")
    _within("DEC", prepared.dec, -90, 40, prepared)
    _within("EPOCH", prepared.epoch, 1950, 2050, prepared)
    return [
        Column("NAME", prepared.id),
        Column("RA", prepared.ra % 360, "deg"),
        Column("DEC", prepared.dec, "deg"),
        Column("PMRA", np.nan_to_num(prepared.pmra).astype(np.float32), "mas/yr"),
        Column("PMDEC", np.nan_to_num(prepared.pmdec).astype(np.float32), "mas/yr"),
        Column("EPOCH", prepared.epoch.astype(np.float32), "yr"),
        Column("RESOLUTION", np.full(n, RESOLUTIONS[resolution], np.int16)),
        Column("SUBSURVEY", _texts(prepared, settings, "subsurvey")),
        Column("TEMPLATE", _texts(prepared, settings, "template")),
        Column("RULESET", _rulesets(prepared, settings)),
    ]


def _extent(prepared: Prepared, settings: Settings) -> list[Column]:
    """Columns 11 to 13: a point or a Sersic profile."""
    shapes = settings.by_program("extent", prepared.program, "point")
    for shape in shapes.tolist():
        if shape not in EXTENTS:
            raise settings.error(f"'extent' is '{shape}'; expected one of {', '.join(EXTENTS)}")
    sersic = shapes == "sersic"
    radius, index = np.zeros(len(prepared)), np.zeros(len(prepared))
    if sersic.any():
        radius[sersic] = _numbers(prepared, settings, "sersic_radius")[sersic]
        index[sersic] = _numbers(prepared, settings, "sersic_index")[sersic]
        _within("EXTENT_PARAMETER", np.where(sersic, radius, 1), 0.1, 100, prepared)
        _within("EXTENT_INDEX", np.where(sersic, index, 1), 0.1, 10, prepared)
    flag = np.array([EXTENTS[shape] for shape in shapes.tolist()], np.int16)
    return [
        Column("EXTENT_FLAG", flag),
        Column("EXTENT_PARAMETER", radius.astype(np.float32), "arcsec"),
        Column("EXTENT_INDEX", index.astype(np.float32)),
    ]


def _brightness(prepared: Prepared, settings: Settings) -> list[Column]:
    """Columns 14 to 16: one AB magnitude and the name of its filter."""
    band, magnitude = one_magnitude(prepared, settings)
    known = SYSTEMS.get(band.system)
    if known is None and not settings.has("mag_type"):
        raise settings.error(
            f"4MOST's name of the filter {band} is not known here (only those of "
            f"{', '.join(SYSTEMS)}). Give it, such as `mag_type: PS1_r_AB`, or choose another "
            "`filter`"
        )
    _within("MAG", magnitude, 3, 50, prepared, missing=UNKNOWN)
    error = np.nan_to_num(prepared.photometry.magnitude_error(band))
    kind = settings.text("mag_type", f"{known}_{band.name}_AB")
    return [
        Column("MAG_TYPE", np.full(len(prepared), kind, dtype=object)),
        Column("MAG", magnitude.astype(np.float32), "mag"),
        Column("MAG_ERR", error.astype(np.float32), "mag"),
    ]


def _remainder(prepared: Prepared, settings: Settings) -> list[Column]:
    """Columns 17 to 35; no time limits, no cadence, no calibration magnitudes."""
    n = len(prepared)
    anytime, unknown = np.zeros(n), np.full(n, np.nan, np.float32)
    reddening = _numbers(prepared, settings, "reddening", 0)
    redshift = _numbers(prepared, settings, "redshift", 0)
    _within("REDSHIFT_ESTIMATE", redshift, -0.01, 10, prepared)
    _within("REDDENING", reddening, 0, 100, prepared)
    columns = [
        Column("DATE_EARLIEST", anytime, "d"),
        Column("DATE_LATEST", anytime, "d"),
        Column("CADENCE", np.full(n, settings.integer("cadence", 0), np.int64)),
        Column("REDDENING", reddening.astype(np.float32), "mag"),
        Column("REDSHIFT_ESTIMATE", redshift.astype(np.float32)),
        Column("REDSHIFT_ERROR", np.zeros(n, np.float32)),
        Column("TEMPLATE_REDSHIFT", np.zeros(n, np.float32)),
    ]
    columns += [Column(f"CAL_MAG_{arm}", unknown, "mag") for arm in ARMS]
    columns += [Column(f"CAL_MAG_ERR_{arm}", unknown, "mag") for arm in ARMS]
    columns += [Column(f"CAL_MAG_ID_{arm}", np.full(n, "", dtype=object)) for arm in ARMS]
    parallax = prepared.filled("parallax", 0.0)
    return [
        *columns,
        Column("CLASSIFICATION", _texts(prepared, settings, "classification", "UNKNOWN")),
        Column("COMPLETENESS", np.ones(n, np.float32)),
        Column("PARALLAX", parallax.astype(np.float32), "mas"),
    ]


def _texts(
    prepared: Prepared, settings: Settings, key: str, default: str | None = None
) -> np.ndarray:
    texts = settings.by_program(key, prepared.program, default)
    for text in dict.fromkeys(texts.tolist()):
        if not (text.isascii() and 0 < len(text) <= LONGEST):
            raise settings.error(f"'{key}' is '{text}'; expected 1 to {LONGEST} ASCII characters")
    return texts


def _rulesets(prepared: Prepared, settings: Settings) -> np.ndarray:
    rulesets = _texts(prepared, settings, "ruleset")
    for name in dict.fromkeys(rulesets.tolist()):
        if not name[0].isalpha():
            raise settings.error(f"'ruleset' is '{name}'; 4MOST's rulesets begin with a letter")
    return rulesets


def _numbers(
    prepared: Prepared, settings: Settings, key: str, default: float | None = None
) -> np.ndarray:
    """A column of the list that the setting names, or its number, for all or by class."""
    if settings.has(key) and settings.values[key] in prepared.table.column_names:
        return prepared.number(settings.text(key))
    return settings.numbers_by_program(key, prepared.program, default)


def _within(
    column: str,
    values: np.ndarray,
    low: float,
    high: float,
    prepared: Prepared,
    missing: float = np.nan,
) -> None:
    wrong = np.flatnonzero(~((values >= low) & (values <= high)))
    if len(wrong):
        value = values[wrong[0]]
        what = "unknown" if np.isnan(value) or value == missing else f"{value:g}"
        raise HandoffError(
            f"{column} of {len(wrong)} of {len(values)} targets is not for 4MOST: that of "
            f"{prepared.id[wrong[0]]} is {what}; expected {low:g} to {high:g}. "
            "Leave them out with a condition in the rules."
        )


TOOL = Tool(
    name="4most",
    title="4MOST Facility Simulator catalog, format 2.6",
    source="GMontaguth/GRIT-4MOST; lsst-uk/tidesPhaseC uploadObjects/uploadApp.py; "
    "escience.aip.de/readthedocs/OpSys/etc/master/format.html",
    suffix=".fits",
    write=write,
    read=read,
    priorities=None,
    ids="name",
    epoch="columns",
    default_epoch=2016.0,
    names=r"[A-Za-z0-9_+.\-]{1,256}",
    names_are="1 to 256 letters, digits and _ + - .",
    settings={
        "subsurvey": "registered name of the subsurvey, for all or by class",
        "template": "file name of the spectral template, for all or by class",
        "ruleset": "name of the spectral success criteria, for all or by class; DONOTOBSERVE "
        "switches targets off",
        "resolution": "LRS (default) or HRS",
        "filter": "filter of MAG, such as r_sdss; by default the first the list has of r i z g y u",
        "mag_type": "4MOST's name of that filter, such as SDSS_r_AB, where it is not known here",
        "extent": "point (default) or sersic, for all or by class",
        "sersic_radius": "[arcsec], a number for all or by class, or a column of the list",
        "sersic_index": "a number for all or by class, or a column of the list",
        "redshift": "of the template, a number (default 0) or a column of the list",
        "reddening": "E(B-V) [mag], a number (default 0) or a column of the list",
        "cadence": "4MOST's code for the cadence; default 0, none",
        "classification": "expected class of source, such as GAL, for all or by class",
    },
    experimental=True,
)
