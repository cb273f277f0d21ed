from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from targetsel.errors import OutputError
from targetsel.jobs.job import KILLED, MOST_DEATHS, MOST_ERRORS, Job
from targetsel.jobs.launch import _Faults, _state_of, dask_client, on_dask, on_this_machine
from tests.jobs.parts_at_work import work


def launched(job, launcher, seconds=None):
    return {each.name: each for each in launcher(job, job.parts, work, seconds)}


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_bad_parts_cost_only_themselves(begun, calls):
    job = begun("a", "raises", "kills", "hangs", "b", "c")
    found = launched(job, on_this_machine(2), seconds=2.0)
    assert {name for name, each in found.items() if each.status == "done"} == {"a", "b", "c"}
    assert found["raises"].reason == "ValueError: no raises"
    assert found["kills"].reason == KILLED
    assert found["hangs"].reason == "took longer than 2 s"
    assert (calls("raises"), calls("kills"), calls("a")) == (MOST_ERRORS, MOST_DEATHS, 1)
    assert sorted(path.name for path in job.output.glob("*.txt")) == ["a.txt", "b.txt", "c.txt"]


def test_processes_that_end_before_they_begin_end_the_job_with_an_error(begun, monkeypatch):
    import targetsel.jobs.launch

    monkeypatch.setattr(targetsel.jobs.launch, "_perform_all", os.abort)
    job = begun("a")
    with pytest.raises(OutputError, match="ended before they had begun a partition"):
        launched(job, on_this_machine(1))


def test_each_process_makes_the_work_once(begun, tmp_path):
    job = begun(*(f"part{k}" for k in range(8)))
    launched(job, on_this_machine(2))
    made = [path.read_text().split() for path in (tmp_path / "calls").glob("made-*")]
    assert 1 <= len(made) <= 2
    assert all(len(each) == 1 for each in made)


def test_a_job_that_is_killed_from_outside_goes_on(begun, calls, tmp_path):
    job = begun(*(f"slow{k}" for k in range(10)))
    stopped = threading.Event()

    def kill_now_and_then():
        for _ in range(4):
            time.sleep(0.5)
            for path in (tmp_path / "calls").glob("made-*"):
                try:
                    os.kill(int(path.name.removeprefix("made-")), signal.SIGKILL)
                except ProcessLookupError:
                    path.unlink()
        stopped.set()

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    found = launched(job, on_this_machine(2))
    killer.join()
    assert {each.status for each in found.values()} == {"done"}
    assert len(found) == 10


def test_a_job_that_is_left_leaves_no_process_behind(begun, calls, tmp_path):
    job = begun("a", "hangs")
    running = on_this_machine(1)(job, job.parts, work, None)
    assert next(running).name == "a"
    while not calls("hangs"):
        time.sleep(0.02)
    process = int((tmp_path / "calls" / "hangs").read_text())
    running.close()
    for _ in range(500):
        if not is_running(process):
            break
        time.sleep(0.02)
    assert not is_running(process)


def test_dask_gives_what_processes_give(begun, calls):
    pytest.importorskip("distributed")
    job = begun("a", "raises", "b")
    with dask_client(None, 2) as client:
        found = launched(job, on_dask(client))
    assert {name: each.status for name, each in found.items()} == {
        "a": "done",
        "raises": "failed",
        "b": "done",
    }
    assert calls("raises") == MOST_ERRORS


def test_bad_parts_cost_a_dask_cluster_only_themselves(begun, calls):
    pytest.importorskip("distributed")
    job = begun("a", "kills", "hangs", "b", "c")
    with dask_client(None, 2) as client:
        found = launched(job, on_dask(client), seconds=2.0)
    assert {name for name, each in found.items() if each.status == "done"} == {"a", "b", "c"}
    assert found["kills"].reason == KILLED
    assert found["hangs"].reason == "took longer than 2 s"
    assert (calls("kills"), calls("hangs"), calls("a")) == (MOST_DEATHS, MOST_DEATHS, 1)


def test_a_dask_cluster_whose_workers_are_killed_finishes(begun, calls, tmp_path):
    pytest.importorskip("distributed")
    job = begun(*(f"slow{k}" for k in range(8)))
    with dask_client(None, 2) as client:
        running = on_dask(client)(job, job.parts, work, None)
        found = [next(running)]
        for path in (tmp_path / "calls").glob("made-*"):
            os.kill(int(path.name.removeprefix("made-")), signal.SIGKILL)
        found.extend(running)
    assert {each.status for each in found} == {"done"}
    assert len({each.name for each in found}) == 8


def without_a_place_for(job, part):
    """Let a process fail before it begins a part."""
    (job.folder / "parts" / f"{part}.lock").mkdir()


def test_processes_that_cannot_note_what_they_begin_end_the_job_with_the_reason(begun):
    job = begun("a")
    without_a_place_for(job, "a")
    with pytest.raises(OutputError, match=r"5 attempts in a row ended .*a.jsonl: could not be"):
        launched(job, on_this_machine(1))


def test_dask_workers_in_another_folder_find_a_job_and_its_faults_end_it(
    begun, monkeypatch, tmp_path
):
    pytest.importorskip("distributed")
    begun("a", output="out")
    bad = begun("a", output="bad")
    without_a_place_for(bad, "a")
    with dask_client(None, 1) as client:
        monkeypatch.chdir(tmp_path)
        assert launched(Job.open(Path("out")), on_dask(client))["a"].status == "done"
        with pytest.raises(OutputError, match=r"the last of a Dask worker with: .*a.jsonl"):
            launched(bad, on_dask(client))


def test_a_scheduler_that_is_gone_is_told_with_the_way_to_go_on(begun):
    distributed = pytest.importorskip("distributed")

    class Lost:
        def result(self):
            raise distributed.CancelledError

    job = begun("a")
    with pytest.raises(OutputError, match=r"scheduler is gone.* run the same command again"):
        _state_of(Lost(), job.log("a"), _Faults(job))


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file, and no Dask scheduler"), ("{}", "KeyError"), ("{", "JSONDecodeError")],
)
def test_a_scheduler_file_that_is_none_is_told(tmp_path, content, said):
    pytest.importorskip("distributed")
    path = tmp_path / "scheduler.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OutputError, match=said):
        dask_client(str(path), 1)
