import numpy as np
import pytest

from targetsel.errors import CatalogError, CutoutError
from targetsel.photometry.bands import BANDS, PASSBANDS, Band, find_passband, parse_bands


@pytest.mark.parametrize("text", ["yzirg", "y,z,i,r,g", "y z i r g", "y, z, i, r, g"])
def test_bands_come_in_the_order_written(text):
    assert parse_bands(text) == ("y", "z", "i", "r", "g")


def test_wavelengths_increase_from_u_to_y():
    wavelengths = [BANDS[name].wavelength for name in "ugrizy"]
    assert wavelengths == sorted(wavelengths)
    assert 3500 < wavelengths[0] < wavelengths[-1] < 10000  # Angstrom


@pytest.mark.parametrize("text", ["ugriZYJHKs", "u,g,r,i,Z,Y,J,H,Ks", "u g r i Z Y J H Ks"])
def test_near_infrared_bands_differ_from_optical_ones_by_their_case(text):
    assert parse_bands(text) == ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
    assert parse_bands("VIS,Y,J,H") == parse_bands("VISYJH") == ("VIS", "Y", "J", "H")
    assert parse_bands("Ks") == ("Ks",)
    assert BANDS["Z"].wavelength != BANDS["z"].wavelength


def test_a_band_between_two_wavelengths_has_an_even_response():
    band = Band.between("n", "mine", 5000, 5100)
    assert (band.wavelength, band.reach) == (5050, (5000, 5100))
    assert (band.response()[1] == 1).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grx", "bands 'grx': unknown band 'x'. Known: u, g, r, i, z, y, VIS, Z, Y, J, H, Ks."),
        ("G,r", "unknown band 'G'. Did you mean 'g'?"),
        ("grg", "band 'g' is named twice"),
        (" ", "no band is named"),
    ],
)
def test_a_list_that_means_nothing_is_an_error(text, message):
    with pytest.raises(CutoutError) as error:
        parse_bands(text)
    assert message in str(error.value)


def test_every_passband_has_a_curve_around_its_effective_wavelength():
    for band in PASSBANDS.values():
        wavelength, response = band.response()
        assert wavelength[0] < band.wavelength < wavelength[-1]
        assert response.max() > 0
        assert Band.parse(str(band)) == band == PASSBANDS[str(band)]


def test_curves_and_effective_wavelengths_are_those_of_speclite():
    filters = pytest.importorskip("speclite.filters")
    for band in PASSBANDS.values():
        if band.system == "vista":
            continue
        reference = filters.load_filter(band.curve)
        assert np.array_equal(band.response(), [reference.wavelength, reference.response])
        assert band.wavelength == pytest.approx(reference.effective_wavelength.value, rel=1e-12)


def test_a_passband_is_found_in_whatever_case_and_otherwise_the_nearest_is_suggested():
    assert find_passband("Y_des") is find_passband("y_DES")
    with pytest.raises(CatalogError, match=r"unknown band 'r_sds'. Did you mean 'r_sdss'"):
        find_passband("r_sds")


def test_a_band_that_is_not_known_has_no_wavelength():
    band = Band.parse("r_old_cfht")
    assert (band.name, band.system, str(band)) == ("r", "old_cfht", "r_old_cfht")
    assert band.wavelength != band.wavelength
