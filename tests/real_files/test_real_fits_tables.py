"""Binary tables of FITS: nulls, scales, lists, text and units as the FITS standard means them."""

import gzip

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table

from targetsel.errors import CatalogError
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.tables.formats import open_table
from tests.real_files.conftest import one_line

X = "column 'x'"


def written(path, form, raw, **keywords):
    """A table of one column `x` whose rows hold the bytes `raw`, and keywords such as TNULL1."""
    raw = np.ascontiguousarray(raw)
    header = fits.Header(
        [
            ("XTENSION", "BINTABLE"),
            ("BITPIX", 8),
            ("NAXIS", 2),
            ("NAXIS1", raw.nbytes // max(len(raw), 1)),
            ("NAXIS2", len(raw)),
            ("PCOUNT", len(keywords.get("heap", b""))),
            ("GCOUNT", 1),
            ("TFIELDS", 1),
            ("TTYPE1", "x"),
            ("TFORM1", form),
        ]
    )
    data = raw.tobytes() + keywords.pop("heap", b"")
    header.update(keywords)
    primary = fits.PrimaryHDU().header.tostring().encode()
    data += bytes(-len(data) % 2880)
    path.write_bytes(primary + header.tostring().encode() + data)
    return path


def column(path, name="x"):
    table = open_table(path)
    pieces = [each[name] for each in table.batches(1000, [name])]
    return pa.chunked_array([chunk for each in pieces for chunk in each.chunks], pieces[0].type)


@pytest.mark.parametrize(
    ("form", "raw", "keywords", "values", "kind"),
    [
        ("I", [5, -99], {"TNULL1": -99, "TSCAL1": 0.1, "TZERO1": 1.0}, [1.5, None], "double"),
        ("J", [5, -99], {"TNULL1": -99, "TSCAL1": 0.1}, [0.5, None], "double"),
        ("J", [5, -99], {"TNULL1": -99, "TSCAL1": 10, "TZERO1": 7}, [57, None], "int64"),
        ("J", [5, -99], {"TNULL1": -99.0}, [5, None], "int32"),
        ("J", [5, -99], {"TNULL1": "-99"}, [5, None], "int32"),
        ("J", [5, -99], {"TNULL1": 10**12}, [5, -99], "int32"),
        ("B", [5, 255], {"TNULL1": 255}, [5, None], "uint8"),
        ("B", [0, 255], {"TZERO1": -128}, [-128, 127], "int8"),
        ("I", [7, 8], {"TNULL1": 7, "TZERO1": 32768}, [None, 32776], "uint16"),
        ("J", [7, 8], {"TNULL1": 7, "TZERO1": 2**31}, [None, 2**31 + 8], "uint32"),
        ("K", [7, 8], {"TNULL1": 7, "TZERO1": 2**63}, [None, 2**63 + 8], "uint64"),
        ("K", [-(2**63), 2**63 - 1], {"TZERO1": 2.0**63}, [0, 2**64 - 1], "uint64"),
        ("K", [2**60 + 1, 3], {"TZERO1": 1000}, [2**60 + 1001, 1003], "int64"),
        ("K", [2**62 + 1, 3], {"TZERO1": 2**62}, [2**63 + 1, 2**62 + 3], "uint64"),
        ("K", [2**60 + 1, 3], {"TNULL1": 3}, [2**60 + 1, None], "int64"),
        ("2J", [[1, -9], [-9, 2]], {"TNULL1": -9}, [[1, None], [None, 2]], None),
        ("E", [1.5, np.nan], {}, [1.5, None], "float"),
        ("E", [1.5, 2.0], {"TSCAL1": 2.0, "TZERO1": 1.0}, [4.0, 5.0], "double"),
    ],
)
def test_numbers_are_what_null_scale_and_zero_make_of_them(
    tmp_path, form, raw, keywords, values, kind
):
    stored = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4"}[form[-1]]
    found = column(written(tmp_path / "a.fits", form, np.array(raw, stored), **keywords))
    assert found.to_pylist() == values
    assert kind is None or str(found.type) == kind


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "fit", "FITS"])
def test_undefined_logical_value_is_null_and_not_false(tmp_path, ending):
    path = written(tmp_path / "a.fits", "L", np.frombuffer(b"TF\0", "u1"))
    contents = path.read_bytes()
    path = tmp_path / f"b.{ending}"
    path.write_bytes(gzip.compress(contents) if ending.endswith("gz") else contents)
    assert column(path).to_pylist() == [True, False, None]


