"""Functions that only rules have: of posteriors, catalogs, bits and files on the sky.

Each is a `RuleFunction`; with those of cells, of nights and of arithmetic they make up `FUNCTIONS`.
"""

from __future__ import annotations

import math
from dataclasses import replace

from targetsel.documents.source_location import SourceLocation
from targetsel.documents.units import times
from targetsel.errors import did_you_mean
from targetsel.expressions import grammar
from targetsel.expressions.functions import ARITHMETIC, Function
from targetsel.expressions.grammar import Branch, NameNode, Node, TextNode, in_brief
from targetsel.expressions.units import ANY_UNIT, DEG, MAG, PURE, Unit
from targetsel.photometry.flux import AB_ZERO_POINT, NANOMAGGY_ZERO_POINT
from targetsel.rules import formula as f
from targetsel.rules.calls import CallContext, RuleFunction
from targetsel.rules.cells import OF_CELLS
from targetsel.rules.columns import STATISTICS, CatalogColumns, footer
from targetsel.rules.formula import TypedExpression
from targetsel.rules.nights import OF_NIGHTS
from targetsel.spectra.copula import GROUP
from targetsel.spectra.proxies import CORRELATION, QUANTILES, correlated
from targetsel.spectrographs.following import of_line

_HIGHEST_BIT = 62
_AB_ZERO_POINTS = ((Unit("nJy"), AB_ZERO_POINT), (Unit("nmgy"), NANOMAGGY_ZERO_POINT))


def parse(text: str, place: SourceLocation | None = None) -> Node:
    """The syntax tree of an expression in a rule file; see `grammar.parse`."""
    return grammar.parse(text, place, FUNCTIONS)


def _probability(binder: CallContext, node: Branch) -> TypedExpression:
    if binder.inside_p:
        raise node.place.error("P() cannot stand inside P(); join the conditions in one P()")
    inner = node.parts[0]
    if not binder.columns.proxies:
        raise node.place.error(
            "P() needs predicted quantities, and this file has none; "
            "score the catalog first with 'targetsel score'"
        )
    binder.inside_p = True
    otherwise = f"P() needs a condition inside: compare {in_brief(inner)} with a value"
    condition = binder.read_condition(inner, otherwise)
    binder.inside_p = False
    _refuse_lost_posteriors(binder.columns, condition, node.place)
    if not f.proxies(condition):
        names = sorted(column.name for column in f.columns(condition))
        subject = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
        verb = "are" if names[1:] else "is"
        first, known = names[0] if names else "", binder.columns.proxies
        always = [name for name in known if name in binder.columns.names]
        raise node.place.error(
            f"P() needs at least one predicted quantity; {subject} {verb} none."
            + (did_you_mean(first, always) or did_you_mean(first, known))
        )
    return TypedExpression(f.Probability(condition), "probability")


def _refuse_lost_posteriors(
    columns: CatalogColumns, condition: f.Formula, place: SourceLocation
) -> None:
    """Refuse a condition whose quantities were predicted, but whose joint posterior is not here.

    Programs that rewrite a scored file may leave out columns of quantiles or correlations; without
    them a median would pass for certain, or quantities for independent.
    """
    step = "Restore the file from its original with 'targetsel restore', or score the catalog again"
    for name in sorted(each.name for each in f.columns(condition)):
        there = {name + end for end in STATISTICS} <= {*columns.schema.names}
        if there and name not in columns.proxies:
            raise place.error(
                f"P() needs the posterior of '{name}', and the catalog has no column "
                f"'{name}{QUANTILES}' that holds it. {step}"
            )
    if columns.lost and any(of_line(each.name) for each in f.columns(condition)):
        raise place.error(columns.lost)
    known = correlated(columns.schema)
    involved = f.proxies(condition)
    if columns.following is not None:
        involved = columns.following.drawn(involved)
    names = [name for name in columns.proxies if name in involved]
    calibration = footer(columns.schema).get("calibration")
    is_joint = isinstance(calibration, dict) and calibration.get("joint")
    if len(names) > 1 and is_joint and GROUP not in columns.schema.names:
        raise place.error(
            f"P() of {' and '.join(names)} needs the column '{GROUP}' of the calibration, which "
            f"the catalog has lost. {step}"
        )
    for k, name in enumerate(names):
        for other in names[:k]:
            if other not in known.get(name, ()) and name not in known.get(other, ()):
                raise place.error(
                    f"P() needs the correlation of '{other}' and '{name}', and the catalog has no "
                    f"column '{name}{CORRELATION}' that holds it. {step}"
                )


