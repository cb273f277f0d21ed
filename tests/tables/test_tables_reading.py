"""The boundary around libraries that read files, and the checks of FITS headers."""

import gzip
import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from targetsel.errors import CatalogError, CutoutError, TargetselError
from targetsel.tables.fits import open_fits
from targetsel.tables.reading import ParquetReader, reading


def test_fault_of_a_library_becomes_an_error_that_names_the_file_and_the_fault(tmp_path):
    with (
        pytest.raises(CutoutError, match=r"a\.npy: not an array, or damaged .*\(odd bytes\)"),
        reading(tmp_path / "a.npy", CutoutError, "an array"),
    ):
        raise RuntimeError("odd bytes.\nand more")


def test_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(CatalogError, match=r"a\.npy: no such file"), reading(tmp_path / "a.npy"):
        (tmp_path / "a.npy").read_bytes()


def test_error_of_our_own_passes_the_boundary_as_it_is():
    with pytest.raises(CutoutError, match=r"^mine$"), reading("a"):
        raise CutoutError("mine")


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "t.parquet"
    table = pa.table({"b": list(range(1000)), "a": [str(i) for i in range(1000)]})
    pq.write_table(table, path, row_group_size=300, write_page_checksum=True)
    return path


def test_parquet_reader_gives_the_rows_in_pieces_with_columns_in_the_order_asked_for(parquet):
    with ParquetReader(parquet) as file:
        pieces = list(file.batches(128, ["a", "b"], row_groups=[1, 3]))
        assert file.read(["a"]).num_rows == file.num_rows == 1000
    assert [piece.schema.names for piece in pieces] == [["a", "b"]] * len(pieces)
    assert [v for p in pieces for v in p["b"].to_pylist()] == [*range(300, 600), *range(900, 1000)]


def test_damaged_parquet_is_an_error_of_the_class_asked_for_or_reads_right(parquet):
    whole, chance, refused = parquet.read_bytes(), random.Random(5), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        parquet.write_bytes(damaged)
        try:
            with ParquetReader(parquet, CutoutError) as file:
                list(file.batches(100))
        except CutoutError:
            refused += 1
    assert refused > 200


def thrift(number):
    """A whole number below 64 as it stands in a footer or the header of a page."""
    return bytes([number << 1])


@pytest.mark.parametrize("columns", [["a"], ["a", "b"], None])
@pytest.mark.parametrize(("wrong", "rows"), [("all of the footer", 60), ("the pages", 59)])
def test_column_with_fewer_rows_than_the_footer_says_is_refused(tmp_path, wrong, rows, columns):
    path, table = tmp_path / "t.parquet", pa.table({"a": range(1000, 1060), "b": [1.5] * 60})
    pq.write_table(table, path, use_dictionary=False, compression="none", write_statistics=False)
    whole = path.read_bytes()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    if wrong == "the pages":
        path.write_bytes(whole[:start].replace(thrift(60), thrift(59)) + whole[start:])
    else:
        path.write_bytes(whole[:start] + whole[start:].replace(thrift(60), thrift(61)))
    for read in (lambda file: file.read(columns), lambda file: list(file.batches(7, columns))):
        with (
            ParquetReader(path) as file,
            pytest.raises(CatalogError, match=f"{rows} rows are there, and its footer says"),
        ):
            read(file)


def test_footer_that_counts_other_rows_than_its_row_groups_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": range(1000, 1060)}), path, row_group_size=20)
    whole = path.read_bytes()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    path.write_bytes(whole[:start] + whole[start:].replace(thrift(60), thrift(40), 1))
    with pytest.raises(CatalogError, match="60 rows are there, and its footer says 40"):
        ParquetReader(path)


def test_message_that_quotes_a_very_long_value_keeps_its_place_and_its_next_step():
    message = str(CatalogError(f"a.csv: {'x' * 9000}. Write it again."))
    assert message.startswith("a.csv: xxx")
    assert message.endswith("xxx. Write it again.")
    assert len(message) < 1600


def fits_bytes():
    stream = io.BytesIO()
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("ID", "K", array=np.arange(12)),
            fits.Column("NAME", "5A", array=np.array(["a"] * 12)),
            fits.Column("BIT", "11X", array=np.zeros((12, 11), bool)),
        ]
    )
    packed = fits.CompImageHDU(np.arange(12.0).reshape(3, 4).astype("f4"))
    fits.HDUList([fits.PrimaryHDU(np.zeros((3, 5))), table, packed]).writeto(stream)
    return stream.getvalue()


def card(keyword, value):
    return f"{keyword:8}= {value:>20}".ljust(80).encode()


def with_card(data, keyword, value, old):
    assert card(keyword, old)[:30] in data
    start = data.index(card(keyword, old)[:30])
    return data[:start] + card(keyword, value) + data[start + 80 :]


def test_whole_fits_files_open_packed_or_not(tmp_path):
    (tmp_path / "a.fits").write_bytes(fits_bytes())
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(fits_bytes()))
    for source in (tmp_path / "a.fits", tmp_path / "a.fits.gz", fits_bytes()):
        with open_fits(source) as hdus:
            assert hdus[1].data["ID"].tolist() == list(range(12))
            assert hdus[2].data.shape == (3, 4)


@pytest.mark.parametrize(
    ("keyword", "value", "old", "message"),
    [
        ("NAXIS2", -120, 12, "NAXIS2 is -120; expected a whole number of 0 or more"),
        ("NAXIS2", 10**15, 12, "extension 1: its header tells of .* bytes of data, but the file"),
        ("NAXIS1", 16, 15, "its columns take 15 bytes a row, not NAXIS1 = 16"),
        ("TFIELDS", 10**9, 3, "TFIELDS is 1000000000; expected at most 999"),
        ("ZNAXIS1", 10**12, 4, "its image would take 12000000000000 bytes of memory"),
        ("BITPIX", 7, -64, "extension 0: BITPIX is 7"),
    ],
)
def test_header_that_tells_of_what_is_not_there_is_refused(keyword, value, old, message):
    with (
        pytest.raises(CutoutError, match=message),
        open_fits(with_card(fits_bytes(), keyword, value, old), CutoutError, "x.fits"),
    ):
        pass


def test_file_packed_to_fill_memory_is_refused(tmp_path):
    path = tmp_path / "bomb.fits"
    with gzip.open(path, "wb") as stream:
        stream.write(fits_bytes())
        for _ in range(300):
            stream.write(bytes(1024**2))
    with pytest.raises(CatalogError, match="over 100 times its size"), open_fits(path):
        pass


def test_damaged_fits_is_refused_or_reads_and_never_hangs():
    whole, chance, refused = fits_bytes(), random.Random(7), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.choice(b"0123456789-+TF' =\xff")
        try:
            with open_fits(bytes(damaged)) as hdus, reading("x.fits"):
                for hdu in hdus:
                    _ = hdu.data
        except TargetselError:
            refused += 1
    assert 10 < refused < 300


def test_a_missing_file_is_called_missing_whatever_its_ending(tmp_path):
    with pytest.raises(CatalogError, match=r"list\.fits: no such file"):
        ParquetReader(tmp_path / "list.fits")
