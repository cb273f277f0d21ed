"""Reference of rule expressions: functions, operators and units, each with an example."""

from __future__ import annotations

from dataclasses import dataclass

from targetsel.expressions.functions import ARITHMETIC, OPERATORS, Function
from targetsel.expressions.units import UNITS
from targetsel.rules.functions import FUNCTIONS


@dataclass(frozen=True)
class Entry:
    """One way to write something.

    Attributes
    ----------
    written : str
        How it is written, with words for its parts.
    gives : str
        The unit or kind of the result; empty for conditions.
    help : str
    example : str
        A whole condition.
    """

    written: str
    gives: str
    help: str
    example: str


_CONDITIONS = (
    Entry("x < y", "", "or <=, >, >=, ==, !=, or a chain", "17 mag < rmag < 20 mag"),
    Entry("x between y and z", "", "y <= x <= z", "P(d4000 between 1.2 and 1.6) >= 0.5"),
    Entry("text == 'word'", "", "or !=, letter by letter", "type != 'PSF'"),
    Entry("x in [y, z, ...]", "", "one of these numbers or texts", "type in ['EXP', 'DEV']"),
    Entry("flag", "", "a column of true and false; or flag == false", "support"),
    Entry("x is missing", "", "or is not missing", "bpt_agn is not missing"),
    Entry("a and b", "", "both", "support and typicality > 0.01"),
    Entry("a or b", "", "one of them or both", "gmag < 20 mag or rmag < 19 mag"),
    Entry("not a", "", "the contrary; what is missing stays missing", "not support"),
)


def sections() -> dict[str, list[Entry]]:
    """Everything that can be written, by sections."""
    own = [each for name, each in FUNCTIONS.items() if name not in ARITHMETIC]
    return {
        "Of posteriors, catalogs and the sky": [_entry(each) for each in own],
        "Arithmetic": [_entry(each) for each in (*OPERATORS.values(), *ARITHMETIC.values())],
        "Conditions": list(_CONDITIONS),
    }


def units_of_numbers() -> tuple[str, ...]:
    """The units that may stand behind a number."""
    return tuple(UNITS)


def _entry(function: Function) -> Entry:
    gives = "" if function.gives == "a condition" else function.gives
    return Entry(function.signature, gives, function.help, function.example)
