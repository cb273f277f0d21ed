"""DESI tertiary (outside) programs: the two files that ``fba_tertiary_too`` checks and reads.

Rules as in desihub/fiberassign (79078f2) ``py/fiberassign/fba_tertiary_io.py``: ids are
``encode_targetid(release=8888, brickid=PROGNUM, objid=row)``, rows counted from 0; priorities are
those of a target class, by how often it has been observed. As rows make the ids, a changed list
(such as left-overs) needs a program number of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.table import Table

from targetsel.errors import HandoffError
from targetsel.handoff.desi import LOWEST_PRIORITY
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.reading import read_fits
from targetsel.handoff.settings import Settings
from targetsel.handoff.tool import PriorityScale, ReadBack, Tool
from targetsel.handoff.writing import Column, write_ecsv, write_fits

RELEASE = 8888
OBJID_BITS, BRICKID_BITS = 22, 20
MAX_PROGRAM = 2**BRICKID_BITS - 1
DONE = 2
MOST_OBSERVATIONS = 99
PRIORITIES = "tertiary-priorities-{:04d}.ecsv"


def encode(row: np.ndarray, program: int) -> np.ndarray:
    """TARGETID of rows counted from 0, shape (M,), int64."""
    release_and_brick = (RELEASE << BRICKID_BITS) + program
    return np.asarray(row, dtype=np.int64) + (release_and_brick << OBJID_BITS)


def targetids(row: np.ndarray, settings: Settings) -> np.ndarray:
    """TARGETID of rows counted from 1 in the program of the settings."""
    return encode(row - 1, _program(settings))


def write(targets: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write ``tertiary-targets`` to `path` and ``tertiary-priorities-<program>.ecsv`` beside it."""
    cards = _cards(settings)
    checker = settings.text("checker")
    priorities = _priorities(targets)
    columns = [
        Column("TARGETID", targets.id),
        Column("RA", targets.ra, "deg", "at REF_EPOCH"),
        Column("DEC", targets.dec, "deg", "at REF_EPOCH"),
        Column("PMRA", targets.pmra.astype(np.float32), "mas yr^-1", "times cos(dec)"),
        Column("PMDEC", targets.pmdec.astype(np.float32), "mas yr^-1"),
        Column("REF_EPOCH", targets.epoch.astype(np.float32), "yr"),
        Column("TERTIARY_TARGET", targets.program),
        Column("CHECKER", np.full(len(targets), checker)),
        # The reader wants 0 < SUBPRIORITY < 1.
        Column("SUBPRIORITY", np.maximum(targets.subpriority, 2.0**-53)),
    ]
    write_fits(path, columns, "TARGETS", cards)
    beside = path.with_name(PRIORITIES.format(_program(settings)))
    write_ecsv(beside, priorities)
    return [path, beside]


def read(path: Path) -> ReadBack:
    """Ids, positions, and the priority of each target's class."""
    table, reader = read_fits(path, "TARGETS")
    targetid = table["TARGETID"]
    program = int(targetid[0] >> OBJID_BITS) & MAX_PROGRAM
    if not np.array_equal(targetid, encode(np.arange(len(targetid)), program)):
        raise HandoffError(f"{path}: TARGETID is not release 8888, program and row, in order.")
    by_class = Table.read(path.with_name(PRIORITIES.format(program)), format="ascii.ecsv")
    first = by_class[by_class["NUMOBS_DONE_MIN"] == 0]
    priority = dict(zip(first["TERTIARY_TARGET"].tolist(), first["PRIORITY"].tolist(), strict=True))
    wanted = np.array([priority[name] for name in table["TERTIARY_TARGET"].tolist()])
    return ReadBack(targetid, table["RA"], table["DEC"], wanted, reader)


def _program(settings: Settings) -> int:
    program = settings.integer("program_number")
    if not 0 < program <= MAX_PROGRAM:
        raise settings.error(f"'program_number' is {program}; expected 1 to {MAX_PROGRAM}")
    return program


def _cards(settings: Settings) -> dict[str, tuple[str | int | float | bool, str]]:
    return {
        "FAPRGRM": (settings.text("faprgrm"), "program"),
        "OBSCONDS": (settings.choice("obsconds", ("BRIGHT", "DARK")), "observing conditions"),
        "SBPROF": (settings.choice("sbprof", ("ELG", "BGS", "PSF", "FLT")), "profile for the ETC"),
        "GOALTIME": (settings.positive("goaltime"), "[s] effective time"),
    }


def _priorities(targets: Prepared) -> Table:
    """For each class its priority until it was observed often enough, and after that."""
    names, first, class_of = np.unique(
        targets.program.astype(str), return_index=True, return_inverse=True
    )
    priority = targets.priority[first]
    mixed = names[np.unique(class_of[priority[class_of] != targets.priority])]
    if len(mixed):
        raise HandoffError(
            f"the class {mixed[0]} has targets of several priorities; a tertiary program takes "
            "one for each class."
        )
    n_obs = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(n_obs, class_of, targets.filled("n_obs", 1).astype(np.int64))
    if n_obs.max() > MOST_OBSERVATIONS:
        raise HandoffError(
            f"the class {names[n_obs.argmax()]} asks for {n_obs.max()} observations; a tertiary "
            f"program counts to {MOST_OBSERVATIONS}."
        )
    columns: dict[str, list] = {
        "TERTIARY_TARGET": [],
        "NUMOBS_DONE_MIN": [],
        "NUMOBS_DONE_MAX": [],
        "PRIORITY": [],
    }
    for name, n, best in zip(names.tolist(), n_obs.tolist(), priority.tolist(), strict=True):
        for row in ((name, 0, n - 1, best), (name, n, MOST_OBSERVATIONS, DONE)):
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    return Table(columns)


TOOL = Tool(
    name="desi-tertiary",
    title="DESI tertiary program",
    source="desihub/fiberassign 79078f2, py/fiberassign/fba_tertiary_io.py",
    suffix=".fits",
    write=write,
    read=read,
    priorities=PriorityScale(best=2**31 - 1, worst=LOWEST_PRIORITY, kept=True),
    ids=targetids,
    epoch="columns",
    default_epoch=2015.5,
    max_targets=2**OBJID_BITS,
    settings={
        "program_number": "number of the tertiary program (PROGNUM), such as 12; DESI looks for "
        "the file under the name tertiary-targets-0012.fits",
        "faprgrm": "name of the program (FAPRGRM), such as tertiary12",
        "obsconds": "BRIGHT or DARK",
        "sbprof": "surface brightness profile for exposure times: ELG, BGS, PSF or FLT",
        "goaltime": "effective exposure time (GOALTIME) [s]",
        "checker": "initials of who checked the targets (CHECKER)",
    },
)
