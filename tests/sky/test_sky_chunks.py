import resource

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.errors import CatalogError, OutputError
from targetsel.sky import chunks
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.sky.chunks import sorted_chunks
from targetsel.sky.footprint import Footprint
from targetsel.tables.parquet import described, read_footer, write_table

N = 1000


@pytest.fixture(scope="module")
def sources():
    """A thousand sources, a hundred of them in one pixel, with columns of several kinds."""
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, N), rng.uniform(-90, 90, N)
    ra[:100], dec[:100] = 359.99, 89.0
    ids = rng.permutation(N) + 2**60
    fields = [
        described("objid", pa.int64(), "", "meta.id;meta.main", "Name"),
        described("ra", pa.float64(), "deg"),
        described("dec", pa.float64(), "deg"),
        described("field", pa.dictionary(pa.int8(), pa.string())),
        described("flux", pa.list_(pa.float32(), 2), "nJy"),
        described("_healpix_29", pa.int64()),
    ]
    columns = [
        ids,
        ra,
        dec,
        pa.array([f"f{k % 7}" if k % 5 else None for k in ids.tolist()]).dictionary_encode(),
        pa.array([[k % 11, k % 3] if k % 4 else None for k in ids.tolist()], fields[4].type),
        np.zeros(N, dtype=np.int64),
    ]
    return pa.table([pa.array(c) for c in columns], names=[f.name for f in fields]).cast(
        pa.schema(fields)
    )


@pytest.fixture
def small_runs(monkeypatch):
    """Make runs and windows so small that merging has work to do."""
    monkeypatch.setattr(chunks, "ROWS_PER_READ", 128)


def cut(table, folder, rows_per_chunk=300, **options):
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "in.parquet").exists():
        write_table(table, folder / "in.parquet")
    return sorted_chunks(
        CatalogFile.open(folder / "in.parquet"), folder / "chunks", rows_per_chunk, **options
    )


def contents(result):
    return [path.read_bytes() for path in result.paths]


