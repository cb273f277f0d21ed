"""targetsel docs explains words offline."""

from __future__ import annotations

import subprocess
import sys

import pytest

import targetsel as ts


def test_a_command_is_explained_with_its_options(targetsel):
    said = targetsel("docs", "rules", "lint")
    assert said.status == 0
    assert said.out.startswith("targetsel rules lint (command)")
    assert "`--catalog`" in said.out


def test_a_command_and_its_function_are_told_together(targetsel):
    said = targetsel("docs", "select")
    assert "targetsel select (command)" in said.out
    assert "targetsel.select (Python)" in said.out


def test_a_part_of_a_name_lists_what_has_it(targetsel):
    said = targetsel("docs", "halo_none", "x")
    assert said.status == 2
    said = targetsel("docs", "limit.")
    assert "limit.per_deg2" in said.out
    assert "limit.total" in said.out


def test_an_unknown_word_is_answered_with_near_ones(targetsel):
    said = targetsel("docs", "epoc")
    assert said.status == 0  # the setting `epoch` has it
    said = targetsel("docs", "selct")
    assert said.status == 2
    assert "Did you mean 'select'" in said.err


def test_a_pasted_line_of_error_is_found(targetsel):
    wrong = targetsel("rules", "lint", "nothing.yaml")
    said = targetsel("docs", wrong.err.strip())
    assert said.status == 0
    assert "(error message)" in said.out


def test_a_line_of_error_that_begins_with_an_option_is_text(targetsel):
    said = targetsel("docs", "--brightness 'r_sdss=magr': no column 'magr'.")
    assert said.status == 0, said.err
    assert "(error message)" in said.out


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (("select", "--rules"), "select --rules (option)\n\n`--rules` `<text>...`\n: "),
        (("rules", "lint", "--catalog"), "rules lint --catalog (option)\n\n`--catalog` `<path>`"),
        (("select", "-o"), "select -o (option)\n\n`--output`, `-o` `<path>`\n: "),
    ],
)
def test_an_option_of_a_command_is_explained_alone(targetsel, words, start):
    said = targetsel("docs", *words)
    assert said.status == 0
    assert said.out.startswith(start)


def test_docs_has_help_of_its_own(targetsel):
    assert "Explain WORD" in targetsel("docs", "--help").out


def test_without_a_word_it_lists_what_there_is(targetsel):
    said = targetsel("docs")
    for word in ("commands", "P, std, q", "desi", "RuleError", "choose_targets"):
        assert word in said.out


@pytest.mark.parametrize(
    ("word", "heavy"),
    [("within", ("torch", "pandas", "matplotlib")), ("ra", ("torch", "scipy.stats", "matplotlib"))],
)
def test_a_function_or_column_is_explained_without_what_takes_long_to_import(word, heavy):
    code = (
        "import sys\n"
        "from targetsel.cli.docs import docs\n"
        f"docs([{word!r}])\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_gives_the_same_text_and_a_notebook_shows_its_lines(targetsel):
    said = ts.docs("limit.total")
    assert targetsel("docs", "limit.total").out == f"{said}\n"
    assert repr(said) == said
    with pytest.raises(ts.TargetselError, match="Did you mean 'select'"):
        ts.docs("selct")


def test_other_words_list_what_has_all_of_them(targetsel):
    said = targetsel("docs", "cutouts folder")
    assert said.status == 0
    assert "reference/files/cutout-store" in said.out
    assert "cutouts pack" in said.out
    assert targetsel("docs", "text", "columns").out.startswith("Text, flags and missing values")
