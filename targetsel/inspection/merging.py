"""Notes of several people, joined: what they agree on, and what they dispute."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.inspection.notes import ISSUES, QUALITIES, Note, newest, read_notes
from targetsel.tables.columns import ID, NEVER, Column, schema_of
from targetsel.tables.files import check_table_output
from targetsel.tables.parquet import write_table
from targetsel.version import __version__

GOOD = 2.5  # mean quality from which a redshift is taken
APART = 2  # classes of quality between two people, from which they dispute it
REDSHIFTS_APART = 0.0033  # in units of 1 + redshift
NOBODY = "nobody gave one"
COLUMNS = (
    Column("source_id", ID, "", "meta.id;meta.main", "id in the catalog", NEVER),
    Column("ra", pa.float64(), "deg", "pos.eq.ra", "ICRS", "the notes lack it"),
    Column("dec", pa.float64(), "deg", "pos.eq.dec", "ICRS", "the notes lack it"),
    Column("n_inspected", pa.int32(), "", "meta.number", "people who noted something", NEVER),
    Column("quality", pa.float64(), "", "meta.code.qual",
           "mean quality, 4 (confident) to 0 (nothing there)", NOBODY),
    Column("quality_low", pa.int32(), "", "meta.code.qual", "the lowest of them", NOBODY),
    Column("quality_high", pa.int32(), "", "meta.code.qual", "the highest of them", NOBODY),
    Column("issue", pa.string(), "", "meta.code",
           "letters that anyone gave: R, C or S for redshift, class or spectrum", "nobody did"),
    Column("redshift", pa.float64(), "", "src.redshift",
           f"mean redshift that people gave to a source of quality {GOOD:g} or more",
           f"nobody gave one, the quality is below {GOOD:g}, or it is disputed"),
    Column("spectral_type", pa.string(), "", "src.class",
           "type that people gave, such as GALAXY", "nobody gave one, or it is disputed"),
    Column("dispute", pa.string(), "", "meta.code",
           "what people dispute: quality, redshift, type", "there is no dispute"),
    Column("inspected_by", pa.string(), "", "meta.note", "names of the people", NEVER),
    Column("comment", pa.string(), "", "meta.note", "their comments", NOBODY),
)  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """How far two people agree, or with `other` empty all of them.

    Attributes
    ----------
    one, other : str
    n_sources : int
        Sources of which both, or of all at least two, gave a quality.
    share : float
        Of them, or of all pairs of people, with the same quality; NaN without any.
    kappa : float
        Cohen's (1960), or of all Fleiss's (1971) for numbers of people that vary: 1 where they
        always agree, 0 where no more often than by chance; NaN where all gave one quality.
    """

    one: str
    other: str
    n_sources: int
    share: float
    kappa: float


@dataclass(frozen=True)
class MergedNotes:
    """Notes of several people by source, and their agreement.

    Attributes
    ----------
    table : pa.Table
        One row for each source, in the order of ids, with the columns of `COLUMNS`.
    agreements : tuple of Agreement
        Of every two people, and last of all.
    n_disputes : int
    """

    table: pa.Table
    agreements: tuple[Agreement, ...]

    @property
    def n_disputes(self) -> int:
        return len(self.table) - int(self.table["dispute"].null_count)

    def __repr__(self) -> str:
        return f"Notes on {len(self.table):,} sources, of which {self.n_disputes:,} are disputed"


def merge_notes(paths: Sequence[Path], output: Path | None = None) -> MergedNotes:
    """The notes in these files, joined by source, and written as a table if an output is given.

    Raises
    ------
    CatalogError
        If a file cannot be read, or no file holds a note.
    OutputError
        If the table cannot be written.
    """
    if output is not None:
        check_table_output(output, paths)
    notes = newest([note for path in paths for note in read_notes(path)])
    if not notes:
        named = ", ".join(map(str, paths)) or "no file"
        raise CatalogError(f"{named}: no notes. Export some, and name their files.")
    by_source: dict[str, list[Note]] = defaultdict(list)
    for note in sorted(notes, key=lambda note: note.scanner):
        by_source[note.source_id].append(note)
    are_numbers = all(map(_is_number, by_source))
    ids: list[Any] = sorted(by_source, key=int if are_numbers else str)
    rows = [_row(int(each) if are_numbers else each, by_source[each]) for each in ids]
    kind = pa.int64() if are_numbers else pa.string()
    schema = schema_of(COLUMNS)
    schema = schema.set(0, schema.field(0).with_type(kind))
    merged = MergedNotes(pa.Table.from_pylist(rows, schema), _agreements(by_source))
    if output is not None:
        files = {"targetsel": __version__, "notes": sorted(path.name for path in paths)}
        write_table(merged.table, output, files)
    return merged


def _is_number(source_id: str) -> bool:
    """Whether an id is the text of a whole number; 007 is not, as catalogs tell it from 7."""
    is_whole = source_id.isascii() and source_id.isdigit() and len(source_id) < 19
    return is_whole and str(int(source_id)) == source_id


def _row(source_id: Any, notes: Sequence[Note]) -> Mapping[str, Any]:
    qualities = [note.quality for note in notes if note.quality is not None]
    redshifts = [note.redshift for note in notes if not math.isnan(note.redshift)]
    kinds = sorted({note.kind for note in notes if note.kind})
    quality = float(np.mean(qualities)) if qualities else None
    disputes = {
        "quality": bool(qualities) and max(qualities) - min(qualities) >= APART,
        "redshift": bool(redshifts)
        and max(redshifts) - min(redshifts) > REDSHIFTS_APART * (1 + min(redshifts)),
        "type": len(kinds) > 1,
    }
    is_good = quality is not None and quality >= GOOD and redshifts and not disputes["redshift"]
    ra, dec = next(
        (x.position for x in notes if not any(map(math.isnan, x.position))), (None, None)
    )
    given = {letter for note in notes for letter in note.issue}
    comments = [f"{note.scanner}: {note.comment}" for note in notes if note.comment]
    return {
        "source_id": source_id,
        "ra": ra,
        "dec": dec,
        "n_inspected": len(notes),
        "quality": quality,
        "quality_low": min(qualities, default=None),
        "quality_high": max(qualities, default=None),
        "issue": "".join(letter for letter in ISSUES if letter in given) or None,
        "redshift": float(np.mean(redshifts)) if is_good else None,
        "spectral_type": kinds[0] if len(kinds) == 1 else None,
        "dispute": ", ".join(name for name, is_so in disputes.items() if is_so) or None,
        "inspected_by": ", ".join(note.scanner for note in notes),
        "comment": "; ".join(comments) or None,
    }


def _agreements(by_source: Mapping[str, Sequence[Note]]) -> tuple[Agreement, ...]:
    given = [
        {note.scanner: note.quality for note in notes if note.quality is not None}
        for notes in by_source.values()
    ]
    people = sorted({name for each in given for name in each})
    found = [
        cohen(one, other, [(x[one], x[other]) for x in given if one in x and other in x])
        for one, other in itertools.combinations(people, 2)
    ]
    return (*found, fleiss([[*each.values()] for each in given]))


def cohen(one: str, other: str, pairs: Sequence[tuple[int, int]]) -> Agreement:
    """Agreement of two people by their qualities of the same sources."""
    if not pairs:
        return Agreement(one, other, 0, math.nan, math.nan)
    n = len(pairs)
    share = sum(a == b for a, b in pairs) / n
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[each] * second[each] for each in QUALITIES) / n**2
    return Agreement(one, other, n, share, _beyond(share, chance))


def fleiss(qualities: Sequence[Sequence[int]]) -> Agreement:
    """Agreement of all people by their qualities of each source, which at least two gave."""
    several = [each for each in qualities if len(each) > 1]
    if not several:
        return Agreement("all", "", 0, math.nan, math.nan)
    counts = np.array([[each.count(quality) for quality in QUALITIES] for each in several])
    n = counts.sum(axis=1)
    share = float(((counts * (counts - 1)).sum(axis=1) / (n * (n - 1))).mean())
    chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return Agreement("all", "", len(several), share, _beyond(share, chance))


def _beyond(share: float, chance: float) -> float:
    return (share - chance) / (1 - chance) if chance < 1 else math.nan
