"""Exact quantiles of a catalog in several passes."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.rules import formula as f
from targetsel.selection import quantiles as module
from targetsel.selection.quantiles import catalog_quantiles
from targetsel.selection.sources import blocks_of

X = f.ColumnValue("x")


def quantile(values, probability):
    table = pa.table({"x": pa.array(values, pa.float64())})
    wanted = f.CatalogQuantile(X, probability)
    return catalog_quantiles([wanted], lambda: blocks_of(table))[wanted]


def test_quantile_is_the_smallest_value_that_the_share_does_not_exceed():
    assert quantile([5, 1, 4, 2, 3], 0.5) == 3
    assert quantile([5, 1, 4, 2, 3], 0.6) == 3
    assert quantile([5, 1, 4, 2, 3], 0.61) == 4
    assert quantile([5, 1], 0.001) == 1


def test_missing_values_do_not_count():
    assert quantile([None, 7.0, math.nan], 0.9) == 7
    assert math.isnan(quantile([None, math.nan], 0.5))
    assert math.isnan(quantile([], 0.5))


@pytest.mark.parametrize("few", [0, 3, 1 << 18])
@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=40),
    st.floats(min_value=0.01, max_value=0.99),
)
def test_quantile_is_that_of_the_sorted_values_however_it_is_found(few, values, probability):
    before, module.FEW = module.FEW, few
    try:
        found = quantile(values, probability)
    finally:
        module.FEW = before
    rank = max(math.ceil(probability * len(values) - 1e-9), 1)
    assert found == np.sort(values)[rank - 1]


def test_several_quantiles_of_sums_are_found_together():
    table = pa.table({"x": np.arange(100.0), "y": np.arange(100.0)})
    both = f.Operation("+", (X, f.ColumnValue("y")))
    wanted = [f.CatalogQuantile(both, 0.5), f.CatalogQuantile(X, 0.1)]
    assert list(catalog_quantiles(wanted, lambda: blocks_of(table)).values()) == [98.0, 9.0]
