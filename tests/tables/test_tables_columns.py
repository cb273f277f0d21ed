import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, SpectrumError
from targetsel.tables.columns import (
    ID,
    NEVER,
    Column,
    FileKind,
    in_one_piece,
    in_unit,
    list_column,
    matrix,
)
from targetsel.tables.ids import matched
from targetsel.tables.parquet import described
from targetsel.tables.types import is_number, is_text

KIND = FileKind(
    "a file of widths",
    (
        Column("source_id", ID, null_when=NEVER),
        Column("width", pa.float32(), "Angstrom", "spect.line.eqWidth", "equivalent width"),
        Column("latent_mean", pa.list_(pa.float32(), 3), meaning="latents", required=False),
        Column("label", pa.string(), required=False, notes={"with": "width"}),
    ),
    "Measure the spectra first.",
)


def written(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def with_unit(values, unit, name="width"):
    return pa.table([pa.array(values)], schema=pa.schema([described(name, pa.float64(), unit)]))


def test_schema_has_units_meanings_and_no_nulls_where_there_are_none():
    schema = KIND.schema
    assert schema.names == ["source_id", "width", "latent_mean", "label"]
    assert not schema.field("source_id").nullable
    assert schema.field("source_id").type == pa.int64()
    assert schema.field("width").metadata == {
        b"unit": b"Angstrom", b"ucd": b"spect.line.eqWidth", b"description": b"equivalent width",
    }  # fmt: skip
    assert schema.field("label").metadata == {b"with": b"width"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"source_id": [1], "widht": [2.0]},
            "no column 'width', so it is not a file of widths. Did you mean 'widht'? Measure the "
            "spectra first.",
        ),
        (
            {"source_id": [1.5], "width": [2.0]},
            "ids are floats (double), and 1.5 is no whole number",
        ),
        (
            {"source_id": [1], "width": ["2"]},
            "column 'width': holds text; expected numbers",
        ),
        (
            {"source_id": [1], "width": [True]},
            "column 'width': holds true or false; expected numbers",
        ),
        (
            {
                "source_id": [1],
                "width": [1.0],
                "latent_mean": pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)),
            },
            "column 'latent_mean': has lists of 2 numbers; expected 3",
        ),
        (
            {"source_id": [1], "width": [1.0], "latent_mean": [["a"]]},
            "column 'latent_mean': holds lists of text; expected lists of 3 numbers",
        ),
    ],
)
def test_file_of_another_kind_is_refused_with_column_and_reason(tmp_path, columns, message):
    path = written(tmp_path / "widths.parquet", **columns)
    with pytest.raises(CatalogError) as error:
        KIND.read(path)
    assert str(path) in str(error.value)
    assert message in str(error.value).replace("list<item", "list<element")


def test_kind_raises_its_own_class_of_error(tmp_path):
    kind = FileKind("a spectrum", KIND.columns, error=SpectrumError)
    with pytest.raises(SpectrumError, match="no column 'source_id'"):
        kind.read(written(tmp_path / "other.parquet", x=[1]))


def test_column_that_is_there_twice_is_refused():
    schema = pa.schema(
        [("source_id", pa.int64()), ("width", pa.float64()), ("width", pa.float64())]
    )
    kind = FileKind("a list of widths", (Column("width", pa.float64()),))
    with pytest.raises(CatalogError, match=r"^list: has several columns 'width'; expected one\.$"):
        kind.check(schema, "list")


def test_missing_file_and_cut_file_are_refused(tmp_path):
    with pytest.raises(CatalogError, match="no such file"):
        KIND.read(tmp_path / "none.parquet")
    path = written(tmp_path / "cut.parquet", source_id=[1], width=[1.0])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CatalogError, match="cut short"):
        KIND.read(path)


