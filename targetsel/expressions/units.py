"""Units of columns and numbers in expressions, and the units of what operations give.

A unit is its name, and units of one name are the same. astropy, which takes longer to import than
all else that checking a rule file needs, is asked only where names differ or a new unit arises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from operator import mul, truediv
from typing import TYPE_CHECKING, Protocol

from targetsel.documents.units import exact_factor

if TYPE_CHECKING:
    from astropy.units import UnitBase

# What may be written after a number, and the name that astropy gives that unit. A closed list: in
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
    "percent": "%",
    "km/s": "km / s",
    "s": "s",
    "min": "min",
    "h": "h",
    "yr": "yr",
    "Jy": "Jy",
    "mJy": "mJy",
    "uJy": "uJy",
    "nJy": "nJy",
    "nanomaggy": "nmgy",
    "nmgy": "nmgy",
    "erg/s/cm2": "erg / (s cm2)",
    "erg/s/cm2/Angstrom": "erg / (Angstrom s cm2)",
    "erg/s/cm2/AA": "erg / (Angstrom s cm2)",
}
_NAMES = frozenset(UNITS.values())
# Signs in place of letters: the ring as one letter, as the sign for the unit, and as a letter with
# a ring put above it, which look alike; and the two signs for a millionth.
_RINGS = ("\u00c5", "\u212b", "A\u030a")
_MICROS = ("\u00b5", "\u03bc")
# Every way to write a unit, and its name in `UNITS`.
SPELLINGS = {
    **{name: name for name in UNITS},
    **{
        name.replace("Angstrom", ring): name
        for name in UNITS
        for ring in _RINGS
        if "Angstrom" in name
    },
    **{micro + name[1:]: name for name in UNITS for micro in _MICROS if name in ("um", "uJy")},
}


@dataclass(frozen=True)
class Unit:
    """A unit of measure, by the name that astropy gives it."""

    name: str
    _known: UnitBase | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name

    @cached_property
    def astropy(self) -> UnitBase:
        """The unit as astropy has it; names that astropy does not know are units of their own."""
        if self._known is not None:
            return self._known
        from astropy import units as u

        return u.Unit(self.name, parse_strict="silent")

    @property
    def is_pure(self) -> bool:
        """Whether the unit is a plain number, such as percent."""
        return self.name == "%" if self.name in _NAMES else self.agrees_with(PURE)

    def agrees_with(self, other: Unit) -> bool:
        """Whether numbers in this unit can be converted to the other."""
        return self == other or bool(self.astropy.is_equivalent(other.astropy))

    def factor_to(self, other: Unit) -> Fraction:
        """The factor from numbers in this unit to numbers in the other."""
        return Fraction(1) if self == other else exact_factor(self.astropy, other.astropy)


# Unit of a column when there is no catalog yet: it agrees with every other unit.
ANY_UNIT = Unit("any")
PURE = Unit("")
MAG = Unit("mag")
DEG = Unit("deg")


def declared(text: str) -> Unit | None:
    """The unit that a column declares; None for a pure number.

    Magnitudes of every system are plain magnitudes.
    """
    if not text or text in _NAMES:
        return Unit(text) if text else None
    from astropy import units as u

    unit = u.Unit(text, parse_strict="silent")
    if isinstance(unit, u.MagUnit):
        return MAG
    return None if unit == u.dimensionless_unscaled else Unit(str(unit), unit)


class Operand(Protocol):
    """An argument of an operation: its unit, None for a pure number, and its value if constant."""

    @property
    def unit(self) -> Unit | None: ...
    @property
    def constant(self) -> int | float | None: ...


@dataclass(frozen=True)
class ResultUnit:
    """The unit of a result, and the factors to apply to the only argument and to the result."""

    unit: Unit | None
    of_argument: Fraction = Fraction(1)
    of_result: Fraction = Fraction(1)


def same(operands: Sequence[Operand]) -> ResultUnit:
    """The unit of the argument: abs(x), -x."""
    return ResultUnit(operands[0].unit)


def common(operands: Sequence[Operand]) -> ResultUnit:
    """The unit that all arguments are brought to: x + y, min(x, y)."""
    return ResultUnit(operands[0].unit)


def pure(operands: Sequence[Operand]) -> ResultUnit:
    """A pure number, of the argument in its own unit: log10(x)."""
    unit = operands[0].unit
    if unit is None or not unit.is_pure:
        return ResultUnit(None)
    return ResultUnit(None, of_argument=unit.factor_to(PURE))


def root(operands: Sequence[Operand]) -> ResultUnit:
    """The square root of the unit."""
    unit = operands[0].unit
    return ResultUnit(None) if unit is None else _of_astropy(pow, unit.astropy, 0.5)


def product(operands: Sequence[Operand]) -> ResultUnit:
    """The product of the units: x * y."""
    left, right = (each.unit for each in operands)
    if left is None or right is None:
        return _simple(left or right)
    return _of_astropy(mul, left.astropy, right.astropy)


def quotient(operands: Sequence[Operand]) -> ResultUnit:
    """The quotient of the units: x / y."""
    left, right = (each.unit for each in operands)
    if right is None:
        return _simple(left)
    if left == right:
        return ResultUnit(None)
    return _of_astropy(truediv, (left or PURE).astropy, right.astropy)


def power(operands: Sequence[Operand]) -> ResultUnit:
    """The unit to the power of the second argument; ValueError if that is no plain number."""
    base, exponent = operands
    if exponent.unit is not None or (base.unit is not None and exponent.constant is None):
        raise ValueError("its power must be a plain number")
    if base.unit is None:
        return ResultUnit(None)
    return _of_astropy(pow, base.unit.astropy, exponent.constant)


def _of_astropy(operation: Callable[..., UnitBase], *operands: object) -> ResultUnit:
    """The result of an operation on units of astropy; OverflowError where there is none."""
    from astropy.units import UnitsError

    try:
        unit = operation(*operands)
    except UnitsError as error:
        raise OverflowError(str(error)) from None
    return _simple(Unit(str(unit), unit))


def _simple(unit: Unit | None) -> ResultUnit:
    """A unit without a pure number in it, and that number: nm / Angstrom is 10."""
    if unit is None or not unit.is_pure:
        return ResultUnit(unit)
    return ResultUnit(None, of_result=unit.factor_to(PURE))
