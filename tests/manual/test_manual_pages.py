"""Pages of the documentation are found and read offline, in a checkout and in a wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

from targetsel.manual.entries import look_up
from targetsel.manual.pages import FOLDERS, pages

ROOT = Path(__file__).parents[2]
GENERATED = {"commands", "rule-language", "columns", "tools", "errors", "python", "surveys"}


def test_every_page_that_is_written_by_hand_is_there():
    names = {each.name for each in pages()}
    for path in (ROOT / "docs").rglob("*.md"):
        inside = path.relative_to(ROOT / "docs").with_suffix("")
        generated = inside.parts[:2] == ("reference", "python") or path.stem in GENERATED
        if path.stem != "index" and "_build" not in inside.parts and not generated:
            assert inside.as_posix() in names


def test_the_wheel_has_every_folder_of_pages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for folder in FOLDERS:
        assert shipped[f"docs/{folder}"] == f"targetsel/manual/pages/{folder}"


def test_titles_headings_and_names_of_files_find_a_page():
    for word in ("magnitudes", "howto/magnitudes", "Say what other names hold"):
        (found,) = look_up(word, [pages])
        assert found.name == "howto/magnitudes"


def test_a_page_shows_its_cells_as_code_and_no_header():
    (found,) = look_up("howto/magnitudes", [pages])
    assert found.text.startswith("At the end")
    assert "{code-cell}" not in found.text
    assert "!targetsel score" in found.text
