"""Help as commands show it: texts as they are written, plain types of values, and an example.

The last paragraph of a command's docstring is its example, shown below all else word for word. It
works in the folder of the demonstration, or says what it takes besides:

    Example:
        targetsel rules show emission

    Example, with the files of its authors:
        targetsel decoder import 0057.pth
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from typer.core import TyperArgument, TyperCommand, TyperGroup

from targetsel.cli.usage import UsageError
from targetsel.errors import TargetselError

EXAMPLE = re.compile(r"(Example(?:, [^\n]+)?):\n")
IN_DEMONSTRATION = "Example, in the folder of 'targetsel demo'"
# Names of types that typer shows, in plain words; a flag takes no value and shows none.
PLAIN = {
    "str": "text",
    "Path": "path",
    "bool": "",
    "int range": "int",
    "float range": "number",
    "float": "number",
}


class Command(TyperCommand):
    """A command with an example below its help, and named in all errors about its command line.

    Attributes
    ----------
    example : tuple of str
        Command lines that work in the folder that `targetsel demo` makes.
    heading : str
        The words above them.
    """

    def __init__(self, name: str | None, **options: Any) -> None:
        parts = parts_of(options.pop("help", None) or "")
        self.heading, self.example = parts.heading, parts.example
        super().__init__(name, help=as_written(parts.text), **options)

    def get_params(self, ctx: Any) -> list[Any]:
        return [_plain(each) for each in super().get_params(ctx)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        if self.example:
            _show_example(self.heading, self.example)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces = super().collect_usage_pieces(ctx)
        return [each.replace("{", "").replace("}", "") for each in pieces]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # typer does not name the command in errors about an option without its value.
        try:
            return super().parse_args(ctx, args)
        except TargetselError:
            # While the shell completes a line, no scored catalog needs to be there.
            if not ctx.resilient_parsing:
                raise
            return args
        except UsageError as error:
            error.ctx = getattr(error, "ctx", None) or ctx  # type: ignore[attr-defined]
            raise


class Group(TyperGroup):
    """A group of commands, with the same help."""

    def __init__(self, **options: Any) -> None:
        options["help"] = as_written(options.get("help") or "")
        super().__init__(**options)

    def get_params(self, ctx: Any) -> list[Any]:
        return [_plain(each) for each in super().get_params(ctx)]


class Parts(NamedTuple):
    """A command's text, one line per paragraph; the heading and the lines of its example."""

    text: str
    heading: str
    example: tuple[str, ...]


def parts_of(docstring: str) -> Parts:
    """The parts of a command's docstring; without an example its lines are empty."""
    *paragraphs, last = inspect.cleandoc(docstring).split("\n\n")
    heading, example = IN_DEMONSTRATION, ""
    if begin := EXAMPLE.match(last):
        heading = begin[1] if begin[1] != "Example" else heading
        example = textwrap.dedent(last[begin.end() :])
    else:
        paragraphs.append(last)
    text = "\n\n".join(" ".join(each.split("\n")) for each in paragraphs)
    return Parts(text, heading, tuple(example.splitlines()))


def as_written(text: str) -> str:
    """The text for typer, which takes words in brackets for markup where they are not escaped."""
    from rich.markup import escape

    return escape(text)


@cache
def summary(module: str, name: str) -> str:
    """The first paragraph of a command's help, or the help of a group, without importing it.

    Parameters
    ----------
    module : str
        A module of this folder.
    name : str
        The command's function in it, or the `typer.Typer` of the group.
    """
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return parts_of(ast.get_docstring(node) or "").text.split("\n\n")[0]
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            assert isinstance(node.value, ast.Call)
            return next(ast.literal_eval(k.value) for k in node.value.keywords if k.arg == "help")
    raise KeyError(f"{module}:{name}")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse((Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8"))


def _plain(parameter: Any) -> Any:
    """The parameter, with its help as it is written and the type of its value in plain words."""
    if not hasattr(parameter, "is_plain"):
        parameter.help = as_written(parameter.help or "")
        parameter.is_plain = True
        if isinstance(parameter, TyperArgument):
            parameter.metavar = parameter.metavar or parameter.name.upper()
        if parameter.metavar is None or isinstance(parameter, TyperArgument):
            shown = parameter.display_type_rich
            parameter.display_type_rich = lambda ctx: _plain_type(shown(ctx))
    return parameter


def _plain_type(shown: str | None) -> str | None:
    """The type as "<text>" from "<str>", "<path>..." from "<list[path]>", none for a flag."""
    name, many = (shown or "").strip("<>."), (shown or "").endswith("...")
    if name.startswith("list["):
        name, many = name[5:-1], True
    name = ",".join(PLAIN.get(each, each) for each in name.split(","))
    return f"<{name}>{'...' * many}" if name else None


def _show_example(heading: str, lines: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f" {heading}:", style="bold"))
    for line in lines:
        console.print(Text(f"   {line}"), soft_wrap=True)
    console.print()
