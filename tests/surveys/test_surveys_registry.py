from dataclasses import dataclass

import pytest

from targetsel.errors import CatalogError, CutoutError, SpectrumError
from targetsel.surveys.http import Web
from targetsel.surveys.registry import SURVEYS, find_survey, open_catalog, open_cutouts
from targetsel.surveys.service import SkySurvey


@dataclass(frozen=True)
class Hsc:
    """A survey that someone adds."""

    web: Web
    bands: tuple[str, ...]
    size: int
    layer: str
    url: str = "https://hsc.example.org"


@pytest.fixture
def hsc(monkeypatch):
    monkeypatch.setitem(SURVEYS, "hsc", SkySurvey("hsc", "HSC images", cutouts=Hsc))


def test_every_survey_offers_something_and_says_what_it_is():
    assert len(SURVEYS) >= 6
    for name, survey in SURVEYS.items():
        assert survey.name == name
        assert survey.offers
        assert survey.title


def test_options_of_an_added_survey_are_those_of_its_opener(hsc):
    web = Web()
    made = open_cutouts("hsc", web, ("g",), 24, layer="pdr3", url="http://127.0.0.1/x/", tiles=None)
    assert made == Hsc(web, ("g",), 24, "pdr3", "http://127.0.0.1/x")
    with pytest.raises(CutoutError, match=r"^--survey hsc: needs --layer\.$"):
        open_cutouts("hsc", web, ("g",), 24)
    with pytest.raises(CutoutError, match=r"^--survey hsc: has no use for --pixel-scale\. Leave"):
        open_cutouts("hsc", web, ("g",), 24, layer="pdr3", pixel_scale=0.2)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("catalog", CatalogError),
        ("query", CatalogError),
        ("cutouts", CutoutError),
        ("spectra", SpectrumError),
    ],
)
def test_unknown_survey_is_one_line_with_the_known_ones(kind, error):
    with pytest.raises(error) as caught:
        find_survey("euclid", kind)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("--survey euclid: no such survey.")
    for name, survey in SURVEYS.items():
        assert (name in line.rpartition("Known for")[2]) == (kind in survey.offers)


def test_survey_that_lacks_a_service_says_so(hsc):
    with pytest.raises(CatalogError, match=r"^--survey hsc: has no catalog\. Known for catalog: "):
        open_catalog("hsc", Web())
