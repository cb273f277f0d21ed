"""The evaluation as a whole, of posteriors that are known to be right, or too narrow."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, OutputError, RuleError
from targetsel.report.evaluation import evaluate, write_evaluation
from targetsel.tables.parquet import read_footer
from tests.report.sky_by_hand import RULES, sky, with_column

CONDITIONS = ("ew_halpha > 30 Angstrom", "d4000 > 1.6")
NAMES = ("latent 1", "latent 2", "ew_oiii", "ew_halpha", "d4000")


def _evaluated(folder, made, **options):
    (folder / "rules.yaml").write_text(RULES)
    scored, truth = made.write(folder)
    rules = (str(folder / "rules.yaml"),)
    return evaluate(scored, truth, rules, CONDITIONS, **options)


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """Of 1,200 sources whose posteriors are right."""
    return _evaluated(tmp_path_factory.mktemp("right"), sky())


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """Of as many that scatter twice as much as is predicted."""
    return _evaluated(tmp_path_factory.mktemp("narrow"), sky(widening=2.0))


@pytest.mark.parametrize("of", [*NAMES, "latents together, Mahalanobis"])
@pytest.mark.parametrize("level", [50, 68, 90, 95])
def test_right_posteriors_cover_as_often_as_they_claim(right, of, level):
    found = right.figures.find(f"coverage {level} %", of)
    assert found.value == pytest.approx(level / 100, abs=0.045)
    assert found.low < found.value < found.high
    assert found.n == 1200


@pytest.mark.parametrize("of", NAMES)
def test_posteriors_half_as_wide_as_they_should_be_hold_59_percent_in_their_90(narrow, of):
    # 2 Phi(1.645 / 2) - 1
    assert narrow.figures.find("coverage 90 %", of).value == pytest.approx(0.589, abs=0.045)


@pytest.mark.parametrize("of", ["latents together, Mahalanobis", "latents together, TARP"])
def test_joint_tests_tell_right_posteriors_from_narrow_ones(right, narrow, of):
    assert right.figures.find("largest departure", of).value < 0.05
    assert narrow.figures.find("largest departure", of).value > 0.1


def test_errors_are_those_of_the_scatter_that_was_put_in(right):
    # The first latent's scatter is 0.5 about a mean of unit variance.
    assert right.figures.find("RMSE", "latent 1").value == pytest.approx(0.5, rel=0.06)
    assert right.figures.find("R2", "latent 1").value == pytest.approx(0.8, abs=0.03)
    # The CRPS of a Gaussian about its own draws is sigma / sqrt(pi).
    expected = 0.1 * 1.6 / np.sqrt(np.pi)
    assert right.figures.find("CRPS", "d4000").value == pytest.approx(expected, rel=0.06)


def test_scores_are_worse_where_posteriors_are_narrow(right, narrow):
    for name, of in (("CRPS", "latent 2"), ("energy score", "latents together")):
        assert narrow.figures.find(name, of).low > right.figures.find(name, of).high


def test_probabilities_are_reliable_where_posteriors_are_right(right, narrow):
    error, worse = (
        each.figures.find("calibration error", "P(d4000 > 1.6)") for each in (right, narrow)
    )
    assert error.value < 0.03
    assert worse.low > 0.04


def test_a_class_brings_as_many_true_members_as_its_probabilities_promise(right):
    found = right.figures.find("true members over promised", "test: OLD")
    assert found.low < 1 < found.high


def test_every_figure_is_also_there_in_bins(right):
    bins = [part.name for part in right.subsets if part.by == "r magnitude"]
    assert len(bins) == 4  # of 300
    assert all(re.fullmatch(r"r magnitude [\d.]+ to [\d.]+ mag", each) for each in bins)
    for name, of in (("coverage 90 %", "latent 1"), ("calibration error", "P(d4000 > 1.6)")):
        assert [right.figures.find(name, of, each).n for each in bins] == [300] * 4


def test_photometry_alone_stands_beside_the_ensemble(right):
    pytest.importorskip("sklearn")
    ours, theirs, difference = (
        right.figures.find("average precision", f"test: OLD, {who}")
        for who in ("ensemble", "photometry alone", "ensemble less photometry alone")
    )
    assert difference.value == pytest.approx(ours.value - theirs.value)
    assert difference.low > 0
    assert theirs.value > 0.55  # its colour does tell something


def test_the_order_of_rows_changes_nothing(right, tmp_path):
    made, rng = sky(), np.random.default_rng(1)
    made.scored = made.scored.take(rng.permutation(1200))
    made.truth = made.truth.take(rng.permutation(1200))
    assert list(_evaluated(tmp_path, made).figures) == list(right.figures)


def test_nan_truth_is_left_out_and_counted(tmp_path):
    made = sky(300)
    values = made.truth["d4000"].to_numpy().copy()
    values[:50] = np.nan
    made.truth = with_column(made.truth, "d4000", pa.array(values))
    found = _evaluated(tmp_path, made)
    assert found.about["truth_unknown"]["d4000"] == 50
    assert found.figures.find("coverage 90 %", "d4000").n == 250
    assert found.figures.find("calibration error", "P(d4000 > 1.6)").n == 250
    assert found.figures.find("coverage 90 %", "ew_oiii").n == 300


def test_a_truth_of_proxies_alone_has_no_figures_of_latents(tmp_path):
    made = sky(60)
    made.truth = made.truth.drop_columns(["latent"])
    found = _evaluated(tmp_path, made)
    assert not [each for each in found.figures if each.of.startswith("latent")]
    assert found.figures.find("coverage 90 %", "d4000").n == 60


def test_shipped_rules_and_claims_that_do_not_suit_are_named(tmp_path):
    made = sky(60)
    made.truth = made.truth.drop_columns(["ew_oiii"])
    found = evaluate(*made.write(tmp_path))
    assert any("ew_oiii" in each for each in found.about["not_evaluated"])
    assert found.figures.find("calibration error", "P(d4000 > 1.6)") is not None


def test_a_claim_that_was_asked_for_and_cannot_be_judged_is_refused(tmp_path):
    made = sky(60)
    made.truth = made.truth.drop_columns(["ew_oiii"])
    with pytest.raises(
        CatalogError, match=r"P\(.*\): needs the true 'ew_oiii', which .*truth.parq"
    ):
        evaluate(*made.write(tmp_path), conditions=("ew_oiii > 5 Angstrom",))


def test_a_claim_that_means_nothing_is_refused_with_its_place(tmp_path):
    files = sky(60).write(tmp_path)
    with pytest.raises(RuleError, match=r"^--claim:1:16: .*'d400'.*Did you mean 'd4000'") as told:
        evaluate(*files, conditions=("d4000 > 1.6 or d400 > 1.6",))
    assert told.value.detail == f"d4000 > 1.6 or d400 > 1.6\n{' ' * 15}^"
    with pytest.raises(RuleError, match=r"^--claim:1:1: .* predicted quantity; rmag is none"):
        evaluate(*files, conditions=("rmag < 16",))


def test_quantiles_of_the_catalog_are_those_of_the_whole_scored_file(tmp_path):
    made = sky(200)
    middle = float(np.quantile(made.scored["d4000"], 0.5, method="inverted_cdf"))
    made.truth = made.truth.slice(0, 60)  # whose own median is another
    scored, truth = made.write(tmp_path)
    one, other = (
        evaluate(scored, truth, conditions=(condition,)).figures.find("calibration error", name)
        for condition, name in (
            ("d4000 > catalog_quantile(d4000, 0.5)", "P(d4000 > catalog_quantile(d4000, 0.5))"),
            (f"d4000 > {middle!r}", f"P(d4000 > {middle!r})"),
        )
    )
    assert one.value == pytest.approx(other.value, abs=1e-6)
    (tmp_path / "rules.yaml").write_text(RULES.replace("1.6)", "catalog_quantile(d4000, 0.5))"))
    found = evaluate(scored, truth, (str(tmp_path / "rules.yaml"),)).figures
    assert found.find("calibration error", "test: OLD").value == pytest.approx(one.value)


def test_the_table_holds_every_figure_and_says_where_it_is_from(tmp_path):
    made = sky(60)
    scored, truth = made.write(tmp_path, true_notes={"images": "simulated"})
    found = write_evaluation(scored, truth, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "evaluation.parquet")
    assert table.column_names == ["figure", "of", "subset", "value", "low", "high", "n"]
    assert table.num_rows == len(found.figures)
    counts = pq.read_table(tmp_path / "out" / "claims.parquet")
    assert counts["claim"].to_pylist() == [each.claim for each in found.counts]
    about = read_footer(tmp_path / "out" / "evaluation.parquet")
    assert about["simulated"]
    assert about["n"] == 60
    assert about["n_groups"] == 30
    assert about["claims"]["by_kind"]["all"]["n"] == len(found.counts)
    assert about["claims"]["seed"] == 0


@pytest.mark.parametrize("place", ["missing/out", "truth.parquet"])
def test_a_place_that_will_not_do_is_refused_before_any_work(tmp_path, place):
    scored, truth = sky(60).write(tmp_path)
    with pytest.raises(OutputError):
        write_evaluation(scored, truth, tmp_path / place)
    assert sorted(each.name for each in tmp_path.iterdir()) == [scored.name, truth.name]
