"""Wrong command lines: one line on standard error that says what is wrong, and status 2."""

import pytest


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("scor x", "targetsel: no command 'scor'. Did you mean 'score'? See 'targetsel --help'."),
        ("rules lnt", "targetsel rules: no command 'lnt'. Did you mean 'lint'? See "),
        ("score", "targetsel score: missing argument CATALOG. See 'targetsel score --help'."),
        ("select x", "targetsel select: missing option '--rules'. See 'targetsel select --help'."),
        (
            "score x --ensembl y",
            "targetsel score: no option '--ensembl'. Did you mean '--ensemble'?",
        ),
        ("score x y", "targetsel score: did not expect 'y'. See "),
        ("score x --threads 0", "targetsel score: --threads 0: expected 1 or more. See "),
        ("score x --threads two", "targetsel score: --threads two: expected a whole number. See "),
        ("score x --device gpu", "targetsel score: --device gpu: expected auto, cpu or cuda. See "),
        ("score x --threads", "targetsel score: --threads: expected a value. See "),
        ("assign x --ra 10h", "targetsel assign: --ra 10h: expected a number. See "),
        (
            "priors update x --redshift-range 1",
            "targetsel priors update: --redshift-range: expected 2 values.",
        ),
    ],
)
def test_wrong_command_line_is_told_in_one_line(targetsel, words, line):
    said = targetsel(*words.split())
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(line)
    assert said.err.endswith(".\n")
    assert said.err.count("\n") == 1


def test_command_without_a_subcommand_shows_its_help(targetsel):
    said = targetsel("rules")
    assert said.status == 2
    assert "lint" in said.out + said.err


def test_help_says_what_the_exit_statuses_mean(targetsel):
    said = targetsel("--help")
    assert said.status == 0
    assert "2 wrong input or usage" in said.out
