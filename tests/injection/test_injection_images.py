"""Images made fainter, blurrier and noisier."""

from __future__ import annotations

import numpy as np
import pytest

from targetsel.errors import CutoutError
from targetsel.imaging.cutout import Cutouts
from targetsel.injection.images import SIGMA_OF_FWHM, changed, check_blur, measured_noise
from targetsel.injection.steps import UNCHANGED, ImageStep, steps_of
from targetsel.mock.camera import PAN_STARRS, add_noise

SKY = PAN_STARRS.sky_sigma


def noisy(n=60, light=None):
    """Cutouts of noise as the mock sky has it, and of light."""
    rng = np.random.default_rng(3)
    plain = np.zeros((5, 66, 66), np.float32)
    flux = np.stack([add_noise(plain, PAN_STARRS, np.ones(5), rng) for _ in range(n)])
    if light is not None:
        flux += light.astype(np.float32)
    return Cutouts(np.arange(n), flux, PAN_STARRS.bands, 0.25)


def gaussian(sigma, size=64):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def neighbours(flux, apart=1):
    """Correlation of pixels so far apart."""
    return float((flux[..., apart:] * flux[..., :-apart]).mean() / flux.var())


def test_level_and_texture_of_noise_are_measured_from_a_rim():
    found = [measured_noise(each, SKY) for each in noisy().flux]
    assert np.mean([each.sigma for each in found], axis=0) == pytest.approx(SKY, rel=0.02)
    assert np.mean([each.edge for each in found]) == pytest.approx(0.1, abs=0.01)


def test_a_rim_without_data_has_the_usual_noise_and_no_texture():
    flux = noisy(1).flux[0]
    flux[2] = np.nan
    found = measured_noise(flux, np.full(5, 7.0))
    assert found.sigma[2] == 7
    assert found.edge[2] == 0


STEPS = (
    ImageStep(dim=0.5), ImageStep(dim=3.0), ImageStep(blur=0.4), ImageStep(blur=1.5),
    ImageStep(noisier=2.0), ImageStep(1.0, 0.8, 1.5),
)  # fmt: skip


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.text)
def test_noise_keeps_its_level_and_texture_whatever_is_changed(step):
    before = noisy()
    after = changed(before, step, SKY, 0)
    for band in range(5):
        one, other = before.flux[:, band], after.flux[:, band]
        assert other.std() == pytest.approx(step.noisier * one.std(), rel=0.015)
        assert neighbours(other) == pytest.approx(neighbours(one), abs=0.02)
        assert neighbours(other, 2) == pytest.approx(neighbours(one, 2), abs=0.02)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.text)
def test_noise_of_bright_light_is_restored_where_the_sky_is_known(step):
    sky, brightness = PAN_STARRS.sky_flux, 2.0  # of the light, in units of the sky's
    plateau = np.zeros((66, 66))
    plateau[13:53, 13:53] = brightness
    light = (plateau * sky[:, None, None]).astype(np.float32)
    rng = np.random.default_rng(3)
    noise = [add_noise(light, PAN_STARRS, np.ones(5), rng) for _ in range(60)]
    before = Cutouts(np.arange(60), np.stack(noise) + light[:, 1:-1, 1:-1], PAN_STARRS.bands, 0.25)
    middle = changed(before, step, SKY, 0, sky).flux[:, :, 24:40, 24:40]
    due = step.noisier * np.sqrt(1 + step.factor * brightness)
    assert middle.std(axis=(0, 2, 3)) / SKY == pytest.approx(due, rel=0.06)


def test_light_is_dimmed_by_as_many_magnitudes_as_asked_for():
    before = noisy(light=1000 * gaussian(3.0))
    after = changed(before, ImageStep(dim=2.5), SKY, 0)
    inside = np.s_[:, :, 16:48, 16:48]
    assert after.flux[inside].sum() == pytest.approx(0.1 * before.flux[inside].sum(), rel=1e-3)


def test_a_blurred_gaussian_is_as_wide_as_the_quadratic_sum():
    blur = 1.2  # [arcsec]
    light = np.broadcast_to(1000 * gaussian(3.0), (1, 5, 64, 64)).astype(np.float32)
    before = Cutouts(np.arange(1), light, PAN_STARRS.bands, 0.25)
    after = changed(before, ImageStep(blur=blur), SKY * 1e-9, 0)
    width = np.hypot(3.0, blur * SIGMA_OF_FWHM / 0.25)
    assert after.flux[0, 0] == pytest.approx(1000 * gaussian(width), abs=0.01)


