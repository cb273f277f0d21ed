"""4MOST: a target catalog for the 4MOST Facility Simulator (4FS), format version 2.6.

Columns, types, units and ranges are those of the 4FS web interface's manual
VIS-MAN-4MOST-47110-1720-0001, which is not public; they are taken from two public programs that
repeat its tables. The format has no priorities: 4MOST takes them from the subsurvey, its template
and its ruleset, each of which can be set by target class. MAG is apparent: extinction is put back
into magnitudes that are corrected for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, StringConstraints

from targetsel.documents.models import Expected, Integer
from targetsel.errors import HandoffError
from targetsel.handoff.files import read_fits, write_fits
from targetsel.handoff.settings import ALL, ByClass, FilterSettings, Text, TextByClass
from targetsel.handoff.tool import BANDS, UNKNOWN, Tool, ToolTable, ToolTargets
from targetsel.photometry.flux import extinction

FORMAT = {
    "FMTDOC": ("VIS-MAN-4MOST-47110-1720-0001", "format document"),
    "FMTVERS": ("2.6", "format version"),
}
# Known names of filters; any other one can be given with `mag_type`.
SYSTEMS = {"sdss": "SDSS", "decam": "DECam", "lsst": "LSST"}
ARMS = ("BLUE", "GREEN", "RED")
COLUMNS = {
    "NAME": ("S",),
    "RA": ("f8", "deg"),
    "DEC": ("f8", "deg"),
    "PMRA": ("f4", "mas/yr"),
    "PMDEC": ("f4", "mas/yr"),
    "EPOCH": ("f4", "yr"),
    "RESOLUTION": ("i2",),
    "SUBSURVEY": ("S",),
    "TEMPLATE": ("S",),
    "RULESET": ("S",),
    "EXTENT_FLAG": ("i2",),
    "EXTENT_PARAMETER": ("f4", "arcsec"),
    "EXTENT_INDEX": ("f4",),
    "MAG_TYPE": ("S",),
    "MAG": ("f4", "mag"),
    "MAG_ERR": ("f4", "mag"),
    "DATE_EARLIEST": ("f8", "d"),
    "DATE_LATEST": ("f8", "d"),
    "CADENCE": ("i8",),
    "REDDENING": ("f4", "mag"),
    "REDSHIFT_ESTIMATE": ("f4",),
    "REDSHIFT_ERROR": ("f4",),
    "TEMPLATE_REDSHIFT": ("f4",),
    **{f"CAL_MAG_{arm}": ("f4", "mag") for arm in ARMS},
    **{f"CAL_MAG_ERR_{arm}": ("f4", "mag") for arm in ARMS},
    **{f"CAL_MAG_ID_{arm}": ("S",) for arm in ARMS},
    "CLASSIFICATION": ("S",),
    "COMPLETENESS": ("f4",),
    "PARALLAX": ("f4", "mas"),
}
# Numbers that the format takes; those of an extent count only for Sersic profiles.
RANGES = {
    "DEC": (-90, 40),
    "EPOCH": (1950, 2050),
    "MAG": (3, 50),
    "REDSHIFT_ESTIMATE": (-0.01, 10),
    "REDDENING": (0, 100),
    "EXTENT_PARAMETER": (0.1, 100),
    "EXTENT_INDEX": (0.1, 10),
}
UNITS = {"sersic_radius": "arcsec", "reddening": "mag"}  # of columns that settings name
RESOLUTIONS = {"LRS": 1, "HRS": 2}
# A flat profile (1) would take magnitudes per square arcsecond, which target lists do not have.
EXTENTS = {"point": 0, "sersic": 2}


Names = Annotated[
    dict[str, Annotated[str, StringConstraints(pattern=r"^[ -~]{1,256}$")]],
    ByClass(),
    Expected("1 to 256 ASCII characters"),
]
RulesetNames = Annotated[
    dict[str, Annotated[str, StringConstraints(pattern=r"^[A-Za-z][ -~]{0,255}$")]],
    ByClass(),
    Expected("1 to 256 ASCII characters that begin with a letter"),
]


class FourmostSettings(FilterSettings):
    subsurvey: Names
    """registered name of the subsurvey, for all or by class"""
    template: Names
    """file name of the spectral template, for all or by class"""
    ruleset: RulesetNames
    """name of the spectral success criteria, for all or by class; DONOTOBSERVE switches targets
    off"""
    resolution: Literal["LRS", "HRS"] = "LRS"
    """spectrograph, LRS (default) or HRS"""
    mag_type: Text | None = None
    """name that 4MOST has for that filter, such as SDSS_r_AB, where it is not known here"""
    extent: Annotated[dict[str, Literal["point", "sersic"]], ByClass()] | None = None
    """shape, point (default) or sersic, for all or by class"""
    sersic_radius: TextByClass | None = None
    """half-light radius [arcsec], a number for all or by class, or a column of the list"""
    sersic_index: TextByClass | None = None
    """index of the profile, a number for all or by class, or a column of the list"""
    redshift: TextByClass | None = None
    """redshift of the template, a number (default 0) or a column of the list"""
    reddening: TextByClass | None = None
    """reddening E(B-V) [mag], a number (default 0) or a column of the list"""
    cadence: Annotated[Integer, Field(ge=0, le=2**53)] = 0
    """code that 4MOST has for the cadence; default 0, none"""
    classification: Names | None = None
    """expected class of source, such as GAL, for all or by class"""


def write(targets: ToolTable, settings: FourmostSettings, path: Path) -> list[Path]:
    """Write the catalog; it has no time limits and no calibration magnitudes."""
    program = targets.program
    values = {
        **_extent(targets, settings),
        **_brightness(targets, settings),
        **{name: np.nan for name in COLUMNS if name.startswith("CAL_MAG_")},
        **{f"CAL_MAG_ID_{arm}": "" for arm in ARMS},
        **dict.fromkeys(("DATE_EARLIEST", "DATE_LATEST", "REDSHIFT_ERROR"), 0.0),
        "NAME": targets.id,
        "RA": targets.ra % 360,
        "DEC": targets.dec,
        "PMRA": np.nan_to_num(targets.pmra),
        "PMDEC": np.nan_to_num(targets.pmdec),
        "EPOCH": targets.epoch,
        "RESOLUTION": RESOLUTIONS[settings.resolution],
        "SUBSURVEY": settings.by_class("subsurvey", program),
        "TEMPLATE": settings.by_class("template", program),
        "RULESET": settings.by_class("ruleset", program),
        "CADENCE": settings.cadence,
        "REDDENING": _numbers(targets, settings, "reddening", 0),
        "REDSHIFT_ESTIMATE": _numbers(targets, settings, "redshift", 0),
        "TEMPLATE_REDSHIFT": 0.0,
        "CLASSIFICATION": settings.by_class("classification", program, "UNKNOWN"),
        "COMPLETENESS": 1.0,
        "PARALLAX": targets.filled("parallax", 0.0),
    }
    for name in RANGES:
        _check_range(name, values, targets)
    write_fits(path, COLUMNS, values, "TARGETS", FORMAT)
    return [path]


def read(path: Path) -> ToolTargets:
    """The catalog as cfitsio or astropy reads it; it has no priorities."""
    table, reader = read_fits(path)
    return ToolTargets(table["NAME"], table["RA"], table["DEC"], None, reader)


def _extent(targets: ToolTable, settings: FourmostSettings) -> dict[str, Any]:
    """A point or a Sersic profile."""
    shapes = settings.by_class("extent", targets.program, "point")
    sersic = shapes == "sersic"
    radius, index = np.zeros(len(targets)), np.zeros(len(targets))
    if sersic.any():
        radius[sersic] = _numbers(targets, settings, "sersic_radius")[sersic]
        index[sersic] = _numbers(targets, settings, "sersic_index")[sersic]
    flag = np.array([EXTENTS[shape] for shape in shapes.tolist()])
    return {"EXTENT_FLAG": flag, "EXTENT_PARAMETER": radius, "EXTENT_INDEX": index}


def _brightness(targets: ToolTable, settings: FourmostSettings) -> dict[str, Any]:
    """One AB magnitude and the name of its filter."""
    band, magnitude = targets.magnitude(settings)
    known = SYSTEMS.get(band.system)
    if known is None and settings.mag_type is None:
        raise settings.error(
            "filter",
            f"4MOST's name of the filter {band} is not known here (only those of "
            f"{', '.join(SYSTEMS)}). Give it, such as `mag_type: PS1_r_AB`, or choose another "
            "`filter`",
        )
    if targets.photometry.is_corrected(band):
        wavelength = np.array(band.wavelength)
        if "reddening" not in settings.model_fields_set or np.isnan(wavelength):
            raise HandoffError(
                f"flux_{band} is corrected for Galactic extinction, and '4most' takes magnitudes "
                "as they are observed. Give E(B-V) with the setting `reddening`, and the "
                "extinction is put back; or choose another `filter`."
            )
        dust = _numbers(targets, settings, "reddening") * extinction(wavelength)
        magnitude = np.where(magnitude == UNKNOWN, UNKNOWN, magnitude + dust)
    error = np.nan_to_num(targets.photometry.magnitude_error(band))
    kind = settings.mag_type or f"{known}_{band.name}_AB"
    return {"MAG_TYPE": kind, "MAG": magnitude, "MAG_ERR": error}


def _numbers(
    targets: ToolTable, settings: FourmostSettings, key: str, default: float | None = None
) -> np.ndarray:
    """A column of the list that the setting names, or its number, for all or by class."""
    given = getattr(settings, key) or {}
    if given.get(ALL) in targets.table.column_names:
        return targets.number(given[ALL], UNITS.get(key, ""))
    texts = settings.by_class(key, targets.program, None if default is None else repr(default))
    try:
        values = texts.astype(float)
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        raise settings.error(
            key,
            f"'{key}' is '{', '.join(np.unique(texts.astype(str)))}'; expected "
            f"{settings.meaning(key)}",
        )
    return values


def _check_range(name: str, values: Mapping[str, Any], targets: ToolTable) -> None:
    low, high = RANGES[name]
    wrong = ~((values[name] >= low) & (values[name] <= high))
    if name.startswith("EXTENT_"):
        wrong &= values["EXTENT_FLAG"] == EXTENTS["sersic"]
    if wrong.any():
        first = wrong.argmax()
        value = values[name][first]
        is_unknown = np.isnan(value) or (name == "MAG" and value == UNKNOWN)
        raise HandoffError(
            f"{name} of {wrong.sum()} of {len(wrong)} targets is not for 4MOST: that of "
            f"{targets.id[first]} is {'unknown' if is_unknown else f'{value:g}'}; expected {low:g} "
            f"to {high:g}. Leave them out with a condition in the rules."
        )


TOOLS = (
    Tool(
        name="4most",
        title="4MOST Facility Simulator catalog, format 2.6",
        source="GMontaguth/GRIT-4MOST; lsst-uk/tidesPhaseC uploadObjects/uploadApp.py; "
        "escience.aip.de/readthedocs/OpSys/etc/master/format.html",
        tried="Known from documents and from a public submission, whose columns agree; the "
        "observatory's checks were not run.",
        suffix=".fits",
        write=write,
        read=read,
        priorities=None,
        ids="name",
        epoch="columns",
        default_epoch=2016.0,
        names=r"[A-Za-z0-9_+.\-]{1,256}",
        names_are="1 to 256 letters, digits or _.+-",
        settings=FourmostSettings,
        bands=BANDS,
        writes_fluxes=False,
        experimental=True,
    ),
)