@pytest.mark.parametrize(
    ("form", "raw", "keywords", "values"),
    [
        ("3A", b"ab a\0z\0\0\0", {}, ["ab", "a", None]),
        ("3A", b" b \0\0\0", {}, [" b", None]),
        ("6A", b"ab cd efghij", {"TDIM1": "(3,2)"}, [["ab", "cd"], ["efg", "hij"]]),
        ("3A", "é a".encode("latin-1"), {"TDIM1": "(3)"}, ["é a"]),
        ("11X", bytes([0b10100000, 0b00100000]), {}, [[1, 0, 1] + [0] * 7 + [1]]),
        ("1X", bytes([128, 0]), {}, [True, False]),
        ("4B", bytes([1, 2, 3, 4]), {"TDIM1": "(2,2)"}, [[[1, 2], [3, 4]]]),
        ("5B", bytes([1, 2, 3, 4, 9]), {"TDIM1": "(2,2)"}, [[[1, 2], [3, 4]]]),
        ("4B", bytes([1, 2, 3, 4]), {"TDIM1": "(3,2)"}, [[1, 2, 3, 4]]),
        ("4B", bytes([1, 2, 3, 4]), {"TDIM1": "2 by 2"}, [[1, 2, 3, 4]]),
        ("2L", b"T\0FF", {}, [[True, None], [False, False]]),
    ],
)
def test_text_bits_and_arrays_are_read_item_by_item(tmp_path, form, raw, keywords, values):
    width = {"11X": 2, "1X": 1}.get(form) or int(form[:-1])
    rows = np.frombuffer(raw, "u1").reshape(-1, width)
    assert column(written(tmp_path / "a.fits", form, rows, **keywords)).to_pylist() == values


@pytest.mark.parametrize("descriptor", ["P", "Q"])
@pytest.mark.parametrize(
    ("code", "items", "n_bytes", "keywords", "values"),
    [
        ("J", np.array([1, -9, 3], ">i4"), 4, {"TNULL1": -9}, [[1, None], [], [3]]),
        ("K", np.array([1, 2, 3], ">i8"), 8, {"TZERO1": 2**63}, [[2**63 + 1, 2**63 + 2], [], 3]),
        ("E", np.array([1, 2, np.nan], ">f4"), 4, {}, [[1.0, 2.0], [], [None]]),
        ("L", np.frombuffer(b"TF\0", "u1"), 1, {}, [[True, False], [], [None]]),
        ("A", np.frombuffer(b"abc", "u1"), 1, {}, ["ab", None, "c"]),
    ],
)
def test_lists_of_any_length_are_lists(
    tmp_path, descriptor, code, items, n_bytes, keywords, values
):
    kind = {"P": ">i4", "Q": ">i8"}[descriptor]
    rows = np.array([[2, 0], [0, 10**6], [1, 2 * n_bytes]], kind)
    form = f"1{descriptor}{code}(2)"
    path = written(tmp_path / "a.fits", form, rows, heap=items.tobytes(), **keywords)
    expected = [[2**63 + each] if isinstance(each, int) else each for each in values]
    assert column(path).to_pylist() == expected


def test_lists_that_astropy_wrote_are_read(tmp_path):
    values = np.array([np.array([1, 2]), np.array([3])], dtype=object)
    fits.BinTableHDU.from_columns([fits.Column("x", "PJ()", array=values)]).writeto(
        tmp_path / "a.fits"
    )
    assert column(tmp_path / "a.fits").to_pylist() == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("form", "raw", "keywords", "message"),
    [
        ("C", np.zeros(2, ">c8"), {}, f"{X}: holds complex numbers; expected numbers or text."),
        ("1PM", np.zeros((2, 2), ">i4"), {}, f"{X}: holds complex numbers; expected numbers or"),
        ("1PX", np.zeros((2, 2), ">i4"), {}, f"{X}: is of the format '1PX', lists of bits or of"),
        ("1PJ", np.array([[2, 9]], ">i4"), {"heap": bytes(8)}, f"{X}: the list of row 0 (counted"),
        ("1PJ", np.array([[-2, 0]], ">i4"), {"heap": bytes(8)}, f"{X}: the list of row 0 (counted"),
        ("1PJ", np.array([[1, 0]], ">i4"), {"THEAP": -8, "heap": bytes(8)}, "its THEAP is -8, out"),
        ("L", np.array([84, 1], "u1"), {}, f"{X}: has the byte b'\\x01' for true or false; expec"),
        ("J", np.zeros(2, ">i4"), {"TSCAL1": 0.0}, f"{X}: its TSCAL1 is 0, which makes all"),
        ("J", np.zeros(2, ">i4"), {"TSCAL1": "x"}, f"{X}: its TSCAL1 is 'x'; expected a number"),
        ("J", np.zeros(2, ">i4"), {"TNULL1": True}, f"{X}: its TNULL1 is True; expected a number"),
        ("J", np.zeros(2, ">i4"), {"ZTABLE": True}, "is a table compressed by fpack. Decompress"),
    ],
)
def test_column_that_cannot_be_read_is_refused(tmp_path, form, raw, keywords, message):
    with one_line(CatalogError, message):
        open_table(written(tmp_path / "a.fits", form, raw, **keywords))


@pytest.mark.parametrize("ending", ["fits.fz", "fits.bz2", "csv.zip"])
def test_packed_table_is_refused_with_what_to_do(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"x")
    with one_line(CatalogError, f"ends in '.{ending.split('.')[-1]}'; expected .parquet"):
        open_table(path)


