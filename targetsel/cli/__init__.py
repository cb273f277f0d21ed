"""The command line: each command reads, makes one library call, and writes.

Commands are imported when they are called, so that `targetsel --version` and `targetsel rules lint`
start at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from targetsel.cli.help import Command, Group, summary
from targetsel.errors import OutputError, TargetselError
from targetsel.remote.places import Place
from targetsel.tables.files import check_apart, one_command

# Commands by the groups of the help, each with its module in this folder and its function there.
GROUPS = {
    "First steps": {
        "demo": "mock:demo",
        "cutouts": "cutouts:app",
        "score": "score:score",
        "select": "select:select",
        "docs": "docs:docs",
    },
    "Rules": {
        "rules": "rules:app",
        "funnel": "select:funnel",
        "explain": "select:explain",
        "tune": "select:tune",
        "forecast": "reports:forecast",
        "diff": "reports:diff",
    },
    "Look": {
        "show": "predictions:show",
        "inspect": "inspection:inspect",
        "inspect-merge": "inspection:inspect_merge",
        "evaluate": "predictions:evaluate",
        "compare": "predictions:compare",
    },
    "The list on the sky": {
        "density": "reports:density",
        "randoms": "reports:randoms",
        "selection-function": "reports:selection_function",
        "inject": "injection:inject",
    },
    "Observing": {
        "observe": "observe:observe",
        "join-redshifts": "redshifts:join_redshifts",
        "sites": "nights:sites",
        "visibility": "nights:visibility",
        "night": "nights:night",
    },
    "Hand-off": {
        "export": "handoff:export",
        "assign": "handoff:assign",
        "import-assignment": "handoff:import_assignment",
        "restore": "score:restore",
    },
    "After the spectra": {
        "cells": "cells:cells",
        "outcomes": "outcomes:outcomes",
        "relearn": "relearn:relearn",
        "recalibrate": "relearn:recalibrate",
    },
    "Archives": {
        "surveys": "surveys:surveys",
        "fetch": "fetch:app",
        "trainingset": "fetch:trainingset",
    },
    "Large catalogs": {
        "partition": "partition:partition",
        "status": "partitions:status",
    },
    "Training": {
        "spectra": "spectra:app",
        "lines": "lines:app",
        "decoder": "decoder:app",
        "train": "train:train",
        "calibrate": "calibrate:calibrate",
        "embed": "embed:embed",
        "ensemble": "ensemble:app",
        "mock": "mock:mock",
    },
    "Priors": {
        "priors": "priors:app",
    },
}
COMMANDS = {name: place for group in GROUPS.values() for name, place in group.items()}
TAKES_ANY_TEXT = ("docs",)  # words that begin with hyphens, too

# Errors of the operating system that may occur wherever a path is opened.
REFUSALS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP),
    *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE),
}


class Commands(Mapping[str, Any]):
    """The commands of `COMMANDS` by name, each imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        module, _, function = COMMANDS[name].partition(":")
        found = getattr(import_module(f"targetsel.cli.{module}"), function)
        parent = typer.Typer(add_completion=False)
        parent.callback()(lambda: None)  # else a single command would be taken for the whole
        if isinstance(found, typer.Typer):
            for each in found.registered_commands:
                each.callback, each.cls = guarded(each.callback), Command
            parent.add_typer(found, name=name, cls=Group)
        else:
            settings = {"ignore_unknown_options": name in TAKES_ANY_TEXT}
            parent.command(name, cls=Command, context_settings=settings)(guarded(found))
        return typer.main.get_group(parent).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


# Parameters of commands that name what is written; and texts that may name a file to be read.
OUTPUTS = ("output", "qp_output", "map_", "picture", "page")
MAY_BE_FILES = ("rules", "ensemble", "init", "spectrograph", "before", "after", "ids")


