"""The small demonstration, scored and selected by the commands."""

from __future__ import annotations

import pytest
import typer.testing

import targetsel as ts
from targetsel.cli import app


@pytest.fixture(scope="session")
def command():
    """Run a command of `targetsel`, which must succeed; what it printed."""

    def run(*words):
        found = typer.testing.CliRunner().invoke(app, [str(word) for word in words])
        assert found.exit_code == 0, found.output
        return found.output

    return run


@pytest.fixture(scope="package")
def folder(demonstration, command, tmp_path_factory):
    """The demonstration's first sources, scored and selected by the commands; read only."""
    folder = tmp_path_factory.mktemp("api")
    for name in ("cutouts", "catalog.parquet", "truth.parquet", "spectra.parquet"):
        if (demonstration / name).exists():
            (folder / name).symlink_to(demonstration / name)
    command("score", folder / "catalog.parquet", "--threads", 1)
    scored, output = folder / "catalog.scored.parquet", folder / "emission.targets.parquet"
    command("select", "--rules", "emission", scored, "-o", output)
    return folder


@pytest.fixture(scope="package")
def scored(folder):
    return ts.read(folder / "catalog.scored.parquet")
