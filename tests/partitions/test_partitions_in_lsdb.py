"""Scored HATS catalogs in the packages hats and lsdb, and theirs that are scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.imaging.packing import pack_cutouts
from targetsel.imaging.store import ASINH, CutoutStore
from targetsel.sky.catalog import Catalog
from targetsel.tables.hats import HatsCatalog
from tests.real_data import real

lsdb = pytest.importorskip("lsdb")
QUIET = {"progress_bar": False}
COLLECTION = "hats/small_sky_order1_collection"
ON_PROXIES = """
schema: targetsel/rules/v1
name: one proxy
seed: 1
classes:
  EMITTER:
    bit: 0
    priority: 1
    where: [{condition}]
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


def test_a_catalog_that_lsdb_wrote_serves_rules_on_one_proxy(
    hats, demonstration, ensemble_folder, tmp_path
):
    planned = ts.score_catalog(lsdb.open_catalog(hats), demonstration / "cutouts", ensemble_folder)
    planned.write_catalog(tmp_path / "out", as_collection=False, **QUIET)
    frame = planned.compute(**QUIET)
    frame.attrs = planned.meta.attrs
    middle = float(frame["ew_halpha"].median())
    alone = ts.Rules.parse(ON_PROXIES.format(condition=f"ew_halpha > {middle}"))
    found, expected = ts.select(tmp_path / "out", alone), ts.select(frame, alone)
    assert len(expected) > 0
    assert found.table["source_id"].to_pylist() == expected.table["source_id"].to_pylist()


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
