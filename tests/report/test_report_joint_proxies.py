"""The joint test of proxies: it sees wrong correlations, which single proxies do not show."""

import numpy as np
import pyarrow as pa
import pytest

from targetsel.report.distributions import marginal_figures, proxy_scores
from targetsel.report.figures import ALL, Figures, Subset
from targetsel.report.joint_proxies import (
    DAWID_SEBASTIANI,
    DEPARTURE,
    DIFFERENCE,
    OBSERVED,
    STATED,
    TOGETHER,
    copula_figures,
    copula_scores,
    joint_departure,
)
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.spectra.copula import GROUP, Copula, independent_normals
from targetsel.statistics.resampling import Resampling
from tests.report.sky_by_hand import sky, with_column

N = 2000
PAIRS = ("ew_oiii and ew_halpha", "ew_oiii and d4000", "ew_halpha and d4000")


def _evaluated(folder, made):
    known = LabelledSources.read(*made.write(folder))
    resampling = Resampling(known.group_number, known.weight)
    everyone = [Subset(ALL, "", np.nan, np.ones(len(known), bool))]
    found = copula_figures(copula_scores(known), everyone, known.group_number, resampling)
    return Figures([*found, *marginal_figures(proxy_scores(known), everyone, resampling)])


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    return _evaluated(tmp_path_factory.mktemp("right"), sky(N, correlation=0.6))


@pytest.fixture(scope="module")
def uncorrelated(tmp_path_factory):
    """The same marginals and true values; the stored correlations are 0."""
    return _evaluated(tmp_path_factory.mktemp("wrong"), sky(N, correlation=0.6, stored=0.0))


def test_right_posteriors_pass_and_those_without_correlations_fail_clearly(right, uncorrelated):
    good, bad = (each.find(DEPARTURE, TOGETHER) for each in (right, uncorrelated))
    assert good.low < 0 < good.high < 0.1
    # Three pairs, twice each, are off by 0.6.
    assert bad.value == pytest.approx(np.sqrt(6 * 0.6**2 / 3), abs=0.05)
    assert bad.low > 0.7


def test_a_copula_of_few_samples_passes_as_a_gaussian_one_does(tmp_path):
    made = sky(N, correlation=0.6)
    names = ("ew_oiii", "ew_halpha", "d4000")
    copula = Copula(names, independent_normals(3, 512)[None], {})
    field = copula.noted(pa.field(GROUP, pa.int8()))
    groups = pa.array(np.zeros(len(made.scored), dtype=np.int8))
    made.scored = made.scored.append_column(field, groups)
    found = _evaluated(tmp_path, made).find(DEPARTURE, TOGETHER)
    assert found.low < 0.03
    assert found.high < 0.1


def test_stored_correlations_that_are_not_there_fail_too(tmp_path):
    found = _evaluated(tmp_path, sky(N, correlation=0.0, stored=0.6)).find(DEPARTURE, TOGETHER)
    assert found.low > 0.3


def test_single_proxies_look_the_same_whether_the_correlations_are_right(right, uncorrelated):
    for name in ("coverage 50 %", "coverage 90 %", "CRPS", "share below 0.05"):
        for of in ("ew_oiii", "ew_halpha", "d4000"):
            assert right.find(name, of) == uncorrelated.find(name, of)
    assert right.find("coverage 90 %", "d4000").value == pytest.approx(0.9, abs=0.02)


def test_observed_correlations_are_those_put_in(right, uncorrelated):
    for found, stated in ((right, 0.6), (uncorrelated, 0.0)):
        for pair in PAIRS:
            assert found.find(STATED, pair).value == pytest.approx(stated, abs=0.01)
            assert found.find(OBSERVED, pair).value == pytest.approx(0.6, abs=0.05)
            difference = found.find(DIFFERENCE, pair)
            assert (difference.low <= 0 <= difference.high) == (stated == 0.6)


def test_the_score_is_better_where_correlations_are_right_by_what_gaussians_give(
    right, uncorrelated
):
    good, bad = (each.find(DAWID_SEBASTIANI, TOGETHER) for each in (right, uncorrelated))
    # log det R + P against log det 1 + P, for errors of covariance R
    matrix = np.full((3, 3), 0.6) + 0.4 * np.eye(3)
    assert good.value == pytest.approx(np.log(np.linalg.det(matrix)) + 3, abs=0.15)
    assert bad.value == pytest.approx(3, abs=0.15)
    assert good.high < bad.low


def test_narrow_posteriors_of_right_correlations_pass_as_single_proxies_tell_them(tmp_path):
    found = _evaluated(tmp_path, sky(N, widening=1.3, correlation=0.6))
    assert found.find(DEPARTURE, TOGETHER).low < 0.05
    assert found.find("coverage 90 %", "d4000").high < 0.9


def test_sources_without_some_true_proxy_are_left_out(tmp_path):
    made = sky(N, correlation=0.6)
    values = made.truth["d4000"].to_numpy().copy()
    values[:500] = np.nan
    made.truth = with_column(made.truth, "d4000", pa.array(values))
    found = _evaluated(tmp_path, made)
    assert found.find(DEPARTURE, TOGETHER).n == N - 500
    assert found.find(STATED, PAIRS[0]).value == pytest.approx(0.6, abs=0.01)


def test_one_proxy_alone_has_no_joint_test(tmp_path):
    made = sky(100)
    made.truth = made.truth.drop_columns(["ew_oiii", "ew_halpha"])
    assert copula_scores(LabelledSources.read(*made.write(tmp_path))) is None


def test_the_departure_by_hand():
    # Of two groups only products of one with the other count: 2 S1 S2 / (2 W1 W2).
    whitened, group = np.array([[1.0, 2.0], [3.0, -1.0], [0.0, 2.0]]), np.array([7, 9, 7])
    moments = [np.outer(each, each) - np.eye(2) for each in whitened]
    first, second = (moments[0] * 1 + moments[2] * 2, moments[1] * 3)
    square = (first * second).sum() / (3 * 3) / 2
    found = joint_departure(whitened, group)(np.array([1.0, 3.0, 2.0]))
    assert found == pytest.approx(np.sign(square) * np.sqrt(abs(square)))


def test_chance_alone_makes_the_departure_as_often_negative_as_positive():
    rng = np.random.default_rng(0)
    group = np.arange(400) // 2
    found = [joint_departure(rng.normal(size=(400, 4)), group)(np.ones(400)) for _ in range(200)]
    assert 0.3 < np.mean(np.array(found) > 0) < 0.6
    assert abs(np.mean(np.sign(found) * np.square(found))) < 0.005
