"""The written reference holds every name that a user can meet."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest
import yaml

import targetsel as package
from targetsel.cli import COMMANDS, Commands
from targetsel.cli.docs import write_reference
from targetsel.expressions.functions import ARITHMETIC, OPERATORS
from targetsel.handoff.export import TOOLS
from targetsel.manual import expressions, python
from targetsel.rules.functions import FUNCTIONS, parse
from targetsel.rules.reference import sections, units_of_numbers
from targetsel.rules.rule_file import json_schema


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("reference")
    write_reference(folder)
    return {path.stem: path.read_text(encoding="utf-8") for path in Path(folder).glob("*.md")}


def all_commands():
    for name in COMMANDS:
        command = Commands()[name]
        inner = getattr(command, "commands", None)
        yield name, command
        for each, one in (inner or {}).items():
            yield f"{name} {each}", one


def test_every_command_and_option_is_there(pages):
    text = pages["commands"]
    for name, command in all_commands():
        assert f"`targetsel {name}`\n" in text
        section = text.split(f"## `targetsel {name}`\n")[1].split("\n(command-")[0]
        if not hasattr(command, "commands"):
            for parameter in command.params:
                if parameter.name != "help":
                    words = [*parameter.opts, *parameter.secondary_opts]
                    if parameter.param_type_name == "argument":
                        words = [parameter.metavar or parameter.name.upper()]
                    assert all(f"`{word}`" in section for word in words), (name, words)


def test_every_example_of_a_command_is_there(pages):
    for _, command in all_commands():
        for line in getattr(command, "example", ()):
            assert line in pages["commands"]


def test_every_function_operator_and_unit_is_there(pages):
    text = pages["rule-language"]
    for each in (*FUNCTIONS.values(), *ARITHMETIC.values(), *OPERATORS.values()):
        assert f"`{each.signature}`" in text
        assert each.example in text
    assert all(f"`{unit}`" in text for unit in units_of_numbers())


def test_every_example_of_the_rule_language_is_an_expression_in_yaml():
    for written in sections().values():
        for each in written:
            assert str(parse(each.example))
            assert yaml.safe_load(f"where: {each.example}") == {"where": each.example}


def test_every_key_of_a_rule_file_is_there(pages):
    schema = json_schema()
    maps = [schema, *schema["definitions"].values()]
    names = {name for each in maps for name in each.get("properties", {})}
    assert names == {each.name.rsplit(".", 1)[-1] for each in expressions.rule_keys()}
    for each in expressions.rule_keys():
        assert f"### `{each.name}`" in pages["rule-language"]


def test_steps_and_missing_values_are_told(pages):
    for words in ("1. *footprint*", "11. *limit total*", "### Missing values", "### Units"):
        assert words in pages["rule-language"]


def test_every_tool_and_setting_is_there(pages):
    for name, tool in TOOLS.items():
        section = pages["tools"].split(f"## `{name}`\n")[1].split("\n(tool-")[0]
        assert tool.tried in section
        for key, field in tool.settings.model_fields.items():
            told = section.split(f"`{key}`\n: ")[1].split("\n\n")[0]
            assert ("Required." in told) == field.is_required()


def test_every_public_name_has_its_docstring():
    found = {each.name: each for each in python.names()}
    assert {*found} == {*package.__all__}
    for name, entry in found.items():
        if name != "__version__":
            first = (getattr(package, name).__doc__ or "").split("\n")[0]
            assert first.replace("``", "`") in entry.text


@pytest.mark.parametrize("name", python.results())
def test_every_field_of_what_functions_give_is_told(name):
    found = python.results()[name]
    fields = dataclasses.fields(found) if dataclasses.is_dataclass(found) else ()
    told = re.findall(
        r"^(\S.*?) :", inspect.getdoc(found).partition("Attributes\n")[2], re.MULTILINE
    )
    assert {each.name for each in fields} <= {word for line in told for word in line.split(", ")}


def test_anchors_are_unique(pages):
    for name, text in pages.items():
        anchors = [line for line in text.splitlines() if line.endswith(")=")]
        twice = {each for each in anchors if anchors.count(each) > 1}
        assert not twice, (name, twice)
