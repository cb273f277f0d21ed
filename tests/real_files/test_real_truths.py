"""Files of known spectra: predictions in place of a truth, groups and errors with gaps."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, EnsembleError
from targetsel.rules.rules import Rules
from targetsel.scored.labelled_sources import LabelledSources, count_labelled
from targetsel.selection.claims import ClaimOutcomes
from targetsel.selection.reports.forecast import forecasts
from tests.real_files.conftest import one_line
from tests.report.sky_by_hand import RULES, lists, sky, with_column

N = 60


@pytest.fixture
def made():
    return sky(N)


def of_one_group_unknown(truth: pa.Table) -> pa.Table:
    return with_column(truth, "group_id", pa.array([None, *range(N - 1)]))


def with_errors(value: float | None):
    values = [[0.1, 0.1]] * (N - 1) + [[0.1, value]]
    return lambda t: t.append_column("latent_std", pa.array(values, pa.list_(pa.float32())))


def with_positions_of_other_signs(names: tuple[str, str]):
    def moved(truth: pa.Table) -> pa.Table:
        truth = truth.append_column(names[0], pa.array(np.full(N, 10.0)))
        return truth.append_column(names[1], pa.array(np.full(N, -70.0)))

    return moved


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_one_group_unknown, "column 'group_id': 1 sources have no group. Give each its own."),
        (with_errors(-0.1), "column 'latent_std': null, infinite or negative for 1 sources with"),
        (with_errors(None), "column 'latent_std': null, infinite or negative for 1 sources with"),
        (with_errors(np.inf), "column 'latent_std': null, infinite or negative for 1 sources"),
        (with_positions_of_other_signs(("ra", "dec")), "60 of 60 sources are over 60 arcsec from"),
        (with_positions_of_other_signs(("RAJ2000", "DEJ2000")), "60 of 60 sources are over 60 arc"),
        (with_positions_of_other_signs(("RA_deg", "DEC_deg")), "60 of 60 sources are over 60 arc"),
        (
            lambda t: t.append_column("d4000_quantiles", lists(np.zeros((N, 11)))),
            "truth.parquet: holds predictions of an ensemble, which are no truth. Give what was",
        ),
    ],
)
def test_a_truth_that_says_something_else_is_refused_in_one_line(made, tmp_path, change, message):
    made.truth = change(made.truth)
    scored, truth = made.write(tmp_path)
    with one_line(CatalogError, message):
        known = LabelledSources.read(scored, truth)
        known.noise  # noqa: B018  (errors are read where they are used)


def test_predictions_by_their_footer_are_no_truth(made, tmp_path):
    scored, truth = made.write(tmp_path, true_notes={"ensemble": {"sha256": "f" * 64}})
    with one_line(CatalogError, "holds predictions of an ensemble, which are no truth"):
        LabelledSources.read(scored, truth)


def test_errors_of_sources_without_latents_may_be_missing(made, tmp_path):
    latents = [None, *made.truth["latent"].to_pylist()[1:]]
    made.truth = with_column(made.truth, "latent", pa.array(latents, pa.list_(pa.float32())))
    errors = pa.array([None, *[[0.1, 0.2]] * (N - 1)], pa.list_(pa.float32()))
    made.truth = made.truth.append_column("latent_std", errors)
    noise = LabelledSources.read(*made.write(tmp_path)).noise
    assert noise[:2] == pytest.approx(np.array([[0.0, 0.0], [0.1, 0.2]]))


def test_a_source_that_was_scored_twice_is_refused(made, tmp_path):
    made.scored = pa.concat_tables([made.scored, made.scored.slice(3, 1)])
    scored, truth = made.write(tmp_path)
    with one_line(CatalogError, "known.scored.parquet: the source 4 is there more than once."):
        LabelledSources.read(scored, truth)


def test_counts_of_a_join_say_what_both_files_share(made, tmp_path):
    made.truth = made.truth.slice(0, 40)
    made.scored = made.scored.slice(10, 50)
    left_out = {"only in the scored file": 20, "only in the truth": 10, "without a prediction": 0}
    assert count_labelled(*made.write(tmp_path)) == (30, left_out)


@pytest.mark.parametrize("value", [np.nan, np.inf, None])
def test_a_class_that_speaks_of_what_was_never_measured_has_no_outcomes(made, tmp_path, value):
    nothing = pa.array([value] * N, pa.float64())
    made.truth = with_column(made.truth, "d4000", nothing)
    scored, truth = made.write(tmp_path)
    with one_line(CatalogError, "column 'd4000': has no finite number for any source of "):
        ClaimOutcomes.read(Rules.parse(RULES), "OLD", scored, truth)


def test_a_proxy_in_another_case_is_suggested(made, tmp_path):
    names = {"d4000": "D4000"}
    made.truth = made.truth.rename_columns([names.get(n, n) for n in made.truth.column_names])
    scored, truth = made.write(tmp_path)
    with one_line(CatalogError, "no column 'd4000', of which class OLD speaks. Did you mean 'D40"):
        ClaimOutcomes.read(Rules.parse(RULES), "OLD", scored, truth)


@pytest.mark.parametrize("what", ["ensemble", "calibration"])
def test_outcomes_of_other_predictions_say_nothing(made, tmp_path, what):
    notes = {"ensemble": {"sha256": "a" * 64}, "calibration": {"sha256": "b" * 64}}
    (tmp_path / "known").mkdir()
    scored, _ = made.write(tmp_path, notes)
    known = made.write(tmp_path / "known", notes | {what: {"sha256": "c" * 64}})
    with one_line(EnsembleError, f"its predictions are of the {what} cccccccccccc, but those of"):
        forecasts(Rules.parse(RULES), scored, known)
    known = made.write(tmp_path / "known", notes)
    assert forecasts(Rules.parse(RULES), scored, known)


def test_a_calibration_of_predictions_without_one_says_nothing(made, tmp_path):
    (tmp_path / "known").mkdir()
    scored, _ = made.write(tmp_path, {"ensemble": {"sha256": "a" * 64}, "calibration": None})
    notes = {"ensemble": {"sha256": "a" * 64}, "calibration": {"sha256": "b" * 64}}
    known = made.write(tmp_path / "known", notes)
    with one_line(EnsembleError, "of the calibration bbbbbbbbbbbb, but those of"):
        forecasts(Rules.parse(RULES), scored, known)
    assert pq.read_table(known[0]).num_rows == N
