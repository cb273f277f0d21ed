"""A served page answers its own browser alone, and keeps what is a note."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
from urllib.parse import urlsplit

import pytest

import targetsel as ts
from targetsel.errors import CatalogError, OutputError
from targetsel.inspection.serving import LARGEST

NOTE = {"scanner": "Ada", "base": 0, "quality": 3, "issue": "", "z": "", "type": "", "comment": ""}


@pytest.fixture
def served(write, tmp_path):
    """A page of the bright targets, served."""
    page = write("bright.targets.parquet", tmp_path / "page", serve=True, port=0, cutouts=None)
    with page.served:
        yield page


@pytest.fixture(scope="module")
def standing(write, tmp_path_factory):
    """The same, for many tests of what it refuses."""
    folder = tmp_path_factory.mktemp("standing") / "page"
    page = write("bright.targets.parquet", folder, serve=True, port=0, cutouts=None)
    with page.served:
        yield page


def ask(page, method, name, body=None, token=None, **headers):
    """Status and JSON of an answer of its server; of an answer that is none, its bytes."""
    address = urlsplit(page.served.address)
    token = address.path.split("/")[1] if token is None else token
    link = http.client.HTTPConnection(address.netloc, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    link.request(method, f"/{token}/{name}", body, named)
    answer = link.getresponse()
    content = answer.read()
    is_json = answer.headers.get_content_type() == "application/json"
    return answer.status, json.loads(content) if is_json else content


def post(page, **more):
    note = NOTE | {"id": next(iter(page.sources))} | more
    return ask(page, "POST", "notes", json.dumps(note), **own(page))


def own(page):
    origin = page.served.address.split("/", 3)
    return {"Origin": "/".join(origin[:3]), "Content_Type": "application/json"}


def test_a_note_is_kept_told_again_and_joined(served):
    status, said = post(served, comment='å, "b"\nc', z="0.02", issue="SR")
    assert (status, said["note"]["revision"], said["note"]["issue"]) == (200, 1, "RS")
    status, told = ask(served, "GET", "notes?scanner=Ada&since=0")
    assert (status, told) == (200, {"revision": 1, "notes": [said["note"]]})
    assert ask(served, "GET", "notes?scanner=Ada&since=1")[1]["notes"] == []
    assert ask(served, "GET", "notes?scanner=Bea&since=0")[1]["notes"] == []
    row = ts.inspect_merge(served.served.notes).table.to_pylist()[0]  # while it is served
    source = served.sources[str(row["source_id"])]
    assert (row["ra"], row["dec"]) == (source.ra, source.dec)
    assert (row["comment"], row["redshift"]) == ('Ada: å, "b"\nc', 0.02)
    assert served.served.close() == f"Notes on 1 source by 1 person: {served.served.notes}"
    assert [each.name for each in served.served.notes.parent.iterdir() if each.is_file()] == [
        "page.notes.csv"
    ]


def test_a_note_that_is_based_on_an_older_one_is_answered_with_the_newer(served):
    assert post(served, comment="one")[0] == 200
    status, said = post(served, comment="two")
    assert (status, said["note"]["comment"], said["note"]["revision"]) == (409, "one", 1)
    assert post(served, comment="two", base=1)[0] == 200


def test_strangers_are_refused(served):
    note, headers = json.dumps(NOTE | {"id": next(iter(served.sources))}), own(served)
    assert ask(served, "GET", "index.html")[0] == 200
    for token in ("guess", ""):
        assert ask(served, "GET", "index.html", token=token)[0] == 404
    assert ask(served, "GET", "notes", token="guess")[0] == 404
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1]", "127.0.0.1:80:80"):
        assert ask(served, "GET", "notes", Host=host)[0] == 404
        assert ask(served, "POST", "notes", note, **headers | {"Host": host})[0] == 404
    assert ask(served, "GET", "notes", Host="localhost:9000")[0] == 200  # through a tunnel
    for origin in ("http://evil.example", "null", "https://127.0.0.1", ""):
        assert ask(served, "POST", "notes", note, **headers | {"Origin": origin})[0] == 403
    assert ask(served, "POST", "notes", note, Content_Type="application/json")[0] == 403
    assert ask(served, "POST", "notes", note, **headers | {"Content_Type": "text/plain"})[0] == 415
    assert ask(served, "PUT", "notes", note, **headers)[0] == 501
    assert not ask(served, "GET", "notes?scanner=Ada")[1]["notes"]


@pytest.mark.parametrize(
    "name",
    ["../bright.yaml", "..%2fbright.yaml", "/etc/passwd", "targets-0001.js/..", "", "targets-1.js"],
)
def test_only_the_files_of_the_page_are_given(standing, name):
    assert ask(standing, "GET", name)[0] == 404


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"id": "no such"}, "no source of this id"),
        ({"id": None}, "no source of this id"),
        ({"id": ["7"]}, "no source of this id"),
        ({"base": -1}, "the revision"),
        ({"base": "1"}, "the revision"),
        ({"quality": 5}, "the quality is not 0 to 4"),
        ({"quality": "3"}, "the quality is not 0 to 4"),
        ({"quality": True}, "the quality is not 0 to 4"),
        ({"quality": 3.5}, "the quality is not 0 to 4"),
        ({"issue": "X"}, "the issue is not of the letters"),
        ({"z": "far"}, "the redshift is no number"),
        ({"z": "0x10"}, "the redshift is no number"),
        ({"z": "1_0"}, "the redshift is no number"),
        ({"z": "nan"}, "the redshift is no number"),
        ({"z": "-1"}, "the redshift is not above -1"),
        ({"comment": "x" * 10_001}, "the comment is longer"),
        ({"comment": "\0"}, "the comment holds characters"),
        ({"comment": "\ud800"}, "the comment holds characters"),
        ({"scanner": "x" * 41}, "the scanner is longer"),
        ({"type": None}, "the type is no text"),
        ({"more": ""}, "expected a note with"),
    ],
)
def test_what_is_no_note_is_refused_with_the_reason(standing, more, said):
    status, answer = post(standing, **more)
    assert (status, said in answer["said"]) == (422, True), answer


@pytest.mark.parametrize("body", ["", "[]", "{", "[" * 50_000, "\xff", "1", "x" * (LARGEST + 1)])
def test_what_is_no_json_of_a_note_is_refused(standing, body):
    status, _ = ask(standing, "POST", "notes", body.encode("latin-1"), **own(standing))
    assert status == (413 if len(body) > LARGEST else 422)
    assert ask(standing, "GET", "notes")[1] == {"revision": 0, "notes": []}


def test_a_full_disk_is_told_and_the_next_note_is_kept(served, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert post(served) == (507, {"said": "No space left on device"})
    assert post(served)[1]["note"]["revision"] == 1


def test_the_page_may_talk_to_its_server_only_where_it_has_one(served):
    _, given = ask(served, "GET", "index.html")
    assert b"connect-src 'self'" in given
    assert b"connect-src" not in served.path.read_bytes()
    assert b"page.notes.csv" in given


def test_a_server_listens_on_the_loopback_address_alone(served):
    port = urlsplit(served.served.address).port
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))  # which a server on all addresses would have


def test_a_second_server_is_refused_before_it_changes_the_page(served, write):
    before = served.path.stat().st_mtime_ns
    with pytest.raises(OutputError, match="another server keeps notes there"):
        write("bright.targets.parquet", served.path.parent, serve=True, port=0)
    port = urlsplit(served.served.address).port
    other = served.path.parent.with_name("other.csv")
    with pytest.raises(OutputError, match=f"port {port} of 127.0.0.1: cannot be used"):
        write("bright.targets.parquet", served.path.parent, serve=True, port=port, notes=other)
    assert served.path.stat().st_mtime_ns == before
    assert not list(other.parent.glob("other*"))


def test_notes_go_on_where_they_ended(served, write):
    post(served, comment="first")
    served.served.close()
    with write("bright.targets.parquet", served.path.parent, serve=True, port=0).served as again:
        assert again.address != served.served.address  # another secret
    assert again.close().startswith("Notes on 1 source by 1 person")


def test_notes_are_refused_in_the_folder_of_the_page_without_a_server_and_of_other_sources(
    write, tmp_path
):
    page = tmp_path / "page"
    with pytest.raises(OutputError, match="lies in the page's folder"):
        write("bright.targets.parquet", page, serve=True, notes=page / "notes.csv")
    with pytest.raises(OutputError, match="Add --serve"):
        write("bright.targets.parquet", page, notes=tmp_path / "notes.csv")
    with pytest.raises(OutputError, match="port 9000: only a page that is served has one"):
        write("bright.targets.parquet", page, port=9000)
    with pytest.raises(OutputError, match="port 65536: expected"):
        write("bright.targets.parquet", page, serve=True, port=65536)
    with pytest.raises(OutputError, match="does not exist"):
        write("bright.targets.parquet", page, serve=True, notes=tmp_path / "no" / "notes.csv")
    assert not list(tmp_path.iterdir())
    ids = write("bright.targets.parquet", page).sources
    (tmp_path / "notes.csv").write_text(
        f"source_id,VI_quality,ra,dec\n{next(iter(ids))},3,0.5,-80\n"
    )
    with pytest.raises(CatalogError, match=r"notes.csv: 1 of 1 sources are over 60 arcsec"):
        write("bright.targets.parquet", page, serve=True, port=0, notes=tmp_path / "notes.csv")
