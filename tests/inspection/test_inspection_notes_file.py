"""Notes of a served page stay whole on the disk."""

from __future__ import annotations

import csv
import errno
import json
import os

import pytest

import targetsel as ts
from targetsel.errors import CatalogError, OutputError
from targetsel.inspection.journal import journal_of
from targetsel.inspection.notes import read_notes
from targetsel.inspection.notes_file import COLUMNS, NotesFile, PageSource


def note(comment: str, scanner: str = "Ada", source_id: str = "7") -> dict[str, str]:
    own = {"source_id": source_id, "VI_scanner": scanner, "VI_comment": comment, "VI_quality": "3"}
    return dict.fromkeys(COLUMNS[:-2], "") | own


@pytest.fixture
def path(tmp_path):
    return tmp_path / "notes.csv"


def comments(path):
    return sorted(each.comment for each in read_notes(path))


def test_a_note_that_was_based_on_an_older_one_does_not_replace_the_newer(path):
    file = NotesFile(path)
    first, _ = file.keep(note("first"), 0)
    assert first["VI_revision"] == "1"
    second, _ = file.keep(note("second"), 1)
    assert second["VI_revision"] == "2"
    assert file.keep(note("too late"), 1) == (second, False)
    assert file.keep(note("from nothing"), 0) == (second, False)
    assert file.keep(note("other's", "Bea"), 0)[1]
    assert file.keep(note("second"), 1) == (second, True)  # said twice, as its answer was lost
    file.close()
    assert comments(path) == ["other's", "second"]


def test_what_is_kept_is_read_before_the_file_is_written_and_after(path):
    file = NotesFile(path)
    file.keep(note('å, "b"\nc\x85d\u2028e'), 0)
    assert not path.exists()
    assert comments(path) == ['å, "b"\nc\x85d\u2028e']  # of the journal alone
    file.write()
    file.keep(note("again"), 1)
    assert comments(path) == ["again"]  # of both
    file.close()
    assert comments(path) == ["again"]
    assert not journal_of(path).exists()
    assert ts.inspect_merge(path).table["source_id"].to_pylist() == [7]


def test_notes_outlive_a_process_that_ends_anywhere_in_its_last_line(path, tmp_path):
    file = NotesFile(path)
    for k in range(3):
        file.keep(note(f"{k}", source_id=f"{k}"), 0)
    whole = journal_of(path).read_bytes()
    lines = whole.splitlines(keepends=True)
    for n in range(len(lines[0]), len(whole) + 1, 29):
        other = tmp_path / f"{n}" / "notes.csv"
        other.parent.mkdir()
        journal_of(other).write_bytes(whole[:n])
        kept = [f"{k}" for k in range(3) if len(b"".join(lines[: k + 2])) <= n]
        assert comments(other) == kept if kept else not other.exists()
        again = NotesFile(other)
        again.keep(note("new", source_id="9"), 0)
        again.close()
        assert comments(other) == [*kept, "new"]


def test_a_crash_between_the_file_and_its_journal_changes_nothing(path):
    file = NotesFile(path)
    file.keep(note("first"), 0)
    before = journal_of(path).read_bytes()
    file.keep(note("second"), 1)
    file.write()
    written = path.read_bytes()
    file.close()
    journal_of(path).write_bytes(before)  # which the crash left
    again = NotesFile(path)
    assert again.revision == 2
    again.close()
    assert path.read_bytes() == written


def test_a_full_disk_leaves_the_notes_as_they_were(path, monkeypatch):
    file = NotesFile(path)
    file.keep(note("first"), 0)
    before = journal_of(path).read_bytes()
    whole = os.pwrite

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name, fault in (("fsync", full), ("pwrite", lambda f, b, n: whole(f, b[:9], n))):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fault)
            with pytest.raises(OSError, match="No space"):
                file.keep(note("second"), 1)
            patch.setattr(os, "fsync", full)
            with pytest.raises(OutputError, match=r"No space.*All notes are in .*journal"):
                file.write()
        assert journal_of(path).read_bytes() == before
        assert sorted(each.name for each in path.parent.iterdir()) == ["notes.csv.journal"]
    assert file.keep(note("second"), 1)[1]
    file.close()
    assert comments(path) == ["second"]


