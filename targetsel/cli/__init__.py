"""The command line: one module per command, each of which reads, makes one call, and writes."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

import targetsel
from targetsel.cli import cutouts, decoder, ensemble, fetch, lines, priors, rules, spectra
from targetsel.cli.assign import assign
from targetsel.cli.calibrate import calibrate
from targetsel.cli.compare import compare
from targetsel.cli.demo import demo
from targetsel.cli.density import density
from targetsel.cli.diff import diff
from targetsel.cli.evaluate import evaluate
from targetsel.cli.explain import explain
from targetsel.cli.export import export, import_assignment
from targetsel.cli.forecast import forecast
from targetsel.cli.funnel import funnel
from targetsel.cli.mock import mock
from targetsel.cli.observe import observe
from targetsel.cli.randoms import randoms
from targetsel.cli.score import score
from targetsel.cli.select import select
from targetsel.cli.selection_function import selection_function
from targetsel.cli.show import show
from targetsel.cli.train import train
from targetsel.cli.trainingset import trainingset
from targetsel.cli.tune import tune
from targetsel.errors import TargetselError

# What the system refuses wherever a path is touched, and no check of ours foresees.
REFUSALS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP),
    *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE),
}

app = typer.Typer(
    help="Choose which galaxies deserve a spectrum: score an imaging catalog, select by rules.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(demo)
app.command()(mock)
app.command()(score)
app.command()(observe)
app.command()(train)
app.command()(calibrate)
app.command()(trainingset)
app.command()(select)
app.command()(compare)
app.command()(funnel)
app.command()(explain)
app.command()(show)
app.command()(tune)
app.command()(forecast)
app.command()(evaluate)
app.command()(diff)
app.command()(density)
app.command()(randoms)
app.command("selection-function")(selection_function)
app.command()(export)
app.command("import-assignment")(import_assignment)
app.command()(assign)
app.add_typer(rules.app, name="rules")
app.add_typer(cutouts.app, name="cutouts")
app.add_typer(fetch.app, name="fetch")
app.add_typer(ensemble.app, name="ensemble")
app.add_typer(decoder.app, name="decoder")
app.add_typer(spectra.app, name="spectra")
app.add_typer(lines.app, name="lines")
app.add_typer(priors.app, name="priors")


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
    """Run the command line; what a user can mend becomes one line and exit status 2."""
    try:
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
