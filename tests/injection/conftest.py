"""A small sky that a tiny ensemble scored, and a list of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import targetsel as ts

RULES = """schema: targetsel/rules/v1
name: bright
classes:
  BRIGHT:
    bit: 0
    priority: 3000
    where:
      - rmag < 17.5
      - ew_halpha > -500 or d4000 > -500
  LIKELY:
    bit: 1
    priority: 2000
    sample: 0.5
    where: P(ew_halpha > 0 Angstrom) >= 0.3 and redshift > 0
"""


@pytest.fixture(scope="package")
def sky(demonstration, ensemble_folder, tmp_path_factory) -> Path:
    """A folder with the demonstration's first sources, scored by the tiny ensemble, and a list."""
    folder = tmp_path_factory.mktemp("injection")
    shutil.copy(demonstration / "catalog.parquet", folder)
    shutil.copytree(demonstration / "cutouts", folder / "cutouts")
    scored = folder / "catalog.scored.parquet"
    ts.score(
        folder / "catalog.parquet", folder / "cutouts", output=scored, ensemble=ensemble_folder
    )
    (folder / "bright.yaml").write_text(RULES)
    ts.select(scored, folder / "bright.yaml", output=folder / "bright.targets.parquet")
    return folder


@pytest.fixture(scope="package")
def inject(sky, ensemble_folder):
    """Change the images of sources of a file of the folder."""

    def inject(given="catalog.scored.parquet", rules="bright.yaml", **more):
        given = sky / given if isinstance(given, str) else given
        rules = sky / rules if isinstance(rules, str) and "\n" not in rules else rules
        more = {"cutouts": sky / "cutouts", "ensemble": ensemble_folder} | more
        return ts.inject(given, more.pop("cutouts"), rules, **more)

    return inject
