"""A page of inspection on the loopback address, whose notes are kept in a file.

Only programs of this machine reach it, and of those only who knows the address, which holds a
secret: other people may have accounts there. Pages of other sites, in the same browser, are told
by the headers Host and Origin, and get nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import socketserver
import threading
import time
from collections.abc import Mapping
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from targetsel.errors import OutputError, counted
from targetsel.inspection import INDEX, PORT
from targetsel.inspection.notes_file import NotesFile, PageSource
from targetsel.inspection.posted import note_in, row_of

LOOPBACK = "127.0.0.1"
LARGEST = 64_000  # bytes of a note that is sent
WRITTEN_EVERY = 10.0  # s, the CSV file, where there are new notes
FILES = re.compile(r"index\.html|targets-\d{4,}\.js")
HOSTS = re.compile(rf"({re.escape(LOOPBACK)}|localhost)(:\d{{1,5}})?")


class ServedPage:
    """A page that is served from a thread of this process.

    It ends with the process, with `close`, or with a ``with`` block. Notes are kept whatever ends
    it.

    Attributes
    ----------
    address : str
        To open in a browser of this machine; it holds a secret.
    notes : Path
        The CSV file of the notes, for `inspect_merge`.
    """

    def __init__(self, server: PageServer, folder: Path, sources: Mapping[str, PageSource]) -> None:
        server.folder, server.sources = folder, sources
        self.address, self.notes = server.address, server.notes.path
        self._server, self._said, self._closed = server, "", threading.Event()
        self._thread = threading.Thread(target=server.serve_forever, daemon=True)
        self._thread.start()

    def wait(self) -> str:
        """Serve until Ctrl-C; where the notes are then, in words.

        Raises
        ------
        OutputError
            As `close`.
        """
        with contextlib.suppress(KeyboardInterrupt):
            self._closed.wait()
        return self.close()

    def close(self) -> str:
        """End the server; where the notes are then, in words.

        Raises
        ------
        OutputError
            If the notes file could not be written; its journal, which lies beside it, has the
            notes.
        """
        if not self._closed.is_set():
            self._closed.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server.notes.close()
            rows = self._server.notes.rows
            people = len({name for _, name in rows})
            n = counted(len({each for each, _ in rows}), "source")
            self._said = f"Notes on {n} by {counted(people, 'person', 'people')}: {self.notes}"
            if not rows:
                self._said = "No notes were made."
        return self._said

    def __enter__(self) -> ServedPage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Page at {self.address}, with notes in {self.notes}"


class PageServer(ThreadingHTTPServer):
    """The server of one page, whose folder and sources are set before it serves.

    Raises
    ------
    OutputError
        If the port is taken or not allowed.
    """

    daemon_threads = True
    folder: Path
    sources: Mapping[str, PageSource]

    def __init__(self, notes: NotesFile, port: int = PORT) -> None:
        if not 0 <= port < 65536:
            raise OutputError(f"port {port}: expected 1 to 65535, or 0 for any that is free.")
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            raise OutputError(
                f"port {port} of {LOOPBACK}: cannot be used ({error.strerror or error}). Choose "
                "another one with --port, or 0 for any that is free."
            ) from error
        self.notes = notes
        self.address = f"http://{LOOPBACK}:{self.server_address[1]}/{notes.token}/{INDEX}"
        self._due = time.monotonic() + WRITTEN_EVERY

    def server_bind(self) -> None:
        """Bind without asking for the name of the address, which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    def service_actions(self) -> None:
        """Write the notes file from time to time; the journal has what it lacks."""
        if time.monotonic() >= self._due:
            with contextlib.suppress(OutputError):
                self.notes.write()
            self._due = time.monotonic() + WRITTEN_EVERY

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away."""
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the address holds the secret."""

    def do_GET(self) -> None:
        name, query = self._asked()
        notes = self.server.notes
        if name == "notes":
            found = parse_qs(query, keep_blank_values=True)
            since = found.get("since", ["0"])[0]
            if not re.fullmatch(r"[0-9]{1,15}", since):
                return self._answer(400, said="since is no whole number")
            revision = notes.revision  # before the notes: what comes meanwhile is told again
            rows = notes.since(found.get("scanner", [""])[0], int(since))
            return self._answer(200, revision=revision, notes=[note_in(row) for row in rows])
        path = self.server.folder / (name or "")
        if not name or not FILES.fullmatch(name) or not path.is_file():
            return self._answer(404, said="no such page")
        if name == INDEX:
            text = as_served(path.read_text(encoding="utf-8"), notes.path)
            return self._send(200, text.encode(), "text/html")
        return self._send(200, path.read_bytes(), "text/javascript")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > LARGEST:
            return self._answer(413, said=f"a note is longer than {LARGEST:,} bytes")
        content = self.rfile.read(int(length))
        if self._asked()[0] != "notes":
            return self._answer(404, said="no such page")
        if self.headers.get("Origin") != f"http://{self.headers.get('Host')}":
            return self._answer(403, said="the note is from another page")
        if self.headers.get_content_type() != "application/json":
            return self._answer(415, said="expected JSON")
        try:
            row, based_on = row_of(json.loads(content), self.server.sources)
        except RecursionError:
            return self._answer(422, said="expected a note")
        except ValueError as error:  # of JSON, too
            return self._answer(422, said=str(error))
        try:
            kept, is_kept = self.server.notes.keep(row, based_on)
        except OSError as error:
            return self._answer(507, said=error.strerror or str(error))
        return self._answer(200 if is_kept else 409, note=note_in(kept))

    def _asked(self) -> tuple[str | None, str]:
        """What is asked for behind the secret, and its query; None for strangers."""
        hosts = self.headers.get_all("Host") or []
        try:
            asked = urlsplit(self.path)
        except ValueError:
            return None, ""
        token, _, name = asked.path[1:].partition("/")
        is_same = secrets.compare_digest(token.encode(), self.server.notes.token.encode())
        if len(hosts) != 1 or not HOSTS.fullmatch(hosts[0]) or not is_same:
            return None, ""
        return name, asked.query

    def _answer(self, status: int, **value: Any) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": "frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Name no versions to strangers."""
        return "targetsel"


def as_served(html: str, notes: Path) -> str:
    """The page as its server gives it: it may talk to that server, and knows of the notes file."""
    told = {"file": notes.name, "key": hashlib.sha256(str(notes.resolve()).encode()).hexdigest()}
    meta = f'<meta name="targetsel-notes" content="{escape(json.dumps(told))}">\n'
    generator, policy = '<meta name="generator"', "default-src 'none'; "
    html = html.replace(generator, meta + generator, 1)  # both stand before any data
    return html.replace(policy, f"{policy}connect-src 'self'; ", 1)
