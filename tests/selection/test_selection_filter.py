"""A filter keeps exactly the sources that pass, and evaluates slow conditions on few."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.rules.formula import ColumnValue, Compare, Constant, Lookup, Operation
from targetsel.selection import evaluation as module
from targetsel.selection.evaluation import (
    Filter,
    _value_as_float32,
    as_float32,
    passing,
    value,
)
from targetsel.selection.sources import Sources

NUMBERS = st.lists(st.floats(-3, 3), min_size=1, max_size=60)


def sources(**columns) -> Sources:
    return Sources(pa.table(columns))


def above(name: str, limit: float) -> Compare:
    return Compare(">", ColumnValue(name), Constant(limit))


@pytest.mark.parametrize("few", [1, 2, 8, 1000])
@given(NUMBERS, st.lists(st.floats(-3, 3), max_size=4))
def test_what_is_left_is_what_passes_however_many_are_removed(few, numbers, limits):
    x = np.array(numbers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FEW", few)
        left = Filter(sources(x=x))
        for n, limit in enumerate(limits, 1):
            left.keep(above("x", limit))
            assert len(left) == (x > max(limits[:n])).sum()
    assert left.rows.tolist() == np.flatnonzero(x > max(limits, default=-np.inf)).tolist()


class Counting:
    """Finds every source, and notes how many it was asked about."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def found(self, ids: np.ndarray) -> np.ndarray:
        self.asked.append(len(ids))
        return np.ones(len(ids), dtype=bool)


def test_lookups_come_last_and_are_asked_of_those_left_only():
    finder = Counting()
    lookup = Lookup(finder, (ColumnValue("id"),))
    table = sources(id=np.arange(10), x=np.arange(10.0))
    assert passing([lookup, above("x", 1), above("x", 3)], table).tolist() == [4, 5, 6, 7, 8, 9]
    assert finder.asked == [6]
    assert passing([above("x", 99), lookup], table).tolist() == []
    assert finder.asked == [6]


FLOAT32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(FLOAT32, FLOAT32), min_size=1, max_size=20), st.sampled_from("+-"))
def test_sums_of_float32_are_those_that_float64_gives_in_the_end(pairs, sign):
    left, right = (pa.array(side, pa.float32()) for side in zip(*pairs, strict=True))
    both = sources(a=left, b=right)
    formula = Operation(sign, tuple(ColumnValue(name, type="float32") for name in "ab"))
    quick, exact = _value_as_float32(formula, both), as_float32(value(formula, both))
    assert np.array_equal(quick.astype(float), exact.astype(float), equal_nan=True)
