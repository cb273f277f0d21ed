"""The words of expressions: numbers, units, names, text in quotes, symbols and keywords."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from targetsel.expressions.units import SPELLINGS

KEYWORDS = ("and", "or", "not", "between", "in", "is", "missing")
TRUTHS = {"true": True, "false": False}
DIRECTION = {"<": "up", "<=": "up", ">": "down", ">=": "down"}
COMPARISONS = (*DIRECTION, "==", "!=")

_SPACE = re.compile(r"\s*")
NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_UNIT = re.compile(
    "(?:"
    + "|".join(map(re.escape, sorted(SPELLINGS, key=len, reverse=True)))
    + r")(?![A-Za-z_0-9\u030a])"
)
_TEXT = re.compile(r"'[^']*'|\"[^\"]*\"")
_SYMBOL = re.compile(r"\*\*|<=|>=|==|!=|[-+*/<>&|~()\[\],=]")

# Names that stand for values in other languages, with their equivalents here.
VALUES = {
    **dict.fromkeys(("nan", "null", "none"), "missing values have no name; write x is missing"),
    **{truth: f"write {truth}, as in flag == {truth}" for truth in TRUTHS},
    **dict.fromkeys(
        ("inf", "infinity"), "infinity has no name; write finite(x), which is false for it"
    ),
}
NO_COMPARISON = "'=' is not a comparison; write == to compare"  # it names arguments
# Characters and words of other languages, and their equivalents here.
_ELSEWHERE = {
    "&&": "'&&' is not known here; write and",
    "||": "'||' is not known here; write or",
    "<>": "'<>' is not known here; write !=",
    "≥": "unexpected character '≥'; write >=",
    "≤": "unexpected character '≤'; write <=",
    "≠": "unexpected character '≠'; write !=",
    "−": "unexpected character '−'; write the minus sign -",
    "^": "unexpected character '^'; write ** for a power",
    "!": "unexpected character '!'; write not",
    "%": "unexpected character '%'; write percent after a number",
    ".": "unexpected '.'; write the name of a column alone",
    "‘": "unexpected character '‘'; write text in plain quotes, '...'",
    "’": "unexpected character '’'; write text in plain quotes, '...'",
    "“": "unexpected character '“'; write text in plain quotes, '...'",
    "”": "unexpected character '”'; write text in plain quotes, '...'",
}
_UNCLOSED = (
    "this text is not closed by a quote; if it holds ' #' or ': ', which YAML takes for the "
    "beginning of something else: quote the whole expression: \"name == 'A #1'\""
)


@dataclass(frozen=True)
class Token:
    kind: str  # "number", "unit", "name", "truth", "text", "end", or the symbol or keyword itself
    text: str
    start: int


def value_of(written: str) -> int | float:
    """The value of a number: a whole one as it is written, without the rounding of floats."""
    if written.isdigit():
        return int(written)
    value = float(written)
    if not 2**53 <= value < 2**64:
        return value
    exact = Decimal(written)
    return value if exact == Decimal(value) or exact % 1 else int(exact)


def after_blanks(text: str, start: int) -> int:
    """The place of the first character from `start` that is no blank."""
    space = _SPACE.match(text, start)
    return space.end() if space else start


def token_at(text: str, start: int, after_number: bool) -> Token | str:
    """The token at `start`, or the message that explains why there is none.

    A unit is one only after a number.
    """
    if start == len(text):
        return Token("end", "", start)
    if match := NUMBER.match(text, start):
        return Token("number", match[0], start)
    if after_number and (match := _UNIT.match(text, start)):
        return Token("unit", match[0], start)
    if match := _NAME.match(text, start):
        return Token(_kind_of_name(match[0]), match[0], start)
    if match := _TEXT.match(text, start):
        return Token("text", match[0], start)
    for elsewhere in (text[start : start + 2], text[start]):
        if elsewhere in _ELSEWHERE and elsewhere not in ("!=", "=="):
            symbol = _SYMBOL.match(text, start)
            if symbol is None or len(symbol[0]) < len(elsewhere):
                return _ELSEWHERE[elsewhere]
    if match := _SYMBOL.match(text, start):
        return Token(match[0], match[0], start)
    if text[start] in "'\"":
        return _UNCLOSED
    return f"unexpected character '{text[start]}'; remove it, or write text in quotes"


def _kind_of_name(name: str) -> str:
    if name in KEYWORDS:
        return name
    return "truth" if name in TRUTHS else "name"


def words(text: str) -> list[tuple[str, str]]:
    """The words of an expression that can be parsed, each with its kind (see `Token`)."""
    found: list[tuple[str, str]] = []
    start = 0
    while True:
        start = after_blanks(text, start)
        token = token_at(text, start, bool(found) and found[-1][0] == "number")
        assert isinstance(token, Token)
        if token.kind == "end":
            return found
        found.append((token.kind, token.text))
        start += len(token.text)
