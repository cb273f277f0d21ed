"""Ensembles that learnt from simulated images, and images that do not call themselves simulated."""

from targetsel.scored.simulated_training import caution_about, caution_in

SIMULATED = {"name": "mock-ps1", "simulated": True}
SAID = (
    "the ensemble 'mock-ps1' learnt from simulated images, and these images do not call "
    "themselves simulated: how well it does on real ones is not known"
)


def test_an_ensemble_of_simulated_images_before_other_images_is_told():
    assert caution_about(SIMULATED, images_are_simulated=False) == SAID


def test_simulated_images_and_ensembles_of_real_ones_need_no_caution():
    assert caution_about(SIMULATED, images_are_simulated=True) == ""
    assert caution_about({"name": "real", "simulated": False}, images_are_simulated=False) == ""


def test_a_footer_keeps_the_sentence_unless_it_is_damaged():
    assert caution_in({"caution": SAID}) == SAID
    assert caution_in({"caution": 3}) == caution_in({}) == ""
