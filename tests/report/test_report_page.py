"""The page: complete in itself, and plain about where its figures come from."""

import base64
import re
from xml.etree import ElementTree

import pytest

from targetsel.report.evaluation import evaluate
from targetsel.report.page import write_page
from tests.report.sky_by_hand import RULES, sky


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "rules.yaml").write_text(RULES)
    return evaluate(*sky(600).write(folder), (str(folder / "rules.yaml"),), ("d4000 > 1.6",))


@pytest.fixture
def page(found, tmp_path):
    """The page for other words about the evaluation."""

    def page(**about):
        path = tmp_path / "page.html"
        write_page(found.figures, found.counts, found.subsets, found.about | about, path)
        return path.read_text()

    return page


def test_the_page_asks_the_network_for_nothing(page):
    text = page()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text)
    assert "<script" not in text
    assert "@import" not in text


def test_every_picture_is_a_sound_svg_with_its_description(page):
    images = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]*)" alt="([^"]*)">', page())
    # Errors, coverage, levels, correlations, by magnitude and redshift, P, counts, lists.
    assert len(images) == 9
    for data, description in images:
        root = ElementTree.fromstring(base64.b64decode(data))
        assert root.tag.endswith("svg")
        assert len(description) > 60


def test_the_same_figures_make_the_same_bytes(page):
    assert page() == page()


def test_simulated_images_are_called_so(page):
    assert "SIMULATED" in page(simulated=True)
    assert "SIMULATED" not in page(simulated=False)


def test_the_page_names_ensemble_and_calibration(page):
    made_by = {"name": "mock-ps1", "sha256": "440efb05a273e904"}
    fitted = {"sha256": "c" * 64, "truth_sha256": "d" * 64, "n_fitted": 5102, "simulated": True}
    text = page(ensemble=made_by, calibration=fitted)
    assert "Evaluation of mock-ps1 (440efb05a273)" in text
    assert "Calibrated on 5,102 simulated sources (truth dddddddddddd)" in text
    assert "Not calibrated" in page(calibration=None)


def test_a_calibration_fitted_on_the_same_truth_is_called_out(page):
    fitted = {"truth_sha256": "d" * 64}
    assert "fitted to this same truth" in page(calibration=fitted, truth_sha256="d" * 64)
    assert "fitted to this same truth" not in page(calibration=fitted, truth_sha256="e" * 64)


def test_what_was_left_out_is_told(page):
    text = page(
        left_out={"without a prediction": 22},
        truth_unknown={"d4000": 3, "ew_oiii": 0},
        not_evaluated=["class X speaks of <y>"],
        photometry=[],
        no_photometry_because="there are no fluxes",
    )
    assert "22 without a prediction" in text
    assert "d4000 3." in text
    assert "class X speaks of &lt;y&gt;" in text
    assert "No comparison with photometry alone: there are no fluxes." in text


def test_the_tables_give_every_figure_of_all_sources_with_its_interval(page, found):
    each = found.figures.find("coverage 90 %", "d4000")
    assert f"{each.value:.3f} ({each.low:.3f} to {each.high:.3f})" in page()


def test_the_page_gives_every_claim_its_counts_and_each_kind_how_many_are_off(page, found):
    text = page()
    assert '<th scope="row">all</th><td>17</td>' in text
    assert text.count("<td>single line</td>") == 9
    each = next(each for each in found.counts if each.claim == "test: OLD")
    assert f"<td>{each.expected:,.1f}</td><td>{each.true:,.0f}</td>" in text


def test_the_page_shows_the_worst_cell_beside_chance(page):
    text = page()
    assert "<li>12 cells are parts of equal numbers" in text  # of 50 of the 600 sources
    assert "90 % intervals of proxies in cells of like sources" in text
    assert re.search(r'<th scope="row">all proxies</th><td>0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)', text)
    assert "cells are parts" not in page(cells=0)


def test_the_page_begins_with_three_sentences_and_links_that_lead_to_headings(page):
    text = page(simulated=True)
    start = text[text.index('class="summary"') : text.index("<nav>")]
    assert start.count("<p>") == 3
    assert "SIMULATED" in start
    assert "says nothing about real images" in start
    links = re.findall(r'href="#([^"]+)"', text)
    assert len(links) == len(set(links)) > 8
    assert all(f'id="{each}"' in text for each in links)


def test_the_biggest_caution_is_a_calibration_on_the_same_sources(page):
    fitted = {"truth_sha256": "d" * 64}
    text = page(simulated=True, calibration=fitted, truth_sha256="d" * 64)
    assert "fitted to these same sources" in text[: text.index("<nav>")]


def test_truth_of_another_fiber_comes_before_the_simulation(page):
    text = page(simulated=True, apertures="true line strengths are of the light in another fiber")
    assert "True line strengths are of the light in another fiber." in text[: text.index("<nav>")]


def test_bias_and_scatter_of_each_proxy_are_drawn(found):
    root = ElementTree.fromstring(found.agreement.svg)
    assert root.tag.endswith("svg")
    assert "Dn4000: bias " in found.agreement.description


def test_calibration_errors_stand_beside_what_chance_gives(found):
    error = found.figures.named("calibration error")[0]
    chance = found.figures.find("calibration error, by chance", error.of)
    assert 0 < chance.low <= chance.value <= chance.high
