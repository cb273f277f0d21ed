"""Images of a known survey: what files do not say is its card's; those of others are refused."""

import numpy as np
import pytest
from astropy.io import fits

from targetsel.errors import CutoutError
from targetsel.imaging.folder import Folder
from targetsel.imaging.survey_images import unusable
from targetsel.surveys.registry import find_card

HSC, KIDS, EUCLID, LEGACY, LSST = map(find_card, ("hsc", "kids", "euclid", "legacy", "lsst"))
PIXELS = np.arange(36, dtype=np.float32).reshape(6, 6) + 1
BAD = (2, 3)


def header(scale=None, **cards):
    place = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 0.0}
    if scale:
        cards |= place | {"CRPIX1": 3.5, "CRPIX2": 3.5}
        cards |= {"CDELT1": -scale / 3600, "CDELT2": scale / 3600}
    return fits.Header({key: value for key, value in cards.items() if value is not None})


def write(path, pixels=PIXELS, mask=None, mask_cards=None, **cards):
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus = [fits.PrimaryHDU(pixels, header(**cards))]
    if mask is not None:
        hdus.append(fits.ImageHDU(mask, fits.Header(mask_cards or {}), name="MASK"))
    fits.HDUList(hdus).writeto(path, overwrite=True)


def one(folder):
    return folder.read(np.array(["7"])).flux[0]


def test_zero_point_pixels_and_bands_come_from_the_card_where_files_do_not_say_them(tmp_path):
    np.save(tmp_path / "7.npy", np.stack([PIXELS] * 5))
    folder = Folder.open(tmp_path, known=HSC)
    assert (folder.bands, folder.pixel_scale) == (HSC.band_names, 0.168)
    assert one(folder)[0] == pytest.approx(PIXELS * 10 ** (-0.4 * (27.0 - 22.5)), rel=1e-5)


def test_a_file_that_says_its_zero_point_goes_before_the_card(tmp_path):
    write(tmp_path / "7.g.fits", scale=0.168, MAGZERO=25.0)
    assert one(Folder.open(tmp_path, known=HSC))[0, 0, 0] == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("unit", ["adu", "ADU", "DN", "electron", "electrons/s", "count"])
def test_counts_of_a_detector_are_not_taken_for_the_fluxes_of_a_survey(tmp_path, unit):
    write(tmp_path / "7.g.fits", scale=0.2, BUNIT=unit)
    with pytest.raises(CutoutError, match=f"BUNIT is '{unit}', but .* 'lsst' are in nJy. Give --z"):
        Folder.open(tmp_path, known=LSST)
    assert one(Folder.open(tmp_path, zeropoint=22.5, known=LSST))[0, 0, 0] == pytest.approx(1)
    write(tmp_path / "7.g.fits", scale=0.168, BUNIT=unit)
    assert Folder.open(tmp_path, known=HSC).bands == ("g",)  # whose coadds are in counts


def test_a_capital_is_the_near_infrared_band_of_a_survey_that_has_it(tmp_path):
    for band in ("u", "Z", "Y", "Ks", "j"):
        write(tmp_path / f"7.{band}.fits", PIXELS * np.float32(1e-9), scale=0.2)
    assert Folder.open(tmp_path, known=KIDS).bands == ("u", "Z", "Y", "J", "Ks")


def test_names_that_are_understood_are_those_of_the_surveys_bands(tmp_path):
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(CutoutError, match=r"bands u, g, r, i, Z, Y, J, H, Ks in either case\.$"):
        Folder.open(tmp_path, known=KIDS)
    with pytest.raises(CutoutError, match=r"bands u, g, r, i, z, y in either case\.$"):
        Folder.open(tmp_path)


def test_bands_of_several_letters_are_those_of_names_filters_and_lists(tmp_path):
    for name, cards in {
        "names/7_VIS.fits": {},
        "filters/7.fits": {"FILTER": "VIS"},
        "lists/7.fits": {"BANDS": "VIS"},
    }.items():
        write(tmp_path / name, scale=0.1, MAGZERO=24.6, **cards)
        assert Folder.open((tmp_path / name).parent, known=EUCLID).bands == ("VIS",)


