"""Two more surveys, from a mock of their cards to an exported list, with toy networks."""

import pytest
from other_surveys import SURVEYS, walk


@pytest.mark.parametrize("survey", SURVEYS)
def test_the_walk_goes_through_on_the_card_of_another_survey(tmp_path, survey):
    found = walk(tmp_path, survey, n=160, known=640, new=48, width=0.0625, epochs=2)
    assert 0 < found["targets"].value < 0.6
    assert found["typical"].value > 0.4
    assert -1 < found["rank correlation"].value < 1
