"""Gemini GMOS and FLAMINGOS-2 without a pre-image: input for the task ``gmskcreate``.

`gmskcreate` (Gemini IRAF, gemini.gmos.mostools) turns it into an object table for GMMPS and a
pseudo-image. Blanks between columns, no header: ID, RA, DEC, MAG, priority, and, because priorities
are only read together with them, slit width and length [arcsec], tilt and offset. Run it with
``iraunits = degrees``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from targetsel.handoff.brightness import FILTER, one_magnitude
from targetsel.handoff.gmmps import LARGEST_ID, PRIORITIES
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.settings import Settings
from targetsel.handoff.tool import ReadBack, Tool
from targetsel.handoff.writing import write_text

SLITS = {"GMOS": "{width} {length}", "F2": "{length} {width}"}  # slitsize_x, slitsize_y


def write(prepared: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the list."""
    _, magnitude = one_magnitude(prepared, settings)
    instrument = settings.choice("instrument", SLITS, "GMOS")
    slit = SLITS[instrument].format(
        width=settings.positive("slit_width", 1.0), length=settings.positive("slit_length", 5.0)
    )
    lines = [
        f"{number} {ra:.9f} {dec:.9f} {mag:.2f} {priority} {slit} 0.0 0.0"
        for number, ra, dec, mag, priority in zip(
            prepared.id.tolist(),
            (prepared.ra % 360).tolist(),
            prepared.dec.tolist(),
            magnitude.tolist(),
            prepared.priority.tolist(),
            strict=True,
        )
    ]
    write_text(path, "\n".join(lines) + "\n")
    return [path]


def read(path: Path) -> ReadBack:
    """The science targets of such a list."""
    rows = [line.split() for line in path.read_text("utf-8").splitlines()]
    rows = [row for row in rows if row[4] in ("1", "2", "3")]
    return ReadBack(
        np.array([int(row[0]) for row in rows]),
        np.array([float(row[1]) for row in rows]),
        np.array([float(row[2]) for row in rows]),
        np.array([int(row[4]) for row in rows]),
        "targetsel, line by line",
    )


TOOL = Tool(
    name="gmskcreate",
    title="Gemini gmskcreate input (GMOS, FLAMINGOS-2), where there is no pre-image",
    source="GeminiDRSoftware/GMMPS, html/_sources/createOT.rst.txt",
    suffix=".txt",
    write=write,
    read=read,
    priorities=PRIORITIES,
    ids="row",
    epoch="config",
    max_targets=LARGEST_ID,
    max_id=LARGEST_ID,
    settings={
        "filter": FILTER,
        "instrument": "GMOS (default) or F2, whose slits lie the other way",
        "slit_width": "[arcsec]; default 1",
        "slit_length": "[arcsec]; default 5",
    },
)
