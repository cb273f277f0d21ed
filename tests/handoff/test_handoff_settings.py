"""Settings files: what a tool asks of the user beyond the list."""

from typing import Annotated, Literal

import numpy as np
import pytest
import yaml
from pydantic import Field

from targetsel.documents.models import Integer
from targetsel.errors import HandoffError
from targetsel.handoff.export import TOOLS, settings_of
from targetsel.handoff.settings import EpochSettings, NumberByClass, Positive, Text, TextByClass
from tests.handoff.lists_by_hand import target_list

PROGRAM = np.array(["STRONG", "WEAK", "STRONG"], dtype=object)


class ThingSettings(EpochSettings):
    arm: TextByClass | None = None
    """b or r"""
    time: NumberByClass | None = None
    """seconds"""
    image: Text | None = None
    """a file"""
    side: Literal["b", "r"] = "b"
    width: Positive = 1.0
    count: Annotated[Integer, Field(ge=0, le=99)] = 0


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> ThingSettings:
        path = tmp_path / "thing.yaml"
        path.write_text(text if text[0] in "-e" else f"epoch: 2026.5\n{text}")
        return ThingSettings.read(path, "thing")

    return write


def test_one_value_serves_all_and_a_map_serves_each_class(written):
    got = written("arm: b\ntime: {STRONG: 900, WEAK: 1800}\n")
    assert got.by_class("arm", PROGRAM).tolist() == ["b", "b", "b"]
    assert got.by_class("time", PROGRAM).tolist() == [900.0, 1800.0, 900.0]


def test_class_that_a_map_leaves_out_is_an_error_or_takes_the_default(written):
    got = written("time: {STRONG: 900}\n")
    assert got.by_class("time", PROGRAM, 60.0).tolist() == [900.0, 60.0, 900.0]
    with pytest.raises(HandoffError, match=r"thing\.yaml:2:7: .*'time' has no value for the class"):
        got.by_class("time", PROGRAM)


@pytest.mark.parametrize("text", ['arm: "b\\x1br"', 'image: "9\\t"'])
def test_control_characters_cannot_slip_into_a_file(written, text):
    with pytest.raises(
        HandoffError, match=r"has line breaks or control characters; expected one line"
    ):
        written(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arn: b\n", "unknown key 'arn' in the settings. Did you mean 'arm'?"),
        ("x: b\n", "unknown key 'x' in the settings. Known: epoch, arm, time, image, side,"),
        ("- b\n", "the settings is a list; expected a map of keys and values, such as epoch, arm"),
        ("arm: {a: {b: c}}\n", "2:10: error: a is a map; expected a valid string: b or r"),
        ("arm: &x b\n", "YAML anchors and aliases"),
        ("arm: b\narm: r\n", "duplicate key 'arm'"),
        ("arm: !!python/object:os.system b\n", "YAML tags"),
        ("arm: [b\n", "not valid YAML"),
        ("width: -3\n", "2:8: error: width is '-3'; expected a number above 0"),
        ("count: 1e300\n", "count is '1e300'; expected a whole number, 0 to 99"),
        ("count: 5.5\n", "count is '5.5'; expected a whole number, 0 to 99"),
        ("side: x\n", "side is 'x'; expected 'b' or 'r'"),
        ("time: soon\n", "time is 'soon'; expected a number: seconds"),
        ("time: {STRONG: soon}\n", "STRONG is 'soon'; expected a number: seconds"),
        ("epoch: 1066\n", "epoch is '1066'; expected a Julian year such as 2026.5"),
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
        ThingSettings.read(tmp_path / "nowhere.yaml", "thing")


def test_setting_that_is_needed_is_asked_for_with_its_meaning(tmp_path, written):
    message = r"'thing' needs the setting 'epoch' \(epoch of .*\)\. Write these lines.*--config"
    with pytest.raises(HandoffError, match=message):
        ThingSettings.read(None, "thing")
    (tmp_path / "arm.yaml").write_text("arm: b\n")
    with pytest.raises(HandoffError, match=r"arm\.yaml:1:1: .*missing key 'epoch' in the settings"):
        ThingSettings.read(tmp_path / "arm.yaml", "thing")
    with pytest.raises(HandoffError, match=r"needs the setting 'time' \(seconds\).*--config"):
        written("arm: b\n").by_class("time", PROGRAM)


def test_files_are_looked_for_beside_the_settings(tmp_path, written):
    (tmp_path / "a.fits").touch()
    assert written("image: a.fits\n").path("image") == tmp_path / "a.fits"
    with pytest.raises(HandoffError, match=r"'image': .*b.fits does not exist"):
        written("image: b.fits\n").path("image")


def test_all_missing_settings_are_told_at_once_as_lines_to_paste_with_the_fluxes_that_lack():
    bare = target_list(2, flux_g_sdss=None, flux_r_sdss=None)
    tool = TOOLS["pfs-uploader"]
    with pytest.raises(
        HandoffError, match=r"needs the settings 'exptime' .*'reference_arm'"
    ) as error:
        settings_of(tool, {}, None, bare)
    assert "Also, the list has no flux in any filter that 'pfs-uploader' knows" in str(error.value)
    lines = error.value.detail.splitlines()
    assert [line.split("#")[0].strip() for line in lines] == [
        "exptime: 1800",
        "resolution: L",
        "reference_arm: r",
    ]
    given = settings_of(tool, yaml.safe_load(error.value.detail), None, bare)
    assert given.lacking({"exptime", "resolution", "reference_arm"}, ()) == []


@pytest.mark.parametrize("name", TOOLS)
def test_every_setting_that_a_tool_needs_has_an_example(name):
    settings = TOOLS[name].settings
    lines = settings.needs(settings.lacking((), ()), name).detail
    assert ":   #" not in lines
