import contextlib
import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from targetsel.surveys import http as polite
from targetsel.surveys.http import Answer, Unanswered, Web
from tests.emulator.faults import Faults
from tests.emulator.loopback import LeftLoopback
from tests.emulator.server import Answer as Served
from tests.emulator.server import Emulator


def echo(request):
    return Served(f"{request.method} {request.path} {request.body.decode()}".encode())


def only(kind, **options):
    """Every first answer fails in one way."""
    return Faults(share=1.0, kinds=(kind,), **{"in_a_row": 1, **options})


def test_the_guard_of_these_tests_stops_a_connection_elsewhere():
    with pytest.raises(LeftLoopback):
        Web(attempts=1).get("http://192.0.2.1/")  # an address that belongs to no one


def test_an_answer_is_whole_whatever_its_status():
    with Emulator({"/a": echo}) as emulator:
        web = Web(rate=1000)
        assert web.get(f"{emulator.url}/a", {"x": "1 2"}).content == b"GET /a "
        assert emulator.log[0].request.query == {"x": "1 2"}
        assert web.post(f"{emulator.url}/a", {"b": 1}).content == b'POST /a {"b": 1}'
        assert web.get(f"{emulator.url}/b").status == 404


def test_never_more_than_eight_requests_at_once_and_never_above_the_rate():
    with Emulator({"/": echo}, latency=0.05) as emulator:
        web = Web(rate=100)
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda n: web.get(f"{emulator.url}/{n}"), range(120)))
        times = [seen.time for seen in emulator.log]
        assert 4 <= emulator.busiest <= 8
        assert emulator.connections <= 8
    # 120 requests at 100 a second, of which 8 may come together
    assert times[-1] - times[0] >= 1.1
    assert times[-1] - times[0] < 3


@pytest.mark.parametrize(
    ("kind", "trouble"),
    [
        ("429", "HTTP 429"),
        ("429 with Retry-After", "HTTP 429"),
        ("503", "HTTP 503"),
        ("503 with Retry-After", "HTTP 503"),
        ("dropped", "connection dropped"),
        ("truncated", "the answer ended too early"),
    ],
)
def test_a_failure_in_passing_is_survived_and_told(kind, trouble):
    with Emulator({"/": echo}, only(kind, in_a_row=2)) as emulator:
        answer = Web(rate=1000).get(f"{emulator.url}/a")
        assert len(emulator.log) == 3
    assert answer == Answer(f"{emulator.url}/a", 200, b"GET /a ", (trouble, trouble))


def test_after_retry_after_no_request_comes_too_soon():
    with Emulator({"/": echo}, only("429 with Retry-After", retry_after=1)) as emulator:
        web = Web(rate=1000)
        threading.Timer(0.3, lambda: web.get(f"{emulator.url}/b")).start()
        web.get(f"{emulator.url}/a")
        first, *others = [seen.time for seen in emulator.log]
        assert all(time - first >= 1 for time in others)


@pytest.mark.parametrize("kind", ["503", "dropped", "truncated"])
def test_a_service_that_keeps_failing_is_asked_so_often_and_no_more(kind):
    with Emulator({"/": echo}, only(kind, in_a_row=99)) as emulator:
        web = Web(rate=1000, attempts=3)
        if kind == "503":
            answer = web.get(f"{emulator.url}/a")
            assert (answer.status, answer.troubles) == (503, ("HTTP 503",) * 2)
        else:
            with pytest.raises(Unanswered, match=r"dropped|too early") as error:
                web.get(f"{emulator.url}/a")
            assert error.value.troubles == (str(error.value),) * 2
        assert len(emulator.log) == 3


def test_no_one_at_the_address_is_said_in_words():
    with Emulator({}) as emulator:
        url = emulator.url
    with pytest.raises(Unanswered, match=r"^connection refused$"):
        Web(attempts=2).get(url)


def test_silence_ends_at_the_timeout():
    with Emulator({"/": echo}, only("slow", delay=1.0, in_a_row=9)) as emulator:
        web = Web(rate=1000, attempts=2, timeout=(0.2, 0.2))
        with pytest.raises(Unanswered, match=r"^no answer in time$"):
            web.get(f"{emulator.url}/a")


def test_a_header_that_never_ends_is_cut_off(monkeypatch):
    monkeypatch.setattr(polite, "LONGEST_HEADER", 0.3)
    sent = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def drip():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                for _ in range(100):
                    connection.sendall(b"x")
                    sent.append("x")
                    time.sleep(0.05)

        dripping = threading.Thread(target=drip)
        dripping.start()
        with pytest.raises(Unanswered, match=r"^no answer in time$"):
            Web(attempts=1).get(f"http://127.0.0.1:{server.getsockname()[1]}/")
        dripping.join()
    assert len(sent) < 100


def test_drops_that_never_end_are_cut_off(monkeypatch):
    monkeypatch.setattr(polite, "LONGEST_ANSWER", 0.2)
    dripping = Emulator({"/": echo}, only("drip", delay=0.1))
    with dripping, pytest.raises(Unanswered, match=r"^no answer in time$"):
        Web(rate=1000, attempts=1).get(f"{dripping.url}/a")


