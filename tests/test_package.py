"""What the package says of itself, in each place that says it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from targetsel.version import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def citation() -> dict:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def codemeta() -> dict:
    return json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))


def test_citation_and_metadata_name_the_version_of_the_package(citation, codemeta):
    assert citation["version"] == codemeta["version"] == __version__


def test_the_conda_recipe_names_the_version_and_what_the_package_needs():
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == __version__
    conda = {each.replace(" ", "") for each in recipe["requirements"]["run"]}
    pip = {re.sub(r"^torch\b", "pytorch", each) for each in PROJECT["dependencies"]}
    assert conda == {*pip, f"python{PROJECT['requires-python']}"}


def test_citation_and_metadata_name_the_paper_of_the_method(citation, codemeta):
    (paper,) = citation["references"]
    assert "2009.12318" in paper["url"]
    assert codemeta["referencePublication"]["url"] == paper["url"]
    assert codemeta["referencePublication"]["name"] == paper["title"]


def test_licence_and_description_are_the_same_everywhere(citation, codemeta):
    assert citation["license"] == PROJECT["license"]
    assert codemeta["license"].endswith(f"/{PROJECT['license']}")
    assert codemeta["description"] == PROJECT["description"]


def test_the_changelog_has_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {__version__}" in changelog


def test_the_source_distribution_has_every_file_that_readme_links_to():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", readme)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    included = {each.strip("/") for each in build["build"]["targets"]["sdist"]["include"]}
    assert {Path(each).parts[0] for each in links} <= included
    assert all((ROOT / each).exists() for each in [*links, *included])
