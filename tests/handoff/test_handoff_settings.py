"""Settings files: what a tool asks of the user beyond the list."""

import dataclasses

import numpy as np
import pytest

from targetsel.errors import HandoffError
from targetsel.handoff.settings import Settings
from tests.handoff.test_handoff_prepare import tool

THING = dataclasses.replace(
    tool(epoch="config"), settings={"arm": "b or r", "time": "seconds", "image": "a file"}
)
PROGRAM = np.array(["STRONG", "WEAK", "STRONG"], dtype=object)


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Settings:
        path = tmp_path / "thing.yaml"
        path.write_text(text)
        return Settings.read(path, THING)

    return write


def test_one_value_serves_all_and_a_map_serves_each_class(written):
    got = written("arm: b\ntime: {STRONG: 900, WEAK: 1800}\n")
    assert got.by_program("arm", PROGRAM).tolist() == ["b", "b", "b"]
    assert got.numbers_by_program("time", PROGRAM).tolist() == [900.0, 1800.0, 900.0]


def test_class_that_a_map_leaves_out_is_an_error_or_takes_the_default(written):
    got = written("time: {STRONG: 900}\n")
    assert got.numbers_by_program("time", PROGRAM, 60.0).tolist() == [900.0, 60.0, 900.0]
    with pytest.raises(HandoffError, match=r"thing\.yaml: 'time' says nothing of the class 'WEAK'"):
        got.by_program("time", PROGRAM)


@pytest.mark.parametrize("text", ['arm: "b\\x1br"', 'time: {STRONG: "9\\t"}'])
def test_control_characters_cannot_slip_into_a_file(written, text):
    with pytest.raises(HandoffError, match=r"has line breaks or control characters in it"):
        written(text)


def test_numbers_stay_in_their_range(written):
    got = written("time: -3\narm: 1e300\n")
    with pytest.raises(HandoffError, match=r"'time' is -3; expected a number above zero"):
        got.positive("time")
    with pytest.raises(HandoffError, match=r"'arm' is 1e\+300; expected a whole number, 0 to 99"):
        got.integer("arm", largest=99)


def test_gaps_in_the_list_are_filled_and_nothing_else(written):
    got = written("time: {STRONG: 900, WEAK: 1800}\n")
    times = np.array([np.nan, np.nan, 30.0])
    assert got.fills("time", times, PROGRAM).tolist() == [900.0, 1800.0, 30.0]
    assert written("arm: b\n").fills("time", np.ones(3), PROGRAM).tolist() == [1.0] * 3
    with pytest.raises(HandoffError, match=r"'time' is 0 for some targets; expected above zero"):
        got.fills("time", np.array([0.0, 1.0, 1.0]), PROGRAM)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arn: b\n", "'thing' has no setting 'arn'. Did you mean 'arm'?"),
        ("x: b\n", "'thing' has no setting 'x'. Its settings are epoch, arm, time, image."),
        ("- b\n", "expected a map of settings, such as `epoch: 2026.5`."),
        ("arm: {a: {b: c}}\n", "'arm': 'a' is not a plain value."),
        ("arm: &x b\n", "YAML anchors and aliases"),
        ("arm: b\narm: r\n", "duplicate key 'arm'"),
        ("arm: !!python/object:os.system b\n", "YAML tags"),
        ("arm: [b\n", "not valid YAML"),
    ],
)
def test_bad_settings_file_is_one_line_that_names_it(written, text, message):
    with pytest.raises(HandoffError) as error:
        written(text)
    assert "thing.yaml" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_settings_file_is_an_error(tmp_path):
    with pytest.raises(HandoffError, match=r"no such file"):
        Settings.read(tmp_path / "nowhere.yaml", THING)


def test_values_are_checked_when_they_are_used(written):
    got = written("arm: x\ntime: soon\nepoch: 2026.5\n")
    assert got.number("epoch") == 2026.5
    with pytest.raises(HandoffError, match=r"'arm' is 'x'; expected one of b, r"):
        got.choice("arm", ("b", "r"))
    with pytest.raises(HandoffError, match=r"'time' is 'soon'; expected a number: seconds"):
        got.number("time")
    with pytest.raises(HandoffError, match=r"'epoch' is 2026\.5; expected a whole number"):
        got.integer("epoch")
    with pytest.raises(HandoffError, match=r"needs the setting 'image' .*--config"):
        got.text("image")


def test_files_are_looked_for_beside_the_settings(tmp_path, written):
    (tmp_path / "a.fits").touch()
    assert written("image: a.fits\n").path("image") == tmp_path / "a.fits"
    with pytest.raises(HandoffError, match=r"'image': .*b.fits is no file"):
        written("image: b.fits\n").path("image")
