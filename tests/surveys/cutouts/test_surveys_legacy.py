import numpy as np
import pytest

from targetsel.errors import CutoutError
from targetsel.surveys.legacy import LegacyImages
from tests.emulator.faults import Faults
from tests.emulator.legacy import Legacy as Viewer
from tests.emulator.server import Emulator
from tests.surveys.cutouts.conftest import PLACES, check_star

GRZ = tuple("grz")


def fetch(stars, web, bands=GRZ, place=0, faults=None, **options):
    faults = faults or Faults()
    with Emulator(Viewer(stars, faults).handlers(), faults) as emulator:
        service = LegacyImages(web, bands, 64, 0.25, url=emulator.url, **options)
        return service.fetch(*PLACES[place])


@pytest.mark.parametrize("star", range(3))
def test_a_star_has_its_magnitude_in_the_middle_of_every_band(stars, web, star):
    answers = fetch(stars, web, place=star)
    assert [answer.status for answer in answers] == ["ok"] * 3
    for answer, band in zip(answers, GRZ, strict=True):
        check_star(answer.value, star, stars, band)


def test_a_zero_without_inverse_variance_is_missing_and_not_empty_sky(stars, web):
    answer = fetch(stars, web)[0]
    assert np.isnan(answer.value[:3, :3]).all()
    assert np.isnan(answer.value).sum() == 9


def test_bands_come_in_the_order_asked_for_whatever_the_order_of_the_cube(stars, web):
    answers = fetch(stars, web, ("z", "g"))
    for answer, band in zip(answers, "zg", strict=True):
        check_star(answer.value, 0, stars, band)


def test_all_bands_sent_for_one_that_the_layer_lacks_are_not_taken_for_it(stars, web):
    g, i, y = fetch(stars, web, ("g", "i", "y"))
    check_star(g.value, 0, stars, "g")
    check_star(i.value, 0, stars, "i")
    assert (y.status, y.value, y.final) == ("band not in the layer", None, True)


def test_an_image_without_any_data_is_outside_the_footprint(stars, web):
    faults = Faults(lasting=1, lasting_kinds=("outside",))
    answers = fetch(stars, web, faults=faults)
    assert [answer.status for answer in answers] == ["outside the footprint"] * 3
    assert all(answer.final for answer in answers)


def test_no_overlap_is_an_answer_although_the_viewer_calls_it_an_error(stars, web):
    answers = fetch(stars, web, place=4)
    assert [answer.status for answer in answers] == ["outside the footprint"] * 3


def test_one_lost_band_leaves_the_others(stars, web):
    faults = Faults(lasting=1, lasting_kinds=("NaN band",))
    said = [answer.status for answer in fetch(stars, web, faults=faults)]
    assert said == ["ok", "ok", "no data"]


def test_an_unknown_layer_ends_the_run_with_one_line(stars, web):
    with pytest.raises(CutoutError, match=r"layer 'ls-dr99': no such layer. Choose another with"):
        fetch(stars, web, layer="ls-dr99")


def test_a_size_that_the_viewer_would_clip_is_refused(web):
    with pytest.raises(CutoutError, match="size 3001: the viewer sends at most 3000 pixels"):
        LegacyImages(web, GRZ, 3001)
