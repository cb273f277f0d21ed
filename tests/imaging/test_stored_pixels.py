import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from targetsel.imaging.stored_pixels import ASINH, FLOAT, decode, encode

SIGMA = (0.01, 2.0)
PER_BAND = np.array(SIGMA)[:, None, None]
pixels = arrays(np.float32, (1, 2, 2, 2), elements=st.floats(-(2.0**60), 2.0**60, width=32))


@given(pixels)
def test_rounding_is_within_a_sixteenth_of_the_sky_or_a_256th_of_the_flux(flux):
    back = decode(encode(flux, SIGMA, ASINH), SIGMA, ASINH)
    allowed = np.hypot(flux.astype(float), 16 * PER_BAND) / 256
    assert np.all(np.abs(back - flux.astype(float)) <= 1.01 * allowed)


@given(pixels)
def test_coding_what_was_coded_changes_nothing(flux):
    codes = encode(flux, SIGMA, ASINH)
    np.testing.assert_array_equal(encode(decode(codes, SIGMA, ASINH), SIGMA, ASINH), codes)


def test_one_step_of_the_sky_is_an_eighth_of_its_sigma():
    flux = decode(np.array([0, 1, -1, 8], np.int16).reshape(4, 1, 1, 1), (1.0,), ASINH)
    np.testing.assert_allclose(flux.ravel(), [0, 0.125, -0.125, 1.0], atol=1e-3)


def test_no_data_stays_no_data_in_both_encodings():
    flux = np.array([np.nan, np.inf, -np.inf, 0.0], np.float32).reshape(4, 1, 1, 1)
    for encoding in (ASINH, FLOAT):
        back = decode(encode(flux, (1.0,), encoding), (1.0,), encoding)
        assert np.isnan(back).ravel().tolist() == [True, True, True, False]


def test_the_brightest_float_is_not_taken_for_no_data():
    flux = np.array([np.finfo(np.float32).max], np.float32).reshape(1, 1, 1, 1)
    code = encode(flux, (1e-10,), ASINH)
    assert 0 < code.item() <= 32767
    assert np.isfinite(decode(code, (1e-10,), ASINH)).all()


@given(pixels)
def test_float32_is_kept_bit_by_bit(flux):
    np.testing.assert_array_equal(decode(encode(flux, SIGMA, FLOAT), SIGMA, FLOAT), flux)