def _predicted(binder: CallContext, node: Branch) -> str:
    """The name of the predicted quantity in a call of std() or q()."""
    about, proxies = node.parts[0], binder.columns.proxies
    name = about.name if isinstance(about, NameNode) else ""
    if name not in proxies:
        raise about.place.error(
            f"{node.word}() takes the name of a predicted quantity "
            f"({', '.join(proxies) or 'none in this file'}), "
            f"not {in_brief(about)}.{did_you_mean(name, proxies)}"
        )
    return name


def _standard_deviation(binder: CallContext, node: Branch) -> TypedExpression:
    name, columns = _predicted(binder, node), binder.columns
    if f"{name}_std" not in columns:
        raise node.place.error(f"this file has no column '{name}_std'; score it again")
    return replace(columns[f"{name}_std"], unit=columns[name].unit)


def _quantile(binder: CallContext, node: Branch) -> TypedExpression:
    name = _predicted(binder, node)
    return TypedExpression(f.Quantile(name, _level(binder, node)), unit=binder.columns[name].unit)


def _level(binder: CallContext, node: Branch) -> float:
    """The second argument of q() and catalog_quantile()."""
    level = binder.read_number(node.parts[1])
    probability = level.constant
    if probability is not None and level.unit is not None and level.unit.is_pure:
        probability = times(probability, level.unit.factor_to(PURE))
    if probability is None or not 0 < probability < 1:
        raise node.parts[1].place.error(
            f"the second argument of {node.word}() must be a probability between 0 and 1, e.g. 0.16"
        )
    return float(probability)


def _catalog_quantile(binder: CallContext, node: Branch) -> TypedExpression:
    inside_p, binder.inside_p = binder.inside_p, False
    value = binder.read_number(node.parts[0])
    binder.inside_p = inside_p
    if value.constant is not None:
        raise node.parts[0].place.error("catalog_quantile() of a constant; name a column")
    if any(isinstance(part, f.CatalogQuantile) for part in f.walk(value.formula)):
        raise node.place.error(
            "catalog_quantile() cannot stand inside catalog_quantile(); write it beside the other"
        )
    quantile = f.CatalogQuantile(value.formula, _level(binder, node))
    binder.quantiles[quantile] = str(node)
    return replace(value, formula=quantile)


def _magnitude(binder: CallContext, node: Branch) -> TypedExpression:
    flux = binder.read_number(node.parts[0])
    if flux.unit == ANY_UNIT:
        return TypedExpression(f.Operation("log10", (flux.formula,)), unit=MAG)
    for unit, zero_point in _AB_ZERO_POINTS:
        if flux.unit is not None and flux.unit.agrees_with(unit):
            log = f.Operation("log10", (f.scaled(flux.formula, flux.unit.factor_to(unit)),))
            scaled = f.Operation("*", (f.Constant(-2.5), log))
            return TypedExpression(f.Operation("+", (f.Constant(zero_point), scaled)), unit=MAG)
    name = in_brief(node.parts[0])
    step = (
        "convert it"
        if flux.unit is not None
        else f"if it holds such numbers, write mag({name} * 1 nJy); CSV keeps no units"
    )
    raise node.parts[0].place.error(
        f"mag() takes a flux, expected in nJy, Jy or nanomaggy; {name} is in "
        f"{flux.unit or 'no unit'}; {step}"
    )


def _finite(binder: CallContext, node: Branch) -> TypedExpression:
    formula = binder.read_number(node.parts[0]).formula
    below = f.Compare("<", formula, f.Constant(math.inf))
    above = f.Compare(">", formula, f.Constant(-math.inf))
    return TypedExpression(f.All((below, above)), "condition")


