"""Guarantees of a purity, against scipy.stats, the procedures as papers write them, and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from targetsel.errors import RuleError
from targetsel.rules.rule_file import Guaranteed
from targetsel.selection.claims import independent_sources
from targetsel.selection.guarantees import (
    ConformalSelection,
    ListSelection,
    binomial_quantile,
    guarantee,
    least_sources,
    upper_bound,
)
from targetsel.selection.scored_sources import scored_catalog
from tests.selection.test_selection_claims import RULES, files  # noqa: F401

shares = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
known = st.lists(st.tuples(shares, st.booleans()), min_size=1, max_size=60)


# --- for the list that is made -------------------------------------------------------------------


def for_the_list(purity, calibration, true, candidates=(), confidence=0.9):
    selection = ListSelection(purity, confidence, np.asarray(calibration), np.asarray(true))
    selection.see(np.asarray(candidates, dtype=float))
    return selection.result("ELG")


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_bound_is_that_of_clopper_and_pearson(confidence):
    n_false, n = np.array([0, 1, 3, 40, 7]), np.array([10, 38, 100, 50, 7])
    expected = stats.beta.ppf(confidence, n_false[:4] + 1, n[:4] - n_false[:4])
    assert upper_bound(n_false, n, confidence) == pytest.approx([*expected, 1.0], rel=1e-9)


@pytest.mark.parametrize("purity", [0.5, 0.7, 0.9, 0.95, 0.999])
def test_least_number_of_sources_is_the_first_that_passes_with_one_false(purity):
    n = least_sources(purity, 0.9)
    assert stats.binom.cdf(1, n, 1 - purity) <= 0.1 < stats.binom.cdf(1, n - 1, 1 - purity)


@pytest.mark.parametrize(("n", "share"), [(0, 0.1), (1, 0.3), (200, 0.1), (5000, 0.05)])
def test_most_false_sources_of_a_list_are_the_quantile_of_the_binomial_law(n, share):
    assert binomial_quantile(n, share, 0.9) == stats.binom.ppf(0.9, n, share)


def one_step_after_the_other(purity, confidence, calibration, true):
    """The lowest threshold whose test passes before one fails, and the counts beyond it."""
    taken = None
    for value in sorted(set(calibration), reverse=True):
        beyond = calibration >= value
        n, k = int(beyond.sum()), int((beyond & ~true).sum())
        if stats.binom.cdf(1, n, 1 - purity) > 1 - confidence:
            continue  # it could not pass with one false source
        if k == n or stats.beta.ppf(confidence, k + 1, n - k) > 1 - purity:
            break
        below = calibration[~beyond]
        taken = (below.max() if len(below) else -1.0, n, k)
    return taken


@given(known, st.sampled_from([0.3, 0.5, 0.7]), st.sampled_from([0.6, 0.9]))
def test_threshold_is_the_last_that_passes_before_one_fails(calibration, purity, confidence):
    scores, true = (np.array(part) for part in zip(*calibration, strict=True))
    expected = one_step_after_the_other(purity, confidence, scores, true)
    try:
        found = for_the_list(purity, scores, true, scores, confidence)
    except RuleError:
        assert expected is None
        return
    assert (found.threshold, found.n_beyond, found.n_false) == expected
    assert found.n_selected == (scores > found.threshold).sum() == found.n_beyond


def test_equally_probable_sources_are_one_step():
    # 100 true sources at 0.9 pass; with the 60 at 0.5, of which 30 are false, purity 0.9 fails,
    # although the first ten of these alone would be all true.
    calibration = np.repeat([0.9, 0.5], [100, 60])
    true = np.r_[np.ones(130, dtype=bool), np.zeros(30, dtype=bool)]
    found = for_the_list(0.9, calibration, true, [0.95, 0.9, 0.6, 0.5, 0.1, np.nan])
    assert (found.threshold, found.n_beyond, found.n_false) == (0.5, 100, 0)
    assert (found.n_candidates, found.n_selected) == (5, 3)
    assert found.bound == pytest.approx(1 - 0.1 ** (1 / 100))


def risk_and_samples(power, rng):
    """A sample of 400 sources, P uniform and true with a chance of P ** power."""
    probability = rng.uniform(size=400)
    return probability, rng.uniform(size=400) < probability**power


@pytest.mark.parametrize(("power", "purity"), [(1, 0.7), (1, 0.8), (0.5, 0.9), (3, 0.5)])
def test_false_share_beyond_the_threshold_is_within_its_bound_given_a_list(power, purity):
    # The false share beyond t is 1 - (1 - t^(a+1)) / ((a + 1) (1 - t)) with a the power.
    rng = np.random.default_rng(20)
    false = []
    for _ in range(600):
        try:
            t = max(for_the_list(purity, *risk_and_samples(power, rng)).threshold, 0.0)
        except RuleError:
            continue
        false.append(1 - (1 - t ** (power + 1)) / ((power + 1) * (1 - t)))
    false = np.array(false)
    assert len(false) > 400
    wrong = (false > 1 - purity).sum()
    assert wrong <= 0.1 * len(false) + 2 * np.sqrt(0.09 * len(false))
    assert wrong > 0.02 * len(false)  # and no more cautious than it must be


def test_list_has_no_more_false_sources_than_said_as_often_as_said():
    rng = np.random.default_rng(21)
    held = []
    for _ in range(1000):
        probability, true = risk_and_samples(1, rng)
        candidates, theirs = risk_and_samples(1, rng)
        try:
            found = for_the_list(0.8, probability, true, candidates)
        except RuleError:
            continue
        false = (~theirs & (candidates > found.threshold)).sum()
        held.append(false <= found.n_false_at_most)
    assert np.mean(held) >= found.in_all == pytest.approx(0.8)


def test_purity_out_of_reach_gives_a_list_no_more_often_than_allowed():
    # All are true with a chance of 0.85: every list of purity 0.9 is an error.
    rng = np.random.default_rng(22)
    given_ = 0
    for _ in range(1000):
        try:
            for_the_list(0.9, rng.uniform(size=300), rng.uniform(size=300) < 0.85)
            given_ += 1
        except RuleError:
            pass
    assert given_ <= 100


def test_too_few_sources_for_a_list_are_refused_with_the_number_needed():
    with pytest.raises(RuleError) as caught:
        for_the_list(0.9, np.full(37, 0.9), np.ones(37, dtype=bool))
    assert str(caught.value) == (
        "class ELG: purity 0.9 cannot be guaranteed at confidence 0.9 by 37 calibration sources "
        "that obey its conditions (one of each group); at least 38 are needed. Add spectra, loosen "
        "the conditions, or ask for less."
    )
    assert for_the_list(0.9, np.full(38, 0.9), np.ones(38, dtype=bool)).threshold == -1.0


def test_too_many_false_sources_among_the_most_probable_are_refused_with_their_number():
    calibration = np.linspace(1, 0, 200)
    with pytest.raises(RuleError) as caught:
        for_the_list(0.9, calibration, np.arange(200) % 10 > 0)
    assert str(caught.value) == (
        "class ELG: purity 0.9 cannot be guaranteed at confidence 0.9: of the 38 most probable of "
        "200 calibration sources 4 are false, where 1 may be. Ask for less, or train better "
        "networks; every new request on the same sources adds to the risk."
    )
    with pytest.raises(RuleError, match="by any number of spectra; ask for less than 1"):
        for_the_list(1.0, calibration, np.ones(200, dtype=bool))


def test_promise_of_a_list_names_threshold_sources_bound_and_confidence():
    calibration = np.repeat([0.9, 0.5], [100, 60])
    found = for_the_list(0.9, calibration, np.arange(160) < 98, [0.8] * 40)
    bound = stats.beta.ppf(0.9, 3, 98)
    assert found.text == (
        "at confidence 0.9, at most 0.1 of sources like those with P > 0.5 are false (2 of 100 "
        f"calibration sources there are, bound {bound:.3g}); of this list's 40, at most 6 at 0.8"
    )
    assert stats.binom.ppf(0.9, 40, 0.1) == 6


# --- independent sources -------------------------------------------------------------------------


def test_repeats_of_a_galaxy_count_once():
    ids = np.arange(3000)
    kept = independent_sources(ids, ids // 3, np.ones(3000))
    assert (np.bincount(ids[kept] // 3) == 1).all()
    assert np.bincount(ids[kept] % 3) == pytest.approx(np.full(3, 1000 / 3), abs=60)


def test_sources_without_groups_and_weights_all_count():
    ids = np.array(["a", "b", "c"])
    assert independent_sources(ids, ids, np.ones(3)).all()


def test_weighted_sources_count_as_often_as_what_they_stand_for():
    ids = np.arange(30000)
    weight = np.tile([0.0, 1.0, 4.0], 10000)
    alone = independent_sources(ids, ids, weight)
    assert np.bincount(ids[alone] % 3, minlength=3) == pytest.approx([0, 2500, 10000], abs=150)
    assert alone[2::3].all()
    grouped = independent_sources(ids, ids // 3, weight)
    assert np.bincount(ids[grouped] % 3, minlength=3) == pytest.approx([0, 2000, 8000], abs=150)


# --- from files ----------------------------------------------------------------------------------


def asked(**keys):
    return Guaranteed(purity=0.9, **keys)


def test_average_reads_both_sides_from_files(files):  # noqa: F811
    # 32 sources obey; the three false ones are least likely: 4/33 > 0.1 >= 3/33, with 30 beyond.
    with scored_catalog(files[0], RULES) as catalog:
        found = guarantee(catalog, "ELG", asked(kind="average"), files)
    assert (found.n_calibration, found.n_candidates) == (32, 32)
    assert (found.n_false, found.n_beyond, found.n_selected) == (2, 31, 31)


def test_list_reads_both_sides_from_files(files):  # noqa: F811
    # Of 32 sources 29 are true; purity 0.7 allows 3 false ones beside 29 true: 0.196 < 0.3.
    with scored_catalog(files[0], RULES) as catalog:
        found = guarantee(catalog, "ELG", Guaranteed(purity=0.7), files)
        with pytest.raises(RuleError, match=r"by 32 calibration sources .* at least 38 are needed"):
            guarantee(catalog, "ELG", asked(), files)
    assert (found.n_calibration, found.n_beyond, found.n_false) == (32, 32, 3)
    assert (found.threshold, found.n_selected) == (-1.0, 32)


# --- on average ----------------------------------------------------------------------------------


def on_average(purity, calibration, true, candidates):
    selection = ConformalSelection(purity, np.asarray(calibration), np.asarray(true))
    selection.see(np.asarray(candidates))
    return selection.result("ELG")


def by_the_paper(purity, calibration, true, candidates):
    """Which candidates the Benjamini-Hochberg procedure takes, on conformal p-values."""
    n, m = len(calibration), len(candidates)
    p = np.array([(1 + (~true & (calibration >= s)).sum()) / (n + 1) for s in candidates])
    below = [k for k in range(1, m + 1) if np.sort(p)[k - 1] <= (1 - purity) * k / m + 1e-15]
    return p <= (1 - purity) * max(below) / m + 1e-15 if below else np.zeros(m, dtype=bool)


@given(known, st.lists(shares, min_size=1, max_size=40), st.sampled_from([0.3, 0.5, 0.8, 0.9]))
def test_candidates_beyond_the_threshold_are_those_the_paper_takes(calibration, candidates, purity):
    scores, true = (np.array(part) for part in zip(*calibration, strict=True))
    expected = by_the_paper(purity, scores, true, np.array(candidates))
    try:
        found = on_average(purity, scores, true, candidates)
    except RuleError:
        assert not expected.any()
        return
    assert ((np.array(candidates) > found.threshold) == expected).all()
    assert found.n_selected == expected.sum()


def test_threshold_lies_at_the_false_source_that_spends_the_allowance():
    # 19 labelled sources; the false ones at 0.3, 0.2 and 0.1. With ten candidates above 0.3 and ten
    # between 0.1 and 0.2, p is 1/20 and 3/20: BH at 0.1 asks 0.05 <= 0.05 and 0.15 <= 0.1.
    calibration = [0.1, 0.2, 0.3, *[0.9] * 16]
    true = np.array([False] * 3 + [True] * 16)
    candidates = [0.8] * 10 + [0.15] * 10
    found = on_average(0.9, calibration, true, candidates)
    assert (found.threshold, found.n_false, found.n_selected) == (0.3, 0, 10)
    # Purity 0.8 asks 0.15 <= 0.2 of all twenty.
    found = on_average(0.8, calibration, true, candidates)
    assert (found.threshold, found.n_false, found.n_selected) == (-1.0, 3, 20)


def test_false_share_is_no_larger_than_allowed_even_if_probabilities_are_wrong():
    rng = np.random.default_rng(3)
    shares = []  # all sources are said to be likely, half are true
    for _ in range(200):
        true = rng.uniform(size=700) < 0.5
        score = np.clip(0.8 + 0.1 * true + 0.07 * rng.normal(size=700), 0, 1)
        found = on_average(0.75, score[:200], true[:200], score[200:])
        members = score[200:] > found.threshold
        shares.append((~true[200:])[members].mean())
    assert np.mean(shares) <= 0.25 + 2 * np.std(shares) / np.sqrt(200)
    assert np.mean(shares) > 0.2


def test_no_candidate_needs_no_guarantee():
    found = on_average(0.9, [0.5], [True], [])
    assert (found.n_candidates, found.n_selected) == (0, 0)


@pytest.mark.parametrize(
    ("n", "purity", "needed"), [(0, 0.9, 9), (8, 0.9, 9), (18, 0.95, 19), (5, 0.99, 99)]
)
def test_too_few_labelled_sources_are_refused_with_the_number_needed(n, purity, needed):
    with pytest.raises(RuleError) as caught:
        on_average(purity, [0.9] * n, np.ones(n, dtype=bool), [0.5, 0.9])
    assert str(caught.value) == (
        f"class ELG: purity {purity} cannot be guaranteed on average by {n} calibration sources "
        f"that obey its conditions (one of each group); about {needed} are needed. Add spectra, "
        "loosen the conditions, or ask for less."
    )
    assert (
        on_average(purity, [0.9] * needed, np.ones(needed, dtype=bool), [0.5, 0.9]).n_selected == 2
    )


def test_purity_beyond_the_networks_is_refused_with_what_they_reach():
    true = np.arange(100) % 2 == 0
    with pytest.raises(RuleError, match=r"at any threshold: .* 100 calibration sources is about "):
        on_average(0.9, np.full(100, 0.9), true, [0.9] * 50)
    with pytest.raises(RuleError, match="by any number of spectra; ask for less than 1"):
        on_average(1.0, np.full(100, 0.9), np.ones(100, dtype=bool), [0.9] * 50)
