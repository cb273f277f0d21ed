"""Help: all words of docstrings and options, examples, groups, and names for the shell."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from targetsel.cli import COMMANDS, GROUPS, Commands
from targetsel.cli.help import parts_of, summary


def _leaves(name, command):
    if hasattr(command, "commands"):
        for each, below in command.commands.items():
            yield from _leaves((*name, each), below)
    else:
        yield name, command


LEAVES = dict(leaf for name in COMMANDS for leaf in _leaves((name,), Commands()[name]))
NAMES = [" ".join(name) for name in LEAVES]


def words_of(text):
    """The words of a help that was broken into lines within frames."""
    return "".join(text.replace("│", " ").split())


@pytest.fixture
def wide(monkeypatch):
    """A terminal so wide that no text is broken into lines."""
    monkeypatch.setenv("COLUMNS", "500")


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_docstring_and_options_word_for_word(targetsel, wide, name):
    command = LEAVES[tuple(name.split())]
    said = targetsel(*name.split(), "--help")
    shown = words_of(said.out)
    text, heading, example = parts_of(command.callback.__doc__)
    assert f" {heading}:\n" in said.out
    for paragraph in text.split("\n\n"):
        assert words_of(paragraph) in shown
    for line in example:
        assert f"   {line}\n" in said.out
    for parameter in command.params:
        written = parameter.help.replace("\\[", "[")  # escaped for typer once it was shown
        assert words_of(written) in shown


@pytest.mark.parametrize("name", NAMES)
def test_flags_show_no_type_and_no_type_is_python(targetsel, wide, name):
    said = targetsel(*name.split(), "--help")
    for unknown in ("<bool>", "<str>", "list[", "range>", "<Path>"):
        assert unknown not in said.out


def test_example_keeps_the_indent_of_a_line_that_goes_on():
    parts = parts_of(
        "Do it.\n\n    Example, with a file:\n        targetsel do \\\n            it\n    "
    )
    assert parts == ("Do it.", "Example, with a file", ("targetsel do \\", "    it"))


def test_brackets_are_no_markup():
    from rich.text import Text

    from targetsel.cli.help import as_written

    assert Text.from_markup(as_written("[OIII] and [red]")).plain == "[OIII] and [red]"


def test_groups_hold_every_command_once_and_help_shows_them(targetsel):
    said = targetsel("--help")
    assert sum(map(len, GROUPS.values())) == len(COMMANDS)
    for group, commands in GROUPS.items():
        assert f"─ {group} ─" in said.out
        for name in commands:
            assert f"│ {name} " in said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_summary_without_import_is_that_of_the_command(name):
    found = summary(*COMMANDS[name].split(":"))
    assert Commands()[name].help.split("\n\n")[0].replace("\\[", "[") == found


def completed(words):
    """What the shell gets for words of which the last is not complete, and the modules imported."""
    program = (
        "import sys\nfrom targetsel.cli import app\n"
        "try:\n    app(standalone_mode=False, prog_name='targetsel')\n"
        "finally:\n    print(sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    environment = os.environ | {
        "_TARGETSEL_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("targetsel sc", ["score"]),
        ("targetsel rules l", ["lint", "lock"]),
        ("targetsel score --ens", ["--ensemble"]),
        ("targetsel select --ru", ["--rules"]),
    ],
)
def test_shell_completes_names_without_torch(words, found):
    given, modules = completed(words)
    assert given == found
    assert "'typer'" in modules
    assert "'torch'" not in modules


def test_names_of_commands_complete_without_numpy():
    _, modules = completed("targetsel sc")
    assert "'numpy'" not in modules
