"""Probabilities of classes that exclude one another, made to come true."""

import json

import numpy as np
import pytest
from pydantic import TypeAdapter
from sklearn.linear_model import LogisticRegression

from targetsel.calibration.proxies import FEWEST_MEMBERS, FLOOR, ClassMap

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
    shares, true = known(40_000)
    found = ClassMap.fit(shares, true, np.ones(40_000))(shares)
    odds = (np.stack([shares[name] for name in NAMES], 1) + FLOOR) ** 0.6 * np.exp(
        (0.5, -0.3, -0.2)
    )
    drawn_by = odds / odds.sum(axis=1, keepdims=True)
    for name, expected in zip(NAMES, drawn_by.T, strict=True):
        assert np.abs(found[name] - expected).mean() < 0.01


def test_high_probabilities_come_true_where_the_map_is_no_power():
    """Certainty grows faster than any power of the share: half is still even odds."""
    rng = np.random.default_rng(3)
    share = rng.uniform(0.01, 0.99, 40_000)
    chance = np.where(share < 0.5, 2 * share**2, 1 - 2 * (1 - share) ** 2)
    one = (rng.random(40_000) < chance).astype(float)
    shares = {"one": share, "two": 1 - share}
    found = ClassMap.fit(shares, {"one": one, "two": 1 - one}, np.ones(40_000))(shares)["one"]
    for low in (0.05, 0.2, 0.4, 0.6, 0.8):
        rows = (found >= low) & (found < low + 0.15)
        assert found[rows].mean() == pytest.approx(one[rows].mean(), abs=0.02), low


def test_what_is_expected_of_each_class_is_what_there_is():
    shares, true = known()
    weight = np.random.default_rng(1).uniform(0.2, 2, 6000)
    probability = ClassMap.fit(shares, true, weight)(shares)
    assert sum(probability.values()) == pytest.approx(np.ones(6000))
    for name in NAMES:
        assert weight @ probability[name] == pytest.approx(weight @ true[name], rel=1e-3)


def test_a_logistic_regression_by_another_library_agrees():
    shares, true = known()
    two = {name: shares[name] / (shares["one"] + shares["two"]) for name in ("one", "two")}
    rows = true["three"] == 0
    two = {name: values[rows] for name, values in two.items()}
    member = {name: true[name][rows] for name in ("one", "two")}
    found = ClassMap.fit(two, member, np.ones(rows.sum()))(two)["one"]
    logs = np.log(np.stack([two["one"], two["two"]], axis=1) + FLOOR)
    powers = np.concatenate([logs, logs**2, logs**3], axis=1)
    other = LogisticRegression(C=1e9, tol=1e-10, max_iter=100_000).fit(powers, member["one"])
    assert found == pytest.approx(other.predict_proba(powers)[:, 1], abs=0.01)


def test_unknown_shares_stay_unknown_and_take_no_part():
    shares, true = known()
    expected = ClassMap.fit(shares, true, np.ones(6000))
    more = {name: np.append(values, np.nan) for name, values in shares.items()}
    found = ClassMap.fit(more, {n: np.append(v, 0) for n, v in true.items()}, np.ones(6001))
    for name, each in expected.coefficients.items():
        assert (found.coefficients[name] == each).all()
    assert np.isnan(found(more)["one"][-1])
    assert np.isfinite(found(more)["one"][:-1]).all()


def test_a_class_of_too_few_members_forbids_a_map():
    shares, true = known()
    few = np.flatnonzero(true["three"])[FEWEST_MEMBERS - 1 :]
    keep = np.setdiff1d(np.arange(6000), few)
    part, member = ({n: v[keep] for n, v in each.items()} for each in (shares, true))
    assert ClassMap.fit(part, member, np.ones(len(keep))) is None


def test_a_map_comes_back_from_its_json_sorted_by_name():
    shares, true = known()
    found = ClassMap.fit(shares, true, np.ones(6000))
    adapter = TypeAdapter(ClassMap)
    written = adapter.dump_python(found, mode="json")
    again = adapter.validate_json(json.dumps(written, sort_keys=True), strict=True)
    for name, probability in again(shares).items():
        assert (probability == found(shares)[name]).all()
    with pytest.raises(ValueError, match="a class has not 4 coefficients"):
        ClassMap({"one": [1.0, 2.0]})
