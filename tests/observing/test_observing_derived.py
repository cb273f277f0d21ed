import numpy as np
import pytest
from scipy.special import ndtr

from targetsel.observing.derived import DerivedPosterior, draws
from targetsel.spectra.proxies import NORMAL_SCORES, ProxyPosterior

TWO = ProxyPosterior(
    ("a", "b"),
    {"a": 10 + 2 * NORMAL_SCORES[None], "b": 5 + NORMAL_SCORES[None]},
    {("a", "b"): np.array([0.6])},
)


def test_quantity_that_rises_with_a_proxy_has_its_score():
    tripled = DerivedPosterior.monotone("x", "a", 3 * TWO.knots("a"))
    assert tripled.quantiles[0] == pytest.approx(30 + 6 * NORMAL_SCORES)
    assert tripled.correlation("a", TWO) == 1
    assert tripled.correlation("b", TWO) == 0.6


def test_quantity_that_falls_has_its_quantiles_and_correlations_turned():
    inverse = DerivedPosterior.monotone("x", "a", -TWO.knots("a"))
    assert (np.diff(inverse.quantiles) > 0).all()
    assert inverse.correlation("b", TWO) == -0.6
    other = DerivedPosterior.monotone("y", "b", TWO.knots("b"))
    assert inverse.correlation(other, TWO) == -0.6


def test_spread_of_redshift_and_width_add_up():
    # The sum of two normals: a variance of 3^2 + 4^2, and a correlation of 4 / 5 with the second.
    redshift, (width,) = draws(1)
    summed = DerivedPosterior.drawn("x", "a", (3 * redshift + 4 * width)[None], width)
    assert summed.quantiles[0, 1:-1] == pytest.approx(5 * NORMAL_SCORES[1:-1], abs=0.3)
    assert summed.quantiles[0, [0, -1]] == pytest.approx([-12.5, 12.5], abs=0.5)  # 3 draws beyond
    assert summed.slope == pytest.approx(0.8, abs=0.01)


def test_quantities_of_two_lines_share_the_redshift_and_their_widths():
    # x = 3 z + 4 a, y = 3 z + 4 b, with a correlation of 0.6 between a and b:
    # (9 + 16 * 0.6) / 25 = 0.744.
    redshift, (a, b) = draws(2)
    x = DerivedPosterior.drawn("x", "a", (3 * redshift + 4 * a)[None], a)
    y = DerivedPosterior.drawn("y", "b", (3 * redshift + 4 * b)[None], b)
    assert x.correlation(y, TWO) == pytest.approx(0.744, abs=0.01)


def test_correlations_form_a_matrix_without_negative_eigenvalues():
    redshift, scores = draws(2)
    all_of_them = []
    for proxy, own in zip("ab", scores, strict=True):
        for k, values in enumerate((own, np.exp(own + redshift), -own + 0.1 * redshift)):
            all_of_them.append(DerivedPosterior.drawn(f"{proxy}{k}", proxy, values[None], own))
    names = ["a", "b", *all_of_them]
    matrix = np.eye(len(names))
    for i, one in enumerate(names):
        for j, two in enumerate(names[:i]):
            if isinstance(one, str):
                matrix[i, j] = matrix[j, i] = 0.6
            else:
                matrix[i, j] = matrix[j, i] = one.correlation(two, TWO)[0]
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


def test_source_without_redshift_has_no_posterior():
    _, (width,) = draws(1)
    nothing = DerivedPosterior.drawn("x", "a", np.full((1, len(width)), np.nan), width)
    assert np.isnan(nothing.quantiles).all()


def test_draws_are_spread_as_normals_are():
    redshift, scores = draws(3)
    for each in (redshift, *scores):
        assert np.quantile(ndtr(each), [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.01)
