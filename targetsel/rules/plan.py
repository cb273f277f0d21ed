"""The steps from a catalog to the targets of a class, in the one order there is.

For each class:

1. *footprint*: the source lies in the file's footprint;
2. *where*: every condition is true (not merely unknown);
3. *unless*: it obeys the conditions (these first five steps) of none of the classes named;
4. *exclude*: it is on no list of sources to leave out, of the file or of the class;
5. *known*: where files of known spectra are given, and the class does not say what becomes of
   known sources, it is not known;
6. *guarantee*: it is more probable than the threshold that the purity asks for;
7. *sample*: a hash of its id, the seed and the class is below the share to keep;
8. *dedup*: among members closer together than the radius only the best is kept;
9. *limit per_deg2*: of what is left, each pixel keeps its best;
10. *limit per_cell*: of what is left, each cell of the space of features keeps its best;
11. *limit total*: of what is left, the class keeps its best; with a *random* share, fewer of
    them, and chance fills the other places from all members after step 8 that are not kept so.

The first seven judge every source by itself: here they become conditions, which are counted in
another order, those on the catalog alone first (`catalog_part`). The last four compare members
with one another (`limits`); the best have the largest ``rank``, those without a rank come
last, and the hash breaks ties (with ``by: hash``, only the hash decides in steps 9 to 11). A rank
by ``information()`` shrinks with every better member of the same cell among those that step 9 has
left, so that no cell takes all places.

Across classes: a target carries the bits of all its classes; `priority`, `program` and
`probability` are those of its class of highest priority, the lowest bit among equals.

``unless`` looks at conditions, not at who is left after a limit, so that whether a source can be
a target never depends on its neighbours in another class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import RuleError
from targetsel.expressions.grammar import unwrapped
from targetsel.feature_cells.columns import CELL
from targetsel.rules import formula as f
from targetsel.rules.binding import Binder
from targetsel.rules.cells import cell_column, check_proportional
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.rule_file import Exclusion, Preamble, TargetClass
from targetsel.rules.rules import Rules
from targetsel.scored.known_columns import DECIDING, KNOWN, drops_known
from targetsel.sky.external_files import ExternalFiles
from targetsel.sky.positions import Region
from targetsel.tables.ids import uniform

INCLUSION = "inclusion_"  # and the name of a class: the chance that it chooses a candidate
NOT_KNOWN = f.Flag(f.ColumnValue(KNOWN.name, "measured", "condition"), negated=True)


@dataclass(frozen=True)
class Condition:
    """A condition of a class: its step, its text in the rule file, and its formula."""

    step: str
    text: str
    formula: f.Formula
    place: SourceLocation = field(default=SourceLocation(), compare=False, repr=False)


@dataclass(frozen=True)
class ClassFormulas:
    """A target class for a given catalog: its formulas.

    Attributes
    ----------
    conditions : tuple of Condition
        The conditions of steps 1 to 7, in their order.
    rank : Formula or None
    truth : Formula or None
        The class's claim about its members' true proxies (see `formula.truth`).
    priority : Formula
    region : Region or None
        The footprint.
    cell : Formula or None
        The column of cells, where the class has a limit per cell.
    """

    name: str
    conditions: tuple[Condition, ...] = ()
    rank: f.Formula | None = None
    truth: f.Formula | None = None
    priority: f.Formula = f.ZERO
    region: Region | None = None
    cell: f.Formula | None = None

    @property
    def where(self) -> tuple[f.Formula, ...]:
        """All conditions, those joined by `and` taken apart."""
        return tuple(part for each in self.conditions for part in f.conjuncts(each.formula))

    @property
    def all(self) -> tuple[f.Formula, ...]:
        """Every formula that is evaluated on a scored source."""
        each = (*self.where, self.rank, self.truth, self.priority, self.cell)
        return tuple(formula for formula in each if formula is not None)

    @property
    def claim(self) -> f.Formula:
        """The class's claim about its members' true proxies.

        Raises
        ------
        RuleError
            If it claims nothing.
        """
        if self.truth is None:
            raise RuleError(
                f"class {self.name} claims nothing about its members' spectra, so that no "
                "spectrum can prove it right or wrong; add a condition such as "
                "P(ew_halpha > 20 Angstrom) >= 0.5"
            )
        return self.truth

    def with_values(self, values: Mapping[f.Formula, float]) -> ClassFormulas:
        """The same with quantiles of the catalog replaced by their values."""
        rank, truth = (each and f.with_values(each, values) for each in (self.rank, self.truth))
        return replace(
            self,
            conditions=tuple(
                replace(each, formula=f.with_values(each.formula, values))
                for each in self.conditions
            ),
            rank=rank,
            truth=truth,
            priority=f.with_values(self.priority, values),
        )


@dataclass(frozen=True)
class Plan:
    """Rules for a given catalog.

    Attributes
    ----------
    classes : tuple of ClassFormulas
    quantiles : dict of CatalogQuantile to str
        The quantiles of the catalog that have to be known first, as they are written.
    files : dict of str to str
        Files that the rules name, with their SHA-256.
    """

    classes: tuple[ClassFormulas, ...]
    quantiles: Mapping[f.CatalogQuantile, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What calculations are to be taken with care, such as nights years ahead."""
        formulas = (formula for each in self.classes for formula in each.all)
        found = (
            caution
            for formula in formulas
            for part in f.walk(formula)
            if isinstance(part, f.Calculated)
            for caution in part.calculation.cautions
        )
        return tuple(dict.fromkeys(found))

    def with_values(self, values: Mapping[f.Formula, float]) -> Plan:
        """The plan with quantiles of the catalog replaced by their values."""
        return replace(self, classes=tuple(each.with_values(values) for each in self.classes))


