"""The table of sites, and sites given by coordinates."""

from __future__ import annotations

import pytest

from targetsel.errors import VisibilityError
from targetsel.nights.sites import Site, sites

# What the observatories or the surveys at them say of themselves, to a minute of arc.
KNOWN = {
    "DESI": (-111.60, 31.96),
    "Apache Point": (-105.82, 32.78),
    "VLT": (-70.40, -24.63),
    "4MOST": (-70.40, -24.62),
    "la silla": (-70.73, -29.26),
    "gemini-north": (-155.47, 19.82),
    "GEMINI SOUTH": (-70.74, -30.24),
    "WEAVE": (-17.88, 28.76),
    "PFS": (-155.48, 19.83),
    "LAMOST": (117.58, 40.39),
    "AAO": (149.07, -31.28),
    "Calar Alto": (-2.55, 37.22),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_site_is_found_by_its_names_in_any_case_and_lies_where_it_is(name):
    site = Site.find(name)
    assert (site.longitude, site.latitude) == pytest.approx(KNOWN[name], abs=0.02)


def test_the_table_has_a_source_for_each_of_more_than_thirty_sites():
    known = sites()
    assert len(known) > 30
    for site in known.values():
        assert site.source
        assert site.title
        assert site.name.isidentifier()
        assert 0 < site.height < 5000


def test_no_name_stands_for_two_sites():
    names = {
        (each, site.name)
        for site in sites().values()
        for each in ("".join(filter(str.isalnum, a.lower())) for a in (site.name, *site.aliases))
    }
    assert len({each for each, _ in names}) == len(names)


def test_an_unknown_site_has_a_suggestion_and_a_way_out():
    with pytest.raises(VisibilityError, match=r"unknown site 'KPN'\. Did you mean 'KPNO'") as error:
        Site.find("KPN")
    assert "targetsel sites" in str(error.value)
    assert "lat=" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "lat=31.96 lon=-111.6 height=2120",
        "lon=248.4, lat=31.96, elevation=2120",
        "Latitude = 31.96  Longitude = -111.6 altitude = 2120",
    ],
)
def test_coordinates_are_a_site_however_they_are_spaced(text):
    site = Site.find(text)
    assert (site.latitude, site.height) == (31.96, 2120)
    assert site.longitude == pytest.approx(-111.6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lat=31.96", "a coordinate is missing"),
        ("lat=31.96 lon=-111.6 size=3", "'size=3' is not understood"),
        ("lat=31d57m lon=-111.6", "'lat=31d57m' is not understood"),
        ("lat=31.96 lon=-111.6 2120", "'2120' is not understood"),
        ("lat=1 lat=2 lon=3", "'lat=2' is not understood"),
        ("lat=nan lon=3", "'lat=nan' is not understood"),
        ("lat=91 lon=3", "its latitude is 91.0; expected -90 to 90 deg"),
        ("lat=3 lon=-190", "its longitude is -190.0; expected -180 to 360 deg"),
        ("lat=3 lon=9 height=99999", "its height is 99999.0; expected -500 to 9000 m"),
        ("=", "a coordinate is missing|not understood"),
    ],
)
def test_coordinates_that_are_none_are_refused_in_one_line(text, message):
    with pytest.raises(VisibilityError, match=message):
        Site.find(text)


def test_a_site_that_is_no_text_is_refused():
    with pytest.raises(VisibilityError, match="a site is a name or a Site, not int"):
        Site.find(5)
