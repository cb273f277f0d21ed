"""Rows of a scored file in the order of a list, on lists that do not fit it."""

import numpy as np
import pytest

from targetsel.errors import CatalogError
from targetsel.report.sheet import Listed, blocks
from targetsel.scored.file import ScoredFile
from tests.observing.test_observing_predicted import predicted


@pytest.fixture
def scored(tmp_path):
    with ScoredFile(predicted(tmp_path, (0.15, 0.15, 0.3))) as file:
        yield file


def listed(file, rows):
    (table,) = file.tables([file.names[name] for name in ("source_id", "ra", "dec")])
    ids, ra, dec = (table.column(k).to_numpy()[rows] for k in range(3))
    return Listed(ids, (ra, dec), [""] * len(ids), "mine.parquet")


def test_rows_come_in_the_order_of_the_list(scored):
    mine = listed(scored, [2, 0])
    (found,) = (table for table, _ in blocks(scored, mine, [scored.names["source_id"]]))
    assert found.column(0).to_pylist() == mine.source_id.tolist()


def test_a_source_twice_in_the_list_is_told_as_that(scored):
    mine = listed(scored, [0, 1, 0])
    with pytest.raises(CatalogError) as error:
        [*blocks(scored, mine, [scored.names["source_id"]])]
    assert str(error.value) == (
        f"mine.parquet: the source '{mine.source_id[0]}' is there more than once. Remove the "
        "repeated rows, or select the list again."
    )


def test_a_source_that_the_scored_file_lacks_is_named(scored):
    mine = listed(scored, [0, 1])
    mine = Listed(np.array([mine.source_id[0], 999_999]), mine.position, mine.words, mine.name)
    with pytest.raises(CatalogError, match="has no source '999999' of the list, and lacks 1 of"):
        [*blocks(scored, mine, [scored.names["source_id"]])]
