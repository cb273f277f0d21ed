"""SDSS-V: a table like the ``rsTargets`` files that robostrategy extracts from targetdb.

SDSS-V takes no file from outside: its targets come from cartons, Python classes whose query on
catalogdb returns the targets. This table has the columns that a carton ends up as, for trials with
robostrategy and as a hand-over to a carton's author. `rsid`, `carton_to_target_pk`, `catalogid` and
`target_pk` are keys of the SDSS-V database, for which the list's own `target_id` stands in.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from targetsel.handoff.brightness import known_bands
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.reading import read_fits
from targetsel.handoff.settings import Settings
from targetsel.handoff.tool import PriorityScale, ReadBack, Tool
from targetsel.handoff.writing import Column, write_fits
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


def write(prepared: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the table."""
    fiber = settings.choice("fiber_type", LAMBDA_EFF, "BOSS")
    columns = {
        column.name: column
        for column in (
            *_keys(prepared, settings, fiber),
            *_places(prepared),
            *_texts(prepared, settings, fiber),
        )
    }
    write_fits(path, [columns[name] for name in COLUMNS], "TARGETS")
    return [path]


def read(path: Path) -> ReadBack:
    """The table as cfitsio or astropy reads it."""
    table, reader = read_fits(path)
    return ReadBack(table["rsid"], table["ra"], table["dec"], table["priority"], reader)


def _keys(prepared: Prepared, settings: Settings, fiber: str) -> list[Column]:
    """Database keys, priority and value."""
    n, ids = len(prepared), prepared.id.astype(np.int64)
    return [
        *(Column(name, ids) for name in ("rsid", "carton_to_target_pk", "catalogid", "target_pk")),
        Column("carton_pk", np.full(n, -1, np.int32)),
        Column("priority", prepared.priority.astype(np.int32), "", "lower is first"),
        Column("value", np.full(n, settings.positive("value", 1.0), np.float32)),
        Column("lambda_eff", np.full(n, LAMBDA_EFF[fiber], np.float32), "Angstrom"),
        Column("magnitude", _magnitudes(prepared), "mag", " ".join(MAGNITUDES)),
    ]


def _places(prepared: Prepared) -> list[Column]:
    """Positions and motions, without offsets."""
    n = len(prepared)
    return [
        Column("delta_ra", np.zeros(n), "arcsec"),
        Column("delta_dec", np.zeros(n), "arcsec"),
        Column("can_offset", np.zeros(n, bool)),
        Column("ra", prepared.ra, "deg"),
        Column("dec", prepared.dec, "deg"),
        Column("epoch", prepared.epoch.astype(np.float32), "yr"),
        Column("pmra", prepared.pmra.astype(np.float32), "mas/yr", "times cos(dec)"),
        Column("pmdec", prepared.pmdec.astype(np.float32), "mas/yr"),
        Column("parallax", prepared.filled("parallax", 0.0).astype(np.float32), "mas"),
    ]


def _texts(prepared: Prepared, settings: Settings, fiber: str) -> list[Column]:
    """The columns of text, each of the width it has in robostrategy."""
    constants = {
        "stage": "srd",
        "catalogdb_plan": "",
        "program": settings.text("program", "open_fiber"),
        "mapper": "",
        "category": settings.text("category", "science"),
        "fiberType": fiber,
        "plan": "",
        "tag": "",
    }
    values = {name: np.full(len(prepared), text, object) for name, text in constants.items()}
    values["carton"] = prepared.program
    values["cadence"] = settings.by_program("cadence", prepared.program)
    for name, texts in values.items():
        for text in dict.fromkeys(texts.tolist()):
            if not (text.isascii() and len(text) <= COLUMNS[name]):
                raise settings.error(
                    f"the {name} '{text}' is too long or not ASCII; 'sdss-v' takes "
                    f"{COLUMNS[name]} characters at most"
                )
    return [Column(name, texts, width=COLUMNS[name]) for name, texts in values.items()]


def _magnitudes(prepared: Prepared) -> np.ndarray:
    """AB magnitudes in g, r, i and z, shape (M, 10); NaN where unknown."""
    wanted = [Band(name, system) for system in SYSTEMS for name in MAGNITUDES[:4]]
    present = known_bands(prepared, wanted)
    magnitude = np.full((len(prepared), len(MAGNITUDES)), np.nan, np.float32)
    for band in reversed(present):  # sdss over ps1
        magnitude[:, MAGNITUDES.index(band.name)] = prepared.photometry.magnitude(band)
    return magnitude


TOOL = Tool(
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
    settings={
        "cadence": "name of the cadence, such as bright_1x1, for all or by class",
        "fiber_type": "BOSS (default) or APOGEE",
        "program": "default open_fiber",
        "category": "default science",
        "value": "value of an observed target; default 1",
    },
    experimental=True,
)
