import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CutoutError, OutputError
from targetsel.imaging import packing, store
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import ASINH, FLOAT, KEY, CutoutStore, check_suits

BANDS = ("g", "r", "i")
SIGMA = (0.01, 0.02, 0.04)
N = 150


@pytest.fixture
def sky():
    """150 cutouts of 3 bands and 6 x 6 pixels all over the sky, with their troubles."""
    rng = np.random.default_rng(3)
    flux = rng.normal(size=(N, 3, 6, 6)) * np.array(SIGMA)[:, None, None]
    flux[4, 1] = np.nan
    ra, dec = rng.uniform(0, 360, N), np.degrees(np.arcsin(rng.uniform(-1, 1, N)))
    ra[:3], dec[:3] = [359.99, 0.0, 180.0], [0.0, 90.0, -90.0]
    ids = rng.permutation(N) + 1_237_658_802_572_296_399
    cutouts = Cutouts(ids, flux.astype(np.float32), BANDS, 0.25)
    assert cutouts.flux.shape == (N, 3, 6, 6)
    return cutouts, ra, dec


def pieces(sky, order, rows):
    cutouts, ra, dec = sky
    for start in range(0, len(order), rows):
        some = order[start : start + rows]
        yield cutouts.take(some), ra[some], dec[some]


def bytes_of(path):
    return [file.read_bytes() for file in sorted(path.iterdir())]


def named(sky):
    """The same sources with names in place of numbers."""
    cutouts, ra, dec = sky
    names = np.array([f"J{number % 1000:04d}é" for number in cutouts.source_id], dtype=object)
    return Cutouts(names, cutouts.flux, BANDS, 0.25), ra, dec


@pytest.mark.parametrize("encoding", [ASINH, FLOAT])
@pytest.mark.parametrize("kind", [lambda sky: sky, named], ids=["numbers", "names"])
def test_cutouts_come_back_in_the_order_asked(tmp_path, sky, encoding, kind):
    sky = kind(sky)
    cutouts = sky[0]
    assert write_store(tmp_path / "s", [sky], SIGMA, encoding) == N
    store = CutoutStore.open(tmp_path / "s")
    asked = np.random.default_rng(0).permutation(N)
    got = store.read(cutouts.source_id[asked])
    assert got.source_id.tolist() == cutouts.source_id[asked].tolist()
    assert got.status.tolist() == cutouts.take(asked).status.tolist()
    tolerance = 0 if encoding == FLOAT else 0.07 * np.array(SIGMA)[:, None, None]
    wrong = np.abs(got.flux - cutouts.flux[asked]) > tolerance
    assert not wrong.any()
    assert (np.isnan(got.flux) == np.isnan(cutouts.flux[asked])).all()
    assert (store.bands, store.shape, store.pixel_scale, len(store)) == (BANDS, (3, 6, 6), 0.25, N)


def test_order_and_pieces_do_not_change_a_byte(tmp_path, sky, monkeypatch):
    monkeypatch.setattr(packing, "SOURCES_PER_PART", 70)
    order = np.arange(N)
    write_store(tmp_path / "a", pieces(sky, order, 40), SIGMA)
    write_store(tmp_path / "b", pieces(sky, order[::-1], 33), SIGMA)
    assert len(bytes_of(tmp_path / "a")) == 3
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_the_footer_of_a_file_is_parsed_once_for_all_of_its_groups(tmp_path, sky, monkeypatch):
    write_store(tmp_path / "s", [sky], SIGMA)
    opened = CutoutStore.open(tmp_path / "s")
    known = []

    class Reader(store.ParquetReader):
        def __init__(self, path, error, metadata=None):
            known.append(metadata is not None)
            super().__init__(path, error, metadata)

    monkeypatch.setattr(store, "ParquetReader", Reader)
    opened.read(sky[0].source_id)
    assert known == [False, True, True]


