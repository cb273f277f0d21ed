"""AAT 2dF: a field file (.fld) for Configure, which feeds AAOmega and HERMES.

A header, then one line per target: name, right ascension and declination with blanks between their
parts, type (P is a program target), priority 1 to 9 (9 first), magnitude, program number, comment.
Configure also wants guide stars (F) and blank sky (S); append them to the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.time import Time

from targetsel.documents.models import Number
from targetsel.handoff.settings import Text
from targetsel.handoff.text_lists import (
    MagnitudeSettings,
    degrees,
    hours,
    read_lines,
    write_lines,
)
from targetsel.handoff.tool import PriorityScale, Tool, ToolTable, ToolTargets

END_OF_HEADER = "# End of Header"


class TwoDFSettings(MagnitudeSettings):
    label: Text
    """what the field is to be called"""
    ra: Number
    """right ascension of the field center [deg]"""
    dec: Number
    """declination of the field center [deg]"""


def write(targets: ToolTable, settings: TwoDFSettings, path: Path) -> list[Path]:
    """Write the field file; the date is that of the setting ``epoch``."""
    line = "{id} {ra} {dec} P {priority} {mag:.2f} 0 {program}"
    return write_lines(targets, settings, path, line, [*_header(settings), ""], separator=" ")


def read(path: Path) -> ToolTargets:
    """The program targets of a field file, comments and other types left out."""
    lines = path.read_text(encoding="utf-8").split(END_OF_HEADER, 1)[1].splitlines()
    rows = [line.split() for line in lines if line and not line.startswith(("#", "*"))]
    rows = [row for row in rows if row[7] == "P"]
    return read_lines(rows, id=0, ra=slice(1, 4), dec=slice(4, 7), priority=8)


def _header(settings: TwoDFSettings) -> list[str]:
    ra, dec = settings.ra, settings.dec
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        raise settings.error("ra", f"the field center {ra:g}, {dec:g} is no position in degrees")
    date = Time(settings.epoch, format="jyear", scale="utc").datetime
    center = f"{hours(np.array([ra]), 2, ' ')[0]} {degrees(np.array([dec]), 1, ' ')[0]}"
    return [
        f"LABEL {settings.label}",
        f"UTDATE  {date:%Y %m %d}",
        f"CENTRE  {center}",
        "EQUINOX J2000.0",
        END_OF_HEADER,
    ]


TOOLS = (
    Tool(
        name="2df",
        title="AAT 2dF Configure field file",
        source="aao.gov.au aaomega_configure_input; SAGA survey's SAGA/observing/aat.py",
        suffix=".fld",
        write=write,
        read=read,
        priorities=PriorityScale(best=9, worst=1),
        ids="name",
        max_targets=800,
        names=r"[!\"$-)+-~][!-~]*",
        names_are="printable ASCII characters without blanks, not beginning with * or #",
        settings=TwoDFSettings,
        experimental=True,
    ),
)