@pytest.mark.parametrize(
    ("unit", "good"),
    [("deg", True), ("degree", True), ("DEG", True), (" deg ", True), ("", True), ("rad", False)],
)
def test_positions_are_in_degrees_however_a_header_spells_them(tmp_path, unit, good):
    table = fits.table_to_hdu(Table({"source_id": [1], "ra": [150.0], "dec": [2.0]}))
    table.header["TUNIT2"] = unit
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    if good:
        assert Catalog.read(tmp_path / "a.fits").ra.tolist() == [150.0]
        return
    with one_line(CatalogError, "column 'ra' is in 'rad'; expected 'deg'"):
        Catalog.read(tmp_path / "a.fits")


def test_display_format_changes_no_value(tmp_path):
    path = written(tmp_path / "a.fits", "D", np.array([1.23456789], ">f8"), TDISP1="F6.2")
    assert column(path).to_pylist() == [1.23456789]


def test_table_without_rows_keeps_its_columns_and_is_no_catalog(tmp_path):
    columns = [fits.Column(name, "D", array=[]) for name in ("source_id", "ra", "dec")]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    assert open_table(tmp_path / "a.fits").schema.field("ra").type == pa.float64()
    with one_line(CatalogError, "a.fits: the catalog has no rows; expected one for each source."):
        CatalogFile.open(tmp_path / "a.fits")


def test_two_columns_of_one_name_are_refused_and_of_two_cases_are_not(tmp_path):
    hdu = fits.table_to_hdu(Table({"ra": [1.0], "mag": [2.0]}))
    for name in ("RA", "ra"):
        hdu.header["TTYPE2"] = name
        data = hdu.header.tostring().encode() + np.array([1, 2], ">f8").tobytes() + bytes(2864)
        (tmp_path / f"{name}2.fits").write_bytes(
            fits.PrimaryHDU().header.tostring().encode() + data
        )
    assert column(tmp_path / "RA2.fits", "RA").to_pylist() == [2.0]
    assert column(tmp_path / "RA2.fits", "ra").to_pylist() == [1.0]
    with one_line(CatalogError, "ra2.fits: has several columns 'ra'. Rename or drop one."):
        open_table(tmp_path / "ra2.fits")


def test_columns_that_astropy_takes_apart_are_read_as_their_parts(tmp_path):
    table = QTable(
        {
            "where": SkyCoord([1.0, 2.0], [3.0, 4.0], unit="deg"),
            "flux": [1.5, 2.5] * u.nJy,
            "n": MaskedColumn([2**60 + 1, 5], mask=[False, True]),
            "kept": MaskedColumn([2**60 + 1, 5], mask=[False, True]),
            "good": MaskedColumn([True, True], mask=[False, True]),
        }
    )
    for name in ("kept", "good"):
        table[name].info.serialize_method["fits"] = "data_mask"
    table.write(tmp_path / "a.fits")
    found = {name: column(tmp_path / "a.fits", name).to_pylist() for name in ("n", "kept", "good")}
    assert found == {"n": [2**60 + 1, None], "kept": [2**60 + 1, None], "good": [True, None]}
    assert column(tmp_path / "a.fits", "where.ra").to_pylist() == [1.0, 2.0]
    assert column(tmp_path / "a.fits", "flux").to_pylist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("form", "words", "keywords", "values"),
    [
        ("I6", ["    12", "   -99"], {"TNULL1": "-99"}, [12, None]),
        ("I20", [f"{2**60 + 1:>20}", f"{'-99':>20}"], {"TNULL1": "-99"}, [2**60 + 1, None]),
        ("F6.2", ["  1.25", "   nan"], {}, [1.25, None]),
        ("A3", ["ab ", "   "], {}, ["ab", None]),
    ],
)
def test_tables_of_ascii_text_keep_whole_numbers_and_gaps(tmp_path, form, words, keywords, values):
    raw = "".join(words).encode()
    header = fits.Header(
        [
            ("XTENSION", "TABLE"),
            ("BITPIX", 8),
            ("NAXIS", 2),
            ("NAXIS1", len(words[0])),
            ("NAXIS2", len(words)),
            ("PCOUNT", 0),
            ("GCOUNT", 1),
            ("TFIELDS", 1),
            ("TTYPE1", "x"),
            ("TBCOL1", 1),
            ("TFORM1", form),
        ]
    )
    header.update(keywords)
    contents = fits.PrimaryHDU().header.tostring().encode() + header.tostring().encode()
    (tmp_path / "a.fits").write_bytes(contents + raw + b" " * (2880 - len(raw)))
    assert column(tmp_path / "a.fits").to_pylist() == values


def test_unsigned_ids_beyond_2_63_are_refused_and_others_exact(tmp_path):
    for ids in ([2**62 + 1, 7], [2**63 + 1, 7]):
        table = Table({"source_id": np.array(ids, np.uint64), "ra": [1.0, 2.0], "dec": [3.0, 4.0]})
        table.write(tmp_path / "a.fits", overwrite=True)
        if max(ids) < 2**63:
            assert Catalog.read(tmp_path / "a.fits").source_id.tolist() == ids
            continue
        with one_line(CatalogError, "column 'source_id': has ids of 2^63 or more"):
            Catalog.read(tmp_path / "a.fits")
