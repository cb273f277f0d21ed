"""Functions of rules that ask whether a source is up at a site on a night."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa

from targetsel.documents.units import times
from targetsel.errors import VisibilityError
from targetsel.expressions.grammar import Branch, Node, TextNode, in_brief
from targetsel.expressions.units import DEG, PURE, Unit
from targetsel.nights.ephemeris import mjd_of
from targetsel.nights.night import altitude_of, dates_of
from targetsel.nights.sites import Site
from targetsel.nights.visibility import COLUMNS, Visibility, check_airmass, check_horizon
from targetsel.rules import formula as f
from targetsel.rules.calls import CallContext, RuleFunction
from targetsel.rules.formula import TypedExpression
from targetsel.tables.columns import floats

BEST_TIME, MOON_UP = "best_time", "moon_up"
_UNIX_ZERO = mjd_of(datetime.date(1970, 1, 1))
_RANGES = {BEST_TIME: (-12.0, 12.0), MOON_UP: (0.0, 1.0)}
_NAMED = {"airmass": False, "horizon": False, "twilight": True}
T = TypeVar("T")


@dataclass(frozen=True)
class NightValue:
    """One of the columns of `Visibility`, as a number that rules calculate.

    Attributes
    ----------
    asked : Visibility
    name : str
        Of the column.
    written : str
        The call, as it is written in the rules.
    """

    asked: Visibility
    name: str
    written: str = field(compare=False)

    @property
    def range(self) -> tuple[float, float]:
        return _RANGES.get(self.name) or next(
            each.range for each in COLUMNS if each.name == self.name
        )

    @property
    def is_flag(self) -> bool:
        return self.name == MOON_UP

    @property
    def cautions(self) -> tuple[str, ...]:
        return tuple(self.asked.cautions())

    def values(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        found = self.asked.columns(ra, dec).column(self.name).combine_chunks()
        return self._from_midnight(found) if self.name == BEST_TIME else floats(found)

    def _from_midnight(self, times: pa.Array) -> np.ndarray:
        """Hours between times, shape (N,), and the mean local midnight of the night each is in."""
        midnight = self.asked.nights[0].noon + 0.5 - _UNIX_ZERO
        hours = floats(times.cast(pa.int64())) / 3_600_000 - midnight * 24
        return (hours + 12) % 24 - 12


def _of_night(binder: CallContext, node: Branch) -> TypedExpression:
    site, night, *named = node.parts
    for part, what in ((site, "a site"), (night, "a night")):
        if not isinstance(part, TextNode):
            raise part.place.error(
                f"{node.word}() begins with a site and a night, and {what} is missing, e.g. "
                f"{OF_NIGHTS[0].example}"
            )
    assert isinstance(site, TextNode)
    assert isinstance(night, TextNode)
    place = _placed(site, Site.find, site.value)
    _placed(night, dates_of, night.value)
    limits = _limits(binder, node, named)
    asked = _placed(night, partial(Visibility.of, place, night.value), **limits)
    position = tuple(binder.columns.role(name, node.place) for name in ("ra", "dec"))
    number = f.Calculated(NightValue(asked, node.word, str(node)), position)
    if node.word == MOON_UP:
        return TypedExpression(f.Compare("!=", number, f.ZERO), "condition")
    return TypedExpression(number, unit=_UNITS[node.word])


def _limits(binder: CallContext, node: Branch, named: list[Node]) -> dict[str, float | str]:
    """The arguments that are given by name."""
    found: dict[str, float | str] = {}
    for part in named:
        assert isinstance(part, Branch)
        name, value = part.word.removesuffix("="), part.parts[0]
        if name in found:
            raise part.place.error(f"{name} is given twice; leave one out")
        if isinstance(value, TextNode):
            _placed(value, altitude_of, value.value)
            found[name] = value.value
        else:
            unit = DEG if name == "horizon" else PURE
            number = _constant(binder, value, f"{name} of {node.word}()", unit)
            _placed(value, check_horizon if name == "horizon" else check_airmass, number)
            found[name] = number
    return found


def _constant(binder: CallContext, node: Node, what: str, unit: Unit) -> float:
    """A number that does not depend on the source, in a unit, which it may leave out."""
    number = binder.read_number(node)
    if number.constant is None:
        raise node.place.error(f"{what} must be one number for all sources, not {in_brief(node)}")
    if number.unit is None:
        return number.constant
    if not number.unit.agrees_with(unit):
        expected = f"expected {unit}" if unit.name else "write it without a unit"
        raise node.place.error(f"{what} is in {number.unit}; {expected}")
    return times(number.constant, number.unit.factor_to(unit))


def _placed(node: Node, find: Callable[..., T], *given: object, **named: object) -> T:
    """The result of `find`; its errors point to where the node stands."""
    try:
        return find(*given, **named)
    except VisibilityError as error:
        raise node.place.error(str(error)) from None


_ABOUT = (
    (
        "airmass_min", "", "least airmass in the dark of a night",
        "airmass_min(KPNO, '2027-03-14') < 1.4",
    ),
    (
        "hours_up", "in h", "hours in the dark of a night with the airmass below a limit",
        "hours_up(KPNO, '2027-03-14', airmass=1.5) > 2 h",
    ),
    (
        "moon_sep", "in deg", "angle to the Moon when the airmass is least in the dark of a night",
        "moon_sep(KPNO, '2027-03-14') > 30 deg",
    ),
    (
        BEST_TIME, "in h from mean local midnight, before it negative",
        "time at which the airmass is least in the dark of a night",
        "best_time(KPNO, '2027-03-14') < 0 h",
    ),
    (
        MOON_UP, "a condition", "whether the Moon is up when the airmass is least in the dark",
        "not moon_up(KPNO, '2027-03-14')",
    ),
)  # fmt: skip
_UNITS = {"airmass_min": None, "hours_up": Unit("h"), "moon_sep": DEG, BEST_TIME: Unit("h")}
OF_NIGHTS = tuple(
    RuleFunction(
        *(name, help_, (2, 2 + len(_NAMED)), _of_night),
        signature=f"{name}(site, night, airmass=, horizon=, twilight=)",
        gives=gives or "a pure number",
        example=example,
        words=2,
        named=_NAMED,
    )
    for name, gives, help_, example in _ABOUT
)
