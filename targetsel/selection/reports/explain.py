"""The reasons why a source was selected or not: the truth table of one row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtri

from targetsel.documents.text_table import number, text_table
from targetsel.expressions.grammar import quoted
from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas
from targetsel.rules.rules import Rules
from targetsel.scored.columns import NOT_NEEDED, STATUS, UNMEASURED_PROXIES
from targetsel.scored.known_columns import COLUMNS as KNOWN_COLUMNS
from targetsel.scored.known_match import KnownSpectra, add_known
from targetsel.selection.class_reports import ClassReports
from targetsel.selection.evaluation import holds, probability, value
from targetsel.selection.funnel import unknown
from targetsel.selection.scored_sources import ScoredCatalog, ScoredSources, scored_catalog
from targetsel.selection.select import preview
from targetsel.selection.sources import DrawnSources, Sources
from targetsel.sky.external_files import Ids
from targetsel.sky.positions import Places, Region
from targetsel.tables.types import is_text

_ARITHMETIC = ("+", "-", "*", "/", "**")
_STATUS = {  # of `Cutouts.status`, in words
    "no cutout": "it has no cutout",
    "all-zero image": "its cutout is zero everywhere",
    "mostly NaN pixels": "more than half of its cutout's pixels have no data",
    NOT_NEEDED: "the catalog alone rules the source out for the rules that score was given",
}
_FOUND = {Region: "inside the region", Ids: "listed", Places: "near a listed position"}


@dataclass(frozen=True)
class TruthRow:
    """One condition, or a part of one, for one source.

    Attributes
    ----------
    text : str
        A whole condition as the rule file writes it; a part of one in its units and with
        definitions written out.
    depth : int
        0 for a whole condition, more for its parts.
    outcome : str
        "true", "false" or "missing".
    value, threshold : float, str or None
        The two sides of a comparison, of text in quotes; None where the condition is no comparison,
        or the value is missing.
    margin : float or None
        Standard deviations by which the comparison holds, negative where it fails. For a
        probability, the distance in normal scores; None where no uncertainty is known, and for
        text.
    probability : float or None
        Probability of the comparison, or of the condition inside P(); None for measured values.
    """

    text: str
    depth: int
    outcome: str
    value: float | str | None = None
    threshold: float | str | None = None
    margin: float | None = None
    probability: float | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """The condition as a line of a table."""
        return (
            f"  {'  ' * self.depth}{self.text}",
            self.outcome,
            *(
                each if isinstance(each, str) else number(each)
                for each in (self.value, self.threshold)
            ),
            number(self.margin, "+.2f"),
            number(self.probability, ".3f"),
        )


@dataclass(frozen=True)
class Explanation:
    """The conditions of one class, evaluated on one source.

    Attributes
    ----------
    name : str
        The target class.
    passed : bool
        Whether every condition is true.
    rows : tuple of TruthRow
    rank : float or None
        The value of the class's ``rank``.
    probability : float or None
        Probability of the class's claim about its members; None where it claims nothing or there
        is no posterior.
    selected : bool or None
        Whether the source is in the target list; None where a calibration is needed to tell.
    unpredicted : str
        The reason why nothing, or not all, was predicted of the source, as a sentence; empty where
        all was. The conditions on what was not predicted are missing.
    """

    name: str
    passed: bool
    rows: tuple[TruthRow, ...]
    rank: float | None
    probability: float | None
    selected: bool | None = None
    unpredicted: str = ""

    @property
    def verdict(self) -> str:
        """The outcome in a few words."""
        if not self.passed:
            failed = [row.text for row in self.rows if row.depth == 0 and row.outcome != "true"]
            false = [row.text for row in self.rows if row.depth == 0 and row.outcome == "false"]
            if self.unpredicted == said_of(NOT_NEEDED):
                failed = false or failed
            return f"kept out by {', '.join(failed)}"
        if self.selected is None:
            return "obeys every condition; select tells whether the guarantee keeps it"
        return (
            "selected" if self.selected else "obeys every condition; dedup or limit leaves it out"
        )

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row for each condition and each part of one."""
        return [{"class": self.name, **asdict(row)} for row in self.rows]

    def __repr__(self) -> str:
        headings = ("  condition", "is", "value", "threshold", "margin (sigma)", "P")
        lines = text_table(headings, [row.cells for row in self.rows])
        return "\n".join((f"{self.name}: {self.verdict}", *lines))


