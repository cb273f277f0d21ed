"""Entries of the manual: what can be looked up, how a word finds it, and pages made of entries.

The manual is gathered from the declarations that the package itself works by: rule functions,
models of files, columns, tools, error messages and docstrings. Nothing is told twice.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

MOST = 40  # entries that are listed for a word
# Words of a question that say nothing of what is looked for.
LITTLE_WORDS = {
    "a", "an", "and", "can", "do", "does", "for", "from", "how", "i", "in", "is", "it", "my", "of",
    "on", "or", "own", "the", "this", "to", "what", "with",
}  # fmt: skip
Loader = Callable[[], Iterable["Entry"]]


@dataclass(frozen=True)
class Entry:
    """One thing that can be looked up.

    Attributes
    ----------
    kind : str
        A word such as "command", "column" or "error".
    name : str
        The name that a user would type.
    summary : str
        One sentence, or half of one.
    text : str
        All that is to say, as Markdown with definition lists, without a heading.
    aliases : tuple of str
        Other words that find it.
    group : str
        The section of its page that it stands in.
    title : str
        Its heading, where that is not the name.
    """

    kind: str
    name: str
    summary: str
    text: str
    aliases: tuple[str, ...] = ()
    group: str = ""
    title: str = ""

    @property
    def anchor(self) -> str:
        """The name of the place on its page, such as ``column-typicality``."""
        return anchor(self.kind, self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """All words that find it."""
        return (self.name, *self.aliases)


def named(word: str, loaders: Iterable[Loader]) -> list[Entry]:
    """The entries of a name; in any case of letters, where none is written just so."""
    entries = [entry for load in loaders for entry in load()]
    ways: tuple[Callable[[Entry], bool], ...] = (
        lambda entry: entry.name == word,
        lambda entry: entry.name.lower() == word.lower(),
        lambda entry: fits(entry.name, word),
    )
    found = ([entry for entry in entries if is_named(entry)] for is_named in ways)
    return next(filter(None, found), [])


def fits(name: str, word: str) -> bool:
    """Whether a word is the name, in which `<...>` stands for any letters and digits."""
    if "<" not in name or ">" not in name:
        return name == word
    parts = (re.escape(part) for part in re.split(r"<\w+>", name))
    return re.fullmatch(r"[A-Za-z0-9_]+".join(parts), word) is not None


def look_up(word: str, loaders: Iterable[Loader]) -> list[Entry]:
    """The entries that a word or several find, best first; an empty list where there are none.

    Entries of that name; else with that alias; else those whose names contain the text, and those
    that mention it; else those that have each of its words.
    """
    entries = [entry for load in loaders for entry in load()]
    low = word.lower()
    if found := named(word, [lambda: entries]):
        return found
    if found := [each for each in entries if low in map(str.lower, each.aliases)]:
        return found
    whole = [re.compile(rf"(?<![\w-]){re.escape(low)}(?![\w-])")]
    in_names = [each for each in entries if any(low in name.lower() for name in each.names)]
    mentions = [each for each in entries if _has(each, whole) and each not in in_names]
    return [*in_names, *_pages_first(mentions, whole)] or _with_all_words(low, entries)


def _with_all_words(text: str, entries: Iterable[Entry]) -> list[Entry]:
    """Entries with each word of a text, in any number: first those that have them in names."""
    words = set(re.findall(r"\w+", text)) - LITTLE_WORDS
    if len(words) < 2:
        return []
    stems = [re.compile(rf"(?<![a-z0-9]){re.escape(each.rstrip('s'))}") for each in words]
    in_head = [each for each in entries if _has(replace(each, text=""), stems)]
    in_text = [each for each in entries if _has(each, stems) and each not in in_head]
    on_pages = [each for each in in_text if each.kind == "page"]
    return [*in_head, *_pages_first(on_pages if in_head or on_pages else in_text, stems)]


def _has(entry: Entry, words: Iterable[re.Pattern[str]]) -> bool:
    """Whether an entry has each of the words in its names, summary or text."""
    written = "\n".join((*entry.names, entry.summary, entry.text)).lower()
    return all(word.search(written) for word in words)


def _pages_first(entries: Iterable[Entry], words: list[re.Pattern[str]]) -> list[Entry]:
    """Pages that say most of the words, cut to the sections that do, and then the others."""

    def said(text: str) -> int:
        return min(len(word.findall(text.lower())) for word in words)

    entries = sorted(entries, key=lambda each: (each.kind != "page", -said(each.text)))
    return [_cut(each, words) if each.kind == "page" else each for each in entries]


def _cut(page: Entry, words: Iterable[re.Pattern[str]]) -> Entry:
    """A page with those of its sections that have one of the words."""
    sections = re.split(r"\n(?=## )", page.text)
    kept = [each for each in sections if any(word.search(each.lower()) for word in words)]
    if not kept or len(kept) == len(sections):
        return page
    left = len(sections) - len(kept)
    more = f"({left} more of its sections: targetsel docs {page.name})"
    return replace(page, text="\n".join([*kept, more]))


def near(word: str, loaders: Iterable[Loader]) -> list[str]:
    """Names that look like the word, the nearest first."""
    names: dict[str, str] = {}
    for load in loaders:
        for entry in load():
            for each in entry.names:
                names.setdefault(each.lower(), each)
    return [names[each] for each in get_close_matches(word.lower(), names, n=3, cutoff=0.6)]


# --- Markdown ------------------------------------------------------------------------------------


def anchor(*words: str) -> str:
    """Words as the name of a place on a page: small letters, digits and hyphens."""
    signs = {"+": "plus", "*": "times", "/": "over", "<": "less", ">": "more", "=": "equal"}
    spelled = "".join(f" {signs[each]} " if each in signs else each for each in " ".join(words))
    return re.sub(r"[^a-z0-9_]+", "-", spelled.lower()).strip("-")


def code(text: str) -> str:
    """Text as it is, in the type of code."""
    fence = "`"
    while fence in text:
        fence += "`"
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def block(lines: Iterable[str], language: str = "text") -> str:
    """Lines of code."""
    return "\n".join([f"```{language}", *lines, "```"])


def definitions(items: Iterable[tuple[str, str]]) -> str:
    """A definition list of terms in Markdown and their meanings."""
    parts = []
    for term, meaning in items:
        lines = meaning.splitlines() or [""]
        parts.append(
            "\n".join([term, f": {lines[0]}", *(f"  {each}".rstrip() for each in lines[1:])])
        )
    return "\n\n".join(parts)


def plain(docstring: str | None) -> str:
    """A docstring with single backticks in place of double ones."""
    return re.sub(r"``(.+?)``", r"`\1`", inspect.cleandoc(docstring or ""))


def first_sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(plain(docstring).split("\n\n")[0].split())


def sentence(text: str) -> str:
    """A text that begins with a capital and ends with a full stop."""
    text = text.strip()
    if not text:
        return ""
    first = text if text.split()[0].endswith(":") else text[0].upper() + text[1:]
    return first + ("" if text[-1] in ".!?:" else ".")


def page(title: str, about: str, sections: Mapping[str, Iterable[Entry]], level: int = 2) -> str:
    """A page of entries in sections, each with an anchor to link to."""
    parts = [f"# {title}", about]
    for heading, entries in sections.items():
        if heading:
            parts += [f"({anchor(title, heading)})=\n{'#' * level} {heading}"]
        for entry in entries:
            deep = "#" * (level + 1 if heading else level)
            parts += [f"({entry.anchor})=\n{deep} {entry.title or code(entry.name)}", entry.text]
    return "\n\n".join(part for part in parts if part) + "\n"


def grouped(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Entries by their groups, in the order in which the groups come up."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.group, []).append(entry)
    return found
