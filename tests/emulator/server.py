"""A web server on loopback that hands each path to its service, and fails as it is told to."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.emulator.faults import Faults

HTML = b"<html><head><title>Error</title></head><body><h1>Service busy</h1></body></html>\n"


@dataclass(frozen=True)
class Request:
    """A question.

    Attributes
    ----------
    method, path : str
    query : dict
        The last value of each name.
    body : bytes
    fault : str or None
        How the answer is to fail; a handler may act on the kinds that it knows.
    host : str
        Name and port that it was sent to.
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes = b""
    fault: str | None = None
    host: str = ""

    @property
    def question(self) -> str:
        """The same for every attempt at the same question."""
        return json.dumps([self.path, sorted(self.query.items()), self.body.decode("latin-1")])


@dataclass(frozen=True)
class Answer:
    """An answer as it should be."""

    content: bytes
    content_type: str = "text/plain"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Answer]


@dataclass(frozen=True)
class Seen:
    """A request in the log: when it came [s], what it asked, and how it was failed."""

    time: float
    request: Request


class Emulator:
    """Services on a free port of loopback, for the length of a `with` block.

    Attributes
    ----------
    url : str
    log : list of Seen
        Every request, in the order they came.
    busiest : int
        The most requests that waited for an answer at the same time.
    connections : int
        How many were opened.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        faults: Faults | None = None,
        latency: float = 0.0,
        port: int = 0,
    ) -> None:
        self.handlers, self.faults, self.latency = dict(handlers), faults or Faults(), latency
        self.log: list[Seen] = []
        self.busiest = self.connections = self._open = 0
        self._attempts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.emulator = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Emulator:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self) -> None:
        """Answer until the end."""
        self._server.serve_forever(poll_interval=0.05)

    def answer(self, request: Request) -> tuple[Request, Answer]:
        """The request with its fault, and the right answer to it, after the latency."""
        with self._lock:
            attempt = self._attempts[request.question]
            self._attempts[request.question] += 1
            request = replace(request, fault=self._fault(request, attempt))
            self.log.append(Seen(time.monotonic(), request))
            self._open += 1
            self.busiest = max(self.busiest, self._open)
        try:
            begun = time.monotonic()
            made = self._handled(request)
            delay = self.latency + (self.faults.delay if request.fault == "slow" else 0)
            time.sleep(max(0, begun + delay - time.monotonic()))
            return request, made
        finally:
            with self._lock:
                self._open -= 1

    def _fault(self, request: Request, attempt: int) -> str | None:
        with contextlib.suppress(KeyError, ValueError):
            place = float(request.query["ra"]), float(request.query["dec"])
            lasting = self.faults.of_place(*place)
            if lasting in ("always html", "always 503", "gone"):
                return lasting
        return self.faults.passing(request.question, attempt)

    def _handled(self, request: Request) -> Answer:
        for prefix, handler in self.handlers.items():
            if request.path.startswith(prefix):
                return handler(request)
        return Answer(b"Not Found\n", status=404)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    emulator: Emulator

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients are killed in our tests


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.emulator.connections += 1

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        host = self.headers.get("Host", "")
        request = Request(self.command, parts.path, query, body, host=host)
        request, answer = self.server.emulator.answer(request)
        self._send(request.fault or "", answer)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, fault: str, answer: Answer) -> None:
        """Send an answer, or what is left of it."""
        retry = {"Retry-After": str(self.server.emulator.faults.retry_after)}
        content = answer.content
        if fault == "dropped":
            self._hang_up()
        elif fault in ("html", "always html"):
            self._write(200, "text/html", HTML)
        elif fault == "garbage":
            self._write(200, answer.content_type, content[:30] + b"\xa5" * (len(content) - 30))
        elif fault == "short":
            self._write(200, answer.content_type, content[: len(content) // 2])
        elif fault == "truncated":
            self._write(200, answer.content_type, content[: len(content) // 2], len(content))
            self._hang_up()
        elif fault == "drip":
            self._drip(answer)
        elif fault == "gone":
            self._write(404, "text/html", HTML)
        elif fault[:3] in ("429", "500", "503") or fault == "always 503":
            status = int(fault[:3]) if fault[0].isdigit() else 503
            self._write(status, "text/html", HTML, headers=retry if "Retry" in fault else {})
        else:
            self._write(answer.status, answer.content_type, content, headers=answer.headers)

    def _write(
        self,
        status: int,
        content_type: str,
        content: bytes,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _drip(self, answer: Answer) -> None:
        """Send one byte after the other."""
        self._write(200, answer.content_type, b"", len(answer.content))
        with contextlib.suppress(OSError):
            for byte in answer.content:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(self.server.emulator.faults.delay)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