def guarded(command: Any) -> Any:
    """The function of a command, with a guard over its parameters.

    A result may be no file that the command reads, and not lie in a folder that it reads.
    Addresses such as s3://bucket/key become local copies.
    """
    if getattr(command, "is_guarded", False):
        return command

    @wraps(command)
    def run(**values: Any) -> Any:
        found = addresses_in(values)
        if not found or getattr(command, "knows_addresses", False):
            return run_locally(**values)
        from targetsel.cli.terminal import told_once_true
        from targetsel.remote.copies import goes_to_parts, local_copies

        needs_output = not (values.get("dry_run") or getattr(command, "may_write_nothing", False))
        if "output" in values and values["output"] is None and needs_output:
            raise OutputError(
                f"{next(iter(found.values()))}: what is made of a remote file has no usual place. "
                "Name one with -o."
            )
        parts = getattr(command, "in_parts", ()) if goes_to_parts(values.get("output")) else ()
        given = {name: values[name] for name in found}
        published = [str(place) for name, place in found.items() if name in OUTPUTS]
        with told_once_true(published), local_copies(given, OUTPUTS, parts) as copied:
            try:
                return run_locally(**{**values, **copied})
            except typer.Exit as exit:  # with a status; what was written is published all the same
                ended = exit
            except KeyboardInterrupt as stop:
                if "output" in found and not getattr(command, "resumes_here", False):
                    stop.is_kept = False  # type: ignore[attr-defined]
                raise
        raise ended

    def run_locally(**values: Any) -> Any:
        outputs, inputs = outputs_and_inputs(values)
        for each in (*outputs, *inputs):
            if _is_no_text(str(each)):
                raise OutputError(
                    f"{each}: the name is not text in this locale. Rename it, or set "
                    "LC_ALL=C.UTF-8."
                )
        check_apart(outputs, inputs)
        try:
            return command(**values)
        except KeyboardInterrupt as stop:
            stop.is_kept = "resumes if interrupted" in (command.__doc__ or "")  # type: ignore[attr-defined]
            raise

    run.is_guarded = True  # type: ignore[attr-defined]
    return run


def addresses_in(values: Mapping[str, Any]) -> dict[str, Place]:
    """The parameters of a command that name remote files, each with the first that it names."""
    found: dict[str, Place] = {}
    for name, value in values.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            if (isinstance(each, Path) or name in MAY_BE_FILES) and (place := Place.of(each)):
                found.setdefault(name, place)
    return found


def outputs_and_inputs(values: Mapping[str, Any]) -> tuple[list[Path], list[Path]]:
    """The paths among a command's parameters: those to be written, and those to be read."""
    outputs: list[Path] = []
    inputs: list[Path] = []
    for name, value in values.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, Path):
                (outputs if name in OUTPUTS else inputs).append(each)
            elif isinstance(each, str) and name in MAY_BE_FILES and Path(each).exists():
                inputs.append(Path(each))
    return outputs, inputs


def _is_no_text(name: str) -> bool:
    """Whether a name holds bytes that are no characters here; libraries cannot open such files."""
    return any("\ud800" <= each <= "\udfff" for each in name)


class CommandLine(Group):
    """The group of all commands, of which help and completion show summaries and import none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands()  # type: ignore[assignment]  # which is only read

    def format_help(self, ctx: Any, formatter: Any) -> None:
        with self._listed():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        with self._listed():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _listed(self) -> Iterator[None]:
        self.commands = {
            name: Command(name, help=summary(*place.split(":")), rich_help_panel=group)
            for group, places in GROUPS.items()
            for name, place in places.items()
        }
        try:
            yield
        finally:
            self.commands = Commands()  # type: ignore[assignment]

    def invoke(self, ctx: Any) -> Any:
        from targetsel.cli.interruption import said_if_interrupted
        from targetsel.tasks import progress

        with said_if_interrupted(), progress():
            return super().invoke(ctx)


app = typer.Typer(
    cls=CommandLine,
    help="Choose which galaxies deserve a spectrum: score an imaging catalog, select by rules.",
    epilog="Exit status: 0 done, 1 a check says no, 2 wrong input or usage, 130 or 143 stopped.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
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
    """Run the command line.

    An error that a user can mend, a wrong command line too, becomes one line and exit status 2;
    an interrupted command ends with status 130, or 143 after SIGTERM. Anything else is a bug of
    ours and keeps its traceback.
    """
    if sys.platform == "linux":
        # Arrow's usual allocator keeps tens of MiB more of what was freed.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

    from targetsel.cli.interruption import heeding_signals
    from targetsel.cli.terminal import say_error, steady_streams
    from targetsel.cli.usage import UsageError, is_only_help, usage_line

    with steady_streams(), heeding_signals():
        try:
            with one_command():
                status = app(standalone_mode=False, prog_name="targetsel")
            if status:
                sys.exit(status)
        except UsageError as error:
            if not is_only_help(error):
                say_error(TargetselError(usage_line(error)))
            sys.exit(2)
        except TargetselError as error:
            say_error(error)
            sys.exit(2)
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            say_error(TargetselError(f"{error.filename or 'targetsel'}: {error.strerror}."))
            sys.exit(2)
