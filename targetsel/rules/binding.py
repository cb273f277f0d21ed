"""From syntax to meaning: names become columns, units are folded, types are checked.

Everything that can be wrong with a rule for a given catalog is found here, before any row is
looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from astropy import units as u

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import did_you_mean
from targetsel.expressions import grammar as syntax
from targetsel.expressions.grammar import Branch, Name, Node, Number, Text
from targetsel.photometry.flux import AB_ZERO_POINT, NANOMAGGY_ZERO_POINT
from targetsel.rules import formula as f
from targetsel.rules.functions import FLIPPED, apply
from targetsel.sky.external_files import Attachments
from targetsel.sky.footprint import region_in
from targetsel.spectra.proxies import CORRELATION, proxy_names
from targetsel.tables.parquet import footer_in

STATISTICS = ("_std", "_q16", "_q84")
# Of a column whose unit is not known, because there is no catalog yet: it agrees with any other.
ANY_UNIT = u.def_unit("any")
_HIGHEST_BIT = 62
_AB_ZERO_POINTS = ((u.nJy, AB_ZERO_POINT), (u.nmgy, NANOMAGGY_ZERO_POINT))


@dataclass(frozen=True)
class Meaning:
    """A formula with its type.

    Attributes
    ----------
    formula : Formula
    kind : str
        "number", "probability" or "condition".
    unit : Unit or None
        None for a pure number and for a column that declares no unit.
    """

    formula: f.Formula
    kind: str = "number"
    unit: u.UnitBase | None = None

    @property
    def constant(self) -> int | float | None:
        """The value, if it is the same for every source."""
        return self.formula.value if isinstance(self.formula, f.Constant) else None


class Columns:
    """What a catalog offers to rules: its columns with their types, units and roles.

    Parameters
    ----------
    schema : pa.Schema
        Units are in the field metadata ``unit``; quantities with a posterior have a column of
        quantiles.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.proxies = proxy_names(schema)
        self._meanings = {field.name: self._meaning(field) for field in schema}
        self.names = tuple(self._meanings)

    def __contains__(self, name: str) -> bool:
        return name in self._meanings

    def __getitem__(self, name: str) -> Meaning:
        return self._meanings[name]

    def field(self, name: str) -> pa.Field:
        """The Arrow field of a column that is there."""
        return self.schema.field(name)

    def role(self, role: str, place: SourceLocation) -> f.Column:
        """The column of "source_id", "ra", "dec" or "_healpix_29", asked for at `place`."""
        name = column_names(self.schema).get(role, role)
        if name not in self:
            raise place.error(f"this needs a column '{name}', which the catalog does not have")
        formula = self[name].formula
        assert isinstance(formula, f.Column)
        return formula

    def _meaning(self, field: pa.Field) -> Meaning:
        if field.name in self.proxies:
            role = "predicted"
        elif any(field.name == name + end for name in self.proxies for end in STATISTICS):
            role = "statistic"
        else:
            role = "measured"
        type_ = _type(field.type)
        kind = "condition" if type_ == "condition" else "number"
        text = (field.metadata or {}).get(b"unit", b"").decode()
        return Meaning(f.Column(field.name, role, type_), kind, _unit(text))


def correlated(schema: pa.Schema) -> dict[str, list[str]]:
    """For each proxy that has a column of correlations, with which proxies, in their order."""
    return {
        field.name.removesuffix(CORRELATION): field.metadata[b"with"].decode().split(",")
        for field in schema
        if field.name.endswith(CORRELATION) and b"with" in (field.metadata or {})
    }


def footer(schema: pa.Schema) -> dict[str, Any]:
    """The provenance that a scored file carries; empty where there is none."""
    return footer_in(schema.metadata)


def column_names(schema: pa.Schema) -> dict[str, str]:
    """What a scored file calls its `source_id`, `ra` and `dec`."""
    named = footer(schema).get("columns", {})
    return {name: named.get(name, name) for name in ("source_id", "ra", "dec")}


