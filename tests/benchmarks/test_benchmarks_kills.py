"""The script that kills commands: it finds no fault in ours, and those of one that has them."""

from __future__ import annotations

import dataclasses

import pytest

import targetsel.cli
import targetsel.scoring.stream


@pytest.fixture
def kills(monkeypatch):
    import kills

    monkeypatch.setattr(targetsel.scoring.stream, "ROWS_PER_CHUNK", 8)
    return kills


def test_score_is_resumed_with_the_same_bytes(kills, tmp_path):
    assert kills.kill(kills.CASES["score"], tmp_path, 2, 0) == []


def test_half_a_result_and_litter_are_found(kills, tmp_path, monkeypatch):
    def slow():
        import time
        from pathlib import Path

        with Path("out.txt").open("w") as stream:
            for _ in range(20):
                print("line", file=stream, flush=True)
                time.sleep(0.02)
            Path(f"litter-{len(list(Path().glob('litter-*')))}").touch()

    monkeypatch.setattr(targetsel.cli, "main", slow)
    case = dataclasses.replace(
        kills.CASES["score"], words="slow", make=lambda _: None, finished=None, imports=""
    )
    faults = kills.kill(case, tmp_path, 4, 1)
    assert any("out.txt is there and not whole" in each for each in faults)
