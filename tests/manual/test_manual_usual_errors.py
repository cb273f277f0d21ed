"""The usual errors of the manual come up by the commands that it gives, and are explained."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import targetsel as ts
from targetsel.manual import errors
from targetsel.manual.messages import matching, messages
from targetsel.manual.usual_errors import USUAL

REPOSITORY = Path(__file__).parents[2]
COMMAND = f'targetsel() {{ "{sys.executable}" -m targetsel "$@"; }}\n'


@pytest.fixture(scope="module")
def folder(demonstration, tmp_path_factory):
    folder = tmp_path_factory.mktemp("usual")
    shutil.copytree(demonstration, folder, dirs_exist_ok=True)
    scored = folder / "catalog.scored.parquet"
    ts.score(folder / "catalog.parquet", folder / "cutouts", output=scored)
    ts.select(scored, "emission", folder / "emission.targets.parquet")
    return folder


@pytest.mark.parametrize("usual", USUAL, ids=[each.title for each in USUAL])
def test_the_command_brings_up_the_error_which_the_manual_explains(usual, folder):
    for name, content in usual.files.items():
        (folder / name).write_text(content)
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        ["bash", "-c", COMMAND + usual.command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "96", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
    )
    printed = f"{done.stdout}{done.stderr}".splitlines()
    line = next(each for each in printed if matching(each))
    assert any(each.text.startswith(usual.text) for each in matching(line)), line
    assert any(usual.way_out in each.text for each in errors.like(line))


def test_each_usual_error_is_a_message_of_the_package():
    texts = [each.text for each in messages()]
    for usual in USUAL:
        assert any(each.startswith(usual.text) for each in texts), usual.text
