"""Faults in files of users are told with their place, what is there and what was expected."""

from typing import Annotated, Literal

import pytest
from pydantic import ConfigDict, Field, model_validator

from targetsel.documents.models import (
    DocumentModel,
    Expected,
    FieldError,
    Identifier,
    Integer,
    NonEmptyText,
    Number,
    OneOrMany,
    Quantity,
    Switch,
    parse_model,
    read_model,
)
from targetsel.errors import MockError, SpectrographError


class Band(DocumentModel):
    kind: Literal["band"]
    edges: Annotated[tuple[Number, Number], Expected("two wavelengths, such as [3600, 5900]")]


class Formula(DocumentModel):
    kind: Literal["formula"]
    formula: NonEmptyText


class Camera(DocumentModel):
    model_config = ConfigDict(title="the camera's file")

    format: Literal["camera/v1"] = Field(alias="schema")
    name: Identifier = "mine"
    exposure: Annotated[float, Quantity("s", 1, 1e6)] = Field(
        900, description="usual time spent on a target"
    )
    rows: Annotated[Integer, Field(ge=1, le=10)] = 1
    share: Annotated[Number, Field(gt=0, le=1)] = 1.0
    cooled: Switch = False
    arms: Annotated[tuple[NonEmptyText, ...], OneOrMany()] = ()
    by_band: dict[str, Number] = Field(default_factory=dict)
    lines: list[Annotated[Band | Formula, Field(discriminator="kind")]] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _check(self):
        if self.cooled and self.rows > 5:
            raise FieldError("rows", "a cooled camera has 5 rows at most")
        return self


def fault(text: str) -> str:
    with pytest.raises(MockError) as caught:
        parse_model("schema: camera/v1\n" + text, "my.yaml", Camera, MockError)
    assert caught.value.detail.endswith("^")
    return str(caught.value)


def test_model_holds_what_the_file_says():
    text = (
        "schema: camera/v1\nexposure: 15 min\nrows: 010\ncooled: false\narms: blue\n"
        "by_band: {g: 0.5}\nlines:\n- {kind: band, edges: [1, 2]}\n- {kind: formula, formula: a}\n"
    )
    camera = parse_model(text, "my.yaml", Camera)
    assert (camera.exposure, camera.rows, camera.arms) == (900.0, 10, ("blue",))
    assert camera.by_band == {"g": 0.5}
    assert camera.lines[0].edges == (1.0, 2.0)
    assert camera.place_of("rows").line == 3
    assert camera == Camera(
        schema="camera/v1",
        exposure="900",
        rows=10,
        arms=["blue"],
        by_band={"g": 0.5},
        lines=camera.lines,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "exposure: 0 s",
            "my.yaml:2:11: error: exposure is '0 s'; expected 1 to 1e+06 s: usual time spent on a "
            "target",
        ),
        ("exposure: 3 mag", "2:11: error: exposure is '3 mag'; expected 1 to 1e+06 s"),
        ("rows: 11", "2:7: error: rows is '11'; expected a whole number, 1 to 10"),
        ("rows: 1_0", "rows is '1_0'; expected a whole number, 1 to 10"),
        ("rows: true", "rows is 'true'; expected a whole number, 1 to 10"),
        ("share: 0", "share is '0'; expected a number, above 0 to 1"),
        ("share: .nan", "share is '.nan'; expected a number, above 0 to 1"),
        ("share: [1]", "share is a list; expected a number, above 0 to 1"),
        ("cooled: yes", "cooled is 'yes'; expected true or false"),
        ("name: a b", "name is 'a b'; expected a name of letters, digits and _"),
        ("name:", "name is empty; expected a name of letters, digits and _"),
        ("by_band: {g: x}", "2:14: error: g is 'x'; expected a number"),
        ("by_band: 3", "by_band is '3'; expected a map"),
        ("row: 3", "2:1: error: unknown key 'row' in the camera's file. Did you mean 'rows'"),
        ("quark: 3", "unknown key 'quark' in the camera's file. Known: schema, name, exp"),
        ("lines: 3", "lines is '3'; expected a list"),
        ("lines: [{kind: bond, edges: [1, 2]}]", "2:9: error: lines "),
        ("lines: [{kind: band, edges: [1]}]", "2:29: error: edges is a list; expected two wavelen"),
        ("lines: [{kind: band, edges: [1, x]}]", "2:33: error: edges is 'x'; expected two wavelen"),
        ("lines: [{kind: formula}]", "2:9: error: missing key 'formula' in lines"),
        ("lines: [{kind: formula, formula: a, formula: b}]", "duplicate key 'formula' (first at"),
        ("lines: [{kind: formula, formula: ''}]", "formula is empty; expected a piece of text"),
        ("cooled: true\nrows: 6", "3:7: error: a cooled camera has 5 rows at most"),
    ],
)
def test_fault_is_told_with_its_place(text, message):
    assert message in fault(text)


def test_unknown_schema_is_told_before_anything_else():
    with pytest.raises(SpectrographError, match=r"2:9: error: unknown schema 'camera/v2'; this v"):
        parse_model("new: 3\nschema: camera/v2", "my.yaml", Camera, SpectrographError)


def test_missing_key_is_told_at_the_top():
    with pytest.raises(MockError, match="missing key 'schema' in the camera's file"):
        parse_model("rows: 3", "my.yaml", Camera, MockError)


def test_misspelt_key_is_told_before_the_missing_one():
    with pytest.raises(MockError, match="unknown key 'shema'"):
        parse_model("rows: 3\nshema: camera/v1", "my.yaml", Camera, MockError)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(MockError, match=r"none\.yaml: no such file"):
        read_model(tmp_path / "none.yaml", Camera, MockError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": "camera/v1", "rows": 3', "card.json:1:34: error: not valid JSON"),
        ('{"schema": "camera/v1", "rows": 3, "rows": 4}', "duplicate key 'rows'"),
        ('{"schema": "camera/v1", "share": NaN}', "NaN is no number"),
        ('{"schema": "camera/v1", "rows": true}', "rows is 'True'; expected a whole number"),
        ('{"schema": "camera/v1", "rows": "3"}', "rows is '3'; expected a whole number, 1 to 10"),
        ('{"schema": "camera/v1", "by_band": {"g": "x"}}', "by_band.g is 'x'; expected a number"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_fault_in_json_is_told(text, message):
    with pytest.raises(MockError) as caught:
        parse_model(text, "card.json", Camera, MockError)
    assert message in str(caught.value)


def test_json_holds_numbers_as_numbers():
    text = '{"schema": "camera/v1", "rows": 3, "exposure": 5, "arms": ["a"], "by_band": {"g": 1}}'
    camera = parse_model(text, "card.json", Camera)
    assert (camera.rows, camera.exposure, camera.arms) == (3, 5.0, ("a",))
