"""Errors that a user can correct, as a small tree of classes.

Every message gives the place, the value, what was expected and, where we can, the next step.
The command line prints a `TargetselError` as one line and exits with status 2; any other
exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

LONGEST = 1500  # characters of a message,
END = 200  # and of these, where it is longer, at its end, where the next step stands
# Control characters but tab and newline, marks that reorder text, and halves of characters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


class TargetselError(Exception):
    """Something a user can mend.

    Attributes
    ----------
    detail : str
        For an error in a file that a user wrote, the source line and a caret below it.
    place : SourceLocation or None
        For such an error, the place in the file.
    """

    detail: str = ""
    place: Any = None

    def __init__(self, message: object = "") -> None:
        # Damaged files put line breaks and very long values into what a message quotes.
        line = " ".join(str(message).splitlines())
        if len(line) > LONGEST:
            line = f"{line[: LONGEST - END]} ... {line[-END:]}"
        super().__init__(line)


class CatalogError(TargetselError):
    """A catalog that cannot be read, or whose columns, ids or positions are not usable.

    The message names the file and the column. `targetsel rules columns FILE` lists what a catalog
    holds. Rename or convert the column, or name it by an option of the command. Of a file that a
    command wrote, make it anew with that command.
    """


class CutoutError(TargetselError):
    """A cutout store or folder that cannot be read, or that does not suit the ensemble.

    The message names the file, and the band or source. Pack the images again with
    `targetsel cutouts pack`, or give the option that the message names. An ensemble wants the
    bands, size and pixel scale that it was trained on.
    """


class SpectrumError(TargetselError):
    """A spectrum, wavelength grid or line table that is not usable.

    The message names the file, and what is wrong with its pixels, wavelengths or lines. Mend the
    file, or leave the spectrum out.
    """


class EnsembleError(TargetselError):
    """An ensemble's folder that is damaged, foreign or incomplete.

    The message names the file of the folder. Copy the folder anew, name another one with
    `--ensemble`, or fit again what does not belong to it: `targetsel calibrate`, `targetsel
    ensemble fit-novelty`.
    """


class RuleError(TargetselError):
    """A rule file or expression that does not mean anything we can evaluate.

    The message begins with file, line and column, and a caret below points at the place.
    `targetsel rules lint FILE` tells all faults of a file at once. `targetsel rules functions`
    lists what can be written, `targetsel rules columns CATALOG` the names that a catalog has.
    """


class SpectrographError(TargetselError):
    """A spectrograph's description, or what would be needed to predict what one sees.

    The message names the file, line and column of a description, or the option that lacks. Mend
    the description, or name another one with `--spectrograph`.
    """


class HandoffError(TargetselError):
    """A target list that a fiber- or slit-assignment tool would not take, or settings for one.

    The message names the setting, the column or the target. `targetsel export --list` lists the
    settings of each tool; write them into a YAML file, and give it with `--config`. Where the list
    itself does not suit the tool, change the rules and select anew.
    """


class MockError(TargetselError):
    """A mock sky that cannot be made as it is asked for.

    The message names the option or the key of the variation, and what it may be.
    """


class ExtraError(TargetselError):
    """A package that an extra installs and that is not there.

    The message names the extra and the command that installs it.
    """


class OutputError(TargetselError):
    """A result that could not be written.

    The message names the file or folder. Name another one with `-o`, remove what is there, or make
    room on the disk.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The hint `" Did you mean 'x'?"`, or an empty string where nothing is close.

    A name that differs only in case is always found.
    """
    known = list(known)
    by_lower = {name.lower(): name for name in known}
    if word.lower() in by_lower:
        return f" Did you mean '{by_lower[word.lower()]}'? (names are case-sensitive)"
    close = get_close_matches(word, known, n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


def close_or_known(word: str, known: Iterable[str]) -> str:
    """The hint of `did_you_mean`, or where nothing is close, all names that are known."""
    known = list(known)
    return did_you_mean(word, known) or f" Known: {', '.join(known) or 'none'}."


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is not known: "unknown band 'q'. Known: g, r."."""
    return f"unknown {kind} '{name}'.{close_or_known(name, known)}"


def counted(n: int, one: str, many: str = "") -> str:
    """A count and what is counted: "1 source", "1,234 sources"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def shown(value: object) -> str:
    """A setting as errors show it: "g, r", "'fast'", "5", "not given"."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "not given" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def beginning(content: bytes) -> str:
    """The first characters of a file or answer, in quotes, for errors about its content."""
    return f"'{' '.join(content[:40].decode('utf-8', 'replace').split())}'"


def visible(text: str) -> str:
    """The text with backslash escapes for characters that would steer a terminal."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)
