from dataclasses import dataclass

import pytest

from targetsel.errors import CatalogError, CutoutError, SpectrumError
from targetsel.surveys.http import Web
from targetsel.surveys.registry import SkySurvey, find_survey, open_catalog, open_cutouts, surveys


@dataclass(frozen=True)
class Hsc:
    """A survey that someone adds."""

    web: Web
    bands: tuple[str, ...]
    size: int
    layer: str
    least_exposures: int = 1
    url: str = "https://hsc.example.org"


@pytest.fixture
def hsc(monkeypatch):
    monkeypatch.setitem(surveys(), "hsc", SkySurvey("hsc", "HSC images", cutouts=Hsc))


def test_every_survey_offers_something_and_says_what_it_is():
    assert len(surveys()) >= 6
    for name, survey in surveys().items():
        assert survey.name == name
        assert survey.offers or survey.card
        assert survey.title


def test_options_of_an_added_survey_are_those_of_its_opener(hsc):
    web = Web()
    words = {"layer": "pdr3", "url": "http://127.0.0.1/x/", "least_exposures": "3"}
    made = open_cutouts("hsc", web, ("g",), 24, **words, tiles=None)
    assert made == Hsc(web, ("g",), 24, "pdr3", 3, "http://127.0.0.1/x")
    with pytest.raises(CutoutError, match=r"^survey 'hsc' needs --option layer=VALUE"):
        open_cutouts("hsc", web, ("g",), 24)
    message = r"^survey 'hsc': unknown option 'layers'. Did you mean 'layer'\?"
    with pytest.raises(CutoutError, match=message):
        open_cutouts("hsc", web, ("g",), 24, layer="pdr3", layers="x")
    message = r"^survey 'hsc': least-exposures is 'few'; expected a whole number"
    with pytest.raises(CutoutError, match=message):
        open_cutouts("hsc", web, ("g",), 24, layer="pdr3", least_exposures="few")


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
        find_survey("skymapper", kind)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("unknown survey 'skymapper'.")
    for name, survey in surveys().items():
        assert (name in line.rpartition("Known for")[2]) == (kind in survey.offers)


def test_survey_that_lacks_a_service_says_so(hsc):
    with pytest.raises(CatalogError, match=r"^survey 'hsc' has no catalog; expected one of "):
        open_catalog("hsc", Web())
