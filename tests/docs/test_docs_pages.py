"""The documentation's pages: every code block is executed when they are built.

`./run docs` builds them, and a cell that fails ends the build. Here stands what a build would not
see: a block that is only shown.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# Written from the package when the documentation is built; tests/manual tries what they show.
_WRITTEN = "commands rule-language columns surveys tools errors"
WRITTEN = [f"reference/{name}.md" for name in _WRITTEN.split()]
PAGES = sorted(
    each
    for each in DOCS.rglob("*.md")
    if "_build" not in each.parts and str(each.relative_to(DOCS)) not in WRITTEN
)
# Directives of MyST and Sphinx, and text such as a line of output that is explained.
NO_CODE = "{toctree} {eval-rst} {figure} {image} {note} {warning} {math} text".split()  # noqa: SIM905
FENCE = re.compile(r"^(`{3,}|:{3,})[ \t]*(\S*).*?\n.*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
EXECUTED = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n"


@pytest.fixture(params=PAGES, ids=[str(each.relative_to(DOCS)) for each in PAGES])
def page(request) -> str:
    return request.param.read_text(encoding="utf-8")


def languages(page: str) -> set[str]:
    return {found[2] for found in FENCE.finditer(page)}


def test_every_block_of_code_is_an_executed_cell(page):
    shown = languages(page) - {*NO_CODE, "{code-cell}"}
    assert not shown, f"blocks that nothing executes: {shown}"


def test_a_page_with_cells_says_that_it_is_executed(page):
    assert ("{code-cell}" in languages(page)) == page.startswith(EXECUTED)
