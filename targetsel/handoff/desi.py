"""DESI fiberassign: science targets for ``fba_run --targets FILE``, and tertiary programs.

The columns, their types and their rules are those of ``load_target_file`` and
``append_target_table`` in desihub/fiberassign (79078f2) ``py/fiberassign/targets.py``: the reader
reads the first extension, refuses any but the exact types, and moves nothing, so that positions
must be those of the night. Bits are those of desitarget 4.4.0 ``targetmask.yaml``.

A tertiary (outside) program has two files, which ``fba_tertiary_too`` checks and reads. Rules as in
``py/fiberassign/fba_tertiary_io.py``: ids are ``encode_targetid(release=8888, brickid=PROGNUM,
objid=row)``, rows counted from 0; priorities are those of a target class, by how often it has been
observed. As rows make the ids, a changed list (such as left-overs) needs a program number of its
own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from astropy.table import Table
from pydantic import Field

from targetsel.documents.models import Integer
from targetsel.errors import HandoffError
from targetsel.handoff.files import Card, read_fits, write_ecsv, write_fits
from targetsel.handoff.settings import (
    EpochSettings,
    Positive,
    Text,
    TextByClass,
    ToolSettings,
    UnlessListed,
)
from targetsel.handoff.tool import PriorityScale, Tool, ToolTable, ToolTargets
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
_POSITIONS = {
    "TARGETID": ("i8",),
    "RA": ("f8", "deg", "at REF_EPOCH"),
    "DEC": ("f8", "deg", "at REF_EPOCH"),
    "PMRA": ("f4", "mas yr^-1", "times cos(dec)"),
    "PMDEC": ("f4", "mas yr^-1"),
    "REF_EPOCH": ("f4", "yr"),
}
COLUMNS = _POSITIONS | {
    "DESI_TARGET": ("i8",),
    "PRIORITY": ("i4", "", "higher is first"),
    "SUBPRIORITY": ("f8", "", "breaks ties, higher is first"),
    "OBSCONDITIONS": ("i4",),
    "NUMOBS_MORE": ("i4",),
}
TERTIARY_COLUMNS = _POSITIONS | {
    "TERTIARY_TARGET": ("S",),
    "CHECKER": ("S",),
    "SUBPRIORITY": ("f8",),
}
RELEASE = 8888
OBJID_BITS, BRICKID_BITS = 22, 20
MAX_PROGRAM = 2**BRICKID_BITS - 1
DONE = 2
MOST_OBSERVATIONS = 99
TERTIARY_PRIORITIES = "tertiary-priorities-{:04d}.ecsv"


class DesiSettings(EpochSettings):
    obsconditions: Annotated[TextByClass | None, UnlessListed("obs_conditions")] = None
    """when to observe: names such as DARK|BRIGHT, for all or by class"""
    desi_target: TextByClass | None = None
    """names of DESI_TARGET bits, for all or by class; default SCND_ANY"""


class TertiarySettings(ToolSettings):
    program_number: Annotated[Integer, Field(ge=1, le=MAX_PROGRAM)]
    """number of the tertiary program (PROGNUM), such as 12; DESI looks for the file under the name
    tertiary-targets-0012.fits"""
    faprgrm: Text
    """name of the program (FAPRGRM), such as tertiary12"""
    obsconds: Literal["BRIGHT", "DARK"]
    """observing conditions (OBSCONDS), BRIGHT or DARK"""
    sbprof: Literal["ELG", "BGS", "PSF", "FLT"]
    """surface brightness profile for exposure times: ELG, BGS, PSF or FLT"""
    goaltime: Positive
    """effective exposure time (GOALTIME) [s]"""
    checker: Text
    """initials of who checked the targets (CHECKER)"""


def write(targets: ToolTable, settings: DesiSettings, path: Path) -> list[Path]:
    """Write the table TARGETS."""
    fluxes = _fluxes(targets)
    columns = COLUMNS | dict.fromkeys(fluxes, ("f4", "nanomaggy"))
    values = _positions(targets) | {
        "DESI_TARGET": desi_target(targets, settings),
        "PRIORITY": targets.priority,
        "SUBPRIORITY": targets.subpriority,
        "OBSCONDITIONS": obsconditions(targets, settings),
        "NUMOBS_MORE": targets.filled("n_obs", 1),
    }
    write_fits(path, columns, values | fluxes, "TARGETS")
    return [path]


def desi_target(targets: ToolTable, settings: DesiSettings) -> np.ndarray:
    """The mask that makes each target a science target, shape (M,), int64."""
    return _masks(targets, settings, "desi_target", {k: 1 << b for k, b in DESI_TARGET.items()})


def obsconditions(targets: ToolTable, settings: DesiSettings) -> np.ndarray:
    """Observing conditions of each target: the list's bits, else the setting's, (M,), int32.

    Raises
    ------
    HandoffError
        If the list's bits allow no observation of a target.
    """
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


def read(path: Path) -> ToolTargets:
    """Targets as ``fba_run`` would read them, through cfitsio where fitsio is installed."""
    table, reader = read_fits(path)
    return ToolTargets(table["TARGETID"], table["RA"], table["DEC"], table["PRIORITY"], reader)


def _masks(
    targets: ToolTable, settings: DesiSettings, key: str, bits: dict[str, int]
) -> np.ndarray:
    default = "SCND_ANY" if key == "desi_target" else None
    words = settings.by_class(key, targets.program, default)
    masks = {}
    for word in dict.fromkeys(words.tolist()):
        names = [each.strip() for each in word.split("|")]
        unknown = [name for name in names if name not in bits]
        if unknown:
            raise settings.error(
                key, f"'{key}' is '{word}'; expected names out of {', '.join(bits)}, joined by |"
            )
        masks[word] = sum({bits[name] for name in names})
    return np.array([masks[word] for word in words.tolist()], dtype=np.int64)


def _positions(targets: ToolTable) -> dict[str, np.ndarray]:
    return {
        "TARGETID": targets.id,
        "RA": targets.ra,
        "DEC": targets.dec,
        "PMRA": np.nan_to_num(targets.pmra),
        "PMDEC": np.nan_to_num(targets.pmdec),
        "REF_EPOCH": targets.epoch,
    }


def _fluxes(targets: ToolTable) -> dict[str, np.ndarray]:
    """Legacy Surveys fluxes [nanomaggy], where the list has them with a unit.

    Assignment does not use them.
    """
    return {
        f"{kind.upper()}_{band.name.upper()}": targets.photometry.flux(band, kind)
        / NJY_PER_NANOMAGGY
        for kind in KINDS
        for band in targets.photometry.bands(kind)
        if band.system in LEGACY_SURVEYS
        and band.name in ("g", "r", "z", "w1", "w2")
        and targets.photometry.columns[kind, band, False].unit
    }


def encode(row: np.ndarray, program: int) -> np.ndarray:
    """TARGETID of rows counted from 0, shape (M,), int64."""
    release_and_brick = (RELEASE << BRICKID_BITS) + program
    return np.asarray(row, dtype=np.int64) + (release_and_brick << OBJID_BITS)


def targetids(row: np.ndarray, settings: TertiarySettings) -> np.ndarray:
    """TARGETID of rows counted from 1 in the program of the settings."""
    return encode(row - 1, settings.program_number)


def write_tertiary(targets: ToolTable, settings: TertiarySettings, path: Path) -> list[Path]:
    """Write ``tertiary-targets`` to `path` and ``tertiary-priorities-<program>.ecsv`` beside it."""
    priorities = _priorities(targets)
    values = _positions(targets) | {
        "TERTIARY_TARGET": targets.program,
        "CHECKER": settings.checker,
        # The reader wants 0 < SUBPRIORITY < 1.
        "SUBPRIORITY": np.maximum(targets.subpriority, 2.0**-53),
    }
    cards: dict[str, Card] = {
        "FAPRGRM": (settings.faprgrm, "program"),
        "OBSCONDS": (settings.obsconds, "observing conditions"),
        "SBPROF": (settings.sbprof, "profile for the ETC"),
        "GOALTIME": (settings.goaltime, "[s] effective time"),
    }
    write_fits(path, TERTIARY_COLUMNS, values, "TARGETS", cards)
    beside = path.with_name(TERTIARY_PRIORITIES.format(settings.program_number))
    write_ecsv(beside, priorities)
    return [path, beside]


def read_tertiary(path: Path) -> ToolTargets:
    """Ids, positions, and the priority of each target's class.

    Raises
    ------
    HandoffError
        If the file is missing or damaged, or its ids are not those of one program.
    """
    table, reader = read_fits(path, "TARGETS")
    targetid = table["TARGETID"]
    program = int(targetid[0] >> OBJID_BITS) & MAX_PROGRAM
    if not np.array_equal(targetid, encode(np.arange(len(targetid)), program)):
        raise HandoffError(
            f"{path}: expected in TARGETID release 8888, program and row, in order. Export again."
        )
    by_class = Table.read(path.with_name(TERTIARY_PRIORITIES.format(program)), format="ascii.ecsv")
    first = by_class[by_class["NUMOBS_DONE_MIN"] == 0]
    priority = dict(zip(first["TERTIARY_TARGET"].tolist(), first["PRIORITY"].tolist(), strict=True))
    wanted = np.array([priority[name] for name in table["TERTIARY_TARGET"].tolist()])
    return ToolTargets(targetid, table["RA"], table["DEC"], wanted, reader)


def _priorities(targets: ToolTable) -> Table:
    """The priority of each class before and after it has been observed often enough."""
    names, first, class_of = np.unique(
        targets.program.astype(str), return_index=True, return_inverse=True
    )
    priority = targets.priority[first]
    mixed = names[np.unique(class_of[priority[class_of] != targets.priority])]
    if len(mixed):
        raise HandoffError(
            f"the class {mixed[0]} has targets of several priorities; a tertiary program takes "
            "one for each class. Split the class in the rules."
        )
    n_obs = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(n_obs, class_of, targets.filled("n_obs", 1).astype(np.int64))
    if n_obs.max() > MOST_OBSERVATIONS:
        raise HandoffError(
            f"the class {names[n_obs.argmax()]} asks for {n_obs.max()} observations; a tertiary "
            f"program takes {MOST_OBSERVATIONS} at most. Ask for fewer in the rules."
        )
    rows = []
    for name, n, best in zip(names.tolist(), n_obs.tolist(), priority.tolist(), strict=True):
        rows += [(name, 0, n - 1, best), (name, n, MOST_OBSERVATIONS, DONE)]
    columns = ("TERTIARY_TARGET", "NUMOBS_DONE_MIN", "NUMOBS_DONE_MAX", "PRIORITY")
    return Table(rows=rows, names=columns)


TOOLS = (
    Tool(
        name="desi",
        title="DESI fiberassign, science targets",
        source="desihub/fiberassign 79078f2, py/fiberassign/targets.py; desitarget 4.4.0",
        tried="`fba_run` of fiberassign, unmodified, took the file and assigned by priority and "
        "sub-priority; desitarget's masks agree.",
        suffix=".fits",
        write=write,
        read=read,
        priorities=PriorityScale(best=2**31 - 1, worst=LOWEST_PRIORITY, kept=True),
        settings=DesiSettings,
        writes_fluxes=False,
    ),
    Tool(
        name="desi-tertiary",
        title="DESI tertiary program",
        source="desihub/fiberassign 79078f2, py/fiberassign/fba_tertiary_io.py",
        tried="fiberassign's `fba_tertiary_too` found the file in order, and `fba_run` took it.",
        suffix=".fits",
        write=write_tertiary,
        read=read_tertiary,
        priorities=PriorityScale(best=2**31 - 1, worst=LOWEST_PRIORITY, kept=True),
        ids=targetids,
        epoch="columns",
        default_epoch=2015.5,
        max_targets=2**OBJID_BITS,
        settings=TertiarySettings,
        writes_fluxes=False,
    ),
)
