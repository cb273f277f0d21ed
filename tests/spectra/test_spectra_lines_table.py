"""Line tables: what ships, what users add, and what is refused."""

import copy
import re

import numpy as np
import pytest
import yaml

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import WavelengthBand, wavelengths
from targetsel.spectra.lines import (
    DESCRIPTIONS,
    PREDICTABLE,
    PROXIES,
    UNITS,
    LineTable,
    in_symbols,
)

GOOD = {
    "name": "ew_ariii",
    "kind": "emission",
    "medium": "vacuum",
    "line": [7128.0, 7148.0],
    "blue": [7100.0, 7128.0],
    "red": [7148.0, 7176.0],
}


@pytest.fixture
def write(tmp_path):
    def write(*entries, **document):
        path = tmp_path / "mine.yaml"
        path.write_text(
            yaml.safe_dump({"schema": "targetsel/lines/v1", "lines": list(entries)} | document)
        )
        return path

    return write


def test_shipped_table_has_every_proxy_with_unit_and_description():
    names = {each.name for each in LineTable.shipped().definitions}
    assert set(PROXIES) <= names
    assert {"hgamma_a", "hbeta_lick", "mgb", "mg2", "fe5270", "fe5335", "nad"} <= names
    assert {"mgfe_prime", "d4000_wide", "balmer_decrement", "ew_nii_fit"} <= names
    assert set(UNITS) == set(DESCRIPTIONS) == set(PREDICTABLE)
    assert UNITS["ew_oii"] == "Angstrom"
    assert UNITS["d4000"] == ""
    assert LineTable.shipped()["mg2"].unit == "mag"


def test_proxies_are_those_that_the_shipped_table_marks_as_predicted():
    marked = [each.name for each in LineTable.shipped().definitions if each.predicted]
    assert list(PROXIES) == marked
    assert {"ew_halpha", "d4000"} <= set(PROXIES)


def test_a_table_of_ones_own_cannot_say_what_is_predicted(write):
    with pytest.raises(SpectrumError, match=r":\d+:\d+: error: only the shipped table says what"):
        LineTable.read(write(GOOD | {"predicted": True}))


def test_lines_in_a_band_are_its_profile_or_one_at_its_centre(write):
    pair = copy.deepcopy(GOOD) | {"name": "pair", "profile": [[7130, 1], [7140, 3]]}
    in_air = copy.deepcopy(GOOD) | {"name": "in_air", "medium": "air"}
    table = LineTable.read(write(GOOD, pair, in_air))
    assert table["ew_ariii"].emission_lines == ((7138.0, 1.0),)
    assert table["pair"].emission_lines == ((7130.0, 0.25), (7140.0, 0.75))
    assert table["in_air"].emission_lines[0][0] == pytest.approx(7139.97, abs=0.01)
    assert table["ew_halpha_fit"].emission_lines == ((6564.61, 1.0),)
    assert table["mgb"].emission_lines == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"profile": [[7200, 1]]}, "profile has a line at 7200.0, expected between"),
        ({"kind": "absorption", "profile": [[7130, 1]]}, "only an emission line has a profile"),
    ],
)
def test_a_profile_that_is_none_of_the_line_is_refused(write, changed, message):
    with pytest.raises(SpectrumError, match=message):
        LineTable.read(write(GOOD | changed))


def test_a_level_cannot_be_predicted(write):
    level = GOOD | {"kind": "level", "predicted": True}
    with pytest.raises(SpectrumError, match="a level cannot be predicted: decoded spectra have no"):
        LineTable.read(write(level))


def test_every_shipped_definition_names_a_source_and_says_what_it_is():
    for each in LineTable.shipped().definitions:
        assert each.source, each.name
        assert each.about, each.name


def test_windows_in_air_are_in_vacuum_once_read():
    index = LineTable.shipped()["hdelta_a"].index
    assert index.line == WavelengthBand(
        pytest.approx(4084.65, abs=0.01), pytest.approx(4123.41, abs=0.01)
    )
    assert LineTable.shipped()["ew_oi"].index.line == WavelengthBand(6292.0, 6312.0)


