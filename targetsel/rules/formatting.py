"""Rule files in one layout: two spaces a level, expressions spaced alike, comments kept.

Lines stay lines: nothing is joined, broken or reordered, so that a change of layout is easy to
review. What a file means is compared before and after.
"""

from __future__ import annotations

import contextlib
import re

from targetsel.documents.document import Map, Node, Scalar, Sequence, read_document
from targetsel.documents.source_location import SourceLocation
from targetsel.errors import RuleError
from targetsel.expressions.tokens import words as words_of
from targetsel.rules.functions import parse

# Keys whose values are expressions, wherever they stand.
_EXPRESSIONS = ("where", "rank", "priority")
_TIGHT_AFTER = ("(", "[", "~", "=")
_TIGHT_BEFORE = (")", "]", ",", "=")


def formatted(text: str, file: str = "rules") -> str:
    """The text of a rule file in our layout.

    Raises
    ------
    RuleError
        If it is not such YAML as rule files are made of.
    """
    tree = read_document(text, file)
    lines = _respaced(text.replace("\r\n", "\n").split("\n"), tree)
    lines = _reindented(lines, _indents(tree))
    while lines and not lines[-1].strip():
        lines.pop()
    result = "\n".join(_without_double_gaps(lines)) + "\n"
    with contextlib.suppress(RuleError):
        if _content(read_document(result, file)) == _content(tree):
            return result
    raise SourceLocation(file).error(
        "fmt cannot format this layout; nothing was changed; format it by hand"
    )


# --- expressions ---------------------------------------------------------------------------------


def _respaced(lines: list[str], tree: Node) -> list[str]:
    """The lines with the expressions that stand on one of them spaced alike."""
    lines = list(lines)
    scalars = sorted(_expressions(tree), key=lambda each: (each.place.line, each.place.column))
    for scalar in reversed(scalars):
        place = scalar.place
        line = lines[place.line - 1]
        start = place.column - 1
        if place.exact and line.startswith(scalar, start):
            end = start + len(scalar)
            lines[place.line - 1] = line[:start] + spaced(scalar) + line[end:]
    return lines


def _expressions(node: Node, key: str = "") -> list[Scalar]:
    """The scalars that hold expressions: all below `define` and `where`, and some others."""
    if isinstance(node, Scalar):
        return [node] if key in _EXPRESSIONS else []
    if isinstance(node, Sequence):
        return [each for item in node for each in _expressions(item, key)]
    found = []
    for name, value in node.items():
        found += _expressions(value, "where" if key == "define" else name)
    return found


def spaced(text: str) -> str:
    """An expression with one space between its words, and none inside parentheses."""
    try:
        parse(text)
    except RuleError:
        return text
    words = words_of(text)
    result = ""
    for i, (kind, word) in enumerate(words):
        before = words[i - 1] if i else ("", "(")
        tight = (
            before[1] in _TIGHT_AFTER
            or kind in _TIGHT_BEFORE
            or (kind == "(" and before[0] == "name")
            or "**" in (kind, before[1])
            or _is_sign(words, i - 1)
        )
        result += word if tight else f" {word}"
    return result


def _is_sign(words: list[tuple[str, str]], i: int) -> bool:
    """Whether a word is a plus or minus with no number before it to add to."""
    if i < 0 or words[i][0] not in ("-", "+"):
        return False
    return i == 0 or words[i - 1][0] not in ("number", "unit", "name", ")", "]")


# --- layout --------------------------------------------------------------------------------------


def _reindented(lines: list[str], indent: dict[int, int]) -> list[str]:
    """The lines, those that begin an entry of a map or list indented as `indent` says."""
    result: list[str] = []
    shift = 0
    waiting: list[int] = []  # lines of comment, which go with the entry below them
    for number, line in enumerate(lines):
        words = line.strip()
        if number in indent:
            shift = indent[number] - (len(line) - len(line.lstrip()))
            result.append(" " * indent[number] + words)
            for place in waiting:
                result[place] = " " * indent[number] + result[place].strip()
            waiting = []
        elif not words:
            result.append("")
        elif words.startswith("#"):
            waiting.append(len(result))
            result.append(words)
        else:  # continues the entry above
            old = len(line) - len(line.lstrip())
            result.append(" " * max(old + shift, 0) + line.strip())
    return [re.sub(r"(?<=\S) +$", "", line) for line in result]


def _indents(node: Node, level: int = 0) -> dict[int, int]:
    """For every line that begins an entry of a block map or list, its indentation."""
    if isinstance(node, Scalar) or node.flow:
        return {}
    places = list(node.keys_at.values()) if isinstance(node, Map) else [each.place for each in node]
    found = {place.line - 1: 2 * level for place in places}
    for each in node.values() if isinstance(node, Map) else node:
        found = _indents(each, level + 1) | found
    return found


def _without_double_gaps(lines: list[str]) -> list[str]:
    return [line for i, line in enumerate(lines) if line.strip() or (i and lines[i - 1].strip())]


def _content(node: Node) -> object:
    """The content of a tree, independent of its layout."""
    if isinstance(node, Scalar):
        return re.sub(r"\s+", "", node)
    if isinstance(node, Sequence):
        return [_content(each) for each in node]
    assert isinstance(node, Map)
    return {key: _content(value) for key, value in node.items()}
