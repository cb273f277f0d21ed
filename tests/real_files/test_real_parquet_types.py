"""Columns of Parquet of every type that other programs write: as values, and as ids."""

from datetime import date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError
from targetsel.sky.catalog import Catalog
from targetsel.tables.formats import open_table
from targetsel.tables.parquet import write_table
from tests.real_files.conftest import one_line

DECIMAL = pa.decimal128(38, 0)
UUID = [b"0123456789abcdef", None]
TYPES = {
    "decimal": (pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)), [Decimal("1.50"), None]),
    "time stamp": (pa.array([1, None], pa.timestamp("s")), [datetime(1970, 1, 1, 0, 0, 1), None]),
    "duration": (pa.array([1, None], pa.duration("s")), [timedelta(seconds=1), None]),
    "date": (pa.array([1, None], pa.date32()), [date(1970, 1, 2), None]),
    "large text": (pa.array(["a", None], pa.large_string()), ["a", None]),
    "view of text": (pa.array(["a", None], pa.string_view()), ["a", None]),
    "dictionary": (pa.array([2**62, None]).dictionary_encode(), [2**62, None]),
    "large dictionary": (pa.array(["a", None], pa.large_string()).dictionary_encode(), ["a", None]),
    "unsigned": (pa.array([2**64 - 1, None], pa.uint64()), [2**64 - 1, None]),
    "half": (pa.array([1.5, None], pa.float16()), [1.5, None]),
    "bytes": (pa.array([b"a\0", None], pa.binary(2)), [b"a\0", None]),
    "nothing": (pa.nulls(2), [None, None]),
    "struct": (pa.array([{"a": {"b": 1}}, None]), [{"a": {"b": 1}}, None]),
    "map": (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), [[("a", 1)], None]),
    "lists": (pa.array([[[1], []], None], pa.list_(pa.large_list(pa.int8()))), [[[1], []], None]),
}


def column(path):
    table = open_table(path)
    return pa.concat_tables(table.batches(1000, ["x"]))["x"].to_pylist()


@pytest.mark.parametrize("name", TYPES)
def test_columns_of_every_type_keep_their_values_when_read_and_written(tmp_path, name):
    stored, values = TYPES[name]
    pq.write_table(pa.table({"x": stored}), tmp_path / "a.parquet")
    assert column(tmp_path / "a.parquet") == values
    write_table(pa.table({"x": stored}), tmp_path / "b.parquet")
    assert column(tmp_path / "b.parquet") == values


def catalog(path, ids, ra=(1.0, 2.0), name="source_id"):
    table = pa.table({name: ids, "ra": ra, "dec": pa.array([3.0, 4.0], pa.float32())})
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (pa.array([2**63 - 1, 7], pa.uint64()), [2**63 - 1, 7]),
        (pa.array([Decimal(2**62 + 1), Decimal(7)], DECIMAL), [2**62 + 1, 7]),
        (pa.array([Decimal(7), Decimal(8)], pa.decimal256(50, 0)), [7, 8]),
        (pa.array([2**62 + 1, 7]).dictionary_encode(), [2**62 + 1, 7]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (pa.array([b"ab", b"c\0"], pa.binary(2)), ["ab", "c"]),
        (pa.array([b"ab", b"c "], pa.binary_view()), ["ab", "c"]),
        (pa.array([7, 8], pa.float16()), [7, 8]),
    ],
    ids=lambda each: str(getattr(each, "type", "")),
)
def test_ids_of_every_type_are_exact(tmp_path, ids, found):
    assert Catalog.read(catalog(tmp_path / "a.parquet", ids)).source_id.tolist() == found


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (pa.array([2**63 + 1, 7], pa.uint64()), "has ids of 2^63 or more"),
        (pa.array([Decimal(2**64), Decimal(7)], DECIMAL), "has ids of 2^63 or more"),
        (pa.array([Decimal("1.5")] * 2, pa.decimal128(3, 1)), "holds values of type decimal128(3,"),
        (pa.array([1, 2], pa.timestamp("us")), "holds values of type timestamp[us]; expected ids"),
        (pa.array([1, 2], pa.duration("s")), "holds values of type duration[s]; expected ids, wh"),
        (pa.array([b"\xff\xfe", b"ab"], pa.binary(2)), "ids are bytes that are not UTF-8 text."),
        (pa.nulls(2), "holds nothing but nulls; expected ids, whole numbers or text"),
        (pa.array([True, False]), "holds true or false; expected ids, whole numbers or text"),
        (pa.array([[1], [2]]), "holds lists of whole numbers; expected ids"),
        (pa.array([{"a": 1}, {"a": 2}]), "holds values of type struct<a: int64>; expected ids"),
        (pa.array([7.5, 8.0]).dictionary_encode(), "ids are floats (double), and 7.5 is no"),
        (pa.array([2**11, 7], pa.float16()), "ids are floats (halffloat), and 2048.0 is beyond"),
    ],
    ids=lambda each: str(getattr(each, "type", "")),
)
def test_columns_that_can_hold_no_ids_are_refused(tmp_path, ids, message):
    with one_line(CatalogError, f"a.parquet, column 'source_id': {message}"):
        Catalog.read(catalog(tmp_path / "a.parquet", ids))


@pytest.mark.parametrize(
    ("ra", "good"),
    [
        (pa.array([1.0, 2.0]).dictionary_encode(), True),
        (pa.array([1.0, 2.0], pa.float16()), True),
        (pa.array([1, 2], pa.uint8()), True),
        (pa.array([Decimal("1.0"), Decimal("2.0")], pa.decimal128(9, 6)), False),
        (pa.array(["1", "2"]), False),
        (pa.nulls(2), False),
    ],
    ids=lambda each: str(getattr(each, "type", "")),
)
def test_positions_are_binary_numbers_of_any_width(tmp_path, ra, good):
    path = catalog(tmp_path / "a.parquet", [7, 8], ra)
    if good:
        assert Catalog.read(path).ra.tolist() == [1.0, 2.0]
        return
    with one_line(CatalogError, "a.parquet, column 'ra': holds"):
        Catalog.read(path)


@pytest.mark.parametrize("groups", [0, 1])
def test_file_without_rows_is_no_catalog(tmp_path, groups):
    schema = pa.schema([(name, pa.float64()) for name in ("source_id", "ra", "dec")])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema) as file:
        for _ in range(groups):
            file.write_table(schema.empty_table())
    with one_line(
        CatalogError, "a.parquet: the catalog has no rows; expected one for each source."
    ):
        Catalog.read(tmp_path / "a.parquet")


def test_empty_row_group_before_others_loses_no_row(tmp_path):
    table = pa.table({"source_id": [7], "ra": [1.0], "dec": [2.0]})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as file:
        for piece in (table.schema.empty_table(), table, table.schema.empty_table()):
            file.write_table(piece)
    assert Catalog.read(tmp_path / "a.parquet").source_id.tolist() == [7]


def test_names_that_differ_by_case_are_two_columns_and_not_guessed(tmp_path):
    table = pa.table({"source_id": [7], "RA": [1.0], "Ra": [5.0], "dec": [2.0]})
    pq.write_table(table, tmp_path / "a.parquet")
    with one_line(CatalogError, "several columns may be the right ascension: RA, Ra. Give the co"):
        Catalog.read(tmp_path / "a.parquet")
    assert Catalog.read(tmp_path / "a.parquet", ra_col="Ra").ra.tolist() == [5.0]
