"""Factors between units as fractions, so that round numbers stay round."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.units import UnitBase

MOST_DIGITS = 9  # of factors that are as short as units are defined: 3600, 3.631e-6
EXACT = 2**53  # whole numbers up to here are floats


def exact_factor(there: UnitBase, here: UnitBase) -> Fraction:
    """The factor from numbers in one unit to numbers in the other.

    astropy multiplies floats, and has 1000.0000000000001 nJy in 1 uJy. The factor is the short
    decimal that such a float, or its inverse, stands for: 1000, 1/3600, 3631/1000. Where neither
    is short, as between degrees and radians, it is the float itself.
    """
    factor, inverse = float(there.to(here)), float(here.to(there))
    for number, power in ((factor, 1), (inverse, -1)):
        short = Decimal(f"{number:.13e}").normalize()
        if len(short.as_tuple().digits) <= MOST_DIGITS:
            return Fraction(short) ** power
    return Fraction(factor)


def times(value: float, factor: Fraction) -> float:
    """A number times a factor, rounded once."""
    return float(Fraction(value) * factor) if math.isfinite(value) else value * float(factor)


def steps(factor: Fraction) -> list[tuple[str, float]]:
    """The operations "*" and "/" with whole numbers, or the one "*", that multiply by a factor.

    A product of whole numbers is exact, and so the quotient is rounded once.
    """
    above, below = factor.as_integer_ratio()
    if max(abs(above), below) > EXACT:
        return [("*", float(factor))]
    return [(sign, float(n)) for sign, n in (("*", above), ("/", below)) if n != 1]
