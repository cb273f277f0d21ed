"""The comparison of contenders: its intervals, and that a killed run goes on."""

import sys

import contenders
import numpy as np
import pytest
from contenders import ALONE, BASE, CONTENDERS, Runs, compared
from scipy.stats import ttest_ind, ttest_rel

from targetsel.networks.network import NetworkPlan
from targetsel.statistics.resampling import Estimate
from targetsel.training.network_training import Recipe


def runs(values, spread=0.0):
    """Runs of these errors, and a scatter of galaxies that is common to all."""
    galaxies = spread * np.linspace(-1, 1, 101)
    by_seed = {k: Estimate(np.append(v, v + galaxies)) for k, v in enumerate(values)}
    return Runs(by_seed, 1.0, 1)


def test_without_scatter_of_galaxies_the_interval_is_welchs():
    one, other = [0.71, 0.74, 0.72], [0.75, 0.81, 0.77]
    difference, half = compared(runs(one), runs(other), same_networks=False)
    low, high = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert [difference.value - half, difference.value + half] == pytest.approx([low, high])


def test_the_same_networks_are_compared_seed_by_seed():
    one, other = [0.71, 0.74, 0.72], [0.72, 0.752, 0.731]
    difference, half = compared(runs(one), runs(other), same_networks=True)
    low, high = ttest_rel(one, other).confidence_interval(0.95)
    assert [difference.value - half, difference.value + half] == pytest.approx([low, high])
    assert high < 0


def test_what_galaxies_share_does_not_widen_a_difference():
    _, half = compared(runs([0.7, 0.8], spread=0.3), runs([0.7, 0.8], spread=0.3), True)
    assert half == pytest.approx(0.0)


def test_one_seed_gives_no_interval_with_seeds():
    assert np.isnan(compared(runs([0.7]), runs([0.8]), False)[1])


@pytest.fixture
def command(small_sky, other_sky, tmp_path, monkeypatch):
    """The command on small skies, with what is to be run."""

    def run(*only):
        words = ["contenders.py", str(small_sky), str(other_sky), "--work", str(tmp_path)]
        words += ["--budget", "400x1", "--width", "0.125", "--seeds", "2", "--resamplings", "20"]
        monkeypatch.setattr(sys, "argv", [*words, "--only", *only])
        contenders.main()

    return run


def test_a_killed_comparison_goes_on_and_prints_the_same_table(command, tmp_path, capsys):
    command(BASE, ALONE)
    first = capsys.readouterr().out
    lost = tmp_path / "hybrid-400x1-width-0.125-seed-1.json"
    kept = tmp_path / "hybrid-400x1-width-0.125-seed-0.json"
    lost.unlink()
    written = kept.stat().st_mtime_ns
    command(ALONE, BASE)
    again = capsys.readouterr()
    assert kept.stat().st_mtime_ns == written
    assert lost.exists()
    assert "hybrid, seed 1: mean, epoch 1 of 1" in again.err
    assert "seed 0" not in again.err
    without_times = [line[:44] + line[52:] for line in first.splitlines()]
    assert [line[:44] + line[52:] for line in again.out.splitlines()] == without_times


def test_the_table_has_what_follows_from_runs_and_says_that_the_sky_is_simulated(command, capsys):
    command(BASE, ALONE)
    heading, _, *rows = capsys.readouterr().out.splitlines()
    assert heading.startswith("mock sky: simulated images | 400 sources x 1 epochs")
    assert "99 sources of 50 galaxies" in heading
    names = [row[:33].strip() for row in rows]
    assert names == [BASE, ALONE, contenders.FLIPS, contenders.LATE]
    assert all(row.endswith(("no", "yes, better", "yes, worse")) for row in rows[1:])


def test_a_result_of_another_recipe_is_not_taken_for_this_one(command, tmp_path, capsys):
    command(ALONE)
    capsys.readouterr()
    for path in tmp_path.glob("photometry-alone*.json"):
        path.write_text(path.read_text().replace('"weight_decay": 0.01', '"weight_decay": 0.02'))
    command(ALONE)
    assert "photometry alone, seed 0: mean, epoch" in capsys.readouterr().err


def test_every_contender_is_a_plan_and_a_recipe_that_exist():
    for name, contender in CONTENDERS.items():
        assert NetworkPlan(**({"width": 0.25} | contender.plan)).n_latents == 6, name
        assert Recipe(**contender.recipe).batch == 64, name
