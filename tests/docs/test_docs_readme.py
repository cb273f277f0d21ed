"""README is short, and its rule file has no fault.

Its commands are run by `tests/cli/test_cli_examples.py`, its Python by
`tests/api/test_eight_lines.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

from targetsel.rules.checking import check
from targetsel.scored.columns import CATALOG, scored_columns
from targetsel.tables.columns import Column, schema_of

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_it_is_one_screen():
    assert len(README.split()) < 800


def test_its_rule_file_has_no_fault(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "readme.yaml").write_text(block)
    magnitude = Column("rmag", CATALOG[1].type, "mag")
    found = check(tmp_path / "readme.yaml", schema_of([*CATALOG, magnitude, *scored_columns(6, 5)]))
    assert not found


def test_its_pictures_have_alternative_text():
    assert re.findall(r"!\[([^\]]*)\]", README)
    assert all(len(each) > 40 for each in re.findall(r"!\[([^\]]*)\]", README))
