"""A small page of inspection, and a real browser without a screen."""

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
"""
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1366,900",
)  # fmt: skip


@pytest.fixture(scope="package")
def sky(demonstration, ensemble_folder, tmp_path_factory) -> Path:
    """A folder with the demonstration's first sources, scored by the tiny ensemble, and a list."""
    folder = tmp_path_factory.mktemp("inspection")
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
def write(sky, ensemble_folder):
    """Write the page of a file of the folder."""

    def write(targets: str, output: Path, **more):
        more = {"cutouts": sky / "cutouts", "scored": sky / "catalog.scored.parquet"} | more
        return ts.inspect(sky / targets, output, ensemble=ensemble_folder, **more)

    return write


@pytest.fixture(scope="package")
def page(write, tmp_path_factory):
    """The page of the whole scored catalog; read only."""
    folder = tmp_path_factory.mktemp("page") / "page"
    return write("catalog.scored.parquet", folder, rules="emission")


@pytest.fixture
def browse(tmp_path):
    """Open a page in Chromium; with the same profile, its notes are there again."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip(f"no {CHROMIUM} or {DRIVER}: the page was not tried in a browser")
    opened = []

    def browse(place: Path | str, profile: str = "profile", size: str = "1366,900"):
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        own = (f"--user-data-dir={tmp_path / profile}", f"--window-size={size}")
        for flag in (*FLAGS, *own):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(tmp_path / "downloads")}
        )
        service = webdriver.ChromeService(str(DRIVER))
        opened.append(webdriver.Chrome(options=options, service=service))
        opened[-1].get(place if isinstance(place, str) else place.as_uri())
        return opened[-1]

    yield browse
    for each in opened:
        each.quit()
