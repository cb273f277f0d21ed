"""PFS target uploader: the CSV list that is validated and submitted on the web.

Subaru-PFS/spt_target_uploader (8507313, v3.3.6) ``docs/docs/inputs.md``: positions at epoch 2000,
total fluxes in nJy, priority 0 is the highest. Proper motions are taken to include cos(dec).
"""

from __future__ import annotations

import csv
import io
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from targetsel.handoff.pfs import NAMES, NAMES_ARE, total_fluxes
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.settings import Settings
from targetsel.handoff.tool import PriorityScale, ReadBack, Tool
from targetsel.handoff.writing import write_text

ARMS = {"L": ("b", "r", "n"), "M": ("b", "m", "n")}
DEFAULT_PARALLAX = 1e-7  # mas


def write(targets: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the list as CSV."""
    resolution = settings.by_program("resolution", targets.program)
    arm = settings.by_program("reference_arm", targets.program)
    _check_arms(resolution, arm, settings)
    columns: dict[str, np.ndarray] = {
        "ob_code": targets.name,
        "obj_id": targets.id,
        "ra": targets.ra,
        "dec": targets.dec,
        "exptime": settings.fills("exptime", targets.exptime, targets.program),
        "priority": targets.priority,
        "resolution": resolution,
        "reference_arm": arm,
        "pmra": np.nan_to_num(targets.pmra),
        "pmdec": np.nan_to_num(targets.pmdec),
        "parallax": targets.filled("parallax", DEFAULT_PARALLAX),
    }
    for name, (flux, error) in total_fluxes(targets).items():
        columns[name] = flux
        if np.isfinite(error).any():
            columns[f"{name}_error"] = error
    write_text(path, _csv(columns))
    return [path]


def read(path: Path) -> ReadBack:
    """The list as the uploader's ``load_input`` reads it: pandas, ids by converters."""
    rows = pd.read_csv(
        path,
        encoding="utf8",
        comment="#",
        converters={"ob_code": str, "obj_id": int, "priority": int, "resolution": str},
    )
    return ReadBack(
        rows["obj_id"].to_numpy(),
        rows["ra"].to_numpy(),
        rows["dec"].to_numpy(),
        rows["priority"].to_numpy(),
        f"pandas {version('pandas')}",
    )


def _check_arms(resolution: np.ndarray, arm: np.ndarray, settings: Settings) -> None:
    for wanted, used in sorted(set(zip(resolution.tolist(), arm.tolist(), strict=True))):
        if wanted not in ARMS:
            raise settings.error(f"'resolution' is '{wanted}'; expected L or M")
        if used not in ARMS[wanted]:
            raise settings.error(
                f"'reference_arm' is '{used}'; with resolution {wanted} expected one of "
                f"{', '.join(ARMS[wanted])}"
            )


def _csv(columns: dict[str, np.ndarray]) -> str:
    """Comma-separated values; numbers with every digit they have, nothing for NaN."""
    stream = io.StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows(zip(*(_cells(values) for values in columns.values()), strict=True))
    return stream.getvalue()


def _cells(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "f":
        return ["" if np.isnan(each) else repr(each) for each in values.tolist()]
    return [str(each) for each in values.tolist()]


TOOL = Tool(
    name="pfs-uploader",
    title="Subaru PFS target uploader",
    source="Subaru-PFS/spt_target_uploader 8507313 (v3.3.6), docs/docs/inputs.md",
    suffix=".csv",
    write=write,
    read=read,
    priorities=PriorityScale(best=0, worst=9),
    epoch=2000.0,
    names=NAMES,
    names_are=NAMES_ARE,
    settings={
        "exptime": "total exposure time [s], for all or by class, where the list has none",
        "resolution": "L or M, for all or by class",
        "reference_arm": "arm that the exposure time is for: b, r, n (L) or b, m, n (M)",
    },
)