def plan(rules: Rules, columns: pa.Schema | CatalogColumns) -> Plan:
    """The rules bound to the columns of a catalog.

    Raises
    ------
    RuleError
        If a rule names a column or file that is not there, mixes units or types, or shadows a
        column.
    """
    if isinstance(columns, pa.Schema):
        columns = CatalogColumns(columns)
    files = ExternalFiles()
    classes: dict[str, ClassFormulas] = {}
    quantiles: dict[f.CatalogQuantile, str] = {}
    preamble, region = None, None
    for each in rules.classes:
        if each.preamble is not preamble:  # another rule file begins
            preamble = each.preamble
            _check_names(preamble, columns)
            region = preamble.footprint.region(files) if preamble.footprint else None
        reader = Binder(columns, each.preamble.define, files)
        classes[each.name] = _class_formulas(each, region, reader, classes)
        quantiles |= reader.quantiles
    return Plan(tuple(classes.values()), quantiles, files.sha256)


def _check_names(preamble: Preamble, columns: CatalogColumns) -> None:
    for name, node in preamble.define.items():
        if name in columns.names:
            raise node.place.error(f"'{name}' is already a column of the catalog; rename it")


def _class_formulas(
    target_class: TargetClass,
    region: Region | None,
    reader: Binder,
    above: Mapping[str, ClassFormulas],
) -> ClassFormulas:
    conditions = _inside(region, target_class, reader)
    conditions += [
        Condition("where", unwrapped(node), reader.condition(node), node.place)
        for node in target_class.where
    ]
    claims = tuple(part for each in conditions for part in f.conjuncts(each.formula))
    priority, known = _priority(target_class, reader)
    conditions += known
    for other in target_class.unless:
        members = f.All(
            tuple(each.formula for each in above[other].conditions if _counts_for_unless(each))
        )
        place = target_class.place_of("unless")
        conditions.append(Condition("unless", f"not {other}", f.Except(members), place))
    for exclusion in (*target_class.preamble.exclude, *target_class.exclude):
        conditions.append(_not_excluded(exclusion, reader))
    rank = reader.number(target_class.rank) if target_class.rank is not None else None
    check_proportional(rank, target_class.rank)
    conditions += _not_known(target_class, conditions, (priority, rank), reader)
    conditions += _sampled(target_class, reader)
    _check_inclusion(target_class, reader.columns)
    truth, cell = f.truth(claims), _cell(target_class, reader)
    return ClassFormulas(target_class.name, tuple(conditions), rank, truth, priority, region, cell)


