"""Files of object stores arrive whole and are published whole, whatever the line does."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from targetsel.errors import RemoteError
from targetsel.remote import stores
from targetsel.remote.places import Place
from targetsel.remote.transfer import ATTEMPTS, bring, find, send

LARGE = bytes(range(256)) * 1200


@pytest.fixture
def large(store, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    store.put(path, "large")
    return Place.of("s3://sky/large")


def test_an_address_that_went_through_a_path_is_the_same_place(tmp_path):
    assert Place.of("s3://b/k/x") == Place.of("s3:/b/k/x") == Place("s3", "b", "k/x")
    for each in ("catalog.parquet", "/s3/b", tmp_path, "s3", "tcp://host:1", 5, None):
        assert Place.of(each) is None


def test_an_error_never_shows_the_password_of_an_address():
    for address in ("s3://KEY:hushhush@b/k", "https://me:hushhush@host/x"):
        with pytest.raises(RemoteError) as error:
            Place.of(address)
        assert "hushhush" not in str(error.value)
    assert "hushhush" not in str(Place.of("https://host/x?signature=hushhush"))


def test_a_connection_that_is_cut_is_tried_again(line, large, tmp_path):
    file = find(large)
    line.cuts, line.after = ATTEMPTS - 1, 100_000
    bring(large, file, tmp_path / "copy")
    assert line.cuts == 0
    assert (tmp_path / "copy").read_bytes() == LARGE


def test_a_connection_that_is_always_cut_costs_one_line_and_leaves_nothing(line, large, tmp_path):
    file = find(large)
    line.cuts, line.after = 1000, 100_000
    with pytest.raises(RemoteError, match=rf"^s3://sky/large: .*{ATTEMPTS} times in a row. Try"):
        bring(large, file, tmp_path / "copy")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["large"]


def test_a_line_that_stands_still_counts_as_lost(line, large, tmp_path, monkeypatch):
    file = find(large)
    monkeypatch.setattr(stores, "TIMEOUT", 1.0)
    line.cuts, line.after, line.holds = 1, 100_000, True
    bring(large, file, tmp_path / "copy")
    assert line.cuts == 0
    assert (tmp_path / "copy").read_bytes() == LARGE


def test_a_file_of_another_size_than_was_found_is_not_taken_as_whole(large, tmp_path):
    longer = stores.RemoteFile(len(LARGE) + 1, find(large).version)
    with pytest.raises(RemoteError, match=r"307,200 of 307,201 bytes arrived, 4 times"):
        bring(large, longer, tmp_path / "copy")


def test_a_file_that_changes_while_it_is_read_is_refused(large, tmp_path):
    other = stores.RemoteFile(len(LARGE), "another")
    with pytest.raises(RemoteError, match="was changed while it was read"):
        bring(large, other, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_an_upload_that_is_cut_publishes_nothing(line, store, tmp_path):
    path = tmp_path / "result"
    path.write_bytes(LARGE)
    line.cuts, line.after, line.upward = 1000, 100_000, True
    with pytest.raises(RemoteError, match=r"^s3://sky/result: "):
        send(path, Place.of("s3://sky/result"))
    assert store.keys() == []


def test_an_upload_that_is_cut_leaves_what_was_there(line, store, large, tmp_path):
    path = tmp_path / "result"
    path.write_bytes(LARGE[::-1])
    line.cuts, line.after, line.upward = 1000, 100_000, True
    with pytest.raises(RemoteError):
        send(path, large)
    assert store.get("large") == LARGE
    line.cuts = 1
    send(path, large)
    assert store.get("large") == LARGE[::-1]
    assert store.keys() == ["large"]


def test_of_two_uploads_to_one_address_one_is_there_whole(store, tmp_path):
    place = Place.of("s3://sky/result")
    contents = [LARGE, LARGE[::-1]]
    for name, content in zip("ab", contents, strict=True):
        (tmp_path / name).write_bytes(content)

    def send_often(name):
        for _ in range(5):
            send(tmp_path / name, place)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send_often, "ab"))
    assert store.get("result") in contents
    assert store.keys() == ["result"]


def test_a_large_upload_that_is_cut_publishes_nothing(line, store, large, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "LARGEST_COPY", 0)
    path = tmp_path / "result"
    path.write_bytes(LARGE[::-1])
    line.cuts, line.after, line.upward = 1000, 100_000, True
    with pytest.raises(RemoteError):
        send(path, large)
    assert store.get("large") == LARGE
    line.cuts = 0
    send(path, large)
    assert store.get("large") == LARGE[::-1]


def test_a_large_file_that_cannot_be_read_to_its_end_is_not_published(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "LARGEST_COPY", 0)
    path = tmp_path / "result"
    path.write_bytes(LARGE)
    monkeypatch.setattr(stores, "open", lambda *_: Unreadable(path.read_bytes()), raising=False)
    with pytest.raises(RemoteError):
        send(path, Place.of("s3://sky/result"))
    assert store.keys() == []


class Unreadable(io.BytesIO):
    def read(self, _size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError("broken disk")
        return super().read(1000)


def test_what_is_missing_is_named(store, tmp_path):
    assert find(Place.of("s3://sky/nothing")) is None
    with pytest.raises(RemoteError, match=r"^s3://nowhere/x: there is no such bucket\. Check its"):
        find(Place.of("s3://nowhere/x"))


def test_a_refused_connection_is_said(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match="the connection was refused, 4 times in a row"):
        find(Place.of("s3://sky/x"))


def test_a_file_of_a_web_server_arrives_whole(website, tmp_path):
    folder, address = website
    (folder / "large file").write_bytes(LARGE)
    place = Place.of(f"{address}/large file")
    bring(place, find(place), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == LARGE
    assert find(place / "no") is None
    with pytest.raises(RemoteError, match="nothing can be written to a web server"):
        send(tmp_path / "copy", place)
