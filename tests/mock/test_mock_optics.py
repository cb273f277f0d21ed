"""PSFs as real ones: Moffat profiles of the width, shape and place that were asked for."""

from dataclasses import replace

import numpy as np
import pytest

from targetsel.mock.images import canvas_of, point_spread
from targetsel.mock.optics import Optics, draw_optics, moffat, moffat_shares, real_point_spread
from targetsel.surveys.card import Wings

CANVAS, FINE = canvas_of(0.25), canvas_of(0.1)
SEEING = np.array([1.3, 1.2, 1.1, 1.07, 1.02])
STILL = Optics(
    seeing=np.array([1.2]),
    shear=np.zeros((2, 1)),
    beta=np.array([2.2]),
    aureole=0.0,
    offset=np.zeros((2, 1)),
    subtracted=np.zeros(1),
)
Y, X = np.mgrid[:128, :128] - 63.5


def seen(optics, canvas=CANVAS, realism=1.0):
    return canvas.images(real_point_spread(canvas, optics, realism), 128)


def drawn(n=400, realism=1.0):
    rngs = (np.random.default_rng([3, k]) for k in range(n))
    return [draw_optics(SEEING, (0.0, 0.0), realism, rng) for rng in rngs]


@pytest.mark.parametrize("beta", [1.8, 2.2, 3.0])
def test_psf_is_the_moffat_profile_asked_for(beta):
    image = seen(replace(STILL, beta=np.array([beta])), FINE)[0]
    true = 0.1**2 * moffat(0.1 * X, 0.1 * Y, 1.2, beta)
    near = np.hypot(X, Y) < 25  # farther out lies light that wraps around
    assert image[near] == pytest.approx(true[near], rel=0.12, abs=2e-5)


@pytest.mark.parametrize("beta", [1.8, 2.2, 3.0])
def test_half_of_the_peak_is_at_half_of_the_seeing(beta):
    image = seen(replace(STILL, beta=np.array([beta])), FINE)[0]
    profile, radius = image[64, 64:90] / image[64, 64], 0.1 * (np.arange(26) + 0.5)
    assert 2 * np.interp(0.5, profile[::-1], radius[::-1]) == pytest.approx(1.2, abs=0.03)


def test_a_moffat_profile_holds_all_of_its_light():
    r = np.linspace(0, 400, 400_001)
    light = np.trapezoid(2 * np.pi * r * moffat(r, np.zeros_like(r), 1.2, 2.2), r)
    assert light == pytest.approx(1.0, abs=2e-3)
    assert moffat(np.array(0.6), np.array(0.0), 1.2, 2.2) == pytest.approx(
        moffat(np.array(0.0), np.array(0.0), 1.2, 2.2) / 2
    )


def test_wings_hold_more_light_the_lower_the_exponent():
    far = [moffat_shares(beta)[7:].sum() for beta in (1.8, 2.2, 3.0)]
    assert far[0] > far[1] > far[2]


def test_offset_moves_a_band_by_as_much_along_x_and_y():
    image = seen(replace(STILL, offset=np.array([[0.5], [-0.25]])))[0]
    inner = np.hypot(X, Y) < 20
    total = image[inner].sum()
    assert 0.25 * (image * X)[inner].sum() / total == pytest.approx(0.5, abs=0.03)
    assert 0.25 * (image * Y)[inner].sum() / total == pytest.approx(-0.25, abs=0.03)


def test_aureole_takes_its_share_of_the_light_out_of_the_core():
    bare, veiled = seen(STILL)[0], seen(replace(STILL, aureole=0.2))[0]
    assert veiled.sum() == pytest.approx(bare.sum(), rel=1e-3)
    assert veiled.max() == pytest.approx(0.8 * bare.max(), rel=0.03)


def test_over_subtraction_leaves_a_dark_ring_and_takes_its_share():
    dark = seen(replace(STILL, subtracted=np.array([0.2])))[0]
    assert dark.sum() == pytest.approx(0.8, abs=0.01)
    ring = (np.hypot(X, Y) > 14) & (np.hypot(X, Y) < 24)
    assert dark[ring].max() < 0
    assert dark.max() > 0.9 * seen(STILL)[0].max()


def test_what_is_drawn_scatters_as_was_measured():
    every = drawn()
    beta = np.array([each.beta for each in every])
    assert np.median(beta) == pytest.approx(Wings.beta, abs=0.05)
    assert np.log(beta).std() == pytest.approx(np.hypot(0.12, 0.07), rel=0.1)
    assert np.std([each.offset for each in every]) == pytest.approx(Wings.offset, rel=0.05)
    assert np.std([each.shear for each in every]) == pytest.approx(0.03 * 2**0.5, rel=0.1)
    assert np.median([each.aureole for each in every]) == pytest.approx(Wings.aureole, rel=0.06)
    widths = np.log([each.seeing / SEEING for each in every])
    assert (widths[:, 0] - widths[:, 1]).std() == pytest.approx(0.07 * 2**0.5, rel=0.1)


def test_no_realism_is_the_plain_psf():
    (none,) = drawn(1, realism=0.0)
    plain = point_spread(CANVAS, SEEING, (0.0, 0.0))
    assert real_point_spread(CANVAS, none, 0.0) == pytest.approx(plain, abs=1e-6)