def test_chunks_are_sorted_and_hold_every_row_once(sources, small_runs, tmp_path):
    result = cut(sources, tmp_path)
    assert result.n_rows == N
    assert [path.name for path in result.paths] == [f"chunk-0000{k}.parquet" for k in range(4)]
    tables = [pq.read_table(path) for path in result.paths]
    assert [table.num_rows for table in tables] == [300, 300, 300, 100]
    whole = pa.concat_tables(tables)
    keys = list(zip(whole["_healpix_29"].to_pylist(), whole["objid"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert sorted(whole["objid"].to_pylist()) == sorted(sources["objid"].to_pylist())


def test_every_column_stays_with_its_source(sources, small_runs, tmp_path):
    whole = pa.concat_tables(pq.read_table(path) for path in cut(sources, tmp_path).paths)
    for ids, field, flux in zip(
        *(whole[name].to_pylist() for name in ("objid", "field", "flux")), strict=True
    ):
        assert field == (f"f{ids % 7}" if ids % 5 else None)
        assert flux == ([ids % 11, ids % 3] if ids % 4 else [None, None])


def test_pixel_of_the_catalog_is_replaced_and_units_stay(sources, tmp_path):
    result = cut(sources, tmp_path)
    assert result.schema.names == ["objid", "ra", "dec", "field", "flux", "_healpix_29"]
    assert result.schema.field("flux").metadata[b"unit"] == b"nJy"
    chunk = Catalog.read(result.paths[0])
    np.testing.assert_array_equal(chunk.table["_healpix_29"].to_numpy(), chunk.healpix)
    assert read_footer(result.paths[0])["columns"]["source_id"] == "objid"


@settings(max_examples=5)
@given(seed=st.integers(0, 1000), rows_per_chunk=st.sampled_from([137, 300, 5000]))
def test_shuffled_rows_give_the_same_bytes(sources, tmp_path_factory, seed, rows_per_chunk):
    folder = tmp_path_factory.mktemp("shuffled")
    order = np.random.default_rng(seed).permutation(N)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "ROWS_PER_READ", 128)
        shuffled = cut(sources.take(order), folder / "a", rows_per_chunk)
    plain = cut(sources, folder / "b", rows_per_chunk)
    assert contents(shuffled) == contents(plain)
    assert shuffled.sha256 == plain.sha256


def test_rows_split_into_files_give_the_same_bytes(sources, small_runs, tmp_path):
    (tmp_path / "parts").mkdir()
    for k in range(3):
        write_table(sources.slice(k * 400, 400), tmp_path / "parts" / f"{k}.parquet")
    split = sorted_chunks(CatalogFile.open(tmp_path / "parts"), tmp_path / "split", 300)
    assert contents(split) == contents(cut(sources, tmp_path))


def test_string_ids_are_sorted_like_their_bytes(small_runs, tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"é{k}" if k % 3 else f"z{k}" for k in rng.permutation(400).tolist()]
    table = pa.table({"id": ids, "ra": np.ones(400), "dec": np.ones(400)})
    result = cut(table, tmp_path, 150)
    whole = pa.concat_tables(pq.read_table(path) for path in result.paths)
    assert whole["id"].to_pylist() == sorted(ids, key=str.encode)
    again = cut(table.take(rng.permutation(400)), tmp_path / "again", 99)
    assert again.sha256 == result.sha256


def test_fingerprint_is_the_same_for_fits_and_parquet_and_changes_with_a_position(tmp_path):
    columns = {"source_id": [3, 1, 2], "ra": [359.99, 0.1, 20.0], "dec": [90.0, -90.0, 1.0]}
    Table(columns).write(tmp_path / "a.fits")
    of_fits = sorted_chunks(CatalogFile.open(tmp_path / "a.fits"), tmp_path / "f", 2)
    of_parquet = cut(pa.table(columns), tmp_path / "p", 3)
    assert of_fits.sha256 == of_parquet.sha256
    moved = cut(pa.table(columns | {"dec": [90.0, -90.0, 1.001]}), tmp_path / "m", 3)
    assert moved.sha256 != of_fits.sha256


def test_footprint_keeps_only_what_is_inside(sources, tmp_path):
    result = cut(sources, tmp_path, footprint=Footprint.cone(359.99, 89, 1e-3))
    assert result.n_rows == 100


def test_footprint_without_sources_is_a_catalog_error(sources, tmp_path):
    with pytest.raises(CatalogError, match="none of the 1000 sources lies inside the footprint"):
        cut(sources, tmp_path, footprint=Footprint.cone(180, 0.123, 1e-6))


def test_repeated_id_leaves_older_chunks_alone(sources, tmp_path):
    older = cut(sources, tmp_path)
    write_table(pa.concat_tables([sources, sources.slice(5, 1)]), tmp_path / "in.parquet")
    with pytest.raises(CatalogError, match=r"\(rows 5 and 1000\)"):
        cut(sources, tmp_path)
    assert all(path.exists() for path in older.paths)


def test_chunks_and_runs_of_an_earlier_try_are_gone(sources, tmp_path):
    cut(sources, tmp_path, 10)
    (tmp_path / "chunks" / ".runs").mkdir()
    result = cut(sources, tmp_path, 600)
    assert sorted((tmp_path / "chunks").iterdir()) == sorted(result.paths)


def test_full_disk_is_an_output_error_and_leaves_no_runs(sources, tmp_path):
    write_table(sources, tmp_path / "in.parquet")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"chunks: could not be written: .*large"):
            cut(sources, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "chunks").iterdir()) == []


def test_folder_in_a_missing_folder_is_an_output_error(sources, tmp_path):
    write_table(sources, tmp_path / "in.parquet")
    file = CatalogFile.open(tmp_path / "in.parquet")
    with pytest.raises(OutputError, match="No such file or directory"):
        sorted_chunks(file, tmp_path / "a" / "b", 10)
