"""VOTable and ECSV: gaps, arrays, text and values that libraries would change with a warning."""

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.votable import from_table
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time

from targetsel.errors import CatalogError
from targetsel.tables.formats import open_table
from tests.real_files.conftest import one_line


def column(path, name="x"):
    table = open_table(path)
    return pa.concat_tables(table.batches(1000, [name]))[name]


def votable(path, field, cells, version="1.4", attributes="", values=""):
    rows = "".join(f"<TR><TD>{cell}</TD></TR>" for cell in cells)
    path.write_text(
        f'<VOTABLE version="{version}" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>\n'
        f'<TABLE {attributes}><FIELD name="x" {field}>{values}</FIELD><DATA><TABLEDATA>\n{rows}'
        "</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    return path


NULL = '<VALUES null="-99"/>'


@pytest.mark.parametrize(
    ("field", "cells", "extra", "found"),
    [
        ('datatype="long"', [2**60 + 1, -99, ""], {"values": NULL}, [2**60 + 1, None, None]),
        ('datatype="long"', [2**60 + 1, -99, ""], {}, [2**60 + 1, -99, None]),
        ('datatype="int"', [1, ""], {"version": "1.1"}, [1, None]),
        ('datatype="int"', [1, "", -99], {"version": "1.2", "values": NULL}, [1, None, None]),
        ('datatype="short"', ["0x10", "NaN"], {}, [16, None]),
        ('datatype="unsignedByte"', [255, ""], {}, [255, None]),
        ('datatype="boolean"', [*"TF?01", "", "true"], {}, [1, 0, None, 0, 1, None, 1]),
        ('datatype="bit" arraysize="3"', ["1 0 1"], {}, [[True, False, True]]),
        ('datatype="char" arraysize="*"', ["Café ", ""], {}, ["Café", None]),
        ('datatype="unicodeChar" arraysize="8"', ["Ω", ""], {}, ["Ω", None]),
        ('datatype="float"', ["-Inf", "", "NaN"], {}, [-np.inf, None, None]),
        ('datatype="float"', ["-99", "1.5"], {"values": NULL}, [None, 1.5]),
        ('datatype="int" arraysize="2"', ["1 -99", ""], {"values": NULL}, [[1, None], [None] * 2]),
        ('datatype="int" arraysize="*"', ["1 -99", "3"], {"values": NULL}, [[1, None], [3]]),
        ('datatype="double" arraysize="*"', ["1 2", "3", ""], {}, [[1.0, 2.0], [3.0], []]),
        ('datatype="boolean" arraysize="*"', ["T ?", "F"], {}, [[True, None], [False]]),
        ('datatype="int" arraysize="2x*"', ["1 2 3 4", "5 6"], {}, [[[1, 2], [3, 4]], [[5, 6]]]),
    ],
)
def test_cells_of_a_votable_are_what_its_fields_say(tmp_path, field, cells, extra, found):
    assert column(votable(tmp_path / "a.vot", field, cells, **extra)).to_pylist() == found


@pytest.mark.parametrize(
    ("field", "cells", "extra", "message"),
    [
        ('datatype="short"', [70000], {}, "a.vot, line 3: Value '70000' is out of range for a 16"),
        ('datatype="long"', [2**63], {}, "line 3: Value '9223372036854775808' is out of range for"),
        ('datatype="int"', [0], {"values": '<VALUES null="abc"/>'}, "null value 'abc' does not ma"),
        ('datatype="int"', ["2.7"], {}, "a.vot: not a VOTable, or damaged or cut short"),
        ('datatype="float"', ["abc"], {}, "line 3: Invalid literal for float 'abc'"),
        ('datatype="char"', ["abc"], {}, "line 3: char value is too long for specified length of"),
        ('datatype="char" arraysize="2*"', ["abc"], {}, "char value is too long for specified len"),
        ('datatype="int" arraysize="2"', ["1"], {}, "Incorrect number of elements in array"),
        ('datatype="int"', [1], {"attributes": 'nrows="3"'}, "nrows=3, but table contains 1 rows"),
        ('datatype="doubleComplex"', ["1 2"], {}, "column 'x' holds neither numbers nor text (com"),
        ('datatype="doubleComplex" arraysize="*"', ["1 2"], {}, "nor text (complex numbers). Remo"),
        (
            'datatype="int"/><FIELD name="x" datatype="int"',
            ["1</TD><TD>2"],
            {},
            "has several columns 'x'.",
        ),
    ],
)
def test_cell_that_astropy_would_change_is_refused(tmp_path, field, cells, extra, message):
    with one_line(CatalogError, message):
        open_table(votable(tmp_path / "a.vot", field, cells, **extra))


@pytest.mark.parametrize("datatype", ["long", "double"])
def test_number_of_a_votable_with_an_underscore_is_refused(tmp_path, datatype):
    path = votable(tmp_path / "a.vot", f'datatype="{datatype}"', ["7", "1_000"])
    with one_line(CatalogError, "row 2: column 'x' holds '1_000'; expected a number"):
        column(path)


def test_text_of_a_votable_keeps_its_underscores(tmp_path):
    path = votable(tmp_path / "a.vot", 'datatype="char" arraysize="*"', ["1_000"])
    assert column(path).to_pylist() == ["1_000"]


@pytest.mark.parametrize("kind", ["tabledata", "binary", "binary2"])
def test_every_serialization_of_a_votable_gives_the_same(tmp_path, kind):
    table = Table(
        {
            "long": MaskedColumn([2**60 + 1, 5, 7], mask=[False, True, False]),
            "real": MaskedColumn([1.0, 2.0, 3.0], mask=[False, True, False]),
            "word": ["Ω", "ab", ""],
            "pair": np.arange(6).reshape(3, 2),
            "good": [True, False, True],
        }
    )
    document = from_table(table)
    document.get_first_table().fields[0].values.null = -99
    document.to_xml(str(tmp_path / "a.vot"), tabledata_format=kind)
    found = {name: column(tmp_path / "a.vot", name).to_pylist() for name in table.colnames}
    assert found == {
        "long": [2**60 + 1, None, 7],
        "real": [1.0, None, 3.0],
        "word": ["Ω", "ab", None],
        "pair": [[0, 1], [2, 3], [4, 5]],
        "good": [True, False, True],
    }


def lists(*rows):
    return np.array([*rows, None], dtype=object)[:-1]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (MaskedColumn([2**60 + 1, 5], mask=[False, True]), [2**60 + 1, None]),
        (MaskedColumn([True, False], mask=[False, True]), [True, None]),
        (MaskedColumn([1.5, 2.5], mask=[False, True]), [1.5, None]),
        (MaskedColumn(["a", "b"], mask=[False, True]), ["a", None]),
        (MaskedColumn([[0, 1], [2, 3]], mask=[[False, True], [False] * 2]), [[0, None], [2, 3]]),
        (np.arange(8).reshape(2, 2, 2), [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]),
        (np.array([2**64 - 1, 7], np.uint64), [2**64 - 1, 7]),
        (np.array([1.5, 7], np.float16), [1.5, 7.0]),
        ([1.0, 2.0] * u.deg, [1.0, 2.0]),
        (lists([1, 2], [3]), [[1, 2], [3]]),
        (np.array([], int), []),
    ],
)
def test_columns_of_ecsv_keep_values_and_gaps(tmp_path, values, found):
    QTable({"x": values}).write(tmp_path / "a.ecsv")
    table = open_table(tmp_path / "a.ecsv")
    assert table.table["x"].to_pylist() == found


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (Time([55000.0], format="mjd"), "Time"),
        (SkyCoord([1.0], [2.0], unit="deg"), "SkyCoord"),
        (np.array([1 + 2j]), "complex numbers"),
        (lists(1, "a"), "Could not convert 'a'"),
    ],
)
def test_columns_of_ecsv_without_a_plain_form_are_refused(tmp_path, values, what):
    Table({"x": values}).write(tmp_path / "a.ecsv")
    with one_line(CatalogError, f"a.ecsv: column 'x' holds neither numbers nor text ({what}"):
        open_table(tmp_path / "a.ecsv")


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("int64", ["1", "9223372036854775808"], "column 'x' failed to convert"),
        ("int16", ["1", "70000"], "column 'x' failed to convert"),
        ("int64", ["2.7"], "column 'x' failed to convert"),
        ("bool", ["true"], "column 'x' failed to convert"),
    ],
)
def test_word_of_ecsv_that_is_not_of_its_type_is_refused(tmp_path, kind, words, message):
    header = f"# %ECSV 1.0\n# ---\n# datatype:\n# - {{name: x, datatype: {kind}}}\n"
    (tmp_path / "a.ecsv").write_text(header + "\n".join(["x", *words, ""]))
    with one_line(CatalogError, message):
        open_table(tmp_path / "a.ecsv")


@pytest.mark.parametrize("delimiter", [" ", ","])
def test_name_that_ecsv_has_twice_is_refused(tmp_path, delimiter):
    fields = "# - {name: x, datatype: int64}\n" * 2
    header = f"# %ECSV 1.0\n# ---\n# delimiter: '{delimiter}'\n# datatype:\n{fields}"
    (tmp_path / "a.ecsv").write_text(f"{header}x{delimiter}x\n1{delimiter}2\n")
    with one_line(CatalogError, "a.ecsv: has several columns 'x'. Rename or drop one."):
        open_table(tmp_path / "a.ecsv")