def test_a_second_server_is_refused_while_the_first_one_runs(path):
    first = NotesFile(path)
    with pytest.raises(OutputError, match="another server keeps notes there"):
        NotesFile(path)
    first.close()
    NotesFile(path).close()


def test_a_journal_that_was_removed_takes_no_note_that_would_be_lost(path):
    file = NotesFile(path)
    journal_of(path).rename(path.with_name("elsewhere"))
    with pytest.raises(OSError, match="moved or removed"):
        file.keep(note("first"), 0)


def test_a_file_that_was_edited_meanwhile_is_not_written_over(path):
    file = NotesFile(path)
    file.keep(note("first"), 0)
    file.keep(note("theirs", "Bea"), 0)
    file.write()
    file.keep(note("second"), 1)
    path.write_text(path.read_text().replace("theirs", "corrected"))
    with pytest.raises(OutputError, match="changed by another program"):
        file.close()
    assert comments(path) == ["corrected", "second"]
    NotesFile(path).close()
    assert comments(path) == ["corrected", "second"]
    assert not journal_of(path).exists()


def test_an_exported_file_goes_on_with_all_its_columns(path):
    path.write_text("source_id,VI_scanner,VI_quality,mine\n7,Ada,3,x\n8,Ada,,y\n")
    file = NotesFile(path)
    assert [row["VI_revision"] for row in file.since("Ada", 0)] == ["1", "2"]
    assert file.since("Ada", 2) == file.since("Bea", 0) == []
    file.keep(note("seen"), 1)
    file.close()
    with path.open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(row["VI_comment"], row["mine"]) for row in rows] == [("seen", "x"), ("", "y")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has the columns none; expected VI_quality"),
        ("source_id,VI_quality\n7,9\n", "row 2: VI_quality is 9"),
        ("VI_quality\n3\n", "expected VI_quality, and source_id"),
        ("source_id,VI_quality\n,3\n", "row 2: has no id"),
        ("source_id,VI_quality,VI_revision\n7,3,new\n", "row 2: VI_revision is 'new'"),
    ],
)
def test_a_damaged_file_is_refused_and_left_alone(content, said, path):
    path.write_text(content)
    with pytest.raises(CatalogError, match=said):
        NotesFile(path)
    assert path.read_text() == content
    assert [each.name for each in path.parent.iterdir()] == ["notes.csv"]


def test_notes_of_another_catalog_with_the_same_ids_are_refused(path):
    path.write_text("source_id,VI_quality,ra,dec\n7,3,150,2\n8,3,,\n9,3,10,2\n")
    file = NotesFile(path)
    here = PageSource(ra=10.0, dec=2.0)
    file.check_same_sources({"8": here, "9": here, "10": here, "7": PageSource()})
    with pytest.raises(CatalogError, match="1 of 2 sources are over 60 arcsec"):
        file.check_same_sources({"7": here, "9": here})


@pytest.mark.parametrize("line", ["{", "[]", '{"source_id":"7"}', '{"source_id":7}', "\0\0", ""])
def test_a_damaged_line_of_a_journal_is_named_and_never_dropped(line, path):
    file = NotesFile(path)
    file.keep(note("first"), 0)
    first, kept = journal_of(path).read_text().splitlines()
    file.close()
    content = f"{first}\n{line}\n{kept}\n"
    journal_of(path).write_text(content)
    for read in (NotesFile, read_notes):
        with pytest.raises(CatalogError, match=r"journal, line 2: is damaged"):
            read(path)
    assert journal_of(path).read_text() == content
    journal_of(path).write_text(json.dumps({"other": "file"}) + "\n")
    with pytest.raises(CatalogError, match="is of no journal"):
        NotesFile(path)


def test_only_the_owner_reads_the_secret_of_a_journal_which_lasts_until_a_clean_end(path):
    file = NotesFile(path)
    file.keep(note("first"), 0)
    assert journal_of(path).stat().st_mode & 0o077 == 0
    left, token = journal_of(path).read_bytes(), file.token
    file.close()
    journal_of(path).write_bytes(left)
    again = NotesFile(path)
    assert again.token == token
    again.close()
    assert NotesFile(path).token != token
