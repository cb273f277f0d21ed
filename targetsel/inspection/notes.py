"""Notes of people who inspected targets: the CSV files that pages export, and those of prospect.

The first columns are those of desihub/prospect: sixteen, and fifteen before its version 1.2.0,
which lacked Redrock_deltachi2. Ours stand behind them.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from targetsel.errors import CatalogError, absent
from targetsel.inspection.journal import Row, journal_of, read_journal

ISSUES = {"R": "redshift", "C": "class", "S": "spectrum"}
QUALITIES = range(5)
NEEDED = ("VI_quality",)
IDS = ("source_id", "TARGETID")  # the first that says something
REVISION = "VI_revision"  # the number that a server gave to a note
_FLOAT = re.compile(r"-?[0-9]+\.0*|[0-9](\.[0-9]+)?[eE]\+[0-9]+")  # as tables write whole numbers
LONGEST = 100_000  # characters of a cell


@dataclass(frozen=True)
class Note:
    """What one person noted of one source.

    Attributes
    ----------
    source_id, scanner : str
    quality : int or None
        4: confident, to 0: nothing there.
    issue : str
        Some of the letters R, C and S.
    redshift : float
        NaN where none was given.
    kind : str
        Type of the source, such as GALAXY; empty where none was given.
    comment : str
    position : tuple of two floats
        ra, dec [deg, ICRS]; NaN where the file lacks them.
    time : str
        When it was made, as ISO 8601; empty where it is not known.
    """

    source_id: str
    scanner: str
    quality: int | None
    issue: str
    redshift: float
    kind: str
    comment: str
    position: tuple[float, float]
    time: str


def read_notes(path: Path) -> list[Note]:
    """The notes in a CSV file; those without a name are of a person named as the file.

    Of a file in which a page that is served keeps its notes, those in the journal beside it count,
    too.

    Raises
    ------
    CatalogError
        If the file is missing, no CSV of notes, or holds a value that no note has.
    """
    journal = journal_of(path)
    newest_ones = read_journal(journal)  # first: meanwhile they may move to the file, not back
    rows = [] if newest_ones and not path.exists() else rows_of(path)
    if newest_ones:
        rows = newest_rows(rows, newest_ones)
    return [note_of(cells, place, path.stem) for place, cells in rows]


def rows_of(path: Path) -> list[tuple[str, Row]]:
    """The rows of a CSV file of notes, each with its place for errors and an id in source_id.

    Raises
    ------
    CatalogError
        If the file is missing, no CSV of notes, or has a row without an id.
    """
    if not path.is_file():
        raise CatalogError(
            absent(path) if not path.exists() else f"{path}: is a folder. Name files."
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise CatalogError(
            f"{path}: cannot be read as text in UTF-8 ({error}). Export the notes again."
        ) from error
    csv.field_size_limit(LONGEST)
    try:
        # Lines end where CSV ends them: comments may hold other characters that end lines.
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise CatalogError(f"{path}: is no CSV ({error}). Export the notes again.") from error
    names = rows[0] if rows else []
    if not {*NEEDED} <= {*names} or not {*IDS} & {*names}:
        raise CatalogError(
            f"{path}: has the columns {', '.join(names)[:200] or 'none'}; expected VI_quality, and "
            "source_id or TARGETID, as pages of 'targetsel inspect' and prospect export them."
        )
    if len({*names}) < len(names):
        raise CatalogError(f"{path}: has several columns of one name. Export the notes again.")
    return list(_with_ids(rows, path))


def _with_ids(rows: Sequence[Sequence[str]], path: Path) -> Iterator[tuple[str, Row]]:
    names = rows[0]
    for number, row in enumerate(rows[1:], 2):
        place = f"{path}, row {number}"
        if not row:
            continue
        if len(row) != len(names):
            raise CatalogError(
                f"{place}: has {len(row)} cells, expected {len(names)}. Export the notes again."
            )
        cells = {name: cell.strip() for name, cell in zip(names, row, strict=True)}
        source_id = next((cells[name] for name in IDS if cells.get(name)), "")
        if source_id in ("", "-1"):
            raise CatalogError(f"{place}: has no id. Write one into its column source_id.")
        if _FLOAT.fullmatch(source_id):
            raise CatalogError(
                f"{place}: the id is '{source_id}', a float; expected a whole number or text as "
                "in the catalog. Export the notes again, or store their ids as int64 or text."
            )
        yield place, cells | {"source_id": source_id}


def note_of(cells: Row, place: str, unnamed: str) -> Note:
    """The note in a row.

    Parameters
    ----------
    cells : dict
        With an id in source_id.
    place : str
        For errors.
    unnamed : str
        Whose it is where it does not say so.

    Raises
    ------
    CatalogError
        If a value is none that a note has.
    """
    issue = cells.get("VI_issue", "")
    if {*issue} - {*ISSUES}:
        raise CatalogError(
            f"{place}: VI_issue is '{issue}', expected letters of {', '.join(ISSUES)}. Correct it."
        )
    redshift = _number(cells.get("VI_z", ""), "VI_z", place)
    if redshift <= -1:
        raise CatalogError(
            f"{place}: VI_z is {cells['VI_z']}, expected a redshift above -1, or nothing where "
            "none was given. Correct it."
        )
    return Note(
        cells["source_id"],
        cells.get("VI_scanner", "") or unnamed,
        quality_of(cells.get("VI_quality", ""), place),
        issue,
        redshift,
        cells.get("VI_spectype", ""),
        cells.get("VI_comment", ""),
        (_number(cells.get("ra", ""), "ra", place), _number(cells.get("dec", ""), "dec", place)),
        cells.get("VI_time", ""),
    )


def quality_of(text: str, place: str) -> int | None:
    number = _number(text, "VI_quality", place)
    if math.isnan(number) or number == -1:
        return None
    if number not in QUALITIES:
        raise CatalogError(
            f"{place}: VI_quality is {text}, expected 0 to 4, or -1 for none. Correct it."
        )
    return int(number)


def _number(text: str, name: str, place: str) -> float:
    try:
        found = float(text) if text else math.nan
    except ValueError:
        found = math.inf
    if math.isinf(found):
        raise CatalogError(f"{place}: {name} is '{text}', expected a number. Correct it.")
    return found


def newest(notes: Sequence[Note]) -> list[Note]:
    """One note of each person and source: the newest, or of notes without a time the last."""
    found: dict[tuple[str, str], Note] = {}
    for note in notes:
        key = note.source_id, note.scanner
        if key not in found or found[key].time <= note.time:
            found[key] = note
    return list(found.values())


def newest_rows(
    kept: Sequence[tuple[str, Row]], journal: Sequence[tuple[str, Row]]
) -> list[tuple[str, Row]]:
    """One row of each person and source, of a notes file and of its journal.

    The highest revision counts; of rows without one the newest, or without a time the last.

    Parameters
    ----------
    kept, journal : sequence of tuple of str and dict
        Rows, each behind its place.
    """
    found: dict[tuple[str, str], tuple[str, Row]] = {}
    for each in kept:
        key, order = _key(each[1]), _order(each)
        if key not in found or _order(found[key]) <= order:
            found[key] = each
    for each in journal:
        key = _key(each[1])
        if key not in found or revision_of(found[key]) < revision_of(each):
            found[key] = each
    return list(found.values())


def _key(cells: Row) -> tuple[str, str]:
    return cells["source_id"], cells.get("VI_scanner", "")


def _order(row: tuple[str, Row]) -> tuple[int, str]:
    return revision_of(row), row[1].get("VI_time", "")


def revision_of(row: tuple[str, Row]) -> int:
    """The revision of a row, which stands behind its place; 0 where it has none."""
    place, cells = row
    text = cells.get(REVISION, "") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise CatalogError(f"{place}: {REVISION} is '{text}', expected a whole number. Correct it.")
    return int(text)
