"""targetsel partition, from a catalog to a HATS catalog and its rows again."""

import shutil

import pytest

import targetsel as ts
from tests.tables.test_tables_hats import hashes


def test_command_and_function_write_the_same_hats_catalog(
    targetsel, demonstration, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(demonstration / "catalog.parquet", tmp_path)
    said = targetsel("partition", "catalog.parquet", "-o", "sky", "--rows", 5)
    assert said.status == 0, said.err
    (tmp_path / "again").mkdir()
    made = ts.partition(ts.Catalog.read("catalog.parquet")[::-1], "again/sky", rows=5)
    assert hashes(tmp_path / "again/sky") == hashes(tmp_path / "sky")
    orders = [pixel.order for pixel in made.pixels]
    assert said.out == (
        f"40 sources in {len(orders)} partitions of HEALPix orders {min(orders)} to {max(orders)} "
        "written to sky\n"
    )
    ids = ts.Catalog.read("catalog.parquet").source_id.tolist()
    assert sorted(ts.Catalog.read("sky").source_id.tolist()) == sorted(ids)


def test_one_partition_is_said_as_one(targetsel, demonstration, tmp_path):
    few = ts.Catalog.read(demonstration / "catalog.parquet")[:1]
    few.table.to_pandas().to_csv(tmp_path / "one.csv", index=False)
    said = targetsel("partition", tmp_path / "one.csv", "-o", tmp_path / "sky")
    assert said.out == f"1 source in 1 partition of HEALPix order 0 written to {tmp_path / 'sky'}\n"


@pytest.mark.parametrize("output", ["catalog.parquet", "other.txt"])
def test_command_writes_over_no_file(targetsel, demonstration, tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    shutil.copy(demonstration / "catalog.parquet", tmp_path)
    (tmp_path / "other.txt").write_text("mine")
    before = hashes(tmp_path)
    said = targetsel("partition", "catalog.parquet", "-o", output)
    assert said.status == 2
    assert hashes(tmp_path) == before
