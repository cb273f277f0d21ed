import dataclasses

import numpy as np
import pytest

from targetsel.surveys.http import Unanswered
from targetsel.surveys.ps1 import PanStarrsImages
from tests.emulator.faults import Faults
from tests.emulator.ps1 import PS1
from tests.emulator.server import Emulator
from tests.emulator.sky import Cell
from tests.surveys.cutouts.conftest import PLACES, check_star

GRIZY = tuple("grizy")


def statuses(replies):
    return [reply.status for reply in replies]


@pytest.mark.parametrize("asinh", [False, True])
@pytest.mark.parametrize("star", range(len(PLACES)))
def test_a_star_has_its_magnitude_in_the_middle_of_every_band(stars, web, star, asinh):
    with Emulator(PS1(stars, asinh=asinh).handlers()) as emulator:
        replies = PanStarrsImages(web, GRIZY, 64, emulator.url).fetch(*PLACES[star])
    assert statuses(replies) == ["ok"] * 5
    for reply, band in zip(replies, GRIZY, strict=True):
        assert (reply.value.shape, reply.value.dtype) == ((64, 64), np.float32)
        check_star(reply.value, star, stars, band)


@pytest.mark.parametrize("size", [63, 64])
def test_the_middle_is_the_source_for_odd_and_even_sizes(stars, web, size):
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 8), rng.uniform(-29, 89, 8)
    stars = dataclasses.replace(stars, ra=ra, dec=dec, magnitude=np.full((8, 5), 17.0))
    with Emulator(PS1(stars).handlers()) as emulator:
        for star in range(8):
            (reply,) = PanStarrsImages(web, ("r",), size, emulator.url).fetch(ra[star], dec[star])
            check_star(reply.value, star, stars, "r")


def test_where_skycells_overlap_the_one_that_loses_no_pixel_is_taken(stars, web):
    # 20 pixels inside the northern edge of one cell, and well inside the next.
    cell = Cell(231, 0)
    ra, dec = cell.plane.ra, cell.plane.dec + (cell.pixels / 2 - 20) * 0.25 / 3600
    assert [each.row for each in Cell.around(ra, dec)] == [231, 232]
    with Emulator(PS1(stars).handlers()) as emulator:
        (reply,) = PanStarrsImages(web, ("g",), 64, emulator.url).fetch(ra, dec)
        files = [seen.request.query["red"] for seen in emulator.log[1:]]
    assert [".1231." in file for file in files] == [True, False]
    assert not np.isnan(reply.value).any()
    assert "1232" in reply.answer.url


def test_south_of_minus_thirty_is_outside_the_footprint_and_one_question_tells(stars, web):
    with Emulator(PS1(stars).handlers()) as emulator:
        replies = PanStarrsImages(web, GRIZY, 64, emulator.url).fetch(10.0, -45.0)
        assert len(emulator.log) == 1
    assert statuses(replies) == ["outside the footprint"] * 5
    assert all(reply.final and reply.value is None for reply in replies)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("missing band", ["ok", "ok", "ok", "ok", "band not in the file list"]),
        ("NaN band", ["ok", "ok", "no data", "ok", "ok"]),
        ("outside", ["outside the footprint"] * 5),
    ],
)
def test_what_the_survey_lacks_is_an_answer(stars, web, trouble, said):
    faults = Faults(lasting=1, lasting_kinds=(trouble,))
    with Emulator(PS1(stars, faults).handlers(), faults) as emulator:
        replies = PanStarrsImages(web, GRIZY, 64, emulator.url).fetch(*PLACES[0])
    assert statuses(replies) == said
    assert all(reply.final for reply in replies)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("always html", "no file list but '<html>"),
        ("always 503", "HTTP 503"),
        ("gone", "HTTP 404"),
    ],
)
def test_a_service_that_keeps_failing_is_asked_again_by_another_run(stars, web, trouble, reason):
    faults = Faults(lasting=1, lasting_kinds=(trouble,))
    with Emulator(PS1(stars, faults).handlers(), faults) as emulator:
        with pytest.raises(Unanswered, match=f"^{reason}") as error:
            PanStarrsImages(web, GRIZY, 64, emulator.url).fetch(*PLACES[0])
        assert error.value.url.startswith(f"{emulator.url}/cgi-bin/ps1filenames.py")
        assert len(emulator.log) == (1 if trouble == "gone" else 4)


@pytest.mark.parametrize(
    "name",
    [
        "/../../../etc/passwd.fits",
        "http://elsewhere.example/rings.v3.skycell/1/1/a.stk.g.unconv.fits",
        "/rings.v3.skycell/1/../../secret.stk.g.fits",
        "/rings.v3.skycell/1/1/a&x=1.stk.g.fits",
    ],
)
def test_a_hostile_file_name_is_refused_and_never_asked_for(stars, web, name):
    with Emulator(PS1(stars, hostile=name).handlers()) as emulator:
        with pytest.raises(Unanswered, match=r"^a file list with the line"):
            PanStarrsImages(web, ("g",), 64, emulator.url).fetch(*PLACES[0])
        assert {seen.request.path for seen in emulator.log} == {"/cgi-bin/ps1filenames.py"}
