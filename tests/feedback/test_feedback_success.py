"""Forecasts of success by predicted S/N, on lists whose quantiles are made up."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.special import ndtr
from typer.testing import CliRunner

import targetsel as ts
from targetsel.cli import app
from targetsel.errors import HandoffError
from targetsel.feedback.success import SuccessRule, forecast_of, usual_rules
from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import FOOTER_KEY
from tests.feedback.observed_by_hand import RULES, emitters, write_spectra


def seen(n=80, middle=None, width=0.5, name="snr_halpha", **more):
    """Targets whose root of the S/N is normal with this width."""
    root = np.sqrt(np.full(n, 5.0) if middle is None else middle)
    ends = {end: (root + k * width) ** 2 for end, k in (("_q16", -1), ("", 0), ("_q84", 1))}
    columns = {name + end: (values.astype(np.float32), "") for end, values in ends.items()}
    return emitters(n, **columns, **more)


def test_the_forecast_is_the_normal_share_above_the_limit():
    targets = seen(middle=np.linspace(0.5, 20, 80))
    found = forecast_of(targets.table, [SuccessRule("snr_halpha", 5.0)])
    expected = ndtr((np.sqrt(np.linspace(0.5, 20, 80)) - np.sqrt(5)) / 0.5)
    assert found[5:] == pytest.approx(expected[5:], abs=1e-4)  # the first have a q16 below 0


def test_the_forecast_at_a_stored_quantile_is_its_share():
    table = seen().table
    for end, share in (("_q16", 0.8413), ("", 0.5), ("_q84", 0.1587)):
        limit = float(table["snr_halpha" + end][0].as_py())
        found = SuccessRule("snr_halpha", limit).probability(table)
        assert found == pytest.approx(np.full(80, share), abs=1e-3)


def test_a_certain_snr_is_forecast_with_certainty():
    table = seen(middle=np.r_[np.full(40, 4.0), np.full(40, 9.0)], width=0.0).table
    found = forecast_of(table, [SuccessRule("snr_halpha", 5.0)])
    assert found.tolist() == [0.0] * 40 + [1.0] * 40


def test_a_short_exposure_is_as_good_as_a_high_snr():
    columns = {"exposure_time_oii" + end: (np.full(80, v, np.float32), "s")
               for end, v in (("_q16", 900.0), ("", 1800.0), ("_q84", 3600.0))}  # fmt: skip
    table = emitters(**columns).table
    for text, share in (
        ("< 30 min", 0.5),
        ("<= 1h", 0.8413),
        ("< 900", 0.1587),
        ("< 900s", 0.1587),
    ):
        rule = SuccessRule.parse(f"exposure_time_oii {text}")
        assert rule.probability(table) == pytest.approx(np.full(80, share), abs=1e-3)


def test_targets_without_a_prediction_have_no_forecast(tmp_path):
    targets = seen(middle=np.where(np.arange(80) < 20, np.nan, 9.0))
    forecast = ts.outcomes(targets, truth=write_spectra(tmp_path, range(101, 181))).forecasts
    assert [each.n for each in forecast] == [30, 30]


def test_failures_drawn_from_the_snr_agree_with_their_forecast(tmp_path):
    rng, n, held = np.random.default_rng(0), 400, 0
    middle = rng.uniform(2, 10, n)
    targets = seen(n, middle, program=["STRONG"] * n, target_bits=np.full(n, 2))
    for _ in range(30):
        snr = (np.sqrt(middle) + 0.5 * rng.normal(size=n)) ** 2
        redshift = np.where(snr > 5, 0.1, np.nan)
        path = write_spectra(tmp_path, np.arange(101, 101 + n), redshift)
        each = ts.outcomes(targets, truth=path).forecasts[0]
        assert each.success.value == pytest.approx(np.mean(snr > 5))
        held += each.excess.low <= 0 <= each.excess.high
    assert held >= 26  # of 30; the intervals are those of a share, which are wider


def test_a_forecast_that_is_too_high_is_told(tmp_path):
    targets = seen(middle=np.full(80, 20.0))
    redshift = np.where(np.arange(80) % 4 < 2, 0.1, np.nan)
    found = ts.outcomes(targets, truth=write_spectra(tmp_path, range(101, 181), redshift))
    assert found.forecasts[0].excess.value == pytest.approx(-0.5, abs=0.01)
    assert any(
        line.startswith("STRONG: fewer spectra succeeded than forecast, by 50.0%")
        for line in found.sentences
    )


def test_successes_alone_leave_the_forecast_uncompared(tmp_path):
    found = ts.outcomes(seen(), truth=write_spectra(tmp_path, range(101, 151))).forecasts[0]
    assert found.forecast.value == pytest.approx(0.5)
    assert (found.success, found.excess, found.sentence) == (None, None, "")


def test_of_several_rules_the_likeliest_counts():
    table = seen(middle=np.full(80, 9.0), name="snr_oii").table
    for name in ("snr_halpha", "snr_halpha_q16", "snr_halpha_q84"):
        table = table.append_column(name, table["snr_oii"])
    rules = usual_rules(table)
    assert {each.text for each in rules} == {"snr_oii > 5", "snr_halpha > 5"}
    each = [rule.probability(table) for rule in rules]
    assert forecast_of(table, rules) == pytest.approx(np.maximum(*each))


def test_a_list_without_snr_has_no_forecast(tmp_path):
    assert ts.outcomes(emitters(), truth=write_spectra(tmp_path, range(101, 181))).forecasts == ()


@pytest.mark.parametrize(
    "text",
    ["", "snr_halpha", "snr_halpha > ", "snr_halpha > a", "snr_halpha > nan", "snr_halpha > -5",
     "snr_halpha > 0", "snr_halpha < 5", "exposure_time_oii > 5", "snr_halpha > 5 min",
     "ew_halpha > 5", "snr_halpha > 5 and snr_oii > 5", "snr_halpha > inf"],
)  # fmt: skip
def test_what_is_no_rule_of_success_is_refused(text):
    with pytest.raises(HandoffError, match="Give such as --succeeds"):
        SuccessRule.parse(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [("snr_oii > 5", "its catalog is from 'targetsel observe'"), ("snr_halpa > 5", "Did you mean")],
)
def test_a_line_that_the_list_does_not_keep_is_named(tmp_path, text, hint):
    with pytest.raises(HandoffError, match=hint):
        ts.outcomes(seen(), truth=write_spectra(tmp_path, range(101, 181)), succeeds=[text])


def test_command_page_and_footer_tell_the_same_forecast(tmp_path):
    seen().write(tmp_path / "a.targets.parquet")
    path = write_spectra(tmp_path, range(101, 181), np.where(np.arange(80) % 4 < 2, 0.1, np.nan))
    page, table = tmp_path / "a.html", tmp_path / "a.parquet"
    words = ["outcomes", tmp_path / "a.targets.parquet", "--truth", path, "--page", page]
    words += ["-o", table, "--succeeds", "snr_halpha > 5"]
    done = CliRunner().invoke(app, [str(each) for each in words])
    assert done.exit_code == 0, done.output
    row = json.loads(pq.read_schema(table).metadata[FOOTER_KEY])["forecasts"][0]
    assert (row["class"], row["succeeds"]) == ("STRONG", "snr_halpha > 5")
    assert row["success"] == 0.5
    for shown in (done.output, page.read_text()):
        assert "more than forecast" in shown


def test_a_class_that_claims_an_snr_leaves_the_others_tested(tmp_path):
    targets = seen()
    text = RULES.replace("P(ew_halpha > 50 Angstrom)", "P(snr_halpha > 5)")
    targets = TargetList(targets.table, targets.footer | {"rules_files": [["by-hand.yaml", text]]})
    path = write_spectra(tmp_path, range(101, 181), ew_halpha=np.full(80, 20.0))
    found = ts.outcomes(targets, truth=path)
    strong, weak = found.classes
    assert (strong.untested, strong.purity) == ("'snr_halpha' was not measured", None)
    assert weak.purity.value == 1.0
    snr = np.where(np.arange(80) < 40, 9.0, 3.0)
    path = write_spectra(tmp_path, range(101, 181), ew_halpha=np.full(80, 20.0), snr_halpha=snr)
    assert ts.outcomes(targets, truth=path).classes[0].purity.value == pytest.approx(0.5)
