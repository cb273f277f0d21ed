"""Reference pages of Python that are written from the package when the documentation is built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import targetsel
from targetsel import errors
from targetsel.manual import python
from targetsel.manual.entries import anchor, first_sentence
from targetsel.manual.errors import classes

FUNCTION = """# targetsel.{name}

```{{eval-rst}}
.. currentmodule:: targetsel

.. autofunction:: {name}
```
"""
CLASS = """# {title}

```{{eval-rst}}
.. currentmodule:: {module}

.. autoclass:: {name}
   :members:
   :inherited-members: BaseModel, Exception, tuple, Generic
```
"""
LIST = """# Python

`import targetsel as ts` offers what the commands do, under the same words, and the things that they
read and give. Everything else in the package may change without notice. Each page has an example,
to be run in the folder of `targetsel demo`.

{tables}

```{{toctree}}
:hidden:
{names}
```
"""
COMMAND = re.compile(r"`(targetsel [^`]+)`")


def write_python(folder: Path) -> None:
    """Write tables of all public names to FOLDER/python.md, and a page for each beside it."""
    pages = {name: FUNCTION.format(name=name) for names in python.TASKS.values() for name in names}
    for name in python.class_names():
        pages[name] = CLASS.format(title=f"targetsel.{name}", module="targetsel", name=name)
    for name, found in python.results().items():
        pages[name] = CLASS.format(title=name, module=found.__module__, name=name)
    write_page(folder / "python.md", LIST.format(tables="\n\n".join(tables()), names=listed(pages)))
    for name, text in pages.items():
        write_page(folder / "python" / f"{name}.md", text)
    for left in (folder / "python").glob("*.md"):
        if left.stem not in pages:
            left.unlink()


def listed(pages: Iterable[str]) -> str:
    """Lines of a table of contents: each page under its name, in the order given."""
    return "\n".join(f"{name} <python/{name}>" for name in pages)


def tables() -> Iterator[str]:
    """A table of functions for each task, then those of classes."""
    for task, names in python.TASKS.items():
        yield table(task, "function", ((name, getattr(targetsel, name)) for name in names))
    yield table(
        "What functions read and give",
        "class",
        ((name, getattr(targetsel, name)) for name in python.class_names()),
    )
    yield table("What comes back of single functions", "class", python.results().items())


def table(heading: str, kind: str, things: Iterable[tuple[str, Any]]) -> str:
    """A heading, and a line for each thing with a link to its page."""
    rows = [
        f"| [`{name}`](python/{name}.md) | {linked(first_sentence(inspect.getdoc(value)))} |"
        for name, value in things
    ]
    verb = "does" if kind == "function" else "is"
    head = [f"## {heading}", "", f"| {kind} | what it {verb} |", "|---|---|"]
    return "\n".join([*head, *rows])


def linked(text: str) -> str:
    """Markdown in which each command links to its page."""
    return COMMAND.sub(lambda found: f"[`{found[1]}`](#{label_of(found[1])})", text)


def write_page(path: Path, text: str) -> None:
    """Write a page if it is new or changed, so that Sphinx reads no page in vain."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


# ---------------------------------------------------------------- links in docstrings


def label_of(name: str) -> str | None:
    """The label of what stands in backticks: a command such as `targetsel score`, or an error."""
    name = name.removeprefix("targetsel.errors.")
    if name.startswith("targetsel "):
        words = name.split()[1:]
        return anchor("command", *(each for each in words if not each.startswith("-")))
    return anchor("error", name) if hasattr(errors, name) else None


def link_commands_and_errors(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Make a link of a command or error in backticks to its place in the reference."""
    label = label_of(node.get("reftarget", ""))
    if label is None:
        return None
    standard = env.domains.standard_domain
    if label not in standard.anonlabels:
        return None
    from docutils import nodes
    from sphinx.util.nodes import make_refnode

    page, place = standard.anonlabels[label]
    literal = nodes.literal("", text.astext())
    return make_refnode(app.builder, node["refdoc"], page, place, literal)


def types() -> dict[str, str]:
    """The whole name of each class that docstrings name as a type."""
    public = {name: f"targetsel.{name}" for name in python.class_names()}
    private = {
        name: f"{each.__module__}.{each.__qualname__}" for name, each in python.results().items()
    }
    return public | private | {each.name: f"targetsel.errors.{each.name}" for each in classes()}
