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


@settings(max_examples=30)
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


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (b'"start": 3', b'"sTart": 3'),
        (b'"start": 3', b'"start": 4'),
        (b'"length": 3', b'"length": 2'),
        (b'"key": "b"', b'"key": "c"'),
        (b'"status": "ok"', b'"status": "no"'),
        (b'{"status"', b"[{status"),
        (b'"check": ', b'"check":1'),
    ],
)
def test_damaged_line_is_cut_off_with_what_follows(written, found, tmp_path):
    with journal(tmp_path) as opened:
        for key in "abc":
            opened.add(key, {"status": "ok"}, key.encode() * 3)
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(written, found)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines))
    with journal(tmp_path) as opened:
        assert [key for key in "abc" if opened.record(key)] == ["a"]
        opened.add("b", {"status": "ok"}, b"new")
        assert opened.piece(opened.record("a")) == b"aaa"
        assert opened.piece(opened.record("b")) == b"new"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b'{"a": 1', b"\xff\xfe", b"null"])
def test_damaged_settings_are_refused_in_one_line(content, tmp_path):
    with journal(tmp_path):
        pass
    (tmp_path / "settings.json").write_bytes(content)
    message = r"settings\.json: not settings of a run, or damaged.*Remove |was begun with"
    with pytest.raises(OutputError, match=message) as caught:
        Journal(tmp_path, {"url": "x"})
    assert len(str(caught.value).splitlines()) == 1


def test_damaged_piece_is_refused(tmp_path):
    with journal(tmp_path) as opened:
        opened.add("a", {}, b"pixels")
    (tmp_path / "pieces").write_bytes(b"piXels")
    with journal(tmp_path) as opened, pytest.raises(OutputError, match=r"damaged at 'a'\. Remove"):
        opened.piece(opened.record("a"))


def test_other_settings_are_refused_with_both_values(tmp_path):
    with journal(tmp_path, size=64):
        pass
    message = "was begun with size 64; now it is 32. Use the same options"
    with pytest.raises(OutputError, match=message):
        Journal(tmp_path, {"size": 32})
