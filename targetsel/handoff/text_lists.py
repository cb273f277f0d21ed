"""DEIMOS, MOSFIRE, Hectospec and 2dF: lists with a line of text for each target.

Right ascension is in hours everywhere. Guide stars, alignment stars and blank sky, which these
tools also want, must be appended to the file.

Keck DEIMOS (SMDT, DSIMULATOR): name, position, equinox, magnitude, passband, priority code. The
code is a weight: larger is more wanted, targets of 0 would never get a slit, -1 is a guide star and
-2 an alignment star. Names have 16 characters at most, fewer than many catalogs' ids, so that
targets are numbered.

Keck MOSFIRE (MAGMA): name, priority, magnitude, position, epoch, equinox, without plus signs as in
MAGMA's help. MAGMA seeks the largest sum of priorities; -1 marks alignment stars.

MMT Hectospec (xfitfibs): a "starbase" table, with values between single tabs, one line of column
names and one of dashes. Rank 1 is observed first. Guide stars (type guide, no rank) must be in the
same astrometric frame.

AAT 2dF (Configure, which feeds AAOmega and HERMES): a header, then name, position with blanks
between its parts, type (P is a program target, F a guide star, S blank sky), priority 1 to 9 (9
first), magnitude, program number, comment.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.time import Time

from targetsel.documents.models import Number
from targetsel.handoff.files import LineFormat, degrees, hours
from targetsel.handoff.settings import MagnitudeSettings, Text
from targetsel.handoff.tool import BANDS, PriorityScale, Tool, ToolTable

DEIMOS = LineFormat(
    "{id:<16d} {ra} {dec} 2000.0 {mag:5.2f} {band} {priority}",
    header=("# name RA[h] Dec equinox mag band pcode",),
)
MOSFIRE = LineFormat(
    "{id} {priority}.0 {mag:.2f} {ra} {dec} {epoch:.4f} 2000.0",
    plus="",
)
HECTOSPEC = LineFormat(
    "{ra}\t{dec}\t{id}\t{priority}\tTARGET\t{mag:.2f}",
    header=("ra\tdec\tobject\trank\ttype\tmag", "--\t---\t------\t----\t----\t---"),
)
TWO_DF = LineFormat("{id} {ra} {dec} P {priority} {mag:.2f} 0 {program}", separator=" ")


class MosfireSettings(MagnitudeSettings):
    filter: Text | None = None
    """filter of the magnitude, such as j_2mass; by default the first the list has of k h j y z i
    r g u"""


class TwoDFSettings(MagnitudeSettings):
    label: Text
    """what the field is to be called"""
    ra: Number
    """right ascension of the field center [deg]"""
    dec: Number
    """declination of the field center [deg]"""


def write_2df(targets: ToolTable, settings: TwoDFSettings, path: Path) -> list[Path]:
    """Write a field file; the date is that of the setting ``epoch``."""
    ra, dec = settings.ra, settings.dec
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        raise settings.error(
            "ra", f"the field center {ra:g}, {dec:g} is no position; expected degrees"
        )
    date = Time(settings.epoch, format="jyear", scale="utc").datetime
    header = (
        f"LABEL {settings.label}",
        f"UTDATE  {date:%Y %m %d}",
        f"CENTRE  {hours(np.array([ra]), 2, ' ')[0]} {degrees(np.array([dec]), 1, ' ')[0]}",
        "EQUINOX J2000.0",
        "# End of Header",
        "",
    )
    return TWO_DF.write(targets, settings, path, header)


TOOLS = (
    Tool(
        name="2df",
        title="AAT 2dF Configure field file",
        source="aao.gov.au aaomega_configure_input; SAGA survey's SAGA/observing/aat.py",
        tried="Known from documents only; Configure was not run.",
        suffix=".fld",
        write=write_2df,
        read=TWO_DF.read,
        priorities=PriorityScale(best=9, worst=1),
        ids="name",
        max_targets=800,
        names=r"[!\"$-)+-~][!-~]*",
        names_are="printable ASCII characters without blanks, not beginning with * or #",
        settings=TwoDFSettings,
        bands=BANDS,
        experimental=True,
    ),
    Tool(
        name="hectospec",
        title="MMT Hectospec xfitfibs catalog",
        source="cfa-www.harvard.edu/jroll/hecto/guidestars-form; "
        "mips.as.arizona.edu hectospec.html",
        tried="Known from the written format and an independent writer, which agree; xfitfibs "
        "was not run.",
        suffix=".cat",
        write=HECTOSPEC.write,
        read=HECTOSPEC.read,
        priorities=PriorityScale(best=1, worst=99),
        ids="name",
        names=r"[!-~]+",
        names_are="printable ASCII characters without blanks",
        settings=MagnitudeSettings,
        bands=BANDS,
        experimental=True,
    ),
    Tool(
        name="deimos",
        title="Keck DEIMOS object list (SMDT, DSIMULATOR)",
        source="SMDT's targs.py; ucolick.org/~phillips/deimos_ref/masks.html",
        tried="SMDT's own code read the list and selected from it.",
        suffix=".txt",
        write=DEIMOS.write,
        read=DEIMOS.read,
        priorities=PriorityScale(best=9999, worst=1, kept=True),
        ids="row",
        settings=MagnitudeSettings,
        bands=BANDS,
    ),
    Tool(
        name="mosfire",
        title="Keck MOSFIRE MAGMA target list",
        source="MAGMA 1.1's help, 'Target Lists' (www2.keck.hawaii.edu/inst/mosfire/magma_1.1.zip)",
        tried="Known from the written format; MAGMA was not run.",
        suffix=".coords",
        write=MOSFIRE.write,
        read=MOSFIRE.read,
        priorities=PriorityScale(best=999_999, worst=1, kept=True),
        ids="name",
        names=r"[!\"$-~][!-~]*",
        names_are="printable ASCII characters without blanks, not beginning with #",
        settings=MosfireSettings,
        bands=("k", "h", "j", "y", "z", "i", "r", "g", "u"),
    ),
)
