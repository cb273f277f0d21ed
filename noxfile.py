#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""Sessions that do what `./run` does: `nox -s tests` is `./run tests`.

`./run` makes the environment of all of them once, in .venv; PYTHON chooses its interpreter.
"""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "none"


@nox.session
def tests(session: nox.Session) -> None:
    """Run ruff, the type checker and the test suite."""
    session.run("./run", "tests", external=True)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Write the demonstration into the folder demo/."""
    session.run("./run", "demo", external=True)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html/."""
    session.run("./run", "docs", external=True)


@nox.session(default=False)
def setup(session: nox.Session) -> None:
    """Make the environment .venv alone."""
    session.run("./run", "setup", external=True)


@nox.session(default=False, venv_backend="uv|venv")
def build(session: nox.Session) -> None:
    """Build the source distribution and the wheel into dist/, and check them."""
    session.install("build", "twine")
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", "dist/*")


if __name__ == "__main__":
    nox.main()
