import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.errors import OutputError
from targetsel.tables.journal import Journal


@contextlib.contextmanager
def journal(folder, **settings):
    with contextlib.closing(Journal(folder, settings or {"url": "x"})) as opened:
        yield opened


def test_answers_are_there_when_it_is_opened_again(tmp_path):
    with journal(tmp_path) as first:
        first.add("a", {"status": "ok"}, b"pixels")
        first.add("b", {"status": "gone"})
    with journal(tmp_path) as second:
        record = second.record("a")
        assert record["status"] == "ok"
        assert second.piece(record) == b"pixels"
        assert second.piece(second.record("b")) == b""
        assert second.record("c") is None


def test_last_answer_for_a_key_counts(tmp_path):
    with journal(tmp_path) as opened:
        opened.add("a", {"status": "busy"})
        opened.add("a", {"status": "ok"}, b"1")
    with journal(tmp_path) as opened:
        assert opened.record("a")["status"] == "ok"


@settings(max_examples=30, deadline=None)
@given(lost_line=st.integers(0, 200), lost_bytes=st.integers(0, 40))
def test_whatever_a_kill_leaves_what_is_there_can_be_believed(
    lost_line, lost_bytes, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("journal")
    with journal(folder) as opened:
        for key in "abc":
            opened.add(key, {"status": "ok"}, key.encode() * 10)
    for name, lost in (("journal.jsonl", lost_line), ("pieces", lost_bytes)):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: max(0, len(content) - lost)])
    with journal(folder) as opened:
        opened.add("d", {"status": "ok"}, b"new")
    with journal(folder) as opened:
        known = [key for key in "abc" if opened.record(key)]
        assert known == list("abc")[: len(known)]
        for key in known:
            assert opened.piece(opened.record(key)) == key.encode() * 10
        assert opened.piece(opened.record("d")) == b"new"


def test_damaged_piece_is_refused(tmp_path):
    with journal(tmp_path) as opened:
        opened.add("a", {}, b"pixels")
    (tmp_path / "pieces").write_bytes(b"piXels")
    with journal(tmp_path) as opened, pytest.raises(OutputError, match=r"damaged at 'a'\. Remove"):
        opened.piece(opened.record("a"))


def test_other_settings_are_refused_with_both_values(tmp_path):
    with journal(tmp_path, size=64):
        pass
    message = "was begun with size 64, now it is 32. Use the same options"
    with pytest.raises(OutputError, match=message):
        Journal(tmp_path, {"size": 32})
