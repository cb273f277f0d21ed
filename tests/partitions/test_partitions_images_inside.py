"""Catalogs with images inside, scored without a store: the same as with one packed before.

The files here are built to the published layout of the Multimodal Universe; none is a real one.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CutoutError, OutputError
from targetsel.imaging.cutout import cut_out
from targetsel.imaging.store import CutoutStore
from targetsel.jobs.launch import on_this_machine
from targetsel.rules.rules import Rules
from targetsel.sky.catalog import Catalog
from targetsel.tables.hats import HatsCatalog
from targetsel.tables.parquet import read_footer
from tests.cli.typed import Typed
from tests.partitions.conftest import RULES

PIXELS = pa.list_(pa.list_(pa.float32()))
ENTRY = pa.struct({"band": pa.string(), "flux": PIXELS, "ivar": PIXELS, "scale": pa.float32()})
LOST, MASKED, NONE, INFINITE = 3, 5, 7, 9  # rows with some trouble


@pytest.fixture(scope="module")
def nested(demonstration):
    """The demonstration with its images inside, in janskys, and some trouble in them."""
    rows = Catalog.read(demonstration / "catalog.parquet")
    cutouts = cut_out(rows, CutoutStore.open(demonstration / "cutouts"))
    flux = cutouts.flux * np.float32(3.63078054770e-6)
    ivar = np.ones_like(flux)
    ivar[MASKED, :, :40] = 0
    flux[INFINITE, 2, 5, 5] = np.inf
    images = [
        [
            {"band": f"ps1-{band}", "flux": pixels.tolist(), "ivar": good.tolist(), "scale": 0.25}
            for band, pixels, good in zip(cutouts.bands, planes, weights, strict=True)
        ]
        for planes, weights in zip(flux, ivar, strict=True)
    ]
    del images[LOST][1]
    images[NONE] = None
    column = pa.array(images, pa.list_(ENTRY))
    field = pa.field("image", column.type, metadata={"unit": "Jy"})
    return rows.table.append_column(field, column).take(np.random.default_rng(4).permutation(40))


@pytest.fixture
def here(nested, tmp_path, monkeypatch):
    """A folder with the catalog as one file and in partitions."""
    monkeypatch.chdir(tmp_path)
    pq.write_table(nested, "sky.parquet", row_group_size=16)
    ts.partition("sky.parquet", "sky", rows=12)
    assert len(HatsCatalog.open("sky").pixels) > 3
    return tmp_path


@pytest.fixture
def targetsel(monkeypatch, capsys):
    return Typed(monkeypatch, capsys)


def rows_and_footers(root):
    paths = sorted((root / "dataset").rglob("Npix=*"))
    return [(pq.read_table(path).replace_schema_metadata(), read_footer(path)) for path in paths]


@pytest.mark.parametrize("rules", [None, RULES])
def test_partitions_have_the_rows_of_those_whose_images_were_packed(here, run, rules):
    ts.pack("sky", "sky", "packed", encoding="float32")
    rules = [] if rules is None else [Rules.parse(rules)]
    far = run(here / "sky", "packed.scored", cutouts=here / "packed", rules=rules)
    near = run(here / "sky", "sky.scored", cutouts=here / "sky", rules=rules)
    assert near.is_finished
    expected = rows_and_footers(far.output)
    for (rows, said), (other, also) in zip(expected, rows_and_footers(near.output), strict=True):
        assert rows.equals(other)
        assert said.pop("cutouts") != also.pop("cutouts")
        assert said == also
    assert near.statuses == far.statuses
    if not rules:
        assert {"lost band: r", "mostly NaN pixels", "no cutout"} < near.statuses.keys()


def test_a_partition_without_any_image_is_scored_all_the_same(here, nested, run):
    sizes = [len(each or ()) for each in nested["image"].to_pylist()]
    pq.write_table(nested.take([sizes.index(0), sizes.index(5)]), "two.parquet")
    ts.partition("two.parquet", "two", rows=1)
    found = run(here / "two", cutouts=here / "two")
    assert found.is_finished
    assert found.statuses == {"no cutout": 1, "ok": 1}


def test_processes_and_shards_write_the_same_bytes_of_images_inside(here, run):
    first = run(here / "sky", "one", cutouts=here / "sky")
    run(here / "sky", "two", cutouts=here / "sky", shard="2/2")
    second = run(here / "sky", "two", cutouts=here / "sky", launcher=on_this_machine(1))
    assert second.is_finished
    for one in sorted((first.output / "dataset").rglob("Npix=*")):
        other = second.output / one.relative_to(first.output)
        assert one.read_bytes() == other.read_bytes()


def test_one_file_gives_the_bytes_of_packing_it_first(here, ensemble_folder):
    ts.pack("sky.parquet", "sky.parquet", "packed", encoding="float32")
    ts.score("sky.parquet", "packed", ensemble_folder, "far.parquet")
    ts.score("sky.parquet", None, ensemble_folder, "near.parquet", threads=2)
    assert (here / "near.parquet").read_bytes() == (here / "far.parquet").read_bytes()
    ts.score("sky.parquet", None, ensemble_folder, "few.parquet", rules=Rules.parse(RULES))
    ts.score("sky.parquet", "packed", ensemble_folder, "all.parquet", rules=Rules.parse(RULES))
    few, whole = pq.read_table("few.parquet"), pq.read_table("all.parquet")
    assert "not needed" in few["status"].to_pylist()
    assert few.equals(whole)


def test_partitions_scored_into_one_file_have_the_rows_of_one_file(here, ensemble_folder):
    whole = ts.score("sky.parquet", None, ensemble_folder, "one.parquet")
    for rules in (None, Rules.parse(RULES)):
        ts.score("sky", None, ensemble_folder, "parts.parquet", rules=rules)
        found = ts.read("parts.parquet")
        assert found["source_id"].tolist() == whole["source_id"].tolist()
        scored = found["status"] != "not needed"
        latents = found["latent_mean"][scored], whole["latent_mean"][scored]
        np.testing.assert_array_equal(*latents)
    ts.pack("sky", "sky", "packed", encoding="float32")
    ts.score("sky", "packed", ensemble_folder, "far.parquet")
    ts.score("sky", "sky", ensemble_folder, "near.parquet")
    assert (here / "near.parquet").read_bytes() == (here / "far.parquet").read_bytes()


def test_the_command_takes_images_inside_where_no_store_is_beside(
    here, targetsel, ensemble_folder, demonstration
):
    said = targetsel("score", "sky.parquet", "--ensemble", ensemble_folder)
    assert said.status == 0, said
    assert "images of 39 of 40 sources were read from sky.parquet, column image" in said.out
    said = targetsel("score", "sky", "--ensemble", ensemble_folder, "--workers", 1)
    assert said.status == 0, said
    assert "written to sky.scored, a HATS catalog" in said.out
    (here / "cutouts").symlink_to(demonstration / "cutouts")
    beside = targetsel("score", "sky.parquet", "--ensemble", ensemble_folder)
    assert "40 of 40 sources have a cutout in cutouts" in beside.out
    chosen = ("--cutouts", "sky.parquet", "-o", "x.parquet")
    said = targetsel("score", "sky.parquet", "--ensemble", ensemble_folder, *chosen)
    assert "images of 39 of 40 sources were read from sky.parquet" in said.out


def test_images_of_no_known_unit_are_refused_until_a_zero_point_says_it(
    here, nested, run, ensemble_folder
):
    place = nested.schema.get_field_index("image")
    bare = nested.set_column(place, nested.schema.field(place).remove_metadata(), nested["image"])
    pq.write_table(bare, "bare.parquet")
    ts.partition("bare.parquet", "bare", rows=12)
    with pytest.raises(CutoutError, match=r"bare.parquet, column 'image'.*Give --zeropoint"):
        ts.score("bare.parquet", None, ensemble_folder)
    with pytest.raises(CutoutError, match=r"bare, column 'image'.*Give --zeropoint"):
        run(here / "bare", cutouts=here / "bare")
    assert not (here / "scored").exists()
    known = ts.score("sky.parquet", None, ensemble_folder)
    given = ts.score("bare.parquet", None, ensemble_folder, zeropoint=8.9)
    assert np.allclose(known["latent_mean"], given["latent_mean"], equal_nan=True, atol=1e-3)
    assert run(here / "bare", cutouts=here / "bare", zeropoint=8.9).is_finished


def test_images_that_do_not_suit_the_ensemble_are_refused_before_the_first_partition(
    here, nested, run
):
    lists = [each and [one for one in each if one["band"] != "ps1-y"] for each in
             nested["image"].to_pylist()]  # fmt: skip
    place = nested.schema.get_field_index("image")
    field = nested.schema.field(place)
    pq.write_table(nested.set_column(place, field, pa.array(lists, field.type)), "few.parquet")
    ts.partition("few.parquet", "few", rows=12)
    with pytest.raises(CutoutError, match="few: its bands are g, r, i, z, but tiny needs"):
        run(here / "few", cutouts=here / "few")


def test_a_catalog_that_changes_while_its_images_are_scored_is_noticed(here, run, monkeypatch):
    run(here / "sky", cutouts=here / "sky", shard="1/3")
    changed = HatsCatalog.open("sky").pixels[0].file(here / "sky")
    pq.write_table(pq.read_table(changed), changed, compression="gzip")
    with pytest.raises(OutputError, match="catalog"):
        run(here / "sky", cutouts=here / "sky")