def test_a_survey_whose_headers_alone_tell_the_zero_point_takes_none_for_granted(tmp_path):
    write(tmp_path / "7.VIS.fits", scale=0.1)
    with pytest.raises(CutoutError, match="does not say what one count is worth"):
        Folder.open(tmp_path, known=EUCLID)


@pytest.mark.parametrize(
    ("name", "cards", "message"),
    [
        ("7.g.fits", {"scale": 0.25}, "its pixels are 0.25 arcsec, but those of survey 'hsc' are"),
        ("7.fits", {"scale": 0.168, "BANDS": "u"}, "survey 'hsc' has no band 'u'; expected some"),
    ],
)
def test_images_of_another_survey_are_refused_in_one_line(tmp_path, name, cards, message):
    write(tmp_path / name, **cards)
    with pytest.raises(CutoutError, match=message) as caught:
        Folder.open(tmp_path, known=HSC)
    assert len(str(caught.value).splitlines()) == 1


def test_resampled_images_are_taken_where_their_pixels_are_told(tmp_path):
    write(tmp_path / "7.g.fits", scale=0.25)
    assert Folder.open(tmp_path, pixel_scale=0.25, known=HSC).pixel_scale == 0.25


def masked(tmp_path, bit, cards=None, known=HSC, dtype=np.int32):
    mask = np.zeros((6, 6), dtype)
    mask[BAD] = 1 << bit
    write(tmp_path / "7.g.fits", mask=mask, mask_cards=cards, scale=known.pixel_scale)
    return np.isnan(one(Folder.open(tmp_path, known=known)))


def test_pixels_with_a_bit_of_the_survey_have_no_data(tmp_path):
    lost = masked(tmp_path, HSC.mask_bits["SAT"])
    assert lost[0][BAD]
    assert lost.sum() == 1


def test_other_bits_spoil_no_pixel(tmp_path):
    assert not masked(tmp_path, 5).any()  # DETECTED


def test_numbers_of_bits_in_the_mask_go_before_those_of_the_card(tmp_path):
    assert masked(tmp_path, 7, {"MP_SAT": 7, "HIERARCH MP_DETECTED": 1}).sum() == 1
    assert not masked(tmp_path, 1, {"MP_SAT": 7, "HIERARCH MP_DETECTED": 1}).any()


def test_the_number_of_a_bit_may_be_written_as_a_float(tmp_path):
    assert masked(tmp_path, 7, {"MP_SAT": 7.0}).sum() == 1


@pytest.mark.parametrize("number", ["seven", -1, 70, 7.5])
def test_a_number_of_no_bit_is_refused(number, tmp_path):
    with pytest.raises(CutoutError, match=rf"MP_SAT .* is '{number}', expected the number of a b"):
        masked(tmp_path, 7, {"MP_SAT": number})


def test_without_a_survey_masks_are_passed_over(tmp_path):
    masked(tmp_path, HSC.mask_bits["SAT"])
    assert np.isfinite(one(Folder.open(tmp_path, zeropoint=27.0))).all()


def test_a_mask_of_another_shape_or_type_is_refused(tmp_path):
    write(tmp_path / "7.g.fits", mask=np.zeros((3, 3), np.int32), scale=0.168)
    with pytest.raises(CutoutError, match=r"its mask has shape \(3, 3\) and type"):
        Folder.open(tmp_path, known=HSC)
    with pytest.raises(CutoutError, match="expected whole numbers of shape"):
        masked(tmp_path, 1, dtype=np.float32)


def test_a_bit_of_one_band_spoils_that_band_alone():
    mask = np.full((2, 2), 1 << LEGACY.mask_bits["SATUR_R"], np.int32)
    lost = unusable(mask, LEGACY.mask_bits, ("g", "r"), (2, 2, 2), "here")
    assert not lost[0].any()
    assert lost[1].all()
    only_g = unusable(mask, LEGACY.mask_bits, ("g",), (1, 2, 2), "here")
    assert not only_g.any()
