"""Units that may be written after a number, and the units of what operations give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from astropy import units as u

# What may be written after a number, and the unit that astropy knows it by. A closed list: in
# astropy's own grammar `A` is the ampere and `min` a minute.
UNITS = {
    "mag": "mag",
    "Angstrom": "Angstrom",
    "AA": "Angstrom",
    "nm": "nm",
    "um": "um",
    "deg": "deg",
    "arcmin": "arcmin",
    "arcsec": "arcsec",
    "mas": "mas",
    "mas/yr": "mas / yr",
    "percent": "percent",
    "km/s": "km / s",
    "yr": "yr",
    "Jy": "Jy",
    "mJy": "mJy",
    "uJy": "uJy",
    "nJy": "nJy",
    "nanomaggy": "nmgy",
    "nmgy": "nmgy",
    "erg/s/cm2": "erg / (s cm2)",
    "erg/s/cm2/Angstrom": "erg / (s cm2 Angstrom)",
    "erg/s/cm2/AA": "erg / (s cm2 Angstrom)",
}


@cache
def unit_of(word: str) -> u.UnitBase:
    """The unit that one of the words in `UNITS` stands for."""
    return u.Unit(UNITS[word])


class Operand(Protocol):
    """An argument of an operation: its unit, None for a pure number, and its value if constant."""

    @property
    def unit(self) -> u.UnitBase | None: ...
    @property
    def constant(self) -> int | float | None: ...


@dataclass(frozen=True)
class ResultUnit:
    """The unit of a result, and the factors to apply to the only argument and to the result."""

    unit: u.UnitBase | None
    of_argument: float = 1.0
    of_result: float = 1.0


def is_pure(unit: u.UnitBase) -> bool:
    """Whether a unit is a plain number, such as percent."""
    return bool(unit.is_equivalent(u.dimensionless_unscaled))


def first(operands: Sequence[Operand]) -> ResultUnit:
    """The unit of the first argument: abs(x), -x, x + y."""
    return ResultUnit(operands[0].unit)


def pure(operands: Sequence[Operand]) -> ResultUnit:
    """A pure number, of the argument in its own unit: log10(x)."""
    unit = operands[0].unit
    if unit is None or not is_pure(unit):
        return ResultUnit(None)
    return ResultUnit(None, of_argument=float(unit.to(u.dimensionless_unscaled)))


def root(operands: Sequence[Operand]) -> ResultUnit:
    """The square root of the unit."""
    unit = operands[0].unit
    return ResultUnit(None) if unit is None else _simple(unit**0.5)


def product(operands: Sequence[Operand]) -> ResultUnit:
    """The product of the units: x * y."""
    return _combined(operands, 1)


def quotient(operands: Sequence[Operand]) -> ResultUnit:
    """The quotient of the units: x / y."""
    return _combined(operands, -1)


def power(operands: Sequence[Operand]) -> ResultUnit:
    """The unit to the power of the second argument; ValueError if that is no plain number."""
    base, exponent = operands
    if base.unit is None and exponent.unit is None:
        return ResultUnit(None)
    if exponent.constant is None or exponent.unit is not None:
        raise ValueError("its power must be a plain number")
    return _simple((base.unit or u.dimensionless_unscaled) ** exponent.constant)


def _combined(operands: Sequence[Operand], sign: int) -> ResultUnit:
    left, right = (each.unit for each in operands)
    if left is None and right is None:
        return ResultUnit(None)
    left, right = left or u.dimensionless_unscaled, right or u.dimensionless_unscaled
    return _simple(left * right if sign > 0 else left / right)


def _simple(unit: u.UnitBase) -> ResultUnit:
    """A unit without a pure number in it, and that number: nm / Angstrom is 10."""
    if is_pure(unit):
        return ResultUnit(None, of_result=float(unit.to(u.dimensionless_unscaled)))
    return ResultUnit(unit)
