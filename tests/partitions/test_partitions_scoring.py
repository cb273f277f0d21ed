"""A HATS catalog scored in partitions: the same as whole, whoever does it."""

from __future__ import annotations

import json
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, CutoutError, OutputError
from targetsel.imaging.packing import pack_cutouts, write_store_file
from targetsel.imaging.store import ASINH, CutoutStore, read_part
from targetsel.imaging.store_listing import ListedFile, StoreListing
from targetsel.jobs.job import MOST_ERRORS, Job
from targetsel.jobs.launch import on_this_machine
from targetsel.partitions.catalog_job import LEFT_OUT
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
