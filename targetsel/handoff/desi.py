"""DESI fiberassign: a file of science targets for ``fba_run --targets FILE``.

The columns, their types and their rules are those of ``load_target_file`` and
``append_target_table`` in desihub/fiberassign (79078f2) ``py/fiberassign/targets.py``: the reader
looks at the first extension, refuses any but the exact types, and moves nothing, so that positions
must be those of the night. Bits are those of desitarget 4.4.0 ``targetmask.yaml``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from targetsel.errors import HandoffError
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.reading import read_fits
from targetsel.handoff.settings import Settings
from targetsel.handoff.tool import PriorityScale, ReadBack, Tool
from targetsel.handoff.writing import Column, write_fits
from targetsel.photometry.columns import KINDS
from targetsel.photometry.flux import NJY_PER_NANOMAGGY

OBSCONDITIONS = {
    "DARK": 1,
    "GRAY": 2,
    "BRIGHT": 4,
    "BACKUP": 8,
    "TWILIGHT12": 16,
    "TWILIGHT18": 32,
    "DARK1B": 1024,
    "BRIGHT1B": 2048,
}
# Those bits of DESI_TARGET that fba_run takes for science by default, and the standard stars.
DESI_TARGET = {
    "LRG": 0,
    "ELG": 1,
    "QSO": 2,
    "LGE": 3,
    "STD_FAINT": 33,
    "STD_BRIGHT": 35,
    "BGS_ANY": 60,
    "MWS_ANY": 61,
    "SCND_ANY": 62,
}
# Priorities 0 to 2 mean "do not observe", "observed" and "done".
LOWEST_PRIORITY = 3
LEGACY_SURVEYS = ("ls", "decam", "legacysurveys")


def write(targets: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the table TARGETS."""
    column = [
        Column("TARGETID", targets.id.astype(np.int64)),
        Column("RA", targets.ra, "deg", "at REF_EPOCH"),
        Column("DEC", targets.dec, "deg", "at REF_EPOCH"),
        Column("PMRA", _zero_for_nan(targets.pmra), "mas yr^-1", "times cos(dec)"),
        Column("PMDEC", _zero_for_nan(targets.pmdec), "mas yr^-1"),
        Column("REF_EPOCH", targets.epoch.astype(np.float32), "yr"),
        Column("DESI_TARGET", desi_target(targets, settings)),
        Column("PRIORITY", targets.priority.astype(np.int32), "", "higher is first"),
        Column("SUBPRIORITY", targets.subpriority, "", "breaks ties, higher is first"),
        Column("OBSCONDITIONS", obsconditions(targets, settings)),
        Column("NUMOBS_MORE", targets.filled("n_obs", 1).astype(np.int32)),
    ]
    write_fits(path, column + _fluxes(targets), "TARGETS")
    return [path]


def desi_target(targets: Prepared, settings: Settings) -> np.ndarray:
    """The mask that makes each target a science target, shape (M,), int64."""
    return _masks(targets, settings, "desi_target", {k: 1 << b for k, b in DESI_TARGET.items()})


def obsconditions(targets: Prepared, settings: Settings) -> np.ndarray:
    """When each target may be observed: the list's bits, else the setting's, shape (M,), int32."""
    own = targets.number("obs_conditions")
    if (own < 1).any():
        raise HandoffError(
            f"obs_conditions of {(own < 1).sum()} of {len(own)} targets allow no observation; "
            "expected bits above zero, or nothing and the setting 'obsconditions'."
        )
    if not np.isnan(own).any():
        return own.astype(np.int32)
    wanted = _masks(targets, settings, "obsconditions", OBSCONDITIONS)
    return np.where(np.isnan(own), wanted, own).astype(np.int32)


def read(path: Path) -> ReadBack:
    """What ``fba_run`` would read, through cfitsio where fitsio is installed."""
    table, reader = read_fits(path)
    return ReadBack(table["TARGETID"], table["RA"], table["DEC"], table["PRIORITY"], reader)


def _masks(targets: Prepared, settings: Settings, key: str, bits: dict[str, int]) -> np.ndarray:
    default = "SCND_ANY" if key == "desi_target" else None
    words = settings.by_program(key, targets.program, default)
    masks = {}
    for word in dict.fromkeys(words.tolist()):
        names = [each.strip() for each in word.split("|")]
        unknown = [name for name in names if name not in bits]
        if unknown:
            raise settings.error(
                f"'{key}' is '{word}'; expected names out of {', '.join(bits)}, joined by |"
            )
        masks[word] = sum({bits[name] for name in names})
    return np.array([masks[word] for word in words.tolist()], dtype=np.int64)


def _fluxes(targets: Prepared) -> list[Column]:
    """Legacy Surveys fluxes [nanomaggy], where the list has them; assignment does not use them."""
    found = []
    for kind in KINDS:
        for each in targets.photometry.bands(kind):
            if each.system in LEGACY_SURVEYS and each.name in ("g", "r", "z", "w1", "w2"):
                flux = targets.photometry.flux(each, kind)
                values = (flux / NJY_PER_NANOMAGGY).astype(np.float32)
                found.append(Column(f"{kind.upper()}_{each.name.upper()}", values, "nanomaggy"))
    return found


def _zero_for_nan(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values).astype(np.float32)


TOOL = Tool(
    name="desi",
    title="DESI fiberassign, science targets",
    source="desihub/fiberassign 79078f2, py/fiberassign/targets.py; desitarget 4.4.0",
    suffix=".fits",
    write=write,
    read=read,
    priorities=PriorityScale(best=2**31 - 1, worst=LOWEST_PRIORITY, kept=True),
    epoch="config",
    settings={
        "obsconditions": "when to observe: names such as DARK|BRIGHT, for all or by class",
        "desi_target": "names of DESI_TARGET bits, for all or by class; default SCND_ANY",
    },
)