def test_parts_are_sorted_on_the_sky_and_readable_by_others(tmp_path, sky, monkeypatch):
    monkeypatch.setattr(packing, "SOURCES_PER_PART", 100)
    write_store(tmp_path / "s", [sky], SIGMA, FLOAT)
    table = pa.concat_tables([pq.read_table(file) for file in sorted((tmp_path / "s").iterdir())])
    assert table.column_names == ["source_id", "ra", "dec", "_healpix_29", "flux"]
    healpix = table["_healpix_29"].to_numpy()
    assert (np.diff(healpix) > 0).all()
    first = table["flux"].combine_chunks().to_numpy_ndarray()[0]
    row = sky[0].source_id.tolist().index(table["source_id"][0].as_py())
    np.testing.assert_array_equal(first, sky[0].flux[row])
    assert table["ra"][0].as_py() == sky[1][row]
    store = CutoutStore.open(tmp_path / "s")
    assert store.source_ids().tolist() == table["source_id"].to_pylist()
    assert store.source_ids(101).tolist() == table["source_id"].to_pylist()[:101]


def test_a_source_that_is_not_there_has_no_cutout(tmp_path, sky):
    write_store(tmp_path / "s", [sky], SIGMA)
    store = CutoutStore.open(tmp_path / "s")
    known = sky[0].source_id[7]
    got = store.read(np.array([1, known, known, -5]))
    assert got.status.tolist() == ["no cutout", "ok", "ok", "no cutout"]
    assert np.isnan(got.flux[0]).all()
    assert len(store.read(np.array([], dtype=np.int64))) == 0


def test_positions_come_back_with_the_cutouts(tmp_path, sky):
    cutouts, ra, dec = sky
    write_store(tmp_path / "s", [sky], SIGMA)
    got = CutoutStore.open(tmp_path / "s").read(np.array([cutouts.source_id[7], 1]))
    np.testing.assert_array_equal(got.position, [[ra[7], np.nan], [dec[7], np.nan]])
    np.testing.assert_array_equal(got.take([1, 0]).position, [[np.nan, ra[7]], [np.nan, dec[7]]])


def test_sources_that_are_not_present_are_not_stored(tmp_path, sky):
    cutouts, ra, dec = sky
    present = np.arange(N) != 9
    sky = Cutouts(cutouts.source_id, cutouts.flux, BANDS, 0.25, present), ra, dec
    assert write_store(tmp_path / "s", [sky], SIGMA) == N - 1
    got = CutoutStore.open(tmp_path / "s").read(cutouts.source_id)
    assert (got.status == "no cutout").tolist() == (~present).tolist()


def test_threads_may_share_a_store(tmp_path, sky, monkeypatch):
    monkeypatch.setattr(packing, "SOURCES_PER_PART", 50)
    monkeypatch.setattr(packing, "SOURCES_PER_GROUP", 8)
    write_store(tmp_path / "s", [sky], SIGMA, FLOAT)
    store = CutoutStore.open(tmp_path / "s")
    orders = [np.random.default_rng(seed).permutation(N) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for order, got in zip(
            orders, pool.map(lambda o: store.read(sky[0].source_id[o]), orders), strict=True
        ):
            np.testing.assert_array_equal(got.flux, sky[0].flux[order])


def test_fingerprint_follows_the_content_and_not_the_name(tmp_path, sky):
    cutouts, ra, dec = sky
    write_store(tmp_path / "a", [sky], SIGMA)
    first = CutoutStore.open(tmp_path / "a").sha256
    (tmp_path / "a" / "part-00000.parquet").rename(tmp_path / "alone.parquet")
    assert CutoutStore.open(tmp_path / "alone.parquet").sha256 == first
    brighter = cutouts.flux.copy()
    brighter[5, 0, 0, 0] += 1
    write_store(
        tmp_path / "b", [(Cutouts(cutouts.source_id, brighter, BANDS, 0.25), ra, dec)], SIGMA
    )
    write_store(
        tmp_path / "c", [(Cutouts(cutouts.source_id, cutouts.flux, BANDS, 0.3), ra, dec)], SIGMA
    )
    write_store(tmp_path / "d", [(cutouts, ra, np.clip(dec + 1e-9, -90, 90))], SIGMA)
    others = {CutoutStore.open(tmp_path / name).sha256 for name in "bcd"}
    assert len(others | {first}) == 4


def test_a_store_takes_the_place_of_a_store_but_of_nothing_else(tmp_path, sky):
    write_store(tmp_path / "s", [sky], SIGMA)
    assert write_store(tmp_path / "s", pieces(sky, np.arange(10), 10), SIGMA) == 10
    assert len(CutoutStore.open(tmp_path / "s")) == 10
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious")
    with pytest.raises(OutputError, match="already exists and is not a cutout store"):
        write_store(tmp_path / "thesis", [sky], SIGMA)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "precious"


def test_a_failed_write_leaves_nothing_and_keeps_the_old_store(tmp_path, sky):
    write_store(tmp_path / "s", [sky], SIGMA)
    before = bytes_of(tmp_path / "s")

    def broken():
        yield sky
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="could not be written: No space left on device"):
        write_store(tmp_path / "s", broken(), SIGMA)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]
    assert bytes_of(tmp_path / "s") == before
    with pytest.raises(OutputError, match=r"does not exist\. Create it first"):
        write_store(tmp_path / "nowhere" / "s", [sky], SIGMA)


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store

