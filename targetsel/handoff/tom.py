"""TOM Toolkit: the CSV file that its page "Import Targets" takes.

As in TOMToolkit/tom_base (47213ed) ``tom_targets/utils.py``, `import_targets`: a column of the name
of a field of its targets fills that field, where it is not empty; ``groups`` holds names of groups
with commas between; every other column becomes an extra field. Positions are written as they are,
with their epoch and motion where the list has them.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import numpy as np

from targetsel.documents.models import OneOrMany
from targetsel.errors import HandoffError
from targetsel.handoff.settings import Text, ToolSettings
from targetsel.handoff.tool import Tool, ToolTable, ToolTargets
from targetsel.version import __version__

SIDEREAL = "SIDEREAL"
EXTRA = ("target_id", "program", "priority", "probability")


class TomSettings(ToolSettings):
    """Settings of TOM Toolkit."""

    groups: Annotated[tuple[Text, ...] | None, OneOrMany()] = None
    """groups of users, known to the TOM, that may see and change the targets; by default none"""


def write(targets: ToolTable, settings: TomSettings, path: Path) -> list[Path]:
    """Write a line of CSV for each target."""
    groups = settings.groups or ()
    if wrong := [name for name in groups if "," in name]:
        raise settings.error("groups", f"'{wrong[0]}' has a comma; expected one name in each")
    table = targets.table
    n = len(targets)
    columns = {
        "name": [str(each) for each in targets.name],
        "type": [SIDEREAL] * n,
        "ra": [repr(float(each)) for each in targets.ra],
        "dec": [repr(float(each)) for each in targets.dec],
    }
    motion = {"epoch": targets.epoch, "pm_ra": targets.pmra, "pm_dec": targets.pmdec}
    motion["parallax"] = targets.number("parallax", "mas")
    for name, values in motion.items():
        if np.isfinite(values).any():
            columns[name] = [f"{each:.10g}" if np.isfinite(each) else "" for each in values]
    if groups:
        columns["groups"] = [",".join(groups)] * n
    for name in EXTRA:
        if name in table.column_names:
            columns[name] = [
                "" if each is None else f"{each:.7g}" if isinstance(each, float) else str(each)
                for each in table[name].to_pylist()
            ]
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(columns)
        lines.writerows(zip(*columns.values(), strict=True))
    return [path]


def read(path: Path) -> ToolTargets:
    """Read the names and positions back, as the import does."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    try:
        ra, dec = (np.array([float(row[name]) for row in rows]) for name in ("ra", "dec"))
        names = np.array([row["name"] for row in rows], dtype=object)
    except (KeyError, TypeError, ValueError):
        raise HandoffError(
            f"{path}: expected columns 'name', 'ra' and 'dec' with numbers in degrees. Export it "
            "again."
        ) from None
    return ToolTargets(names, ra, dec, None, f"targetsel {__version__}")


TOOLS = (
    Tool(
        name="tom",
        title="TOM Toolkit target import",
        source="TOMToolkit/tom_base tom_targets/utils.py (47213ed)",
        tried="Known from the code of its import; no TOM was run.",
        suffix=".csv",
        write=write,
        read=read,
        priorities=None,
        ids="name",
        epoch=None,
        names=r"[ -~]{1,100}",
        names_are="printable ASCII characters, 100 at most",
        settings=TomSettings,
        writes_fluxes=False,
        experimental=True,
    ),
)