def _check_inclusion(target_class: TargetClass, columns: CatalogColumns) -> None:
    """Refuse a random share whose inclusion would be a column that the catalog has already."""
    name = INCLUSION + target_class.name
    if target_class.limit.random is not None and name in columns.names:
        raise target_class.limit.place_of("random").error(
            f"the list states inclusion in a column '{name}', which the catalog has already; "
            "rename or drop it there"
        )


def _cell(target_class: TargetClass, reader: Binder) -> f.Formula | None:
    """The column of cells, for a class with a limit per cell."""
    if target_class.limit.per_cell is None:
        return None
    place = target_class.limit.place_of("per_cell")
    return cell_column(CELL, reader.columns, place, "per_cell")


def _priority(target_class: TargetClass, reader: Binder) -> tuple[f.Formula, list[Condition]]:
    """The priority, and the condition that there is one."""
    node = target_class.priority
    if isinstance(node, int):
        return f.Constant(node), []
    priority = reader.number(node)
    known = f.Missing(priority, negated=True)
    if isinstance(priority, f.Constant):
        return priority, []
    return priority, [Condition("where", f"{unwrapped(node)} is not missing", known, node.place)]


def _counts_for_unless(condition: Condition) -> bool:
    return condition.step in ("footprint", "where", "unless", "exclude", "known")


def _not_known(
    target_class: TargetClass,
    conditions: Sequence[Condition],
    others: Iterable[f.Formula | None],
    reader: Binder,
) -> list[Condition]:
    """The condition that a source is not known, for a class that does not say it otherwise."""
    if not drops_known(reader.columns.schema):
        return []
    own = (each.formula for each in conditions if each.step == "where")
    for formula in (*own, *(each for each in others if each is not None)):
        if any(column.name in DECIDING for column in f.columns(formula)):
            return []
    return [Condition("known", "not known", NOT_KNOWN, target_class.place_of())]


def _inside(region: Region | None, target_class: TargetClass, reader: Binder) -> list[Condition]:
    if region is None:
        return []
    place = target_class.place_of()
    healpix = reader.columns.role("_healpix_29", place)
    return [Condition("footprint", "in the footprint", f.Lookup(region, (healpix,)), place)]


def _not_excluded(exclusion: Exclusion, reader: Binder) -> Condition:
    files, columns, place = reader.files, reader.columns, exclusion.place
    if exclusion.within is not None:
        near = files.places(exclusion.file, place, exclusion.within)
        position = tuple(columns.role(name, place) for name in ("ra", "dec"))
        text = f"not near one of {exclusion.file}"
        return Condition("exclude", text, f.Lookup(near, position, negated=True), place)
    column = columns.role("source_id", place)
    listed = files.ids(exclusion.file, place, exclusion.column, columns.field(column.name))
    text = f"not in {exclusion.file}"
    return Condition("exclude", text, f.Lookup(listed, (column,), negated=True), place)


@dataclass(frozen=True)
class HashSample:
    """A share of all sources, by a hash of the source's id, a seed and the class."""

    seed: int
    purpose: str
    share: float

    def found(self, ids: np.ndarray) -> np.ndarray:
        # The first of the class's numbers breaks ties.
        return uniform(ids, self.seed, self.purpose, 2)[:, 1] < self.share


def _sampled(target_class: TargetClass, reader: Binder) -> list[Condition]:
    if target_class.sample is None:
        return []
    place = target_class.place_of("sample")
    sample = HashSample(target_class.preamble.seed, target_class.name, target_class.sample)
    formula = f.Lookup(sample, (reader.columns.role("source_id", place),))
    return [Condition("sample", f"one in {1 / target_class.sample:g} by hash", formula, place)]
