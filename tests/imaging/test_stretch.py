import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from targetsel.errors import EnsembleError
from targetsel.imaging.stretch import Stretch

SIGMA = (0.01, 0.5)
pixels = arrays(np.float64, (1, 2, 3, 3), elements=st.floats(-1e3, 1e3))


@given(pixels, st.sampled_from(["linear", "asinh"]), st.floats(0.1, 10), st.floats(0.5, 30))
def test_a_stretch_undoes_itself_within_the_clip(x, kind, scale, softening):
    flux = x * np.array(SIGMA)[:, None, None]
    stretch = Stretch(kind, SIGMA, scale=scale, softening=softening, clip=1e3)
    back = stretch.undo(stretch.apply(flux))
    error = np.abs(back - flux) / np.array(SIGMA)[:, None, None]
    assert np.all(error <= 1e-5 * (np.abs(x) + softening))


@given(pixels)
def test_what_is_clipped_comes_back_at_the_clip(x):
    stretch = Stretch("asinh", (1.0, 1.0), softening=3, clip=10)
    np.testing.assert_allclose(stretch.undo(stretch.apply(x)), np.clip(x, -10, 10), atol=1e-4)


def test_two_sigma_on_a_scale_of_four_is_a_half():
    flux = np.array([0.02, 1.0]).reshape(1, 2, 1, 1)
    assert Stretch("linear", SIGMA, scale=4).apply(flux).ravel() == pytest.approx([0.5, 0.5])


def test_asinh_of_the_softening_is_0_881():
    flux = np.array([0.03, 1.5]).reshape(1, 2, 1, 1)  # three sigma each
    stretched = Stretch("asinh", SIGMA, softening=3).apply(flux)
    assert stretched.ravel() == pytest.approx([0.881374, 0.881374], abs=1e-6)
    assert stretched.dtype == np.float32


@pytest.mark.parametrize("kind", ["linear", "asinh"])
def test_a_pixel_without_data_becomes_sky(kind):
    assert (Stretch(kind, SIGMA).apply(np.full((1, 2, 2, 2), np.nan)) == 0).all()


def test_an_offset_is_subtracted_last_and_undone_first():
    stretch = Stretch("linear", SIGMA, scale=4, offset=(0.25, 1.0))
    flux = np.array([0.02, np.nan]).reshape(1, 2, 1, 1)
    assert stretch.apply(flux).ravel() == pytest.approx([0.25, -1.0])
    assert stretch.undo(stretch.apply(flux)).ravel() == pytest.approx([0.02, 0.0], abs=1e-7)
    assert Stretch.from_card(json.loads(json.dumps(stretch.to_card()))) == stretch


def test_one_offset_for_two_bands_is_an_error():
    with pytest.raises(EnsembleError, match="1 offsets for 2 bands"):
        Stretch("linear", SIGMA, offset=(0.25,))


def test_input_is_left_alone():
    flux = np.full((1, 2, 2, 2), np.nan, np.float32)
    Stretch("linear", (1.0, 1.0)).apply(flux)
    assert np.isnan(flux).all()


def test_a_card_survives_json():
    stretch = Stretch("asinh", SIGMA, scale=2.5, softening=8, clip=1000)
    assert Stretch.from_card(json.loads(json.dumps(stretch.to_card()))) == stretch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "log"}, "stretch 'log': expected 'linear' or 'asinh'."),
        ({"sky_sigma": [0.0, 1.0]}, "must be positive and finite"),
        ({"sky_sigma": []}, "must be positive and finite"),
        ({"clip": None}, "missing or unusable entry"),
    ],
)
def test_a_card_that_makes_no_sense_is_an_error(change, message):
    with pytest.raises(EnsembleError, match=message):
        Stretch.from_card({**Stretch("asinh", SIGMA).to_card(), **change})


def test_a_card_without_softening_names_it():
    card = Stretch("asinh", SIGMA).to_card()
    del card["softening"]
    with pytest.raises(EnsembleError, match="softening"):
        Stretch.from_card(card)
