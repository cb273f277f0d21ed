"""Glare of bright stars: as often as they are, saturated where they are bright, else nothing."""

from dataclasses import replace

import numpy as np
import pytest

from targetsel.mock import bright_stars
from targetsel.mock.bright_stars import BRIGHT, REACH, Glare, draw_glare
from targetsel.mock.camera import PAN_STARRS
from targetsel.mock.optics import draw_optics, moffat

OPTICS = draw_optics(PAN_STARRS.seeing, (0.0, 0.0), 1.0, np.random.default_rng(0))


def glares(n, realism=1.0):
    rngs = (np.random.default_rng([8, k]) for k in range(n))
    return [draw_glare(PAN_STARRS, OPTICS, 64, realism, rng) for rng in rngs]


@pytest.fixture
def crowded(monkeypatch):
    """Twenty times as many stars."""
    monkeypatch.setattr(bright_stars, "BRIGHT", replace(BRIGHT, number=20 * BRIGHT.number))


def only(monkeypatch, x, y, magnitude, **settings):
    """The glare of one white star at a place."""
    flux = np.full(5, 10 ** (-0.4 * (magnitude - 22.5)))
    monkeypatch.setattr(bright_stars, "_draw_stars", lambda *_: [(x, y, flux)])
    for name, value in ({"TRAIL": 0.0, "BOWL": 0.0, "SPIKES": 0.0} | settings).items():
        monkeypatch.setattr(bright_stars, name, value)
    return draw_glare(PAN_STARRS, OPTICS, 64, 1.0, np.random.default_rng(2))


def test_there_are_as_many_stars_as_their_counts_say():
    rngs = (np.random.default_rng([4, k]) for k in range(2000))
    stars = [star for rng in rngs for star in bright_stars._draw_stars(PAN_STARRS, 1.0, rng)]
    expected = BRIGHT.number * np.pi * (REACH / 60) ** 2
    assert len(stars) / 2000 == pytest.approx(expected, rel=0.12)
    magnitude = 22.5 - 2.5 * np.log10([flux[1] for _, _, flux in stars])
    assert 8.0 < magnitude.min() < np.median(magnitude) < magnitude.max() < 14.6
    assert max(np.hypot(x, y) for x, y, _ in stars) <= REACH


def test_few_sources_see_one_and_fewer_with_less_realism():
    shares = [np.mean([each is not None for each in glares(600, r)]) for r in (1.0, 0.3, 0.0)]
    assert 0.03 < shares[0] < 0.12
    assert shares[0] > shares[1] > shares[2] == 0.0


def test_without_neighbours_there_are_no_stars(monkeypatch):
    monkeypatch.setattr(bright_stars, "TRAIL", 0.0)
    rngs = (np.random.default_rng([8, k]) for k in range(200))
    assert all(draw_glare(PAN_STARRS, OPTICS, 64, 1.0, rng, 0.0) is None for rng in rngs)


def test_a_star_in_the_cutout_has_its_profile_and_magnitude(monkeypatch):
    faint = only(monkeypatch, 2.0, -1.0, 16.5)
    assert not faint.saturated.any()
    place = 0.25 * (np.arange(66) - 32.5)
    dx, dy = place - 2.0, (place + 1.0)[:, None]
    x, y = OPTICS.offset[:, 1]
    share, flux = OPTICS.aureole, 10 ** (-0.4 * (16.5 - 22.5))
    core = moffat(dx - x, dy - y, OPTICS.seeing[1], OPTICS.beta[1])
    expected = flux * 0.25**2 * ((1 - share) * core + share * moffat(dx, dy, 4.8, 1.4))
    assert faint.light[1] == pytest.approx(expected, rel=1e-4)


def test_a_star_outside_lights_the_near_side_of_the_cutout(monkeypatch):
    beside = only(monkeypatch, 25.0, 0.0, 9.0)
    assert not beside.saturated.any()
    assert (beside.light[:, 32, 64] > 3 * beside.light[:, 32, 1]).all()


def test_a_faint_star_far_away_is_not_drawn(monkeypatch):
    assert only(monkeypatch, 80.0, 0.0, 14.0) is None


def test_bright_stars_saturate_and_bleed_along_rows_or_columns(monkeypatch):
    bright = only(monkeypatch, 1.0, 0.0, 9.5, BLEEDING=1.0)
    saturated = bright.saturated[1]
    rows, columns = np.flatnonzero(saturated.any(axis=1)), np.flatnonzero(saturated.any(axis=0))
    assert saturated[31, 35]
    assert max(len(rows), len(columns)) > 1.5 * min(len(rows), len(columns))
    at_limit = bright.light[1, 1:-1, 1:-1][saturated]
    assert at_limit == pytest.approx(at_limit[0])


@pytest.mark.parametrize(("level", "shows"), [(1.0, 3.0), (0.5, 1.5), (float("nan"), np.nan)])
def test_saturated_pixels_are_flat_or_dark_or_masked(level, shows):
    saturated = np.zeros((5, 4, 4), dtype=bool)
    saturated[2, 1, 1] = True
    cutout = np.full((5, 4, 4), 3.0, dtype=np.float32)
    seen = Glare(np.zeros((5, 6, 6)), saturated, level).spoil(cutout)
    assert seen[2, 1, 1] == pytest.approx(shows, nan_ok=True)
    assert (seen[~saturated] == 3.0).all()
    assert seen.dtype == np.float32


def test_a_trail_crosses_one_band_from_side_to_side(monkeypatch):
    monkeypatch.setattr(bright_stars, "_draw_stars", lambda *_: [])
    monkeypatch.setattr(bright_stars, "TRAIL", 1.0)
    for glare in glares(20):
        bands = np.flatnonzero(glare.light.any(axis=(1, 2)))
        assert len(bands) == 1
        crossed = glare.light[bands[0]] > 0.5 * glare.light.max()
        assert max(crossed.any(axis=0).sum(), crossed.any(axis=1).sum()) > 20


def test_all_light_is_finite_among_many_stars(crowded):
    found = [each for each in glares(100) if each is not None]
    assert len(found) > 50
    for glare in found:
        assert np.isfinite(glare.light).all()
        assert glare.light.dtype == np.float32
