"""AAT 2dF: a field file (.fld) for Configure, which feeds AAOmega and HERMES.

A header, then one line per target: name, right ascension and declination with blanks between their
parts, type (P is a program target), priority 1 to 9 (9 first), magnitude, program number, comment.
Configure also wants guide stars (F) and blank sky (S); append them to the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.time import Time

from targetsel.handoff.brightness import FILTER, one_magnitude
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.settings import Settings
from targetsel.handoff.sexagesimal import degrees, from_sexagesimal, hours
from targetsel.handoff.tool import PriorityScale, ReadBack, Tool
from targetsel.handoff.writing import write_text

END_OF_HEADER = "# End of Header"


def write(prepared: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the field file; the date is that of the setting ``epoch``."""
    _, magnitude = one_magnitude(prepared, settings)
    lines = [*_header(settings), ""]
    for name, ra, dec, priority, mag, program in zip(
        prepared.id.tolist(),
        hours(prepared.ra, separator=" "),
        degrees(prepared.dec, separator=" "),
        prepared.priority.tolist(),
        magnitude.tolist(),
        prepared.program.tolist(),
        strict=True,
    ):
        lines.append(f"{name} {ra} {dec} P {priority} {mag:.2f} 0 {program}")
    write_text(path, "\n".join(lines) + "\n")
    return [path]


def read(path: Path) -> ReadBack:
    """The program targets of a field file, comments and other types left out."""
    lines = path.read_text(encoding="utf-8").split(END_OF_HEADER, 1)[1].splitlines()
    rows = [line.split() for line in lines if line and not line.startswith(("#", "*"))]
    rows = [row for row in rows if row[7] == "P"]
    return ReadBack(
        np.array([row[0] for row in rows], dtype=object),
        np.array([15 * from_sexagesimal(" ".join(row[1:4])) for row in rows]),
        np.array([from_sexagesimal(" ".join(row[4:7])) for row in rows]),
        np.array([int(row[8]) for row in rows]),
        "targetsel, line by line",
    )


def _header(settings: Settings) -> list[str]:
    ra, dec = settings.number("ra"), settings.number("dec")
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        raise settings.error(f"the field center {ra:g}, {dec:g} is no position in degrees")
    date = Time(settings.number("epoch"), format="jyear", scale="utc").datetime
    center = f"{hours(np.array([ra]), 2, ' ')[0]} {degrees(np.array([dec]), 1, ' ')[0]}"
    return [
        f"LABEL {settings.text('label')}",
        f"UTDATE  {date:%Y %m %d}",
        f"CENTRE  {center}",
        "EQUINOX J2000.0",
        END_OF_HEADER,
    ]


TOOL = Tool(
    name="2df",
    title="AAT 2dF Configure field file",
    source="aao.gov.au aaomega_configure_input; SAGA survey's SAGA/observing/aat.py",
    suffix=".fld",
    write=write,
    read=read,
    priorities=PriorityScale(best=9, worst=1),
    ids="name",
    epoch="config",
    max_targets=800,
    names=r"[!\"$-)+-~][!-~]*",
    names_are="printable ASCII characters without blanks, not beginning with * or #",
    settings={
        "label": "what the field is to be called",
        "ra": "right ascension of the field center [deg]",
        "dec": "declination of the field center [deg]",
        "filter": FILTER,
    },
    experimental=True,
)
