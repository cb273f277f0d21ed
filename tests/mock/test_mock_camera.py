"""Noise of the stated depth, calibration errors of the stated size, and pixels that are lost."""

import numpy as np
import pytest

from targetsel.mock.camera import (
    GAPPED,
    LOST,
    PAN_STARRS,
    SPOTTED,
    add_noise,
    draw_seeing,
    expose,
    extinction,
    find_camera,
)
from targetsel.mock.images import canvas_of
from targetsel.surveys.registry import cards


def blank_noise(survey, n=60):
    blank = np.zeros((len(survey.bands), 66, 66), dtype=np.float32)
    one = np.ones(len(survey.bands))
    return np.array([add_noise(blank, survey, one, np.random.default_rng(k)) for k in range(n)])


@pytest.fixture(scope="module")
def exposed():
    """A thousand exposures of a constant flux of 0.02 nanomaggies per pixel."""
    image = np.full((5, 66, 66), 0.02, dtype=np.float32)
    rngs = (np.random.default_rng([9, k]) for k in range(1000))
    return np.array([expose(image, PAN_STARRS, np.zeros(5), rng) for rng in rngs])


@pytest.mark.parametrize("survey", [*map(find_camera, cards())], ids=cards())
def test_a_point_source_at_the_stated_depth_is_found_at_five_sigma(survey):
    canvas = canvas_of(survey.pixel_scale)
    noise = blank_noise(survey)
    for band, (seeing, depth) in enumerate(zip(survey.seeing, survey.depth, strict=True)):
        psf = canvas.images(canvas.gaussian(np.eye(2) * (seeing / 2.3548) ** 2)[None], 64)[0]
        rows = [np.roll(psf, (9 * k, 5 * k), (0, 1)) for k in range(-3, 4)]
        measured = [(noise[:, band] * row).sum(axis=(1, 2)) / (psf**2).sum() for row in rows]
        assert 5 * np.std(measured) == pytest.approx(10 ** (-0.4 * (depth - 22.5)), rel=0.12)


def test_blank_sky_has_the_noise_of_the_survey_and_neighbours_share_a_quarter_of_it():
    noise = blank_noise(PAN_STARRS)
    assert noise.std(axis=(0, 2, 3)) == pytest.approx(PAN_STARRS.sky_sigma, rel=0.01)
    unit = noise[:, 1] / noise[:, 1].std()
    assert (unit[:, :, 1:] * unit[:, :, :-1]).mean() == pytest.approx(0.16 / 0.66, abs=0.01)
    assert (unit[:, :, 3:] * unit[:, :, :-3]).mean() == pytest.approx(0.0, abs=0.01)


def test_a_source_three_times_as_bright_as_the_sky_doubles_the_noise():
    bright = np.broadcast_to(3 * PAN_STARRS.sky_flux[:, None, None], (5, 66, 66)).astype(np.float32)
    noise = np.array(
        [add_noise(bright, PAN_STARRS, np.ones(5), np.random.default_rng(k)) for k in range(20)]
    )
    assert noise.std(axis=(0, 2, 3)) == pytest.approx(2 * PAN_STARRS.sky_sigma, rel=0.02)


def test_calibration_is_right_on_average_and_scatters_by_a_few_hundredths(exposed):
    whole = exposed[~np.isnan(exposed).all(axis=(2, 3)).any(axis=1)]
    level = np.nanmean(whole, axis=(2, 3)) / 0.02
    assert np.nanmean(level, axis=0) == pytest.approx(1.0, abs=0.02)
    # Zero point .012 mag, reddening .015 * 3.3 mag in g, and 0.08 sigma of background.
    expected = np.hypot(np.hypot(0.012, 0.015 * extinction(4900.0)) * 0.921, 0.08 * 0.0082 / 0.02)
    assert np.nanstd(level[:, 0]) == pytest.approx(expected, rel=0.1)


def test_sources_come_out_fainter_by_the_zero_point_asked_for():
    image = np.full((5, 66, 66), 10.0, dtype=np.float32)
    as_is, fainter = (
        expose(image, PAN_STARRS, zero_point, np.random.default_rng(4))
        for zero_point in (np.zeros(5), np.array([0.1, 0, 0, 0, 0]))
    )
    ratio = np.nanmean(fainter, axis=(1, 2)) / np.nanmean(as_is, axis=(1, 2))
    assert -2.5 * np.log10(ratio) == pytest.approx([0.1, 0, 0, 0, 0], abs=1e-3)


def test_lost_pixels_are_as_rare_as_said(exposed):
    nan = np.isnan(exposed)
    lost = nan.all(axis=(2, 3)).any(axis=1)
    everywhere = nan.all(axis=1).any(axis=(1, 2))
    assert lost.mean() == pytest.approx(LOST, abs=0.004)
    assert everywhere.mean() == pytest.approx(SPOTTED, abs=0.015)
    in_one = (nan.any(axis=(2, 3)).sum(axis=1) == 1) & ~lost
    assert in_one.mean() == pytest.approx(GAPPED, abs=0.01)
    assert nan[~lost].mean(axis=(1, 2, 3)).max() < 0.1


def test_every_pixel_is_a_number_or_nan_and_float32(exposed):
    assert exposed.dtype == np.float32
    assert not np.isinf(exposed).any()


def test_extinction_is_near_the_published_coefficients():
    # Schlafly & Finkbeiner (2011), table 6, Pan-STARRS g r i z y at R_V = 3.1.
    published = np.array([3.172, 2.271, 1.682, 1.322, 1.087])
    assert extinction(np.array([4810, 6170, 7520, 8660, 9620.0])) == pytest.approx(
        published, rel=0.08
    )


def test_seeing_scatters_by_eight_percent_and_bands_go_together():
    seeing = np.array([draw_seeing(PAN_STARRS, np.random.default_rng(k))[0] for k in range(2000)])
    logs = np.log(seeing / PAN_STARRS.seeing)
    assert logs.std(axis=0) == pytest.approx(np.hypot(0.07, 0.03), rel=0.08)
    assert np.corrcoef(logs[:, 0], logs[:, 4])[0, 1] == pytest.approx(0.0049 / 0.0058, abs=0.03)