def _has_bit(binder: CallContext, node: Branch) -> TypedExpression:
    about = node.parts[0]
    column = binder.read_number(about).formula
    undeclared = isinstance(column, f.ColumnValue) and binder.columns[column.name].unit == ANY_UNIT
    if not isinstance(column, f.ColumnValue) or (column.type != "integer" and not undeclared):
        raise about.place.error(f"has_bit() must have a column of integers, not {in_brief(about)}")
    bits = 0
    for part in node.parts[1:]:
        bit = binder.read_number(part).constant
        if not isinstance(bit, int) or not 0 <= bit <= _HIGHEST_BIT:
            raise part.place.error(
                f"a bit must be a whole number, 0 to {_HIGHEST_BIT}, not {in_brief(part)}; "
                "`define:` can give it a name, e.g. BRIGHT: 1"
            )
        bits |= 1 << bit
    return TypedExpression(f.HasBit(column, bits), "condition")


def _in_moc(binder: CallContext, node: Branch) -> TypedExpression:
    file = node.parts[0]
    assert isinstance(file, TextNode)
    healpix = binder.columns.role("_healpix_29", node.place)
    region = binder.files.region(file.value, file.place)
    return TypedExpression(f.Lookup(region, (healpix,)), "condition")


def _within(binder: CallContext, node: Branch) -> TypedExpression:
    file, distance = node.parts
    assert isinstance(file, TextNode)
    radius = binder.read_number(distance)
    if radius.constant is None or radius.unit is None or not radius.unit.agrees_with(DEG):
        raise distance.place.error("the radius of within() must be an angle, e.g. 5 arcsec")
    degrees = times(radius.constant, radius.unit.factor_to(DEG))
    if not 0 < degrees <= 180:
        raise distance.place.error(
            f"expected more than 0 and up to 180 deg, not {in_brief(distance)}"
        )
    position = tuple(binder.columns.role(name, node.place) for name in ("ra", "dec"))
    places = binder.files.places(file.value, file.place, degrees)
    return TypedExpression(f.Lookup(places, position), "condition")


_OF_RULES = (
    RuleFunction(
        *("P", "probability of a condition, over the posterior", (1, 1), _probability),
        signature="P(condition)",
        gives="0 to 1",
        example="P(ew_halpha > 20 Angstrom and ew_oiii > 10 Angstrom) >= 0.8",
    ),
    RuleFunction(
        *("std", "standard deviation of a posterior", (1, 1), _standard_deviation),
        signature="std(proxy)",
        gives="in the unit of the proxy",
        example="std(ew_halpha) < 5 Angstrom",
    ),
    RuleFunction(
        *("q", "quantile of a posterior", (2, 2), _quantile),
        signature="q(proxy, share)",
        gives="in the unit of the proxy",
        example="q(d4000, 0.16) > 1.5",
    ),
    RuleFunction(
        *("mag", "AB magnitude of a flux, missing at 0 and below", (1, 1), _magnitude),
        signature="mag(flux)",
        gives="in mag",
        example="mag(flux_r) < 20.5 mag",
    ),
    RuleFunction(
        *("finite", "whether a number is neither missing nor infinite", (1, 1), _finite),
        signature="finite(x)",
        gives="a condition",
        example="finite(gmag)",
    ),
    RuleFunction(
        *("has_bit", "whether an integer has any of these bits", (2, 64), _has_bit),
        signature="has_bit(column, bit, ...)",
        gives="a condition",
        example="not has_bit(maskbits, 1, 5)",
    ),
    RuleFunction(
        *("in_moc", "whether a source lies in a MOC or region file", (1, 1), _in_moc),
        signature="in_moc(file)",
        gives="a condition",
        example="in_moc('stars.moc.fits')",
        takes_file=True,
    ),
    RuleFunction(
        *("within", "whether a source lies near one of a table", (2, 2), _within),
        signature="within(file, angle)",
        gives="a condition",
        example="within('stars.parquet', 5 arcsec)",
        takes_file=True,
    ),
    RuleFunction(
        *("catalog_quantile", "quantile over the whole catalog", (2, 2), _catalog_quantile),
        signature="catalog_quantile(x, share)",
        gives="in the unit of x",
        example="epistemic < catalog_quantile(epistemic, 0.99)",
    ),
)
FUNCTIONS: dict[str, Function] = {
    **{each.name: each for each in (*_OF_RULES, *OF_CELLS, *OF_NIGHTS)},
    **ARITHMETIC,
}
