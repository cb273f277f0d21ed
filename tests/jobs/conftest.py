from __future__ import annotations

import pytest

from targetsel.jobs.job import Job


@pytest.fixture
def begun(tmp_path):
    """Begin a job of parts with these names."""

    def begin(*parts, output="out", **identity):
        calls = tmp_path / "calls"
        calls.mkdir(exist_ok=True)
        settings = {"calls": str(calls)}
        return Job.begin(tmp_path / output, "test", settings, identity, parts)

    return begin


@pytest.fixture
def calls(tmp_path):
    """How often each part was begun."""

    def count(part):
        path = tmp_path / "calls" / part
        return len(path.read_text().split()) if path.exists() else 0

    return count