def test_definition_of_ones_own_is_measured_beside_the_shipped_ones(write):
    in_air = copy.deepcopy(GOOD) | {"name": "ew_ariii_air", "medium": "air"}
    double = {"name": "twice", "kind": "formula", "formula": "2 * ew_ariii", "unit": "Angstrom"}
    table = LineTable.read(write(GOOD, in_air, double))
    assert len(table.names) == len(LineTable.shipped().names) + 3
    grid = wavelengths()
    flux = np.where(np.abs(grid - 7147) < 4, 2.0, 1.0)  # half outside, unless that is in air
    one, air, twice = table.choose(["ew_ariii", "ew_ariii_air", "twice"]).measure(flux, grid)
    assert air > one > 2
    assert twice == 2 * one


def test_chosen_names_come_in_the_order_asked_for_and_bring_what_they_need():
    table = LineTable.shipped().choose(["mgfe_prime", "d4000"])
    assert table.names == ("mgfe_prime", "d4000")
    assert {each.name for each in table.definitions} == {
        "mgfe_prime", "mgb", "fe5270", "fe5335", "d4000",
    }  # fmt: skip
    assert table.measure(np.ones((2, 3, 1000)), wavelengths()).shape == (2, 3, 2)


def test_mgfe_prime_and_mean_iron_follow_from_their_parts():
    flux = np.random.default_rng(0).uniform(0.9, 1.1, 1000) - 0.0003 * np.arange(1000)
    flux[np.abs(wavelengths() - 5178) < 16] *= 0.9
    names = ["mgb", "fe5270", "fe5335", "mgfe_prime", "fe_mean"]
    values = LineTable.shipped().choose(names).measure(flux, wavelengths())
    mgb, fe5270, fe5335, mgfe, mean = values
    assert mean == pytest.approx((fe5270 + fe5335) / 2)
    product = mgb * (0.72 * fe5270 + 0.28 * fe5335)
    np.testing.assert_allclose(mgfe, np.sqrt(product) if product >= 0 else np.nan)


def test_unknown_index_is_refused_with_the_nearest():
    with pytest.raises(SpectrumError, match=r"unknown index 'ew_halfa'. Did you mean 'ew_halpha'"):
        LineTable.shipped().choose(["ew_halfa"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"line": [7148.0, 7128.0]}, r"the band runs from 7148 to 7128; expected increasing"),
        ({"blue": [7150.0, 7160.0]}, r"expected blue, line and red in this order"),
        ({"blue": [7100.0, 7131.0]}, r"blue overlaps line by 3.0 Angstrom, expected at most 10%"),
        ({"red": [7142.0, 7176.0]}, r"red overlaps line by 6.0 Angstrom"),
        ({"line": [0.7128, 0.7148]}, r"line is '0.7128'; expected \[start, end\] between 1000 and"),
        ({"line": [7128.0]}, r"line is a list; expected \[start, end\] between 1000 and 60000 A"),
        ({"line": [7128.0, "x"]}, r"line is 'x'; expected \[start, end\]"),
        ({"line": [7128.0, float("nan")]}, r"line is '.nan'; expected \[start, end\]"),
        ({"medium": "water"}, r"medium is 'water'; expected 'air' or 'vacuum'"),
        ({"kind": "emision"}, r"unknown kind 'emision'. Did you mean 'emission'"),
        ({"colour": 1}, r"unknown key 'colour'"),
        ({"name": "Ew 1"}, r"name is 'Ew 1'; expected small letters, digits and _"),
        ({"name": "d4000"}, r"the name 'd4000' is defined twice"),
        ({"name": 3}, r"name is '3'; expected small letters"),
    ],
)
def test_bad_windows_and_keys_are_refused_with_their_place_in_the_file(write, change, message):
    with pytest.raises(SpectrumError, match=message) as caught:
        LineTable.read(write(GOOD | change))
    path = write(GOOD | change)
    assert re.match(rf"{re.escape(str(path))}:\d+:\d+: error: ", str(caught.value))
    line, caret = caught.value.detail.split("\n")
    assert line in path.read_text()
    assert caret.strip() == "^"


