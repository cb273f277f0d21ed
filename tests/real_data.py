"""Real files, which do not come with the package: `TARGETSEL_DATA` names their folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def real(name: str) -> Path:
    """A file or folder in the folder of real files; the test is skipped where it is missing."""
    folder = os.environ.get("TARGETSEL_DATA")
    if not folder or not (path := Path(folder) / name).exists():
        pytest.skip(f"no {name} in a folder that TARGETSEL_DATA names")
    return path
