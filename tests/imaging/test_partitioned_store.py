"""A cutout store partitioned as its catalog: the same cutouts, a part of the sky at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import targetsel as ts
from targetsel.errors import CutoutError, OutputError
from targetsel.imaging import partitioned_packing
from targetsel.imaging.partitioned_store import PartitionedStore
from targetsel.imaging.store import CutoutStore
from targetsel.tables.hats import HatsCatalog, Pixel

N, WITHOUT = 60, 7


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """A catalog of 60 sources in four partitions or more, and images of all but 7 of them."""
    folder = tmp_path_factory.mktemp("sky")
    rng = np.random.default_rng(5)
    ids = rng.permutation(N) + 100
    where = np.array([[10.0, 10.0], [100.0, 40.0], [200.0, -30.0], [300.0, 70.0]])[np.arange(N) % 4]
    place = where + rng.uniform(-1, 1, (N, 2))
    table = {"source_id": ids, "ra": place[:, 0], "dec": place[:, 1]}
    ts.partition(pa.table(table), folder / "sky", rows=20)
    ts.partition(pa.table(table), folder / "coarse", rows=40)
    (folder / "images").mkdir()
    for row in range(WITHOUT, N):
        np.save(folder / "images" / f"{ids[row]}.npy", rng.normal(size=(2, 8, 8)))
    assert len(HatsCatalog.open(folder / "sky").pixels) >= 4
    return folder


def pack(sky, output, **options):
    options = {"bands": "gr", "pixel_scale": 0.25, "zeropoint": 22.5, **options}
    return ts.pack(sky / "images", options.pop("catalog", sky / "sky"), output, **options)


def bytes_of(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def packed(sky, tmp_path):
    pack(sky, tmp_path / "cutouts")
    return tmp_path / "cutouts"


def test_a_partitioned_store_is_read_as_one_that_is_not(sky, packed, tmp_path):
    store, catalog = CutoutStore.open(packed), HatsCatalog.open(sky / "sky")
    whole = ts.Catalog.read(sky / "sky")
    ordinary = pack(sky, tmp_path / "ordinary", catalog=whole)
    assert len(store) == len(ordinary) == N - WITHOUT
    assert not (tmp_path / "ordinary" / "store.json").exists()
    assert repr(ts.read(packed)) == repr(store)
    asked = whole.source_id[::-1]
    one, other = store.read(asked), ordinary.read(asked)
    np.testing.assert_array_equal(one.flux, other.flux)
    assert one.status.tolist() == other.status.tolist()
    assert sorted(store.source_ids()) == sorted(ordinary.source_ids())
    assert (store.bands, store.shape, store.sky_sigma) == (
        ordinary.bands, ordinary.shape, ordinary.sky_sigma)  # fmt: skip
    assert len(catalog.pixels) == len(list(packed.rglob("Npix=*.parquet")))


def test_a_partition_opens_its_own_file_alone(sky, packed):
    store, catalog = PartitionedStore.open(packed), HatsCatalog.open(sky / "sky")
    for pixel in catalog.pixels:
        own = ts.Catalog.read(catalog.path_of(pixel)).source_id
        part = store.of(pixel)
        assert {*part.source_ids().tolist()} <= {*own.tolist()}
        assert part.sha256 == store.sha256 == CutoutStore.open(packed).sha256


def test_partitions_cut_otherwise_than_the_store_find_their_cutouts(sky, packed):
    store, catalog = PartitionedStore.open(packed), HatsCatalog.open(sky / "coarse")
    found = sum(
        int(store.of(pixel).has(ts.Catalog.read(catalog.path_of(pixel)).source_id).sum())
        for pixel in catalog.pixels
    )
    assert found == N - WITHOUT


def test_any_rows_find_the_files_that_hold_them(sky, packed):
    store, whole = PartitionedStore.open(packed), ts.Catalog.read(sky / "sky")
    some = whole.take(whole.dec > 30)
    around = store.around(some.healpix)
    assert around.has(some.source_id).sum() == CutoutStore.open(packed).has(some.source_id).sum()
    assert 0 < len(around) < N - WITHOUT
    assert len(store.around(np.empty(0, np.int64))) == 0


def test_a_partition_without_cutouts_has_the_status_no_cutout(sky, packed):
    store = PartitionedStore.open(packed)
    nowhere = store.of(Pixel(29, 0))
    cutouts = ts.cut_out(ts.Catalog.read(sky / "sky"), nowhere)
    assert {*cutouts.status} == {"no cutout"}
    assert cutouts.flux.shape == (N, *store.layout.shape)
    assert len(nowhere) == 0
    for ids in (np.array([1, 2]), np.array(["a", "b"], dtype=object)):
        assert nowhere.read(ids).status.tolist() == ["no cutout"] * 2
        assert not nowhere.has(ids).any()


def test_a_packing_that_was_stopped_goes_on_to_the_same_bytes(sky, packed, tmp_path, monkeypatch):
    write, begun = partitioned_packing.write_store_file, []

    def stopped(file, *given):
        begun.append(file)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return write(file, *given)

    monkeypatch.setattr(partitioned_packing, "write_store_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        pack(sky, tmp_path / "again")
    with pytest.raises(CutoutError, match="has not ended"):
        CutoutStore.open(tmp_path / "again")
    begun[0].with_name(f".{begun[0].name}.scratch").touch()  # as of a run that was killed
    run = pack(sky, tmp_path / "again").run
    assert len(begun) == 2 + len(HatsCatalog.open(sky / "sky").pixels) - 1
    assert (run.written, run.missing) == (N - WITHOUT, WITHOUT)
    assert bytes_of(tmp_path / "again") == bytes_of(packed)


def test_a_packing_of_other_options_is_refused(sky, packed, tmp_path):
    with pytest.raises(OutputError, match="was begun with encoding"):
        pack(sky, packed, encoding="float32")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(OutputError, match="is not a cutout store in partitions"):
        pack(sky, tmp_path / "other")


def test_a_lost_file_is_named_and_written_by_another_run(sky, packed):
    before = bytes_of(packed)
    lost = next(packed.rglob("Npix=*.parquet"))
    lost.unlink()
    with pytest.raises(CutoutError, match=lost.name):
        CutoutStore.open(packed)
    pack(sky, packed)
    assert bytes_of(packed) == before


def test_a_damaged_file_costs_its_own_part_of_the_sky(sky, packed):
    damaged = sorted(packed.rglob("Npix=*.parquet"))[-1]
    damaged.write_bytes(bytes(damaged.stat().st_size))
    store = PartitionedStore.open(packed)
    failed = []
    for pixel in HatsCatalog.open(sky / "sky").pixels:
        try:
            store.of(pixel)
        except CutoutError as error:
            failed.append(str(error))
    assert len(failed) == 1
    assert damaged.name in failed[0]
    assert "\n" not in failed[0]


def test_a_file_of_another_store_is_refused(packed):
    one, other = sorted(packed.rglob("Npix=*.parquet"))[:2]
    one.write_bytes(other.read_bytes())
    with pytest.raises(CutoutError, match=r"is not the file that .* lists"):
        CutoutStore.open(packed)


def test_a_damaged_listing_is_one_line(packed):
    (packed / "store.json").write_text('{"simulated": false, "files": []}')
    with pytest.raises(CutoutError, match="is damaged, or of another version") as caught:
        PartitionedStore.open(packed)
    assert "\n" not in str(caught.value)
