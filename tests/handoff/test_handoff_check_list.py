"""A file that says it is a target list, and is none."""

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import HandoffError
from targetsel.handoff.prepare import checked
from targetsel.handoff.simulation import INSTRUMENTS, simulate
from targetsel.selection.target_list import TargetList
from tests.handoff.lists_by_hand import target_list


def changed(name, values):
    """The list by hand with a column of another type, or (None) without it."""
    targets = target_list()
    table, place = targets.table, targets.table.schema.get_field_index(name)
    if values is None:
        return TargetList(table.remove_column(place), targets.footer)
    return TargetList(table.set_column(place, name, pa.array(values)), targets.footer)


def test_list_by_hand_is_sound_and_an_empty_one_too():
    checked(target_list())
    checked(target_list(0))
    checked(changed("parallax", None))
    checked(target_list(ref_epoch=[0.0, None, 2016.0, 1950.0], n_obs=[None, 1, 2, 3]))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("priority", None, "the list: no column 'priority', so it is not a target list"),
        (
            "target_id",
            ["a", "b", "c", "d"],
            "column 'target_id': expected whole numbers .Failed to parse",
        ),
        ("priority", [1.5, 2.0, 3.0, 4.0], "column 'priority': expected whole numbers, not 1.5"),
        ("priority", [1, 2, None, 4], "column 'priority': has gaps"),
        ("exptime", ["a", "b", "c", "d"], "column 'exptime': holds text"),
    ],
)
def test_columns_of_another_kind_are_refused(name, values, message):
    with pytest.raises(HandoffError, match=message):
        checked(changed(name, values))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"target_id": [101, 101, 102, 103]}, "several targets of one target_id"),
        ({"target_id": [-1, 101, 102, 103]}, "target_id of 1 of 4 .* that of target -1 is -1"),
        ({"ra": [np.nan, 1, 2, 3]}, "ra of 1 of 4 targets is impossible: that of target 101 is"),
        ({"ra": [0, 1, 2, 360]}, "that of target 104 is 360.0; expected 0 to 360 deg"),
        ({"dec": [0, 90.5, 0, 0]}, "that of target 102 is 90.5; expected -90 to 90 deg"),
        ({"subpriority": [0, 0.5, 1.0, 0]}, "that of target 103 is 1.0; expected 0 to 1"),
        ({"pmra": [0, np.inf, 0, None]}, "pmra of 1 of 4 .* that of target 102 is inf"),
        (
            {"pmdec": [0, 0, 1e7, None]},
            "pmdec of 1 of 4 .* expected up to 20000 mas/yr, or nothing",
        ),
        ({"ref_epoch": [1066.0] * 4}, "is 1066 to 1066 yr; expected epochs as Julian years"),
        ({"n_obs": [0, 1, 1, 1]}, "n_obs of 1 of 4 .* is 0; expected 1 or more"),
        ({"program": ["A\nB", "C", "C", "C"]}, r"class 'A.nB'; expected one line of text"),
    ],
)
def test_impossible_values_are_one_line_that_names_the_target(column, message):
    with pytest.raises(HandoffError, match=message) as raised:
        checked(target_list(**column))
    assert "\n" not in str(raised.value)


def test_simulation_looks_too():
    with pytest.raises(HandoffError, match="the list: no column 'priority', so it is not a"):
        simulate(changed("priority", None), INSTRUMENTS["pfs"], 0.0, 0.0)
