"""Scored catalogs in many files: one catalog, or refused with the names of the files."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel.scored.file
from targetsel.errors import CatalogError
from targetsel.scored.file import ScoredFile
from targetsel.tables.parquet import footer_in, read_footer, write_table
from tests.scored.partitions import cut, cut_by_rows, parts_of, say
from tests.selection.scored_by_hand import scored_table

N = 400


@pytest.fixture
def scored(tmp_path):
    """A scored file, whose positions are in the order of the sky."""
    statuses = np.where(np.arange(N) % 5 == 0, "no cutout", "ok")
    table = scored_table(np.ones((N, 3)), np.ones((N, 3)), columns={"status": (statuses, "")})
    pixels = pa.array(np.arange(N) << 2 * (29 - 4), pa.int64())
    table = table.set_column(3, "_healpix_29", pixels)
    footer = footer_in(table.schema.metadata) | {
        "ensemble": {"name": "one", "sha256": 40 * "a"},
        "catalog": {"sha256": 40 * "c", "n_rows": N},
        "support": {"share": 0.5, "held_out": 100, "effective": 30.0},
    }
    path = tmp_path / "a.scored.parquet"
    write_table(table, path, footer)
    return path


@pytest.fixture
def hats(scored, tmp_path):
    folder = cut(scored, tmp_path / "hats", order=2)
    assert len(parts_of(folder)) == 25
    return folder


def change_footer(path, **entries):
    table = pq.read_table(path)
    write_table(table, path, footer_in(table.schema.metadata) | entries)


def test_a_folder_is_read_as_the_file_that_it_was_cut_from(scored, hats, tmp_path):
    flat = cut_by_rows(scored, tmp_path / "flat", 70)
    with ScoredFile(scored) as one:
        expected = pa.concat_tables(one.tables())
        for folder in (hats, flat):
            with ScoredFile(folder) as many:
                assert len(many) == N
                assert many.path == folder
                found = pa.concat_tables(many.tables(rows=64))
                assert found.equals(expected)
                for mine, its in zip(found.schema, expected.schema, strict=True):
                    assert mine.equals(its, check_metadata=True)
                assert many.row_of("333").equals(one.row_of("333"))
                assert many.texts("status", 5) == ["no cutout", "ok"]


def test_the_collection_of_a_scored_catalog_is_read_as_its_primary(scored, tmp_path):
    cut(scored, tmp_path / "all/main")
    cut(scored, tmp_path / "all/main_margin", dataproduct_type="margin")
    (tmp_path / "all/collection.properties").write_text("hats_primary_table_url=main\n")
    with ScoredFile(tmp_path / "all") as many:
        assert len(many) == N
    with pytest.raises(CatalogError, match="main_margin: is the margin of a HATS catalog"):
        ScoredFile(tmp_path / "all/main_margin")


def test_the_footer_of_the_whole_sums_what_the_files_count(hats):
    with ScoredFile(hats) as many:
        footer = many.footer
    assert footer["statuses"] == {"no cutout": N // 5, "ok": N - N // 5}
    assert footer["catalog"]["n_rows"] == N
    assert footer["ensemble"] == {"name": "one", "sha256": 40 * "a"}
    assert footer["support"] == {"share": 0.5, "held_out": 100}
    assert len(footer["catalog"]["sha256"]) == 64


def test_the_hash_of_the_whole_changes_with_that_of_one_file(hats):
    with ScoredFile(hats) as many:
        before = many.footer["catalog"]["sha256"]
    change_footer(parts_of(hats)[3], catalog={"sha256": 40 * "d", "n_rows": 16})
    with ScoredFile(hats) as many:
        assert many.footer["catalog"]["sha256"] != before


def test_pieces_of_one_scored_file_keep_its_footer(scored, tmp_path):
    (tmp_path / "pieces").mkdir()
    table, footer = pq.read_table(scored), read_footer(scored)
    for k in range(2):
        part = table.slice(k * N // 2, N // 2)
        write_table(part, tmp_path / f"pieces/{k}.parquet", footer)
    with ScoredFile(tmp_path / "pieces") as many, ScoredFile(scored) as one:
        assert many.footer == one.footer == footer


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"ensemble": {"name": "two", "sha256": 40 * "b"}}, "ensemble two bbbbbbbbbbbb, but that"),
        ({"engine": "onnx 1.2"}, "says engine onnx 1.2, but that of .* says nothing of 'engine'"),
        ({"rules": {"name": "emission"}}, 'rules {"name": "emission"}, but that'),
        ({"targetsel": "9.9"}, r"targetsel 9\.9"),
    ],
)
def test_files_that_were_not_scored_alike_are_refused_with_both_names(hats, entries, message):
    last = parts_of(hats)[-1]
    change_footer(last, **entries)
    with pytest.raises(CatalogError, match=message) as caught:
        ScoredFile(hats)
    assert last.name in str(caught.value)
    assert "Npix=0.parquet" in str(caught.value)


def test_a_file_that_has_lost_its_footer_is_refused_among_others(hats):
    path = parts_of(hats)[-1]
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(CatalogError, match="its footer says nothing of 'columns', but that of"):
        ScoredFile(hats)


def test_a_catalog_that_has_lost_a_partition_is_refused(hats):
    parts_of(hats)[7].unlink()
    with pytest.raises(CatalogError, match=r"hold 384 rows, but its properties count 400"):
        ScoredFile(hats)


def test_a_partition_without_rows_changes_nothing(hats):
    first = parts_of(hats)[0]
    with ScoredFile(hats) as many:
        expected = pa.concat_tables(many.tables())
    nothing = pq.read_table(first).slice(0, 0)
    footer = read_footer(first) | {"statuses": {}, "support": {}, "n_unmeasured": 0}
    write_table(nothing, hats / "dataset/Norder=2/Dir=0/Npix=190.parquet", footer)
    with ScoredFile(hats) as many:
        assert len(many) == N
        found = pa.concat_tables(many.tables())
        assert found.equals(expected)


def test_damage_of_one_file_names_it(hats):
    path = parts_of(hats)[4]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CatalogError, match=rf"{path.name}: .*damaged or cut short"):
        ScoredFile(hats)


def test_damage_of_the_pages_of_one_file_names_it(hats):
    path = parts_of(hats)[4]
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes(1000) + whole[1100:])
    damaged = pytest.raises(CatalogError, match=rf"{path.name}: .*damaged or cut short")
    with ScoredFile(hats) as many, damaged:
        list(many.tables())


def test_a_folder_without_parquet_files_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match="empty: no Parquet file in this folder"):
        ScoredFile(tmp_path / "empty")


def test_a_folder_of_a_catalog_that_is_not_scored_is_refused(tmp_path):
    say(tmp_path, hats_nrows=2)
    place = tmp_path / "dataset/Norder=0/Dir=0"
    place.mkdir(parents=True)
    pq.write_table(
        pa.table({"source_id": [1, 2], "ra": [1.0, 2.0], "dec": [1.0, 2.0]}),
        place / "Npix=0.parquet",
    )
    with pytest.raises(CatalogError, match="so it is not a scored catalog"):
        ScoredFile(tmp_path)


def test_footers_of_files_that_another_program_wrote_are_none_of_the_whole(hats):
    for path in parts_of(hats):
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with ScoredFile(hats) as many:
        assert {*many.footer} <= {"columns"}
        assert json.loads(many.schema.metadata[b"targetsel"])["columns"]["ra"] == "ra"


def test_a_catalog_of_which_partitions_have_yet_to_be_scored_is_refused(hats):
    (hats / "_job").mkdir()
    with ScoredFile(hats) as many:
        assert len(many) == N
    (hats / "hats.properties").unlink()
    with pytest.raises(CatalogError, match="hats: is not finished, some partitions have yet"):
        ScoredFile(hats)


def test_files_scored_on_several_devices_are_one_catalog_which_names_them(hats):
    first, *others = parts_of(hats)
    change_footer(first, device="cuda")
    for each in others:
        change_footer(each, device="cpu")
    assert ScoredFile(hats).footer["device"] == "cpu, cuda"


def test_no_more_files_are_read_at_once_than_stay_open(hats, monkeypatch):
    monkeypatch.setattr(targetsel.scored.file, "MOST_OPEN", 4)
    with ScoredFile(hats) as file:
        spans = [*file.spans(range(len(file.group_sizes)))]
        assert max(map(len, spans)) == 4
        assert [each for span in spans for each in span] == [*range(25)]
