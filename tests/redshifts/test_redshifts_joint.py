"""The joint posterior of lines and redshift at a new redshift, against draws."""

import numpy as np
import pytest
from scipy.stats import norm

from targetsel.redshifts.distributions import SCORES, of_mixtures, of_values
from targetsel.redshifts.joint import product, updated
from targetsel.spectra.proxies import NORMAL_SCORES, ProxyPosterior

R = {"ew": 0.8, "d4000": -0.5}
BETWEEN_LINES = -0.3
Z, SPREAD = 0.2, 0.05


def posterior(n=1, photoz=True):
    """Two lines that are standard normals, and a redshift of 0.2 +- 0.05."""
    knots = {name: np.tile(NORMAL_SCORES, (n, 1)) for name in R}
    correlation = {("ew", "d4000"): np.full(n, BETWEEN_LINES)}
    if photoz:
        knots["photoz"] = np.tile(Z + SPREAD * NORMAL_SCORES, (n, 1))
        correlation |= {(name, "photoz"): np.full(n, r) for name, r in R.items()}
    return ProxyPosterior(tuple(knots), knots, correlation)


def values(z, error):
    return of_values(np.array([z]), np.array([error]))


def test_the_images_own_redshift_changes_nothing():
    found = updated(posterior(), values(Z, SPREAD)).posterior
    for name in R:
        assert found.knots(name)[0] == pytest.approx(NORMAL_SCORES, abs=0.04)
        assert found.correlation[name, "photoz"][0] == pytest.approx(R[name], abs=0.01)
    assert found.correlation["ew", "d4000"][0] == pytest.approx(BETWEEN_LINES, abs=0.01)


def test_a_redshift_that_is_certain_leaves_what_the_image_shows_there():
    found = updated(posterior(), values(Z + SPREAD, 1e-5)).posterior
    for name, r in R.items():
        assert found.quantile(name, 0.5)[0] == pytest.approx(r, abs=0.01)
        assert found.std(name)[0] == pytest.approx(np.sqrt(1 - r**2), abs=0.01)
        assert found.correlation[name, "photoz"][0] == pytest.approx(0.0, abs=0.01)
    partial = (BETWEEN_LINES - R["ew"] * R["d4000"]) / np.sqrt((1 - 0.64) * (1 - 0.25))
    assert found.correlation["ew", "d4000"][0] == pytest.approx(partial, abs=0.01)


@pytest.mark.parametrize(
    ("z", "error", "within"),
    [(0.22, 0.03, 0.01), (0.15, 0.02, 0.01), (0.3, 0.05, 0.02)],  # the last where it says little
)
def test_probabilities_are_those_of_a_million_draws(z, error, within):
    found = updated(posterior(), values(z, error)).posterior
    rng = np.random.default_rng(20261130)
    drawn = np.maximum(z + error * rng.normal(size=1_000_000), 0)
    score = np.clip((drawn - Z) / SPREAD, -2.5, 2.5)
    rest = np.linalg.cholesky(
        [[1 - 0.64, BETWEEN_LINES + 0.4], [BETWEEN_LINES + 0.4, 1 - 0.25]]
    ) @ rng.normal(size=(2, len(drawn)))
    lines = {name: r * score + each for (name, r), each in zip(R.items(), rest, strict=True)}
    lines["photoz"] = drawn
    for one, two in (("ew", "photoz"), ("d4000", "photoz"), ("ew", "d4000")):
        for low, high in ((0.5, 0.5), (0.2, 0.7)):
            a, b = np.quantile(lines[one], low), np.quantile(lines[two], high)
            true = ((lines[one] > a) & (lines[two] > b)).mean()
            box = {one: (found.score(one, a), None), two: (found.score(two, b), None)}
            assert found.probability_inside(box)[0] == pytest.approx(true, abs=within)


def test_a_source_of_which_nothing_new_is_known_stays():
    both = updated(posterior(2), np.concatenate([values(0.3, 0.01), values(np.nan, 1.0)]))
    assert both.origin.tolist() == ["elsewhere", "image"]
    assert (both.posterior.knots("ew")[1] == NORMAL_SCORES).all()
    assert both.posterior.correlation["ew", "photoz"][1] == R["ew"]


def test_a_source_depends_on_itself_alone():
    given = np.concatenate([values(0.3, 0.01), values(0.2, 0.02)])
    both, alone = updated(posterior(2), given), updated(posterior(1), given[1:])
    for name in ("ew", "photoz"):
        assert (both.posterior.knots(name)[1] == alone.posterior.knots(name)[0]).all()


def test_a_catalog_without_redshifts_gets_them_independent_of_its_lines():
    found = updated(posterior(photoz=False), values(0.3, 0.01))
    assert found.posterior.knots("photoz")[0] == pytest.approx(0.3 + 0.01 * NORMAL_SCORES)
    assert found.posterior.correlation["ew", "photoz"][0] == 0.0
    assert (found.posterior.knots("ew")[0] == NORMAL_SCORES).all()


def test_the_product_of_two_gaussians_is_the_gaussian_of_the_weighted_mean():
    found = product(values(0.24, 0.05), (Z + SPREAD * NORMAL_SCORES)[None])[0]
    assert found == pytest.approx(norm.ppf(norm.cdf(SCORES), 0.22, 0.05 / np.sqrt(2)), abs=2e-3)


def test_redshifts_that_have_nothing_in_common_leave_none():
    found = updated(posterior(), values(3.0, 0.01), combine=True)
    assert found.origin.tolist() == ["disagree"]
    assert np.isnan(found.posterior.knots("photoz")).all()


def test_a_second_peak_that_the_image_excludes_goes():
    given = of_mixtures([[0.5, 0.5]], [[0.2, 0.8]], [[0.02, 0.02]], ["a"])
    found = updated(posterior(), given, combine=True)
    assert found.origin.tolist() == ["both"]
    assert found.posterior.quantile("photoz", 0.99)[0] < 0.3
