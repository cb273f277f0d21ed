"""Columns that a target list takes from a catalog, in whatever unit and type they are kept."""

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import CatalogError
from targetsel.rules.rules import Rules
from targetsel.selection.membership import apply_rules
from targetsel.selection.target_list import rank
from tests.selection.scored_by_hand import scored_table

RULES = Rules.parse(
    "schema: targetsel/rules/v1\nname: t\nclasses: {A: {bit: 0, priority: 1, where: dec < 90}}\n"
)


def taken(name, values, unit=""):
    """A column of the target list of two sources whose catalog has it so."""
    ones = np.ones((2, 3))
    table = scored_table(ones, ones, columns={name: (values, unit)})
    return rank(apply_rules(RULES, table), RULES).table[name.lower()].to_pylist()


@pytest.mark.parametrize(
    ("name", "values", "unit", "expected"),
    [
        ("pmdec", [0.5, np.nan], "arcsec/yr", [500.0, None]),
        ("PMRA", [500.0, 1.0], "mas.yr-1", [500.0, 1.0]),
        ("pmra", [0.5, 1.0], "", [0.5, 1.0]),
        ("parallax", [0.25, 0.5], "arcsec", [250.0, 500.0]),
        ("exptime", [15.0, 30.0], "min", [900.0, 1800.0]),
        ("exptime", [15, 30], "min", [900.0, 1800.0]),
        ("ref_epoch", [2015.5, 2016.0], "yr", [2015.5, 2016.0]),
        ("ref_epoch", [51544.5, 51544.5 + 3652.5], "d", [2000.0, 2010.0]),
        ("ref_epoch", [51544.5, np.nan], "", [2000.0, None]),
        ("ref_epoch", [2451545.0, 2451545.0], "d", [2000.0, 2000.0]),
        ("REF_EPOCH", [2015.5, 0.0], "", [2015.5, None]),
        ("n_obs", [2.0, np.nan], "", [2, None]),
        ("n_obs", pa.array([2, None]), "", [2, None]),
        ("obs_conditions", [1.0, 4.0], "", [1, 4]),
    ],
)
def test_values_are_those_that_the_unit_says(name, values, unit, expected):
    found = taken(name, values, unit)
    assert [each is None for each in found] == [each is None for each in expected]
    found, expected = (np.array(each, dtype=float) for each in (found, expected))
    assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "values", "unit", "said"),
    [
        ("pmdec", [0.5, 1.0], "km/s", "'pmdec': is in 'km/s'; expected 'mas/yr'"),
        ("exptime", [15.0, 1.0], "mag", "'exptime': is in 'mag'; expected 's'"),
        ("pmdec", ["fast", "slow"], "", "'pmdec': holds text; expected numbers"),
        ("ref_epoch", [15.5, 16.0], "yr", "is 15.5 to 16 yr; expected epochs as Julian years"),
        ("ref_epoch", [2016.0, 57400.0], "", "is 2016 to 57400; expected epochs"),
        ("n_obs", [1.5, 2.0], "", "'n_obs': expected whole numbers"),
        ("n_obs", [1, 2**40], "", "'n_obs': expected whole numbers"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(name, values, unit, said):
    with pytest.raises(CatalogError) as caught:
        taken(name, values, unit)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
