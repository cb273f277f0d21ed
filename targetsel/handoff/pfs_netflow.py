"""PFS netflow (ets_fiberalloc): science targets as ECSV.

``readScientificFromFile`` in Subaru-PFS/ets_fiberalloc (2248bf8) ``ets_fiber_assigner/netflow.py``.
It reads no proper motions and puts every target at epoch 2016. Priorities are 1 (highest) to 15;
the class of priority n is ``<prefix>_P<n>``, whose costs are set where netflow is called.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy import units
from astropy.table import Table

from targetsel.handoff.prepare import Prepared
from targetsel.handoff.settings import Settings
from targetsel.handoff.tool import PriorityScale, ReadBack, Tool
from targetsel.handoff.writing import write_ecsv


def write(targets: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the science list as ECSV."""
    exptime = settings.fills("exptime", targets.exptime, targets.program)
    table = Table(
        {
            "ID": targets.id,
            "R.A.": targets.ra * units.deg,
            "Dec.": targets.dec * units.deg,
            "Exposure Time": exptime * units.s,
            "Priority": targets.priority,
        }
    )
    if settings.has("qa_reference_arm"):
        arms = settings.by_program("qa_reference_arm", targets.program)
        if not np.isin(arms.astype(str), ("b", "r", "m", "n")).all():
            raise settings.error("'qa_reference_arm' takes b, r, m or n")
        table["qa_reference_arm"] = arms.astype(str)
    write_ecsv(path, table)
    return [path]


def read(path: Path) -> ReadBack:
    """The list by the call that netflow makes."""
    table = Table.read(path, format="ascii.ecsv")
    ids, ra, dec, wanted = (np.asarray(table[n]) for n in ("ID", "R.A.", "Dec.", "Priority"))
    return ReadBack(ids, ra, dec, wanted, f"astropy {version('astropy')}")


TOOL = Tool(
    name="pfs-netflow",
    title="Subaru PFS netflow (ets_fiberalloc)",
    source="Subaru-PFS/ets_fiberalloc 2248bf8, ets_fiber_assigner/netflow.py",
    suffix=".ecsv",
    write=write,
    read=read,
    priorities=PriorityScale(best=1, worst=15),
    epoch=2016.0,
    settings={
        "exptime": "exposure time [s], for all or by class, where the list has none",
        "qa_reference_arm": "b, r, m or n, for all or by class; left out by default",
    },
)