def explain(
    rules: Rules, source_id: str, scored: Path, known: KnownSpectra | None = None
) -> ClassReports[Explanation]:
    """The explanation of every class for the source with this id, written as in the catalog.

    Raises
    ------
    CatalogError
        If the scored file has no such source.
    """
    with scored_catalog(scored, rules, known=known) as catalog:
        source = catalog.file.source(source_id)
        found = [explanation(each, source) for each in catalog.classes.values()]
        chosen = _chosen(catalog, found, catalog.file.ids(source))
        why = unpredicted(source)
        observed = about_spectrum(source) if catalog.known is not None else ""
    explained = (
        replace(each, selected=selected, unpredicted=why)
        for each, selected in zip(found, chosen, strict=True)
    )
    return ClassReports(explained, " ".join(filter(None, (why, observed))))


def spectrum_of(source_id: str, scored: Path, known: KnownSpectra) -> str:
    """Whether the source with this id has a spectrum already, as a sentence.

    Raises
    ------
    CatalogError
        As `explain`.
    """
    with ScoredSources(scored) as file:
        add_known(file, known)
        return about_spectrum(file.source(source_id))


def about_spectrum(source: Sources) -> str:
    """Whether a single source has a spectrum already, as a sentence."""
    known, redshift, apart, failed = (source.table[each.name][0].as_py() for each in KNOWN_COLUMNS)
    if not known and not failed:
        return "No spectrum of it is known."
    where = "" if apart is None else f", {apart:.2f} arcsec from it"
    if failed:
        return f"Its spectra were taken{where}, but have a warning or no redshift."
    found = "" if redshift is None else f" at redshift {redshift:.5g}"
    return f"It has a spectrum already{found}{where}."


def unpredicted(source: Sources) -> str:
    """Why nothing, or not all, was predicted of a single source, as a sentence."""
    status, unmeasured = (_text(source, name) for name in (STATUS, UNMEASURED_PROXIES))
    if status not in ("", "ok"):
        lost = re.fullmatch(r"lost (bands?): (.*)", status)
        why = f"its cutout has no data in {lost[1]} {lost[2]}" if lost else status
        return said_of(status, why)
    if unmeasured:
        return f"Of its predicted spectrum {unmeasured} cannot be measured, and is missing."
    return ""


def said_of(status: str, otherwise: str = "") -> str:
    """The sentence on a source of this status, which has no prediction."""
    why = _STATUS.get(status, otherwise)
    return f"There is no prediction: {why}. What would be predicted is missing."


def _text(source: Sources, name: str) -> str:
    """The text that a single source has in a column; empty where there is none."""
    column = source.table[name] if name in source.table.column_names else None
    return (column[0].as_py() or "") if column is not None and is_text(column.type) else ""


def _chosen(catalog: ScoredCatalog, found: list[Explanation], ids: pa.Array) -> list[bool | None]:
    """Whether each class has the source among its targets.

    A target list is only made where the source is one of members that `dedup` or ``limit`` compare.
    """
    classes = catalog.rules.classes
    chosen: list[bool | None] = [each.passed for each in found]
    if any(
        explained.passed and (each.limit or each.dedup is not None)
        for explained, each in zip(found, classes, strict=True)
    ):
        unguarded = tuple(each.model_copy(update={"guarantee": None}) for each in classes)
        rules = replace(catalog.rules, classes=unguarded)
        targets = preview(ScoredCatalog(catalog.file, rules, catalog.quantiles, catalog.known))
        chosen = [pc.is_in(ids, targets.ids_of(each.name))[0].as_py() for each in found]
    return [
        None if explained.passed and each.guarantee is not None else selected
        for explained, each, selected in zip(found, classes, chosen, strict=True)
    ]


def explanation(target_class: ClassFormulas, source: Sources) -> Explanation:
    """The explanation of a class for a single source."""
    rows: list[TruthRow] = []
    for condition in target_class.conditions:
        first, *parts = _rows(condition.formula, source, 0)
        rows += [replace(first, text=condition.text), *parts]
    passed = all(row.outcome == "true" for row in rows if row.depth == 0)
    rank, claim = target_class.rank, target_class.truth
    return Explanation(
        target_class.name,
        passed,
        tuple(rows),
        None if rank is None else _single(value(rank, source)),
        None if claim is None else _single(probability(claim, source)),
    )


def _rows(condition: f.Formula, source: Sources, depth: int) -> list[TruthRow]:
    """The condition, and below it the conditions that it joins."""
    outcome = _outcome(condition, source)
    text = written(condition)
    if isinstance(condition, f.All | f.Any):
        word = "all of" if isinstance(condition, f.All) else "any of"
        below = [row for part in condition.parts for row in _rows(part, source, depth + 1)]
        return [TruthRow(word, depth, outcome), *below]
    match condition:
        case f.TextIn(column, texts):
            listed = ", ".join(map(quoted, texts))
            return [TruthRow(text, depth, outcome, _quoted(column, source), listed)]
        case f.SameText(one, other):
            sides = _quoted(one, source), _quoted(other, source)
            return [TruthRow(text, depth, outcome, *sides)]
    if not isinstance(condition, f.Compare):
        return [TruthRow(text, depth, outcome)]
    left = _single(value(condition.left, source))
    right = _single(value(condition.right, source))
    margin, likely = _margin(condition, source, left, right)
    return [TruthRow(text, depth, outcome, left, right, margin, likely)]


