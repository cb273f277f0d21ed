"""`targetsel surveys` lists cards, and shows one with all that it says."""

from targetsel.surveys.registry import cards


def test_every_card_is_listed_with_its_bands(targetsel):
    said = targetsel("surveys")
    assert said.status == 0
    for card in cards().values():
        (line,) = [each for each in said.out.splitlines() if each.split()[0] == card.name]
        assert ",".join(card.band_names) in line


def test_a_card_is_shown_with_its_bands_zero_point_masks_and_origin(targetsel):
    said = targetsel("surveys", "hsc")
    assert said.status == 0
    assert "Zero point: 27" in said.out
    assert "SAT 1" in said.out
    assert "Aihara" in said.out
    assert "i     i2_hsc" in said.out


def test_an_unknown_survey_is_one_line(targetsel):
    said = targetsel("surveys", "rubn")
    assert said.status == 2
    assert said.err.splitlines() == ["unknown survey 'rubn'. Did you mean 'rubin'?"]
