"""Progress of long work, by a clock that the tests turn."""

from __future__ import annotations

import io
import threading

import pytest

from targetsel import tasks
from targetsel.tasks import duration_text, progress, rate_text, set_aside, task, tracked


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and what stands in its line at the end."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def line(self) -> str:
        """What can be read in the last line; what was written over is gone."""
        shown: list[str] = []
        place = 0
        for letter in self.getvalue().rpartition("\n")[2]:
            if letter == "\r":
                place = 0
                continue
            shown[place : place + 1] = [letter]
            place += 1
        return "".join(shown).rstrip()


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(tasks, "clock", found)
    monkeypatch.setattr(tasks, "PULSE", 3600.0)  # nobody looks but the work itself
    return found


@pytest.fixture
def terminal(monkeypatch, clock):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", Terminal())
    import sys

    with progress():
        yield sys.stderr


@pytest.fixture
def log(monkeypatch, clock):
    """Standard error where there is no terminal."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    import sys

    with progress():
        yield sys.stderr


def test_bar_appears_after_a_second_of_work_with_rate_and_remaining_time(clock, terminal):
    with task("scoring", 2437, "sources") as advance:
        clock.now = 0.9
        advance(100)
        assert terminal.getvalue() == ""
        clock.now = 10.0
        advance(400)
        bar = "━" * 6 + "─" * 24
        assert terminal.line == f"scoring {bar} 500 of 2,437 sources, 50/s, 0:39 left"
    assert terminal.line == ""


def test_short_work_shows_nothing(clock, terminal):
    for _ in tracked([[0] * 5] * 4, "reading", 20, size=len):
        clock.now += 0.2
    assert terminal.getvalue() == ""


def test_bar_is_drawn_ten_times_a_second_at_most(clock, terminal):
    with task("scoring", 1000) as advance:
        clock.now = 1.5
        for _ in range(1000):
            clock.now += 0.001
            advance(1)
    assert terminal.getvalue().count("scoring") <= 11


def test_bar_is_left_out_where_a_terminal_is_narrow_and_no_line_is_longer(
    clock, terminal, monkeypatch
):
    monkeypatch.setattr(tasks, "_columns", lambda stream: 40)
    with task("reading a file with a long name", 100) as advance:
        clock.now = 2.0
        advance(50)
        assert terminal.line == "reading a file with a long name 50 of 1"


def test_line_a_minute_where_there_is_no_terminal_and_a_last_one(clock, log):
    with task("scoring", 300, "sources") as advance:
        for _ in range(30):
            clock.now += 5
            advance(10)
    assert log.getvalue().splitlines() == [
        "scoring: 120 of 300 sources, 2/s, 1:30 left",
        "scoring: 240 of 300 sources, 2/s, 0:30 left",
        "scoring: 300 of 300 sources in 2:30",
    ]


def test_work_of_less_than_a_minute_prints_no_line(clock, log):
    with task("scoring", 300, "sources") as advance:
        for _ in range(11):
            clock.now += 5
            advance(10)
    assert log.getvalue() == ""


def test_what_an_earlier_run_did_counts_as_done_and_not_in_the_rate(clock, log):
    with task("scoring", 300, "sources", done=200) as advance:
        clock.now = 60
        advance(60)
    assert log.getvalue().splitlines()[0] == "scoring: 260 of 300 sources, 1/s, 0:40 left"


def test_only_the_outermost_task_is_shown(clock, log):
    with task("measuring", 2, "spectra") as advance:
        for _ in range(2):
            for _ in tracked([[0]] * 3, "reading", 3):
                clock.now += 70
            advance(1)
    assert {line.partition(":")[0] for line in log.getvalue().splitlines()} == {"measuring"}


def test_after_a_task_the_next_one_is_shown(clock, log):
    for what in ("reading", "writing"):
        for _ in tracked([[0]] * 3, what, 3):
            clock.now += 70
    last = [line for line in log.getvalue().splitlines() if " in " in line]
    assert last == ["reading: 3 of 3 rows in 3:30", "writing: 3 of 3 rows in 3:30"]


def test_error_leaves_an_empty_line_and_draws_nothing_more(clock, terminal):
    def breaks() -> None:
        with task("scoring", 9) as advance:
            clock.now = 5
            advance(1)
            assert terminal.line
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        breaks()
    assert terminal.line == ""


def test_error_prints_no_last_line(clock, log):
    def breaks() -> None:
        with task("scoring", 9) as advance:
            clock.now = 60
            advance(1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        breaks()
    assert log.getvalue() == "scoring: 1 of 9 rows, 1/min, 8:00 left\n"


def test_loop_that_is_left_early_ends_its_task(clock, log):
    for _ in tracked([[0]] * 9, "reading", 9):
        break
    with task("writing", 1) as advance:
        clock.now = 61
        advance(1)
    assert log.getvalue().startswith("writing")


def test_what_is_printed_meanwhile_stands_on_a_line_of_its_own(clock, terminal):
    with task("training", 60, "epochs") as advance:
        clock.now = 5
        advance(1)
        with set_aside():
            terminal.write("epoch 1: loss 0.3\n")
        assert terminal.line == ""
        clock.now = 6
        advance(1)
        assert terminal.line.startswith("training")


def test_other_threads_show_nothing(clock, log):
    def work() -> None:
        with task("reading", 5) as advance:
            clock.now += 100
            advance(5)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert log.getvalue() == ""


def test_work_that_reports_nothing_is_looked_at(monkeypatch, clock):
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(tasks, "PULSE", 0.001)
    with progress(), task("fitting", 2, "members"):
        clock.now = 3
        while not stream.line:
            pass
        assert stream.line == f"fitting {'─' * 30} 0 of 2 members"


def test_nothing_is_shown_unless_it_was_asked_for(clock, capsys):
    with task("scoring", 10) as advance:
        clock.now = 100
        advance(5)
    with progress(False), task("scoring", 10) as advance:
        clock.now = 300
        advance(5)
    assert capsys.readouterr() == ("", "")


def test_file_names_cannot_steer_the_terminal(clock, terminal):
    with task("reading \x1b[2J.fits", 10) as advance:
        clock.now = 2
        advance(5)
        assert "\x1b" not in terminal.getvalue()


def test_streams_without_the_letters_of_the_bar_get_others(clock, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(Terminal, "encoding", "latin-1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", stream)
    with progress(), task("scoring", 2) as advance:
        clock.now = 2
        advance(1)
        assert stream.line.startswith("scoring ###############---------------")


def test_rates_and_times_are_words_one_can_read():
    assert [rate_text(r) for r in (12345.6, 41.23, 1.0, 0.5, 0.01, 0.0002)] == [
        *("12,346/s", "41.2/s", "1/s", "30/min", "36/h", "0.72/h"),
    ]
    assert [duration_text(s) for s in (0, 0.2, 59.5, 61, 7450)] == [
        *("0:00", "0:01", "1:00", "1:01", "2:04:10"),
    ]
