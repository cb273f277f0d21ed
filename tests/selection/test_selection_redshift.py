"""Rules ask for `photoz` as for line strengths, alone and jointly with them."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, RuleError
from targetsel.imaging.store import CutoutStore
from targetsel.rules.catalog_part import unseen_columns
from targetsel.rules.lint import lint
from targetsel.rules.rules import Rules
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import score_rows
from targetsel.selection.claims import ClaimOutcomes
from targetsel.selection.membership import apply_rules
from targetsel.sky.catalog import Catalog
from targetsel.spectra.photoz import PHOTOZ
from tests.selection.scored_by_hand import rule_text, scored_table

JOINT = "P(0.2 < photoz < 0.3 and d4000 < 1.02) >= 0.5"


def rules_of(*where):
    return Rules.parse(rule_text(*where))


@pytest.fixture(scope="module")
def scored(redshift_sky):
    catalog = Catalog.read(redshift_sky.catalog)[:200]
    store = CutoutStore.open(redshift_sky.cutouts)
    rows = score_rows(catalog, store, Ensemble.read(redshift_sky.ensemble))
    return SimpleNamespace(rows=rows, redshift=redshift_sky.redshift[:200])


def probabilities(rows, condition):
    membership = apply_rules(rules_of(f"P({condition}) >= 0.0"), rows)
    return membership.probability[:, 0]


def test_the_median_of_photoz_is_compared_as_any_number(scored):
    found = apply_rules(rules_of("photoz < 0.28"), scored.rows).selected[:, 0]
    assert found.tolist() == (scored.rows["photoz"].to_numpy() < np.float32(0.28)).tolist()


def test_probabilities_of_a_redshift_come_true(scored):
    likely = probabilities(scored.rows, "photoz < 0.28")
    assert likely.mean() == pytest.approx((scored.redshift < 0.28).mean(), abs=0.08)
    assert likely[scored.redshift < 0.22].mean() > likely[scored.redshift > 0.34].mean() + 0.4


def test_a_joint_probability_is_at_most_that_of_the_redshift_alone(scored):
    middle = np.median(scored.rows["ew_halpha"].to_numpy())
    together = probabilities(scored.rows, f"0.2 < photoz < 0.3 and ew_halpha > {middle:.4f}")
    assert (together <= probabilities(scored.rows, "0.2 < photoz < 0.3") + 1e-6).all()
    assert 0.01 < together.mean() < 0.6


CONDITIONS = ["photoz < 0.3", JOINT, "std(photoz) < 0.05", "q(photoz, 0.9) < 1"]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_rules_on_photoz_are_sound_with_no_catalog_and_with_one(condition, scored):
    lint(rules_of(condition))
    lint(rules_of(condition), scored.rows.schema)


def test_without_a_catalog_photoz_may_be_the_catalogs_own_so_that_nothing_is_said_of_it(scored):
    assert lint(rules_of("photoz < 0.3")) == []
    (remark,) = lint(rules_of("photoz < 0.3"), scored.rows.schema)
    assert "ignores the uncertainty of photoz" in str(remark)


def test_photoz_of_a_file_without_predicted_redshifts_is_unknown():
    said = r"unknown column 'photoz'\. No redshift is predicted in it: score it with an ensemble"
    with pytest.raises(RuleError, match=said):
        apply_rules(rules_of("photoz < 0.3"), scored_table([[10, 50, 1.5]], [[2, 5, 0.1]]))


def test_a_truth_without_redshifts_is_refused_by_the_name_of_the_column_that_it_lacks(
    scored, redshift_sky, tmp_path
):
    pq.write_table(scored.rows, tmp_path / "scored.parquet")
    truth = pq.read_table(redshift_sky.truth).drop_columns(["redshift"])
    pq.write_table(truth, tmp_path / "truth.parquet")
    given = rules_of("P(photoz < 0.28) >= 0.5"), "ELG", tmp_path / "scored.parquet"
    with pytest.raises(CatalogError, match="no column 'redshift', the truth of 'photoz', of which"):
        ClaimOutcomes.read(*given, tmp_path / "truth.parquet")
    outcomes = ClaimOutcomes.read(*given, redshift_sky.truth)
    assert outcomes.true.tolist() == (scored.redshift[: len(outcomes)] < 0.28).tolist()


def test_a_catalogs_own_photoz_is_known_before_pixels_are_read():
    own = pa.schema([("photoz", pa.float32()), ("ew_halpha", pa.float32())])
    assert PHOTOZ not in unseen_columns(own)
    quantiles = pa.field("photoz_quantiles", pa.list_(pa.float32(), 11))
    assert PHOTOZ in unseen_columns(own.append(quantiles))


def test_a_name_that_rules_define_may_be_photoz_where_no_catalog_is_given():
    lint(Rules.parse(rule_text("photoz < 0.3", define="photoz: z_phot / 1.1")))
