import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from targetsel.surveys.http import Answer, Damaged
from targetsel.surveys.images import check_scale, corner, cut, open_image
from tests.emulator.sky import Tangent, fits_bytes


def whole(**more):
    """A good answer of 8 x 8 pixels about ra 10, dec 20; None takes a card away."""
    cards = dict(Tangent(10.0, 20.0, 3.5, 3.5, 0.25).cards())
    cards |= {"CDELT1": -0.25 / 3600, "CDELT2": 0.25 / 3600, "BUNIT": "nanomaggy"} | more
    kept = [(key, value) for key, value in cards.items() if value is not None]
    return fits_bytes((kept, np.arange(64.0).reshape(8, 8)))


def opened(content, status=200):
    return open_image(Answer("http://127.0.0.1/", status, content))


def test_a_whole_answer_is_an_image_with_a_place():
    image, wcs = opened(whole())
    np.testing.assert_array_equal(image.flux[0], np.arange(64.0).reshape(8, 8))
    np.testing.assert_array_equal(cut(image.flux[0], wcs, 10.0, 20.0, 2), [[27, 28], [35, 36]])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>busy</html>", "no FITS file but '<html>"),
        (b"", "no FITS file but ''"),
        (whole()[:-2880], "its header tells of 256 bytes of data, but the file has 0"),
        (whole()[:-100], "ended too early"),
        (whole()[:2880], "its header tells of 256 bytes of data, but the file has 0"),
        (whole(CTYPE1=None, CTYPE2=None), "no usable sky coordinates in the header"),
        (whole(CRVAL1="here"), "no usable sky coordinates in the header"),
        (whole(CTYPE1="RA---XXX"), "no usable sky coordinates in the header"),
        (whole(BUNIT=None), "does not say what one count is worth"),
        (whole(BUNIT=None, INSTRUME="PS1", EXPTIME="long"), "EXPTIME is 'long', expected a number"),
        (whole(BSOFTEN="soft", BOFFSET=0.0), "BSOFTEN is 'soft', expected a number"),
        (
            whole().replace(b"NAXIS1  =                    8", b"NAXIS1  =           9999999999"),
            "FITS",
        ),
        (
            whole().replace(b"NAXIS1  =                    8", b"NAXIS1  =                   -8"),
            "FITS",
        ),
        (
            whole().replace(b"BITPIX  =                  -32", b"BITPIX  =                   77"),
            "FITS",
        ),
    ],
)
def test_a_damaged_or_hostile_answer_is_refused_with_a_reason(content, reason):
    with pytest.raises(Damaged, match=reason):
        opened(content)


@given(st.data())
def test_no_change_of_a_byte_does_worse_than_being_refused(data):
    content = bytearray(whole())
    place = data.draw(st.integers(0, 2879))
    content[place] = data.draw(st.integers(0, 255))
    try:
        image, wcs = opened(bytes(content))
        cut(image.flux, wcs, 10.0, 20.0, 4)
    except Damaged:
        pass


def test_an_error_status_is_no_image_even_with_one():
    with pytest.raises(Damaged, match=r"^HTTP 503$"):
        opened(whole(), status=503)


def test_a_place_that_the_image_does_not_cover_is_refused():
    image, wcs = opened(whole())
    for ra, dec in [(10.0, 20.01), (190.0, -20.0), (10.0, -20.0)]:
        with pytest.raises(Damaged, match="does not cover the source"):
            cut(image.flux[0], wcs, ra, dec, 4)


def test_another_pixel_scale_is_refused():
    with pytest.raises(Damaged, match=r"pixels of 0.25 x 0.25 arcsec, expected 0.262"):
        check_scale(opened(whole())[1], 0.262)


def test_beyond_the_edge_there_is_no_data():
    wcs = WCS(fits.Header(dict(Tangent(10.0, 20.0, 0.0, 3.0, 0.25).cards())))
    made = cut(np.ones((8, 8), np.float32), wcs, 10.0, 20.0, 5)
    expected = np.ones((5, 5))
    expected[:, :2] = np.nan  # the source is in the first column, in the middle of the cutout
    np.testing.assert_array_equal(made, expected)


@given(centre=st.floats(-100, 4000), size=st.integers(1, 300))
def test_the_middle_of_a_cut_is_within_half_a_pixel_of_its_centre(centre, size):
    middle = corner(centre, size) + (size - 1) / 2
    assert abs(middle - centre) <= 0.5 + 1e-9
