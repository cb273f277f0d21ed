"""Irregular galaxies: what a fiber sees stays, the rest is where and as often as said."""

from dataclasses import replace

import numpy as np
import pytest

from targetsel.mock.camera import PAN_STARRS
from targetsel.mock.images import draw_components, light_of, sersic_gaussians
from targetsel.mock.irregular import (
    MISPLACED,
    PARTNER,
    REGULAR,
    TAILED,
    Irregularity,
    Partner,
    draw_irregularity,
    misplaced,
)
from targetsel.mock.steps import Chance
from tests.mock.test_mock_images import CANVAS, FIBER_LIGHT, galaxy, in_fiber

DUST = np.array([0.5, 0.4, 0.3])
PARTNERED = Partner(old=0.4, young=0.2, x=2.0, y=1.0, radius=1.0, axis_ratio=0.7, angle=0.3)
EVERYTHING = Irregularity(
    bulge_index=2.5,
    disk_index=1.25,
    halo_share=0.1,
    halo_radius=5.0,
    lopsided=(0.2, -0.1),
    old_arms=0.3,
    old_knots=0.3,
    dust=DUST,
    dust_offset=0.1,
    tail_share=0.1,
    partner=PARTNERED,
)
SPIRAL = galaxy(disk_axis_ratio=0.3)


def drawn(irregularity, structure=SPIRAL):
    rng = np.random.default_rng(3)
    components = draw_components(structure, 0, CANVAS, rng, irregularity)
    return light_of(components, structure, 0, FIBER_LIGHT, CANVAS, irregularity)


def irregularities(n=2000, realism=1.0, **changes):
    structure = galaxy(**changes)
    rngs = (np.random.default_rng([2, k]) for k in range(n))
    return [draw_irregularity(structure, 0, PAN_STARRS, realism, rng) for rng in rngs]


def image(light, band=0):
    """Light in one band without a PSF, 128 x 128 pixels."""
    return CANVAS.images((light.flux[:, band].astype(np.float32) @ light.transforms)[None], 128)[0]


@pytest.mark.parametrize(
    "irregularity",
    [EVERYTHING, Irregularity(dust=DUST), Irregularity(tail_share=0.1), REGULAR],
    ids=["everything", "dust", "tails", "regular"],
)
def test_light_in_the_fiber_is_what_was_given(irregularity):
    assert in_fiber(drawn(irregularity)) == pytest.approx(FIBER_LIGHT.sum(axis=0), rel=1e-3)


def test_a_dust_lane_dims_the_middle_and_more_so_in_the_blue():
    edge_on = galaxy(
        disk_axis_ratio=0.2, bulge_share=0.1, bar_share=0.0, angle=0.0, point_share=0.0
    )
    clear, dusty = (drawn(each, edge_on) for each in (REGULAR, Irregularity(dust=DUST)))
    share = [[image(each, b)[63:65, 56:72].sum() / image(each, b).sum() for b in (0, 2)]
             for each in (clear, dusty)]  # fmt: skip
    blue, red = np.array(share[1]) / np.array(share[0])
    assert blue < red < 1


def test_tails_and_partners_take_their_share_of_the_light():
    light = drawn(Irregularity(tail_share=0.1, partner=PARTNERED))
    regular = drawn(REGULAR)
    assert len(light.flux) == len(regular.flux) + 2
    tails, partner = light.flux[-2], light.flux[-1]
    assert 0.05 < (tails / light.flux.sum(axis=0)).mean() < 0.3
    assert partner[2] / partner[0] > tails[2] / tails[0]  # it is older than the galaxy


def test_a_halo_spreads_old_light():
    compact, wide = drawn(REGULAR), drawn(Irregularity(halo_share=0.2, halo_radius=6.0))
    y, x = np.mgrid[:128, :128] - 63.5
    far = np.hypot(x, y) > 32
    assert image(wide, 2)[far].sum() / image(wide, 2).sum() > 1.1 * (
        image(compact, 2)[far].sum() / image(compact, 2).sum()
    )


def test_arms_of_the_old_disk_have_its_colour():
    plain, old = drawn(REGULAR), drawn(Irregularity(old_arms=0.5, old_knots=0.5))
    arms = [each.flux[-3] for each in (plain, old)]
    assert arms[1][2] / arms[1][0] > 1.05 * arms[0][2] / arms[0][0]


def test_every_index_that_is_drawn_has_its_gaussians():
    every = [each for share in (0.05, 0.5, 0.95) for each in irregularities(bulge_share=share)]
    for index in {each.bulge_index for each in every} | {each.disk_index for each in every}:
        share, sigma = sersic_gaussians(index)
        assert share.sum() == pytest.approx(1.0)
        assert (sigma > 0).all()


def test_indices_scatter_and_spheroids_are_steeper():
    disky, round_ = irregularities(bulge_share=0.1), irregularities(bulge_share=0.9)
    assert np.median([each.bulge_index for each in disky]) == pytest.approx(2.0, abs=0.5)
    assert np.median([each.bulge_index for each in round_]) == pytest.approx(4.0, abs=0.5)
    assert np.std([each.disk_index for each in disky]) == pytest.approx(0.2, abs=0.05)


def test_tails_and_partners_are_as_rare_as_said():
    every = irregularities()
    assert np.mean([each.tail_share > 0 for each in every]) == pytest.approx(TAILED, abs=0.015)
    expected = TAILED * PARTNER[0] + (1 - TAILED) * PARTNER[1]
    assert np.mean([each.partner is not None for each in every]) == pytest.approx(
        expected, abs=0.012
    )


def test_only_inclined_disks_have_dust_lanes():
    flat, face_on, early = (
        np.mean([each.dust is not None for each in irregularities(300, **changes)])
        for changes in (
            {"disk_axis_ratio": 0.25},
            {"disk_axis_ratio": 0.8},
            {"disk_axis_ratio": 0.25, "bulge_share": 0.9},
        )
    )
    assert 0.5 < flat < 0.7
    assert face_on == early == 0.0


def test_no_realism_is_regular():
    for each in irregularities(50, realism=0.0):
        assert each.bulge_index == 4.0
        assert each.disk_index == 1.0
        assert each.halo_share == each.tail_share == each.old_arms == each.old_knots == 0.0
        assert each.dust is None or not each.dust.any()
        assert each.partner is None


def test_some_positions_are_those_of_parts_and_none_without_realism():
    one = galaxy(radius=2.0)
    many = replace(one, **{name: np.repeat(value, 1500) for name, value in vars(one).items()})
    chances = [Chance(1, k) for k in range(1500)]
    moved = misplaced(many, 1.0, chances)
    away = np.hypot(moved.x, moved.y)
    assert (away > 0).mean() == pytest.approx(MISPLACED, abs=0.015)
    assert (away[away > 0] >= 0.4).all()
    assert away.max() <= 1.6
    assert not misplaced(many, 0.0, chances).x.any()
