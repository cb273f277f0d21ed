"""Whole numbers as ids need them: compared as they are, never as floats."""

import pyarrow as pa
import pytest

from targetsel.errors import CatalogError
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.selection.evaluation import all_hold
from targetsel.selection.sources import Sources
from tests.real_files.conftest import one_line
from tests.selection.scored_by_hand import rule_text, scored_table

FIRST = 1237648720693755918  # an id of SDSS; floats know only every 256th number there
COLUMNS = {
    "parent": (pa.array([FIRST, FIRST + 2, FIRST + 2, 9, None]), ""),
    "small": (pa.array([1, 2, 3, 4, None], pa.int16()), ""),
    "unsigned": (pa.array([2**64 - 1, 2**63, 0, 1, None], pa.uint64()), ""),
    "half": (pa.array([1.5, 2, 2.5, 3, None], pa.float16()), ""),
}
TABLE = scored_table(
    [[20, 60, 1.5]] * 5, [[1, 5, 0.1]] * 5, ids=[FIRST + k for k in range(5)], columns=COLUMNS
)


def chosen(where):
    conditions = plan(Rules.parse(rule_text(where)), TABLE.schema).classes[0].conditions
    return all_hold([each.formula for each in conditions], Sources(TABLE)).nonzero()[0].tolist()


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        (f"source_id == {FIRST + 1}", [1]),
        (f"source_id != {FIRST + 1}", [0, 2, 3, 4]),
        (f"not source_id == {FIRST + 1}", [0, 2, 3, 4]),
        (f"source_id in [{FIRST + 1}, {FIRST + 3}]", [1, 3]),
        (f"source_id between {FIRST + 1} and {FIRST + 2}", [1, 2]),
        (f"{FIRST} < source_id < {FIRST + 3}", [1, 2]),
        ("source_id > 1.237648720693755918e18", [1, 2, 3, 4]),
        ("source_id > 1e18", [0, 1, 2, 3, 4]),
        ("source_id == parent", [0, 2]),
        ("source_id < parent", [1]),
        ("parent is missing", [4]),
        ("unsigned == 18446744073709551615", [0]),
        ("unsigned > source_id", [0, 1]),
        ("unsigned > -1", [0, 1, 2, 3]),
        ("small * 2 > 3", [1, 2, 3]),
        ("small + half > 4", [2, 3]),
        ("small < 2.5", [0, 1]),
        ("half > 1.7", [1, 2, 3]),
        ("half == 2.5", [2]),
        ("half * 2 > 4", [2, 3]),
        ("finite(source_id)", [0, 1, 2, 3, 4]),
    ],
)
def test_whole_numbers_are_compared_exactly(where, rows):
    assert chosen(where) == rows


@pytest.mark.parametrize("where", ["source_id + 1 > 5", "-source_id < 0", "abs(source_id) > 1"])
def test_arithmetic_that_would_round_ids_is_refused(where):
    with one_line(CatalogError, "column 'source_id' has whole numbers beyond 2^53, with which ru"):
        chosen(where)
