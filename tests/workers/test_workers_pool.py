import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from targetsel.errors import OutputError
from targetsel.tables.files import check_output, note_input, one_command
from targetsel.workers.pool import map_bounded, read_ahead


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers):
    def work(n):
        time.sleep(0.002 * (n % 3))
        return n * n

    assert list(map_bounded(work, range(30), workers)) == [n * n for n in range(30)]


def test_results_come_as_they_are_done_where_order_does_not_matter():
    held = threading.Event()
    results = map_bounded(
        lambda n: held.wait(5) and n if n == 0 else n, range(4), 2, in_order=False
    )
    assert sorted(next(results) for _ in range(3)) == [1, 2, 3]
    held.set()
    assert list(results) == [0]


def test_items_are_taken_no_faster_than_results():
    taken = []

    def items():
        for n in range(1000):
            taken.append(n)
            yield n

    with contextlib.closing(map_bounded(abs, items(), 2, ahead=5)) as results:
        next(results)
        assert len(taken) == 6
    assert len(taken) == 6


def test_after_an_error_waiting_items_are_dropped():
    done = []

    def work(n):
        if n == 0:
            raise ValueError("broken")
        time.sleep(0.05)
        done.append(n)

    with pytest.raises(ValueError, match="broken"):
        list(map_bounded(work, range(100), 2, ahead=50))
    assert len(done) < 10


def readers():
    return [each for each in threading.enumerate() if each.name.startswith("reader")]


def test_a_thread_reads_as_far_ahead_as_asked_and_ends_when_nobody_takes_more():
    taken, all_three = [], threading.Event()

    def read(n):
        taken.append((n, threading.current_thread().name))
        if n == 2:
            all_three.set()
        return n * n

    with contextlib.closing(read_ahead(read, range(1000), ahead=2)) as results:
        assert next(results) == 0
        assert all_three.wait(5)
        assert len(readers()) == 1
    assert not readers()
    assert taken == [(n, "reader_0") for n in range(3)]


def test_an_error_ahead_is_raised_after_the_items_before_it():
    results = read_ahead(lambda n: 1 / n, [1, 2, 0, 4], ahead=3)
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not readers()


def test_files_that_are_read_ahead_are_inputs_of_the_command_that_takes_them(tmp_path):
    file = tmp_path / "input"
    file.touch()
    with one_command():
        list(read_ahead(note_input, [file]))
        with pytest.raises(OutputError, match="is read by the same command"):
            check_output(file, [])


def test_processes_do_the_same_as_threads():
    results = map_bounded(abs, range(-5, 0), 2, processes=True, initializer=abs, initargs=(1,))
    assert list(results) == [5, 4, 3, 2, 1]


def blocks_ctrl_c(_):
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_ctrl_c_reaches_the_first_process_alone():
    assert list(map_bounded(blocks_ctrl_c, range(2), 2, processes=True)) == [True, True]
    assert not blocks_ctrl_c(0)


KILLED = """
import os, signal, sys, time
from targetsel.errors import OutputError
from targetsel.tables.files import check_output, note_input, one_command
from targetsel.workers.pool import map_bounded, read_ahead
from tests.workers.test_workers_pool import hold
if __name__ == "__main__":
    for _ in map_bounded(hold, sys.argv[1:], 2, ahead=0, processes=True):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def hold(path):
    """Lock a file as long as this process runs."""
    fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)


def test_processes_end_with_the_one_that_began_them(tmp_path):
    path, script = tmp_path / "held", tmp_path / "killed.py"
    path.touch()
    script.write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, script, path], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    with path.open("r+") as file:  # waits for ever where they go on
        fcntl.flock(file, fcntl.LOCK_EX)


def test_the_first_process_that_begins_never_sees_an_interruption():
    script = (
        "import os, sys\n"
        "from multiprocessing.util import spawnv_passfds\n"
        "from multiprocessing import resource_tracker\n"
        "from targetsel.workers.pool import uninterrupted_children\n"
        "look = 'import signal; '\n"
        "look += 'print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))'\n"
        "with uninterrupted_children():\n"
        "    resource_tracker.ensure_running()  # as a process that is spawned does\n"
        "    exe = sys.executable\n"
        "    child = spawnv_passfds(os.fsencode(exe), [exe, '-c', look], [1])\n"
        "os.waitpid(child, 0)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.strip() == "True", found.stderr
