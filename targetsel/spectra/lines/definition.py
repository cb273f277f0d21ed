"""One definition of a line table: read, checked, and in vacuum."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from targetsel.errors import SpectrumError, did_you_mean
from targetsel.spectra.grid import WavelengthBand, air_to_vacuum
from targetsel.spectra.lines.formula import Formula
from targetsel.spectra.lines.index import Break, Fit, Index, Level, Profile, SideBands, Width

MOST_SHARED = 0.1  # share of a line band that a side band may overlap, as some of Lick's do
OPTICAL = (1000.0, 60_000.0)  # [Angstrom]
SIGMA = (10.0, 2000.0)  # [km/s]
FIELDS = {
    "emission": ("line", "blue", "red"),
    "absorption": ("line", "blue", "red"),
    "magnitude": ("line", "blue", "red"),
    "level": ("line", "blue", "red"),
    "break": ("blue", "red"),
    "fit": ("line", "profile", "beside", "sigma"),
    "formula": ("formula", "unit", "emission"),
}
UNITS = {"emission": "Angstrom", "absorption": "Angstrom", "magnitude": "mag", "fit": "Angstrom"}


@dataclass(frozen=True)
class Definition:
    """An index of a line table.

    Attributes
    ----------
    name, kind, unit, source, about : str
    index : Index or Formula
    is_emission : bool
        Whether it is a width that counts positive in emission.
    """

    name: str
    kind: str
    unit: str
    source: str
    about: str
    index: Index | Formula
    is_emission: bool


def define(fields: object, known: Mapping[str, Definition], place: str) -> Definition:
    """The definition in one item of a table; formulas may use what is `known`.

    Raises
    ------
    SpectrumError
        `place` and what is wrong there.
    """
    if not isinstance(fields, dict):
        raise SpectrumError(f"{place}: expected a definition such as {{name: ew_oi, kind: ...}}")
    kind = _text(fields, "kind", place)
    if kind not in FIELDS:
        hint = did_you_mean(kind, FIELDS)
        raise SpectrumError(f"{place}: unknown kind '{kind}'.{hint} Expected {_listed(FIELDS)}.")
    own = FIELDS[kind] if kind == "formula" else ("medium", *FIELDS[kind])
    expected = ("name", "kind", "source", "about", *own)
    if unknown := [str(key) for key in fields if key not in expected]:
        hint = did_you_mean(unknown[0], expected)
        raise SpectrumError(
            f"{place}: unknown key '{unknown[0]}'.{hint} Of kind '{kind}' are {_listed(own)}."
        )
    name = _text(fields, "name", place)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise SpectrumError(f"{place}: name '{name}', expected small letters, digits and _")
    unit = _text(fields, "unit", place, "") if kind == "formula" else UNITS.get(kind, "")
    emission = fields.get("emission", kind in ("emission", "fit"))
    if not isinstance(emission, bool):
        raise SpectrumError(f"{place}: emission is '{emission}', expected true or false")
    return Definition(
        name,
        kind,
        unit,
        _text(fields, "source", place, ""),
        _text(fields, "about", place, ""),
        _index(kind, fields, known, place),
        emission,
    )


def _index(
    kind: str, fields: Mapping[str, Any], known: Mapping[str, Definition], place: str
) -> Index | Formula:
    if kind == "formula":
        return Formula.parse(_text(fields, "formula", place), known, place)
    medium = _text(fields, "medium", place)
    if medium not in ("air", "vacuum"):
        raise SpectrumError(f"{place}: medium is '{medium}', expected air or vacuum")
    in_vacuum = air_to_vacuum if medium == "air" else float
    bands = {
        key: _band(fields, key, in_vacuum, place)
        for key in FIELDS[kind]
        if key in ("line", "blue", "red")
    }
    if kind == "break":
        if bands["blue"].end > bands["red"].start:
            raise SpectrumError(f"{place}: blue reaches into red; expected it to end before")
        return Break(**bands)
    if kind == "fit":
        return _fit(fields, bands["line"], in_vacuum, place)
    _check_sides(bands["line"], bands["blue"], bands["red"], place)
    sides = SideBands(bands["blue"], bands["red"])
    return Level(bands["line"], sides) if kind == "level" else Width(bands["line"], sides, kind)


def _check_sides(
    line: WavelengthBand, blue: WavelengthBand, red: WavelengthBand, place: str
) -> None:
    if not blue.centre < line.centre < red.centre:
        raise SpectrumError(
            f"{place}: expected blue, line and red in this order, but their centres are at "
            f"{blue.centre:.1f}, {line.centre:.1f} and {red.centre:.1f} Angstrom"
        )
    for name, side in (("blue", blue), ("red", red)):
        if side.shared(line) > MOST_SHARED * line.width:
            raise SpectrumError(
                f"{place}: {name} overlaps line by {side.shared(line):.1f} Angstrom, expected at "
                f"most {MOST_SHARED:.0%} of the line's {line.width:.1f}"
            )
    if blue.shared(red) > 0:
        raise SpectrumError(f"{place}: blue and red overlap by {blue.shared(red):.1f} Angstrom")


def _fit(
    fields: Mapping[str, Any], band: WavelengthBand, in_vacuum: Callable[[float], float], place: str
) -> Fit:
    given = fields.get("sigma", [])
    sigma = tuple(_number(each, "sigma", place) for each in given) if _is_list(given) else ()
    if (
        not sigma
        or len(set(sigma)) < len(sigma)
        or not SIGMA[0] <= min(sigma) <= max(sigma) <= SIGMA[1]
    ):
        raise SpectrumError(
            f"{place}: sigma is '{given}', expected a list of different numbers between "
            f"{SIGMA[0]:g} and {SIGMA[1]:g} km/s"
        )
    beside = fields.get("beside", [])
    if not isinstance(beside, list):
        raise SpectrumError(f"{place}: beside is '{beside}', expected a list of profiles")
    profiles = [
        _profile(each, key, band, in_vacuum, place)
        for key, each in [("profile", fields.get("profile")), *(("beside", b) for b in beside)]
    ]
    return Fit(band, profiles[0], tuple(profiles[1:]), sigma)


def _profile(
    value: Any, key: str, band: WavelengthBand, in_vacuum: Callable[[float], float], place: str
) -> Profile:
    """Wavelengths and strengths; the first's is 1."""
    if not (_is_list(value) and all(map(_is_list, value))):
        raise SpectrumError(f"{place}: {key} is '{value}', expected [[wavelength, strength], ...]")
    lines = []
    for each in value:
        if len(each) != 2:
            raise SpectrumError(f"{place}: {key} has '{each}', expected [wavelength, strength]")
        wavelength, strength = in_vacuum(_number(each[0], key, place)), _number(each[1], key, place)
        if not band.start < wavelength < band.end:
            raise SpectrumError(f"{place}: {key} has a line at {wavelength:.1f}, outside line")
        if strength <= 0:
            raise SpectrumError(f"{place}: {key} has a line of strength {strength:g}, expected > 0")
        lines.append((wavelength, strength))
    return tuple((wavelength, strength / lines[0][1]) for wavelength, strength in lines)


def _band(
    fields: Mapping[str, Any], key: str, in_vacuum: Callable[[float], float], place: str
) -> WavelengthBand:
    value = fields.get(key)
    if not isinstance(value, list) or len(value) != 2:
        raise SpectrumError(f"{place}: {key} is '{value}', expected [start, end] in Angstrom")
    start, end = (_number(each, key, place) for each in value)
    if not OPTICAL[0] <= start < end <= OPTICAL[1]:
        raise SpectrumError(
            f"{place}: {key} runs from {start:g} to {end:g}, expected two increasing wavelengths "
            f"between {OPTICAL[0]:g} and {OPTICAL[1]:g} Angstrom"
        )
    return WavelengthBand(in_vacuum(start), in_vacuum(end))


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _number(value: Any, key: str, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise SpectrumError(f"{place}: {key} has '{value}', expected a number")
    return float(value)


def _text(fields: Mapping[Any, Any], key: str, place: str, default: str | None = None) -> str:
    value = fields.get(key, default)
    if not isinstance(value, str) or (not value and default is None):
        raise SpectrumError(f"{place}: {key} is '{value}', expected text")
    return value


def _listed(words: Any) -> str:
    return ", ".join(words)
