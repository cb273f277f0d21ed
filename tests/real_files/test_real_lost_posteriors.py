"""Scored files that lost columns of posteriors on their way through other programs."""

import numpy as np
import pytest

from targetsel.errors import TargetselError
from targetsel.rules.rules import Rules
from targetsel.selection.membership import evaluate
from tests.selection.scored_by_hand import rule_text, scored_table


def selected(where, *lost):
    table = scored_table([[12.0, 60.0, 1.5]], [[2.0, 5.0, 0.1]]).drop_columns(list(lost))
    return evaluate(Rules.parse(rule_text(*where)), table).selected[0, 0]


BOTH = ["P(ew_halpha > 50 and ew_oiii > 10) >= 0.5"]


def test_whole_posterior_selects():
    assert selected(BOTH)


@pytest.mark.parametrize(
    ("where", "lost", "said"),
    [
        (BOTH, ["ew_oiii_quantiles"], "no column 'ew_oiii_quantiles' that holds it"),
        (BOTH, ["ew_halpha_correlation"], "no column 'ew_halpha_correlation' that holds it"),
        (
            ["P(ew_halpha > 50) >= 0.5", "P(ew_oiii > 10) >= 0.5"],
            ["ew_halpha_correlation"],
            "the correlation of 'ew_halpha' and 'ew_oiii' is missing",
        ),
        (["P(ew_oiii > 10) >= 0.5"], ["ew_oiii_quantiles"], "no column 'ew_oiii_quantiles'"),
    ],
)
def test_median_never_passes_for_certain_nor_quantities_for_independent(where, lost, said):
    with pytest.raises(TargetselError) as caught:
        selected(where, *lost)
    assert said in str(caught.value)
    assert "restore" in str(caught.value).lower()


@pytest.mark.parametrize("lost", [np.nan, None])
def test_quantity_without_quantiles_in_a_row_is_not_selected(lost):
    table = scored_table([[np.nan] * 3, [12.0, 60.0, 1.5]], np.ones((2, 3)))
    found = evaluate(Rules.parse(rule_text("P(ew_halpha > 50) >= 0")), table).selected[:, 0]
    assert found.tolist() == [False, True]
    assert lost is None or np.isnan(lost)
