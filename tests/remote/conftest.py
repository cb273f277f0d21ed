"""A small object store on this machine, and a line to it that can be cut or slow."""

from __future__ import annotations

import contextlib
import http.server
import logging
import os
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from targetsel.remote import copies, stores, transfer
from tests.cli.typed import Typed

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
}


class ObjectStore:
    """Files of the bucket "sky", seen past the package."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.files = fs.S3FileSystem(
            access_key="testing",
            secret_key="testing-secret",
            endpoint_override=f"127.0.0.1:{port}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        self.files.create_dir("sky")

    def put(self, path: Path, key: str) -> str:
        """Put a file or folder there; its address comes back."""
        for each in path.rglob("*") if path.is_dir() else [path]:
            if each.is_file():
                inside = each.relative_to(path).as_posix() if path.is_dir() else ""
                with self.files.open_output_stream(f"sky/{key}/{inside}".rstrip("/")) as stream:
                    stream.write(each.read_bytes())
        return f"s3://sky/{key}"

    def get(self, key: str) -> bytes:
        with self.files.open_input_stream(f"sky/{key}") as stream:
            return stream.read()

    def keys(self, folder: str = "") -> list[str]:
        chosen = fs.FileSelector(f"sky/{folder}".rstrip("/"), allow_not_found=True, recursive=True)
        found = self.files.get_file_info(chosen)
        return sorted(each.path[4:] for each in found if each.type == fs.FileType.File)


@pytest.fixture(scope="session")
def server() -> Iterator[ObjectStore]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    served = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    served.start()
    yield ObjectStore(served.get_host_and_port()[1])
    served.stop()


@pytest.fixture
def store(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """The store, empty, where the package looks for S3; waits are short."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setattr(transfer, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(stores, "TIMEOUT", 5.0)
    server.files.delete_dir_contents("sky")
    yield server
    copies.copies.remove(os.getpid())


class Line:
    """A proxy to the store; answers of more than `after` bytes are cut there, or held back.

    Attributes
    ----------
    cuts : int
        Connections that are still to be cut.
    upward : bool
        Whether it is what is sent to the store that is cut.
    """

    def __init__(self, port: int) -> None:
        self.port, self.cuts, self.after, self.upward, self.holds = port, 0, 1 << 60, False, False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._closed = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.port))
            for one, other, up in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._carry, args=(one, other, up), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        n = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(4096):
                n += len(piece)
                if up == self.upward and n > self.after and self.cuts:
                    self.cuts -= 1
                    if self.holds:
                        self._closed.wait(20)
                    break
                target.sendall(piece)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def line(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    made = Line(store.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.address)
    yield made
    made.close()


@pytest.fixture
def targetsel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Run a command; its exit status and what it printed."""
    return Typed(monkeypatch, capsys)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def website(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which a web server shows it."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
