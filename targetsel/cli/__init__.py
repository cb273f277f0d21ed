"""The command line: one module per command, each of which reads, makes one call, and writes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import targetsel
from targetsel.cli import cutouts
from targetsel.cli.demo import demo
from targetsel.cli.score import score
from targetsel.cli.select import select
from targetsel.errors import TargetselError

app = typer.Typer(
    help="Choose which galaxies deserve a spectrum: score an imaging catalog, select by rules.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(demo)
app.command()(score)
app.command()(select)
app.add_typer(cutouts.app, name="cutouts")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"targetsel {targetsel.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; a `TargetselError` becomes one line and exit status 2."""
    try:
        app()
    except TargetselError as error:
        print(error, file=sys.stderr)
        if detail := getattr(error, "detail", ""):
            print(detail, file=sys.stderr)
        sys.exit(2)
