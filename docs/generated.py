"""Reference pages that are written from the package when the documentation is built."""

from __future__ import annotations

import inspect
from pathlib import Path

import targetsel

FUNCTION = """# targetsel.{name}

```{{eval-rst}}
.. currentmodule:: targetsel

.. autofunction:: {name}
```
"""
CLASS = """# targetsel.{name}

```{{eval-rst}}
.. currentmodule:: targetsel

.. autoclass:: {name}
   :members:
   :inherited-members: BaseModel, Exception, tuple
```
"""
LIST = """# Python

`import targetsel as ts` offers what the commands do, under the same words, and the things that they
read and give. Everything else in the package may change without notice.

## Functions

{functions}

## Classes

{classes}

```{{toctree}}
:hidden:
:glob:
python/*
```
"""


def write_python(folder: Path) -> None:
    """Write a list of all public names to FOLDER/python.md, and a page for each beside it."""
    lines: dict[str, list[str]] = {"functions": [], "classes": []}
    pages: dict[str, str] = {}
    for name in sorted(set(targetsel.__all__) - {"__version__"}, key=str.lower):
        value = getattr(targetsel, name)
        is_class = inspect.isclass(value)
        about = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
        lines["classes" if is_class else "functions"].append(
            f"[`{name}`](python/{name}.md)\n: {about}"
        )
        pages[name] = (CLASS if is_class else FUNCTION).format(name=name)
    write_page(
        folder / "python.md", LIST.format(**{key: "\n\n".join(each) for key, each in lines.items()})
    )
    for name, text in pages.items():
        write_page(folder / "python" / f"{name}.md", text)
    for left in (folder / "python").glob("*.md"):
        if left.stem not in pages:
            left.unlink()


def write_page(path: Path, text: str) -> None:
    """Write a page if it is new or changed, so that Sphinx reads no page in vain."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
