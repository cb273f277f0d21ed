"""Tables of ids and positions that rules name."""

import pyarrow as pa
import pytest

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import RuleError
from targetsel.sky.external_files import ExternalFiles
from targetsel.tables.parquet import write_table


@pytest.fixture
def ids_in(tmp_path):
    """Reads the ids of a table with these columns, as an exclusion in rules would."""

    def read(columns, column="", footer=None, like="source_id"):
        write_table(pa.table(columns), tmp_path / "done.parquet", footer)
        place = SourceLocation(str(tmp_path / "rules.yaml"), 3, 5)
        ids = ExternalFiles().ids("done.parquet", place, column, pa.field(like, pa.int64()))
        return ids.keys.tolist()

    return read


def test_several_columns_that_may_hold_ids_are_refused_until_one_is_named(ids_in):
    columns = {"objid": [1, 2], "specobjid": [3, 4]}
    with pytest.raises(
        RuleError, match=r"several columns may be the source ids: .*with the key 'id'\."
    ):
        ids_in(columns)
    assert ids_in(columns, "specobjid") == [3, 4]


def test_column_named_as_in_the_catalog_is_taken_before_other_usual_names(ids_in):
    assert ids_in({"objid": [1, 2], "specobjid": [3, 4]}, like="specobjid") == [3, 4]


def test_column_that_the_footer_names_is_taken_first(ids_in):
    columns = {"source_id": [1, 2], "star": [3, 4]}
    assert ids_in(columns, footer={"columns": {"source_id": "star"}}) == [3, 4]
    assert ids_in(columns) == [1, 2]
