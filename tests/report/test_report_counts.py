"""Expected against true counts: by hand, and of posteriors of right and wrong correlations."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from targetsel.report.claims import Claim
from targetsel.report.counts import (
    Count,
    by_kind,
    counted_claims,
    drawn_counts,
    worst,
    write_counts,
)
from targetsel.report.drawn_claims import CLOSED
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.statistics.resampling import Resampling
from tests.report.sky_by_hand import sky


def _count(probability, true, weight=None, group=None, known=None):
    n = len(true)
    known = np.ones(n, bool) if known is None else known
    group = np.arange(n) if group is None else group
    claim = Claim("d4000 > 1", probability, true, known)
    return counted_claims([("and", "d4000 > 1", claim)], Resampling(group, weight))[0]


def _drawn(folder, made, kinds=(*CLOSED, "sum", "difference")):
    scored, truth = made.write(folder)
    counts, left_out = drawn_counts(scored, LabelledSources.read(scored, truth), 3, kinds)
    assert not left_out
    return counts


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """Counts of posteriors that know how the errors of proxies are correlated."""
    return _drawn(tmp_path_factory.mktemp("right"), sky(2000, correlation=0.8, width=0.3))


@pytest.fixture(scope="module")
def uncorrelated(tmp_path_factory):
    """Counts of posteriors of the same marginals that say that they are not correlated."""
    return _drawn(
        tmp_path_factory.mktemp("wrong"), sky(2000, correlation=0.8, stored=0.0, width=0.3)
    )


def test_a_source_of_weight_two_counts_as_two_expected_and_two_true():
    found = _count(np.array([0.5, 0.25, 1.0]), np.array([True, False, True]), np.array([2, 4, 1]))
    assert found.expected == pytest.approx(2 * 0.5 + 4 * 0.25 + 1)
    assert found.true == pytest.approx(3)
    assert found.difference == pytest.approx(0)


def test_sources_without_a_truth_are_neither_expected_nor_true():
    known = np.array([True, True, False])
    found = _count(np.array([0.5, 0.5, np.nan]), np.array([True, False, True]), known=known)
    assert (found.expected, found.true, found.n) == (1.0, 1.0, 2)


def test_a_claim_that_never_comes_true_has_the_interval_of_poissons_binomial():
    found = _count(np.full(400, 0.01), np.zeros(400, bool))
    half = 1.96 * np.sqrt(400 * 0.01 * 0.99)
    assert found.difference == pytest.approx(4)
    assert (found.low, found.high) == pytest.approx((4 - half, 4 + half))
    assert found.beyond == (half < 4)
    assert found.off


def test_the_interval_of_the_difference_is_that_of_whole_groups():
    rng = np.random.default_rng(0)
    true = np.repeat(rng.random(300) < 0.5, 12)  # groups are true or false as a whole
    alone = _count(np.full(3600, 0.5), true)
    grouped = _count(np.full(3600, 0.5), true, group=np.repeat(np.arange(300), 12))
    width = 2 * 1.96 * 12 * np.sqrt(300 * 0.25)
    assert grouped.high - grouped.low == pytest.approx(width, rel=0.1)
    assert alone.high - alone.low == pytest.approx(width / np.sqrt(12), rel=0.15)


def test_a_count_is_off_if_it_is_so_by_over_5_percent_and_beyond_its_interval():
    def count(expected, low, high):
        return Count("and", "a", "a", expected, 100.0, low, high, 0.1, 1000)

    assert count(106, 1, 11).off
    assert count(94, -11, -1).off
    assert not count(104, 1, 7).off
    assert count(104, 1, 7).beyond
    assert not count(110, -2, 22).off


def test_the_log_score_is_that_of_the_probabilities_of_what_came_out():
    found = _count(np.array([0.8, 0.3]), np.array([True, False]))
    assert found.log_score == pytest.approx(-(np.log(0.8) + np.log(0.7)) / 2)


def test_right_posteriors_are_off_in_no_more_claims_than_by_chance(right):
    assert len(right) == 9 + 4 * 3
    assert by_kind(right)[-1].n_beyond <= 3


def test_single_lines_do_not_see_wrong_correlations_and_all_joint_kinds_do(uncorrelated):
    n_off = {each.kind: each.n_off for each in by_kind(uncorrelated)}
    assert n_off["single line"] == 0
    assert n_off["difference"] >= 2
    assert n_off["sum"] >= 2
    assert n_off["and"] + n_off["or"] >= 2


def test_wrong_correlations_cost_log_score(right, uncorrelated):
    right_score, wrong_score = (
        {each.kind: each.log_score for each in by_kind(counts)} for counts in (right, uncorrelated)
    )
    assert right_score["single line"] == pytest.approx(wrong_score["single line"])
    for kind in ("sum", "difference"):
        assert right_score[kind] < wrong_score[kind] - 0.002


def test_the_worst_are_off_and_the_most_surprising_come_first(uncorrelated):
    found = worst(uncorrelated, 3)
    assert all(each.off for each in found)
    surprises = [each.surprise for each in found]
    assert surprises == sorted(surprises, reverse=True)
    assert surprises[0] == max(each.surprise for each in uncorrelated if each.off)


def test_the_table_has_a_row_for_each_claim(right, tmp_path):
    write_counts(right, tmp_path / "claims.parquet", {"seed": 3})
    table = pq.read_table(tmp_path / "claims.parquet")
    assert table["claim"].to_pylist() == [each.claim for each in right]
    assert table["difference"].to_pylist() == [each.expected - each.true for each in right]
    assert table["off"].to_pylist() == [each.off for each in right]


def test_a_large_sky_is_counted_in_some_of_its_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("targetsel.report.counts.MOST_SOURCES", 101)
    found = _drawn(tmp_path, sky(400), kinds=("single line",))
    assert {each.n for each in found} == {100}  # groups are pairs of sources
