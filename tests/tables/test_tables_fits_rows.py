"""FITS tables that are read piece by piece."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from targetsel.errors import CatalogError
from targetsel.tables.fits_tables import FitsRows
from targetsel.tables.formats import InMemory, open_columns, open_table

N = 2500


@pytest.fixture
def path(tmp_path):
    whole = np.arange(N)
    columns = [
        fits.Column("TARGETID", "K", array=39_627_640_000_000_000 + whole, null=-1),
        fits.Column("Z", "D", array=np.where(whole % 7 == 0, np.nan, whole / N)),
        fits.Column("ZWARN", "J", array=whole % 5, null=3),
        fits.Column("OBJTYPE", "3A", array=np.where(whole % 3 == 0, "SKY", "TGT")),
        fits.Column("PRIMARY", "L", array=whole % 2 == 0),
        fits.Column("SHIFTED", "J", array=whole.astype(np.uint32), bzero=2**31),
        fits.Column("COEFF", "4E", array=np.ones((N, 4), np.float32)),
        fits.Column("LISTS", "PE()", array=np.array([np.ones(k % 3) for k in whole], object)),
    ]
    there = tmp_path / "zall.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(there)
    return there


def test_pieces_hold_what_the_whole_table_holds(path):
    rows, whole = open_columns(path), open_table(path)
    assert isinstance(rows, FitsRows)
    assert rows.num_rows == N
    assert [*rows.schema.names, "LISTS"] == whole.schema.names
    for name in rows.schema.names:
        pieces = [each.column(0).combine_chunks() for each in rows.batches(999, [name])]
        found = [value for piece in pieces for value in piece.to_pylist()]
        assert found == whole.table[name].to_pylist()


def test_units_and_frames_come_along(tmp_path):
    table = Table({"ra": [1.0], "dec": [2.0]}, units={"ra": "deg", "dec": "deg"})
    table.meta["RADESYS"] = "FK4"
    table.write(tmp_path / "a.fits")
    schema = open_columns(tmp_path / "a.fits").schema
    assert schema.field("ra").metadata == {b"unit": b"deg", b"frame": b"FK4"}


def test_files_that_cannot_be_read_in_pieces_are_read_whole(path, tmp_path):
    packed = tmp_path / "packed.fits"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    masked = Table({"a": MaskedColumn([1.5, 2.5], mask=[True, False]), "b": [True, False]})
    masked["b"] = MaskedColumn(masked["b"], mask=[False, True])
    masked.write(tmp_path / "masked.fits")
    for each in (packed, tmp_path / "masked.fits"):
        assert open_columns(each).schema == open_table(each).schema
    assert isinstance(open_columns(packed), InMemory)


def test_a_file_that_is_cut_short_is_refused(path):
    path.write_bytes(path.read_bytes()[: 2880 * 20])
    with pytest.raises(CatalogError, match=r"zall\.fits"):
        open_columns(path)
