"""The claims that a seed draws: what they cover, and that classes are those of the diagrams."""

import numpy as np
import pyarrow as pa
import pytest

from targetsel.documents.source_location import SourceLocation
from targetsel.expressions.grammar import Branch
from targetsel.report.drawn_claims import BPT, KINDS, LEVELS, WHAN, drawn_claims
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.selection.claims import comes_true
from targetsel.selection.sources import Sources
from targetsel.spectra.lines import (
    BPT_PROXIES,
    PROXIES,
    bpt_probabilities,
    whan_probabilities,
)
from targetsel.spectra.proxies import NORMAL_SCORES, Proxies
from tests.selection.scored_by_hand import posterior_columns

N = 3000


@pytest.fixture(scope="module")
def true():
    """Values of all proxies, many near the limits of classes and some negative."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(1.5, 4, N) for name in PROXIES}
    return values | {"d4000": rng.uniform(1, 2, N)}


@pytest.fixture(scope="module")
def comes_out(true):
    """Whether a condition holds for the true values, by the grammar of rules."""
    quantiles = np.zeros((N, len(PROXIES), len(NORMAL_SCORES)))
    columns = posterior_columns(
        PROXIES, quantiles, np.zeros((N, len(PROXIES) * (len(PROXIES) - 1) // 2)), np.ones(N, bool)
    )
    fields, arrays = zip(*columns, strict=True)
    medians = [pa.field(name, pa.float32()) for name in PROXIES]
    schema = pa.schema([*fields, *medians])
    table = pa.table([*arrays, *(pa.array(true[n], pa.float32()) for n in PROXIES)], schema=schema)

    def comes_out(condition):
        place = SourceLocation("--claim", source=condition)
        binder = Binder(CatalogColumns(schema))
        formula = binder.number(Branch(place, "P", (parse(condition, place),)))
        return comes_true(formula.condition, Sources(table), true)

    return comes_out


def _drawn(true, seed=0, kinds=tuple(KINDS)):
    return drawn_claims(true, np.ones(N), seed, kinds)


@pytest.mark.parametrize(
    ("conditions", "shares"), [(BPT, bpt_probabilities), (WHAN, whan_probabilities)]
)
def test_conditions_of_classes_are_those_of_the_diagrams(true, comes_out, conditions, shares):
    values = np.stack([true[name] for name in BPT_PROXIES], axis=1)[:, None]
    expected = shares(Proxies(np.arange(N), BPT_PROXIES, values))
    assert conditions.keys() == expected.keys()
    for name, condition in conditions.items():
        assert 10 < expected[name].sum() < N - 10
        assert comes_out(condition).tolist() == (expected[name] > 0.5).tolist(), name


def test_limits_are_the_quantiles_of_the_true_values(true, comes_out):
    for claim in _drawn(true, kinds=("single line", "sum", "difference", "rest of a complex")):
        share = comes_out(claim.condition).mean()
        assert min(abs(share - level) for level in (*LEVELS, *(1 - np.array(LEVELS)))) < 0.002


def test_every_proxy_has_each_level_and_every_pair_its_turn(true):
    found = _drawn(true)
    singles = [each.condition.split()[0] for each in found if each.kind == "single line"]
    assert {name: singles.count(name) for name in PROXIES} == dict.fromkeys(PROXIES, 3)
    for kind in ("and", "or", "sum", "difference"):
        pairs = {
            frozenset(name for name in PROXIES if name in each.condition.split())
            for each in found
            if each.kind == kind
        }
        assert len(pairs) == len(PROXIES) * (len(PROXIES) - 1) / 2
        assert {len(pair) for pair in pairs} == {2}


def test_ratios_are_of_emission_lines_with_strong_denominators(true, comes_out):
    found = _drawn(true, kinds=("ratio",))
    assert len(found) == 7 * 6 / 2
    for each in found:
        below = each.condition.split(" / ")[1].split()[0]
        assert below.startswith("ew_")
        assert comes_out(f"{each.condition} and {below} <= 0").sum() == 0
        assert comes_out(each.condition).mean() < 0.31


def test_the_halpha_complex_less_its_lines_is_among_the_claims(true):
    found = _drawn(true, kinds=("rest of a complex",))
    assert len(found) == 3
    for each in found:
        assert each.condition.startswith("ew_halpha_nii - ew_halpha - ew_nii ")


def test_a_seed_draws_the_same_claims_of_a_kind_whatever_others_are_asked(true):
    alone = _drawn(true, 5, ("ratio",))
    assert alone == [each for each in _drawn(true, 5) if each.kind == "ratio"]
    assert alone != _drawn(true, 6, ("ratio",))


def test_weights_move_the_limits():
    values, weight = np.arange(5.0), np.array([1.0, 1, 1, 1, 100])
    for claim in drawn_claims({"d4000": values}, weight, 0, ("single line",)):
        assert float(claim.condition.split()[-1]) > 3


def test_a_proxy_that_was_never_measured_is_in_no_claim(true):
    found = _drawn(true | {"d4000": np.full(N, np.nan)})
    assert found
    assert not any("d4000" in each.condition for each in found)
    assert not {"BPT", "WHAN"} & {each.kind for each in found}