def test_ids_may_be_numbers_or_text_and_undeclared_columns_are_left_out(tmp_path):
    for ids in ([12, 13], ["a", "b"]):
        path = written(tmp_path / "w.parquet", source_id=ids, width=[1, 2], other=[0, 0])
        table = KIND.read(path)
        assert table.column_names == ["source_id", "width"]
        assert table["source_id"].to_pylist() == ids
    assert KIND.read(path, ["width"]).column_names == ["width"]
    with pytest.raises(CatalogError, match="no column 'label'"):
        KIND.read(path, ["label"])


def test_widths_in_nanometres_are_converted_to_angstrom(tmp_path):
    path = tmp_path / "w.parquet"
    table = with_unit([1.0, None], "nm").append_column("source_id", pa.array([1, 2]))
    pq.write_table(table, path)
    assert KIND.read(path)["width"].to_pylist() == [pytest.approx(10.0), None]


@pytest.mark.parametrize("unit", ["mag", "deg", "furlongs per fortnight"])
def test_unit_that_cannot_be_converted_is_refused(unit):
    table = with_unit([1.0], unit)
    with pytest.raises(CatalogError, match=f"x, column 'width': is in '{unit}'; expected 'Ang"):
        in_unit(table["width"], table.schema.field("width"), "Angstrom", "x")


def test_unit_spelt_otherwise_changes_no_value():
    table = with_unit([1.5], "AA")
    column = table["width"]
    assert in_unit(column, table.schema.field("width"), "Angstrom", "x") is column
    bare = with_unit([1.5], "")
    assert in_unit(bare["width"], bare.schema.field("width"), "Angstrom", "x").to_pylist() == [1.5]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 2), pa.list_(pa.int16()),
                                  pa.large_list(pa.float64())])  # fmt: skip
def test_lists_become_a_matrix_with_nan_for_null(kind):
    column = pa.chunked_array([pa.array([[1, 2], None], kind), pa.array([[3, None]], kind)])
    expected = [[1, 2], [np.nan, np.nan], [3, np.nan]]
    np.testing.assert_array_equal(matrix(column), expected)
    np.testing.assert_array_equal(matrix(column.slice(1)), expected[1:])
    assert matrix(column.slice(0, 0)).shape[0] == 0


def test_ragged_lists_are_refused():
    with pytest.raises(ValueError, match="lists of 1 and of 2 numbers"):
        matrix(pa.array([[1.0], [1.0, 2.0]]))


def test_matrix_and_list_column_undo_each_other():
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    column = list_column(values)
    assert column.type == pa.list_(pa.float32(), 2)
    np.testing.assert_array_equal(matrix(column), values)
    masked = list_column(values, pa.list_(pa.float64(), 2), np.array([True, False, True]))
    assert masked.to_pylist() == [[0, 1], [None, None], [4, 5]]


def test_natures_of_types():
    assert is_number(pa.int8())
    assert is_number(pa.float16())
    assert not is_number(pa.bool_())
    assert is_text(pa.dictionary(pa.int32(), pa.string()))
    assert not is_text(pa.binary())


def test_ids_match_as_numbers_or_as_text():
    numbers, words = np.array([12, 7, 99]), np.array(["7", "12", "012"], dtype=object)
    assert matched(numbers, words).tolist() == [1, 0, -1]
    assert matched(words, numbers).tolist() == [1, 0, -1]
    assert matched(numbers, np.array([99, 12, 99])).tolist() == [1, -1, 0]
    assert matched(np.zeros(0, int), numbers).tolist() == []
    assert matched(np.array([2**62 + 1]), np.array([2**62, 2**62 + 1])).tolist() == [1]


def test_column_of_one_chunk_is_not_copied_to_be_in_one_piece():
    array = pa.array([1.0, 2.0])
    address = array.buffers()[1].address
    assert in_one_piece(pa.chunked_array([array])).buffers()[1].address == address
    assert in_one_piece(pa.chunked_array([array, array])).to_pylist() == [1, 2, 1, 2]
    assert len(in_one_piece(pa.chunked_array([], pa.float64()))) == 0