def test_side_bands_of_licks_that_overlap_the_line_a_little_are_taken():
    index = LineTable.shipped()["mgb"].index
    assert 0 < index.sides.blue.shared(index.line) < 0.1 * index.line.width


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ew_halfa * 2", r"unknown name 'ew_halfa'. Did you mean 'ew_halpha'"),
        ("later + 1", r"unknown name 'later'. Define it further up."),
        ("__import__('os')", r"unknown function '__import__'"),
        ("ew_oi.real", r"unexpected '\.'"),
        ("ew_oi if 1 else 2", r"unexpected 'if'"),
        ("ew_oi > 2", r"'\(ew_oi > 2\)' is not allowed in a formula; expected numbers"),
        ("std(ew_oi)", r"unknown function 'std'. Known: log10, sqrt"),
        ("ew_oi + 2 Angstrom", r"'2 Angstrom' is not allowed in a formula"),
        ("ew_oi +", r"the expression ends too early"),
        ("2 + 3", r"no index in it"),
        ("(" * 400 + "ew_oi" + ")" * 400, r"nested deeper than 32 levels"),
    ],
)
def test_formula_that_means_nothing_is_refused(write, text, message):
    entry = {"name": "mine", "kind": "formula", "formula": text}
    later = GOOD | {"name": "later"}
    with pytest.raises(SpectrumError, match=message):
        LineTable.read(write(entry, later))


def test_formula_of_huge_numbers_is_no_number_and_takes_no_time(write):
    entry = {"name": "mine", "kind": "formula", "formula": "ew_oi + 9**9**9**9"}
    table = LineTable.read(write(entry)).choose(["mine"])
    assert np.isnan(table.measure(np.ones(1000), wavelengths())[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": []}, r"sigma is empty; expected a list of different numbers"),
        ({"sigma": [100, 100]}, r"sigma is \[100.0, 100.0\]; expected different numbers"),
        ({"sigma": [1]}, r"between 10 and 2000 km/s"),
        ({"profile": [[5000.0, 1.0]]}, r"profile has a line at 5000.0, expected between"),
        ({"profile": [[6564.6]]}, r"expected \[\[wavelength, strength\], ...\]"),
        ({"profile": 6564.6}, r"expected \[\[wavelength, strength\], ...\]"),
        ({"profile": [[6564.6, 0]]}, r"with strengths above 0"),
        ({"beside": 3}, r"beside is '3'; expected a list of profiles"),
    ],
)
def test_fit_that_cannot_be_made_is_refused(write, change, message):
    fit = {"name": "mine", "kind": "fit", "medium": "vacuum", "line": [6483.0, 6653.0]}
    fit |= {"sigma": [150], "profile": [[6564.6, 1.0]]}
    LineTable.read(write(fit))
    with pytest.raises(SpectrumError, match=message):
        LineTable.read(write(fit | change))


def test_break_whose_bands_overlap_is_refused(write):
    entry = {"name": "mine", "kind": "break", "medium": "air"}
    with pytest.raises(SpectrumError, match="blue reaches into red"):
        LineTable.read(write(entry | {"blue": [3850.0, 3960.0], "red": [3950.0, 4100.0]}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lines: [\n", r"mine.yaml:2:1: error: not valid YAML"),
        ("[1, 2]", r"the file is a list; expected a map of keys and values"),
        (
            "schema: targetsel/rules/v1\n",
            r"unknown schema 'targetsel/rules/v1'; this",
        ),
        ("schema: targetsel/lines/v1\n", r"missing key 'lines'"),
        ("schema: targetsel/lines/v1\nlines: [a]\n", r"2:9: error: expected a definition such as"),
        (
            "schema: targetsel/lines/v1\nlines: [a]\nlnes: 2\n",
            r"unknown key 'lnes' in the file. Did you mean 'lines'",
        ),
        ("\x00", r"not valid YAML"),
    ],
)
def test_file_that_is_no_line_table_is_refused(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(SpectrumError, match=message):
        LineTable.read(path)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(SpectrumError, match=r"none.yaml: no such file"):
        LineTable.read(tmp_path / "none.yaml")


def test_texts_for_people_write_indices_in_the_words_of_the_field():
    assert in_symbols("P(ew_halpha_nii > 30 Angstrom)") == "P(EW(Hα+[NII]) > 30 Å)"
    assert in_symbols("ew_halpha_q16 and rmag") == "ew_halpha_q16 and rmag"
