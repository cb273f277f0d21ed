"""Text of every form that tables keep it in."""

import warnings

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from targetsel.sky.catalog import Catalog
from targetsel.tables.formats import open_table
from targetsel.tables.text import encoded_text, plain_text, text_of_bytes

WORDS = ["PSF", None, "DEV", "PSF", "é"]


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary(6)),
        *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_string())),
    ],
)
def test_text_of_every_type_is_the_same(kind):
    if pa.types.is_fixed_size_binary(kind):
        values = pa.array([each and each.encode().ljust(6) for each in WORDS], kind)
    else:
        values = pa.array(WORDS).cast(kind)
    assert plain_text(values).to_pylist() == WORDS
    codes, words = encoded_text(values)
    assert (codes < 0).tolist() == [False, True, False, False, False]
    assert [words[int(code)].as_py() for code in codes[codes >= 0]] == [
        each for each in WORDS if each
    ]
    assert len(words) == 3


def test_bytes_end_before_their_padding():
    words = [b"a  ", b" a\0x", b"   ", b"", None]
    assert text_of_bytes(words).to_pylist() == ["a", " a", None, None, None]


def test_bytes_that_are_no_utf_8_are_latin_1():
    assert text_of_bytes([b"caf\xe9", b"b"]).to_pylist() == ["café", "b"]


def test_slice_and_dictionary_of_repeated_texts_are_encoded_rightly():
    column = pa.DictionaryArray.from_arrays(pa.array([2, 0, None, 1, 3]), ["x", "y", "x", None])
    codes, words = encoded_text(column.slice(1))
    assert words.to_pylist() == ["x", "y"]
    assert codes.tolist() == [0, -1, 1, -1]


def masked_table() -> Table:
    mask = [False, True, False, False]
    return Table(
        {
            "objID": [1, 2, 3, 4],
            "RAJ2000": [10.0, 11.0, 12.0, 13.0],
            "DEJ2000": [1.0, 2.0, 3.0, 4.0],
            "type": MaskedColumn(["PSF", "SER", "", "DEV "], mask=mask),
        }
    )


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.vot", "a.ecsv", "a.csv"])
def test_masked_and_blank_text_of_a_catalog_is_null_in_every_format(tmp_path, name):
    path = tmp_path / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if ".fits" in name:
            masked_table().write(path)
        else:
            form = {"a.vot": "votable", "a.ecsv": "ascii.ecsv", "a.csv": "ascii.csv"}[name]
            masked_table().write(path, format=form)
    column = Catalog.read(path).table["type"]
    assert column.type == pa.string()
    assert column.to_pylist() == ["PSF", None, None, "DEV"]


def test_text_of_fits_is_read_as_astropy_reads_it(tmp_path):
    letters = np.array([b"PSF     ", b"\0" * 8, b" " * 8, b" lead"], dtype="S8")
    columns = [fits.Column("type", "8A", array=letters), fits.Column("n", "J", array=np.arange(4))]
    path = tmp_path / "a.fits"
    fits.BinTableHDU.from_columns(columns).writeto(path)
    (ours,) = open_table(path).batches(10, ["type"])
    theirs = Table.read(path)["type"]
    assert ours["type"].to_pylist() == [None if each is np.ma.masked else each for each in theirs]
    assert ours["type"].to_pylist() == ["PSF", None, None, " lead"]
