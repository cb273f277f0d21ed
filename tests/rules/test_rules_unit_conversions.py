"""Conversions of units are exact at round numbers: equal values are neither more nor less."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest

from targetsel.documents.models import parse_quantity
from targetsel.expressions.units import UNITS
from targetsel.photometry.flux import njy_per_unit
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.selection.evaluation import all_hold
from targetsel.selection.sources import Sources
from targetsel.tables.columns import in_unit

# How many of the smallest unit of their kind each holds, by definition of the units.
SIZES = [
    {"Angstrom": 1, "AA": 1, "nm": 10, "um": 10_000},
    {"mas": 1, "arcsec": 1000, "arcmin": 60_000, "deg": 3_600_000},
    {"nJy": 1, "uJy": 1000, "mJy": 10**6, "Jy": 10**9},
    {"nanomaggy": 1, "nmgy": 1},
    {"s": 1, "min": 60, "h": 3600, "yr": 31_557_600},
    {"erg/s/cm2/Angstrom": 1, "erg/s/cm2/AA": 1},
]
ALONE = {"mag", "mas/yr", "percent", "km/s", "erg/s/cm2"}
PAIRS = [
    (of, to, Fraction(sizes[of], sizes[to])) for sizes in SIZES for of, to in permutations(sizes, 2)
]


def column(name, values, unit):
    return pa.field(name, pa.float64(), metadata={"unit": UNITS[unit]}), pa.array(values)


def kept(condition, *columns):
    """Whether sources with these columns obey a condition."""
    fields, values = zip(*columns, strict=True)
    table = pa.table(list(values), schema=pa.schema(fields))
    text = (
        "schema: targetsel/rules/v1\nname: a\nclasses:\n"
        f"  A: {{bit: 0, where: ['{condition}'], priority: 1}}\n"
    )
    (target_class,) = plan(Rules.parse(text), table.schema).classes
    return all_hold([each.formula for each in target_class.conditions], Sources(table)).tolist()


def test_all_units_of_rules_are_tried_here():
    assert ALONE | {name for sizes in SIZES for name in sizes} == {*UNITS}


@pytest.mark.parametrize(("of", "to", "factor"), PAIRS)
def test_a_value_equal_to_a_limit_in_another_unit_is_neither_more_nor_less(of, to, factor):
    limits = [1, 10, 1000]
    x = column("x", [float(limit * factor) for limit in limits], to)
    for k, limit in enumerate(limits):
        for sign in "<>":
            assert not kept(f"x {sign} {limit} {of}", x)[k]
            assert not kept(f"{limit} {of} {sign} x", x)[k]
        assert kept(f"x >= {limit} {of}", x)[k]
        assert kept(f"x == {limit} {of}", x)[k]


@pytest.mark.parametrize(("of", "to", "factor"), PAIRS)
def test_equal_values_of_two_columns_are_neither_more_nor_less(of, to, factor):
    limits = [each for each in (1, 10, 1000) if Fraction(float(each * factor)) == each * factor]
    x = column("x", [float(limit * factor) for limit in limits], to)
    y = column("y", [float(limit) for limit in limits], of)
    assert kept("x == y", x, y) == kept("y == x", x, y) == [True] * len(limits)
    assert not any(kept("x < y", x, y) + kept("x > y", x, y))


@pytest.mark.parametrize(("of", "to", "factor"), PAIRS)
def test_columns_and_options_convert_to_the_nearest_number(of, to, factor):
    limits = [1, 3, 7, 10, 1000]
    field, values = column("x", [float(each) for each in limits], of)
    found = in_unit(pa.chunked_array([values]), field, UNITS[to], "a.parquet").to_pylist()
    assert found == [float(each * factor) for each in limits]
    if "/" not in to:
        assert parse_quantity(f"7 {UNITS[of]}", UNITS[to]) == float(7 * factor)


def test_percents_are_hundredths():
    numbers = pa.field("x", pa.float64()), pa.array([0.8, 0.07])
    assert kept("x == 80 percent or x == 7 percent", numbers) == [True, True]


@pytest.mark.parametrize(
    ("unit", "size"), [("uJy", 1e3), ("mJy", 1e6), ("Jy", 1e9), ("10 nJy", 10)]
)
def test_fluxes_of_catalogs_are_in_round_numbers_of_nanojansky(unit, size):
    assert njy_per_unit(unit) == size


def test_irrational_factors_stay_as_astropy_has_them():
    field = pa.field("x", pa.float64(), metadata={"unit": "rad"})
    (found,) = in_unit(pa.chunked_array([[1.0]]), field, "deg", "a.parquet").to_pylist()
    assert found == pytest.approx(180 / np.pi, rel=1e-15)