def test_pixels_and_bands_without_data_stay_so():
    before = noisy(2, 100 * gaussian(3.0))
    before.flux[0, 1, 10:14, 20:30] = np.nan
    before.flux[0, 2] = np.nan
    before.flux[1, 3] = -999.0
    after = changed(before, ImageStep(1.0, 0.8, 2.0), SKY, 0)
    assert (np.isnan(after.flux) == np.isnan(before.flux)).all()
    assert (after.flux[1, 3] == -999).all()
    assert after.status.tolist() == before.status.tolist()


def test_a_gap_does_not_darken_the_pixels_beside_it():
    flat = np.full((1, 5, 64, 64), 5.0, np.float32)
    flat[..., 0] += 0.001  # else its bands would be lost
    flat[0, 0, 20:30, 20:30] = np.nan
    after = changed(
        Cutouts(np.arange(1), flat, PAN_STARRS.bands, 0.25), ImageStep(blur=1.0), SKY * 0, 0
    )
    assert np.nanmin(after.flux[0, 0]) == pytest.approx(5.0, abs=0.01)


def test_an_image_without_noise_gets_none():
    light = np.broadcast_to(1000 * gaussian(3.0), (1, 5, 64, 64)).astype(np.float32)
    before = Cutouts(np.arange(1), light, PAN_STARRS.bands, 0.25)
    after = changed(before, ImageStep(dim=2.5), SKY, 0)
    assert after.flux == pytest.approx(0.1 * before.flux, rel=0.01, abs=1e-3)


def test_other_sources_and_their_order_change_no_bit():
    step, cutouts = ImageStep(1.0, 0.5, 1.2), noisy(6)
    whole = changed(cutouts, step, SKY, 0).flux
    rows = np.array([4, 1])
    assert (changed(cutouts.take(rows), step, SKY, 0).flux == whole[rows]).all()
    assert not (changed(cutouts, step, SKY, 1).flux == whole).any()


def test_text_ids_draw_noise_of_their_own():
    cutouts = noisy(2)
    named = Cutouts(np.array(["a", "b"], object), cutouts.flux, cutouts.bands, 0.25)
    assert np.isfinite(changed(named, ImageStep(dim=1.0), SKY, 0).flux).all()


def test_nothing_asked_for_changes_nothing():
    cutouts = noisy(1)
    assert changed(cutouts, UNCHANGED, SKY, 0) is cutouts


def test_steps_go_along_each_axis_and_last_along_all_together():
    found = steps_of([1, 0.5, 0], [0.6], [1, 2])
    assert [each.text for each in found] == [
        "unchanged",
        "0.5 mag fainter",
        "1 mag fainter",
        "blurred by 0.6 arcsec",
        "noise x 2",
        "1 mag fainter, blurred by 0.6 arcsec, noise x 2",
    ]
    assert len(steps_of([1])) == 2


def test_steps_may_be_a_number_or_a_text_with_commas():
    assert steps_of(1.0) == steps_of("1") == steps_of([1])
    assert steps_of("10") == steps_of([10])
    assert steps_of(" 0.5, 1", "", "2") == steps_of([0.5, 1], (), 2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"dim": "1,,2"}, "--dim '1,,2': expected magnitudes, such as 0.5,1"),
        ({"dim": ["a"]}, r"--dim \['a'\]: expected magnitudes"),
        ({"noisier": [None]}, "expected factors"),
        ({"dim": [-0.5]}, "--dim -0.5: expected magnitudes"),
        ({"dim": [float("nan")]}, "--dim nan: expected magnitudes"),
        ({"blur": [0.3, -1]}, "--blur -1: expected widths in arcsec"),
        ({"blur": [float("inf")]}, "--blur inf: expected widths"),
        ({"noisier": [0.5]}, "--noisier 0.5: expected factors"),
        ({}, "nothing is changed"),
        ({"dim": [0], "noisier": [1]}, "nothing is changed"),
    ],
)
def test_steps_that_are_none_are_refused(asked, said):
    with pytest.raises(CutoutError, match=said):
        steps_of(**asked)


def test_a_blur_in_pixels_is_refused_where_it_is_wider_than_the_images():
    with pytest.raises(CutoutError, match="at most 4 arcsec"):
        check_blur(ImageStep(blur=5.0), 0.25, 64)
