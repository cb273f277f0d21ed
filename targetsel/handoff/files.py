"""Files of tools: FITS tables, ECSV, and lists with a line of text for each target.

The same targets give the same bytes, and no file is left half written. FITS tables are read by
cfitsio, which is not their writer, where the package fitsio is installed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import HandoffError
from targetsel.handoff.settings import MagnitudeSettings
from targetsel.handoff.tool import ToolTable, ToolTargets
from targetsel.tables.files import written_beside
from targetsel.tables.fits import open_fits
from targetsel.tables.reading import reading
from targetsel.tasks import tracked

Card = tuple[str | int | float | bool, str]  # value and comment
FITS_CODES = {"i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D", "b1": "L"}


# --- FITS ----------------------------------------------------------------------------------------


def write_fits(
    path: Path,
    columns: Mapping[str, tuple[str, ...]],
    values: Mapping[str, Any],
    extname: str,
    cards: Mapping[str, Card] | None = None,
) -> None:
    """Write one binary table as the first extension, without a date.

    Parameters
    ----------
    path : Path
    columns : mapping
        The table's columns in their order: name to type, unit and comment, of which the last ones
        may be missing. Types are those of `FITS_CODES`, S12 for ASCII text of at most 12
        characters, and S for a width that follows from the text.
    values : mapping
        An array of N rows for each column, or one value for all rows.
    extname : str
    cards : mapping, optional
        Further header cards of the extension: keyword to (value, comment).

    Raises
    ------
    HandoffError
        If a text is not ASCII, or too long for its column.
    """
    n = max(len(each) for each in values.values() if isinstance(each, np.ndarray))
    table = fits.BinTableHDU.from_columns(
        [_fits_column(name, each, values[name], n) for name, each in columns.items()], name=extname
    )
    for place, (_, *about) in enumerate(columns.values(), start=1):
        if len(about) > 1:
            table.header.comments[f"TTYPE{place}"] = about[1]
    for keyword, card in (cards or {}).items():
        value, comment = card
        if isinstance(value, str):
            value = _ascii(value, f"the card {keyword}").decode()
        table.header[keyword] = value, comment
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    with written_beside(path) as beside:
        beside.write_bytes(stream.getvalue())


def read_fits(path: Path, extension: int | str = 1) -> tuple[Mapping[str, np.ndarray], str]:
    """The columns of a binary table, and the reader: cfitsio where fitsio is installed.

    Numbers are in native byte order; texts are without trailing blanks.

    Raises
    ------
    HandoffError
        If the file is missing, damaged, or has no such table.
    """
    expected = f"a FITS file with a table in extension {extension}"
    with open_fits(path, HandoffError) as hdus, reading(path, HandoffError, expected):
        try:
            import fitsio

            rows, reader = fitsio.read(str(path), ext=extension), f"fitsio {version('fitsio')}"
        except ImportError:
            rows, reader = hdus[extension].data, f"astropy {version('astropy')}"
        return {name: _native(np.asarray(rows[name])) for name in rows.dtype.names}, reader


def _fits_column(name: str, about: tuple[str, ...], values: Any, n: int) -> fits.Column:
    kind, unit = about[0], about[1] if len(about) > 1 else ""
    rows = np.asarray(values)
    if rows.ndim == 0:
        rows = np.full(n, values, dtype=object if kind[0] == "S" else None)
    if kind[0] == "S":
        rows = np.array([_ascii(each, f"the column {name}") for each in rows.tolist()], dtype="S")
        width = int(kind[1:] or rows.dtype.itemsize)
        if rows.dtype.itemsize > width:
            longest = max(rows.tolist(), key=len).decode()
            raise HandoffError(
                f"'{longest}' in the column {name}: longer than {width} characters. Shorten it."
            )
        form = f"{width}A"
    else:
        rows = rows.astype(kind)
        form = ("" if rows.ndim == 1 else str(rows.shape[1])) + FITS_CODES[kind]
    return fits.Column(name, form, unit or None, array=rows)


def _ascii(text: str | bytes, place: str) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return str(text).encode("ascii")
    except UnicodeEncodeError:
        raise HandoffError(f"'{text}' in {place}: expected ASCII, as FITS takes.") from None


def _native(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "SU":
        return np.char.rstrip(values.astype(str))
    return values.astype(values.dtype.newbyteorder("="))


# --- text ----------------------------------------------------------------------------------------


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 with Unix line ends."""
    with written_beside(path) as beside:
        beside.write_bytes(text.encode("utf-8"))


def write_ecsv(path: Path, table: Table) -> None:
    """Write a table as ECSV (commas between values)."""
    stream = io.StringIO()
    table.write(stream, format="ascii.ecsv", delimiter=",")
    write_text(path, stream.getvalue())


