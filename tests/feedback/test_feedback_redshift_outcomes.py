"""Redshifts of a list's targets, on cases that can be counted by hand."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import targetsel as ts
from targetsel.cli import app
from targetsel.errors import HandoffError
from targetsel.report.outcome_redshifts import check_windows, usual_windows, window_of
from targetsel.tables.parquet import FOOTER_KEY
from tests.feedback.observed_by_hand import emitters, write_spectra

IDS = np.arange(101, 181)


def one_class(**changed):
    return emitters(program=["STRONG"] * 80, target_bits=np.full(80, 2), **changed)


def test_a_window_holds_its_lower_end_and_not_its_upper(tmp_path):
    redshift = np.r_[np.full(20, 0.1), np.full(30, 0.2), np.full(30, 0.3)]
    path = write_spectra(tmp_path, IDS, redshift)
    found = ts.outcomes(one_class(), truth=path, windows=[(0.1, 0.2), (0.2, 0.3), (0.1, 0.31)])
    shares = [each.share.value for each in found.redshifts[0].windows]
    assert shares == pytest.approx([20 / 80, 30 / 80, 1.0])
    assert found.redshifts[0].windows[2].share.low < 1  # Wilson's interval has a width


def test_sources_that_stand_for_more_count_more_in_windows_and_quantiles(tmp_path):
    chance = np.where(IDS < 141, 1.0, 0.1)
    targets = one_class(inclusion_STRONG=(chance, ""))
    path = write_spectra(tmp_path, IDS, np.where(IDS < 141, 0.1, 0.5))
    found = ts.outcomes(targets, truth=path, windows=[(0.4, 0.6)]).redshifts[0]
    assert found.windows[0].share.value == pytest.approx(400 / 440)
    assert found.windows[0].share.n == 40
    assert found.quantiles[1].value == pytest.approx(0.5)  # the 16th percentile
    assert found.quantiles[0].value < 0.5


def test_failures_count_among_fibers_and_not_among_redshifts(tmp_path):
    redshift = np.where(IDS < 121, np.nan, 0.2)
    path = write_spectra(tmp_path, IDS, redshift)
    window = ts.outcomes(one_class(), truth=path, windows=[(0.1, 0.3)]).redshifts[0].windows[0]
    assert (window.share.value, window.of_fibers.value) == (1.0, 0.75)


def test_each_class_has_its_own_distribution(tmp_path):
    path = write_spectra(tmp_path, IDS, np.where(IDS % 2 == 1, 0.1, 0.5))
    found = ts.outcomes(emitters(), truth=path)
    assert [(each.class_, each.quantiles[2].value) for each in found.redshifts] == [
        ("STRONG", pytest.approx(0.1)),
        ("WEAK", pytest.approx(0.5)),
    ]


def test_fewer_than_ten_redshifts_have_no_distribution(tmp_path):
    redshift = np.where(IDS < 110, 0.1, np.nan)
    assert ts.outcomes(one_class(), truth=write_spectra(tmp_path, IDS, redshift)).redshifts == ()


def test_usual_windows_are_round_and_leave_few_redshifts_out():
    redshift = np.random.default_rng(0).normal(0.85, 0.1, 5000)
    windows = usual_windows(redshift)
    assert (windows[0], windows[-1]) == ((0.6, 0.7), (1.0, 1.1))
    inside = (redshift >= windows[0][0]) & (redshift < windows[-1][1])
    assert inside.mean() > 0.98
    assert usual_windows(np.full(20, 0.1)) == ((0.1, 0.11),)
    assert len(usual_windows(np.array([0.0, 3000.0]))) <= 8


def test_redshifts_stand_in_the_footer_of_the_table(tmp_path):
    path = write_spectra(tmp_path, IDS, np.linspace(0.1, 0.3, 80))
    ts.outcomes(one_class(), tmp_path / "o.parquet", truth=path, windows=[(0.1, 0.2)])
    footer = json.loads(pq.read_schema(tmp_path / "o.parquet").metadata[FOOTER_KEY])
    median, window = footer["redshifts"][2], footer["redshifts"][-1]
    assert (median["figure"], median["value"]) == ("median", pytest.approx(0.2))
    assert (window["from"], window["to"], window["value"]) == (0.1, 0.2, 0.5)


@pytest.mark.parametrize("text", ["", "0.7", "0.7,1.1", "a-b", "0.7-", "-", "0.7-0.9-1.1"])
def test_a_text_that_is_no_window_is_refused(text):
    with pytest.raises(HandoffError, match=r"expected two redshifts\. Give such as --window"):
        window_of(text)


@pytest.mark.parametrize(
    "window", [(1.1, 0.7), (0.7, 0.7), (np.nan, 1), (0, np.inf), (0.7,), 0.7, ("a", "b"), "0.7-1.1"]
)
def test_numbers_that_are_no_window_are_refused(window):
    with pytest.raises(HandoffError, match="Give such as --window"):
        check_windows([window])


def test_windows_are_refused_where_no_redshift_was_measured(tmp_path):
    path = tmp_path / "spectra.parquet"
    pq.write_table(pa.table({"source_id": IDS, "ew_halpha": np.full(80, 60.0)}), path)
    with pytest.raises(HandoffError, match="no target has a measured redshift"):
        ts.outcomes(one_class(), truth=path, windows=[(0.1, 0.2)])


def test_command_and_function_count_the_same_windows(tmp_path):
    targets = one_class()
    targets.write(tmp_path / "a.targets.parquet")
    path = write_spectra(tmp_path, IDS, np.linspace(0.1, 0.3, 80))
    words = ["outcomes", str(tmp_path / "a.targets.parquet"), "--truth", str(path)]
    done = CliRunner().invoke(app, [*words, "--window", "0.1-0.2", "--window", "0-3e-1"])
    assert done.exit_code == 0, done.output
    found = ts.outcomes(targets, truth=path, windows=[(0.1, 0.2), (0, 0.3)])
    assert len(found.windows) == 2
    for row in [*found.windows, *(each.cells for each in found.redshifts)]:
        assert all(cell in done.output for cell in row)
    shorter = CliRunner().invoke(app, words).output
    assert "median" in shorter
    assert "of all fibers" not in shorter  # windows that nobody asked for are on the page alone
