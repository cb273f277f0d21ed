"""Types as a user's type checker sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

mypy = pytest.importorskip("mypy.api")
ROOT = Path(__file__).parents[2]


def test_a_script_of_a_user_passes_strict_type_checks(monkeypatch):
    monkeypatch.chdir(ROOT)  # with the settings of the project, and what `mypy` has kept there
    found, trouble, status = mypy.run(["tests/api/strict_user.py"])
    assert status == 0, found + trouble


def test_a_mistake_in_a_script_is_seen(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    script = tmp_path / "wrong.py"
    script.write_text("import targetsel as ts\n\nts.select(3, 'emission').run.classes\n")
    found, _, status = mypy.run([str(script)])
    assert status == 1
    assert 'of "Selection | None" has no attribute "classes"' in found
