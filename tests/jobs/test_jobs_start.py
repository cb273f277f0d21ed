from __future__ import annotations

import contextlib

import pytest

from targetsel.errors import OutputError
from targetsel.jobs.job import PartState
from targetsel.jobs.start import FIRST, Start

PARTS = [f"part{k}" for k in range(3 * FIRST)]


def failed(name):
    return PartState(name, "waiting", 1, "no column 'ra'.", {})


def done(name):
    return PartState(name, "done", 1, "", {"rows": 1})


def test_a_job_of_which_no_part_works_ends_with_the_reason(begun):
    start = Start(begun(*PARTS))
    for part in PARTS[: FIRST - 1]:
        start.check(failed(part))
    with pytest.raises(OutputError, match=rf"none of its first {FIRST} .*: no column 'ra'\. Mend"):
        start.check(failed(PARTS[FIRST - 1]))


def test_a_part_that_was_done_now_or_earlier_keeps_a_job_going(begun):
    job = begun(*PARTS)
    start = Start(job)
    start.check(done(PARTS[0]))
    for part in PARTS[1:]:
        start.check(failed(part))
    job.log(PARTS[-1]).done({"rows": 1})
    start = Start(job)
    for part in PARTS[:-1]:
        start.check(failed(part))


def test_parts_in_work_are_awaited(begun):
    job = begun(*PARTS)
    start = Start(job)
    others = [job.log(part) for part in PARTS[FIRST:]]
    with contextlib.ExitStack() as held:
        for log in others:
            held.enter_context(log.held())
            log.begun()
        for part in PARTS[:FIRST]:
            start.check(failed(part))


def test_a_part_that_fails_often_counts_once(begun):
    start = Start(begun(*PARTS))
    for _ in range(2 * FIRST):
        start.check(failed(PARTS[0]))
