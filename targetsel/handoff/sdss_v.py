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
from pydantic import Field

from targetsel.handoff.files import FitsColumn, read_fits, write_fits
from targetsel.handoff.settings import Positive, Text, TextByClass, ToolSettings
from targetsel.handoff.text_lists import known_bands
from targetsel.handoff.tool import PriorityScale, Tool, ToolTable, ToolTargets
from targetsel.photometry.bands import Band

# The places of the ten magnitudes, and the filters of a target list that g, r, i, z are taken from.
# The other six are Vega magnitudes, which a target list does not have.
MAGNITUDES = ("g", "r", "i", "z", "bp", "gaia_g", "rp", "j", "h", "k")
SYSTEMS = ("sdss", "ps1")
LAMBDA_EFF = {"BOSS": 5400.0, "APOGEE": 16000.0}  # Angstrom
# The columns in robostrategy's order, with the widths of those that are text.
COLUMNS = {
    "stage": 6,
    "rsid": 0,
    "carton_to_target_pk": 0,
    "priority": 0,
    "value": 0,
    "lambda_eff": 0,
    "delta_ra": 0,
    "delta_dec": 0,
    "can_offset": 0,
    "ra": 0,
    "dec": 0,
    "epoch": 0,
    "pmra": 0,
    "pmdec": 0,
    "parallax": 0,
    "catalogid": 0,
    "catalogdb_plan": 12,
    "target_pk": 0,
    "magnitude": 0,
    "carton": 60,
    "carton_pk": 0,
    "program": 15,
    "mapper": 3,
    "category": 15,
    "cadence": 60,
    "fiberType": 6,
    "plan": 8,
    "tag": 8,
}


class SdssVSettings(ToolSettings):
    cadence: TextByClass = Field(
        description="name of the cadence, such as bright_1x1, for all or by class"
    )
    fiber_type: Literal["BOSS", "APOGEE"] = Field(
        default="BOSS", description="BOSS (default) or APOGEE"
    )
    program: Text = Field(default="open_fiber", description="default open_fiber")
    category: Text = Field(default="science", description="default science")
    value: Positive = Field(default=1.0, description="value of an observed target; default 1")


def write(targets: ToolTable, settings: SdssVSettings, path: Path) -> list[Path]:
    """Write the table."""
    fiber = settings.fiber_type
    columns = {
        column.name: column
        for column in (
            *_keys(targets, settings, fiber),
            *_places(targets),
            *_texts(targets, settings, fiber),
        )
    }
    write_fits(path, [columns[name] for name in COLUMNS], "TARGETS")
    return [path]


def read(path: Path) -> ToolTargets:
    """The table as cfitsio or astropy reads it."""
    table, reader = read_fits(path)
    return ToolTargets(table["rsid"], table["ra"], table["dec"], table["priority"], reader)


def _keys(targets: ToolTable, settings: SdssVSettings, fiber: str) -> list[FitsColumn]:
    """Database keys, priority and value."""
    n, ids = len(targets), targets.id.astype(np.int64)
    return [
        *(
            FitsColumn(name, ids)
            for name in ("rsid", "carton_to_target_pk", "catalogid", "target_pk")
        ),
        FitsColumn("carton_pk", np.full(n, -1, np.int32)),
        FitsColumn("priority", targets.priority.astype(np.int32), "", "lower is first"),
        FitsColumn("value", np.full(n, settings.value, np.float32)),
        FitsColumn("lambda_eff", np.full(n, LAMBDA_EFF[fiber], np.float32), "Angstrom"),
        FitsColumn("magnitude", _magnitudes(targets), "mag", " ".join(MAGNITUDES)),
    ]


def _places(targets: ToolTable) -> list[FitsColumn]:
    """Positions and motions, without offsets."""
    n = len(targets)
    return [
        FitsColumn("delta_ra", np.zeros(n), "arcsec"),
        FitsColumn("delta_dec", np.zeros(n), "arcsec"),
        FitsColumn("can_offset", np.zeros(n, bool)),
        FitsColumn("ra", targets.ra, "deg"),
        FitsColumn("dec", targets.dec, "deg"),
        FitsColumn("epoch", targets.epoch.astype(np.float32), "yr"),
        FitsColumn("pmra", targets.pmra.astype(np.float32), "mas/yr", "times cos(dec)"),
        FitsColumn("pmdec", targets.pmdec.astype(np.float32), "mas/yr"),
        FitsColumn("parallax", targets.filled("parallax", 0.0).astype(np.float32), "mas"),
    ]


def _texts(targets: ToolTable, settings: SdssVSettings, fiber: str) -> list[FitsColumn]:
    """The columns of text, each of the width it has in robostrategy."""
    constants = {
        "stage": "srd",
        "catalogdb_plan": "",
        "program": settings.program,
        "mapper": "",
        "category": settings.category,
        "fiberType": fiber,
        "plan": "",
        "tag": "",
    }
    values = {name: np.full(len(targets), text, object) for name, text in constants.items()}
    values["carton"] = targets.program
    values["cadence"] = settings.by_class("cadence", targets.program)
    for name, texts in values.items():
        for text in dict.fromkeys(texts.tolist()):
            if not (text.isascii() and len(text) <= COLUMNS[name]):
                raise settings.error(
                    name,
                    f"the {name} '{text}' is too long or not ASCII; 'sdss-v' takes "
                    f"{COLUMNS[name]} characters at most",
                )
    return [FitsColumn(name, texts, width=COLUMNS[name]) for name, texts in values.items()]


def _magnitudes(targets: ToolTable) -> np.ndarray:
    """AB magnitudes in g, r, i and z, shape (M, 10); NaN where unknown."""
    wanted = [Band(name, system) for system in SYSTEMS for name in MAGNITUDES[:4]]
    present = known_bands(targets, wanted)
    magnitude = np.full((len(targets), len(MAGNITUDES)), np.nan, np.float32)
    for band in reversed(present):  # sdss over ps1
        magnitude[:, MAGNITUDES.index(band.name)] = targets.photometry.magnitude(band)
    return magnitude


TOOLS = (
    Tool(
        name="sdss-v",
        title="SDSS-V robostrategy, a table like rsTargets (SDSS-V takes no outside files)",
        source="sdss/robostrategy e41179f, python/robostrategy/targets.py",
        suffix=".fits",
        write=write,
        read=read,
        priorities=PriorityScale(best=1000, worst=7000),
        ids="target_id",
        epoch="columns",
        default_epoch=2016.0,
        settings=SdssVSettings,
        experimental=True,
    ),
)
