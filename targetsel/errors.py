"""Errors that a user can correct, as a small tree of classes.

Every message gives the place, the value, what was expected and, where we can, the next step.
The command line prints a `TargetselError` as one line and exits with status 2; any other
exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

LONGEST = 1500  # characters of a message,
END = 200  # and of these, where it is longer, at its end, where the next step stands
MOST_BESIDE = 1000  # files of a folder whose names are compared with one that is not there
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

    Usually the file is not where it was said to be, a column has another name than the package
    looks for, or two files have different ids.

    The message names the file and the column. `targetsel rules columns FILE` lists what a catalog
    holds. Rename or convert the column, or name it by an option of the command. Of a file that a
    command wrote, make it anew with that command.
    """


class CutoutError(TargetselError):
    """A cutout store or folder that cannot be read, or that does not suit the ensemble.

    Usually the images are not beside the catalog, their names do not say which source and band
    they are of, or the ensemble wants other bands or larger images.

    The message names the file, and the band or source. Pack the images again with
    `targetsel cutouts pack`, or give the option that the message names. An ensemble wants the
    bands, size and pixel scale that it was trained on.
    """


class SpectrumError(TargetselError):
    """A spectrum, wavelength grid or line table that is not usable.

    Usually an array has another shape than its wavelengths, noise or a redshift is missing, or
    pixels are NaN that should be masked.

    The message names the file, and what is wrong with its pixels, wavelengths or lines. Mend the
    file, or leave the spectrum out.
    """


class EnsembleError(TargetselError):
    """An ensemble's folder that is damaged, foreign or incomplete.

    Usually a file was copied without the others, or was fitted for another ensemble. Of a
    training it says that the examples are too few, or that inputs contradict one another.

    The message names the file of the folder. Copy the folder anew, name another one with
    `--ensemble`, or fit again what does not belong to it: `targetsel calibrate`, `targetsel
    ensemble fit-novelty`.
    """


class RuleError(TargetselError):
    """A rule file or expression that does not mean anything we can evaluate.

    Usually a name is misspelt or is no column of this catalog, a limit is in another unit than
    the column, or YAML wants quotes around a text.

    The message begins with file, line and column, and a caret below points at the place.
    `targetsel rules lint FILE` tells all faults of a file at once. `targetsel rules functions`
    lists what can be written, `targetsel rules columns CATALOG` the names that a catalog has.
    """


class SpectrographError(TargetselError):
    """A spectrograph's description, or what would be needed to predict what one sees.

    Usually a unit is missing behind a number, or nothing says how large the sources are and what
    redshifts they have.

    The message names the file, line and column of a description, or the option that lacks. Mend
    the description, or name another one with `--spectrograph`.
    """


class VisibilityError(TargetselError):
    """A site, a night or a limit for which no visibility of sources can be calculated.

    Usually a site is not in the table, a date is not written as 2027-03-14, or it does not get
    dark on that night.

    The message names the site, the night or the limit. `targetsel sites` lists the sites that are
    known; any other is given by its coordinates. In summer, at high latitudes, choose another
    night or a brighter twilight.
    """


class HandoffError(TargetselError):
    """A target list that a fiber- or slit-assignment tool would not take, or settings for one.

    Usually a setting that the tool needs was not given, the list has no magnitude in a filter
    that the tool knows, or it has more targets or priorities than the tool takes.

    The message names the setting, the column or the target. `targetsel export --list` lists the
    settings of each tool; write them into a YAML file, and give it with `--config`. Where the list
    itself does not suit the tool, change the rules and select anew.
    """


class MockError(TargetselError):
    """A mock sky that cannot be made as it is asked for.

    Usually a number is out of range, or a band is none of the survey's.

    The message names the option or the key of the variation, and what it may be. Give that.
    """


class ExtraError(TargetselError):
    """A package that an extra installs and that is not there.

    Usually the package was installed without extras: pictures, evaluations and files for other
    programs need more than the base.

    The message names the extra and the command that installs it. Run that command.
    """


class OutputError(TargetselError):
    """A result that could not be written.

    Usually something is there already that the command would not replace, the folder does not
    exist, or the disk is full.

    The message names the file or folder. Name another one with `-o`, remove what is there, or make
    room on the disk.
    """


class RemoteError(TargetselError):
    """A file in an object store or on a web server that cannot be read or written.

    Usually a name is misspelt, credentials are missing or may not do this, or the connection was
    lost.

    The message names the address, and for credentials the variables or the profile they are read
    from. Check these, or copy the file to this machine and name the copy.
    """

    is_refused: bool = False  # access was; some stores say so of files that are not there, too


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


def absent(path: Path | str) -> str:
    """The message for a path where nothing is, with names beside it that are close."""
    if os.path.islink(path):
        there = os.readlink(path)
        return f"{path}: is a link to {there}, which is not there. Mend it or name another file."
    folder, name = os.path.split(path)
    beside: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        beside = [each.name for each in islice(entries, MOST_BESIDE) if os.path.exists(each)]
    hint = did_you_mean(name, beside) or " Check the name and the folder."
    return f"{path}: no such file or folder.{hint}"


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
