import contextlib
import itertools
import resource
import warnings

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import parse
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.errors import CatalogError, OutputError
from targetsel.tables.parquet import ParquetSink, described, read_footer, write_table

SCHEMA = pa.schema(
    [
        described("source_id", pa.int64(), "", "meta.id;meta.main", "A name", nullable=False),
        described("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "Right ascension <ICRS> & so"),
        described("flux_r", pa.float32(), "nJy", "phot.flux;em.opt.R", "Flux"),
        described("status", pa.string(), description="Why not"),
        described("survey", pa.dictionary(pa.int32(), pa.string()), ucd="meta.id"),
        described("blended", pa.bool_(), description="Whether it is two"),
        described("latent_mean", pa.list_(pa.float32(), 3), "", "stat.param", "Latents"),
    ]
)
IDS = [7, 2**60 + 1, 2**62 + 1]


@pytest.fixture
def table():
    rows = pa.table(
        [
            IDS,
            [359.99, 0.0, None],
            [1.5, None, 3.5],
            ["ok", None, "lost band: é"],
            pa.array(["ps1", "hsc", "ps1"]).dictionary_encode(),
            [True, False, True],
            [[1.0, 2.0, 3.0], None, [4.0, 5.0, 6.0]],
        ],
        schema=SCHEMA,
    )
    assert rows.num_rows == 3
    return rows


@pytest.fixture
def path(tmp_path, table):
    write_table(table, tmp_path / "sources.parquet", {"rules": "emission"})
    return tmp_path / "sources.parquet"


def test_units_ucds_and_descriptions_reach_astropy(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = Table.read(path, format="parquet.votable")
    assert str(read["ra"].unit) == "deg"
    assert str(read["flux_r"].unit) == "nJy"
    assert read["ra"].meta["ucd"] == "pos.eq.ra;meta.main"
    assert read["ra"].description == "Right ascension <ICRS> & so"
    assert read["status"].description == "Why not"


def test_values_reach_astropy_and_missing_floats_are_nan(path):
    read = Table.read(path, format="parquet.votable")
    assert read["source_id"].dtype == np.int64
    assert list(read["source_id"]) == IDS
    assert read["blended"].dtype == bool
    assert list(read["status"]) == ["ok", "None", "lost band: é"]
    np.testing.assert_array_equal(read["flux_r"], np.float32([1.5, np.nan, 3.5]))
    np.testing.assert_array_equal(
        read["latent_mean"], [[1, 2, 3], [np.nan, np.nan, np.nan], [4, 5, 6]]
    )


def test_units_reach_pyarrow_and_dictionaries_become_strings(path):
    schema = pq.read_schema(path)
    assert schema.field("ra").metadata[b"unit"] == b"deg"
    assert schema.field("ra").metadata[b"ucd"] == b"pos.eq.ra;meta.main"
    assert schema.field("survey").type == pa.string()
    assert schema.field("latent_mean").type == pa.list_(pa.float32(), 3)
    assert not schema.field("source_id").nullable


def test_pandas_duckdb_and_polars_read_the_same_ids_and_nulls(path):
    pandas = pq.read_table(path).to_pandas()
    duck = duckdb.sql(f"select * from '{path}' order by source_id").fetchnumpy()
    polars = pl.read_parquet(path)
    assert list(pandas["source_id"]) == list(duck["source_id"]) == IDS
    assert polars["source_id"].to_list() == IDS
    assert polars["status"].to_list() == ["ok", None, "lost band: é"]
    assert pandas["flux_r"].isna().tolist() == duck["flux_r"].mask.tolist() == [False, True, False]
    assert polars["latent_mean"].to_list()[1] == [None, None, None]


def test_votable_header_is_valid_and_has_one_field_per_column(path):
    header = pq.read_metadata(path).metadata[b"IVOA.VOTable-Parquet.content"]
    (path.parent / "header.xml").write_bytes(header)
    document = parse(path.parent / "header.xml", verify="exception")
    fields = document.get_first_table().fields
    assert [field.name for field in fields] == SCHEMA.names
    assert fields[3].datatype == "unicodeChar"
    assert fields[3].arraysize == "12"


def test_footer_is_read_back(path):
    assert read_footer(path) == {"rules": "emission"}
    assert pq.read_table(path).schema.metadata[b"targetsel"] == b'{"rules": "emission"}'


def test_file_of_another_program_has_an_empty_footer(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "foreign.parquet")
    assert read_footer(tmp_path / "foreign.parquet") == {}


def test_footer_of_a_missing_or_cut_file_is_a_catalog_error(path):
    with pytest.raises(CatalogError, match="no such file"):
        read_footer(path.with_name("gone.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CatalogError, match="not a Parquet file, or damaged or cut short"):
        read_footer(path)


def test_table_without_rows_gives_a_valid_file(tmp_path, table):
    write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    assert pq.read_table(tmp_path / "empty.parquet").num_rows == 0
    assert len(Table.read(tmp_path / "empty.parquet", format="parquet.votable")) == 0


def test_string_without_any_value_is_read_by_astropy(tmp_path):
    write_table(pa.table({"note": pa.array([None, None], pa.string())}), tmp_path / "n.parquet")
    assert len(Table.read(tmp_path / "n.parquet", format="parquet.votable")) == 2


def test_control_characters_in_a_description_do_not_break_the_header(tmp_path):
    field = described("a", pa.int64(), description="bell\x07 and \x00 null")
    write_table(pa.table([[1]], schema=pa.schema([field])), tmp_path / "a.parquet")
    read = Table.read(tmp_path / "a.parquet", format="parquet.votable")
    assert read["a"].description == "bell and  null"


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 100), max_size=5), chunked=st.booleans())
def test_bytes_do_not_depend_on_how_the_rows_were_cut(tmp_path_factory, cuts, chunked):
    folder = tmp_path_factory.mktemp("cut")
    values = np.arange(100) % 7
    rows = pa.table(
        {
            "n": values,
            "text": pa.array([None if v == 3 else "x" * v for v in values]).dictionary_encode(),
            "pair": pa.array([None if v == 5 else [v, v] for v in values], pa.list_(pa.int32(), 2)),
        }
    )
    for name, edges in (("whole", [0, 100]), ("cut", [0, *sorted(cuts), 100])):
        with ParquetSink(folder / name, rows.schema, row_group_size=32) as sink:
            pieces = [rows.slice(a, b - a) for a, b in itertools.pairwise(edges)]
            for piece in [pa.concat_tables(pieces)] if chunked else pieces:
                sink.write(piece)
    assert (folder / "whole").read_bytes() == (folder / "cut").read_bytes()
    sizes = [pq.read_metadata(folder / "cut").row_group(i).num_rows for i in range(4)]
    assert sizes == [32, 32, 32, 4]


def test_sliced_null_lists_stay_in_their_rows(tmp_path):
    lists = pa.array([[9, 9], None, [1, 2], None, [3, 4]], pa.list_(pa.int32(), 2))
    write_table(pa.table({"pair": lists}).slice(1, 3), tmp_path / "p.parquet")
    read = pq.read_table(tmp_path / "p.parquet")["pair"].to_pylist()
    assert read == [[None, None], [1, 2], [None, None]]


def test_missing_folder_is_an_output_error(tmp_path, table):
    with pytest.raises(OutputError, match=r"the folder .*nowhere does not exist"):
        write_table(table, tmp_path / "nowhere" / "t.parquet")


def test_full_disk_is_an_output_error_and_leaves_nothing(tmp_path):
    noise = pa.table({"x": np.random.default_rng(1).random(100_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"t\.parquet: could not be written"):
            write_table(noise, tmp_path / "t.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_killed_block_leaves_the_older_file_as_it_was(path, table):
    before = path.read_bytes()
    with contextlib.suppress(KeyboardInterrupt), ParquetSink(path, table.schema) as sink:
        sink.write(table)
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("footer", ["[1", "[1]", "null"])
def test_footer_of_another_program_is_taken_for_none(tmp_path, footer):
    table = pa.table({"x": [1]}).replace_schema_metadata({"targetsel": footer})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_footer(tmp_path / "t.parquet") == {}


def test_numbers_are_encoded_for_what_they_are_and_only_scalars_have_statistics(path):
    metadata = pq.read_metadata(path)
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    encodings = {each.path_in_schema: each.encodings for each in columns}
    for name in ("ra", "flux_r", "latent_mean.list.element"):
        assert "BYTE_STREAM_SPLIT" in encodings[name]
    assert "DELTA_BINARY_PACKED" in encodings["source_id"]
    assert {each.compression for each in columns} == {"SNAPPY"}
    without = [each.path_in_schema for each in columns if not each.is_stats_set]
    assert without == ["latent_mean.list.element"]


def test_row_groups_hold_65536_rows(tmp_path):
    write_table(pa.table({"a": np.arange(70_000)}), tmp_path / "a.parquet")
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(i).num_rows for i in range(2)] == [65_536, 4_464]
