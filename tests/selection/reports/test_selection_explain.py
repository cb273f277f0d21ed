"""Why a source was chosen or was not, checked by hand."""

import pyarrow as pa
import pytest
from scipy.stats import norm

from targetsel.errors import CatalogError
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns, footer
from targetsel.rules.functions import parse
from targetsel.rules.rules import Rules
from targetsel.selection.reports.explain import explain, written
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import rule_text


@pytest.fixture
def scored_file(scored, tmp_path):
    write_table(scored, tmp_path / "a.scored.parquet", footer(scored.schema))
    return tmp_path / "a.scored.parquet"


def explained(path, source_id, *where, **more):
    (found,) = explain(Rules.parse(rule_text(*where, **more)), source_id, path)
    return found


def test_measured_value_has_a_threshold_but_no_margin(scored_file):
    found = explained(scored_file, "2", "rmag < 19 mag")
    (row,) = found.rows
    assert (row.text, row.outcome) == ("rmag < 19 mag", "false")
    assert (row.value, row.threshold, row.margin, row.probability) == (19.5, 19.0, None, None)
    assert (found.passed, found.verdict) == (False, "kept out by rmag < 19 mag")


def test_margin_of_a_prediction_is_in_its_own_standard_deviations(scored_file):
    # H alpha is 52 give or take 4.
    (row,) = explained(scored_file, "2", "ew_halpha > 50").rows
    assert row.margin == pytest.approx(0.5, abs=0.01)
    assert row.probability == pytest.approx(norm.cdf(0.5), abs=0.001)
    (row,) = explained(scored_file, "2", "ew_halpha < 50").rows
    assert (row.outcome, row.margin) == ("false", pytest.approx(-0.5, abs=0.01))


def test_margin_of_a_probability_is_how_far_the_prediction_could_move(scored_file):
    # P(52 +- 4 > 50) is 0.69; it would be 0.5 with the median 0.5 standard deviations lower.
    (row,) = explained(scored_file, "2", "P(ew_halpha > 50) >= 0.5").rows
    assert row.value == row.probability == pytest.approx(norm.cdf(0.5))
    assert (row.threshold, row.margin) == (0.5, pytest.approx(0.5))


def test_joined_conditions_are_taken_apart_below(scored_file):
    found = explained(scored_file, "1", "good", define='good: "17.5 < rmag < 19 or star"')
    assert [(row.depth, row.text, row.outcome) for row in found.rows] == [
        (0, "good", "false"),
        (1, "all of", "false"),
        (2, "rmag > 17.5", "false"),
        (2, "rmag < 19", "true"),
        (1, "star", "false"),
    ]


def test_missing_is_told_from_false(scored_file):
    found = explained(scored_file, "4", "rmag < 19", "P(ew_halpha > 50) >= 0.5", "rmag is missing")
    assert [row.outcome for row in found.rows] == ["missing", "missing", "true"]
    assert found.rows[1].value is None
    assert found.probability is None


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("ok", ""),
        ("lost bands: g, z", "There is no prediction: its cutout has no data in bands g, z."),
        ("no cutout", "There is no prediction: it has no cutout."),
    ],
)
def test_source_without_a_prediction_says_why(scored, tmp_path, status, why):
    column = pa.array([status] * len(scored))
    table = scored.append_column("status", column)
    write_table(table, tmp_path / "b.scored.parquet", footer(scored.schema))
    assert explained(tmp_path / "b.scored.parquet", "1", "rmag < 19").unpredicted.startswith(why)
    assert bool(why) == bool(explained(tmp_path / "b.scored.parquet", "1", "rmag < 19").unpredicted)


def test_rank_and_claim_are_told(scored_file):
    found = explained(scored_file, "2", "P(ew_halpha > 50) >= 0.5", rest="    rank: -rmag\n")
    assert found.passed
    assert found.verdict == "selected"
    assert (found.rank, found.probability) == (-19.5, pytest.approx(norm.cdf(0.5)))


def test_source_that_a_limit_leaves_out_is_told_so(scored_file):
    limited = {"rest": "    rank: -rmag\n    limit: {total: 1}\n"}
    assert explained(scored_file, "1", "rmag < 19", **limited).verdict == "selected"
    left_out = "obeys every condition; dedup or limit leaves it out"
    assert explained(scored_file, "3", "rmag < 19", **limited).verdict == left_out
    assert explained(scored_file, "2", "rmag < 19", **limited).selected is False


def test_guarantee_leaves_it_open_whether_a_source_is_chosen(scored_file):
    promise = {"rest": "    guarantee: {purity: 0.9, kind: average}\n"}
    found = explained(scored_file, "1", "P(ew_halpha > 50) > 0.1", **promise)
    assert (found.passed, found.selected) == (True, None)
    promise["rest"] += "  ANY: {bit: 0, priority: 1, where: dec < 90, limit: {total: 4}}\n"
    rules = Rules.parse(rule_text("P(ew_halpha > 50) > 0.1", **promise))
    assert [each.selected for each in explain(rules, "1", scored_file)] == [None, True]


def test_unknown_id_is_named(scored_file):
    with pytest.raises(CatalogError, match=r"a\.scored\.parquet: has no source '77'"):
        explained(scored_file, "77", "rmag < 19")


def test_ids_may_be_words(scored, tmp_path):
    words = scored.set_column(0, "source_id", pa.array(["a 1", "2", "x", "y"]))
    write_table(words, tmp_path / "w.parquet", footer(scored.schema))
    assert explained(tmp_path / "w.parquet", "a 1", "rmag < 19").passed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rmag < 19 mag", "rmag < 19"),
        ("50 Angstrom < ew_halpha", "ew_halpha > 50"),
        ("P(ew_halpha > 5 nm and not star) >= 0.5", "P(ew_halpha > 50 and not star) >= 0.5"),
        ("(rmag - 2 * rmag) / rmag > 1", "(rmag - (2 * rmag)) / rmag > 1"),
        ("max(rmag, 18) > 1 or star is missing", "rmag_ > 1 or star is missing"),
        ("q(ew_halpha, 0.16) > 2", "q(ew_halpha, 0.16) > 2"),
        ("rmag between 17 and 19", "rmag >= 17 and rmag <= 19"),
    ],
)
def test_formulas_are_written_in_the_language_of_rules(scored, text, expected):
    formula = Binder(CatalogColumns(scored.schema)).condition(parse(text))
    assert written(formula) == expected.replace("rmag_", "max(rmag, 18)")
