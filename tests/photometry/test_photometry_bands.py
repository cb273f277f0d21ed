import pytest

from targetsel.errors import CutoutError
from targetsel.photometry.bands import BANDS, parse_bands


@pytest.mark.parametrize("text", ["yzirg", "y,z,i,r,g", "y z i r g", "y, z, i, r, g"])
def test_bands_come_in_the_order_written(text):
    assert parse_bands(text) == ("y", "z", "i", "r", "g")


def test_wavelengths_increase_from_u_to_y():
    wavelengths = [BANDS[name].wavelength for name in "ugrizy"]
    assert wavelengths == sorted(wavelengths)
    assert 3500 < wavelengths[0] < wavelengths[-1] < 10000  # Angstrom


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grx", "bands 'grx': unknown band 'x'. Known: u, g, r, i, z, y."),
        ("G,r", "unknown band 'G'. Known: u, g, r, i, z, y. Did you mean 'g'?"),
        ("grg", "band 'g' is named twice"),
        (" ", "no band is named"),
    ],
)
def test_a_list_that_means_nothing_is_an_error(text, message):
    with pytest.raises(CutoutError) as error:
        parse_bands(text)
    assert message in str(error.value)
