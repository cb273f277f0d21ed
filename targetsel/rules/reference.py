"""What can be written in a rule file's expressions, each with an example."""

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
        The unit or kind of the result.
    help : str
    example : str
        A whole condition.
    """

    written: str
    gives: str
    help: str
    example: str


_CONDITIONS = (
    Entry(
        "x < y", "a condition", "also <=, >, >=, == and !=, and chains", "17 mag < rmag < 20 mag"
    ),
    Entry(
        "x between y and z",
        "a condition",
        "y <= x <= z",
        "P(d4000 between 1.2 and 1.6) >= 0.5",
    ),
    Entry("x in [y, z, ...]", "a condition", "one of these", "type in ['EXP', 'DEV']"),
    Entry("x is missing", "a condition", "also: is not missing", "bpt_agn is not missing"),
    Entry("flag", "a condition", "a column of true and false; or flag == false", "support"),
    Entry("a and b", "a condition", "both", "support and typicality > 0.01"),
    Entry("a or b", "a condition", "one of them or both", "gmag < 20 mag or rmag < 19 mag"),
    Entry("not a", "a condition", "the contrary; missing stays missing", "not support"),
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
    return Entry(function.signature, function.gives, function.help, function.example)
