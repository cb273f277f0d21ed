"""What every command does with its places, its terminal, and an end from outside."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from targetsel.cli import COMMANDS, OUTPUTS, Commands
from targetsel.errors import visible
from tests.cli.typed import Typed, contents

EVIL = "a\x1b[31mred\x07\u202egnp\r\nb\x9b2J"
SHOWN = r"a\x1b[31mred\x07\u202egnp\r"


@pytest.fixture
def targetsel(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return Typed(monkeypatch, capsys)


# --- places -----------------------------------------------------------------------------------


def _leaves(name, command):
    if hasattr(command, "commands"):
        for each, below in command.commands.items():
            yield from _leaves((*name, each), below)
    else:
        yield name, command


def _kind(parameter):
    found = str(parameter.type_descriptor.annotation)
    return "path" if "Path" in found else "number" if "int" in found or "float" in found else "text"


def _words(parameter, value):
    """A parameter as it is typed."""
    if type(parameter).__name__ == "TyperArgument":
        return [value]
    return [parameter.opts[0], *([value] * parameter.nargs)]


LEAVES = dict(leaf for name in COMMANDS for leaf in _leaves((name,), Commands()[name]))
PAIRS = [
    (" ".join(name), output.name, other.name)
    for name, command in LEAVES.items()
    for output, other in itertools.product(command.params, command.params)
    if output.name in OUTPUTS and other.name not in OUTPUTS and _kind(other) == "path"
]


def test_the_pairs_are_those_of_all_commands():
    assert len(PAIRS) > 45
    assert ("score", "output", "catalog") in PAIRS
    assert ("spectra encode", "picture", "files") in PAIRS


@pytest.mark.parametrize(("command", "output", "other"), PAIRS)
def test_no_input_of_a_command_may_be_its_output(targetsel, tmp_path, command, output, other):
    (tmp_path / "same.parquet").write_text("mine")
    os.link("same.parquet", "hard.parquet")
    parameters = {each.name: each for each in LEAVES[tuple(command.split())].params}
    words, arguments = [], []
    for name, parameter in parameters.items():
        given = {output: "hard.parquet", other: "same.parquet"}.get(name)
        if given is None and not parameter.required and name != "scored":
            continue
        needed = {"path": f"{name}.parquet", "number": "1", "text": "x"}
        typed = _words(parameter, given or needed[_kind(parameter)])
        (arguments if len(typed) == 1 else words).extend(typed)
    before = contents(tmp_path)
    said = targetsel(*command.split(), *words, "--", *arguments)
    assert said.status == 2, said
    assert said.err == "hard.parquet: is read by the same command. Choose another name.\n"
    assert contents(tmp_path) == before


def test_two_outputs_of_a_command_are_two_files(targetsel, tmp_path):
    words = ("selection-function", "--rules", "emission", "s.parquet", "-o", "a", "--map", "./a")
    assert targetsel(*words).err == "a: is to be written twice. Choose another name for one.\n"


def test_an_output_within_an_input_folder_is_refused(targetsel, tmp_path):
    (tmp_path / "images").mkdir()
    words = ("cutouts", "pack", "images", "-o", "images/store", "--catalog", "c.parquet")
    assert "lies in the folder images, which is read by the same" in targetsel(*words).err


# --- terminals --------------------------------------------------------------------------------


def test_what_steers_a_terminal_is_shown_and_the_rest_is_kept():
    assert visible(EVIL) == SHOWN + "\n" + r"b\x9b2J"
    assert visible("Hα 5 Å\tß\n") == "Hα 5 Å\tß\n"


def test_names_of_files_and_columns_cannot_steer_the_terminal(targetsel, demonstration, tmp_path):
    table = pq.read_table(demonstration / "catalog.parquet")
    names = [EVIL if name == "rmag" else name for name in table.column_names]
    pq.write_table(table.rename_columns([*names[:-1], EVIL]), "c.parquet")
    for words in (
        ("cutouts", "pack", ".", "-o", "s", "--catalog", EVIL.replace("\n", "")),
        ("fetch", "spectra", "c.parquet", "--survey", EVIL, "-o", "x"),
        ("score", "c.parquet", "--id-col", EVIL, "--cutouts", str(demonstration / "cutouts")),
        ("show", "c.parquet", "--id", EVIL, "--cutouts", "c", "-o", "x.png"),
        ("lines", "show", "--lines", EVIL),
    ):
        said = targetsel(*words)
        assert said.status == 2
        assert not {*"\x1b\x07\u202e\r\x9b"} & {*said.out, *said.err}, said


def _run(words, **options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= options.pop("env", {})
    return subprocess.run(
        [sys.executable, "-m", "targetsel", *words],
        env=environment, capture_output=True, check=False, **options,
    )  # fmt: skip


def test_a_locale_of_ascii_stops_no_command(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for words in (["--help"], ["lines", "show"], ["rules", "schema"]):
        assert _run(words, env=plain, cwd=tmp_path).returncode == 0
    said = _run(["select", "Hα.parquet", "--rules", "emission"], env=plain, cwd=tmp_path)
    assert said.returncode == 2
    assert b"the name is not text in this locale." in said.stderr
    assert len(said.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", ["rules schema", "lines show", "--help", "--version"])
def test_a_reader_that_goes_away_is_no_error(words, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(
        [sys.executable, "-m", "targetsel", *words.split()],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=writer, stderr=subprocess.PIPE, check=False, cwd=tmp_path,
    )  # fmt: skip
    os.close(writer)
    assert (run.returncode, run.stderr) == (0, b"")


@pytest.mark.parametrize(
    "words",
    [
        ("select", "PIPE", "--rules", "agn", "-o", "o.parquet"),
        ("select", "s.parquet", "--rules", "PIPE", "-o", "o.parquet"),
        ("export", "PIPE", "--for", "pfs-ga", "-o", "o.feather"),
        ("randoms", "PIPE.csv", "--rules", "agn", "-o", "o.parquet"),
        ("randoms", "PIPE.fits", "--rules", "agn", "-o", "o.parquet"),
        ("spectra", "measure", "PIPE.csv", "-o", "o.parquet"),
        ("rules", "lint", "PIPE"),
    ],
    ids=" ".join,
)
def test_a_pipe_is_refused_and_not_waited_for(targetsel, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    pipe = next(word for word in words if "PIPE" in word)
    os.mkfifo(pipe)
    said = targetsel(*words)
    assert (said.status, said.err) == (
        2,
        f"{pipe}: is a pipe or device; expected a file. Write it to a file first.\n",
    )


def test_a_dash_is_no_name_of_a_result(targetsel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = targetsel("select", "s.parquet", "--rules", "agn", "-o", "-")
    assert said.err == "-: results are written to files only. Choose a file's name.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_were_closed_before_are_no_error(closed):
    command = f"{sys.executable} -m targetsel rules lint agn {closed}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# --- ends -------------------------------------------------------------------------------------


def _raises(error):
    def fails(*_, **__):
        raise error

    return fails


@pytest.mark.parametrize(
    ("words", "kept"), [(("score", "c.parquet"), True), (("lines", "show"), False)]
)
def test_an_interrupted_command_says_what_is_kept(targetsel, monkeypatch, words, kept):
    for place in ("sky.catalog.CatalogFile.open", "spectra.lines.LineTable.shipped"):
        monkeypatch.setattr(f"targetsel.{place}", _raises(KeyboardInterrupt()))
    said = targetsel(*words)
    assert said.status == 130
    assert said.err.startswith("Interrupted. ")
    assert ("run the same command again to go on" in said.err) == kept
    assert ("Nothing unfinished was left" in said.err) != kept


STOPPED = """
import os, sys
from targetsel.cli import main
from targetsel.spectra.lines import LineTable
number = int(sys.argv.pop())
LineTable.shipped = lambda: os.kill(os.getpid(), number)
main()
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_a_batch_system_end_a_command_in_one_line(number, status, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", STOPPED, "lines", "show", str(int(number))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == status
    assert run.stderr.startswith("Interrupted. ")
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize("error", [KeyError("bug"), ValueError("bug"), FileExistsError(17, "bug")])
def test_a_bug_of_ours_shows_its_traceback(targetsel, monkeypatch, error):
    monkeypatch.setattr("targetsel.spectra.lines.LineTable.shipped", _raises(error))
    with pytest.raises(type(error), match="bug"):
        targetsel("lines", "show")


@pytest.mark.parametrize("number", ["EACCES", "ENOSPC", "EIO", "EMFILE", "EROFS"])
def test_what_the_system_refuses_is_one_line(targetsel, monkeypatch, number):
    import errno

    error = OSError(getattr(errno, number), "refused", "place")
    monkeypatch.setattr("targetsel.spectra.lines.LineTable.shipped", _raises(error))
    said = targetsel("lines", "show")
    assert (said.status, said.err) == (2, "place: refused.\n")
