"""How probable it was that a source would be chosen."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError
from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection.reports.selection_function import write_selection_function
from targetsel.tables.parquet import read_footer, write_table
from tests.selection.scored_by_hand import rule_text, scored_table

N = 1200


@pytest.fixture
def folder(tmp_path):
    """Sources in three pixels of nside 64: 600, 400 and 200; H alpha rises along each."""
    medians = np.stack([np.ones(N), 20 + 60 * np.linspace(0, 1, N), np.ones(N)], axis=1)
    table = scored_table(medians, np.ones((N, 3)))
    pixel = np.repeat([5, 6, 900], [600, 400, 200])
    healpix = pa.array((pixel.astype(np.int64) << 46) + np.arange(N))
    place = table.schema.get_field_index("_healpix_29")
    table = table.set_column(place, table.schema.field(place), healpix)
    write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
    return tmp_path


def written(folder, *where, rest="", nside=64):
    paths = (folder / "a.scored.parquet", folder / "out.parquet", folder / "map.parquet")
    rules = Rules.parse(rule_text(*where, rest=rest))
    (found,) = write_selection_function(rules, *paths, nside=nside)
    return found, pq.read_table(paths[1]), pq.read_table(paths[2])


def test_without_chance_everyone_is_included(folder):
    found, targets, sky = written(folder, "ew_halpha > 50")
    assert (found.n_candidates, found.n_selected, found.randomised) == (600, 600, True)
    assert set(targets["inclusion_ELG"].to_pylist()) == {1.0}
    assert sky["pixel"].to_pylist() == [6, 900]
    assert sky["candidates_ELG"].to_pylist() == [400, 200]
    assert sky["inclusion_ELG"].to_pylist() == [1.0, 1.0]
    assert read_footer(folder / "map.parquet")["order"] == 6


def test_sample_is_the_chance_that_was_asked_for(folder):
    found, targets, sky = written(folder, "ew_halpha > 0", rest="    sample: 25 percent\n")
    assert found.n_candidates == N
    assert 230 < found.n_selected < 370
    assert set(targets["inclusion_ELG"].to_pylist()) == {0.25}
    assert sky["inclusion_ELG"].to_pylist() == [0.25] * 3


def test_limit_by_hash_gives_weights_that_count_the_candidates(folder):
    limit = "    sample: 0.5\n    limit: {per_deg2: 120, nside: 64, by: hash}\n"
    found, targets, sky = written(folder, "ew_halpha > 0", rest=limit)
    assert found.randomised
    assert found.n_selected < 320
    weights = 1 / targets["inclusion_ELG"].to_numpy()
    assert weights.sum() == pytest.approx(N, rel=0.15)  # the sample's own scatter
    # A pixel of 0.84 square degrees takes a hundred or one more, of half its candidates.
    assert sky["inclusion_ELG"][0].as_py() == pytest.approx(100 / 600, rel=0.2)
    assert sky["inclusion_ELG"][2].as_py() == pytest.approx(0.5, rel=0.2)


def test_limit_by_rank_is_described_and_not_called_chance(folder):
    limit = "    rank: ew_halpha\n    limit: {total: 330}\n"
    found, targets, sky = written(folder, "ew_halpha > 0", rest=limit)
    assert (found.n_selected, found.randomised) == (330, False)
    assert not read_footer(folder / "out.parquet")["randomised"]["ELG"]
    # Twentieths of 60: five whole ones are kept, and half of the sixth.
    inclusion = targets["inclusion_ELG"].to_numpy()
    assert np.unique(inclusion, return_counts=True)[1].tolist() == [30, 300]
    assert inclusion.min() == pytest.approx(0.5)
    assert sky["inclusion_ELG"].to_numpy() == pytest.approx([0, 130 / 400, 1])
    assert sky["candidates_ELG"].to_pylist() == [600, 400, 200]


def test_target_of_another_class_has_no_inclusion_in_this_one(folder):
    rest = "  LOW: {bit: 1, priority: 1, where: ew_halpha < 30, sample: 0.5}\n"
    rules = Rules.parse(rule_text("ew_halpha > 50", rest=rest))
    paths = (folder / "a.scored.parquet", folder / "out.parquet", folder / "map.parquet")
    write_selection_function(rules, *paths)
    table = pq.read_table(paths[1])
    low = table["inclusion_LOW"].to_pylist()
    assert set(low) == {None, 0.5}
    assert [value is None for value in table["inclusion_ELG"].to_pylist()] == [
        value is not None for value in low
    ]


def test_no_candidates_give_an_empty_map(folder):
    found, targets, sky = written(folder, "ew_halpha > 5000", rest="    limit: {total: 5}\n")
    assert (found.n_candidates, len(targets), len(sky)) == (0, 0, 0)


def test_map_needs_a_power_of_two(folder):
    with pytest.raises(CatalogError, match="nside 60: expected a power of two"):
        written(folder, "ew_halpha > 0", nside=60)
