"""Tables of text, VOTable and FITS as archives, Excel and TOPCAT write them; and our own."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

import targetsel.tables.streamed_writing
from targetsel.errors import CatalogError, OutputError
from targetsel.sky.catalog import Catalog
from targetsel.tables.any_format import table_reader
from targetsel.tables.files import check_table_output
from targetsel.tables.formats import open_table
from targetsel.tables.parquet import described, footer_in, write_table
from tests.real_files.conftest import one_line


def read(path):
    table = open_table(path)
    return pa.concat_tables(table.batches(1000, table.schema.names))


def text(path, contents, encoding="utf-8"):
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode(encoding))
    return path


# --- CSV ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "ecsv"])
def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path, ending):
    contents = "source_id,ra\n1,2.5\n"
    if ending == "ecsv":
        names = "# - {name: source_id, datatype: int64}\n# - {name: ra, datatype: float64}\n"
        contents = f"# %ECSV 1.0\n# ---\n# datatype:\n{names}# delimiter: ','\n{contents}"
    contents = contents.encode("utf-8-sig")
    path = text(tmp_path / f"a.{ending}", gzip.compress(contents) if "gz" in ending else contents)
    assert read(path).to_pydict() == {"source_id": [1], "ra": [2.5]}


@pytest.mark.parametrize("row", ["1_000,2.5", "1000,2_0.5"])
def test_ecsv_number_with_an_underscore_is_refused_with_its_line(tmp_path, row):
    names = "# - {name: source_id, datatype: int64}\n# - {name: ra, datatype: float64}\n"
    head = f"# %ECSV 1.0\n# ---\n# datatype:\n{names}# delimiter: ','\nsource_id,ra\n7,1.5\n"
    with one_line(CatalogError, "expected a number without underscores"):
        read(text(tmp_path / "a.ecsv", head + row + "\n"))


@pytest.mark.parametrize("name", ["source id", "2MASS J", "1st"])
def test_one_column_whose_name_has_blanks_or_digits_is_a_table(tmp_path, name):
    assert read(text(tmp_path / "a.csv", f"{name}\n7\n8\n")).to_pydict() == {name: [7, 8]}


def test_gaia_names_its_ecsv_files_csv(tmp_path):
    contents = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: ra, datatype: float64, unit: deg}\n"
    table = read(text(tmp_path / "a.csv", f"{contents}# delimiter: ','\nra\n2.5\n"))
    assert table.schema.field("ra").metadata[b"unit"] == b"deg"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("name,ra\nM 31,1\nCafé,2\n".encode("latin-1"), "a.csv, line 3: is not UTF-8 text, perh"),
        ("source_id,ra\n1,2\n".encode("utf-16"), "is not UTF-8 text, perhaps UTF-16. Save it as"),
        ("source_id,ra\n1,2\n".encode("utf-16-le"), "is not UTF-8 text, perhaps UTF-16. Save it"),
        (b"", "a.csv: is empty; expected a line of names and lines of values"),
        (b"a,b\n1,2\n3\n", "a.csv: not a CSV table, or damaged or cut short"),
        (b"a,b\n1,2\n3,4,5\n", "a.csv: not a CSV table, or damaged or cut short"),
        (b"a,a\n1,2\n", "a.csv: has several columns 'a'. Rename or drop one."),
        (b"\n<html>Error 503</html>\n", "a.csv: is HTML or XML, perhaps a service's message; exp"),
        (b"#Table1\nobjid,ra\n1,2\n", "a.csv, line 1: begins with '#' ('#Table1'); expected the"),
        (b"# objid,ra\n1,2\n", "line 1: begins with '#' ('# objid,ra'); expected the names"),
        (b"a;b\n1;2\n", "a.csv, line 1: its columns are parted by semicolons; expected commas."),
        (b"ra dec\n1 2\n", "line 1: its columns are parted by blanks ('ra dec'); expected commas."),
        (b"7,150.5,-2\n8,1,2\n", "line 1: holds numbers ('7,150.5,-2'); expected the names of"),
        (b"7\n8\n", "a.csv, line 1: holds numbers ('7'); expected the names of the columns."),
        (b"a,b\n1,2\n# note\n3,4\n", "a.csv, line 3: begins with '#'; expected a row. Remove"),
        (b"a\r\n1\r\n#2\r\n", "a.csv, line 3: begins with '#'; expected a row. Remove comments"),
        (b"a,b\n1,2\n# 3,4\n", "a.csv, line 3: begins with '#'; expected a row. Remove comme"),
        (b"a\tb\n1\t2\n", "a.csv, line 1: its columns are parted by tabs; expected commas."),
    ],
)
def test_text_that_is_no_such_table_is_refused(tmp_path, contents, message):
    with one_line(CatalogError, message):
        open_table(text(tmp_path / "a.csv", contents))


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["1237648720693755918", "1237648720693755919"], None),
        (["1237648720693755918", ""], [1237648720693755918, None]),
        (["1237648720693755918", "nan"], [1237648720693755918, None]),
        (["9223372036854775807", "9223372036854775808"], "text"),
        (["1237648720693755918", "1.5"], "text"),
        (["007", "012"], "text"),
        (["1e3", "-.5"], [1000.0, -0.5]),
        (["1.5", "NaN"], [1.5, None]),
        (["+5", "-7"], [5, -7]),
        (["True", "false"], [True, False]),
        (["NA", "ok"], "text"),
        (["", ""], [None, None]),
        (["inf", "1"], [float("inf"), 1.0]),
        (['"a,b"', '"two\nlines"'], ["a,b", "two\nlines"]),
        ([" 5 ", "6"], [5, 6]),
        (['"a\n# b"', "#c"], ["a\n# b", "#c"]),
    ],
    ids=str,
)
def test_words_of_text_become_values_without_loss(tmp_path, words, values):
    path = text(tmp_path / "a.csv", "n,x\n" + "".join(f"0,{word}\n" for word in words))
    expected = {None: list(map(int, words)) if values is None else None, "text": words}
    found = read(path)["x"].to_pylist()
    assert found == (expected[values] if values is None or values == "text" else values)


# --- VOTable and FITS -----------------------------------------------------------------------------


def votable(*tables):
    fields = '<FIELD ID="col_0" name="source_id" datatype="long"/>'
    data = "<DATA><TABLEDATA><TR><TD>{}</TD></TR></TABLEDATA></DATA>"
    body = "".join(f'<TABLE name="{name}">{fields}{data.format(7)}</TABLE>' for name in tables)
    return (
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f"<RESOURCE>{body}</RESOURCE></VOTABLE>"
    )


@pytest.mark.parametrize("packed", [False, True])
def test_columns_of_votables_are_called_by_name(tmp_path, packed):
    contents = votable("a").encode()
    name = "a.xml.gz" if packed else "a.xml"
    path = text(tmp_path / name, gzip.compress(contents) if packed else contents)
    assert read(path).to_pydict() == {"source_id": [7]}


def test_lines_may_end_as_on_old_machines(tmp_path):
    assert read(text(tmp_path / "a.csv", "a,b\r1,2\r3,4\r")).to_pydict() == {
        "a": [1, 3],
        "b": [2, 4],
    }


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        ("ERROR", "timeout", "a.vot: is the error of a service (timeout). Query again."),
        ("OVERFLOW", "", "a.vot: is cut short by the service (QUERY_STATUS is OVERFLOW); expected"),
    ],
)
def test_answer_that_says_it_is_no_whole_table_is_refused(tmp_path, status, said, message):
    info = f'<INFO name="QUERY_STATUS" value="{status}">{said}</INFO>'
    contents = votable("a").replace("</RESOURCE>", f"{info}</RESOURCE>")
    if status == "ERROR":
        contents = votable().replace("</RESOURCE>", f"{info}</RESOURCE>")
    with one_line(CatalogError, message):
        open_table(text(tmp_path / "a.vot", contents))


@pytest.mark.parametrize(
    ("system", "good"),
    [("ICRS", True), ("eq_FK5", True), ("eq_FK4", False), ("galactic", False), ("FK4", False)],
)
@pytest.mark.parametrize("ending", ["vot", "fits"])
def test_positions_in_another_frame_than_icrs_are_refused(tmp_path, ending, system, good):
    path = tmp_path / f"a.{ending}"
    if ending == "fits":
        table = fits.table_to_hdu(Table({"source_id": [1], "ra": [150.0], "dec": [2.0]}))
        table.header["RADESYS"] = system
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    else:
        fields = "".join(
            f'<FIELD name="{name}" datatype="double" unit="deg" ref="here"/>'
            for name in ("ra", "dec")
        )
        contents = votable("a").replace("<TABLE ", f'<COOSYS ID="here" system="{system}"/><TABLE ')
        contents = contents.replace("<DATA>", f"{fields}<DATA>")
        text(path, contents.replace("</TR>", "<TD>150</TD><TD>2</TD></TR>"))
    if good:
        assert Catalog.read(path).ra.tolist() == [150.0]
        return
    with one_line(CatalogError, f"column 'ra' is in the frame '{system}'; expected ICRS. Convert"):
        Catalog.read(path)


def test_votable_of_several_tables_is_refused(tmp_path):
    with one_line(CatalogError, "a.vot: holds 2 tables (sources, notes); expected one. Write the"):
        open_table(text(tmp_path / "a.vot", votable("sources", "notes")))


def test_fits_file_of_several_tables_is_refused_and_images_beside_one_are_not(tmp_path):
    tables = [fits.table_to_hdu(Table({"source_id": [k]})) for k in (1, 2)]
    tables[0].name = "SOURCES"
    image = fits.ImageHDU(np.zeros((4, 4)))
    fits.HDUList([fits.PrimaryHDU(), image, *tables]).writeto(tmp_path / "two.fits")
    with one_line(CatalogError, "two.fits: holds 2 tables (SOURCES, extension 3); expected one."):
        open_table(tmp_path / "two.fits")
    fits.HDUList([fits.PrimaryHDU(), image, tables[1]]).writeto(tmp_path / "one.fits")
    assert read(tmp_path / "one.fits").to_pydict() == {"source_id": [2]}
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "none.fits")
    with one_line(CatalogError, "none.fits: holds no table"):
        open_table(tmp_path / "none.fits")


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "vot", "ecsv"])
def test_gaps_in_whole_numbers_are_null(tmp_path, ending):
    columns = {
        "short": MaskedColumn([5, 6], mask=[False, True], dtype=np.int16),
        "long": MaskedColumn([2**53 + 1, 6], mask=[False, True], dtype=np.int64),
    }
    path = tmp_path / f"a.{ending}"
    Table(columns).write(path, format="votable" if ending == "vot" else None)
    assert read(path).to_pydict() == {"short": [5, None], "long": [2**53 + 1, None]}


def test_text_of_fits_that_is_no_utf_8_is_latin_1(tmp_path):
    Table({"name": np.array(["Café".encode("latin-1"), b"x"])}).write(tmp_path / "a.fits")
    assert read(tmp_path / "a.fits").to_pydict() == {"name": ["Café", "x"]}


def test_parquet_file_compressed_by_gzip_is_read(tmp_path):
    pq.write_table(pa.table({"x": pa.array(["a"], pa.string_view())}), tmp_path / "a.parquet")
    packed = gzip.compress((tmp_path / "a.parquet").read_bytes())
    assert read(text(tmp_path / "b.parquet.gz", packed)).to_pydict() == {"x": ["a"]}


# --- tables that we write -------------------------------------------------------------------------

FIELDS = {
    "target_id": (
        described("target_id", pa.int64(), "", "meta.id", "id", False),
        [2**62 + 1, 2, 3],
    ),
    "n": (described("n", pa.int32()), [1, None, 2**31 - 1]),
    "lowest": (described("lowest", pa.int64()), [-(2**63), None, 2**63 - 1]),
    "byte": (described("byte", pa.uint8()), [255, None, 0]),
    "name": (described("name", pa.string()), ["M 31", None, "x"]),
    "pmra": (described("pmra", pa.float32(), "mas.yr**-1", "pos.pm", "motion"), [1.5, None, -2]),
    "flag": (described("flag", pa.bool_()), [True, False, True]),
    "pair": (described("pair", pa.list_(pa.float32(), 2), "mag"), [[1, 2], [3, 4], [5, 6]]),
    "classes": (described("classes", pa.list_(pa.string())), [["A"], ["A", "B"], []]),
}


def targets(*without):
    chosen = {name: each for name, each in FIELDS.items() if name not in without}
    arrays = [pa.array(values, field.type) for field, values in chosen.values()]
    return pa.table(arrays, schema=pa.schema([field for field, _ in chosen.values()]))


@pytest.mark.parametrize(
    "ending", ["fits", "fit", "fits.gz", "vot", "votable", "xml", "ecsv", "csv"]
)
def test_list_is_written_in_the_format_of_its_ending(tmp_path, ending):
    table = targets(*(["pair"] if ending == "csv" else []))
    write_table(table, tmp_path / f"list.{ending}", {"seed": 7, "by": "Ω"})
    again = read(tmp_path / f"list.{ending}")
    expected = table.to_pydict() | {"classes": ["A", "A,B", None]}
    found = again.to_pydict()
    found["pmra"] = [None if value is None or value != value else value for value in found["pmra"]]
    assert found == expected
    for name in ("target_id", "n", "lowest"):
        assert pa.types.is_integer(again.schema.field(name).type)
    if ending != "csv":
        meanings = again.schema.field("pmra").metadata
        assert meanings[b"unit"] == b"mas.yr**-1"
        assert meanings[b"description"] == b"motion"
    if ending in ("fits", "vot"):
        assert meanings[b"ucd"] == b"pos.pm"


def test_fits_list_carries_its_provenance(tmp_path):
    write_table(targets(), tmp_path / "list.fits", {"seed": 7, "rules": "a: b\n" * 40})
    found = json.loads(fits.getheader(tmp_path / "list.fits", 1)["TARGSEL"])
    assert found == {"seed": 7, "rules": "a: b\n" * 40}


def test_csv_leaves_out_lists_of_numbers(tmp_path):
    write_table(targets(), tmp_path / "a.csv", {"seed": 7})
    assert read(tmp_path / "a.csv").column_names == [n for n in FIELDS if n != "pair"]


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "vot", "ecsv"])
def test_a_list_with_its_provenance_comes_back_with_types_notes_and_nulls(tmp_path, ending):
    table = targets("classes").replace_schema_metadata(None)
    table = table.append_column(
        pa.field("unknown", pa.bool_(), metadata={b"about": "Ω".encode()}),
        pa.array([True, None, False]),
    )
    write_table(table, tmp_path / f"a.{ending}", {"seed": 7})
    with table_reader(tmp_path / f"a.{ending}") as file:
        again, footer = file.read(), footer_in(file.footer_entries)
    assert footer == {"seed": 7}
    assert again.to_pydict() == table.to_pydict()
    for field in table.schema:
        assert again.schema.field(field.name).type == field.type
        assert again.schema.field(field.name).metadata == field.metadata


def test_rows_beyond_a_piece_are_written_with_one_width_and_one_null(tmp_path, monkeypatch):
    monkeypatch.setattr(targetsel.tables.streamed_writing, "ROWS_AT_ONCE", 2)
    columns = {
        "word": ["a", "b", "long", None, "c"],
        "n": pa.array([1, 2, None, 4, -(2**15)], pa.int16()),
        "flag": [True, False, None, True, False],
    }
    write_table(pa.table(columns), tmp_path / "a.fits")
    found = read(tmp_path / "a.fits").to_pydict()
    assert found["word"] == ["a", "b", "long", None, "c"]
    assert found["n"] == [1, 2, None, 4, -(2**15)]
    assert found["flag"] == [1, 0, None, 1, 0]
    rows = fits.getdata(tmp_path / "a.fits")  # as astropy reads it
    assert rows["word"].tolist() == ["a", "b", "long", "", "c"]
    assert (tmp_path / "a.fits").stat().st_size % 2880 == 0


def test_null_of_true_and_false_is_null_in_fits(tmp_path):
    table = pa.table({"flag": pa.array([True, None, False])})
    write_table(table, tmp_path / "a.fits")
    assert read(tmp_path / "a.fits").to_pydict() == {"flag": [1, None, 0]}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "a.csv",
            pa.array([{"y": 1}]),
            "a.csv, column 'x': holds values of type struct<y: int64>, for which CSV",
        ),
        (
            "a.fits",
            pa.array(["Ω"]),
            "a.fits, column 'x': holds text beyond ASCII, for which FITS",
        ),
        (
            "a.vot",
            pa.array([{"y": 1}]),
            "holds values of type struct<y: int64>, for which VOTABLE",
        ),
        (
            "a.vot",
            pa.array([2**63], pa.uint64()),
            "holds whole numbers of 2^63 or more, for which VOTABLE has no place",
        ),
        ("a.hdf5", pa.array([1]), "no table can be written as '.hdf5'; expected .parquet, .fits, "),
        ("a.txt", pa.array([1]), "no table can be written as '.txt'; expected .parquet"),
        ("a.parquet.gz", pa.array([1]), "no table can be written as '.parquet.gz'; expected"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_and_nothing_left(tmp_path, name, values, message):
    with one_line(OutputError, message):
        write_table(pa.table({"x": values}), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_file_that_our_commands_read_is_parquet(tmp_path):
    with one_line(OutputError, "is written as Parquet only, which other commands of targets"):
        check_table_output(tmp_path / "a.scored.fits", parquet=True)
    check_table_output(tmp_path / "a", parquet=True)
    check_table_output(tmp_path / "a.fits")


def test_scored_file_with_unknown_true_and_false_opens_in_astropy(tmp_path):
    table = pa.table(
        {
            "source_id": pa.array([1, 2, 3]),
            "support": pa.array([True, None, False]),
            "half": pa.array([1.5, None, 2.0], pa.float16()),
            "reason": pa.array(["a", None, "b"]),
            "latent": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)),
        }
    )
    write_table(table, tmp_path / "a.parquet")
    found = Table.read(tmp_path / "a.parquet", format="parquet.votable")
    assert list(found["support"]) == [True, None, False]
    assert found["source_id"].dtype == np.int64
    assert pq.read_table(tmp_path / "a.parquet").to_pydict()["support"] == [True, None, False]
