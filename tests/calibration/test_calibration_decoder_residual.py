"""What decoding leaves out: its spread follows the decoded value, and lines share it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from targetsel.calibration.proxies import REPEATS, DecoderResidual
from targetsel.spectra.draws import ProxyDraws
from targetsel.spectra.proxies import Proxies

NAMES = ("ew_halpha", "ew_nii")


def known(n=6000, seed=1):
    """Two lines whose residuals spread by a tenth of the line, and correlate by 0.8."""
    rng = np.random.default_rng(seed)
    decoded = {name: rng.uniform(1, 50, n) for name in NAMES}
    normals = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], n)
    true = {name: decoded[name] * (1 + 0.1 * normals[:, k]) + 0.5 for k, name in enumerate(NAMES)}
    return decoded, true, np.ones(n)


def added(residual, value, n=50, s=256, seed=0, first=0):
    """The residuals that draws of one value are given, shape (n, REPEATS s, 2)."""
    proxies = Proxies(np.arange(n) + first, NAMES, np.full((n, s, 2), float(value)))
    return with_residual(residual, proxies, seed) - value


def with_residual(residual, proxies, seed=0):
    return residual.add(ProxyDraws.of(proxies), seed).proxies.values


@pytest.fixture(scope="module")
def residual():
    return DecoderResidual.fit(*known())


@pytest.mark.parametrize("value", [10.0, 40.0])
def test_spread_and_bias_are_those_of_sources_with_that_value(residual, value):
    drawn = added(residual, value)
    assert drawn.std(axis=(0, 1)) == pytest.approx(np.full(2, 0.1 * value), rel=0.15)
    assert np.median(drawn, axis=(0, 1)) == pytest.approx([0.5, 0.5], abs=0.02 * value)


def test_lines_of_a_spectrum_are_off_together(residual):
    drawn = added(residual, 25.0).reshape(-1, 2)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0.8, abs=0.04)


def test_residuals_of_a_source_follow_from_its_id_and_the_seed(residual):
    three = added(residual, 20.0, n=3)
    assert np.array_equal(three[2:], added(residual, 20.0, n=1, first=2))
    assert not np.allclose(three, added(residual, 20.0, n=3, seed=1))
    assert not np.allclose(three[0], three[1])


def test_a_draw_that_could_not_be_measured_stays_so_and_other_proxies_stay_as_they_are(residual):
    values = np.full((1, 16, 3), 20.0)
    values[0, 3, 0] = np.nan
    proxies = Proxies(np.array([5]), (*NAMES, "d4000"), values)
    after = with_residual(residual, proxies)
    assert np.flatnonzero(np.isnan(after[0, :, 0])).tolist() == [3 + 16 * k for k in range(REPEATS)]
    assert (after[0, :, 2] == 20.0).all()
    assert (values[0, 4:, 0] == 20.0).all()


def test_residuals_are_even_over_the_draws_of_the_latents(residual):
    # If they were in step with the draws, the first half would differ from the second.
    drawn = added(residual, 20.0, n=200, s=256)[..., 0].reshape(200, REPEATS, 256)
    halves = drawn[..., :128].mean(axis=(1, 2)) - drawn[..., 128:].mean(axis=(1, 2))
    assert np.abs(halves).mean() < 2.0 * 2 / np.sqrt(128 * REPEATS)


def test_a_proxy_that_decodes_exactly_is_left_alone():
    decoded, _, weight = known(800)
    residual = DecoderResidual.fit(decoded, decoded, weight)
    assert np.abs(added(residual, 20.0)).max() < 1e-7


def test_a_residual_comes_back_from_its_json(residual):
    adapter = TypeAdapter(DecoderResidual)
    again = adapter.validate_json(adapter.dump_json(residual), strict=True)
    assert added(again, 20.0) == pytest.approx(added(residual, 20.0), abs=1e-5)


def test_correlations_stay_with_their_proxies_in_a_file_sorted_by_name():
    """Of three lines, named against the alphabet, only the first two are off together."""
    names = ("ew_oii", "ew_nii", "ew_halpha")
    decoded, true, weight = known()
    third = {"ew_halpha": np.random.default_rng(3).normal(20.0, 2.0, len(weight))}
    decoded = dict(zip(names, (*decoded.values(), np.full(len(weight), 20.0)), strict=True))
    true = dict(zip(names, (*true.values(), *third.values()), strict=True))
    adapter = TypeAdapter(DecoderResidual)
    written = adapter.dump_python(DecoderResidual.fit(decoded, true, weight), mode="json")
    again = adapter.validate_json(json.dumps(written, sort_keys=True), strict=True)
    drawn = with_residual(again, Proxies(np.arange(50), names, np.full((50, 256, 3), 25.0)))
    found = np.corrcoef(drawn.reshape(-1, 3).T)
    assert found[0, 1] == pytest.approx(0.8, abs=0.04)
    assert np.abs(found[2, :2]).max() < 0.05


def test_correlations_of_another_number_of_proxies_are_refused(residual):
    for names, factor in ((NAMES, [[1.0]]), (NAMES[:1], [[1.0]]), (("d4000", "ew_nii"), np.eye(2))):
        with pytest.raises(ValueError, match="do not fit its proxies"):
            DecoderResidual(names, residual.quantiles, factor)
