"""A folder to work in, and the command line as it is typed there."""

from __future__ import annotations

import shutil

import pytest

from tests.cli.typed import Typed, contents


@pytest.fixture
def targetsel(monkeypatch, capsys):
    """Run a command; its exit status and what it printed."""
    return Typed(monkeypatch, capsys)


@pytest.fixture
def sky(demonstration, ensemble_folder, tmp_path, monkeypatch):
    """The working directory: a catalog, its cutouts, and a tiny ensemble in `tiny/`."""
    shutil.copy(demonstration / "catalog.parquet", tmp_path)
    shutil.copytree(demonstration / "cutouts", tmp_path / "cutouts")
    shutil.copytree(ensemble_folder, tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(targetsel, sky):
    """Run a command that must fail: one line, status 2, nothing written; gives the line."""

    def refused(*words):
        before = contents(sky)
        said = targetsel(*words)
        assert said.status == 2, said
        assert said.out == ""
        line, *more = said.err.splitlines()
        assert not more, said.err
        assert contents(sky) == before
        return line

    return refused
