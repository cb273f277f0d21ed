"""A HATS catalog scored in partitions: the same as whole, whoever does it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import targetsel.scoring.stream
from targetsel.errors import CatalogError, CutoutError, OutputError
from targetsel.imaging.packing import pack_cutouts, write_store_file
from targetsel.imaging.store import ASINH, CutoutStore, read_part
from targetsel.imaging.store_listing import ListedFile, StoreListing
from targetsel.jobs.job import MOST_ERRORS, Job
from targetsel.jobs.launch import on_this_machine
from targetsel.partitions.catalog_job import LEFT_OUT, HowToRun, Kind, PartitionedRun
from targetsel.partitions.scoring import work_of
from targetsel.rules.rules import Rules
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions
from targetsel.scoring.stream import score
from targetsel.selection.needed import Asked
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.sky.partitions import partition_catalog
from targetsel.tables.hats import HatsCatalog, is_hats
from targetsel.tables.parquet import SIMULATED, read_footer
from tests.partitions.conftest import RULES, in_this_process


def files_of(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted((root / "dataset").rglob("*.parquet"))
    }


def rows_of(root):
    """All rows of a HATS catalog, in the order of the sky."""
    catalog = HatsCatalog.open(root)
    return pa.concat_tables([pq.read_table(catalog.path_of(each)) for each in catalog.pixels])


def whole(demonstration, ensemble_folder, output, rules=None):
    score(
        CatalogFile.open(demonstration / "catalog.parquet"),
        CutoutStore.open(demonstration / "cutouts"),
        Ensemble.read(ensemble_folder),
        output,
        ScoreOptions(n_draws=16),
        ask=(lambda schema: Asked([rules], schema)) if rules else None,
    )
    return pq.read_table(output)


def test_partitions_hold_the_rows_of_the_whole_catalog(
    run, demonstration, ensemble_folder, tmp_path
):
    found = run()
    assert found.is_finished
    table = whole(demonstration, ensemble_folder, tmp_path / "whole.parquet")
    assert rows_of(found.output).equals(table)
    assert found.n_rows == table.num_rows
    assert found.statuses == {
        each["values"]: each["counts"] for each in pc.value_counts(table["status"]).to_pylist()
    }


def test_shards_and_processes_write_the_same_bytes(run):
    expected = files_of(run().output)
    for shard in ("2/3", "3/3"):
        assert not run(output="shards", shard=shard).is_finished
    found = run(output="shards", shard="1/3", launcher=on_this_machine(1))
    assert found.is_finished
    assert files_of(found.output) == expected


def test_quantiles_of_rules_are_those_of_the_whole_catalog(
    run, demonstration, ensemble_folder, tmp_path
):
    rules = Rules.parse(RULES)
    table = whole(demonstration, ensemble_folder, tmp_path / "whole.parquet", rules)
    found = run(rules=[rules])
    assert 0 < found.statuses["not needed"] < found.n_rows
    assert rows_of(found.output)["status"].equals(table["status"])


def test_a_job_of_other_options_is_refused(run):
    run(shard="1/3")
    with pytest.raises(OutputError, match="was begun with options"):
        run(seed=1)
    with pytest.raises(OutputError, match="was begun with options"):
        run(slim=True)
    with pytest.raises(OutputError, match="was begun with rules"):
        run(rules=[Rules.parse(RULES)])


def test_partitions_beyond_the_cutouts_are_scored_and_a_store_of_nothing_is_refused(
    run, hats, demonstration, tmp_path
):
    store = CutoutStore.open(demonstration / "cutouts")
    first = HatsCatalog.open(hats).pixels[0]
    ids = pq.read_table(first.file(hats))["source_id"].to_numpy()
    few = store.read(ids[:1])
    pack_cutouts(few, Catalog.read(first.file(hats)), tmp_path / "few", ASINH)
    found = run(cutouts=tmp_path / "few")
    assert found.is_finished
    assert found.statuses["no cutout"] == found.n_rows - 1


@pytest.fixture
def in_partitions(hats, demonstration, tmp_path):
    """The cutouts of the demonstration, as they are stored, in a file for each partition."""
    store = CutoutStore.open(demonstration / "cutouts")
    catalog, folder, files = HatsCatalog.open(hats), tmp_path / "cutouts", []
    for pixel in catalog.pixels:
        rows = Catalog.read(catalog.path_of(pixel))
        file = pixel.file(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        pieces = [(store.read(rows.source_id), rows.ra, rows.dec)]
        n = write_store_file(file, pieces, store.sky_sigma, ASINH, SIMULATED)
        entry = read_part(file).entry
        files.append(
            ListedFile(order=pixel.order, number=pixel.number, rows=n, sha256=entry.sha256)
        )
    StoreListing(simulated=True, files=tuple(files)).write(folder)
    return folder


def test_cutouts_in_partitions_give_the_same_rows_as_in_one_store(run, in_partitions):
    found = run(cutouts=in_partitions)
    expected = run(output="expected")
    assert found.is_finished
    assert found.statuses == expected.statuses
    assert rows_of(found.output).equals(rows_of(expected.output))
    for one, other in zip(
        sorted(found.output.rglob("Npix=*")), sorted(expected.output.rglob("Npix=*")), strict=True
    ):
        said, also = read_footer(one), read_footer(other)
        assert said.pop("cutouts") != also.pop("cutouts")
        assert said == also


def test_a_damaged_file_of_cutouts_costs_its_partition_alone(run, hats, in_partitions):
    lost = HatsCatalog.open(hats).pixels[1]
    lost.file(in_partitions).unlink()
    launcher = on_this_machine(1)
    found = run(cutouts=in_partitions, launcher=launcher)
    assert [each.name for each in found.failed] == [lost.name]
    assert found.n_done == len(found.states) - 1
    assert lost.file(in_partitions).name in found.failed[0].reason


def test_cutouts_that_do_not_suit_are_refused_before_the_first_partition(
    run, demonstration, tmp_path
):
    catalog = Catalog.read(demonstration / "catalog.parquet")
    store = CutoutStore.open(demonstration / "cutouts")
    few = store.read(catalog.source_id).select_bands(("g", "r"))
    pack_cutouts(few, catalog, tmp_path / "few", ASINH)
    with pytest.raises(CutoutError, match="its bands are g, r"):
        run(cutouts=tmp_path / "few")
    assert not (tmp_path / "scored").exists()


def test_a_damaged_partition_is_named_before_the_job_begins(run, hats, tmp_path):
    shutil.copytree(hats, tmp_path / "hats")
    catalog = HatsCatalog.open(tmp_path / "hats")
    path = catalog.path_of(catalog.pixels[1])
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(CatalogError, match=path.name):
        run(catalog=tmp_path / "hats")
    assert not (tmp_path / "scored").exists()


def test_the_catalog_itself_is_no_output(run, hats, tmp_path):
    shutil.copytree(hats, tmp_path / "hats")
    with pytest.raises(OutputError, match="is the catalog itself"):
        run(catalog=tmp_path / "hats", output="hats")


def test_ids_that_no_cutout_has_are_refused_at_the_end(run, hats, demonstration, tmp_path):
    table = rows_of(hats)
    other = table.set_column(
        table.schema.get_field_index("source_id"),
        "source_id",
        pc.add(table["source_id"], 10**9),
    )
    pq.write_table(other, tmp_path / "other.parquet")
    partition_catalog(CatalogFile.open(tmp_path / "other.parquet"), tmp_path / "other", 20)
    with pytest.raises(CutoutError, match="none of its sources is among"):
        run(catalog=tmp_path / "other")


def without_the_first(job, parts, maker, seconds):
    """A launcher under which the first part of a job fails for good."""
    log = job.log(job.parts[0])
    for _ in range(MOST_ERRORS):
        log.begun()
        log.failed("no memory", "")
    return in_this_process(job, [each for each in parts if each != job.parts[0]], maker, seconds)


def test_a_catalog_is_whole_or_says_which_partitions_it_lacks(run, hats):
    found = run(launcher=without_the_first)
    assert not found.is_finished
    assert [each.reason for each in found.failed] == ["no memory"]
    assert not is_hats(found.output)
    found = run(launcher=without_the_first, without_failed=True)
    assert found.is_finished
    first = HatsCatalog.open(hats).pixels[0]
    catalog = HatsCatalog.open(found.output)
    assert catalog.properties[LEFT_OUT] == first.name
    assert first not in catalog.pixels
    found = run()
    assert found.is_finished
    assert not found.failed
    catalog = HatsCatalog.open(found.output)
    assert LEFT_OUT not in catalog.properties
    assert first in catalog.pixels


def test_a_catalog_that_is_finished_is_not_written_again(run):
    output = run().output
    before = (output / "hats.properties").stat().st_mtime_ns
    assert run().is_finished
    assert (output / "hats.properties").stat().st_mtime_ns == before


def test_progress_has_a_line_of_json_for_each_partition(run):
    output = run(launcher=without_the_first).output
    lines = (output / "_job" / "progress.jsonl").read_text().splitlines()
    found = [json.loads(each) for each in lines]
    job = Job.open(output)
    assert [each["part"] for each in found] == [*job.parts[1:]]
    assert {each["status"] for each in found} == {"done"}
    assert sum(each["rows"] for each in found) == sum(
        each.facts.get("rows", 0) for each in job.states()
    )


@pytest.mark.parametrize("damage", ["lost", "cut"])
def test_a_partition_whose_file_is_lost_or_cut_short_is_scored_again(run, hats, damage):
    output = run().output
    expected = files_of(output)
    file = HatsCatalog.open(hats).pixels[1].file(output)
    if damage == "lost":
        file.unlink()
    else:
        os.truncate(file, 1000)
    assert run().is_finished
    assert files_of(output) == expected


def test_a_damaged_file_of_the_right_size_is_named_with_the_way_to_go_on(run, hats):
    output = run().output
    file = HatsCatalog.open(hats).pixels[1].file(output)
    file.write_bytes(bytes(file.stat().st_size))
    for name in ("properties", "hats.properties"):
        (output / name).unlink()
    with pytest.raises(CatalogError, match=rf"{file.name}.* Remove the file of that partition"):
        run()
    file.unlink()
    assert run().is_finished


def test_a_partition_without_rows_is_done_and_left_out(run, hats, tmp_path):
    shutil.copytree(hats, tmp_path / "hats")
    catalog = HatsCatalog.open(tmp_path / "hats")
    path = catalog.path_of(catalog.pixels[1])
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 0), path)
    for name in ("properties", "hats.properties"):
        text = (catalog.root / name).read_text()
        rows = f"hats_nrows={catalog.num_rows}"
        left = f"hats_nrows={catalog.num_rows - len(table)}"
        (catalog.root / name).write_text(text.replace(rows, left))
    for _ in range(2):
        found = run(catalog=catalog.root)
        assert found.is_finished
        assert found.n_done == len(catalog.pixels)
        assert len(HatsCatalog.open(found.output).pixels) == len(catalog.pixels) - 1


def test_unfinished_work_does_not_lie_among_the_partitions(run, monkeypatch):
    def no_room(*_):
        raise OutputError("no room.")

    monkeypatch.setattr(targetsel.scoring.stream, "_join", no_room)
    output = run().output
    assert [*(output / "_job" / "unfinished").iterdir()]
    assert not [each for each in (output / "dataset").rglob("*") if "Npix" in each.name]


def test_a_second_run_leaves_what_the_first_has_in_work(run):
    job = Job.open(run(shard="2/2").output)
    log = job.log(job.parts[0])
    with log.held():
        log.begun()
        found = run()
    assert [each.status for each in found.states].count("running") == 1
    assert "again" not in log.path.read_text()
    assert job.parts[0] not in (job.folder / "progress.jsonl").read_text()


def test_a_catalog_that_changes_while_it_is_scored_makes_no_catalog(run, hats, tmp_path):
    shutil.copytree(hats, tmp_path / "hats")
    catalog = HatsCatalog.open(tmp_path / "hats")

    def changing(job, parts, maker, seconds):
        yield from in_this_process(job, parts, maker, seconds)
        path = catalog.path_of(catalog.pixels[0])
        pq.write_table(pq.read_table(path), path, compression="none")

    with pytest.raises(OutputError, match=r"not of the sizes.* Begin another job"):
        run(catalog=catalog.root, launcher=changing)
    assert not is_hats(tmp_path / "scored")


def test_processes_with_another_ensemble_say_what_differs(run):
    job = Job.open(run(shard="1/9").output)
    other = replace(job, identity={**job.identity, "targetsel": "0.0.1"})
    with pytest.raises(OutputError, match=r"was begun with targetsel '0.0.1'; for this process"):
        work_of(other)


def test_a_job_of_which_no_partition_can_be_scored_ends_with_the_reason(tmp_path):
    def broken(job):
        raise ValueError("no networks")

    kind = Kind("test", "testing", broken, PartitionedRun)
    job = Job.begin(tmp_path / "out", "test", {}, {}, [f"part{k}" for k in range(20)])
    with pytest.raises(OutputError, match=r"none of its first 10 .* ValueError: no networks"):
        kind.perform(job, HowToRun(in_this_process))