@dataclass(frozen=True)
class LineFormat:
    """A format with one line for each target, which also tells how such lines are read.

    Attributes
    ----------
    line : str
        Line in Python's format language, with the fields `id`, `ra` (hours), `dec`, `ra_deg`,
        `dec_deg`, `epoch`, `priority`, `mag`, `band` (its first letter, upper case), `program`, and
        those that `write` is given. Ids that are numbers are `{id:d}`.
    header : sequence of str
        Lines above.
    separator, plus : str
        Between the parts of sexagesimal positions, and the sign of declinations not below 0.
    """

    line: str
    header: Sequence[str] = ()
    separator: str = ":"
    plus: str = "+"

    def write(
        self,
        targets: ToolTable,
        settings: MagnitudeSettings,
        path: Path,
        header: Sequence[str] | None = None,
        **others: object,
    ) -> list[Path]:
        """Write the targets, under another `header` and with `others` of the line's fields.

        Raises
        ------
        HandoffError
            If a line is not ASCII.
        """
        columns: dict[str, Sequence[Any]] = {
            "id": targets.id.tolist(),
            "ra": hours(targets.ra, separator=self.separator),
            "dec": degrees(targets.dec, separator=self.separator, plus=self.plus),
            "ra_deg": (targets.ra % 360).tolist(),
            "dec_deg": targets.dec.tolist(),
            "epoch": targets.epoch.tolist(),
            "priority": targets.priority.tolist(),
            "program": targets.program.tolist(),
        }
        if "mag" in self._fields:
            band, magnitude = targets.magnitude(settings)
            columns["mag"], others["band"] = magnitude.tolist(), band.name[0].upper()
        lines = [
            self.line.format(**dict(zip(columns, row, strict=True)), **others)
            for row in tracked(
                zip(*columns.values(), strict=True), "writing", len(targets), "targets"
            )
        ]
        lines = [*(self.header if header is None else header), *lines]
        for each in lines:
            if not each.isascii():
                raise HandoffError(
                    f"'{each[:60]}' is not ASCII, which is all that '{targets.tool.name}' takes. "
                    "Rename the class, or change the setting."
                )
        write_text(path, "".join(f"{each}\n" for each in lines))
        return [path]

    def read(self, path: Path) -> ToolTargets:
        """The targets of a file, without headers and without lines that users append.

        Guide stars, sky and other lines that are no targets differ from targets in a letter or in
        the sign of the priority.
        """
        pattern = self._pattern
        found = [pattern.fullmatch(each.strip()) for each in path.read_text("utf-8").splitlines()]
        rows = [each for each in found if each is not None]

        def position(name: str, scale: float) -> np.ndarray:
            if name in self._fields:
                return np.array([scale * from_sexagesimal(each[name]) for each in rows])
            return np.array([float(each[f"{name}_deg"]) for each in rows])

        is_number = self._fields["id"].endswith("d")
        ids = [int(each["id"]) if is_number else each["id"] for each in rows]
        return ToolTargets(
            np.array(ids, dtype=np.int64 if is_number else object),
            position("ra", 15.0),
            position("dec", 1.0),
            np.array([int(each["priority"]) for each in rows]),
            "targetsel, line by line",
        )

    @property
    def _fields(self) -> dict[str, str]:
        """The fields of the line, and how each is formatted."""
        return {name: form or "" for _, name, form, _ in Formatter().parse(self.line) if name}

    @property
    def _pattern(self) -> re.Pattern[str]:
        """The pattern of a target's line, with any number of blanks between its words."""
        angle = rf"[-+]?[\d.]+{self.separator}[\d.]+{self.separator}[\d.]+"
        kinds = {"ra": angle, "dec": angle, "priority": r"[1-9]\d*", "program": ".*"}
        pattern = ""
        for text, name, _, _ in Formatter().parse(self.line):
            pattern += r"\s+".join(re.escape(word) for word in re.split(r"\s+", text))
            if name:
                kind = kinds.get(name, r"\S+")
                pattern += f"(?P<{name}>{kind})"
        return re.compile(pattern)


def hours(ra: np.ndarray, decimals: int = 5, separator: str = ":") -> list[str]:
    """Right ascensions [deg] as ``hh:mm:ss.sssss``; five decimals are 0.00015 arcsec.

    Rounded in whole ticks of the last digit, so that 59.99999 s never becomes 60 s, nor the last
    moment before midnight 24 h.
    """
    day = 24 * 3600 * 10**decimals
    ticks = np.rint(np.asarray(ra) / 360.0 * day).astype(np.int64) % day
    return [_sexagesimal(each, decimals, separator) for each in ticks.tolist()]


def degrees(dec: np.ndarray, decimals: int = 4, separator: str = ":", plus: str = "+") -> list[str]:
    """Declinations [deg] as ``+dd:mm:ss.ssss``; `plus` is the sign of those that are not negative.

    A declination that rounds to 0 keeps its sign.
    """
    ticks = np.rint(np.abs(dec) * 3600 * 10**decimals).astype(np.int64)
    signs = np.where(np.asarray(dec) < 0, "-", plus)
    return [
        sign + _sexagesimal(each, decimals, separator)
        for sign, each in zip(signs.tolist(), ticks.tolist(), strict=True)
    ]


def _sexagesimal(ticks: int, decimals: int, separator: str) -> str:
    seconds, fraction = divmod(ticks, 10**decimals)
    minutes, seconds = divmod(seconds, 60)
    whole, minutes = divmod(minutes, 60)
    return separator.join(
        (f"{whole:02d}", f"{minutes:02d}", f"{seconds:02d}.{fraction:0{decimals}d}")
    )


def from_sexagesimal(text: str) -> float:
    """The number that ``hh:mm:ss.s`` or ``-dd mm ss.s`` stands for, in its first part's unit."""
    sign = -1.0 if text.startswith("-") else 1.0
    whole, minutes, seconds = (float(each) for each in re.split(r"[:\s]+", text.lstrip("+-")))
    return sign * (whole + minutes / 60 + seconds / 3600)