def pieces():
    flux = np.ones((1, 1, 4, 4), np.float32)
    for number in range(10**6):
        yield Cutouts(np.array([number]), flux, ("g",), 0.25), [1.0], [2.0]
        time.sleep(0.01)

write_store(Path(sys.argv[1]), pieces(), (1.0,))
"""


def test_a_killed_write_keeps_the_old_store_and_leaves_nothing_after_the_next(tmp_path, sky):
    write_store(tmp_path / "s", [sky], SIGMA)
    before = bytes_of(tmp_path / "s")
    run = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "s")])
    while not list(tmp_path.glob(".s.*/scratch")) and run.poll() is None:
        time.sleep(0.02)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    assert bytes_of(tmp_path / "s") == before
    write_store(tmp_path / "s", [sky], SIGMA)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]
    assert bytes_of(tmp_path / "s") == before


def test_what_cannot_be_stored_is_an_error(tmp_path, sky):
    cutouts, ra, dec = sky
    path = tmp_path / "s"
    with pytest.raises(
        CutoutError, match="not written, as 150 sources came again, the first is '123"
    ):
        write_store(path, [sky, sky], SIGMA)
    with pytest.raises(CutoutError, match="no source has a cutout"):
        write_store(path, [], SIGMA)
    with pytest.raises(CutoutError, match="One store takes cutouts of one kind"):
        write_store(path, [sky, (cutouts.crop(4), ra, dec)], SIGMA)
    with pytest.raises(CutoutError, match=r"dec 91\.0, not on the sky"):
        write_store(path, [(cutouts, ra, np.full(N, 91.0))], SIGMA)
    with pytest.raises(CutoutError, match="sky sigma of band r is nan"):
        write_store(path, [sky], (0.01, np.nan, 0.02))
    assert not list(tmp_path.iterdir())


def test_what_is_not_a_store_is_an_error(tmp_path):
    with pytest.raises(CutoutError, match="no such file or folder"):
        CutoutStore.open(tmp_path / "nothing")
    with pytest.raises(CutoutError, match="no Parquet file in this folder"):
        CutoutStore.open(tmp_path)
    pq.write_table(pa.table({"ra": [1.0]}), tmp_path / "catalog.parquet")
    with pytest.raises(CutoutError, match=r"catalog\.parquet: a Parquet file, but not a cutout"):
        CutoutStore.open(tmp_path)


def test_a_damaged_store_names_the_file(tmp_path, sky, monkeypatch):
    monkeypatch.setattr(packing, "SOURCES_PER_PART", 50)
    write_store(tmp_path / "s", [sky], SIGMA)
    second = tmp_path / "s" / "part-00001.parquet"
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CutoutError, match=r"part-00001\.parquet: not a Parquet file, or damaged"):
        CutoutStore.open(tmp_path / "s")
    second.unlink()
    with pytest.raises(CutoutError, match="2 of the 3 files of this cutout store are here"):
        CutoutStore.open(tmp_path / "s")


def test_one_changed_byte_among_the_pixels_is_found(tmp_path, sky):
    write_store(tmp_path / "s", [sky], SIGMA)
    file = tmp_path / "s" / "part-00000.parquet"
    content = bytearray(file.read_bytes())
    place = pq.ParquetFile(file).metadata.row_group(1).column(4)
    content[place.data_page_offset + place.total_compressed_size // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CutoutError, match=r"part-00000\.parquet: .*CRC checksum"):
        CutoutStore.open(tmp_path / "s").read(sky[0].source_id)


def test_files_of_two_stores_in_one_folder_are_an_error(tmp_path, sky):
    cutouts, ra, dec = sky
    write_store(tmp_path / "a", [sky], SIGMA)
    write_store(tmp_path / "b", [(cutouts.crop(4), ra, dec)], SIGMA)
    (tmp_path / "b" / "part-00000.parquet").rename(tmp_path / "a" / "part-00001.parquet")
    with pytest.raises(CutoutError, match=r"part-00001\.parquet: differs from part-00000"):
        CutoutStore.open(tmp_path / "a")


def test_ids_are_compared_as_text_where_one_side_has_numbers(tmp_path, sky):
    cutouts, ra, dec = sky
    write_store(tmp_path / "s", [sky], SIGMA)
    text = [str(each) for each in cutouts.source_id]
    named = replace(cutouts, source_id=np.array(text, dtype=object))
    write_store(tmp_path / "t", [(named, ra, dec)], SIGMA)
    asked = np.array([text[1], "0" + text[1], "x", "", "9" * 30, "-0"], dtype=object)
    numbers, names = CutoutStore.open(tmp_path / "s"), CutoutStore.open(tmp_path / "t")
    assert numbers.has(asked).tolist() == [True, *[False] * 5]
    assert names.has(cutouts.source_id).all()
    for found in (numbers.read(asked[:1]), names.read(cutouts.source_id[1:2])):
        assert found.present.all()
        assert np.array_equal(found.flux[0], numbers.read(cutouts.source_id[1:2]).flux[0])


def test_a_store_with_more_than_enough_suits(tmp_path, sky):
    write_store(tmp_path / "s", [sky], SIGMA)
    store = CutoutStore.open(tmp_path / "s")
    assert check_suits(store, ("i", "g"), 0.2505, 4, "ensemble e") is None
    assert check_suits(store, BANDS, 0.25, 6, "ensemble e") is None


@pytest.mark.parametrize(
    ("bands", "scale", "size", "message"),
    [
        (("g", "y"), 0.25, 6, "its bands are g, r, i, but ensemble e needs g, y."),
        (BANDS, 0.262, 6, "its pixels are 0.25 arcsec, but ensemble e needs 0.262 arcsec."),
        (BANDS, 0.25, 7, "its cutouts are 6 x 6 pixels, but ensemble e needs 7 x 7."),
    ],
)
def test_a_store_that_does_not_suit_tells_both_sides(tmp_path, sky, bands, scale, size, message):
    write_store(tmp_path / "s", [sky], SIGMA)
    with pytest.raises(CutoutError) as error:
        check_suits(CutoutStore.open(tmp_path / "s"), bands, scale, size, "ensemble e")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.slice(0, 0), "a cutout store without sources"),
        (lambda table: table.drop_columns("flux"), "column 'flux' is missing"),
        (
            lambda table: table.drop_columns("source_id"),
            "no column 'source_id', so it is not a cutout store",
        ),
        (
            lambda table: table.set_column(0, "source_id", table["ra"]),
            "column 'source_id': holds numbers; expected ids, whole numbers or text",
        ),
    ],
)
def test_a_store_that_lost_rows_or_columns_is_refused(tmp_path, sky, change, message):
    write_store(tmp_path / "s", [sky], SIGMA)
    part = tmp_path / "s" / "part-00000.parquet"
    footer = pq.read_metadata(part).metadata
    pq.write_table(change(pq.read_table(part)).replace_schema_metadata({KEY: footer[KEY]}), part)
    with pytest.raises(CutoutError, match=message):
        CutoutStore.open(tmp_path / "s")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("[]", "of its footer is damaged, or of another version of targetsel"),
        ("{", r"of its footer is damaged, .* \(Invalid JSON"),
        ('{"version": 1}', r"of its footer is damaged, .* \(bands: Field required\)"),
        ('{"version": 2}', r"of another version .* \(.*\)\. Pack the cutouts again\."),
    ],
)
def test_a_store_with_a_damaged_footer_is_refused(tmp_path, sky, entry, message):
    write_store(tmp_path / "s", [sky], SIGMA)
    part = tmp_path / "s" / "part-00000.parquet"
    pq.write_table(pq.read_table(part).replace_schema_metadata({KEY: entry}), part)
    with pytest.raises(CutoutError, match=message):
        CutoutStore.open(tmp_path / "s")