def _type(type_: pa.DataType) -> str:
    if pa.types.is_boolean(type_):
        return "condition"
    if pa.types.is_integer(type_):
        return "integer"
    if pa.types.is_float16(type_) or pa.types.is_float32(type_):
        return "float32"
    return "float64" if pa.types.is_float64(type_) else "other"


def _unit(text: str) -> u.UnitBase | None:
    """The unit a column declares; magnitudes of every system are plain magnitudes here."""
    unit = u.Unit(text, parse_strict="silent")
    if isinstance(unit, u.MagUnit):
        return u.mag
    return None if unit == u.dimensionless_unscaled else unit


class UnseenColumns(Columns):
    """The columns of a catalog that is not there: those every scored file has, and any other."""

    def __contains__(self, name: str) -> bool:
        return True

    def __getitem__(self, name: str) -> Meaning:
        if name in self._meanings:
            return self._meanings[name]
        type_ = "integer" if name == "_healpix_29" else "float64"
        return Meaning(f.Column(name, "measured", type_), unit=ANY_UNIT)


class Reader:
    """Gives expressions their meaning.

    Parameters
    ----------
    columns : Columns
    definitions : mapping of name to Node
        The rule file's ``define``.
    attachments : Attachments
        Remembers the files that expressions name.
    """

    def __init__(
        self,
        columns: Columns,
        definitions: Mapping[str, Node] | None = None,
        attachments: Attachments | None = None,
    ) -> None:
        self.columns = columns
        self.definitions = definitions or {}
        self.attachments = attachments or Attachments()
        self.quantiles: dict[f.CatalogQuantile, str] = {}  # as they are written
        self._count = 0
        self._inside_p = False

    def condition(self, node: Node) -> f.Formula:
        """The formula of a whole condition, such as an entry of ``where``."""
        self._count = 0
        return self._condition(node, _needs_comparison(node))

    def number(self, node: Node) -> f.Formula:
        """The formula of a whole number, such as ``rank``."""
        self._count = 0
        return self._number(node).formula

    # Each of these returns the meaning of one node; `_read` finds the right one.

    def _read(self, node: Node) -> Meaning:
        self._count += 1
        if self._count > syntax.MAX_NODES:
            raise node.place.error(
                f"expression has more than {syntax.MAX_NODES} parts once `define:` is written out; "
                "split it into several conditions"
            )
        if isinstance(node, Number):
            unit = u.Unit(syntax.UNITS[node.unit]) if node.unit else None
            return Meaning(f.Constant(node.value), unit=unit)
        if isinstance(node, Name):
            return self._name(node)
        assert isinstance(node, Branch)
        match node.word:
            case "and" | "or":
                return self._junction(node)
            case "not":
                part = self._condition(node.parts[0], "not stands before a condition")
                return Meaning(f.negated(part), "condition")
            case "compare" | "between" | "in":
                return self._comparisons(node)
            case "is missing" | "is not missing":
                return self._missing(node)
            case "P":
                return self._probability(node)
            case "std" | "q":
                return self._statistic(node)
        special: dict[str, Callable[[Branch], Meaning]] = {
            "mag": self._magnitude,
            "finite": self._finite,
            "has_bit": self._has_bit,
            "in_moc": self._in_moc,
            "within": self._within,
            "catalog_quantile": self._catalog_quantile,
        }
        return special.get(node.word, self._operation)(node)

    def _name(self, node: Name) -> Meaning:
        name = node.name
        if name in self.definitions:
            return self._read(self.definitions[name])
        if name not in self.columns:
            if name in syntax.FUNCTIONS:
                raise node.place.error(f"'{name}' is a function; write {name}(...)")
            hint = did_you_mean(name, [*self.columns.names, *self.definitions])
            known = "" if hint else f" The catalog has {_some(self.columns.names)}."
            raise node.place.error(f"unknown column '{name}'.{hint}{known}")
        meaning = self.columns[name]
        if meaning.kind == "condition":
            assert isinstance(meaning.formula, f.Column)
            return replace(meaning, formula=f.Flag(meaning.formula))
        return meaning

    def _condition(self, node: Node, otherwise: str) -> f.Formula:
        meaning = self._read(node)
        if meaning.kind != "condition":
            raise node.place.error(otherwise)
        return meaning.formula

    def _number(self, node: Node) -> Meaning:
        meaning = self._read(node)
        if meaning.kind == "condition":
            raise node.place.error(f"{_text(node)} is a condition; a number is expected here")
        if isinstance(meaning.formula, f.Column) and meaning.formula.type == "other":
            raise node.place.error(
                f"column '{meaning.formula.name}' holds no numbers; only "
                f"'{meaning.formula.name} is missing' can be asked of it"
            )
        return meaning

    def _junction(self, node: Branch) -> Meaning:
        parts = []
        for part in node.parts:
            otherwise = (
                f"'{node.symbol}' joins conditions, but {_text(part)} is a number; "
                f"did you forget a comparison, e.g. {_text(part)} > 10?"
            )
            parts.append(self._condition(part, otherwise))
        joined = f.All(tuple(parts)) if node.word == "and" else f.Any(tuple(parts))
        return Meaning(joined, "condition")

    def _comparisons(self, node: Branch) -> Meaning:
        """A chain, `between` or `in`, taken apart into single comparisons."""
        if node.word == "between":
            value, low, high = node.parts
            pairs = [(value, ">=", low), (value, "<=", high)]
        elif node.word == "in":
            pairs = [(node.parts[0], "==", option) for option in node.parts[1:]]
        else:
            links = zip(node.parts, node.operators, node.parts[1:], strict=False)
            pairs = [(left, operator, right) for left, operator, right in links]
        parts = tuple(self._compare(*pair) for pair in pairs)
        if len(parts) == 1:
            return Meaning(parts[0], "condition")
        return Meaning(f.Any(parts) if node.word == "in" else f.All(parts), "condition")

    def _compare(self, left_node: Node, operator: str, right_node: Node) -> f.Formula:
        left, right = self._number(left_node), self._number(right_node)
        if left.constant is not None:
            left_node, right_node = right_node, left_node
            left, right, operator = right, left, FLIPPED[operator]
        if left.constant is not None:
            raise left_node.place.error("both sides are constants; name a column on one side")
        left, right = self._in_one_unit(left, left_node, right, right_node)
        if right.constant is None:
            return f.Compare(operator, left.formula, right.formula)
        if left.kind == "probability" and not 0 <= right.constant <= 1:
            raise right_node.place.error(_about_probability(right.constant))
        return f.Compare(operator, left.formula, _as_precise_as(left.formula, right.constant))

    def _missing(self, node: Branch) -> Meaning:
        meaning = self._read(node.parts[0])
        value = meaning.formula
        if isinstance(value, f.Flag) and not value.negated:
            value = value.column
        elif meaning.kind == "condition":
            raise node.parts[0].place.error(
                "only a column or a number can be missing, not a condition"
            )
        if isinstance(value, f.Constant):
            raise node.parts[0].place.error("a constant is never missing; name a column")
        return Meaning(f.Missing(value, node.word == "is not missing"), "condition")

    def _probability(self, node: Branch) -> Meaning:
        if self._inside_p:
            raise node.place.error("P() cannot stand inside P(); join the conditions in one P()")
        inner = node.parts[0]
        if not self.columns.proxies:
            raise node.place.error(
                "P() needs predicted quantities, and this file has none; "
                "score the catalog first (targetsel score)"
            )
        self._inside_p = True
        otherwise = f"P() needs a condition inside, e.g. P({_text(inner)} > 50) >= 0.8"
        condition = self._condition(inner, otherwise)
        self._inside_p = False
        if not f.proxies(condition):
            names = sorted(column.name for column in f.columns(condition))
            subject = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
            verb = "are measured values" if names[1:] else "is a measured value"
            raise node.place.error(
                f"P() needs at least one predicted quantity; {subject} {verb} without a posterior."
                + did_you_mean(names[0] if names else "", self.columns.proxies)
            )
        return Meaning(f.Probability(condition), "probability")

    def _statistic(self, node: Branch) -> Meaning:
        """std(proxy) and q(proxy, probability)."""
        about = node.parts[0]
        name = about.name if isinstance(about, Name) else ""
        if name not in self.columns.proxies:
            known = ", ".join(self.columns.proxies) or "none in this file"
            raise about.place.error(
                f"{node.word}() takes the name of a predicted quantity ({known}), "
                f"not {_text(about)}.{did_you_mean(name, self.columns.proxies)}"
            )
        unit = self.columns[name].unit
        if node.word == "std":
            if f"{name}_std" not in self.columns:
                raise node.place.error(f"this file has no column '{name}_std'; score it again")
            return replace(self.columns[f"{name}_std"], unit=unit)
        probability = self._probability_in(node)
        return Meaning(f.Quantile(name, probability), unit=unit)

    def _probability_in(self, node: Branch) -> float:
        """The second argument of q() and catalog_quantile()."""
        level = self._number(node.parts[1])
        probability = level.constant
        if probability is not None and level.unit is not None and _is_pure(level.unit):
            probability = probability * level.unit.to(u.dimensionless_unscaled)
        if probability is None or not 0 < probability < 1:
            raise node.parts[1].place.error(
                f"the second argument of {node.word}() is a probability between 0 and 1, e.g. 0.16"
            )
        return float(probability)

    def _catalog_quantile(self, node: Branch) -> Meaning:
        inside_p, self._inside_p = self._inside_p, False
        value = self._number(node.parts[0])
        self._inside_p = inside_p
        if value.constant is not None:
            raise node.parts[0].place.error("catalog_quantile() of a constant; name a column")
        if any(isinstance(part, f.CatalogQuantile) for part in f.walk(value.formula)):
            raise node.place.error("catalog_quantile() cannot stand inside catalog_quantile()")
        probability = self._probability_in(node)
        quantile = f.CatalogQuantile(value.formula, probability)
        self.quantiles[quantile] = str(node)
        return replace(value, formula=quantile)

    def _magnitude(self, node: Branch) -> Meaning:
        """mag(flux): an AB magnitude; missing where the flux is not positive."""
        flux = self._number(node.parts[0])
        if flux.unit == ANY_UNIT:
            return Meaning(f.Operation("log10", (flux.formula,)), unit=u.mag)
        for unit, zero_point in _AB_ZERO_POINTS:
            if flux.unit is not None and flux.unit.is_equivalent(unit):
                log = f.Operation("log10", (_scaled(flux.formula, flux.unit.to(unit)),))
                scaled = f.Operation("*", (f.Constant(-2.5), log))
                return Meaning(f.Operation("+", (f.Constant(zero_point), scaled)), unit=u.mag)
        unit = flux.unit or "no unit"
        raise node.parts[0].place.error(
            f"mag() takes a flux in nJy, Jy or nanomaggy; {_text(node.parts[0])} is in {unit}"
        )

    def _finite(self, node: Branch) -> Meaning:
        formula = self._number(node.parts[0]).formula
        below = f.Compare("<", formula, f.Constant(math.inf))
        above = f.Compare(">", formula, f.Constant(-math.inf))
        return Meaning(f.All((below, above)), "condition")

    def _has_bit(self, node: Branch) -> Meaning:
        about = node.parts[0]
        column = self._number(about).formula
        undeclared = isinstance(column, f.Column) and self.columns[column.name].unit == ANY_UNIT
        if not isinstance(column, f.Column) or (column.type != "integer" and not undeclared):
            raise about.place.error(f"has_bit() takes a column of integers, not {_text(about)}")
        bits = 0
        for part in node.parts[1:]:
            bit = self._number(part).constant
            if not isinstance(bit, int) or not 0 <= bit <= _HIGHEST_BIT:
                raise part.place.error(
                    f"a bit is a whole number, 0 to {_HIGHEST_BIT}, not {_text(part)}; "
                    "`define:` can give it a name, e.g. BRIGHT: 1"
                )
            bits |= 1 << bit
        return Meaning(f.HasBit(column, bits), "condition")

    def _in_moc(self, node: Branch) -> Meaning:
        file = node.parts[0]
        assert isinstance(file, Text)
        healpix = self.columns.role("_healpix_29", node.place)
        region = region_in(file.value, file.place, self.attachments)
        return Meaning(f.Lookup(region, (healpix,)), "condition")

    def _within(self, node: Branch) -> Meaning:
        file, distance = node.parts
        assert isinstance(file, Text)
        radius = self._number(distance)
        if radius.constant is None or radius.unit is None or not radius.unit.is_equivalent(u.deg):
            raise distance.place.error("the radius of within() is an angle, e.g. 5 arcsec")
        degrees = float(radius.constant * radius.unit.to(u.deg))
        if not 0 < degrees <= 180:
            raise distance.place.error(f"expected up to 180 deg, not {_text(distance)}")
        position = tuple(self.columns.role(name, node.place) for name in ("ra", "dec"))
        places = self.attachments.places(file.value, file.place, degrees)
        return Meaning(f.Lookup(places, position), "condition")

    def _operation(self, node: Branch) -> Meaning:
        operands = [self._number(part) for part in node.parts]
        if node.word in ("+", "-", "min", "max"):
            for i in range(1, len(operands)):
                operands[0], operands[i] = self._in_one_unit(
                    operands[0], node.parts[0], operands[i], node.parts[i]
                )
            operands = [replace(each, unit=operands[0].unit) for each in operands]
        try:
            unit, scale = self._unit_of_result(node, operands)
        except (OverflowError, u.UnitsError):
            raise node.place.error(
                f"the unit of {_text(node)} is out of reach; take smaller powers"
            ) from None
        formula: f.Formula = f.Operation(node.word, tuple(each.formula for each in operands))
        if node.word == "log10":
            formula = f.Operation("log10", (_scaled(operands[0].formula, scale),))
        elif scale != 1:
            formula = _scaled(formula, scale)
        if all(each.constant is not None for each in operands):
            formula = _folded(formula, node.place)
        return Meaning(formula, unit=unit)

    def _unit_of_result(
        self, node: Branch, operands: list[Meaning]
    ) -> tuple[u.UnitBase | None, float]:
        """The unit of an operation, and the factor by which its pure number is to be scaled."""
        first = operands[0].unit
        if any(each.unit == ANY_UNIT for each in operands):
            return ANY_UNIT, 1.0
        if node.word in ("+", "-", "min", "max", "abs", "negative"):
            return first, 1.0
        if node.word == "log10":
            return _simple(first) if first is not None and _is_pure(first) else (None, 1.0)
        if first is None and (len(operands) == 1 or operands[1].unit is None):
            return None, 1.0
        first = first or u.dimensionless_unscaled
        if node.word == "sqrt":
            return _simple(first**0.5)
        second = operands[1].unit or u.dimensionless_unscaled
        if node.word in ("*", "/"):
            return _simple(first * second if node.word == "*" else first / second)
        exponent = operands[1].constant
        if exponent is None or operands[1].unit is not None:
            raise node.parts[1].place.error(
                f"{_text(node.parts[0])} is in {first}; its power must be a plain number"
            )
        return _simple(first**exponent)

    def _in_one_unit(
        self, left: Meaning, left_node: Node, right: Meaning, right_node: Node
    ) -> tuple[Meaning, Meaning]:
        """Both meanings in one unit; a bare number takes the other side's."""
        if left.unit == right.unit:
            return left, right
        if ANY_UNIT in (left.unit, right.unit):
            return replace(left, unit=ANY_UNIT), replace(right, unit=ANY_UNIT)
        fixed = right.unit is not None and right.constant is None
        if left.unit is None or (fixed and left.constant is not None):
            right, left = self._in_one_unit(right, right_node, left, left_node)
            return left, right
        if right.unit is not None:
            if not right.unit.is_equivalent(left.unit):
                raise right_node.place.error(_about_units(left, left_node, right, right_node))
            factor = right.unit.to(left.unit)
            return left, replace(right, formula=_scaled(right.formula, factor), unit=left.unit)
        if left.constant is None:
            return left, replace(right, unit=left.unit)
        if right.constant is not None:  # 50 mag + 3
            return left, replace(right, unit=left.unit)
        if not _is_pure(left.unit):
            raise left_node.place.error(
                f"{_text(right_node)} has no unit in this catalog; write the bare number "
                f"{left.constant!r}"
            )
        factor = left.unit.to(u.dimensionless_unscaled)
        return replace(left, formula=_scaled(left.formula, factor), unit=None), right


