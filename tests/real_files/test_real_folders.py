"""Folders of Parquet files as Spark, hive, HATS and people leave them."""

from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError
from targetsel.tables.folders import NULL
from targetsel.tables.formats import open_table
from targetsel.tables.parquet import described
from tests.real_files.conftest import one_line

DAY = date(2024, 1, 1)


def put(path, ids=(1, 2), unit="", value=1.0, kind=None, **more):
    """A small Parquet file; `value` is its flux in `unit`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = pa.array(ids)
    flux = pa.array([value] * len(ids), kind or pa.float64())
    fields = [described("source_id", ids.type), described("flux", flux.type, unit)]
    table = pa.table([ids, flux], schema=pa.schema(fields))
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)


def rows(folder, *columns):
    table = open_table(folder)
    pieces = list(table.batches(1, columns or table.schema.names))
    assert sum(len(each) for each in pieces) == table.num_rows
    return pa.concat_tables(pieces).to_pydict()


@pytest.mark.parametrize(
    "place", ["_temporary/0/b.parquet", ".old/b.parquet", "_b.parquet", ".b.parquet", "x/.y/b.pq"]
)
def test_hidden_and_unfinished_files_are_not_read(tmp_path, place):
    put(tmp_path / "a.parquet")
    put(tmp_path / place, [3, 4])
    assert rows(tmp_path)["source_id"] == [1, 2]


def test_folder_below_a_hidden_folder_is_read(tmp_path):
    put(tmp_path / ".cache" / "catalog" / "a.parquet")
    assert rows(tmp_path / ".cache" / "catalog")["source_id"] == [1, 2]


def test_links_to_folders_are_followed_and_circles_left(tmp_path):
    put(tmp_path / "disk" / "b.parquet", [3])
    put(tmp_path / "cat" / "a.parquet", [1])
    (tmp_path / "cat" / "more").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "cat")
    assert sorted(rows(tmp_path / "cat")["source_id"]) == [1, 3]


def test_hive_folders_are_columns(tmp_path):
    put(tmp_path / "band=g/field=7/part.parquet", [1, 2])
    put(tmp_path / "band=r%20old/field=12/part.parquet", [3])
    put(tmp_path / "band=__HIVE_DEFAULT_PARTITION__/field=12/part.parquet", [4])
    found = rows(tmp_path)
    by_id = sorted(zip(found["source_id"], found["band"], found["field"], strict=True))
    assert by_id == [(1, "g", 7), (2, "g", 7), (3, "r old", 12), (4, None, 12)]
    assert rows(tmp_path, "field") == {"field": found["field"]}


@pytest.mark.parametrize(
    ("folder", "value"), [("g", "g"), ("7", 7), ("7", 7.0), ("true", True), ("2024-01-01", DAY)]
)
def test_column_of_the_files_that_agrees_with_that_of_the_folder_is_read(tmp_path, folder, value):
    put(tmp_path / f"field={folder}/part.parquet", [1], field=[value])
    assert rows(tmp_path)["field"] == [value]


@pytest.mark.parametrize(("folder", "value"), [("g", "i"), ("7", 1.5), ("g", 7), (NULL, 7)])
def test_column_of_the_files_that_differs_from_that_of_the_folder_is_refused(
    tmp_path, folder, value
):
    put(tmp_path / f"field={folder}/part.parquet", [1], field=[value])
    with one_line(CatalogError, f"column 'field': holds {value} in a folder of field="):
        rows(tmp_path)


@pytest.mark.parametrize("name", ["a.parquet", "a.fits", "a"])
def test_link_that_leads_nowhere_is_told(tmp_path, name):
    (tmp_path / name).symlink_to("lost.parquet")
    with one_line(
        CatalogError, f"{name}: is a link to lost.parquet, which is not there. Mend it or"
    ):
        open_table(tmp_path / name)
    put(tmp_path / "folder/b.parquet")
    (tmp_path / "folder/a.parquet").symlink_to("lost.parquet")
    with one_line(
        CatalogError, "folder/a.parquet: is a link to lost.parquet, which is not there. Mend it or"
    ):
        open_table(tmp_path / "folder")


def test_files_in_other_folders_of_hive_are_refused(tmp_path):
    put(tmp_path / "band=g/part.parquet", [1])
    put(tmp_path / "part.parquet", [2])
    with one_line(CatalogError, "part.parquet: its folders name no column, not band, unlike"):
        open_table(tmp_path)


def test_flux_of_another_unit_is_converted_to_that_of_the_first_file(tmp_path):
    put(tmp_path / "a.parquet", [1], "nJy", 5.0)
    put(tmp_path / "b.parquet", [2], "mJy", 2.0)
    assert rows(tmp_path)["flux"] == [5.0, 2e6]
    assert open_table(tmp_path).schema.field("flux").metadata[b"unit"] == b"nJy"


@pytest.mark.parametrize(
    ("first", "other", "kind", "message"),
    [
        ("nJy", "mag", None, "b.parquet, column 'flux': is in 'mag'; expected 'nJy'. Convert it"),
        ("nJy", "", None, "b.parquet: column 'flux' is without a unit, not in 'nJy', unlike a.p"),
        ("", "nJy", None, "b.parquet: column 'flux' is in 'nJy', not without a unit, unlike a.p"),
        ("s", "min", pa.int32(), "column 'flux' is in 'min', not in 's', unlike a.parquet"),
    ],
)
def test_units_that_do_not_agree_are_refused(tmp_path, first, other, kind, message):
    put(tmp_path / "a.parquet", [1], first, kind=kind)
    put(tmp_path / "b.parquet", [2], other, kind=kind)
    with one_line(CatalogError, message):
        open_table(tmp_path)


# --- HATS -----------------------------------------------------------------------------------------

LEAF = "dataset/Norder=1/Dir=0/Npix=16.parquet"


def hats(folder, kind="object", ids=(1, 2), primary=""):
    put(folder / LEAF, ids)
    put(folder / "dataset/data_thumbnail.parquet", ids)
    lines = [f"dataproduct_type={kind}", f"hats_primary_table_url={primary}"]
    (folder / "hats.properties").write_text("#HATS catalog\n" + "\n".join(lines) + "\n")


def collection(folder, name="main"):
    hats(folder / "main")
    hats(folder / "main_margin", "margin", [2, 3], "main")
    put(folder / "main_index/dataset/index/part.parquet", [1, 2])
    (folder / "main_index/hats.properties").write_text("dataproduct_type=index\n")
    if name:
        (folder / "collection.properties").write_text(f"hats_primary_table_url={name}\n")


@pytest.mark.parametrize("name", ["main", ""])
def test_primary_catalog_of_a_hats_collection_is_read(tmp_path, name):
    collection(tmp_path, name)
    assert rows(tmp_path, "source_id") == {"source_id": [1, 2]}
    assert rows(tmp_path / "main", "source_id") == {"source_id": [1, 2]}


def test_margin_and_index_of_a_hats_catalog_are_refused(tmp_path):
    collection(tmp_path)
    with one_line(CatalogError, "is the margin of a HATS catalog, whose rows repeat those of the"):
        open_table(tmp_path / "main_margin")
    with one_line(CatalogError, "main_index: is the index of a HATS catalog"):
        open_table(tmp_path / "main_index")


def test_margin_of_the_older_format_is_refused(tmp_path):
    put(tmp_path / "Norder=1/Dir=0/Npix=16.parquet")
    (tmp_path / "catalog_info.json").write_text('{"catalog_type": "margin"}')
    with one_line(CatalogError, "is the margin of a HATS catalog"):
        open_table(tmp_path)


def test_collection_without_its_primary_catalog_is_refused(tmp_path):
    collection(tmp_path, "elsewhere")
    with one_line(CatalogError, "names the primary table 'elsewhere', which is not there"):
        open_table(tmp_path)


def test_hats_catalog_that_has_lost_a_file_is_refused(tmp_path):
    collection(tmp_path)
    with (tmp_path / "main/hats.properties").open("a") as file:
        file.write("hats_nrows=3\n")
    for folder in (tmp_path, tmp_path / "main"):
        with one_line(CatalogError, "its files hold 2 rows, but its properties count 3 (hats_nrow"):
            open_table(folder)
    put(tmp_path / "main/dataset/Norder=1/Dir=0/Npix=17.parquet", [3])
    assert rows(tmp_path, "source_id") == {"source_id": [1, 2, 3]}


def test_two_hats_catalogs_in_one_folder_are_refused(tmp_path):
    hats(tmp_path / "gaia")
    hats(tmp_path / "ztf", ids=[5])
    with one_line(CatalogError, "holds several HATS tables, and not one catalog (catalogs: gaia, "):
        open_table(tmp_path)


# --- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "plain", "values"),
    [
        (pa.string_view(), pa.string(), ["a", None]),
        (pa.binary_view(), pa.binary(), [b"a", None]),
        (pa.large_string(), pa.string(), ["a", None]),
        (pa.list_(pa.string_view()), pa.list_(pa.string()), [["a", None], None]),
        (
            pa.struct([("x", pa.string_view())]),
            pa.struct([("x", pa.string())]),
            [{"x": "a"}, None],
        ),
        (pa.dictionary(pa.int8(), pa.float64()), pa.float64(), [1.5, None]),
        (pa.dictionary(pa.int32(), pa.int64()), pa.int64(), [2**53 + 1, None]),
        (pa.float16(), pa.float16(), [1.5, None]),
        (pa.uint64(), pa.uint64(), [2**64 - 1, None]),
    ],
    ids=str,
)
def test_unusual_types_come_as_plain_ones(tmp_path, kind, plain, values):
    column = pa.array(values, kind.value_type if pa.types.is_dictionary(kind) else kind)
    column = column.dictionary_encode() if pa.types.is_dictionary(kind) else column
    pq.write_table(pa.table({"x": column}), tmp_path / "a.parquet")
    table = open_table(tmp_path / "a.parquet")
    assert table.schema.field("x").type == plain
    (piece,) = table.batches(10, ["x"])
    assert piece["x"].to_pylist() == values
    assert piece.take([0])["x"].to_pylist() == values[:1]
