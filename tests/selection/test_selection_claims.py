"""Conformal selection, against the procedure as Jin & Candes write it, and by hand."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import CatalogError, RuleError
from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection.claims import ClaimOutcomes, ConformalSelection, guarantee
from targetsel.selection.scored_sources import scored_catalog
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import rule_text, scored_table

RULES = Rules.parse(rule_text("P(ew_halpha > 50) > 0.1"))


def chosen(purity, calibration, true, candidates):
    selection = ConformalSelection(purity, np.asarray(calibration), np.asarray(true))
    selection.see(np.asarray(candidates))
    return selection.result("ELG")


def by_the_paper(purity, calibration, true, candidates):
    """Which candidates the Benjamini-Hochberg procedure takes, on conformal p-values."""
    n, m = len(calibration), len(candidates)
    p = np.array([(1 + (~true & (calibration >= s)).sum()) / (n + 1) for s in candidates])
    below = [k for k in range(1, m + 1) if np.sort(p)[k - 1] <= (1 - purity) * k / m + 1e-15]
    return p <= (1 - purity) * max(below) / m + 1e-15 if below else np.zeros(m, dtype=bool)


shares = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
known = st.lists(st.tuples(shares, st.booleans()), min_size=1, max_size=60)


@given(known, st.lists(shares, min_size=1, max_size=40), st.sampled_from([0.3, 0.5, 0.8, 0.9]))
def test_candidates_beyond_the_threshold_are_those_the_paper_takes(calibration, candidates, purity):
    scores, true = (np.array(part) for part in zip(*calibration, strict=True))
    expected = by_the_paper(purity, scores, true, np.array(candidates))
    try:
        found = chosen(purity, scores, true, candidates)
    except RuleError:
        assert not expected.any()
        return
    assert ((np.array(candidates) > found.threshold) == expected).all()
    assert found.n_selected == expected.sum()


def test_threshold_lies_at_the_false_source_that_spends_the_allowance():
    # 19 known sources; the false ones at 0.3, 0.2 and 0.1. With ten candidates above 0.3 and ten
    # between 0.1 and 0.2, p is 1/20 and 3/20: BH at 0.1 asks 0.05 <= 0.05 and 0.15 <= 0.1.
    calibration = [0.1, 0.2, 0.3, *[0.9] * 16]
    true = np.array([False] * 3 + [True] * 16)
    candidates = [0.8] * 10 + [0.15] * 10
    found = chosen(0.9, calibration, true, candidates)
    assert (found.threshold, found.n_false, found.n_selected) == (0.3, 0, 10)
    # Purity 0.8 asks 0.15 <= 0.2 of all twenty.
    found = chosen(0.8, calibration, true, candidates)
    assert (found.threshold, found.n_false, found.n_selected) == (-1.0, 3, 20)


def test_false_share_is_no_larger_than_allowed_even_if_probabilities_are_wrong():
    rng = np.random.default_rng(3)
    shares = []  # all sources are said to be likely, half are true
    for _ in range(200):
        true = rng.uniform(size=700) < 0.5
        score = np.clip(0.8 + 0.1 * true + 0.07 * rng.normal(size=700), 0, 1)
        found = chosen(0.75, score[:200], true[:200], score[200:])
        members = score[200:] > found.threshold
        shares.append((~true[200:])[members].mean())
    assert np.mean(shares) <= 0.25 + 2 * np.std(shares) / np.sqrt(200)
    assert np.mean(shares) > 0.2


def test_no_candidate_needs_no_guarantee():
    found = chosen(0.9, [0.5], [True], [])
    assert (found.n_candidates, found.n_selected) == (0, 0)


@pytest.mark.parametrize(
    ("n", "purity", "needed"), [(0, 0.9, 9), (8, 0.9, 9), (18, 0.95, 19), (5, 0.99, 99)]
)
def test_too_few_known_sources_are_refused_with_the_number_needed(n, purity, needed):
    with pytest.raises(RuleError) as caught:
        chosen(purity, [0.9] * n, np.ones(n, dtype=bool), [0.5, 0.9])
    assert str(caught.value) == (
        f"class ELG: purity {purity} cannot be guaranteed by {n} calibration sources that obey "
        f"its conditions; about {needed} are needed. Add spectra, loosen the conditions, or ask "
        "for less."
    )
    assert chosen(purity, [0.9] * needed, np.ones(needed, dtype=bool), [0.5, 0.9]).n_selected == 2


def test_purity_beyond_the_networks_is_refused_with_what_they_reach():
    true = np.arange(100) % 2 == 0
    with pytest.raises(RuleError, match=r"at any threshold: .* 100 calibration sources is about "):
        chosen(0.9, np.full(100, 0.9), true, [0.9] * 50)
    with pytest.raises(RuleError, match="by any number of spectra; ask for less than 1"):
        chosen(1.0, np.full(100, 0.9), np.ones(100, dtype=bool), [0.9] * 50)


# --- from files ----------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """Forty sources scored, H alpha at 30 to 69, and the truth: 10 more than is predicted."""
    medians = np.stack([np.full(40, 10.0), np.arange(30.0, 70.0), np.full(40, 1.5)], axis=1)
    table = scored_table(medians, np.tile([2.0, 10.0, 0.1], (40, 1)))
    write_table(table, tmp_path / "known.parquet", footer(table.schema))
    ids = pa.array(np.arange(40, 0, -1))
    true = pa.table({"source_id": ids, "ew_halpha": np.arange(79.0, 39.0, -1.0)})
    write_table(true, tmp_path / "truth.parquet")
    return tmp_path / "known.parquet", tmp_path / "truth.parquet"


def test_calibration_joins_truth_by_id(files):
    found = ClaimOutcomes.read(RULES, "ELG", *files)
    assert len(found) == 40
    assert found.true.tolist() == [median + 10 > 50 for median in range(30, 70)]
    assert found.passed.tolist() == [median > 50 - 12.8 for median in range(30, 70)]
    assert found.probability[20] == pytest.approx(0.5)


def test_guarantee_reads_both_sides_from_files(files):
    # 32 sources obey; the three false ones are least likely: 4/33 > 0.1 >= 3/33, with 30 beyond.
    with scored_catalog(files[0], RULES) as catalog:
        found = guarantee(catalog, "ELG", 0.9, files)
    assert (found.n_calibration, found.n_candidates) == (32, 32)
    assert (found.n_false, found.n_selected) == (2, 31)


def test_sources_without_truth_are_left_out(files, tmp_path):
    few = pa.table({"source_id": [1, 2, 999], "ew_halpha": [80.0, float("nan"), 80.0]})
    write_table(few, tmp_path / "few.parquet")
    found = ClaimOutcomes.read(RULES, "ELG", files[0], tmp_path / "few.parquet")
    assert found.true.tolist() == [True, False]


def test_calibration_asks_what_concerns_spectra_not_where_or_how_many(files, tmp_path):
    stars = {"source_id": np.arange(1, 41), "ra": np.zeros(40), "dec": np.zeros(40)}
    write_table(pa.table(stars), tmp_path / "observed.parquet")
    masks = "exclude: observed.parquet\n"
    masks += "footprint: {exclude: [{cone: {ra: 15, dec: 0, radius: 90 deg}}]}"
    rest = "    sample: 0.01\n    limit: {total: 1}\n"
    rest += "  REST: {bit: 0, priority: 1, where: P(ew_halpha > 50) > 0.1, unless: ELG}\n"
    text = rule_text("P(ew_halpha > 50) > 0.5", rest=rest).replace("define: {}", masks)
    rules = Rules.parse(text, str(tmp_path / "rules.yaml"))
    chosen = ClaimOutcomes.read(rules, "ELG", *files).passed
    assert chosen.tolist() == [median > 50 for median in range(30, 70)]
    chosen = ClaimOutcomes.read(rules, "REST", *files).passed
    assert chosen.tolist() == [50 - 12.8 < median <= 50 for median in range(30, 70)]


def test_class_without_a_claim_has_nothing_to_guarantee(files):
    with pytest.raises(RuleError, match="class ELG claims nothing about its members' spectra"):
        ClaimOutcomes.read(Rules.parse(rule_text("dec < 90")), "ELG", *files)


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (pa.table({"source_id": [1]}), "neither latents .* nor a proxy such as 'ew_oiii'"),
        (pa.table({"source_id": [1], "d4000": [1.0]}), "no column 'ew_halpha', of which class ELG"),
        (pa.table({"id": [1], "ew_halpha": [1.0]}), "no column 'source_id'"),
        (pa.table({"source_id": [1.5], "ew_halpha": [1.0]}), "column 'source_id': ids are floats"),
        (
            pa.table({"source_id": [1, 1], "ew_halpha": [1.0, 2]}),
            "column 'source_id': ids are repeated",
        ),
        (
            pa.table(
                [[1], [1.0]],
                schema=pa.schema(
                    [
                        ("source_id", pa.int64()),
                        pa.field("ew_halpha", pa.float64(), metadata={"unit": "s"}),
                    ]
                ),
            ),
            "column 'ew_halpha': is in 's'; expected 'Angstrom'. Convert it",
        ),
    ],
)
def test_truth_that_does_not_fit_is_refused(files, tmp_path, truth, message):
    write_table(truth, tmp_path / "bad.parquet")
    with pytest.raises(CatalogError, match=f"bad.parquet.*{message}"):
        ClaimOutcomes.read(RULES, "ELG", files[0], tmp_path / "bad.parquet")
