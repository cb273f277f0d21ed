"""Commands and functions read from an object store and write to it, as they do with files."""

from __future__ import annotations

import inspect
import os
import resource
from pathlib import Path

import pytest
from moto.core import set_initial_no_auth_action_count

import targetsel as ts
from targetsel.errors import CatalogError, OutputError, RemoteError
from targetsel.remote import transfer
from targetsel.remote.copies import copies, with_addresses
from targetsel.remote.places import credentials
from targetsel.scoring import stream
from targetsel.scoring.rows import score_inputs
from targetsel.tables.files import held, written_beside


@pytest.fixture
def remote_sky(store, demonstration):
    """The demonstration in the store."""
    store.put(demonstration / "catalog.parquet", "demo/catalog.parquet")
    store.put(demonstration / "cutouts", "demo/cutouts")
    return "s3://sky/demo"


def test_scores_and_targets_are_the_bytes_of_local_files(
    remote_sky, store, demonstration, ensemble_folder, targetsel, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    here = demonstration / "catalog.parquet"
    tiny = ("--ensemble", ensemble_folder, "--threads", 1)
    local = targetsel("score", here, *tiny, "-o", "catalog.scored.parquet")
    assert local.status == 0, local
    far = targetsel(
        *("score", f"{remote_sky}/catalog.parquet", "--cutouts", f"{remote_sky}/cutouts", *tiny),
        *("-o", "s3://sky/made/catalog.scored.parquet"),
    )
    assert far.status == 0, far
    assert "written to s3://sky/made/catalog.scored.parquet" in far.out + far.err
    assert str(copies.root) not in far.out + far.err
    scored = (tmp_path / "catalog.scored.parquet").read_bytes()
    assert store.get("made/catalog.scored.parquet") == scored

    targetsel("select", "--rules", "emission", "catalog.scored.parquet", "-o", "list.parquet")
    far = targetsel(
        *("select", "--rules", "emission", "s3://sky/made/catalog.scored.parquet"),
        *("-o", "s3://sky/made/list.parquet"),
    )
    assert far.status == 0, far
    assert store.get("made/list.parquet") == (tmp_path / "list.parquet").read_bytes()
    assert store.keys("made") == ["made/catalog.scored.parquet", "made/list.parquet"]


def test_functions_take_addresses(remote_sky, store, ensemble_folder, demonstration, tmp_path):
    address = f"{remote_sky}/catalog.parquet"
    assert len(ts.read(address)) == len(ts.read(demonstration / "catalog.parquet"))
    ts.score(address, None, ensemble_folder, "s3://sky/made/scored.parquet")
    local = tmp_path / "scored.parquet"
    ts.score(demonstration / "catalog.parquet", None, ensemble_folder, local)
    assert store.get("made/scored.parquet") == local.read_bytes()
    targets = ts.select("s3://sky/made/scored.parquet", "emission", "s3://sky/made/list.parquet")
    assert targets["source_id"].shape == (len(targets),)
    assert "made/list.parquet" in store.keys("made")


def test_a_file_that_is_the_same_is_brought_once(remote_sky, store, monkeypatch):
    brought = []
    once = transfer._bring_once

    def counting(place, *rest):
        brought.append(place)
        return once(place, *rest)

    monkeypatch.setattr(transfer, "_bring_once", counting)
    ts.read(f"{remote_sky}/catalog.parquet")
    ts.read(f"{remote_sky}/catalog.parquet")
    assert len(brought) == 1


def test_what_is_missing_costs_one_line_before_any_work(remote_sky, store, targetsel):
    far = targetsel("score", "s3://sky/no.parquet", "-o", "s3://sky/made/x.parquet")
    assert far.status == 2
    assert far.err.startswith("s3://sky/no.parquet: no such file or folder.")
    far = targetsel("select", "--rules", "emission", "s3://nowhere/x", "-o", "s3://sky/x.parquet")
    assert far.err.startswith("s3://nowhere/x: there is no such bucket.")
    far = targetsel("score", f"{remote_sky}/catalog.parquet")
    assert far.err.startswith(f"{remote_sky}/catalog.parquet: what is made of a remote file has")
    far = targetsel("score", f"{remote_sky}/catalog.parquet", "-o", "https://host/x.parquet")
    assert "nothing can be written to a web server" in far.err
    far = targetsel("score", f"{remote_sky}/catalog.parquet", "-o", f"{remote_sky}/cutouts")
    assert "is a folder with files already" in far.err


def test_an_error_in_a_remote_file_names_its_address(store, targetsel, tmp_path):
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 but no more")
    address = store.put(damaged, "demo/damaged.parquet")
    far = targetsel("score", address, "--cutouts", tmp_path, "-o", "s3://sky/x.parquet")
    assert far.status == 2
    assert far.err.startswith(f"{address}: ")
    with pytest.raises(CatalogError, match=f"^{address}: "):
        ts.read(address)


def test_a_writer_that_fails_publishes_nothing(store):
    @with_addresses("output")
    def write(output):
        Path(output).write_text("half")
        raise OutputError("no more")

    with pytest.raises(OutputError, match="no more"):
        write("s3://sky/half.txt")
    assert store.keys() == []


def test_a_command_that_changes_what_it_reads_refuses_addresses(store, tmp_path):
    @with_addresses()
    def change(path):
        Path(path).write_text("longer than before")

    (tmp_path / "rules.yaml").write_text("before")
    address = store.put(tmp_path / "rules.yaml", "rules.yaml")
    with pytest.raises(RemoteError, match=f"^{address}: is changed by this command"):
        change(address)
    assert store.get("rules.yaml") == b"before"


def test_a_result_that_cannot_be_uploaded_is_kept(line, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @with_addresses("output")
    def write(output):
        Path(output).write_bytes(bytes(300_000))
        line.cuts, line.after, line.upward = 1000, 100_000, True

    with pytest.raises(RemoteError, match=r"Copy it from '(.*)'") as told:
        write("s3://sky/result.bin")
    kept = str(told.value).split("'")[1]
    assert Path(kept) == tmp_path / "result.bin"
    assert Path(kept).stat().st_size == 300_000
    assert store.keys() == []
    with pytest.raises(RemoteError, match=r"Copy it from '(.*)'") as told:
        write("s3://sky/result.bin")
    second = Path(str(told.value).split("'")[1])  # not in place of the first
    assert second.stat().st_size == 300_000
    assert second != tmp_path / "result.bin"


def test_wrong_credentials_are_said_without_being_shown(remote_sky, targetsel, monkeypatch):
    @set_initial_no_auth_action_count(0)
    def score():
        return targetsel("score", f"{remote_sky}/catalog.parquet", "-o", "x.parquet")

    far = score()  # the store knows of no key at all
    assert far.status == 2
    assert "access was refused. Credentials were read from AWS_ACCESS_KEY_ID and" in far.err
    assert "testing" not in far.err
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "survey")
    assert "the profile 'survey' (AWS_PROFILE) of /nowhere/credentials" in credentials("s3")


def test_nothing_is_said_to_be_written_before_it_is_uploaded(
    line, store, demonstration, ensemble_folder, targetsel, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    local = tmp_path / "catalog.scored.parquet"
    ts.score(demonstration / "catalog.parquet", None, ensemble_folder, local)
    chosen = ("select", "--rules", "emission", local, "-o", "s3://sky/made/list.parquet")
    said = []
    send = transfer.send
    monkeypatch.setattr(
        "targetsel.remote.copies.send",
        lambda *given: (said.append("sent"), send(*given)),
    )
    monkeypatch.setattr("targetsel.cli.terminal.typer.echo", lambda text, err: said.append(text))
    assert targetsel(*chosen).status == 0
    places = ["sent" if each == "sent" else "s3://sky/made" in each for each in said]
    assert places.index("sent") < places.index(True)
    assert True not in places[: places.index("sent")]

    said.clear()
    line.cuts, line.after, line.upward = 1000, 2_000, True
    assert targetsel(*chosen).status == 2
    assert not [each for each in said if "written to s3://" in each]
    assert "s3://sky/made/list.parquet: the connection was lost" in said[-1]


def test_a_run_that_was_stopped_resumes_from_the_working_directory(
    store, demonstration, ensemble_folder, targetsel, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stream, "ROWS_PER_CHUNK", 8)
    address = store.put(demonstration / "catalog.parquet", "demo/catalog.parquet")
    given = (address, "--cutouts", demonstration / "cutouts", "--ensemble", ensemble_folder)
    command = ("score", *given, "--threads", 1, "-o", "s3://sky/made/x.scored.parquet")
    calls = []

    def stopped(*given):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return score_inputs(*given)

    with monkeypatch.context() as change:
        change.setattr(stream, "score_inputs", stopped)
        said = targetsel(*command)
    assert said.status == 130
    assert "What was finished is kept: run the same command again" in said.err
    assert (tmp_path / "x.scored.parquet.partial").is_dir()
    assert store.keys("made") == []
    copies.remove(os.getpid())  # as with the process
    said = targetsel(*command)
    assert said.status == 0, said
    assert "resumed an earlier run that had finished 3 chunks" in said.out
    assert [*tmp_path.iterdir()] == []
    ts.score(*given[:1], demonstration / "cutouts", ensemble_folder, "local.parquet")
    assert store.get("made/x.scored.parquet") == (tmp_path / "local.parquet").read_bytes()


def test_two_runs_to_one_address_from_one_directory_do_not_mix(
    store, demonstration, ensemble_folder, targetsel, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    catalog, ensemble = demonstration / "catalog.parquet", ("--ensemble", ensemble_folder)
    with held(tmp_path / "x.parquet.partial"):  # as the other run has it
        said = targetsel("score", catalog, *ensemble, "-o", "s3://sky/x.parquet")
    assert said.status == 2
    assert "x.parquet.partial: another run is writing there. Wait for it" in said.err
    assert store.keys() == []


def test_a_full_disk_of_copies_is_not_taken_for_a_full_bucket(remote_sky, store, tmp_path):
    @with_addresses("output")
    def write(output):
        with written_beside(Path(output)) as beside:
            beside.write_bytes(bytes(2_000_000))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(OutputError) as coming:
            ts.read(f"{remote_sky}/catalog.parquet")
        with pytest.raises(OutputError) as going:
            write("s3://sky/result.bin")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for told, place in ((coming, f"{remote_sky}/catalog.parquet"), (going, "s3://sky/result.bin")):
        said = str(told.value)
        assert said.startswith(f"{place}: could not be written: File too large.")
        assert "It is the disk of temporary files here that is full: set TMPDIR to" in said
    assert not [key for key in store.keys() if "result" in key]  # noqa: SIM118


def test_every_function_that_takes_a_path_takes_an_address_or_says_why_not():
    paths = ("AnyPath", "AnyTable", "AnyCutouts", "AnyEnsemble", "AnyTargets", "AnyRules", "Known")
    without = set()
    for name in ts.__all__:
        each = getattr(ts, name)
        if inspect.isfunction(each) and each.__module__.startswith("targetsel.api"):
            of = " ".join(map(str, inspect.signature(each).parameters.values()))
            if any(word in of for word in paths) and not hasattr(each, "__wrapped__"):
                without.add(name)
    assert without == {"status"}  # which knows addresses by itself


@pytest.mark.parametrize(
    "call",
    [
        lambda place: ts.train(place, "mine", spectra="spectra.parquet"),
        lambda place: ts.train_decoder(place, "mine"),
        lambda place: ts.distil("mock-ps1", [place]),
        lambda place: ts.format_rules(place),
        lambda place: ts.mock_sky("mine", 3, variation=place),
    ],
)
def test_what_a_function_is_to_read_is_missed_under_its_address(store, call):
    with pytest.raises(RemoteError, match=r"^s3://sky/none: no such file or folder"):
        call("s3://sky/none")


def test_a_mock_sky_goes_to_an_address(store, targetsel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ts.mock_sky("s3://sky/mock", 3, seed=1)
    ts.mock_sky("mock", 3, seed=1)
    local = {each.relative_to(tmp_path).as_posix(): each.read_bytes()
             for each in (tmp_path / "mock").rglob("*") if each.is_file()}  # fmt: skip
    assert {key: store.get(key) for key in store.keys("mock")} == local
    said = targetsel("mock", "--n", 3, "--seed", 1, "-o", "s3://sky/again", "--workers", 1)
    assert said.status == 0, said
    assert "in s3://sky/again/; images and spectra are simulated" in said.out
    assert store.get("again/catalog.parquet") == store.get("mock/catalog.parquet")
    assert [each.name for each in tmp_path.iterdir()] == ["mock"]


def test_a_file_that_is_added_to_a_remote_folder_is_not_lost_in_silence(store, tmp_path):
    (tmp_path / "rules").mkdir()
    ts.init_rules(output=tmp_path / "rules" / "mine.yaml")
    address = store.put(tmp_path / "rules", "rules")
    with pytest.raises(RemoteError, match=f"^{address}: is changed by this command"):
        ts.lock_rules(address)
    assert store.keys() == ["rules/mine.yaml"]
