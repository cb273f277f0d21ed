"""Lists of targets as lines of text: sexagesimal positions and one magnitude for each target.

Positions are rounded in whole ticks of the last digit, so that 59.99999 s never becomes 60 s, nor
the last moment before midnight 24 h.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from targetsel.errors import HandoffError, did_you_mean
from targetsel.handoff.files import write_text
from targetsel.handoff.settings import EpochSettings, Text, ToolSettings
from targetsel.handoff.tool import ToolTable, ToolTargets
from targetsel.photometry.bands import Band
from targetsel.photometry.columns import Kind

BANDS = ("r", "i", "z", "g", "y", "u", "j", "h", "k")
UNKNOWN = 99.0


class FilterSettings(ToolSettings):
    """Settings of a tool that takes one magnitude of each target."""

    filter: Text | None = None
    """filter of the magnitude, such as r_sdss; by default the first the list has of r i z g y u"""


class MagnitudeSettings(EpochSettings, FilterSettings):
    """Settings of a tool that takes one magnitude, and positions at the epoch of observation."""


def write_lines(
    targets: ToolTable,
    settings: MagnitudeSettings,
    path: Path,
    line: str,
    header: Sequence[str] = (),
    bands: tuple[str, ...] = BANDS,
    separator: str = ":",
    plus: str = "+",
) -> list[Path]:
    """Write one line for each target.

    Parameters
    ----------
    line : str
        Format with the fields `id`, `ra` (hours), `dec`, `ra_deg`, `dec_deg`, `epoch`, `priority`,
        `mag`, `band` (its first letter, upper case) and `program`.
    header : sequence of str
        Lines above.
    bands : tuple of str
        See `one_magnitude`.
    separator, plus : str
        Between parts of sexagesimal positions, and the sign of declinations not below 0.
    """
    band, magnitude = one_magnitude(targets, settings, bands)
    fields = {
        "id": targets.id,
        "ra_deg": targets.ra % 360,
        "dec_deg": targets.dec,
        "epoch": targets.epoch,
        "priority": targets.priority,
        "mag": magnitude,
        "program": targets.program,
    }
    columns = {name: values.tolist() for name, values in fields.items()}
    columns["ra"] = hours(targets.ra, separator=separator)
    columns["dec"] = degrees(targets.dec, separator=separator, plus=plus)
    rows = (dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True))
    lines = [line.format(**row, band=band.name[0].upper()) for row in rows]
    write_text(path, "".join(f"{each}\n" for each in (*header, *lines)))
    return [path]


def read_lines(
    rows: Iterable[Sequence[str]],
    id: int,
    ra: int | slice,
    dec: int | slice,
    priority: int,
    is_number: bool = False,
    angle: Callable[[str], float] | None = None,
) -> ToolTargets:
    """Targets of lines that are split into words.

    Parameters
    ----------
    rows : iterable of sequences of str
    id, ra, dec, priority : int or slice
        Places of the words.
    is_number : bool
        Whether ids are whole numbers.
    angle : callable, optional
        Reads both coordinates in degrees; by default they are sexagesimal, `ra` in hours.
    """
    rows = list(rows)

    def degrees_at(place: int | slice, scale: float) -> np.ndarray:
        texts = [row[place] for row in rows]
        joined = [each if isinstance(each, str) else " ".join(each) for each in texts]
        if angle is not None:
            return np.array([angle(each) for each in joined])
        return np.array([scale * from_sexagesimal(each) for each in joined])

    ids = [row[id] for row in rows]
    return ToolTargets(
        np.array([int(each) for each in ids]) if is_number else np.array(ids, dtype=object),
        degrees_at(ra, 15.0),
        degrees_at(dec, 1.0),
        np.array([int(float(row[priority])) for row in rows]),
        "targetsel, line by line",
    )


def one_magnitude(
    targets: ToolTable, settings: FilterSettings, bands: tuple[str, ...] = BANDS
) -> tuple[Band, np.ndarray]:
    """A band and the AB magnitudes in it, shape (M,), `UNKNOWN` where there is no flux.

    The band is that of the setting ``filter``, or else the first of `bands` that the list has in
    any photometric system.

    Raises
    ------
    HandoffError
        If the list has no such flux, or no target has.
    """
    present, tool = targets.photometry.bands(), targets.tool.name
    if settings.filter is not None:
        chosen = _named(settings, settings.filter, present)
    else:
        known = [each for band in bands for each in present if each.name == band]
        if not known:
            has = ", ".join(f"flux_{each}" for each in present) or "none"
            raise HandoffError(
                f"the list has no flux in any filter that '{tool}' knows: it has {has}, expected "
                f"flux_<band>_<system> [nJy] for a band of {' '.join(bands)}."
            )
        chosen = known[0]
    magnitude = targets.photometry.magnitude(chosen)
    if np.isnan(magnitude).all():
        raise HandoffError(
            f"no target has a flux above zero in {chosen}, which '{tool}' would be given "
            "magnitudes of. Choose another one with the setting `filter`."
        )
    return chosen, np.where(np.isnan(magnitude), UNKNOWN, magnitude)


def known_bands(targets: ToolTable, wanted: Iterable[Band], kind: Kind = "flux") -> list[Band]:
    """Wanted bands in which the list has fluxes, in the order wanted.

    Raises
    ------
    HandoffError
        If there is none.
    """
    wanted, present = list(wanted), targets.photometry.bands(kind)
    found = [each for each in wanted if each in present]
    if not found:
        has = ", ".join(f"{kind}_{each}" for each in present) or "none"
        raise HandoffError(
            f"the list has no flux in any filter that '{targets.tool.name}' knows: it has {has}, "
            f"expected one of {', '.join(f'{kind}_{each}' for each in wanted)} [nJy]."
        )
    return found


def _named(settings: FilterSettings, name: str, present: list[Band]) -> Band:
    by_name = {str(each): each for each in present}
    if name.lower() not in by_name:
        hint = did_you_mean(name, by_name) or f" It has {', '.join(by_name) or 'none'}."
        raise settings.error(
            "filter", f"'filter' is '{name}', and the list has no flux_{name.lower()}.{hint}"
        )
    return by_name[name.lower()]


def hours(ra: np.ndarray, decimals: int = 5, separator: str = ":") -> list[str]:
    """Right ascensions [deg] as ``hh:mm:ss.sssss``; five decimals are 0.00015 arcsec."""
    day = 24 * 3600 * 10**decimals
    ticks = np.rint(np.asarray(ra) / 360.0 * day).astype(np.int64) % day
    return [_joined(each, decimals, separator) for each in ticks.tolist()]


def degrees(dec: np.ndarray, decimals: int = 4, separator: str = ":", plus: str = "+") -> list[str]:
    """Declinations [deg] as ``+dd:mm:ss.ssss``; `plus` is the sign of those that are not negative.

    A declination that rounds to 0 keeps its sign.
    """
    dec = np.asarray(dec)
    ticks = np.rint(np.abs(dec) * 3600 * 10**decimals).astype(np.int64)
    signs = np.where(dec < 0, "-", plus)
    return [
        sign + _joined(each, decimals, separator)
        for sign, each in zip(signs.tolist(), ticks.tolist(), strict=True)
    ]


def from_sexagesimal(text: str) -> float:
    """The number that ``hh:mm:ss.s`` or ``-dd mm ss.s`` stands for, in its first part's unit."""
    sign = -1.0 if text.lstrip().startswith("-") else 1.0
    whole, minutes, seconds = (float(each) for each in re.split(r"[:\s]+", text.strip(" +-")))
    return sign * (whole + minutes / 60 + seconds / 3600)


def _joined(ticks: int, decimals: int, separator: str) -> str:
    seconds, fraction = divmod(ticks, 10**decimals)
    minutes, seconds = divmod(seconds, 60)
    whole, minutes = divmod(minutes, 60)
    parts = (f"{whole:02d}", f"{minutes:02d}", f"{seconds:02d}.{fraction:0{decimals}d}")
    return separator.join(parts)
