"""Probabilities of classes that exclude one another, made to come true."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from targetsel.latents.class_calibration import FEWEST_MEMBERS, FLOOR, ClassMap

NAMES = ("one", "two", "three")


def known(n=6000, slope=0.6, offsets=(0.5, -0.3, -0.2)):
    """Shares, and true classes drawn with probabilities that are another function of them."""
    rng = np.random.default_rng(8)
    shares = rng.dirichlet([1.0, 0.7, 0.4], n)
    odds = (shares + FLOOR) ** slope * np.exp(offsets)
    drawn = rng.random(n)[:, None] > np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)
    true = np.eye(3)[np.minimum(drawn.sum(axis=1), 2)]
    return dict(zip(NAMES, shares.T, strict=True)), dict(zip(NAMES, true.T, strict=True))


def test_the_map_that_classes_were_drawn_by_is_found():
    shares, true = known()
    found = ClassMap.fit(shares, true, np.ones(6000))
    assert found.slope == pytest.approx(0.6, abs=0.05)
    assert found.offsets == pytest.approx([0.5, -0.3, -0.2], abs=0.07)


def test_what_is_expected_of_each_class_is_what_there_is():
    shares, true = known()
    weight = np.random.default_rng(1).uniform(0.2, 2, 6000)
    probability = ClassMap.fit(shares, true, weight)(shares)
    assert sum(probability.values()) == pytest.approx(np.ones(6000))
    for name in NAMES:
        assert weight @ probability[name] == pytest.approx(weight @ true[name], rel=1e-3)


def test_a_logistic_regression_by_another_library_agrees():
    """For two classes: its slope is on the logarithm of their odds."""
    shares, true = known()
    two = {name: shares[name] / (shares["one"] + shares["two"]) for name in ("one", "two")}
    rows = true["three"] == 0
    two = {name: values[rows] for name, values in two.items()}
    member = {name: true[name][rows] for name in ("one", "two")}
    found = ClassMap.fit(two, member, np.ones(rows.sum()))
    odds = np.log((two["one"] + FLOOR) / (two["two"] + FLOOR))[:, None]
    other = LogisticRegression(C=1e9).fit(odds, member["one"])
    assert found.slope == pytest.approx(other.coef_[0, 0], rel=1e-3)
    assert np.subtract(*found.offsets) == pytest.approx(other.intercept_[0], abs=1e-3)


def test_unknown_shares_stay_unknown_and_take_no_part():
    shares, true = known()
    expected = ClassMap.fit(shares, true, np.ones(6000))
    more = {name: np.append(values, np.nan) for name, values in shares.items()}
    found = ClassMap.fit(more, {n: np.append(v, 0) for n, v in true.items()}, np.ones(6001))
    assert found.slope == expected.slope
    assert np.isnan(found(more)["one"][-1])
    assert np.isfinite(found(more)["one"][:-1]).all()


def test_a_class_of_too_few_members_forbids_a_map():
    shares, true = known()
    few = np.flatnonzero(true["three"])[FEWEST_MEMBERS - 1 :]
    keep = np.setdiff1d(np.arange(6000), few)
    part, member = ({n: v[keep] for n, v in each.items()} for each in (shares, true))
    assert ClassMap.fit(part, member, np.ones(len(keep))) is None


def test_a_map_is_read_as_it_was_written_and_not_for_other_classes():
    found = ClassMap.fit(*known(), np.ones(6000))
    again = ClassMap.from_card(found.to_card(), NAMES)
    assert again.slope == found.slope
    assert (again.offsets == found.offsets).all()
    with pytest.raises(ValueError, match="classes are one, two, three, expected one, four"):
        ClassMap.from_card(found.to_card(), ("one", "four"))
