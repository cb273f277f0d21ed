"""Notes as a served page sends them and gets them, checked before anything keeps them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from targetsel.inspection.journal import Row
from targetsel.inspection.notes import ISSUES, QUALITIES, REVISION, quality_of
from targetsel.inspection.notes_file import PageSource

LONGEST = {"scanner": 40, "z": 24, "type": 40, "comment": 10_000}  # characters
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
# Beside tabs and ends of lines, what no file of text should hold, such as halves of characters.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def row_of(message: Any, sources: Mapping[str, PageSource]) -> tuple[Row, int]:
    """The row of a note that a page sends, and the revision that it was based on.

    Parameters
    ----------
    message : Any
        From JSON: id, scanner, base, quality, issue, z, type and comment.
    sources : mapping of str to PageSource
        The sources of the page by id.

    Raises
    ------
    ValueError
        If anything in it is not what a page sends, with a sentence for people.
    """
    names = {"id", "scanner", "base", "quality", "issue", "z", "type", "comment"}
    if not isinstance(message, dict) or message.keys() != names:
        raise ValueError(f"expected a note with {', '.join(sorted(names))}")
    source = sources.get(message["id"]) if isinstance(message["id"], str) else None
    if source is None:
        raise ValueError("the page has no source of this id")
    base, quality = message["base"], message["quality"]
    if type(base) is not int or base < 0:
        raise ValueError("the revision is no whole number")
    if quality is not None and (type(quality) is not int or quality not in QUALITIES):
        raise ValueError("the quality is not 0 to 4")
    texts = {name: _text(message[name], name) for name in ("scanner", "z", "type", "comment")}
    if texts["z"] and not _NUMBER.fullmatch(texts["z"]):
        raise ValueError("the redshift is no number")
    if texts["z"] and not -1 < float(texts["z"]) < math.inf:
        raise ValueError("the redshift is not above -1")
    row = {
        "TARGETID": source.target_id,
        **dict.fromkeys(("EXPID", "NIGHT", "TILEID"), "-1"),
        **dict.fromkeys(("Spec_version", "Redrock_version", "Template_version"), "-1"),
        "Redrock_spectype": "",
        **dict.fromkeys(("Redrock_z", "Redrock_deltachi2"), "-1"),
        "VI_scanner": texts["scanner"],
        "VI_quality": "-1" if quality is None else str(quality),
        "VI_issue": _issue(message["issue"]),
        "VI_z": texts["z"],
        "VI_spectype": texts["type"],
        "VI_comment": texts["comment"],
        "source_id": message["id"],
        "ra": "" if source.ra is None else str(source.ra),
        "dec": "" if source.dec is None else str(source.dec),
        "class": source.class_,
    }
    return row, base


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the {name} is no text")
    if len(value) > LONGEST[name]:
        raise ValueError(f"the {name} is longer than {LONGEST[name]:,} characters")
    if _NO_TEXT.search(value):
        raise ValueError(f"the {name} holds characters that cannot be written")
    return value.strip()


def _issue(value: Any) -> str:
    if not isinstance(value, str) or {*value} - {*ISSUES}:
        raise ValueError(f"the issue is not of the letters {', '.join(ISSUES)}")
    return "".join(each for each in ISSUES if each in value)


def note_in(row: Row) -> dict[str, Any]:
    """A kept row as the page gets it."""
    return {
        "id": row["source_id"],
        "revision": int(row[REVISION]),
        "quality": quality_of(row.get("VI_quality", ""), row["source_id"]),
        "issue": row.get("VI_issue", ""),
        "z": row.get("VI_z", ""),
        "type": row.get("VI_spectype", ""),
        "comment": row.get("VI_comment", ""),
        "time": row.get("VI_time", ""),
    }
