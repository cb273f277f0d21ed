"""The rule language: functions, operators, conditions, keys of rule files, order of steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from targetsel.documents.models import DocumentModel
from targetsel.expressions import grammar
from targetsel.manual.entries import (
    Entry,
    block,
    code,
    first_sentence,
    grouped,
    page,
    plain,
    sentence,
)
from targetsel.manual.keys import keys_of
from targetsel.rules import plan
from targetsel.rules.reference import sections, units_of_numbers
from targetsel.rules.rule_file import (
    ABOUT_EXPRESSIONS,
    Deduplication,
    Exclusion,
    Guaranteed,
    Limit,
    RuleFile,
    TargetClass,
)
from targetsel.sky.footprint import BoxShape, ConeShape, Footprint, HealpixShape, Shape

# The maps of a rule file: the keys that lead to each, and its model.
MAPS: dict[str, type[DocumentModel]] = {
    "": RuleFile,
    "classes.NAME": TargetClass,
    "limit": Limit,
    "guarantee": Guaranteed,
    "dedup": Deduplication,
    "exclude": Exclusion,
    "footprint": Footprint,
    "footprint.include": Shape,
    "cone": ConeShape,
    "box": BoxShape,
    "healpix": HealpixShape,
}
WORDS = {model.__name__: f"a map with the keys of {code(at)}" for at, model in MAPS.items() if at}
WORDS |= {"Expression": "an expression", "Exclusion": "a file, or a map with the keys of `exclude`"}
WORDS |= {"Shape": "a file, or a map of one shape: cone, box, polygon or healpix"}
ABOUT = (
    "A rule file is YAML. It names target classes; each class has conditions in the language "
    "below. `targetsel rules init` writes a file to begin with, and `targetsel rules lint` checks "
    "one. The JSON schema that `targetsel rules schema` prints holds the same keys for editors."
)


def functions() -> Iterator[Entry]:
    """Functions, operators and conditions, each with an example that a test parses."""
    for title, written in sections().items():
        for each in written:
            gives = f"Gives: {each.gives}." if each.gives else "Gives: a condition."
            parts = [sentence(each.help), gives, block([f"where: {each.example}"], "yaml")]
            yield Entry(
                "function", each.words[0], each.help, "\n\n".join(parts),
                (each.written, *each.words[1:]), title, code(each.written),
            )  # fmt: skip


def rule_keys() -> Iterator[Entry]:
    """The keys of a rule file and of its maps."""
    for at, model in MAPS.items():
        group = f"Keys of {code(at)}" if at else "Keys of the file"
        for each in keys_of(model, WORDS):
            name = f"{at}.{each.name}" if at else each.name
            summary = sentence(each.meaning or first_sentence(model.__doc__))
            yield Entry("rule key", name, summary, each.text, (each.name,), group)


def topics() -> Iterator[Entry]:
    """Entries on rules as a whole."""
    yield _topic("expressions", "How conditions are written", sentence(ABOUT_EXPRESSIONS))
    told = "\n\n".join(plain(grammar.__doc__).split("\n\n")[2:])  # without what is for programmers
    yield _topic("grammar", "The grammar of expressions", told)
    yield _topic("order of steps", "The order of steps", plain(plan.__doc__), "steps", "plan")
    yield _topic("missing values", "Missing values", MISSING, "missing", "NaN", "null")
    units = ", ".join(map(code, units_of_numbers()))
    about = (
        f"A unit may stand behind a number: {units}; also `Å` for Angstrom, and `µ` for u. The "
        "unit of a number is compared with that of the column: those that convert are converted, "
        "others are refused, and so is a unit beside a column that has none. A number without a "
        "unit is taken to be in the unit of the column."
    )
    yield _topic("units", "Units", about)


MISSING = """\
A value is missing where the catalog has null or NaN, where a source has no prediction, or where an
operation has no result: division by zero, the square root of a negative number, the logarithm of
zero or less.

A condition on a missing value is neither true nor false but unknown; `where` takes a source only
if every condition is true. `not` of unknown is unknown. `a or b` is true if one of them is true,
even if the other is unknown; `a and b` is false if one of them is false. `x is missing` and
`finite(x)` are never unknown.

`targetsel funnel` counts the sources for which a condition is unknown."""


def _topic(name: str, title: str, text: str, *aliases: str) -> Entry:
    return Entry("rules", name, sentence(title), text, aliases, "Rules as a whole", title)


def write(folder: Path) -> None:
    """Write the page of the rule language."""
    found = {**grouped(topics()), **grouped(functions()), **grouped(rule_keys())}
    text = page("Rule language", ABOUT, found)
    (folder / "rule-language.md").write_text(text, encoding="utf-8")
