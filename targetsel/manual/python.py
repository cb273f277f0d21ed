"""The public names of the package, told from its sources so that nothing needs to be imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import targetsel
from targetsel.manual.entries import Entry, block, code, first_sentence, plain

PACKAGE = Path(targetsel.__file__).parent
UNDERLINES = {"-", "="}


def names() -> Iterator[Entry]:
    """One entry for each public name: its signature and its docstring."""
    for name in targetsel.__all__:
        if name == "__version__":
            about = "Version of the package."
            yield Entry("Python", name, about, about, title=code("targetsel.__version__"))
            continue
        node = _definition(f"targetsel.{targetsel._HOME_OF[name]}", name)
        docstring = ast.get_docstring(node) or ""
        text = f"{block(_signature(node), 'python')}\n\n{_without_underlines(plain(docstring))}"
        title = f"targetsel.{name}"
        aliases = (title, f"ts.{name}")
        yield Entry("Python", name, first_sentence(docstring), text, aliases, title=code(title))


def _signature(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    """The call, one parameter a line where there are many; of a class, its methods."""
    if isinstance(node, ast.FunctionDef):
        return [_call(node)]
    lines = []
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
            decorators = {ast.unparse(one).rsplit(".", 1)[-1] for one in each.decorator_list}
            is_value = decorators & {"property", "cached_property"}
            lines.append(f"{node.name}.{each.name if is_value else _call(each)}")
    return lines or [node.name]


def _call(node: ast.FunctionDef) -> str:
    arguments = ast.unparse(node.args)
    for first in ("self, ", "cls, ", "self", "cls"):
        if arguments.startswith(first):
            arguments = arguments.removeprefix(first)
            break
    gives = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({arguments}){gives}"


def _definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef:
    """The class or function of a name, followed through the modules that only pass it on."""
    tree = _tree(module)
    for node in reversed(tree.body):  # the last has the docstring, where there are overloads
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _definition(node.module, alias.name)
    raise LookupError(f"{module}: {name}")


@cache
def _tree(module: str) -> ast.Module:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _without_underlines(docstring: str) -> str:
    """A docstring of numpy's form as Markdown: its headings are bold."""
    lines = docstring.splitlines()
    found = []
    for line, below in pairwise([*lines, ""]):
        if line and {*line} <= UNDERLINES:
            continue
        is_heading = below and {*below} <= UNDERLINES
        found.append(f"**{line}**\n" if is_heading else line)
    return "\n".join(found)
