"""Every example of a help and every command of a page, run in the folder of the demonstration.

Long trainings are shortened, and commands that ask archives are only parsed. Whatever a command
reads has to be in the folder of the demonstration, made by a line before, or named in `STAND_INS`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from glob import glob
from pathlib import Path

import pytest

from targetsel.cli import COMMANDS, Commands
from targetsel.cli.help import IN_DEMONSTRATION
from targetsel.cli.mock import NEXT
from tests.mock.fixtures import STAND_INS, add_stand_ins

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "docs" / "reference"  # whose blocks are the examples of help
PAGES = [
    ROOT / "README.md",
    *(each for each in sorted((ROOT / "docs").rglob("*.md")) if each.parent != GENERATED),
]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ARCHIVES = ("fetch catalog", "fetch cutouts", "fetch spectra", "trainingset")
# Options that are added, so that a command takes seconds.
SHORTER = {
    "demo": "--n 20",
    "mock": "--n 20",
    "train": "--members 1 --epochs 2",
    "decoder train": "--epochs 2",
    "ensemble export-onnx": "--member 0",
}


def _leaves(name, command):
    if hasattr(command, "commands"):
        for each, below in command.commands.items():
            yield from _leaves((*name, each), below)
    else:
        yield " ".join(name), command


LEAVES = dict(leaf for name in COMMANDS for leaf in _leaves((name,), Commands()[name]))


def command_lines(text: str) -> list[str]:
    """The lines of a shell that call targetsel, each on one line."""
    lines = text.replace("\\\n", " ").splitlines()
    return [each.strip() for each in lines if each.strip().startswith("targetsel ")]


def examples(asking_archives: bool) -> list[str]:
    return [name for name in LEAVES if (name in ARCHIVES) == asking_archives]


def blocks() -> Iterator[object]:
    for page in PAGES:
        for number, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), start=1):
            if lines := command_lines(block):
                yield pytest.param(lines, id=f"{page.relative_to(ROOT)}-{number}")


def words_of(line: str) -> list[str]:
    """The words after "targetsel" as a shell gives them, with names for patterns."""
    words = shlex.split(line, comments=True)[1:]
    return [name for each in words for name in (sorted(glob(each)) or [each])]


def command_of(words: list[str]) -> str:
    """The longest beginning that is a command, such as "rules init"."""
    return next(name for name in (" ".join(words[:2]), words[0]) if name in LEAVES)


@pytest.fixture
def succeed(in_demonstration, targetsel):
    """Run lines in a copy of the demonstration's folder, of which every one must succeed."""

    def succeed(lines: list[str]) -> None:
        add_stand_ins("\n".join(lines))
        for line in lines:
            words = words_of(line)
            name = command_of(words)
            if name in ARCHIVES:
                check_parses(words)
                continue
            said = targetsel(*words, *SHORTER.get(name, "").split())
            assert said.status == 0, f"{line}\n{said.err}"

    return succeed


def check_parses(words: list[str]) -> None:
    """Parse a command line as its command does, without running it."""
    name = command_of(words)
    assert LEAVES[name].make_context(name, words[len(name.split()) :])


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_has_an_example_of_itself(name):
    command = LEAVES[name]
    lines = command_lines("\n".join(command.example))
    assert lines, f"{name}: its docstring does not end with an example"
    assert command_of(words_of(lines[-1])) == name
    if command.heading == IN_DEMONSTRATION:
        assert not [each for each in STAND_INS if any(each in line for line in lines)]


@pytest.mark.parametrize("name", examples(asking_archives=False))
def test_example_of_help_runs_in_the_folder_of_the_demonstration(name, succeed):
    succeed(command_lines("\n".join(LEAVES[name].example)))


@pytest.mark.parametrize("name", examples(asking_archives=True))
def test_example_that_asks_an_archive_is_parsed_and_not_run(name):
    for line in command_lines("\n".join(LEAVES[name].example)):
        check_parses(words_of(line))


@pytest.mark.parametrize("lines", list(blocks()))
def test_commands_of_a_page_run_in_the_folder_of_the_demonstration(lines, succeed):
    succeed(lines)


def test_what_the_demonstration_says_to_try_runs(succeed):
    lines = command_lines(NEXT)
    assert len(lines) == 3
    succeed(lines)
