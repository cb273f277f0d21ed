"""The script that kills commands: it finds no fault in ours, and those of one that has them."""

from __future__ import annotations

import argparse
import signal

import pytest

import targetsel.cli
import targetsel.scoring.stream

FOUR_KILLS = argparse.Namespace(
    kills=4, seed=1, signal="KILL", number=signal.SIGKILL, minutes=5, twice=0
)


@pytest.fixture
def stopped(monkeypatch, tmp_path, capsys):
    """Kill a command four times, and give what the script prints of it."""
    import kills

    monkeypatch.setattr(targetsel.scoring.stream, "ROWS_PER_CHUNK", 8)

    def stopped(case):
        n_faults = kills.try_case(case, tmp_path / "case", FOUR_KILLS)
        said = capsys.readouterr().out
        assert said.count("FAULT") == min(n_faults, 20)
        return said

    return stopped


def test_score_is_resumed_with_the_same_bytes(stopped):
    from kills_cases import CASES

    said = stopped(CASES["score"])
    assert "SIGKILL: 4 of 4 hit" in said
    assert "no fault" in said


def test_half_a_result_and_litter_are_found(stopped, monkeypatch):
    from kills_cases import Case

    def slow():
        import time
        from pathlib import Path

        for part in range(20):
            with Path("out.txt").open("a" if part else "w") as stream:
                print("line", file=stream)
            time.sleep(0.02)

    monkeypatch.setattr(targetsel.cli, "main", slow)
    assert "out.txt" in stopped(Case("slow", lambda folder: None)).partition("FAULT")[2]
