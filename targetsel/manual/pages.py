"""Pages of the documentation that are written by hand: each can be looked up and read offline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from targetsel.manual.entries import Entry

FOLDERS = ("tutorials", "howto", "explanation", "reference/files")
_HEADING = re.compile(r"^##+ (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_CELL = re.compile(r"^```\{code-cell\}.*$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


def home() -> Path:
    """The folder of the pages: beside the package in a checkout, inside it in a wheel."""
    room = Path(__file__).parent
    inside, beside = room / "pages", room.parents[1] / "docs"
    return inside if inside.is_dir() else beside


def pages() -> Iterator[Entry]:
    """One entry for each page; its title and its headings find it."""
    for folder in FOLDERS:
        for path in sorted((home() / folder).glob("*.md")):
            if path.stem != "index":
                yield page_of(path, f"{folder}/{path.stem}")


def page_of(path: Path, name: str) -> Entry:
    """The entry of one page under the name of its file."""
    written = _FRONT.sub("", path.read_text(encoding="utf-8"))
    title, _, text = written.strip().removeprefix("# ").partition("\n")
    without_code = _FENCED.sub("", text)
    headings = _HEADING.findall(without_code)
    stem = path.stem
    aliases = dict.fromkeys([stem, stem.replace("-", " "), title, *headings])
    begin = _LINK.sub(r"\1", " ".join(without_code.strip().split("\n\n")[0].split()))
    return Entry("page", name, f"{title}. {begin}", _CELL.sub("```", text).strip(), tuple(aliases),
                 title=title)  # fmt: skip
