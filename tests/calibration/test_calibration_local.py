"""Intervals hold what they claim for each kind of sources, where shifts and scales are local."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from targetsel.calibration.conformal import BinnedCurve
from targetsel.calibration.local import LocalScores
from targetsel.calibration.proxies import ScoreMap, calibrated
from targetsel.spectra.proxies import NORMAL_SCORES, ProxyPosterior

NAMES = ("ew_halpha", "d4000")
SAME = {name: ScoreMap(*(BinnedCurve(np.zeros(1), NORMAL_SCORES[None]),) * 2) for name in NAMES}


class Sky:
    """Gaussian predictions of two proxies, whose first has errors that depend on both medians.

    They are wider than predicted where both medians, which scatter about zero, have one sign, and
    narrower where they have not: no function of one median or of magnitude.
    """

    def __init__(self, n: int, seed: int, honest: bool = False):
        rng = np.random.default_rng(seed)
        self.medians = rng.normal(size=(n, 2))
        self.magnitude = rng.uniform(15, 19, n)
        self.product = np.arcsinh(self.medians).prod(axis=1)
        scale = 1.0 if honest else np.exp(0.6 * self.product)
        first = self.medians[:, 0] + 0.3 * scale * rng.normal(size=n)
        second = self.medians[:, 1] + 0.3 * rng.normal(size=n)
        self.true = dict(zip(NAMES, (first, second), strict=True))
        self.knots = {
            name: self.medians[:, k, None] + 0.3 * NORMAL_SCORES for k, name in enumerate(NAMES)
        }

    def fitted(self, names=NAMES, group=None) -> LocalScores:
        n = len(self.magnitude)
        group = np.arange(n) if group is None else group
        true = {name: self.true[name] for name in names}
        return LocalScores.fit(self.knots, true, self.magnitude, group, np.ones(n))

    def posterior(self) -> ProxyPosterior:
        pair = {NAMES: np.zeros(len(self.magnitude))}
        return ProxyPosterior(NAMES, self.knots, pair)

    def inside(self, posterior: ProxyPosterior, share: float) -> np.ndarray:
        below = posterior.probability_below("ew_halpha", self.true["ew_halpha"])
        return np.abs(below - 0.5) < share / 2


@pytest.fixture(scope="module")
def fitted():
    return Sky(20_000, 1).fitted()


@pytest.fixture(scope="module")
def others():
    return Sky(8000, 2)


@pytest.mark.parametrize("share", [0.68, 0.9])
def test_intervals_of_other_sources_hold_what_they_claim_in_every_place(fitted, others, share):
    before = others.inside(others.posterior(), share)
    after = others.inside(calibrated(others.posterior(), SAME, others.magnitude, fitted), share)
    for place in (others.product > 0.5, others.product < -0.5, np.abs(others.product) < 0.3):
        assert after[place].mean() == pytest.approx(share, abs=0.035)
    assert before[others.product > 0.5].mean() < share - 0.15
    assert before[others.product < -0.5].mean() > share + 0.05
    assert after.mean() == pytest.approx(share, abs=0.015)


def test_honest_predictions_are_hardly_moved():
    sky = Sky(8000, 3, honest=True)
    maps = sky.fitted().maps(sky.knots, sky.magnitude)
    for each in maps.values():
        moved = each(np.tile([-1.5, 0.0, 1.5], (8000, 1)), sky.medians[:, 0], sky.magnitude)
        assert np.sqrt(((moved - [-1.5, 0.0, 1.5]) ** 2).mean()) < 0.08


def test_few_sources_correct_little():
    sky = Sky(400, 4)
    maps = sky.fitted().maps(sky.knots, sky.magnitude)
    scale = maps["ew_halpha"].scale
    assert 0.0 < np.log(scale).std() < 0.15  # 0.38 would be right


def test_quantiles_are_read_at_the_scores_of_the_map(fitted, others):
    moved = calibrated(others.posterior(), SAME, others.magnitude, fitted).knots("ew_halpha")
    maps = fitted.maps(others.knots, others.magnitude)["ew_halpha"]
    scores = (moved - others.medians[:, :1]) / 0.3
    at = np.tile(NORMAL_SCORES, (len(moved), 1))
    np.testing.assert_allclose(
        scores, maps(at, others.medians[:, 0], others.magnitude), rtol=1e-7, atol=1e-7
    )


def test_the_moved_posterior_of_a_source_does_not_depend_on_its_neighbours(fitted):
    sky = Sky(9, 6)
    whole = calibrated(sky.posterior(), SAME, sky.magnitude, fitted)
    one = slice(4, 5)
    alone = calibrated(sky.posterior().take(one), SAME, sky.magnitude[one], fitted)
    for name in NAMES:
        assert np.array_equal(whole.knots(name)[one], alone.knots(name))


def test_a_proxy_without_a_truth_is_left_as_it_is():
    sky = Sky(2000, 7)
    only = sky.fitted(names=("ew_halpha",))
    after = calibrated(sky.posterior(), SAME, sky.magnitude, only)
    plain = calibrated(sky.posterior(), SAME, sky.magnitude)
    assert np.array_equal(after.knots("d4000"), plain.knots("d4000"))
    assert not np.array_equal(after.knots("ew_halpha"), plain.knots("ew_halpha"))


def test_what_is_not_known_of_a_source_is_taken_for_the_middle(fitted):
    sky = Sky(3, 8)
    sky.magnitude[0] = np.nan
    sky.knots["d4000"][1] = np.nan
    maps = fitted.maps(sky.knots, sky.magnitude)
    assert all(np.isfinite(each.shift + each.scale).all() for each in maps.values())
    sky.magnitude[0] = fitted.centre[-1]
    same = fitted.maps(sky.knots, sky.magnitude)["ew_halpha"]
    assert same.scale[0] == maps["ew_halpha"].scale[0]


def test_sources_of_one_group_do_not_vouch_for_themselves():
    # Groups of 40 alike sources with errors of their own, which no feature foretells.
    sky, rng = Sky(4000, 9, honest=True), np.random.default_rng(10)
    group = np.arange(4000) // 40
    for values in (sky.medians, *sky.knots.values(), *sky.true.values(), sky.magnitude):
        values[:] = values[group * 40]
    sky.true["ew_halpha"] += 0.3 * rng.normal(size=100)[group]
    together, apart = sky.fitted(group=group), sky.fitted()
    half = [each.quantiles["ew_halpha"][-2] for each in (together, apart)]
    assert half[0] > 1.1 * half[1]


def test_it_is_read_as_it_was_written_and_refused_in_pieces(fitted):
    kind = TypeAdapter(LocalScores)
    written = kind.dump_json(fitted)
    again = kind.validate_json(written)
    assert kind.dump_json(again) == written
    whole = kind.dump_python(fitted, mode="json")
    for name, value in (("names", ["d4000"]), ("quantiles", {}), ("spread", [0.0] * 5)):
        with pytest.raises(ValidationError, match="local calibration"):
            kind.validate_python(whole | {name: value})
