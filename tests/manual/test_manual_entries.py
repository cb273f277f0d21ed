"""Words find entries of the manual, and entries become pages."""

from __future__ import annotations

import re

from targetsel.manual.entries import (
    Entry,
    anchor,
    code,
    definitions,
    look_up,
    near,
    page,
    sentence,
)

MAGNITUDES = """First words.

## Units

Fluxes in nanojansky.

## Extinction

What is corrected for dust."""
ENTRIES = [
    Entry("column", "typicality", "how usual it looks", "Share of held-out sources."),
    Entry("column", "typicality_image", "the same by images", "Of the image alone."),
    Entry("command", "select", "choose targets", "By rules.", ("--rules",)),
    Entry("Python", "select", "choose targets", "From Python.", ("targetsel.select",)),
    Entry("error", "RuleError", "rules", "A fault in a rule file."),
    Entry("column", "extinction_g", "", "In magnitudes."),
    Entry("page", "howto/magnitudes", "which column is which band", MAGNITUDES, ("magnitudes",)),
]
LOADERS = [lambda: ENTRIES]


def found(word):
    return [(each.kind, each.name) for each in look_up(word, LOADERS)]


def test_an_exact_name_finds_only_entries_of_that_name():
    assert found("typicality") == [("column", "typicality")]
    assert found("select") == [("command", "select"), ("Python", "select")]


def test_case_does_not_matter():
    assert found("ruleerror") == [("error", "RuleError")]


def test_an_alias_finds_its_entry():
    assert found("--rules") == [("command", "select")]


def test_a_part_of_a_name_finds_all_that_have_it():
    assert found("typical") == [("column", "typicality"), ("column", "typicality_image")]


def test_a_word_of_the_text_finds_its_entry():
    assert found("held-out") == [("column", "typicality")]


def test_a_part_of_a_name_finds_pages_that_mention_it_too():
    assert found("extinction") == [("column", "extinction_g"), ("page", "howto/magnitudes")]


def test_several_words_find_what_has_all_of_them_in_any_number():
    assert found("fault of my rules") == [("error", "RuleError")]
    assert found("the bands of a column") == [("page", "howto/magnitudes")]
    assert found("fault nanojansky") == []


def test_a_page_that_a_word_finds_is_cut_to_the_sections_that_have_it():
    (page,) = look_up("dust", LOADERS)
    assert "corrected for dust" in page.text
    assert "nanojansky" not in page.text
    assert page.text.endswith("(2 more of its sections: targetsel docs howto/magnitudes)")
    (whole,) = look_up("magnitudes", LOADERS)
    assert whole.text == MAGNITUDES


def test_an_unknown_word_has_near_names():
    assert found("typicallity") == []
    assert near("typicallity", LOADERS) == ["typicality", "typicality_image"]


def test_anchors_of_operators_are_words():
    names = ["+", "-x", "*", "/", "**", "<", "<="]
    anchors = {anchor("function", each) for each in names}
    assert len(anchors) == len(names)
    assert all(re.fullmatch("[a-z0-9_-]+", each) for each in anchors)


def test_code_may_hold_backticks():
    assert code("a `b` c") == "``a `b` c``"
    assert code("`b`") == "`` `b` ``"


def test_definitions_of_several_lines_stay_one_definition():
    assert definitions([("`a`", "one\n\ntwo"), ("`b`", "")]) == "`a`\n: one\n\n  two\n\n`b`\n: "


def test_sentences_begin_large_and_end_with_a_stop():
    assert sentence("the sum") == "The sum."
    assert sentence("list: all") == "list: all."
    assert sentence("") == ""


def test_a_page_has_an_anchor_before_every_heading():
    text = page("Words", "About.", {"Some": ENTRIES[:1]})
    assert "(column-typicality)=\n### `typicality`\n\nShare" in text
    assert text.startswith("# Words\n\nAbout.\n\n(words-some)=\n## Some")
