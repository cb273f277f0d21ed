"""Each source for itself: what is said of one depends on no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.store import CutoutStore
from targetsel.scored.columns import LATENTS
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions, score_rows
from targetsel.sky.catalog import Catalog

N = 301


class Pictures:
    """Cutouts in memory, some of them damaged, by ids from 0 up."""

    def __init__(self, cutouts: Cutouts):
        turns = [np.rot90(cutouts.flux, k, (2, 3)) for k in range(4)]
        turns += [turn[..., ::-1] for turn in turns]
        flux = np.concatenate(turns)[:N].copy()
        flux[1, :, 20:44, 20] = np.nan  # gaps, which its neighbours lack
        flux[17, 2] = np.nan
        flux[40, :, :3, :5] = np.nan
        flux[99] = 0.0
        self.cutouts = replace(
            cutouts,
            source_id=np.arange(N),
            flux=flux,
            present=np.ones(N, dtype=bool),
            position=None,
            orientation=None,
        )

    def read(self, source_ids):
        return self.cutouts.take(np.asarray(source_ids))


@pytest.fixture(scope="module")
def scored(demonstration):
    """Scores sources of these ids together, with the ensemble and calibration that are shipped."""
    store = CutoutStore.open(demonstration / "cutouts")
    images = Pictures(store.read(store.source_ids()))
    ensemble = Ensemble.read()

    def scored(ids, slim=False):
        place = {"ra": np.linspace(0, 20, N)[ids], "dec": np.linspace(-9, 9, N)[ids]}
        catalog = pa.table({"source_id": np.asarray(ids), **place})
        names = {name: name for name in catalog.column_names}
        options = ScoreOptions(n_draws=20, slim=slim)
        return score_rows(Catalog(catalog, names), images, ensemble, options)

    return scored


@pytest.fixture(scope="module")
def together(scored):
    """301 sources of which 297 have predictions, scored in one piece."""
    table = scored(np.arange(N))
    assert table["status"].to_pylist().count("ok") == N - 2
    return table


@pytest.mark.parametrize("source", [0, 1, 17, 40, 300])
def test_a_source_scored_alone_has_the_same_bytes_in_every_column(scored, together, source):
    assert scored([source]).equals(together.slice(source, 1))


@pytest.mark.parametrize("others", [2, 13, 64, 65])
def test_a_source_among_others_in_another_order_has_the_same_bytes(scored, together, others):
    ids = np.random.default_rng(others).permutation(N)[: others + 1]
    ids[0] = 1 if 1 not in ids else ids[0]
    assert scored(ids).equals(together.take(pa.array(ids)))


def test_two_threads_of_one_process_give_the_same_bytes(scored, together):
    threads = torch.get_num_threads()
    try:
        for each in (1, 2):
            torch.set_num_threads(each)
            assert scored([5, 1, 40]).equals(together.take(pa.array([5, 1, 40]))), each
    finally:
        torch.set_num_threads(threads)


def test_a_slim_row_depends_on_its_source_alone(scored):
    ids = np.arange(64)
    together = scored(ids, slim=True)
    assert scored([40], slim=True).equals(together.slice(40, 1))
    assert scored(ids[::-1], slim=True).equals(together.take(pa.array(ids[::-1])))


def test_a_slim_row_has_all_columns_but_those_of_the_latents_and_nulls_where_the_full_one_has(
    scored, together
):
    slim = scored(np.arange(N), slim=True)
    assert slim.column_names == [name for name in together.column_names if name not in LATENTS]
    for name in slim.column_names:
        assert slim.schema.field(name).equals(together.schema.field(name), check_metadata=True)
        missing = [pc.is_null(_flat(table[name]), nan_is_null=True) for table in (slim, together)]
        assert missing[0].equals(missing[1]), name
    assert slim["copula_group"].equals(together["copula_group"])
    assert not slim["ew_halpha"].equals(together["ew_halpha"])


def _flat(column):
    return column.combine_chunks().flatten() if pa.types.is_nested(column.type) else column
