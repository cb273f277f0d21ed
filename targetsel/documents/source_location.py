"""Locations in a file that a user wrote, and errors that point there."""

from __future__ import annotations

from dataclasses import dataclass, field

from targetsel.errors import RuleError, TargetselError

WIDTH = 100  # characters of a source line shown above the caret
LONGEST = 500  # characters of a message, which may quote what the file holds


@dataclass(frozen=True)
class SourceLocation:
    """A character of a file that a user wrote.

    Attributes
    ----------
    file : str
        Name of the file as the user gave it.
    line, column : int
        Counted from 1, as editors do.
    source : str
        The text shown with an error; usually the whole line of the file.
    caret : int
        Index of the character in `source`, counted from 0.
    exact : bool
        False where `source` is the text of a YAML scalar that runs over several lines or holds
        escapes: `line` and `column` then stay at its start and only the caret moves.
    error_type : type
        Class of the errors that point here.
    """

    file: str = "expression"
    line: int = 1
    column: int = 1
    source: str = ""
    caret: int = 0
    exact: bool = True
    error_type: type[TargetselError] = field(default=RuleError, compare=False, repr=False)

    def moved(self, offset: int) -> SourceLocation:
        """The location `offset` characters further on."""
        column = self.column + offset if self.exact else self.column
        # Not by `replace`, which is slow: a rule file has thousands of places.
        return SourceLocation(
            self.file,
            self.line,
            column,
            self.source,
            self.caret + offset,
            self.exact,
            self.error_type,
        )

    def error(self, message: str) -> TargetselError:
        """An error to be raised: `FILE:LINE:COLUMN: error: message`, and `detail` with a caret."""
        message = shortened(message)
        error = self.error_type(f"{self.file}:{self.line}:{self.column}: error: {message}")
        error.detail, error.place = self.detail, self
        return error

    @property
    def detail(self) -> str:
        """The source line and, below it, a caret under the location."""
        start = max(0, min(self.caret - WIDTH // 2, len(self.source) - WIDTH))
        shown = self.source[start : start + WIDTH].replace("\t", " ")
        return f"{shown}\n{' ' * (self.caret - start)}^"


def shortened(message: str) -> str:
    """The message on one line, cut after `LONGEST` characters."""
    message = " ".join(message.splitlines())
    return message if len(message) <= LONGEST else f"{message[: LONGEST - 3]}..."
