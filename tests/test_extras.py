"""Extras: without one, whoever needs it reads in one line how to install it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from targetsel.errors import ExtraError
from targetsel.extras import EXTRAS, installed, require
from targetsel.imaging.cutout import Cutouts

ROOT = Path(__file__).parents[1]
WITHOUT_MATPLOTLIB = "import sys; sys.modules['matplotlib'] = None; "


def without_matplotlib(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_MATPLOTLIB + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_extras_are_those_of_the_package_and_all_of_them_are_in_all():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    (everything,) = extras.pop("all")
    assert set(extras) == set(EXTRAS)
    assert everything == f"targetsel[{','.join(sorted(extras))}]"


@pytest.mark.parametrize("extra", EXTRAS)
def test_without_an_extra_one_line_says_how_to_install_it(extra, monkeypatch):
    for package in EXTRAS[extra]:
        monkeypatch.setitem(sys.modules, package, None)
    assert not installed(extra)
    with pytest.raises(ExtraError) as error:
        require(extra, "A wish")
    verb = "is" if len(EXTRAS[extra]) == 1 else "are"
    assert str(error.value) == (
        f"A wish needs {' and '.join(EXTRAS[extra])}, which {verb} not installed. "
        f"Try: pip install 'targetsel[{extra}]'"
    )


@pytest.mark.parametrize(
    "command",
    [
        "show catalog.scored.parquet --cutouts cutouts -o x.png --id 1",
        "evaluate catalog.scored.parquet --truth truth.parquet -o report",
        "cutouts show cutouts -o x.png",
        "mock --n 20 -o sky --show sky.png",
        "spectra encode a.fits -o x.parquet --picture x.png",
    ],
)
def test_without_matplotlib_a_command_that_draws_says_so_before_it_works(command):
    ran = without_matplotlib("from targetsel.cli import main; main()", *command.split())
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr == (
        "A picture needs matplotlib, which is not installed. Try: pip install 'targetsel[plots]'\n"
    )


def test_everything_but_pictures_works_without_matplotlib():
    modules = "mock.demonstration scoring.ensemble training.ensemble_training walk"
    ran = without_matplotlib(f"import {', '.join(f'targetsel.{m}' for m in modules.split())}")
    assert ran.returncode == 0, ran.stderr


def test_without_matplotlib_a_notebook_shows_cutouts_as_text(demonstration_cutouts, monkeypatch):
    assert demonstration_cutouts._repr_html_().count("<img") == 2
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert demonstration_cutouts._repr_html_() is None


@pytest.fixture
def demonstration_cutouts(demonstration) -> Cutouts:
    from targetsel.imaging.store import CutoutStore

    store = CutoutStore.open(demonstration / "cutouts")
    return store.read(store.source_ids(2))