def _needs_comparison(node: Node) -> str:
    text = _text(node)
    if isinstance(node, Branch) and node.word == "P":
        return f"{text} is a probability; compare it, e.g. {text} >= 0.8"
    return f"{text} is a number, not a condition; compare it, e.g. {text} > 10"


def _text(node: Node) -> str:
    text = syntax.unwrapped(node)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _scaled(formula: f.Formula, factor: float) -> f.Formula:
    if factor == 1:
        return formula
    if isinstance(formula, f.Constant):
        return f.Constant(formula.value * factor)
    return f.Operation("*", (formula, f.Constant(factor)))


def _folded(formula: f.Formula, place: SourceLocation) -> f.Constant:
    """The value of an operation on constants."""
    assert isinstance(formula, f.Operation)
    if formula.name == "negative" and isinstance(formula.values[0], f.Constant):
        return f.Constant(-formula.values[0].value)
    values = []
    for part in formula.values:
        inner = part if isinstance(part, f.Constant) else _folded(part, place)
        values.append(np.float64(inner.value))
    value = float(apply(formula.name, *values))
    if math.isinf(value):
        raise place.error("constant expression overflows")
    if math.isnan(value):
        raise place.error("constant expression has no value, such as 1 / 0 or log10(0)")
    return f.Constant(value)


