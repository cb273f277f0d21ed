"""Densities and neighbours, on a sky small enough to count."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import CatalogError
from targetsel.selection.reports.density import density, neighbours, order_of
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import unit_vectors
from targetsel.tables.parquet import write_table

PIXEL = 41252.96 / 49152  # square degrees of nside 64


def targets(pixels, ra, dec, bits):
    shift = 2 * (29 - 6)
    table = pa.table(
        {
            "_healpix_29": np.array(pixels, dtype=np.int64) << shift,
            "ra": np.array(ra, dtype=float),
            "dec": np.array(dec, dtype=float),
            "target_bits": np.array(bits, dtype=np.int64),
        }
    )
    return TargetList(table, {"bits": {"ELG": 0, "LRG": 3}})


FOUR = targets([5, 5, 5, 9], [359.999, 0.001, 40, 80], [0, 0, 0, 0], [1, 9, 8, 1])


def test_targets_are_counted_per_square_degree_class_by_class():
    everything, elg, lrg = density(FOUR, reach=10)
    assert (everything.n_targets, elg.n_targets, lrg.n_targets) == (4, 3, 2)
    assert everything.area == pytest.approx(2 * PIXEL, rel=1e-5)
    assert everything.mean == pytest.approx(2 / PIXEL, rel=1e-5)
    assert everything.most == pytest.approx(3 / PIXEL, rel=1e-5)
    assert elg.median == pytest.approx(1.5 / PIXEL, rel=1e-5)


def test_pixels_of_the_catalog_without_targets_count_when_it_is_named(tmp_path):
    healpix = (np.array([5, 5, 9, 11, 12]) << 46).tolist()
    columns = {name: [1.0] * 5 for name in ("ra", "dec")}
    table = pa.table({"source_id": range(5), "_healpix_29": healpix, **columns})
    write_table(table, tmp_path / "a.parquet")
    assert density(FOUR, 10, scored=tmp_path / "a.parquet")[0].mean == pytest.approx(
        1 / PIXEL, 1e-5
    )


def test_neighbours_are_found_across_the_meridian():
    # 0.002 deg is 7.2 arcsec.
    assert density(FOUR, reach=7.3)[0].crowded == 0.5
    assert density(FOUR, reach=7.1)[0].crowded == 0.0
    assert density(FOUR, reach=7.3)[2].most_neighbours == 0  # of LRGs there is only one of the two


@given(st.lists(st.tuples(st.floats(0, 0.1), st.floats(0, 0.1)), max_size=30), st.floats(1, 300))
def test_neighbours_are_those_that_separations_give(positions, reach):
    ra, dec = np.array(positions).reshape(-1, 2).T
    found = neighbours(unit_vectors(ra, dec), reach)
    where = unit_vectors(ra, dec)
    cross = np.linalg.norm(np.cross(where[:, None], where[None]), axis=2)
    apart = np.degrees(np.arctan2(cross, where @ where.T)) * 3600
    sure = (apart < reach * (1 - 1e-9)).sum(axis=1) - 1
    maybe = (apart < reach * (1 + 1e-9) + 1e-9).sum(axis=1) - 1
    assert ((sure <= found) & (found <= maybe)).all()


def test_empty_list_has_no_density():
    found = density(targets([], [], [], []), 10)[0]
    assert (found.n_targets, found.most_neighbours) == (0, 0)
    assert all(math.isnan(value) for value in found.per_deg2)


@pytest.mark.parametrize("nside", [0, 3, -64, 16384])
def test_nside_is_a_power_of_two(nside):
    with pytest.raises(
        CatalogError, match=f"nside {nside}: expected a power of two from 1 to 8192"
    ):
        order_of(nside)
    assert order_of(64) == 6
