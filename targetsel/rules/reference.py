"""Reference of rule expressions: functions, operators and units, each with an example."""

from __future__ import annotations

from dataclasses import dataclass

from targetsel.expressions.functions import ARITHMETIC, OPERATORS, Function
from targetsel.expressions.units import UNITS
from targetsel.rules.functions import FUNCTIONS


@dataclass(frozen=True)
class Syntax:
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
    words : tuple of str
        Names and signs that it is looked up by, the first before all.
    """

    written: str
    gives: str
    help: str
    example: str
    words: tuple[str, ...]


_CONDITIONS = (
    Syntax(
        "x < y", "", "a comparison; also with <=, >, >=, ==, !=, or as a chain",
        "17 mag < rmag < 20 mag", ("<", "<=", ">", ">=", "==", "!=", "comparison"),
    ),
    Syntax(
        "x between y and z", "", "whether y <= x <= z", "P(d4000 between 1.2 and 1.6) >= 0.5",
        ("between",),
    ),
    Syntax(
        "text == 'word'", "", "whether texts are the same, letter by letter; also !=",
        "type != 'PSF'", ("text", "==", "!="),
    ),
    Syntax(
        "x in [y, z, ...]", "", "whether x is one of these numbers or texts",
        "type in ['EXP', 'DEV']", ("in",),
    ),
    Syntax(
        "flag", "", "a column of true and false; or flag == false", "support",
        ("flag", "true", "false"),
    ),
    Syntax(
        "x is missing", "", "whether there is no value; also is not missing",
        "bpt_agn is not missing", ("is missing", "is not missing", "missing"),
    ),
    Syntax("a and b", "", "whether both are true", "support and typicality > 0.01", ("and", "&")),
    Syntax(
        "a or b", "", "whether one of them is true, or both", "gmag < 20 mag or rmag < 19 mag",
        ("or", "|"),
    ),
    Syntax(
        "not a", "", "the contrary; what is missing stays missing", "not support", ("not", "~")
    ),
)  # fmt: skip


def sections() -> dict[str, list[Syntax]]:
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


def _entry(function: Function) -> Syntax:
    gives = "" if function.gives == "a condition" else function.gives
    words = ("-x", "negative") if function.name == "negative" else (function.name,)
    return Syntax(function.signature, gives, function.help, function.example, words)
