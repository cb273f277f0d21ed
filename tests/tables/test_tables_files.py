import os
import platform
import subprocess

import pytest

from targetsel.errors import OutputError
from targetsel.tables.files import (
    change_in_place,
    check_output,
    folder_written_beside,
    held,
    note_input,
    one_command,
    sha256_of_file,
    written_beside,
)


def test_file_appears_whole_under_its_name(tmp_path):
    with written_beside(tmp_path / "a.txt") as beside:
        beside.write_text("whole")
        assert not (tmp_path / "a.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "whole"


def write_half(path, error):
    with written_beside(path) as beside:
        beside.write_text("half")
        raise error


def test_file_that_fails_halfway_leaves_the_older_one_alone(tmp_path):
    (tmp_path / "a.txt").write_text("older")
    with pytest.raises(ZeroDivisionError):
        write_half(tmp_path / "a.txt", ZeroDivisionError())
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "older"


def test_full_disk_is_an_output_error_that_names_the_file(tmp_path):
    with pytest.raises(OutputError, match=r"a\.txt: could not be written: No space left on device"):
        write_half(tmp_path / "a.txt", OSError(28, os.strerror(28)))
    assert not list(tmp_path.iterdir())


def test_place_for_a_result_is_a_file_in_a_folder_that_exists(tmp_path):
    check_output(tmp_path / "new.parquet")
    with pytest.raises(OutputError, match=r"the folder .*nowhere does not exist\. Create it first"):
        check_output(tmp_path / "nowhere" / "new.parquet")
    with pytest.raises(OutputError, match="is a folder; expected a file's name"):
        check_output(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="is a device or pipe"), written_beside(tmp_path / "pipe"):
        pass


def test_result_replaces_none_of_its_inputs_by_whatever_name(tmp_path):
    (tmp_path / "store").mkdir()
    catalog = tmp_path / "catalog.parquet"
    catalog.touch()
    (tmp_path / "link.parquet").symlink_to(catalog)
    inputs = (catalog, tmp_path / "store")
    for place in (catalog, tmp_path / "link.parquet", tmp_path / "store" / ".." / catalog.name):
        with pytest.raises(OutputError, match="is read by the same command"):
            check_output(place, inputs)
    with pytest.raises(OutputError, match="lies in the folder"):
        check_output(tmp_path / "store" / "out.parquet", inputs)
    check_output(tmp_path / "store.parquet", inputs)


def test_folder_is_held_by_one_run_at_a_time(tmp_path):
    folder = tmp_path / "work"
    with held(folder):
        assert folder.is_dir()
        with pytest.raises(OutputError, match="work: another run is writing there"), held(folder):
            pass
    with held(folder):
        pass


def test_folder_may_be_removed_by_the_run_that_holds_it(tmp_path):
    folder = tmp_path / "work"
    for _ in range(2):
        with held(folder):
            (folder / "lock").unlink()
            folder.rmdir()
    assert not folder.exists()


def test_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "work").touch()
    with pytest.raises(OutputError, match="work: could not be written: File exists"):
        held(tmp_path / "work").__enter__()


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of_file(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def left_behind(path, ending, process):
    return path.with_name(f".{path.name}.{platform.node()}-{process}.{ending}")


@pytest.fixture
def dead_process():
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_litter_of_a_killed_run_goes_with_the_next_and_that_of_a_running_one_stays(
    tmp_path, dead_process
):
    path = tmp_path / "a.txt"
    killed, running = (left_behind(path, "tmp", n) for n in (dead_process, os.getppid()))
    other = tmp_path / f".a.txt.otherhost-{dead_process}.tmp"
    for each in (killed, running, other):
        each.write_text("half")
    with written_beside(path) as beside:
        beside.write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a.txt", running.name, other.name])


def test_folder_whose_replacement_was_killed_between_two_renames_comes_back(tmp_path, dead_process):
    path = tmp_path / "store"
    before = left_behind(path, "old", dead_process)
    before.mkdir()
    (before / "kept").write_text("older")
    with folder_written_beside(path):
        assert (path / "kept").read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
    assert not list(path.iterdir())


def test_file_that_a_command_read_is_not_written_over_under_any_name(tmp_path):
    read, link, hard = (tmp_path / name for name in ("read.txt", "link.txt", "hard.txt"))
    read.write_text("mine")
    link.symlink_to(read)
    os.link(read, hard)
    with one_command():
        note_input(read)
        for name in (read, link, hard, tmp_path / "." / "read.txt"):
            with pytest.raises(OutputError, match="is read by the same command"):
                check_output(name)
        check_output(tmp_path / "new.txt")
    check_output(read)
    assert read.read_text() == "mine"


def test_folder_for_unfinished_work_that_holds_someones_files_is_refused(tmp_path):
    folder = tmp_path / "out.partial"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="holds files that targetsel did not write"), held(folder):
        pass
    assert (folder / "thesis.tex").read_text() == "mine"


def test_a_folder_that_is_to_be_changed_may_be_written_over_and_others_not(tmp_path):
    for name in ("changed", "kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("before")
    with one_command():
        for name in ("changed", "kept"):
            note_input(tmp_path / name / "a")
        change_in_place(tmp_path / "changed")
        check_output(tmp_path / "changed" / "a")
        with pytest.raises(OutputError, match="is read by the same command"):
            check_output(tmp_path / "kept" / "a")
