"""Variations: what a file may say, and what each key does."""

from pathlib import Path

import numpy as np
import pytest

from targetsel.errors import MockError
from targetsel.mock.camera import PAN_STARRS, find_camera
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.plan import Variation

EXAMPLES = Path(__file__).parents[2] / "examples" / "variations"


@pytest.fixture
def refuses(tmp_path):
    """Read a text that must be refused; gives the message after the file's name."""

    def refuses(text):
        path = tmp_path / "varied.yaml"
        path.write_text(text)
        with pytest.raises(MockError) as caught:
            Variation.read(path)
        return str(caught.value).replace(str(path), "varied.yaml")

    return refuses


def test_a_file_sets_what_it_names_and_leaves_the_rest(tmp_path):
    path = tmp_path / "varied.yaml"
    path.write_text("seeing: 1.5\nzero_point: {g: 0.1}\nredshift: [0.02, 0.1]\nlink: 0\n")
    expected = Variation(seeing=1.5, zero_point={"g": 0.1}, redshift=(0.02, 0.1), link=0.0)
    assert Variation.read(path) == expected


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_variation(path):
    assert Variation.read(path) != Variation()


def test_the_default_is_a_sky_with_real_trouble_and_farther_galaxies():
    assert (Variation().realism, Variation().farther) == (1.0, 0.4)


def test_there_are_four_examples():
    assert len(list(EXAMPLES.glob("*.yaml"))) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seing: 2", "1:1: error: unknown key 'seing' in the file. Did you mean 'seeing'?"),
        ("link: 1\nseeing: wide", "2:9: error: seeing is 'wide'; expected 0.3 to 5"),
        ("seeing: nan", "1:9: error: seeing is 'nan'; expected 0.3 to 5"),
        ("seeing: 50", "1:9: error: seeing is '50'; expected 0.3 to 5"),
        ("realism: 2", "1:10: error: realism is '2'; expected 0 to 1"),
        ("link: -1", "1:7: error: link is '-1'; expected 0 to 3"),
        (
            "redshift: [0.2, 0.1]",
            "1:11: error: redshift is 0.2 to 0.1; expected two rising numbers",
        ),
        (
            "redshift: 0.2",
            "1:11: error: redshift is '0.2'; expected two rising numbers from 0 up, such as "
            "[0.02, 0.1]",
        ),
        (
            "zero_point: 0.1",
            "1:13: error: zero_point is '0.1'; expected magnitudes from -2 to 2 by band, such as "
            "{g: 0.03}",
        ),
        (
            "zero_point: {g: 9}",
            "1:17: error: g is '9'; expected magnitudes from -2 to 2 by band, such as {g: 0.03}",
        ),
        (
            "- seeing",
            "1:1: error: the file is a list; expected a map of keys and values, such as seeing, "
            "depth, zero_point, link, neighbours, dimming",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(refuses, text, message):
    assert refuses(text) == f"varied.yaml:{message}"


def test_missing_file_is_named(tmp_path):
    with pytest.raises(MockError, match=r"none\.yaml: no such file"):
        Variation.read(tmp_path / "none.yaml")


def test_seeing_widens_the_psf_and_leaves_the_noise_of_a_pixel():
    wide = Variation(seeing=1.5).survey(PAN_STARRS)
    assert wide.seeing == pytest.approx(1.5 * PAN_STARRS.seeing)
    assert wide.sky_sigma == pytest.approx(PAN_STARRS.sky_sigma, rel=0.03)
    assert wide.depth == pytest.approx(PAN_STARRS.depth - 0.44, abs=0.01)


def test_one_magnitude_deeper_is_two_and_a_half_times_less_noise():
    deep = Variation(depth=1.0).survey(PAN_STARRS)
    assert deep.sky_sigma == pytest.approx(PAN_STARRS.sky_sigma / 10**0.4)
    assert deep.seeing == pytest.approx(PAN_STARRS.seeing)


def test_zero_point_of_a_band_that_the_survey_lacks_is_refused():
    varied = Variation(zero_point={"r": 0.02})
    assert varied.zero_points(find_camera("legacy")) == pytest.approx([0.0, 0.02, 0.0])
    with pytest.raises(
        MockError, match="survey 'legacy' has no band 'i'; expected some of g, r, z"
    ):
        Variation(zero_point={"i": 0.02}).zero_points(find_camera("legacy"))


def test_galaxies_outside_the_redshifts_are_left_out_and_the_others_dimmed():
    every = Galaxies.shipped()
    kept = Variation(redshift=(0.05, 0.1), dimming=1.0).galaxies(every)
    assert 1000 < len(kept) < len(every)
    assert kept.redshift.min() >= 0.05
    assert kept.redshift.max() <= 0.1
    same = np.isin(every.source_id, kept.source_id)
    assert every.flux[same, 2] / kept.flux[:, 2] == pytest.approx(10**0.4)
    assert every.known[same, 2] - kept.known[:, 2] == pytest.approx(0.4)
    assert kept.known[:, 0].mean() < every.known[same, 0].mean() - 0.1
