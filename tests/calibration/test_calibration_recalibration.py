"""Maps learnt from outcomes on plain arrays, and whether they are kept."""

from __future__ import annotations

import numpy as np
import pytest

from targetsel.calibration.proxies import mapped
from targetsel.calibration.recalibration import (
    FEWEST,
    Measured,
    coverage,
    grew,
    is_worse,
    median_width,
    pinball,
    relearned,
    relearned_classes,
)
from targetsel.spectra.lines import BPT_CLASSES
from targetsel.spectra.proxies import NORMAL_SCORES


def gaussians(n: int, claimed: float = 1.0, scatter: float = 1.0, shift: float = 0.0, seed=0):
    """Posteriors of N sources, and true values of another scatter."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(10, 3, n)
    knots = middle[:, None] + claimed * NORMAL_SCORES
    return knots, middle + shift + scatter * rng.normal(size=n)


def measured(n: int, weight=None, **options) -> Measured:
    knots, true = gaussians(n, **options)
    weight = np.ones(n) if weight is None else weight
    return Measured.of(knots, true, np.linspace(15, 19, n), weight, np.arange(n))


@pytest.mark.parametrize(("scatter", "shift"), [(2.0, 0.0), (0.5, 0.0), (1.0, 2.0), (1.0, -2.0)])
def test_intervals_hold_what_they_claim_of_sources_to_come(scatter, shift):
    scores, _ = relearned(measured(500, scatter=scatter, shift=shift))
    knots, true = gaussians(20_000, scatter=scatter, shift=shift, seed=1)
    after = mapped({"": knots}, {"": scores}, np.full(len(true), 17.0))[""]
    weight = np.ones(len(true))
    assert coverage(after, true, weight, 0.9) == pytest.approx(0.9, abs=0.035)  # 1.3 each
    assert coverage(after, true, weight, 0.68) == pytest.approx(0.68, abs=0.06)
    width = median_width(after, weight, 0.9)
    assert width == pytest.approx(2 * 1.645 * scatter, rel=0.15)


def test_fewer_than_a_hundred_effective_sources_give_no_map():
    enough = measured(FEWEST)
    assert relearned(enough)[1].stays == ""
    scores, record = relearned(enough.take(np.arange(FEWEST - 1)))
    assert scores is None
    assert record.stays == "too few"
    assert record.n == FEWEST - 1
    weight = np.where(np.arange(300) < 90, 100.0, 0.1)
    assert relearned(measured(300, weight))[1].stays == "too few"
    assert relearned(enough.take(np.arange(0)))[1].stays == "too few"


def test_sources_without_a_value_a_prediction_or_a_weight_do_not_count():
    knots, true = gaussians(300)
    true[:10], knots[10:20] = np.nan, np.nan
    weight = np.where(np.arange(300) < 30, 0.0, 1.0)
    found = Measured.of(knots, true, np.full(300, np.nan), weight, np.arange(300))
    assert len(found) == 270


def test_a_map_that_is_worse_for_sources_kept_aside_is_not_kept():
    # Those kept aside are as claimed, the others are off by four standard deviations.
    own = measured(600)
    moved = np.where(own.aside, own.true, own.true + 4)
    scores, record = relearned(Measured(own.knots, moved, own.magnitude, own.weight, own.aside))
    assert scores is None
    assert record.stays == "worse"
    assert record.coverage_of_90_percent[0] > record.coverage_of_90_percent[1]


def test_of_posteriors_that_are_right_a_map_changes_little_or_is_not_kept():
    for seed in range(20):
        scores, record = relearned(measured(300, seed=seed))
        assert record.stays in ("", "worse")
        if scores is not None:
            knots, true = gaussians(5000, seed=99)
            after = mapped({"": knots}, {"": scores}, np.full(len(true), 17.0))[""]
            assert coverage(after, true, np.ones(len(true)), 0.9) == pytest.approx(0.9, abs=0.06)


def test_the_loss_of_quantiles_is_least_for_the_true_ones():
    knots, true = gaussians(5000)
    losses = {factor: pinball(knots * factor, true).mean() for factor in (0.9, 1.0, 1.1)}
    assert min(losses, key=losses.get) == 1.0
    assert not is_worse(knots, knots, true, np.ones(len(true)))
    assert is_worse(knots, knots + 1, true, np.ones(len(true)))


def test_a_change_within_its_scatter_is_none():
    change = np.array([1.0, -1.0, 1.0, -1.0, 0.1])
    assert not grew(change, np.ones(5))
    assert grew(change + 2, np.ones(5))


def test_probabilities_of_classes_become_their_frequencies():
    rng = np.random.default_rng(4)
    n, names = 800, list(BPT_CLASSES)
    true = rng.integers(len(names), size=n)
    member = np.eye(len(names))[true]
    shares = 0.7 * member[rng.permutation(n)] + 0.3 / len(names)  # which know nothing
    given = dict(zip(names, shares.T, strict=True)), dict(zip(names, member.T, strict=True))
    scores, record = relearned_classes(*given, np.ones(n), np.arange(n))
    assert record.log_loss[1] < record.log_loss[0]
    assert record.log_loss[1] == pytest.approx(np.log(len(names)), abs=0.05)
    assert np.mean(scores(given[0])[names[0]]) == pytest.approx(member[:, 0].mean(), abs=0.01)
    few = [{name: each[:90] for name, each in one.items()} for one in given]
    assert relearned_classes(*few, np.ones(90), np.arange(90))[1].stays == "too few"
