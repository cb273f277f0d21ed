"""Figures of a release and of now: which changes count, and the file that keeps them."""

import json

import pytest
from comparison import MISSING, NEW, OTHER_UNIT, SAME, Kept, compare, newest, read, table, write
from measuring import Figure


def kept(value, noise=0.0, kind="time", higher=False, unit="reference works"):
    return Kept(value, noise, unit, kind, higher)


def verdict(then, now):
    (line,) = compare({"lines": {"folded": then}}, {"lines": {"folded": now}})
    return line.verdict, line.is_bad


def test_a_time_that_grew_by_more_than_the_noise_is_slower():
    assert verdict(kept(1.0, 0.01), kept(1.2, 0.01)) == ("SLOWER", True)


def test_a_time_that_grew_by_less_than_three_sigmas_of_both_is_within_the_noise():
    noise = 0.05  # three sigmas of both: 3 * sqrt(2) * 0.05 = 0.212
    assert verdict(kept(1.0, noise), kept(1.20, noise)) == (SAME, False)
    assert verdict(kept(1.0, noise), kept(1.22, noise)) == ("SLOWER", True)


def test_a_time_that_shrank_is_faster_and_no_fault():
    assert verdict(kept(1.0, 0.01), kept(0.8, 0.01)) == ("faster", False)


def test_rounds_that_agree_to_the_digit_still_allow_a_time_ten_percent():
    assert verdict(kept(1.0), kept(1.099)) == (SAME, False)
    assert verdict(kept(1.0), kept(1.101)) == ("SLOWER", True)


@pytest.mark.parametrize(("value", "expected"), [(0.7, "WORSE"), (0.8, SAME), (0.9, "better")])
def test_a_rank_correlation_is_better_when_it_is_higher(value, expected):
    then, now = (kept(each, kind="accuracy", higher=True) for each in (0.8, value))
    assert verdict(then, now)[0] == expected


def test_more_memory_is_called_larger():
    assert verdict(kept(300, kind="memory"), kept(400, kind="memory")) == ("LARGER", True)


def test_a_figure_that_is_no_longer_measured_is_missing_and_a_fault():
    (line,) = compare({"lines": {"folded": kept(1.0)}}, {"lines": {}})
    assert (line.verdict, line.is_bad) == (MISSING, True)


def test_all_figures_of_a_script_that_is_gone_are_missing():
    assert [line.verdict for line in compare({"gone": {"a": kept(1.0), "b": kept(2.0)}}, {})] == [
        MISSING,
        MISSING,
    ]


def test_a_new_figure_is_no_fault():
    (line,) = compare({}, {"lines": {"folded": kept(1.0)}})
    assert (line.verdict, line.is_bad) == (NEW, False)


def test_figures_in_other_units_are_not_compared():
    assert verdict(kept(1.0), kept(1.0, unit="s")) == (OTHER_UNIT, True)


def test_the_table_gives_both_values_their_ratio_noise_and_verdict():
    (line,) = compare(
        {"lines": {"folded": kept(2.0, 0.06)}}, {"lines": {"folded": kept(3.0, 0.08)}}
    )
    heading, row = table([line]).strip().splitlines()
    assert heading.split() == ["lines.py", "then", "now", "ratio", "noise"]
    assert row.split() == ["folded", "2", "3", "1.50", "5.0%", "SLOWER", "reference", "works"]


# --- noise ----------------------------------------------------------------------------------------


def test_one_slow_round_moves_neither_the_value_nor_much_of_the_noise():
    calm = Figure((1.0, 1.01, 0.99, 1.0, 1.0, 1.01, 0.99), "", "time")
    disturbed = Figure((1.0, 1.01, 0.99, 1.0, 1.0, 1.01, 9.0), "", "time")
    assert disturbed.value == calm.value
    assert disturbed.noise < 2 * calm.noise


def test_noise_of_passes_that_differ_is_their_standard_deviation():
    passes = [Figure((each, each), "", "time") for each in (1.0, 1.1, 1.2)]
    assert Kept.of(passes).noise == pytest.approx(0.1)
    assert Kept.of(passes).value == 1.1


def test_noise_of_one_pass_is_that_of_its_rounds():
    figure = Figure((1.0, 1.2, 1.1, 0.9), "", "time")
    assert Kept.of([figure]).noise == figure.noise > 0


def test_a_figure_of_a_sample_keeps_the_error_that_it_says():
    figure = Figure.of(0.02, "accuracy", error=0.01)
    assert Kept.of([figure, figure]).noise == 0.01


# --- the file -------------------------------------------------------------------------------------


def test_the_file_gives_back_what_was_written(tmp_path):
    figures = {"lines": {"folded": Kept(1.25, 0.5, "reference works", "time", False, 0.25)}}
    write(tmp_path / "figures-0.1.0.json", figures, {"version": "0.1.0", "passes": 3})
    assert read(tmp_path / "figures-0.1.0.json") == (
        figures,
        {"schema": "targetsel/figures/v1", "version": "0.1.0", "passes": 3},
    )


def test_a_file_of_another_schema_is_refused(tmp_path):
    (tmp_path / "figures-1.json").write_text(json.dumps({"schema": "other", "figures": {}}))
    with pytest.raises(SystemExit, match=r"schema 'other', expected 'targetsel/figures/v1'"):
        read(tmp_path / "figures-1.json")


def test_version_ten_is_newer_than_version_nine(tmp_path):
    for version in ("0.9.0", "0.10.0"):
        (tmp_path / f"figures-{version}.json").touch()
    assert newest(tmp_path) == tmp_path / "figures-0.10.0.json"
    assert newest(tmp_path / "nowhere") is None
