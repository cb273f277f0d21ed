"""targetsel docs: the reference of commands, rules, columns, tools, errors and Python, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli import lookup
from targetsel.cli.terminal import say
from targetsel.manual.entries import page


def docs(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="Name of a command, rule function, key, column, file, tool, setting, error, "
            "Python name or page; other words, which are looked for; or a whole line of error, in "
            "quotes.",
        ),
    ] = None,
) -> None:
    """Explain WORD: a command, rule function, column, setting, error or Python name.

    Works offline. Without WORD it says what can be asked for.

    Example:
        targetsel docs typicality
        targetsel docs select --rules
        targetsel docs text columns
    """
    say(lookup.docs(*(words or ())))


def write_reference(folder: Path) -> None:
    """Write the pages of the reference, for Sphinx with MyST's definition lists, to a folder.

    They are commands.md, rule-language.md, columns.md, surveys.md, tools.md and errors.md.
    """
    from targetsel.cli import GROUPS
    from targetsel.manual import columns, errors, expressions, surveys, tools

    folder.mkdir(parents=True, exist_ok=True)
    about = (
        "`targetsel COMMAND --help` shows the same in a terminal. Exit status: 0 done, 1 a check "
        "says no, 2 wrong input or usage, 130 or 143 stopped."
    )
    found = list(lookup.commands())
    sections = {group: [each for each in found if each.group == group] for group in GROUPS}
    (folder / "commands.md").write_text(page("Commands", about, sections), encoding="utf-8")
    for module in (expressions, columns, surveys, tools, errors):
        module.write(folder)
