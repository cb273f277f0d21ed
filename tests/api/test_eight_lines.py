"""The walk in eight lines, as README, the package and the example show it."""

from __future__ import annotations

import runpy
import shutil
import textwrap
from pathlib import Path

import matplotlib.image
import pytest

import targetsel as ts

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(folder, tmp_path, monkeypatch):
    """The working directory: the demonstration's catalog and cutouts."""
    shutil.copy(folder / "catalog.parquet", tmp_path)
    shutil.copytree(folder / "cutouts", tmp_path / "cutouts")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def readme_block() -> str:
    readme = (ROOT / "README.md").read_text()
    (block,) = [each for each in readme.split("```python\n")[1:] if each.startswith("import targ")]
    return block.split("```")[0]


def test_the_walk_in_readme_has_eight_lines_and_stands_in_package_and_example_too():
    block = readme_block()
    assert len([line for line in block.splitlines() if line]) == 8
    assert textwrap.indent(block, "    ") in (ts.__doc__ or "")
    assert block in (ROOT / "examples" / "walk.py").read_text()


def test_the_walk_in_readme_gives_the_lists_of_the_commands(demo, folder, command):
    names: dict[str, object] = {}
    exec(readme_block(), names)
    theirs = ts.read(folder / "emission.targets.parquet")
    assert names["targets"].table.equals(theirs.table)
    assert [each.selected for each in names["why"]].count(True) >= 1
    assert matplotlib.image.imread("first.png").shape[0] > 300
    (demo / "desi.yaml").write_text("epoch: 2026.5\nobsconditions: DARK\n")
    words = ("--for", "desi", "--config", "desi.yaml", "-o", "theirs.fits")
    command("export", folder / "emission.targets.parquet", *words)
    assert (demo / "desi.fits").read_bytes() == (demo / "theirs.fits").read_bytes()


def test_the_example_runs_in_the_folder_of_the_demonstration(demo, capsys):
    runpy.run_path(str(ROOT / "examples" / "walk.py"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split()[0] for line in lines[:4]] == ["EW(Halpha)"] * 4
    assert "targets by emission" in lines[4]