def _outcome(condition: f.Formula, source: Sources) -> str:
    if np.broadcast_to(holds(condition, source), 1)[0]:
        return "true"
    return "missing" if unknown(condition, source)[0] else "false"


def _margin(
    condition: f.Compare, source: Sources, left: float | None, right: float | None
) -> tuple[float | None, float | None]:
    """Standard deviations by which a comparison holds, and its probability."""
    if left is None or right is None:
        return None, None
    sign = {"<": -1.0, "<=": -1.0, ">": 1.0, ">=": 1.0}.get(condition.operator)
    if isinstance(condition.left, f.Probability):
        margin = float(ndtri(left) - ndtri(right)) if sign and 0 < right < 1 else None
        return None if margin is None or sign is None else sign * margin, left
    names = f.proxies(condition)
    if not names or _is_nested(condition):
        return None, None
    draws = source.posterior.draw(tuple(n for n in source.posterior.names if n in names))
    drawn = DrawnSources(source, draws)
    spread = float(np.std(value(condition.left, drawn) - value(condition.right, drawn)))
    margin = sign * (left - right) / spread if sign and spread > 0 else None
    return margin, _single(probability(condition, source))


def _is_nested(condition: f.Formula) -> bool:
    """Whether a probability is only part of what is compared."""
    return any(isinstance(part, f.Probability) for part in f.walk(condition))


def _single(number: np.ndarray) -> float | None:
    """The only number of an array; None where it is missing."""
    single = float(np.ravel(number)[0])
    return None if np.isnan(single) else single


def _quoted(column: f.ColumnValue, source: Sources) -> str | None:
    """The only text of a column, in quotes; None where it is missing."""
    (code,), words = source.text(column)
    return None if code < 0 else quoted(words[int(code)].as_py())


# --- formulas as text ----------------------------------------------------------------------------


def written(formula: f.Formula) -> str:
    """A formula in the words of the rule language, definitions written out, without units."""
    match formula:
        case f.Constant(number):
            return f"{number!r}" if isinstance(number, int) else f"{number:.6g}"
        case f.ColumnValue(name):
            return name
        case f.Quantile(name, level):
            return f"q({name}, {level:g})"
        case f.Calculated(calculation):
            return calculation.written
        case f.Probability(condition):
            return f"P({written(condition)})"
        case f.Operation("negative", (inner,)):
            return f"-{_bracketed(inner)}"
        case f.Operation(name, (left, right)) if name in _ARITHMETIC:
            return f"{_bracketed(left)} {name} {_bracketed(right)}"
        case f.Operation(name, parts):
            return f"{name}({', '.join(map(written, parts))})"
        case f.Compare(operator, f.Calculated(calculation)) if calculation.is_flag:
            return f"{'not ' if operator == '==' else ''}{calculation.written}"
        case f.Compare(operator, left, right):
            return f"{written(left)} {operator} {written(right)}"
        case f.Missing(inner, negated):
            return f"{written(inner)} is {'not ' if negated else ''}missing"
        case f.Flag(column, negated):
            return f"{'not ' if negated else ''}{column.name}"
        case f.TextIn(column, (text,), negated):
            return f"{column.name} {'!=' if negated else '=='} {quoted(text)}"
        case f.TextIn(column, texts, negated):
            listed = f"{column.name} in [{', '.join(map(quoted, texts))}]"
            return f"not ({listed})" if negated else listed
        case f.SameText(left, right, negated):
            return f"{left.name} {'!=' if negated else '=='} {right.name}"
        case f.HasBit(column, bits, negated):
            named = ", ".join(str(bit) for bit in range(63) if bits >> bit & 1)
            return f"{'not ' if negated else ''}has_bit({column.name}, {named})"
        case f.Lookup(finder, _, negated):
            return f"{'not ' if negated else ''}{_FOUND.get(type(finder), 'found')}"
        case f.Except(inner):
            return f"not ({written(inner)})"
        case f.All(parts):
            return " and ".join(map(_bracketed, parts))
        case f.Any(parts):
            return " or ".join(map(_bracketed, parts))
    raise TypeError(f"no words for {formula}")


def _bracketed(formula: f.Formula) -> str:
    joined = isinstance(formula, f.All | f.Any) or (
        isinstance(formula, f.Operation) and formula.name in _ARITHMETIC
    )
    return f"({written(formula)})" if joined else written(formula)
