"""The reader of scored files: what it returns, and whose fault an error is."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, EnsembleError
from targetsel.scored.file import ScoredFile
from targetsel.tables.parquet import footer_in, write_table
from tests.selection.scored_by_hand import scored_table

N = 500


@pytest.fixture
def scored(tmp_path):
    """A scored file of three row groups."""
    table = scored_table(np.ones((N, 3)), np.ones((N, 3)))
    path = tmp_path / "a.scored.parquet"
    pq.write_table(table, path, row_group_size=200)
    with ScoredFile(path) as file:
        assert file.group_sizes == [200, 200, 100]
    return path


def test_tables_are_the_rows_in_their_order(scored):
    with ScoredFile(scored) as file:
        found = pa.concat_tables(file.tables(rows=70))
        assert found.equals(pq.read_table(scored))
        two = pa.concat_tables(file.tables(["ra", "source_id"], groups=[0, 2]))
        assert two.column_names == ["ra", "source_id"]
        assert two["source_id"].to_pylist() == [*range(1, 201), *range(401, 501)]
        assert two.schema.metadata == file.schema.metadata


def test_a_source_is_found_by_its_id_as_text(scored):
    with ScoredFile(scored) as file:
        assert file.row_of("450")["source_id"].to_pylist() == [450]
        with pytest.raises(CatalogError, match="has no source '501'"):
            file.row_of("501")


def test_damage_is_found_where_it_is_read(scored):
    """Zeros in the middle: the file opens, and one of its columns cannot be read."""
    whole = scored.read_bytes()
    scored.write_bytes(whole[:200] + bytes(2000) + whole[2200:])
    with ScoredFile(scored) as file:
        with pytest.raises(CatalogError, match=r"a\.scored\.parquet: .*damaged or cut short"):
            list(file.tables())
        with pytest.raises(CatalogError, match="damaged or cut short"):
            file.read(["source_id"], [0])


def _read_and_raise(path, error):
    with ScoredFile(path) as file:
        for _ in file.tables():
            raise error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), pa.ArrowInvalid("bug")])
def test_errors_of_others_keep_their_names(scored, error):
    with pytest.raises(type(error)) as caught:
        _read_and_raise(scored, error)
    assert caught.value is error


def test_a_file_of_another_ensemble_is_refused(scored):
    table = pq.read_table(scored)
    footer = footer_in(table.schema.metadata) | {"ensemble": {"name": "one", "sha256": 40 * "a"}}
    write_table(table, scored, footer)
    with ScoredFile(scored) as file:
        file.check_scored_by("one", 40 * "a")
        with pytest.raises(
            EnsembleError, match=r"scored by the ensemble 'one' \(aaaa.*not by 'two'"
        ):
            file.check_scored_by("two", 40 * "b")
