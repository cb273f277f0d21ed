"""SDSS-V: a table like the ``rsTargets`` files that robostrategy extracts from targetdb.

SDSS-V takes no file from outside: its targets come from cartons, Python classes whose query on
catalogdb returns the targets. This table has the columns that a carton ends up as, for trials with
robostrategy and as a hand-over to a carton's author. `rsid`, `carton_to_target_pk`, `catalogid` and
`target_pk` are keys of the SDSS-V database, for which the list's own `target_id` stands in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from targetsel.errors import HandoffError
from targetsel.handoff.files import read_fits, write_fits
from targetsel.handoff.settings import Positive, Text, TextByClass, ToolSettings
from targetsel.handoff.tool import PriorityScale, Tool, ToolTable, ToolTargets
from targetsel.photometry.systems import usual_system

# The places of the ten magnitudes, and the systems that those of a target list are taken from.
MAGNITUDES = ("g", "r", "i", "z", "bp", "gaia_g", "rp", "j", "h", "k")
SYSTEMS = {"griz": ("sdss", "ps1"), "jhk": ("2mass",)}
BANDS = tuple(f"{name}_{each}" for names, of in SYSTEMS.items() for each in of for name in names)
LAMBDA_EFF = {"BOSS": 5400.0, "APOGEE": 16000.0}  # Angstrom
# The columns in robostrategy's order.
COLUMNS = {
    "stage": ("S6",),
    "rsid": ("i8",),
    "carton_to_target_pk": ("i8",),
    "priority": ("i4", "", "lower is first"),
    "value": ("f4",),
    "lambda_eff": ("f4", "Angstrom"),
    "delta_ra": ("f8", "arcsec"),
    "delta_dec": ("f8", "arcsec"),
    "can_offset": ("b1",),
    "ra": ("f8", "deg"),
    "dec": ("f8", "deg"),
    "epoch": ("f4", "yr"),
    "pmra": ("f4", "mas/yr", "times cos(dec)"),
    "pmdec": ("f4", "mas/yr"),
    "parallax": ("f4", "mas"),
    "catalogid": ("i8",),
    "catalogdb_plan": ("S12",),
    "target_pk": ("i8",),
    "magnitude": ("f4", "mag", " ".join(MAGNITUDES)),
    "carton": ("S60",),
    "carton_pk": ("i4",),
    "program": ("S15",),
    "mapper": ("S3",),
    "category": ("S15",),
    "cadence": ("S60",),
    "fiberType": ("S6",),
    "plan": ("S8",),
    "tag": ("S8",),
}


class SdssVSettings(ToolSettings):
    cadence: TextByClass
    """name of the cadence, such as bright_1x1, for all or by class"""
    fiber_type: Literal["BOSS", "APOGEE"] = "BOSS"
    """spectrograph, BOSS (default) or APOGEE"""
    program: Text = "open_fiber"
    """name of the program; default open_fiber"""
    category: Text = "science"
    """category of the targets; default science"""
    value: Positive = 1.0
    """value of an observed target; default 1"""


def write(targets: ToolTable, settings: SdssVSettings, path: Path) -> list[Path]:
    """Write the table: no offsets, and ids of the list in place of database keys."""
    keys = ("rsid", "carton_to_target_pk", "catalogid", "target_pk")
    values = {
        **dict.fromkeys(keys, targets.id),
        **dict.fromkeys(("delta_ra", "delta_dec", "can_offset"), 0),
        **dict.fromkeys(("catalogdb_plan", "mapper", "plan", "tag"), ""),
        "stage": "srd",
        "carton_pk": -1,
        "priority": targets.priority,
        "value": settings.value,
        "lambda_eff": LAMBDA_EFF[settings.fiber_type],
        "ra": targets.ra,
        "dec": targets.dec,
        "epoch": targets.epoch,
        "pmra": targets.pmra,
        "pmdec": targets.pmdec,
        "parallax": targets.filled("parallax", 0.0),
        "magnitude": _magnitudes(targets, settings),
        "carton": targets.program,
        "program": settings.program,
        "category": settings.category,
        "cadence": settings.by_class("cadence", targets.program),
        "fiberType": settings.fiber_type,
    }
    write_fits(path, COLUMNS, values, "TARGETS")
    return [path]


def read(path: Path) -> ToolTargets:
    """The table as cfitsio or astropy reads it."""
    table, reader = read_fits(path)
    return ToolTargets(table["rsid"], table["ra"], table["dec"], table["priority"], reader)


def _magnitudes(targets: ToolTable, settings: SdssVSettings) -> np.ndarray:
    """AB magnitudes in g, r, i and z, Vega magnitudes in J, H and K, shape (M, 10); else NaN."""
    magnitude = np.full((len(targets), len(MAGNITUDES)), np.nan, np.float32)
    for band in reversed(targets.bands()):  # sdss over ps1
        vega = targets.photometry.magnitude(band) - usual_system(band).offset
        magnitude[:, MAGNITUDES.index(band.name)] = vega
    unknown = np.isnan(magnitude[:, MAGNITUDES.index("h")])
    if settings.fiber_type == "APOGEE" and unknown.any():
        raise HandoffError(
            f"{unknown.sum()} of {len(unknown)} targets have no flux in flux_h_2mass, and APOGEE "
            "fibers need H magnitudes. Give the catalog that column, or leave them out in the "
            "rules (`flux_h_2mass is not missing`)."
        )
    return magnitude


TOOLS = (
    Tool(
        name="sdss-v",
        title="SDSS-V robostrategy, a table like rsTargets (SDSS-V takes no outside files)",
        source="sdss/robostrategy e41179f, python/robostrategy/targets.py",
        tried="The columns agree with robostrategy's source; it needs SDSS-V's database, and "
        "was not run.",
        suffix=".fits",
        write=write,
        read=read,
        priorities=PriorityScale(best=1000, worst=7000),
        ids="target_id",
        epoch="columns",
        default_epoch=2016.0,
        settings=SdssVSettings,
        bands=BANDS,
        experimental=True,
    ),
)
