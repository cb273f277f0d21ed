"""A HATS catalog in an object store is scored there, a partition at a time."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import OutputError
from targetsel.imaging.cutout import cut_out
from targetsel.imaging.store import CutoutStore
from targetsel.jobs.perform import _work
from targetsel.partitions.catalog_job import HowToRun
from targetsel.partitions.observing import HowToObserve, observe_partitions
from targetsel.partitions.remote_parts import opened
from targetsel.partitions.scoring import HowToScore, score_partitions
from targetsel.remote import transfer
from targetsel.remote.copies import copies, local_copies
from targetsel.rules.rules import Rules
from targetsel.scoring.rows import ScoreOptions
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.sky.partitions import partition_catalog
from targetsel.tables.hats import HatsCatalog
from tests.partitions.conftest import RULES, in_this_process


@pytest.fixture(scope="module")
def hats(demonstration, tmp_path_factory):
    root = tmp_path_factory.mktemp("remote") / "hats"
    catalog = partition_catalog(CatalogFile.open(demonstration / "catalog.parquet"), root, 12)
    assert len(catalog.pixels) > 3
    return root


@pytest.fixture
def score(demonstration, ensemble_folder):
    """Score partitions in this process, from and to places that may be addresses."""

    def score(catalog, output, rules=()):
        given = {"catalog": catalog, "output": output}
        with local_copies(given, ["output"], ["catalog"]) as local:
            how = HowToScore(
                demonstration / "cutouts", ensemble_folder, ScoreOptions(n_draws=16), rules=rules
            )
            catalog_there = opened(local["catalog"])
            run = HowToRun(in_this_process)
            return score_partitions(catalog_there, how, local["output"], run)

    return score


def files_of(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "_job" not in path.parts
    }


def test_partitions_are_brought_one_at_a_time_and_scored_to_the_same_bytes(
    hats, store, score, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rules = [Rules.parse(RULES, "half.yaml")]
    local = score(hats, tmp_path / "local" / "hats.scored", rules)
    at_once = []
    once = transfer._bring_once

    def watched(*given):
        once(*given)
        at_once.append(len([*copies.root.rglob("*.parquet")]))

    monkeypatch.setattr(transfer, "_bring_once", watched)
    far = score(store.put(hats, "hats"), "s3://sky/made/hats.scored", rules)
    assert far.is_finished
    assert far.published == "s3://sky/made/hats.scored"
    assert max(at_once) == 0  # the one that comes has a temporary name yet
    expected = files_of(local.output)
    assert store.keys("made") == sorted(f"made/hats.scored/{each}" for each in expected)
    assert {each: store.get(f"made/hats.scored/{each}") for each in expected} == expected


def test_an_interrupted_job_goes_on_and_is_a_catalog_at_the_end_alone(
    hats, store, score, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    address = store.put(hats, "hats")
    pixel = HatsCatalog.open(hats).pixels[1]
    key = f"hats/{pixel.file(hats).relative_to(hats).as_posix()}"
    whole = store.get(key)
    with store.files.open_output_stream(f"sky/{key}") as stream:
        stream.write(whole[:-1] + b"?")  # of the same size
    far = score(address, "s3://sky/made/hats.scored")
    assert not far.is_finished
    (failed,) = [each for each in far.states if each.reason]
    assert failed.name == pixel.name
    assert failed.reason.startswith(f"s3://sky/{key}: ")
    assert far.n_done == len(far.states) - 1 == len(store.keys("made"))
    assert not [each for each in store.keys("made") if "properties" in each]
    with store.files.open_output_stream(f"sky/{key}") as stream:
        stream.write(whole)
    _work.cache_clear()  # as a new process begins
    assert score(address, "s3://sky/made/hats.scored").is_finished
    assert "made/hats.scored/hats.properties" in store.keys("made")
    with pytest.raises(OutputError, match="published"):
        score(address, "s3://sky/elsewhere/hats.scored")


def test_a_catalog_of_a_web_server_is_scored_to_the_same_bytes(hats, website, score, tmp_path):
    folder, address = website
    shutil.copytree(hats, folder / "hats")
    local = score(hats, tmp_path / "local" / "hats.scored")
    far = score(f"{address}/hats", tmp_path / "far" / "hats.scored")
    assert far.published == ""
    assert files_of(far.output) == files_of(local.output)


def test_a_command_scores_a_remote_catalog_and_another_selects(
    hats, store, demonstration, ensemble_folder, targetsel, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    said = targetsel(
        *("score", store.put(hats, "hats"), "--cutouts", demonstration / "cutouts"),
        *("--ensemble", ensemble_folder, "--workers", 1, "-o", "s3://sky/made/hats.scored"),
    )
    assert said.status == 0, said
    assert "written to s3://sky/made/hats.scored, a HATS catalog" in said.out + said.err
    told = targetsel("status", "hats.scored")
    assert "0  waiting" in told.out
    assert targetsel("status", "s3://sky/made/hats.scored") == told
    assert ts.status("s3://sky/made/hats.scored").counts["waiting"] == 0
    for place in ("s3://sky/elsewhere/hats.scored", "s3://sky/made/other"):
        told = targetsel("status", place)
        assert told.status == 2
        assert told.err.startswith(f"{place}: no job that writes there was begun in this directory")
    chosen = ("select", "--rules", "emission")
    far = targetsel(*chosen, "s3://sky/made/hats.scored", "-o", "far.parquet")
    near = targetsel(*chosen, "hats.scored", "-o", "near.parquet")
    assert (far.status, near.status) == (0, 0), far
    assert (tmp_path / "far.parquet").read_bytes() == (tmp_path / "near.parquet").read_bytes()


def test_images_inside_a_remote_catalog_are_brought_with_their_partition(
    hats, store, demonstration, ensemble_folder, targetsel, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = Catalog.read(demonstration / "catalog.parquet")
    cutouts = cut_out(rows, CutoutStore.open(demonstration / "cutouts"))
    images = [
        [
            {"band": f"ps1-{band}", "flux": pixels.tolist(), "scale": 0.25}
            for band, pixels in zip(cutouts.bands, planes, strict=True)
        ]
        for planes in cutouts.flux
    ]
    pq.write_table(rows.table.append_column("image", pa.array(images)), "nested.parquet")
    partition_catalog(CatalogFile.open(tmp_path / "nested.parquet"), tmp_path / "nested", 12)
    at_once = []
    once = transfer._bring_once

    def watched(*given):
        once(*given)
        at_once.append(len([*copies.root.rglob("*.parquet")]))

    monkeypatch.setattr(transfer, "_bring_once", watched)
    known = ("--ensemble", ensemble_folder, "--zeropoint", 22.5, "--workers", 1)
    address = store.put(tmp_path / "nested", "nested")
    for name, given in (("one", ()), ("two", ("--cutouts", address))):
        far = targetsel("score", address, *given, *known, "-o", f"s3://sky/made/{name}")
        assert far.status == 0, far
    assert max(at_once) == 0
    near = targetsel("score", "nested", *known, "-o", "near")
    assert near.status == 0, near
    expected = {key: each for key, each in files_of(tmp_path / "near").items() if "Npix" in key}
    for name in ("one", "two"):
        assert {each: store.get(f"made/{name}/{each}") for each in expected} == expected


def test_a_scored_catalog_is_observed_from_store_to_store_with_the_same_bytes(
    hats, store, score, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    scored = score(hats, tmp_path / "hats.scored").output
    how = HowToObserve(size="2arcsec", lines=("halpha",))

    def observe(catalog, output):
        given = {"scored": catalog, "output": output}
        with local_copies(given, ["output"], ["scored"]) as local:
            run = HowToRun(in_this_process)
            return observe_partitions(opened(local["scored"]), how, local["output"], run)

    expected = files_of(observe(scored, tmp_path / "local" / "seen").output)
    far = observe(store.put(scored, "scored"), "s3://sky/made/seen")
    assert far.is_finished
    assert far.published == "s3://sky/made/seen"
    assert {each: store.get(f"made/seen/{each}") for each in expected} == expected
