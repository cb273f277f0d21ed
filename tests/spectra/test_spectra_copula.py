"""Copulas of samples: that they say how proxies go together, whoever asks for what."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import ndtri
from scipy.stats import multivariate_normal, rankdata

from targetsel.errors import CatalogError
from targetsel.spectra.copula import GROUP, Complex, Copula, independent_normals, stored_copula
from targetsel.spectra.proxies import INDEPENDENT, NORMAL_SCORES, ProxyPosterior

NAMES = ("a", "b", "c")
SAMPLES = 4096
GAUSSIAN = Copula(NAMES, independent_normals(3, SAMPLES)[None], {})


def posterior_of(correlation: np.ndarray, copula: Copula | None, group=0) -> ProxyPosterior:
    """Proxies whose values are their normal scores."""
    n = len(correlation)
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    groups = np.broadcast_to(group, n)
    return ProxyPosterior(
        NAMES,
        {name: np.tile(NORMAL_SCORES, (n, 1)) for name in NAMES},
        {pair: correlation[:, k] for k, pair in enumerate(pairs)},
        copula,
        (lambda: groups) if copula else None,
    )


SOME = np.array([[0.0, 0.0, 0.0], [0.8, 0.5, 0.3], [-0.6, 0.2, -0.7]])


def test_samples_of_a_gaussian_give_the_probabilities_of_a_gaussian_copula():
    high = np.full(3, 0.4), None
    box = {"a": (np.full(3, -0.3), None), "c": high[::-1]}
    plain = posterior_of(SOME, None).probability_inside(box)
    sampled = posterior_of(SOME, GAUSSIAN).probability_inside(box)
    for k, rho in enumerate(SOME[:, 1] * (1 - INDEPENDENT)):
        both = multivariate_normal([0, 0], [[1, -rho], [-rho, 1]]).cdf([0.3, 0.4])
        assert plain[k] == pytest.approx(both, abs=1e-4)
        assert sampled[k] == pytest.approx(both, abs=4e-3)


def test_marginals_are_those_of_the_quantiles_whatever_the_samples():
    rng = np.random.default_rng(1)
    odd = Copula(NAMES, rng.exponential(2.0, (1, 3, 1000)) - 1, {})
    for scores in posterior_of(SOME, odd).draw_scores(NAMES).values():
        assert np.allclose(np.sort(scores), ndtri((np.arange(1000) + 0.5) / 1000))


def test_dependence_that_no_correlation_describes_is_kept():
    rng = np.random.default_rng(2)
    size = rng.standard_normal(SAMPLES)
    pair = np.stack([size, np.abs(size) + 0.1 * rng.standard_normal(SAMPLES)])
    scores = ndtri((rankdata(pair, axis=1) - 0.5) / SAMPLES)
    copula = Copula(("a", "b"), scores[None], {})
    box = {"a": (np.full(3, -0.5), np.full(3, 0.5)), "b": (np.full(3, 0.5), None)}
    found = posterior_of(np.zeros((3, 3)), copula).probability_inside(box)
    inside = (np.abs(scores[0]) < 0.5) & (scores[1] > 0.5)
    assert found == pytest.approx(inside.mean(), abs=1e-3)
    independent = posterior_of(np.zeros((3, 3)), None).probability_inside(box)
    assert (found < independent / 3).all()


def test_scores_depend_on_the_source_alone_not_on_rows_beside_it_or_on_other_names():
    rng = np.random.default_rng(3)
    copula = Copula(NAMES, rng.standard_normal((2, 3, 500)), {})
    group = np.array([1, 0, 1])
    whole = posterior_of(SOME, copula, group)
    for row in range(3):
        alone = whole.take(np.array([row])).draw_scores(("c", "a"))
        for name in ("c", "a"):
            assert np.array_equal(alone[name][0], whole.draw_scores(NAMES)[name][row])


def test_a_complex_is_the_sum_of_its_parts_and_a_rest():
    rng = np.random.default_rng(4)
    rests = 0.001 * rng.standard_normal((1, 2000))
    whole = Complex(("a", "b"), np.array([[0.5, 1.0, 2.0]]), rests)
    copula = Copula(("a", "b"), rng.standard_normal((1, 2, 2000)), {"c": whole})
    rho = np.array([[0.5, 0.9, 0.8]])
    flat = posterior_of(rho, copula)
    spread = np.sqrt(1 + 4 + 2 * 2 * 0.5)
    knots = dict(flat.quantiles) | {"c": 0.5 + spread * NORMAL_SCORES[None]}
    posterior = ProxyPosterior(NAMES, knots, flat.correlation, copula, flat.group)
    draws = posterior.draw(("c", "a", "b"))
    rest = draws["c"] - 0.5 - draws["a"] - 2 * draws["b"]
    assert np.abs(rest).max() < 0.1
    plain = ProxyPosterior(NAMES, knots, flat.correlation).draw(("c", "a", "b"))
    assert (plain["c"] - 0.5 - plain["a"] - 2 * plain["b"]).std() > 0.5


def test_other_quantities_go_along_with_the_proxies_of_the_copula():
    rng = np.random.default_rng(5)
    copula = Copula(("a",), rng.standard_normal((1, 1, 1000)), {})
    follows = np.array([[1.0, 0.0, 0.0]])
    scores = posterior_of(follows, copula).draw_scores(("b", "a"))
    assert np.abs(scores["a"] - scores["b"]).max() < 0.1


def test_a_source_without_a_group_has_no_joint_probability_but_that_of_single_proxies():
    posterior = posterior_of(SOME, GAUSSIAN, np.array([0, -1, 7]))
    box = {"a": (np.zeros(3), None), "b": (np.zeros(3), None)}
    assert list(np.isnan(posterior.probability_inside(box))) == [False, True, True]
    assert posterior.probability_below("a", 0.0) == pytest.approx([0.5] * 3)


def test_a_single_proxy_needs_neither_the_copula_nor_correlations():
    posterior = posterior_of(SOME, GAUSSIAN)
    alone = ProxyPosterior(NAMES, posterior.quantiles, {}, posterior.copula, posterior.group)
    plain = ProxyPosterior(NAMES, posterior.quantiles, {})
    assert np.array_equal(alone.draw(("c",), 64)["c"], plain.draw(("c",), 64)["c"])


def test_what_is_stored_gives_the_same_scores():
    rng = np.random.default_rng(6)
    whole = Complex(("a",), np.array([[0.5, 1.0], [0.1, 1.2]]), rng.normal(0, 0.01, (2, 300)))
    copula = Copula(("a", "b"), rng.standard_normal((2, 2, 300)), {"c": whole})
    once = stored_copula(copula.noted(pa.field(GROUP, pa.int8())))
    twice = stored_copula(once.noted(pa.field(GROUP, pa.int8())))
    assert np.abs(once.whitened - copula.whitened).max() <= 0.021
    assert np.abs(once.complexes["c"].rests - whole.rests).max() < 1e-4
    assert np.array_equal(once.whitened, twice.whitened)
    assert stored_copula(pa.field(GROUP, pa.int8())) is None


@pytest.mark.parametrize(
    "change",
    [
        {"scores": "AAA"},
        {"scores": "AA=="},
        {"names": ["a", "a"]},
        {"groups": 0},
        {"groups": 7},
        {"names": 3},
        {"complexes": {"c": {"parts": ["d"], "terms": [[0, 1]], "rests": ""}}},
        {"complexes": []},
    ],
)
def test_a_damaged_copula_is_named(change):
    card = Copula(("a", "b"), np.zeros((1, 2, 30)), {}).to_card() | change
    field = pa.field(GROUP, pa.int8(), metadata={b"copula": json.dumps(card).encode()})
    with pytest.raises(CatalogError, match=f"column '{GROUP}': its metadata describe no copula"):
        stored_copula(field)


def test_a_lost_copula_is_said_where_it_is_needed_and_only_there():
    lost = posterior_of(SOME, GAUSSIAN)
    lost = ProxyPosterior(NAMES, lost.quantiles, lost.correlation, None, lost.group)
    one = {"a": (np.zeros(3), None)}
    assert lost.probability_inside(one) == pytest.approx([0.5] * 3)
    with pytest.raises(CatalogError, match="Restore it from the original"):
        lost.probability_inside(one | {"b": (np.zeros(3), None)})
