"""Scored files that lost columns of posteriors on their way through other programs."""

import json

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import RuleError, TargetselError
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.rules.rules import Rules
from targetsel.selection.membership import apply_rules
from targetsel.selection.sources import columns_read
from targetsel.spectra.copula import GROUP, Copula
from targetsel.tables.parquet import FOOTER_KEY
from tests.selection.scored_by_hand import rule_text, scored_table


def selected(where, *lost):
    table = scored_table([[12.0, 60.0, 1.5]], [[2.0, 5.0, 0.1]]).drop_columns(list(lost))
    return apply_rules(Rules.parse(rule_text(*where)), table).selected[0, 0]


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
    found = apply_rules(Rules.parse(rule_text("P(ew_halpha > 50) >= 0")), table).selected[:, 0]
    assert found.tolist() == [False, True]
    assert lost is None or np.isnan(lost)


def test_a_calibrated_copula_whose_column_is_lost_is_not_taken_for_gaussian():
    table = scored_table([[12.0, 60.0, 1.5]], [[2.0, 5.0, 0.1]])
    footer = {"calibration": {"joint": True}}
    told = table.replace_schema_metadata({FOOTER_KEY: json.dumps(footer).encode()})
    single, pair = "P(ew_halpha > 30)", "P(ew_halpha > 30 and ew_oiii > 10)"
    binder = Binder(CatalogColumns(told.schema))
    binder.condition(parse(f"{single} > 0.5"))
    with pytest.raises(RuleError, match=r"needs the column 'copula_group' .*'targetsel restore'"):
        binder.condition(parse(f"{pair} > 0.5"))
    Binder(CatalogColumns(table.schema)).condition(parse(f"{pair} > 0.5"))


def test_joint_probabilities_read_all_that_the_copula_draws():
    table = scored_table([[12.0, 60.0, 1.5]], [[2.0, 5.0, 0.1]])
    copula = Copula(("d4000", "ew_oiii", "ew_halpha"), np.zeros((1, 3, 20)), {})
    field = copula.noted(pa.field(GROUP, pa.int8()))
    schema = table.append_column(field, pa.array([0], pa.int8())).schema
    claim = Binder(CatalogColumns(schema)).condition(
        parse("P(ew_oiii > 10 and ew_halpha > 5) > 0.5")
    )
    read = columns_read(claim, schema)
    assert {GROUP, "d4000_correlation", "ew_halpha_correlation"} <= read
    assert "d4000_quantiles" not in read
