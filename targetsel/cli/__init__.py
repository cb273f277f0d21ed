"""The command line: each command reads, makes one library call, and writes.

Commands are imported when they are called, so that `targetsel --version` and `targetsel rules lint`
start at once.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from targetsel.errors import TargetselError
from targetsel.tables.files import one_command

# Commands in the order of the help, each with its module in this folder and its function there.
COMMANDS = {
    "demo": "mock:demo",
    "mock": "mock:mock",
    "score": "score:score",
    "restore": "score:restore",
    "observe": "observe:observe",
    "train": "train:train",
    "calibrate": "calibrate:calibrate",
    "trainingset": "fetch:trainingset",
    "select": "select:select",
    "compare": "predictions:compare",
    "funnel": "select:funnel",
    "explain": "select:explain",
    "show": "predictions:show",
    "tune": "select:tune",
    "forecast": "reports:forecast",
    "evaluate": "predictions:evaluate",
    "diff": "reports:diff",
    "density": "reports:density",
    "randoms": "reports:randoms",
    "selection-function": "reports:selection_function",
    "export": "handoff:export",
    "import-assignment": "handoff:import_assignment",
    "assign": "handoff:assign",
    "rules": "rules:app",
    "cutouts": "cutouts:app",
    "fetch": "fetch:app",
    "ensemble": "ensemble:app",
    "decoder": "decoder:app",
    "spectra": "spectra:app",
    "lines": "lines:app",
    "priors": "priors:app",
}

# Errors of the operating system that may occur wherever a path is opened.
REFUSALS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP),
    *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE),
}


class Commands(Mapping[str, Any]):
    """The commands of `COMMANDS` by name, each imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        module, _, function = COMMANDS[name].partition(":")
        found = getattr(import_module(f"targetsel.cli.{module}"), function)
        parent = typer.Typer(add_completion=False)
        parent.callback()(lambda: None)  # else a single command would be taken for the whole
        if isinstance(found, typer.Typer):
            parent.add_typer(found, name=name)
        else:
            parent.command(name)(found)
        return typer.main.get_group(parent).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class CommandLine(TyperGroup):
    """The group of all commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands()  # type: ignore[assignment]  # which is only read


app = typer.Typer(
    cls=CommandLine,
    help="Choose which galaxies deserve a spectrum: score an imaging catalog, select by rules.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from targetsel.version import __version__

        typer.echo(f"targetsel {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; an error that a user can mend becomes one line and exit status 2."""
    try:
        with one_command():
            app()
    except TargetselError as error:
        print(error, file=sys.stderr)
        if detail := getattr(error, "detail", ""):
            print(detail, file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        print(f"{error.filename or 'targetsel'}: {error.strerror}.", file=sys.stderr)
        sys.exit(2)
