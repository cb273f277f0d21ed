"""Slim rows: what is rounded, by how much, and what stays as it is."""

import numpy as np
import pytest

from targetsel.scored.columns import LATENTS
from targetsel.scored.slim import CORRELATION_STEP, IN_BITS, is_slim, slimmed, to_bits, to_step
from targetsel.spectra.lines import BPT_CLASSES, PROXIES
from targetsel.spectra.proxies import CORRELATION, NORMAL_SCORES, QUANTILES

N = 50


def full(std=None, correlation=0.3):
    """Values of rows whose posteriors are Gaussians of these standard deviations."""
    rng = np.random.default_rng(3)
    std = rng.lognormal(0, 3, N) if std is None else np.full(N, float(std))
    values = {name: np.ones((N, 3)) for name in LATENTS}
    for k, name in enumerate(PROXIES):
        knots = rng.normal(0, 5, N)[:, None] * std[:, None] + std[:, None] * NORMAL_SCORES
        for end, place in (("", 5), ("_q16", 3), ("_q84", 7)):
            values[name + end] = knots[:, place]
        values |= {f"{name}_std": std, name + QUANTILES: knots}
        if k:
            values[name + CORRELATION] = np.full((N, k), correlation)
    shares = ("epistemic", "typicality", "typicality_features", "typicality_image", *BPT_CLASSES)
    values |= {name: rng.uniform(size=N) for name in shares}
    return values | {"cutout_mag": rng.normal(20, 2, N), "status": np.full(N, "ok", dtype=object)}


def test_values_are_rounded_to_powers_of_two_of_their_standard_deviation():
    values = full(std=1.0)
    values["d4000"][:2] = 0.3, -0.02
    assert slimmed(values)["d4000"][:2].tolist() == [10 / 32, -1 / 32]
    values = full(std=10.0)  # 10 / 32 is above 1 / 4
    values["d4000"][:2] = 7.3, 0.1
    assert slimmed(values)["d4000"][:2].tolist() == [7.25, 0.0]


def test_nothing_moves_by_more_than_a_64th_of_its_standard_deviation_and_quantiles_never_fall():
    values = full()
    found = slimmed(values)
    for name in PROXIES:
        most = values[f"{name}_std"] / 64
        for end in ("", "_q16", "_q84"):
            assert (np.abs(found[name + end] - values[name + end]) <= most).all()
        moved = np.abs(found[name + QUANTILES] - values[name + QUANTILES])
        assert (moved <= most[:, None]).all()
        assert moved.any()
        assert (np.diff(found[name + QUANTILES], axis=1) >= 0).all()
        assert (found[name + QUANTILES][:, 5] == found[name]).all()


def test_deviations_and_shares_keep_eight_significant_bits():
    assert to_bits(np.array([1 / 3, 1.0, 0.0, -1000.0]), 8).tolist() == [171 / 512, 1, 0, -1000]
    values = full()
    found = slimmed(values)
    for name in IN_BITS:
        assert (np.abs(found[name] - values[name]) <= values[name] / 256).all(), name


def test_correlations_are_rounded_unless_they_were_those_of_no_distribution_then():
    assert (slimmed(full(correlation=0.3))["d4000_correlation"] == 307 * CORRELATION_STEP).all()
    close = slimmed(full(correlation=0.9997))["d4000_correlation"]  # 1023.7 of 1024
    assert (close == 0.9997).all()


def test_slim_rows_lack_the_latents_alone_and_the_rest_stays():
    values = full()
    found = slimmed(values)
    assert [*found] == [name for name in values if name not in LATENTS]
    for name in ("cutout_mag", "status"):
        assert found[name] is values[name]


def test_rows_without_a_prediction_stay_without():
    values = full()
    for each in values.values():
        if each.dtype == float:
            each[0] = np.nan
    found = slimmed(values)
    for name in (*IN_BITS, *PROXIES, "ew_nii_quantiles", "ew_nii_correlation"):
        assert np.isnan(found[name][0]).all(), name
        assert np.isfinite(found[name][1:]).all(), name


def test_a_posterior_without_scatter_stays_as_it_is():
    assert to_step(np.array([0.1]), 0.0).tolist() == [0.1]
    assert (slimmed(full(std=0.0))["d4000"] == full(std=0.0)["d4000"]).all()


@pytest.mark.parametrize(
    ("footer", "expected"),
    [({"options": {"slim": True}}, True), ({"options": {"slim": False}}, False),
     ({"options": {"seed": 0}}, False), ({"options": 3}, False), ({}, False)],
)  # fmt: skip
def test_a_footer_says_whether_rows_are_slim(footer, expected):
    assert is_slim(footer) is expected
