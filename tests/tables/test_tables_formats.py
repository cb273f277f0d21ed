import warnings

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from targetsel.errors import CatalogError
from targetsel.tables.formats import open_table
from targetsel.tables.parquet import described, write_table

MEANING = {b"unit": b"deg", b"ucd": b"pos.eq.ra;meta.main", b"description": b"Right ascension"}


@pytest.fixture
def sources():
    """Three sources with a masked integer, text, an array and units."""
    table = Table()
    table["source_id"] = np.array([1, 2**53 + 1, 2**62 + 1])
    table["ra"] = [359.99, 0.0, 180.0] * u.deg
    table["dec"] = [90.0, -90.0, 0.0] * u.deg
    table["n_obs"] = MaskedColumn(np.array([3, 0, 5], dtype=np.int32), mask=[False, True, False])
    table["name"] = ["NGC 1", "M 31", ""]
    table["flux"] = np.arange(6, dtype=np.float32).reshape(3, 2) * u.nJy
    table["ra"].description = "Right ascension"
    assert len(table) == 3
    return table


def write(table, path):
    """Write `table` with the UCD of its ra where the format keeps it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix != ".fits":
            table["ra"].meta["ucd"] = "pos.eq.ra;meta.main"
        if path.suffix == ".csv":
            table = table.copy()
            table.remove_column("flux")
        table.write(path, format="votable" if path.suffix == ".vot" else None)
        if path.suffix == ".fits":
            fits.setval(path, "TUCD2", value="pos.eq.ra;meta.main", ext=1)
            fits.setval(path, "TCOMM2", value="Right ascension", ext=1)
    return path


def read_all(path):
    rows = open_table(path)
    return pa.concat_tables(rows.batches(2, rows.schema.names))


@pytest.mark.parametrize("name", ["a.fits", "a.vot", "a.ecsv"])
def test_units_ucds_and_descriptions_come_along(name, sources, tmp_path):
    table = read_all(write(sources, tmp_path / name))
    assert table.schema.field("ra").metadata == MEANING
    assert table.schema.field("flux").metadata[b"unit"] == b"nJy"


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.vot", "a.ecsv", "a.csv", "a.csv.gz"])
def test_values_come_along_and_masked_ones_are_null(name, sources, tmp_path):
    path = tmp_path / name
    if path.suffix == ".gz":
        sources.remove_columns(["flux"])
        sources.write(path, format=path.stem.split(".")[-1])
    else:
        write(sources, path)
    table = read_all(path)
    assert table["source_id"].to_pylist() == [1, 2**53 + 1, 2**62 + 1]
    assert table["ra"].to_pylist() == [359.99, 0.0, 180.0]
    assert table["n_obs"].to_pylist() == [3, None, 5]
    assert [name or "" for name in table["name"].to_pylist()] == ["NGC 1", "M 31", ""]


@pytest.mark.parametrize("name", ["a.fits", "a.vot", "a.ecsv"])
def test_columns_of_arrays_become_fixed_size_lists(name, sources, tmp_path):
    table = read_all(write(sources, tmp_path / name))
    assert table.schema.field("flux").type == pa.list_(pa.float32(), 2)
    assert table["flux"].to_pylist() == [[0, 1], [2, 3], [4, 5]]


def test_two_further_axes_become_lists_of_lists(tmp_path):
    Table({"cov": np.arange(8.0).reshape(2, 2, 2)}).write(tmp_path / "a.fits")
    assert read_all(tmp_path / "a.fits")["cov"].to_pylist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


def test_unit_unknown_to_votable_keeps_its_name(tmp_path):
    Table({"flux": [1.0] * u.electron / u.s}).write(tmp_path / "a.ecsv")
    assert read_all(tmp_path / "a.ecsv").schema.field("flux").metadata[b"unit"] == b"electron / s"


def test_column_of_coordinates_is_refused_by_name(tmp_path):
    Table({"where": SkyCoord([1.0], [2.0], unit="deg")}).write(tmp_path / "a.ecsv")
    with pytest.raises(CatalogError, match=r"a\.ecsv: column 'where' .*SkyCoord"):
        open_table(tmp_path / "a.ecsv")


def test_parquet_fields_and_our_votable_header_give_the_same_meaning(tmp_path):
    field = described("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "Right ascension")
    write_table(pa.table([[1.0]], schema=pa.schema([field])), tmp_path / "ours.parquet")
    header = pq.read_metadata(tmp_path / "ours.parquet").metadata
    key = b"IVOA.VOTable-Parquet.content"
    only_votable = pa.table({"ra": [1.0]}).replace_schema_metadata({key: header[key]})
    pq.write_table(only_votable, tmp_path / "theirs.parquet")
    for name in ("ours.parquet", "theirs.parquet"):
        assert open_table(tmp_path / name).schema.field("ra").metadata == MEANING


def test_notes_that_stored_posteriors_are_read_by_stay_on_their_fields(tmp_path):
    field = pa.field("q", pa.float32(), metadata={"normal_scores": "-1,0,1", "unit": "Angstrom"})
    pq.write_table(pa.table([[1.0]], schema=pa.schema([field])), tmp_path / "scored.parquet")
    notes = open_table(tmp_path / "scored.parquet").schema.field("q").metadata
    assert notes == {b"normal_scores": b"-1,0,1", b"unit": b"Angstrom"}


def test_folder_of_parquet_files_is_one_table_in_the_order_of_names(tmp_path):
    for name, ids in (("b.parquet", [3]), ("a.parquet", [1, 2]), ("_metadata.parquet", [9])):
        pq.write_table(pa.table({"source_id": ids}), tmp_path / name)
    assert open_table(tmp_path).num_rows == 3
    assert read_all(tmp_path)["source_id"].to_pylist() == [1, 2, 3]


def test_thumbnail_of_a_hats_catalog_is_not_read(tmp_path):
    leaf = tmp_path / "dataset" / "Norder=1" / "Dir=0" / "Npix=7.parquet"
    leaf.parent.mkdir(parents=True)
    for path in (leaf, tmp_path / "dataset" / "data_thumbnail.parquet"):
        pq.write_table(pa.table({"source_id": [1, 2]}), path)
    assert open_table(tmp_path).num_rows == 2


def test_folder_with_columns_of_another_type_is_refused_by_file(tmp_path):
    pq.write_table(pa.table({"mag": [1.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"mag": [1]}), tmp_path / "b.parquet")
    with pytest.raises(
        CatalogError, match=r"b\.parquet: column 'mag' is of type int64, not double"
    ):
        open_table(tmp_path)


def test_two_columns_of_one_name_are_refused(tmp_path):
    pq.write_table(pa.table([[1], [2], [3]], names=["ra", "mag", "mag"]), tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match=r"a\.parquet: has several columns 'mag'\. Rename"):
        open_table(tmp_path / "a.parquet")


def test_cut_parquet_file_in_a_folder_is_named(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(pa.table({"source_id": range(1000)}), tmp_path / name)
    whole = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CatalogError, match=r"b\.parquet: not a Parquet file, or damaged"):
        open_table(tmp_path)


def test_damaged_rows_of_a_parquet_file_are_a_catalog_error(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": np.random.default_rng(1).random(1000)}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:4000] = bytes(3996)
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"a\.parquet: .*damaged or cut short"):
        read_all(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.fits", "a.fits, extension 1: its header is cut short"),
        ("a.vot", "a.vot: not a VOTable, or damaged or cut short"),
        ("a.ecsv", "a.ecsv: not an ECSV table, or damaged or cut short"),
    ],
)
def test_cut_file_of_another_format_is_a_catalog_error(name, message, sources, tmp_path):
    path = write(sources, tmp_path / name)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
    with pytest.raises(CatalogError, match=message):
        open_table(path)


def test_unknown_ending_is_answered_with_the_known_ones(tmp_path):
    (tmp_path / "a.hdf5").write_text("x")
    with pytest.raises(CatalogError, match=r"ends in '\.hdf5'; expected .*\.fits"):
        open_table(tmp_path / "a.hdf5")


def test_missing_file_is_answered_with_the_nearest_name(tmp_path):
    (tmp_path / "galaxies.fits").write_text("x")
    with pytest.raises(CatalogError, match=r"no such file or folder\. Did you mean 'galaxies\.f"):
        open_table(tmp_path / "galaxy.fits")


def test_folder_without_parquet_files_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="no Parquet file"):
        open_table(tmp_path)
