"""Many Parquet files that are read as one: rows, row groups, units, and few open files."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError
from targetsel.tables import many_files
from targetsel.tables.folders import open_parquet
from targetsel.tables.many_files import ManyFiles
from targetsel.tables.parquet import described, write_table
from targetsel.tables.reading import ParquetReader

N = 90


def whole(unit="nJy"):
    fields = [
        pa.field("source_id", pa.int64()),
        described("flux", pa.float32(), unit),
        pa.field("field", pa.string()),
    ]
    ids = np.arange(N)
    arrays = [ids, ids / 2, [f"field {k % 7}" for k in ids]]
    arrays = [pa.array(each, field.type) for each, field in zip(arrays, fields, strict=True)]
    return pa.table(arrays, schema=pa.schema(fields))


def put(folder, table, *cuts):
    folder.mkdir()
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, N], strict=True)):
        path = folder / f"{number:02d}.parquet"
        pq.write_table(table.slice(start, stop - start), path, row_group_size=25)
    return folder


def opened(folder):
    return ManyFiles(open_parquet(folder), {b"said": b"of all"})


def test_rows_and_row_groups_are_those_of_the_files_one_after_the_other(tmp_path):
    file = opened(put(tmp_path / "a", whole(), 30, 30, 80))
    assert file.group_sizes == [25, 5, 25, 25, 10]  # the second file has no rows
    assert file.schema.metadata == {b"said": b"of all"}
    assert file.read().replace_schema_metadata(None).equals(whole())
    found = pa.Table.from_batches(file.batches(7, ["field", "source_id"], [1, 2, 4]))
    assert found["source_id"].to_pylist() == [*range(25, 55), *range(80, 90)]
    assert found.column_names == ["field", "source_id"]
    ends = [(each.min, each.max) for k in range(5) if (each := file.statistics(k, "source_id"))]
    assert ends == [(0, 24), (25, 29), (30, 54), (55, 79), (80, 89)]
    assert file.statistics(0, "nothing") is None


def test_text_as_dictionaries_is_the_same_text(tmp_path):
    folder = put(tmp_path / "a", whole(), 30)
    pq.write_table(whole().slice(0, 30), folder / "00.parquet", use_dictionary=False)
    found = opened(folder).again(["field"]).read(["field"])
    assert pa.types.is_dictionary(found.schema.field(0).type)
    assert found["field"].to_pylist() == whole()["field"].to_pylist()


def test_values_and_statistics_in_another_unit_are_those_of_the_first_files_unit(tmp_path):
    folder = put(tmp_path / "a", whole(), 30)
    write_table(whole("mJy").slice(30), folder / "01.parquet")
    file = opened(folder)
    flux = file.read(["flux"])["flux"].to_numpy()
    np.testing.assert_allclose(flux, np.r_[np.arange(30) / 2, np.arange(30, N) / 2 * 1e6])
    assert file.statistics(0, "flux").max == 12
    assert file.statistics(2, "flux") is None


def test_columns_that_folders_name_are_read(tmp_path):
    for field in ("a", "b"):
        put(tmp_path / f"tile={field}", whole(), 50)
    file = opened(tmp_path)
    assert file.read(["tile"])["tile"].to_pylist() == N * ["a"] + N * ["b"]
    assert file.again(["tile"]).read(["tile"])["tile"].to_pylist() == N * ["a"] + N * ["b"]
    assert file.statistics(0, "tile") is None


def test_few_files_are_open_at_a_time_and_what_is_being_read_goes_on(tmp_path, monkeypatch):
    """A reader of the first file goes on after it has made way for others."""
    monkeypatch.setattr(many_files, "MOST_OPEN", 2)
    opened_paths = []
    own = ParquetReader.__init__

    def noted(self, path, *rest, **more):
        opened_paths.append(path.name)
        own(self, path, *rest, **more)

    file = opened(put(tmp_path / "a", whole(), 30, 60))
    monkeypatch.setattr(ParquetReader, "__init__", noted)
    pieces = file.batches(10, ["source_id"], [0, 1])
    first = next(pieces)
    for group in range(len(file.group_sizes)):
        file.read(["flux"], [group])
    assert len(file._open) == 2
    assert opened_paths == ["00.parquet", "01.parquet", "02.parquet"]
    assert pa.Table.from_batches([first, *pieces])["source_id"].to_pylist() == [*range(30)]
    file.__exit__()
    assert not file._open


def test_a_file_that_is_replaced_while_it_is_read_is_refused_by_name(tmp_path):
    file = opened(put(tmp_path / "a", whole(), 30))
    pq.write_table(whole(), tmp_path / "a/01.parquet")
    with pytest.raises(CatalogError, match=r"01\.parquet: was changed while it was read\."):
        file.read(["flux"])


def test_partitions_come_in_the_order_of_the_sky(tmp_path):
    """Pixel 10 comes after pixel 9, and pixel 33 of order 2 lies in pixel 8 of order 1."""
    places = {"Norder=1/Dir=0/Npix=9": 2, "Norder=1/Dir=0/Npix=10": 3, "Norder=2/Dir=0/Npix=33": 1,
              "Norder=0/Dir=0/Npix=1": 0}  # fmt: skip
    for place, number in places.items():
        path = tmp_path / "dataset" / f"{place}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"number": [number]}), path)
    (tmp_path / "hats.properties").write_text("dataproduct_type=object\nhats_nrows=4\n")
    assert opened(tmp_path).read()["number"].to_pylist() == [0, 1, 2, 3]
