"""The plan of the package, measured: rooms in one order, no circles, files worth opening."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "targetsel"

# A room imports only from rooms before it. `walk` stands above them all and is imported by the
# command line alone.
ORDER = """
errors version extras plots tasks documents tables remote weights workers jobs statistics
expressions sky nights photometry imaging spectra spectrographs embeddings networks surveys scored
feature_cells calibration novelty scoring training rules selection redshifts observing partitions
priors handoff feedback mock report inspection injection walk api manual cli __main__
""".split()  # noqa: SIM905


def imported_names(path: Path) -> set[str]:
    """Dotted names under `targetsel` that a file imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "targetsel":
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("targetsel.")}
    return names


def room_of(path: Path) -> str:
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def module_of(name: str) -> Path | None:
    """The file that a dotted name lives in."""
    parts = name.split(".")[1:]
    while parts:
        place = PACKAGE.joinpath(*parts)
        if place.with_suffix(".py").is_file():
            return place.with_suffix(".py")
        if (place / "__init__.py").is_file():
            return place / "__init__.py"
        parts.pop()
    return None


@pytest.fixture(scope="module")
def imports() -> dict[Path, set[Path]]:
    found: dict[Path, set[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        homes = {module_of(name) for name in imported_names(path)}
        found[path] = {home for home in homes if home and home != path}
    assert len(found) > 100
    return found


def test_every_room_stands_in_the_order(imports):
    assert {room_of(path) for path in imports} - {"__init__"} <= {*ORDER}


def test_no_room_imports_a_room_after_it(imports):
    wrong = sorted(
        f"{path.relative_to(PACKAGE)} imports {home.relative_to(PACKAGE)}"
        for path, homes in imports.items()
        for home in homes
        if room_of(path) != "__init__" and room_of(home) != "__init__"
        and ORDER.index(room_of(home)) > ORDER.index(room_of(path))
    )  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_no_files_import_each_other_in_a_circle(imports):
    done: set[Path] = set()

    def visit(path: Path, trail: tuple[Path, ...]) -> None:
        assert path not in trail, " -> ".join(str(p.relative_to(PACKAGE)) for p in (*trail, path))
        if path not in done:
            for home in sorted(imports[path]):
                if home.name != "__init__.py":
                    visit(home, (*trail, path))
            done.add(path)

    for path in imports:
        visit(path, ())


def test_no_file_is_a_crumb_or_too_long(imports):
    lengths = {path: len(path.read_text().splitlines()) for path in imports}
    small = [
        f"{path.relative_to(PACKAGE)}: {n}"
        for path, n in lengths.items()
        if n > 600 or (n < 30 and path.name not in ("__init__.py", "__main__.py", "version.py"))
    ]
    assert not small, "\n".join(small)


def test_no_class_name_is_used_twice(imports):
    homes = defaultdict(list)
    for path in imports:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path.relative_to(PACKAGE)))
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert not twice, "\n".join(f"{name}: {', '.join(places)}" for name, places in twice.items())
