"""Messages of errors are harvested from the sources, and a printed error finds its message."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from targetsel.errors import RuleError, TargetselError
from targetsel.manual import errors
from targetsel.manual.error_topics import TOPICS, place_of
from targetsel.manual.messages import PACKAGE, REMARK, matching, messages
from targetsel.rules.lint import lint
from targetsel.rules.rules import Rules
from targetsel.tables.formats import open_table


@pytest.fixture(scope="module")
def harvested():
    found = messages()
    assert len(found) > 700
    return found


def printed(call, *arguments) -> str:
    with pytest.raises(TargetselError) as caught:
        call(*arguments)
    return str(caught.value)


def test_a_missing_file_is_found(tmp_path):
    line = printed(open_table, tmp_path / "nothing.parquet")
    best = matching(line)[0]
    assert best.share_in(line) == 1
    assert "no such file" in best.text


def test_a_pasted_error_of_a_rule_is_found():
    line = "my.yaml:14:8: error: unknown column 'ew_halpa'. Did you mean 'ew_halpha'?"
    (found,) = matching(line)
    assert found.text.startswith("unknown column '<")
    assert found.error == "RuleError"


def test_an_error_of_a_rule_file_is_found(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text("schema: targetsel/rules/v1\nname: mine\nclasses:\n  ONE: {priority: 1}\n")
    line = printed(Rules.read, path)
    assert matching(line)


def test_a_line_that_is_no_error_of_ours_finds_nothing():
    assert matching("Segmentation fault (core dumped) in another program") == []


@pytest.mark.parametrize(
    "condition",
    [
        "typicality > 2",
        "rmag < 17 and rmag > 18",
        "P(ew_halpha > 5 Angstrom) > 0.5",
        "P(ew_halpha > 5) > 0.5 and typicality > 0.01",
        "ew_halpha > 5 Angstrom",
        "rmag < 17 and rmag < 18",
    ],
)
def test_a_warning_of_lint_is_found_though_it_be_cut(condition, tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(
        "schema: targetsel/rules/v1\nname: mine\nclasses:\n"
        f"  A: {{priority: 1, where: {condition}}}\n"
    )
    (remark, *_) = lint(Rules.read(path))
    for line in (str(remark), remark.message[:60]):
        assert {each.error for each in matching(line)} == {REMARK}
    (entry, *_) = errors.like(str(remark))
    assert entry.kind == "warning"
    assert "rules lint" in entry.text


def test_values_that_are_filled_in_stand_in_brackets(harvested):
    texts = {each.text for each in harvested}
    assert any(text.startswith("<path>: no column '<name>'.") for text in texts)
    assert not any("{" in text and "}" in text and "counted(" in text for text in texts)


def test_no_method_of_a_text_stands_for_what_is_filled_in(harvested):
    filled = {gap for each in harvested for gap in re.findall("<([^<>]+)>", each.text)}
    assert not filled & {"resolve", "strip", "rstrip", "lower", "upper", "decode", "astype", "sum"}


def test_every_message_has_a_public_class(harvested):
    assert {each.error for each in harvested} <= {each.name for each in errors.classes()} | {REMARK}


def test_nearly_every_raise_of_an_error_with_a_text_is_harvested(harvested):
    raised = set()
    classes = {each.name for each in errors.classes()}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                name, text = ast.unparse(node.exc.func), node.exc.args[0]
                if name in classes and isinstance(text, ast.JoinedStr | ast.Constant):
                    raised.add(ast.unparse(text))
    in_modules = {each.module for each in harvested}
    assert len(harvested) >= len(raised)
    assert {"rules.binding", "tables.columns", "handoff.settings"} <= in_modules


def test_the_page_of_errors_has_every_class_and_message(harvested, tmp_path):
    errors.write(tmp_path)
    text = Path(tmp_path / "errors.md").read_text(encoding="utf-8")
    for each in errors.classes():
        assert f"### `{each.name}`" in text
    assert all(each.text in text for each in harvested)


def test_every_message_has_a_place_on_the_page_and_every_heading_messages(harvested):
    places = {place_of(each.module) for each in harvested}
    assert places == {(topic, each) for topic, headings in TOPICS.items() for each in headings}


def test_every_class_says_when_it_is_raised_what_it_means_and_what_to_do():
    for each in errors.classes():
        if each.name != "TargetselError":
            when, usually, step = each.text.split("\n\n")
            assert when
            assert usually.startswith("Usually ")
            assert step.startswith("**What to do.** ")
    assert issubclass(RuleError, TargetselError)
