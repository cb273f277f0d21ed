import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from targetsel.documents.models import parse_model
from targetsel.errors import EnsembleError
from targetsel.imaging.stretch import Stretch

SIGMA = (0.01, 0.5)
pixels = arrays(np.float64, (1, 2, 3, 3), elements=st.floats(-1e3, 1e3))


def stretch_of(kind, **more):
    usual = {"sky_sigma": SIGMA, "scale": 1.0, "softening": 1.0, "clip": 1e6}
    return Stretch(kind=kind, **usual | more)


@given(pixels, st.sampled_from(["linear", "asinh"]), st.floats(0.1, 10), st.floats(0.5, 30))
def test_a_stretch_undoes_itself_within_the_clip(x, kind, scale, softening):
    flux = x * np.array(SIGMA)[:, None, None]
    stretch = stretch_of(kind, scale=scale, softening=softening, clip=1e3)
    back = stretch.undo(stretch.apply(flux))
    error = np.abs(back - flux) / np.array(SIGMA)[:, None, None]
    assert np.all(error <= 1e-5 * (np.abs(x) + softening))


@given(pixels)
def test_what_is_clipped_comes_back_at_the_clip(x):
    stretch = stretch_of("asinh", sky_sigma=(1.0, 1.0), softening=3, clip=10)
    np.testing.assert_allclose(stretch.undo(stretch.apply(x)), np.clip(x, -10, 10), atol=1e-4)


def test_two_sigma_on_a_scale_of_four_is_a_half():
    flux = np.array([0.02, 1.0]).reshape(1, 2, 1, 1)
    assert stretch_of("linear", scale=4).apply(flux).ravel() == pytest.approx([0.5, 0.5])


def test_asinh_of_the_softening_is_0_881():
    flux = np.array([0.03, 1.5]).reshape(1, 2, 1, 1)  # three sigma each
    stretched = stretch_of("asinh", softening=3).apply(flux)
    assert stretched.ravel() == pytest.approx([0.881374, 0.881374], abs=1e-6)
    assert stretched.dtype == np.float32


@pytest.mark.parametrize("kind", ["linear", "asinh"])
def test_a_pixel_without_data_becomes_sky(kind):
    assert (stretch_of(kind).apply(np.full((1, 2, 2, 2), np.nan)) == 0).all()


def test_an_offset_is_subtracted_last_and_undone_first():
    stretch = stretch_of("linear", scale=4, offset=(0.25, 1.0))
    flux = np.array([0.02, np.nan]).reshape(1, 2, 1, 1)
    assert stretch.apply(flux).ravel() == pytest.approx([0.25, -1.0])
    assert stretch.undo(stretch.apply(flux)).ravel() == pytest.approx([0.02, 0.0], abs=1e-7)
    assert Stretch.model_validate(json.loads(json.dumps(stretch.to_card()))) == stretch


def test_input_is_left_alone():
    flux = np.full((1, 2, 2, 2), np.nan, np.float32)
    stretch_of("linear", sky_sigma=(1.0, 1.0)).apply(flux)
    assert np.isnan(flux).all()


def test_a_card_survives_json():
    stretch = stretch_of("asinh", scale=2.5, softening=8, clip=1000)
    text = json.dumps(stretch.to_card())
    assert Stretch.model_validate(json.loads(text)) == stretch
    assert Stretch.model_validate_json(text, strict=True) == stretch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "log"}, "kind is 'log'; expected 'linear' or 'asinh'"),
        ({"sky_sigma": [0.0, 1.0]}, "sky_sigma is '0.0'; expected a number above 0"),
        ({"sky_sigma": []}, "sky_sigma is empty"),
        ({"clip": None}, "clip is empty; expected a number"),
        ({"offset": [1.0]}, "1 offsets for 2 bands; expected one for each, or none"),
        ({"softening": 0}, "softening is '0'; expected a number above 0"),
    ],
)
def test_a_card_that_makes_no_sense_is_an_error(change, message):
    text = json.dumps({**stretch_of("asinh").to_card(), **change})
    with pytest.raises(EnsembleError, match=message):
        parse_model(text, "card.json", Stretch, EnsembleError)


def test_a_card_without_softening_names_it():
    card = stretch_of("asinh").to_card()
    del card["softening"]
    with pytest.raises(EnsembleError, match="missing key 'softening'"):
        parse_model(json.dumps(card), "card.json", Stretch, EnsembleError)
