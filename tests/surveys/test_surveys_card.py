"""Cards of surveys: complete, consistent, and found by name."""

import numpy as np
import pytest

from targetsel.errors import CutoutError, MockError
from targetsel.mock.camera import Camera, find_camera
from targetsel.photometry.bands import BANDS, Band
from targetsel.surveys.card import CardBand, SurveyCard
from targetsel.surveys.http import Web
from targetsel.surveys.registry import cards, find_card, open_cutouts


def test_seven_surveys_have_cards_named_as_they_are():
    assert list(cards()) == ["ps1", "sdss", "legacy", "hsc", "kids", "lsst", "euclid"]
    assert all(card.name == name for name, card in cards().items())


@pytest.mark.parametrize("card", cards().values(), ids=cards())
def test_every_figure_of_a_card_is_plausible(card):
    assert set(card.band_names) <= set(BANDS)
    assert len({name.lower() for name in card.band_names}) == len(card.bands)
    assert (np.diff(card.column("wavelength")) > 0).all()
    assert 0.05 < card.pixel_scale < 0.5
    assert (card.column("seeing") > 1.2 * card.pixel_scale).all()
    assert ((card.column("depth") > 20) & (card.column("depth") < 28)).all()
    assert ((card.column("sky") > 14) & (card.column("sky") < 24)).all()
    assert 12 < card.cutout_size * card.pixel_scale < 20
    assert card.cutout_size % card.binning == 0
    assert card.zeropoint is None or -1 < card.zeropoint < 35
    assert len(set(card.mask_bits.values())) == len(card.mask_bits)
    assert card.unusable == sum(2**bit for bit in card.mask_bits.values())
    assert card.sources
    assert card.about


def test_a_near_infrared_band_is_another_one_than_the_optical_band_of_that_letter():
    kids = dict(zip(find_card("kids").band_names, find_card("kids").passbands, strict=True))
    assert kids["Y"].wavelength == pytest.approx(10220, abs=20)
    assert "y" not in kids
    assert "z" not in kids


@pytest.mark.parametrize("name", ["lsst", "rubin", "Rubin", "LSST"])
def test_a_survey_is_found_in_whatever_case_and_by_its_other_names(name):
    assert find_card(name).name == "lsst"


def test_an_unknown_card_is_told_with_those_there_are():
    with pytest.raises(MockError, match=r"unknown survey 'hcs'. Did you mean 'hsc'"):
        find_card("hcs", MockError)
    with pytest.raises(CutoutError, match=r"unknown survey 'rubn'. Did you mean 'rubin'"):
        find_card("rubn")
    with pytest.raises(CutoutError, match="unknown survey 'desi'"):
        find_card("desi")


def test_a_new_survey_needs_no_curve_but_edges():
    band = CardBand("g", Band.between("g", "mine", 4000, 5500), seeing=1.0, depth=24.0, sky=22.0)
    card = SurveyCard("mine", "a camera", (band,), 0.3, 22.5, "nanomaggy")
    assert Camera.of(card).wavelength == pytest.approx([4750])


def test_a_band_beyond_the_simulated_spectra_is_refused_and_not_empty():
    band = CardBand("L", Band.between("L", "mine", 32000, 40000), seeing=1.0, depth=20.0, sky=15.0)
    with pytest.raises(MockError, match="band 'L' reaches from 32,000 to 40,000 Angstrom"):
        Camera.of(SurveyCard("mine", "a camera", (band,), 0.3, 22.5, "nanomaggy"))


def test_the_camera_of_a_card_has_its_figures():
    camera, card = find_camera("hsc"), find_card("hsc")
    assert (camera.bands, camera.size) == (card.band_names, card.cutout_size)
    assert camera.seeing == pytest.approx(card.column("seeing"))


def test_cutouts_have_the_bands_size_and_pixels_of_the_card_by_default():
    legacy = open_cutouts("legacy", Web(), None, None)
    assert (legacy.bands, legacy.size, legacy.pixel_scale) == (("g", "r", "z"), 64, 0.262)
    assert open_cutouts("ps1", Web(), None, None).bands == tuple("grizy")
    assert open_cutouts("legacy", Web(), ("r",), 32).size == 32