def _as_precise_as(left: f.Formula, value: int | float) -> f.Constant:
    """The constant as the column itself would hold it: 0.1 beside float32 is float32's 0.1.

    One beyond the largest float32 stays itself, since infinity would let infinite values pass.
    """
    largest = float(np.finfo(np.float32).max)
    if isinstance(left, f.Column) and left.type == "float32" and abs(value) <= largest:
        return f.Constant(float(np.float32(value)))
    return f.Constant(value)


def _is_pure(unit: u.UnitBase) -> bool:
    return unit.is_equivalent(u.dimensionless_unscaled)


def _simple(unit: u.UnitBase) -> tuple[u.UnitBase | None, float]:
    """A unit without a pure number in it, and that number: nm / Angstrom is 10."""
    if _is_pure(unit):
        return None, float(unit.to(u.dimensionless_unscaled))
    return unit, 1.0


def _about_units(left: Meaning, left_node: Node, right: Meaning, right_node: Node) -> str:
    subject = "the limit" if right.constant is not None else _text(right_node)
    kind = str(getattr(right.unit, "physical_type", "unknown")).split("/")[0]
    kind = f" ({kind})" if kind != "unknown" else ""
    return f"{_text(left_node)} is in {left.unit}, {subject} is in {right.unit}{kind}"


def _about_probability(value: int | float) -> str:
    hint = f"; did you mean {value / 100:.2f} or {value:g} percent?" if 1 < value <= 100 else ""
    return f"a probability is between 0 and 1, not {value:g}{hint}"
