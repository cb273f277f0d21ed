"""Sizes, shapes and how they go with spectra."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from targetsel.mock import infrared, ultraviolet
from targetsel.mock.anchor import WAVELENGTH
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.morphology import (
    LARGEST,
    N_NORMALS,
    SMALLEST,
    draw_arms,
    draw_knots,
    draw_structure,
    ellipse,
    half_light_radius,
    on_the_sky,
    size_scatter,
)
from targetsel.mock.spectra import FiberSpectra

N = 1500


def spectra(old=0.4, **excesses):
    """Flat spectra with a share of old stars, with nothing special or with what is given."""
    light = np.ones((N, len(WAVELENGTH)))
    dark = np.zeros((N, 2, ultraviolet.N_PIXELS)), np.zeros((N, 2, infrared.N_PIXELS))
    values = dict.fromkeys(("line_excess", "ratio_excess", "age_excess", "agn"), np.zeros(N))
    values |= {"dust": np.full(N, 0.6), "weight": np.ones(N)} | excesses
    return FiberSpectra(old * light, (1 - old) * light, 0 * light, *dark, {}, **values)


def first_of(spectra):
    values = {name: value[:1] for name, value in vars(spectra).items() if name != "widths"}
    return FiberSpectra(widths={}, **values)


@pytest.fixture(scope="module")
def galaxies():
    return Galaxies.shipped().take(np.arange(N))


@pytest.fixture(scope="module")
def normals():
    return np.random.default_rng(0).normal(size=(N, N_NORMALS))


def test_radii_follow_the_relation_of_shen_et_al():
    # Early: 10^(0.26 * 21.5 - 5.06). Late at M0: 10^(0.104 * 20.91 + 0.25 log10(2) - 1.71).
    assert half_light_radius(np.array([-21.5]), np.array([True])) == pytest.approx(10**0.53)
    late = half_light_radius(np.array([-20.91]), np.array([False]))
    assert late == pytest.approx(10 ** (2.17464 + 0.07526 - 1.71), rel=1e-4)


def test_faint_galaxies_scatter_more_in_size_than_bright_ones():
    assert size_scatter(np.array([-26.0, -20.52, -15.0])) == pytest.approx(
        [0.25, 0.365, 0.48], abs=1e-3
    )


def test_a_galaxy_of_known_size_has_the_angle_it_has_at_its_distance(galaxies, normals):
    one = galaxies.take(np.array([0]))
    # At redshift 0.1, H0 = 70 and Omega = 0.3, one kpc is 0.5422 arcsec and the modulus is 38.316.
    at = replace(one, redshift=np.array([0.1]), flux=np.full((1, 5), 10 ** (0.4 * (31.4 - 17.0))))
    at = replace(at, k_correction=np.array([0.1]))
    flat = first_of(spectra(old=0.3))
    structure = draw_structure(at, flat, np.zeros((1, N_NORMALS)), 0.0)
    kpc = half_light_radius(np.array([17.0 - 38.316 - 0.1]), np.array([False]))
    assert structure.radius == pytest.approx(0.5422 * kpc, rel=1e-3)


def test_without_a_link_shapes_know_nothing_of_a_spectrum_beyond_its_colours(galaxies, normals):
    rng = np.random.default_rng(1)
    special = {name: rng.normal(size=N) for name in ("line_excess", "ratio_excess", "age_excess")}
    special |= {"agn": rng.random(N), "dust": rng.random(N)}
    plain = draw_structure(galaxies, spectra(), normals, link=0.0)
    other = draw_structure(galaxies, spectra(**special), normals, link=0.0)
    for each in fields(plain):
        assert np.array_equal(getattr(plain, each.name), getattr(other, each.name)), each.name


@pytest.mark.parametrize(
    ("excess", "shape"),
    [
        ("line_excess", "arm_share"),
        ("line_excess", "knot_share"),
        ("line_excess", "line_knot_share"),
        ("age_excess", "bulge_share"),
        ("ratio_excess", "point_share"),
        ("agn", "point_share"),
    ],
)
def test_a_link_ties_a_shape_to_the_spectrum_at_one_colour_the_more_the_stronger(
    galaxies, normals, excess, shape
):
    values = np.random.default_rng(2).normal(size=N)
    values = np.abs(np.tanh(values)) if excess == "agn" else values
    ranks = []
    for link in (0.0, 1.0, 2.0):
        structure = draw_structure(galaxies, spectra(**{excess: values}), normals, link)
        ranks.append(spearmanr(values, getattr(structure, shape)).statistic)
    assert abs(ranks[0]) < 0.08
    assert ranks[0] + 0.1 < ranks[1] < ranks[2]
    assert ranks[1] < 0.8  # what the spectrum does not tell is left


def test_dusty_disks_are_edge_on_more_often_but_not_always(galaxies, normals):
    dust = np.random.default_rng(3).uniform(0, 1.6, N)
    structure = draw_structure(galaxies, spectra(dust=dust), normals, link=1.0)
    assert -0.5 < spearmanr(dust, structure.disk_axis_ratio).statistic < -0.2


def test_old_galaxies_are_spheroids_and_young_ones_disks(galaxies, normals):
    old = draw_structure(galaxies, spectra(old=0.97), normals, 1.0)
    young = draw_structure(galaxies, spectra(old=0.2), normals, 1.0)
    assert np.median(old.bulge_share) > 0.8
    assert np.median(young.bulge_share) < 0.1
    assert np.median(old.arm_share) < 0.1 < np.median(young.arm_share)


def test_shares_are_shares_and_radii_within_their_limits(galaxies, normals):
    structure = draw_structure(galaxies, spectra(), 1.5 * normals, 2.0)
    assert (structure.bulge_share + structure.bar_share <= 1).all()
    assert (structure.arm_share + structure.knot_share <= 1).all()
    for name in (
        "bulge_share",
        "bar_share",
        "arm_share",
        "knot_share",
        "line_knot_share",
        "point_share",
    ):
        share = getattr(structure, name)
        assert ((share >= 0) & (share < 1)).all(), name
    assert ((structure.radius >= SMALLEST) & (structure.radius <= LARGEST)).all()
    assert set(np.unique(structure.arms)) == {1, 2, 3, 4}


def test_disks_at_random_orientations_have_uniform_cosines(galaxies, normals):
    ratio = draw_structure(galaxies, spectra(), normals, 0.0).disk_axis_ratio
    cosine = np.sqrt(np.maximum(ratio**2 - 0.18**2, 0) / (1 - 0.18**2))  # for the mean thickness
    assert np.percentile(cosine, [25, 50, 75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.04)


def test_ellipse_has_its_axes_along_its_angle():
    moments = ellipse(2.0, 0.5, np.pi / 6)
    long = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    assert moments @ long == pytest.approx(4.0 * long)
    assert np.linalg.det(moments) == pytest.approx(4.0)


def test_a_point_a_quarter_turn_along_lies_on_the_minor_axis():
    x, y = on_the_sky(np.array([3.0]), np.array([np.pi / 2]), 0.4, np.pi / 2)
    assert (x[0], y[0]) == pytest.approx((-1.2, 0.0))


def test_arms_and_knots_lie_in_the_disk_and_share_all_light(galaxies, normals):
    structure = draw_structure(galaxies, spectra(), normals, 1.0)
    face_on = replace(structure, disk_axis_ratio=np.ones(N))
    for row in range(20):
        rng = np.random.default_rng(row)
        arms = draw_arms(face_on, row, rng)
        knots = draw_knots(face_on, row, arms, rng)
        scale = face_on.young_radius[row] / 1.678
        for x, y, share in (arms, knots):
            assert share.sum() == pytest.approx(1.0)
            assert share.max() < 0.5
            assert np.hypot(x, y).max() < 10 * scale
        assert np.hypot(*arms[:2]).min() >= 0.6 * scale


def test_two_arms_without_scatter_are_half_a_turn_apart(galaxies, normals):
    structure = draw_structure(galaxies, spectra(), normals, 1.0)
    grand = replace(
        structure, arms=np.full(N, 2), arm_spread=np.zeros(N), disk_axis_ratio=np.ones(N)
    )
    x, y, _ = draw_arms(grand, 0, np.random.default_rng(0))
    scale, radius = grand.young_radius[0] / 1.678, np.hypot(x, y)
    turn = np.arctan2(y, x) * 2  # half a turn apart is one and the same
    unwound = turn[np.argsort(radius)]
    growth = np.log(np.sort(radius) / scale) / np.tan(grand.pitch[0]) * 2
    offsets = [np.angle(np.exp(1j * (unwound - sign * growth))) for sign in (1, -1)]
    assert min(np.ptp(np.unwrap(offset)) for offset in offsets) < 1e-6
