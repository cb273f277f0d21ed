"""Scored HATS catalogs in the packages hats and lsdb, and theirs that are scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.imaging.packing import pack_cutouts
from targetsel.imaging.store import ASINH, CutoutStore
from targetsel.partitions.catalog_job import HowToRun
from targetsel.partitions.observing import HowToObserve, observe_partitions
from targetsel.scored.file import ScoredFile
from targetsel.scored.folders import OWN
from targetsel.sky.catalog import Catalog
from targetsel.tables.hats import HatsCatalog
from targetsel.tables.notes import SCHEMA
from tests.partitions.conftest import in_this_process
from tests.real_data import real

lsdb = pytest.importorskip("lsdb")
QUIET = {"progress_bar": False}
COLLECTION = "hats/small_sky_order1_collection"
BOTH = """
schema: targetsel/rules/v1
name: two proxies
seed: 1
classes:
  EMITTER:
    bit: 0
    priority: 1
    where:
      - ew_halpha > {halpha}
      - P(ew_halpha > {halpha} and ew_hbeta > 0.25) > 0.1
"""

pytestmark = pytest.mark.filterwarnings("ignore")  # of its libraries, and that there is no margin


@pytest.fixture(autouse=True)
def in_this_thread():
    import dask

    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def one_cutout(demonstration, tmp_path):
    """Pack the demonstration's first cutout as that of a catalog's first source."""

    def pack(folder):
        store = CutoutStore.open(demonstration / "cutouts")
        catalog = Catalog.read(folder)
        first = store.read(store.source_ids(1))
        pack_cutouts(
            replace(first, source_id=catalog.source_id[:1], position=None),
            catalog,
            tmp_path / "one",
            ASINH,
        )
        return tmp_path / "one"

    return pack


def test_a_scored_folder_is_what_hats_and_lsdb_expect_of_a_catalog(run, hats):
    validation = pytest.importorskip("hats.io.validation")
    output = run().output
    assert validation.is_valid_catalog(output, strict=True)
    opened = lsdb.open_catalog(output)
    assert opened.original_schema.field("ew_halpha").metadata[b"unit"] == b"Angstrom"
    written, given = HatsCatalog.open(output), HatsCatalog.open(hats)
    assert opened.hc_structure.catalog_info.total_rows == len(opened) == given.num_rows
    assert written.pixels == given.pixels
    counts = [len(each.compute(**QUIET)) for each in opened.partitions]
    assert counts == [given.rows_of(each) for each in given.pixels]


def test_lsdb_searches_a_scored_folder_and_matches_it_with_its_catalog(run, hats):
    opened, given = lsdb.open_catalog(run().output), lsdb.open_catalog(hats)
    pairs = opened.crossmatch(given, suffixes=("_a", "_b"), radius_arcsec=0.01).compute(**QUIET)
    assert len(pairs) == len(given)
    assert (pairs["source_id_a"] == pairs["source_id_b"]).all()
    one = pairs.iloc[0]
    cone = opened.cone_search(one["ra_a"], one["dec_a"], 1.0).compute(**QUIET)
    assert cone["source_id"].tolist() == [one["source_id_a"]]


@pytest.fixture
def lazily(hats, demonstration, ensemble_folder):
    return ts.score_catalog(lsdb.open_catalog(hats), demonstration / "cutouts", ensemble_folder)


@pytest.mark.parametrize("as_collection", [True, False])
def test_a_lazily_scored_catalog_that_lsdb_wrote_is_a_scored_catalog(
    lazily, tmp_path, as_collection
):
    lazily.write_catalog(tmp_path / "out", as_collection=as_collection, **QUIET)
    frame = lazily.compute(**QUIET)
    frame.attrs = lazily.meta.attrs
    with ScoredFile(tmp_path / "out") as found, ScoredFile(frame) as expected:
        assert found.schema.field("ew_halpha").metadata[b"unit"] == b"Angstrom"
        assert {*found.schema.names} == {*expected.schema.names}
        for field in expected.schema:
            assert found.schema.field(field.name).metadata == field.metadata, field.name
        assert found.footer == expected.footer


def test_rules_on_several_proxies_choose_the_same_from_what_lsdb_wrote(lazily, tmp_path):
    lazily.write_catalog(tmp_path / "out", **QUIET)
    frame = lazily.compute(**QUIET)
    frame.attrs = lazily.meta.attrs
    rules = ts.Rules.parse(BOTH.format(halpha=float(frame["ew_halpha"].median())))
    found, expected = ts.select(tmp_path / "out", rules), ts.select(frame, rules)
    assert 0 < len(expected) < len(frame)
    assert found.table.equals(expected.table)
    assert found.footer["ensemble"] == expected.footer["ensemble"]


def test_what_lsdb_chooses_of_a_scored_folder_and_writes_is_a_scored_catalog(run, tmp_path):
    folder = run().output
    whole = ts.read(folder, "scored")
    bright = lsdb.open_catalog(folder).query(f"rmag < {np.median(whole['rmag'])}")
    bright.write_catalog(tmp_path / "bright", **QUIET)
    found = ts.read(tmp_path / "bright", "scored")
    assert 0 < len(found) < len(whole)
    kept = {*found.footer}
    assert kept == {*whole.footer} - {*OWN}
    assert all(found.footer[name] == whole.footer[name] for name in kept)
    for field in whole.schema:
        assert found.schema.field(field.name).metadata == field.metadata, field.name


def test_what_lsdb_wrote_is_observed_partition_by_partition_with_its_units(lazily, tmp_path):
    validation = pytest.importorskip("hats.io.validation")
    lazily.write_catalog(tmp_path / "out", **QUIET)
    opened, run = HatsCatalog.open(tmp_path / "out"), HowToRun(in_this_process)
    how = HowToObserve(size="2arcsec", lines=("halpha",))
    found = observe_partitions(opened, how, tmp_path / "observed", run)
    assert found.is_finished
    assert validation.is_valid_catalog(found.output, strict=True)
    with ScoredFile(tmp_path / "out") as before, ScoredFile(found.output) as after:
        assert after.footer["ensemble"] == before.footer["ensemble"]
        for field in before.schema:
            assert after.schema.field(field.name).metadata == field.metadata, field.name
    units = lsdb.open_catalog(found.output).original_schema
    assert units.field("lineflux_halpha").metadata[b"unit"] == b"erg.s**-1.cm**-2"


def test_a_damaged_property_costs_the_units_and_not_the_catalog(lazily, tmp_path):
    lazily.write_catalog(tmp_path / "out", as_collection=False, **QUIET)
    properties = tmp_path / "out" / "hats.properties"
    properties.write_text(properties.read_text().replace(f"{SCHEMA}=e", f"{SCHEMA}=!"))
    found = ts.read(tmp_path / "out", "scored")
    assert not found.footer.get("ensemble")
    assert len(found) == len(lazily.compute(**QUIET))


def test_a_real_collection_is_scored_once_without_its_margins(run, one_cutout):
    folder = real(COLLECTION)
    found = run(catalog=folder, cutouts=one_cutout(folder))
    assert found.is_finished
    assert found.n_rows == 131
    assert found.statuses == {"no cutout": 130, "ok": 1}
    catalog = HatsCatalog.open(found.output)
    ids = [pq.read_table(catalog.path_of(each))["id"].to_numpy() for each in catalog.pixels]
    assert len(np.unique(np.concatenate(ids))) == 131


def test_lsdb_scores_the_margin_of_a_real_collection_too(one_cutout, ensemble_folder):
    folder = real(COLLECTION)
    opened = lsdb.open_catalog(folder)
    planned = ts.score_catalog(opened, one_cutout(folder), ensemble_folder)
    frame = planned.compute(**QUIET)
    assert frame["status"].value_counts().to_dict() == {"no cutout": 130, "ok": 1}
    margin = planned.margin.compute(**QUIET)
    assert list(margin.columns) == list(frame.columns)
    assert len(margin) == len(opened.margin)
