import pytest

from targetsel.surveys.http import Unanswered
from targetsel.surveys.virtual_observatory import SiaImages
from tests.emulator.faults import Faults
from tests.emulator.server import Answer, Emulator
from tests.emulator.sky import Cell
from tests.emulator.vo import SCALE, VO
from tests.surveys.cutouts.conftest import PLACES, check_star


def fetch(service, web, bands=("g", "r"), place=PLACES[0], handlers=None, scale=SCALE):
    faults = service.faults
    with Emulator(service.handlers() | (handlers or {}), faults) as emulator:
        url = emulator.url + "/sia2/query"
        return SiaImages(web, bands, 64, url, scale).fetch(*place)


@pytest.mark.parametrize("star", range(len(PLACES)))
def test_a_star_in_nanojanskys_has_its_magnitude_in_the_middle(stars, web, star):
    answers = fetch(VO(stars), web, place=PLACES[star])
    assert [answer.status for answer in answers] == ["ok", "ok"]
    for answer, band in zip(answers, "gr", strict=True):
        check_star(answer.value, star, stars, band)


def test_without_soda_the_image_itself_is_fetched_and_cut(stars, web):
    cell = Cell(230, 7, SCALE)
    stars.ra[0], stars.dec[0] = cell.plane.ra + 0.01, cell.plane.dec - 0.005
    g, _ = fetch(VO(stars, soda=False), web, place=(stars.ra[0], stars.dec[0]))
    check_star(g.value, 0, stars, "g")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("outside", ["outside the footprint", "outside the footprint"]),
        ("missing band", ["ok", "no image of the band"]),
    ],
)
def test_what_the_service_lacks_is_an_answer(stars, web, trouble, said):
    faults = Faults(lasting=1, lasting_kinds=(trouble,))
    answers = fetch(VO(stars, faults), web)
    assert [answer.status for answer in answers] == said
    assert all(answer.final for answer in answers)


def test_a_list_that_was_cut_short_is_not_taken_for_the_whole(stars, web):
    with pytest.raises(Unanswered, match="cut short"):
        fetch(VO(stars, overflow=True), web)


def test_pixels_of_another_scale_are_refused(stars, web):
    g, _ = fetch(VO(stars), web, scale=0.25)
    assert g.status == "pixels of 0.2 x 0.2 arcsec, expected 0.25"
    assert (g.value, g.final) == (None, False)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>login</html>", "no VOTable but '<html>login"),
        (b"not xml at all", "no VOTable but 'not xml"),
        (b"<?xml version='1.0'?><VOTABLE version='1.4'/>", "no list of images"),
    ],
)
def test_another_document_in_place_of_the_list_is_named(stars, web, content, reason):
    with pytest.raises(Unanswered, match=f"^{reason}"):
        fetch(VO(stars), web, handlers={"/sia2/query": lambda request: Answer(content)})


def test_constraints_in_the_address_are_kept_in_every_question(stars, web):
    service = VO(stars)
    with Emulator(service.handlers()) as emulator:
        url = f"{emulator.url}/sia2/query?COLLECTION=deep"
        (answer,) = SiaImages(web, ("g",), 64, url, SCALE).fetch(*PLACES[0])
        assert emulator.log[0].request.query["COLLECTION"] == "deep"
    assert answer.status == "ok"
