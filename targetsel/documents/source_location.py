"""Where in a rule file something is written, and errors that point there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from targetsel.errors import RuleError

WIDTH = 100  # characters of a source line shown above the caret
LONGEST = 500  # characters of a message, which may quote what the file holds


class RuleErrorAt(RuleError):
    """A `RuleError` that knows its place: `FILE:LINE:COL: error: message`.

    Attributes
    ----------
    detail : str
        The source line and, below it, a caret under the fault.
    """

    def __init__(self, message: str, detail: str) -> None:
        super().__init__(message)
        self.detail = detail


@dataclass(frozen=True)
class Place:
    """A character of a rule file.

    Attributes
    ----------
    file : str
        The name the user knows the file by.
    line, column : int
        Counted from 1, as editors do.
    source : str
        The text shown with an error; usually the whole line of the file.
    caret : int
        Index of the character in `source`, counted from 0.
    exact : bool
        False where `source` is the text of a YAML scalar that runs over several lines or holds
        escapes: `line` and `column` then stay at its start and only the caret moves.
    """

    file: str = "expression"
    line: int = 1
    column: int = 1
    source: str = ""
    caret: int = 0
    exact: bool = True

    def moved(self, offset: int) -> Place:
        """The place `offset` characters further on."""
        column = self.column + offset if self.exact else self.column
        return replace(self, column=column, caret=self.caret + offset)

    def error(self, message: str) -> RuleErrorAt:
        """The error that `message` describes, to be raised."""
        message = " ".join(message.splitlines())
        if len(message) > LONGEST:
            message = f"{message[: LONGEST - 3]}..."
        return RuleErrorAt(f"{self.file}:{self.line}:{self.column}: error: {message}", self.detail)

    @property
    def detail(self) -> str:
        """The source line and, below it, a caret under the place."""
        start = max(0, min(self.caret - WIDTH // 2, len(self.source) - WIDTH))
        shown = self.source[start : start + WIDTH].replace("\t", " ")
        return f"{shown}\n{' ' * (self.caret - start)}^"
