"""Claims about spectra: how probable they were said to be, and whether they came true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from targetsel.calibration.known_sources import KnownSources
from targetsel.errors import CatalogError, RuleError
from targetsel.rules import formula as f
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.selection.evaluation import probability
from targetsel.selection.membership import evaluate, truth
from targetsel.selection.sources import blocks_of

CLAIMS = (
    "ew_halpha > 30 Angstrom",
    "ew_oiii > 10 Angstrom and ew_halpha > 30 Angstrom",
    "d4000 > 1.6",
)


@dataclass(frozen=True)
class Claim:
    """What is claimed of N sources' spectra.

    Attributes
    ----------
    name : str
        ``P(...)`` of a condition, or a rule file's name and that of the target class.
    probability : ndarray, shape (N,)
    true : ndarray of bool, shape (N,)
    known : ndarray of bool, shape (N,)
        Where there is a posterior and all proxies that matter were measured.
    members : ndarray of bool, shape (N,), or None
        Who belongs to the target class; None for a mere condition.
    """

    name: str
    probability: np.ndarray
    true: np.ndarray
    known: np.ndarray
    members: np.ndarray | None = None


def condition_claims(known: KnownSources, conditions: Sequence[str]) -> list[Claim]:
    """The claims that these conditions on proxies make.

    Raises
    ------
    RuleError, CatalogError
        If one means nothing for the scored file, or a proxy of it was not measured.
    """
    found = []
    for condition in conditions:
        rules = Rules.parse(_rules_text(condition), f"--claim '{condition}'")
        (each,) = _claims(known, rules)
        found.append(replace(each, name=f"P({condition})", members=None))
    return found


def class_claims(known: KnownSources, rules: Rules) -> list[Claim]:
    """The claims of the classes of a rule file that claim anything; see `condition_claims`."""
    return _claims(known, rules)


def claims(
    known: KnownSources, conditions: Sequence[str] | None, files: Sequence[str]
) -> tuple[list[Claim], list[str]]:
    """Claims of conditions and of rule files' classes, and what had to be left out and why.

    Without any it is `CLAIMS`, or the shipped rules, as far as they suit the files.
    """
    found, left_out = [], []
    for condition in CLAIMS if conditions is None else conditions:
        try:
            found += condition_claims(known, (condition,))
        except (RuleError, CatalogError) as error:
            if conditions is not None:
                raise
            left_out.append(str(error))
    for path in files or map(str, shipped_rules()):
        rules = Rules.read(path)
        try:
            found += class_claims(known, rules)
        except (RuleError, CatalogError) as error:
            if files:
                raise
            left_out.append(str(error))
    return found, left_out


def _claims(known: KnownSources, rules: Rules) -> list[Claim]:
    table = known.scored
    members = evaluate(rules, table).selected  # limits look at neighbours, and are not applied
    found = []
    for place, each in enumerate(plan(rules, table.schema).classes):
        if each.truth is None:
            continue
        likely = np.concatenate([probability(each.truth, block) for block in blocks_of(table)])
        true = truth(rules, each.name, table, known.proxies)
        there = np.isfinite(likely)
        for proxy in f.proxies(each.truth):
            there &= np.isfinite(known.proxies[proxy])
        name = f"{rules.name}: {each.name}"
        found.append(Claim(name, likely, true, there, members[:, place]))
    return found


def _rules_text(condition: str) -> str:
    quoted = condition.replace("'", "''")
    return (
        "schema: targetsel/rules/v1\nname: claim\nclasses:\n  CLAIM:\n    bit: 0\n"
        f"    priority: 1\n    where:\n      - 'P({quoted}) >= 0.5'\n"
    )