def test_a_flood_is_cut_off_and_not_asked_for_again(monkeypatch):
    monkeypatch.setattr(polite, "LARGEST_ANSWER", 1000)
    with Emulator({"/": lambda request: Served(bytes(2000))}) as emulator:
        with pytest.raises(Unanswered, match=r"^answer of more than 1000 bytes$"):
            Web(rate=1000).get(f"{emulator.url}/a")
        assert len(emulator.log) == 1


def redirecting(target):
    """A handler that sends /a elsewhere."""

    def handler(request):
        if request.path == "/a":
            return Served(b"", status=302, headers={"Location": target})
        return echo(request)

    return {"/": handler}


def test_a_redirect_is_followed():
    with Emulator(redirecting("/b")) as emulator:
        answer = Web(rate=1000).get(f"{emulator.url}/a")
    assert (answer.url, answer.content) == (f"{emulator.url}/b", b"GET /b ")


@pytest.mark.parametrize(
    ("target", "reason"),
    [("/a", "redirected too often"), ("file:///etc/passwd", "No connection adapters")],
)
def test_a_redirect_that_leads_nowhere_is_no_answer(target, reason):
    with Emulator(redirecting(target)) as emulator, pytest.raises(Unanswered, match=reason):
        Web(rate=1000).get(f"{emulator.url}/a")


def test_a_redirect_from_https_to_http_is_refused():
    response = requests.Response()
    response.url, response.status_code = "https://archive.example/a", 302
    response.headers["location"] = "http://archive.example/a"
    with pytest.raises(requests.RequestException, match=r"redirected from https to http"):
        Web().session.get_redirect_target(response)


def test_cookies_are_not_kept():
    handler = {"/": lambda request: Served(b"", headers={"Set-Cookie": "who=me; Path=/"})}
    with Emulator(handler) as emulator:
        web = Web(rate=1000)
        web.get(emulator.url)
        assert not list(web.session.cookies)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_a_certificate_that_no_one_vouches_for_is_refused_at_once(tmp_path):
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout key -out cert"
    subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    emulator = Emulator({"/": echo})
    server = emulator._server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with emulator:
        with pytest.raises(Unanswered, match=r"^its certificate is not trusted$"):
            Web(rate=1000).get(emulator.url.replace("http:", "https:"))
        assert not emulator.log


def test_libraries_with_questions_of_their_own_read_the_stream_through_the_same_session():
    with Emulator({"/": echo}, only("truncated")) as emulator:
        response = Web(rate=1000).session.get(f"{emulator.url}/a", stream=True)
        assert response.raw.read() == b"GET /a "
        assert len(emulator.log) == 2


def test_a_compressed_answer_is_unpacked_in_the_stream_too():
    packed = Served(gzip.compress(b"many words " * 99), headers={"Content-Encoding": "gzip"})
    with Emulator({"/": lambda request: packed}) as emulator:
        web = Web(rate=1000)
        assert web.get(emulator.url).content == b"many words " * 99
        assert web.session.get(emulator.url, stream=True).raw.read() == b"many words " * 99


ROWS = b"".join(b"%d,%d\n" % (k, k * k) for k in range(999))
PACKED = gzip.compress(ROWS)


def asked_of(content, encoding, **options):
    served = Served(content, headers={"Content-Encoding": encoding})
    with Emulator({"/": lambda request: served}) as emulator:
        return Web(rate=1000, attempts=1, **options).get(emulator.url).content


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (PACKED, "gzip"),
        (PACKED + bytes(9), "gzip"),
        (gzip.compress(ROWS[:99]) + gzip.compress(ROWS[99:]), "x-gzip"),
        (gzip.compress(PACKED), "gzip, gzip"),
        (zlib.compress(ROWS), "deflate"),
        (zlib.compress(ROWS)[2:-4], "deflate"),
        (ROWS, "identity"),
    ],
)
def test_packed_answer_is_unpacked_however_it_was_packed(content, encoding):
    assert asked_of(content, encoding) == ROWS


@pytest.mark.parametrize(
    ("content", "encoding", "reason"),
    [
        (PACKED[: len(PACKED) // 2], "gzip", "the answer ended too early"),
        (PACKED[:-8], "gzip", "the answer ended too early"),
        (zlib.compress(ROWS)[:-9], "deflate", "the answer ended too early"),
        (b"<html>busy</html>", "gzip", "the answer's packing is damaged"),
        (PACKED, "br", "an answer packed by 'br', expected gzip"),
    ],
)
def test_packed_answer_that_is_cut_short_is_not_taken_for_the_whole(content, encoding, reason):
    with pytest.raises(Unanswered, match=f"^{reason}$"):
        asked_of(content, encoding)


def test_packed_flood_is_cut_off(monkeypatch):
    monkeypatch.setattr(polite, "LARGEST_ANSWER", 1000)
    with pytest.raises(Unanswered, match=r"^answer of more than 1000 bytes$"):
        asked_of(gzip.compress(bytes(10**6)), "gzip")
