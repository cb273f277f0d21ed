from __future__ import annotations

import json
import os

import pytest

from targetsel.errors import OutputError
from targetsel.jobs.job import FAILED, KILLED, MOST_DEATHS, MOST_ERRORS, Job, shard_of
from targetsel.jobs.perform import perform
from targetsel.jobs.progress import Progress
from tests.jobs.parts_at_work import broken, work


def statuses(job):
    return [each.status for each in job.states()]


def test_a_part_that_was_done_is_not_done_again(begun, calls):
    job = begun("a", "b")
    for _ in range(2):
        assert perform(str(job.output), "a", work).facts["rows"] == 1
    assert calls("a") == 1
    assert statuses(job) == ["done", "waiting"]


def test_a_job_of_other_inputs_is_refused_and_names_what_differs(begun):
    begun("a", ensemble="one")
    with pytest.raises(OutputError, match=r"was begun with ensemble 'one'; now it is 'two'"):
        begun("a", ensemble="two")


def test_a_folder_of_other_files_is_refused(begun, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        begun("a")


def test_a_folder_without_a_job_says_what_was_expected(tmp_path):
    with pytest.raises(OutputError, match="no job of targetsel"):
        Job.open(tmp_path)


def test_errors_are_noted_and_after_some_the_part_has_failed(begun, calls):
    job = begun("raises", "b")
    for k in range(MOST_ERRORS):
        state = perform(str(job.output), "raises", work)
        assert state.status == ("failed" if k == MOST_ERRORS - 1 else "waiting")
    assert state.reason == "ValueError: no raises"
    assert perform(str(job.output), "raises", work).status == "failed"
    assert calls("raises") == MOST_ERRORS


def test_an_error_in_making_the_work_is_one_of_the_part(begun):
    job = begun("a")
    assert perform(str(job.output), "a", broken).reason == "RuntimeError: no networks"


def test_attempts_that_ended_without_a_word_count_as_deaths(begun):
    job = begun("a")
    log = job.log("a")
    for k in range(MOST_DEATHS):
        assert log.state().status == "waiting"
        log.begun()
        assert log.state().attempts == k + 1
    assert log.state().status == "failed"
    assert log.state().reason == KILLED


def test_a_new_run_tries_a_failed_part_again(begun):
    job = begun("a")
    log = job.log("a")
    for _ in range(MOST_DEATHS):
        log.begun()
    log.again()
    assert log.state().status == "waiting"
    assert log.state().reason == ""


def test_a_line_that_was_cut_short_is_left_out_and_the_next_is_whole(begun):
    job = begun("a")
    log = job.log("a")
    log.begun()
    with open(log.path, "a") as file:
        file.write('{"event": "done", "fac')
    assert log.state().status == "waiting"
    log.done({"rows": 3})
    assert log.state().facts == {"rows": 3}


def test_a_part_that_another_process_holds_is_running(begun):
    job = begun("a")
    log = job.log("a")
    with log.held() as mine:
        assert mine
        log.begun()
        assert job.log("a").state().status == "running"
        with job.log("a").held() as theirs:
            assert not theirs
    assert log.state().status == "waiting"


@pytest.mark.parametrize("n", [1, 3, 8])
def test_shards_share_the_parts_without_overlap(n):
    parts = [f"part{k}" for k in range(20)]
    shards = [shard_of(parts, f"{k}/{n}") for k in range(1, n + 1)]
    assert sorted(sum(shards, ())) == sorted(parts)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("shard", ["0/8", "9/8", "3", "a/b", "1/0", "-1/3"])
def test_a_shard_that_cannot_be_is_refused(shard):
    with pytest.raises(OutputError, match="expected K/N"):
        shard_of(["a"], shard)


def test_progress_counts_rows_rate_and_time_that_is_left(begun):
    job = begun("a", "b", "c")
    log = job.log("a")
    lines = [
        {"event": "begun", "time": 100.0},
        {"event": "done", "time": 110.0, "facts": {"rows": 50}},
    ]
    log.path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    found = Progress.of(job)
    assert found.counts == {"done": 1, "running": 0, "waiting": 2, "failed": 0}
    assert (found.n_rows, found.rate, found.remaining) == (50, 5.0, 20.0)
    assert json.loads(found.as_json())["remaining_seconds"] == 20


def test_two_processes_at_once_give_the_rate_of_both(begun):
    job = begun("a", "b")
    for part in job.parts:
        lines = [
            {"event": "begun", "time": 100.0},
            {"event": "done", "time": 110.0, "facts": {"rows": 50}},
        ]
        job.log(part).path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert Progress.of(job).rate == 10.0


def test_a_part_that_ended_too_many_processes_is_failed_for_whoever_takes_it(begun):
    job = begun("a")
    for _ in range(MOST_DEATHS):
        job.log("a").begun()
    assert perform(str(job.output), "a", work).status == FAILED
    assert job.log("a").state().attempts == MOST_DEATHS


def test_a_line_that_finds_no_room_on_the_disk_is_an_error(begun, monkeypatch):
    log = begun("a").log("a")
    monkeypatch.setattr(os, "write", lambda place, line: len(line) - 1)
    with pytest.raises(OutputError, match="No space left"):
        log.begun()


def test_damaged_settings_name_the_folder_of_the_job(begun, tmp_path):
    job = begun("a")
    (job.folder / "identity.json").write_text("{")
    with pytest.raises(OutputError, match=f"Remove {job.output} and run again"):
        begun("a")


@pytest.mark.parametrize("line", ['{"event": "done"}', '{"event": "failed"}', "[]", "3", "\0\0"])
def test_a_damaged_line_says_nothing(begun, line):
    log = begun("a").log("a")
    log.begun()
    with open(log.path, "a") as file:
        file.write(line + "\n")
    state = log.state()
    assert (state.status, state.attempts) == ("waiting", 1)
    assert [*log.spans()] == []


def test_a_look_at_a_part_makes_no_file_and_leaves_the_part_to_others(begun):
    log = begun("a").log("a")
    log.begun()
    assert log.state().status == "waiting"
    assert [path.name for path in log.path.parent.iterdir()] == ["a.jsonl"]
    with log.held() as mine, log.held() as theirs:
        assert (mine, theirs) == (True, False)


def test_the_rate_does_not_follow_a_clock_that_is_set(begun):
    job = begun("a")
    lines = [
        {"event": "begun", "time": 10_000.0},
        {"event": "done", "time": 110.0, "facts": {"rows": 50, "seconds": 10.0}},
    ]
    job.log("a").path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert Progress.of(job).rate == 5.0


def test_the_part_in_work_for_longest_is_told(begun):
    job = begun("a", "b")
    with job.log("a").held():
        job.log("a").begun()
        found = Progress.of(job)
    assert (found.longest.part, found.longest.process) == ("a", os.getpid())
    assert json.loads(found.as_json())["longest_running"]["part"] == "a"
    assert Progress.of(job).longest is None
