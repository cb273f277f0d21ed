"""Object stores, through the file systems of pyarrow, and web servers, through requests.

Each has the same four methods, which try once and raise what the library raises. `transfer` tries
again, and says what an error means.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote
from uuid import uuid4

from targetsel.errors import RemoteError
from targetsel.remote.places import Cut, Place

TIMEOUT = 30.0  # [s] without a byte, after which a connection counts as lost
PIECE = 8 << 20  # [byte] that are read at once
LARGEST_COPY = 5 << 30  # [byte] that S3 copies from key to key


@dataclass(frozen=True)
class RemoteFile:
    """One file of a store.

    Attributes
    ----------
    size : int or None
        [byte]; None where a web server does not say.
    version : str
        Changes with the content.
    """

    size: int | None
    version: str


class Store(Protocol):
    """What can be done with the files of one bucket or server."""

    def find(self, place: Place) -> RemoteFile | None:
        """The file at a place; None where there is none."""

    def files(self, folder: Place) -> dict[Place, RemoteFile]:
        """All files in a folder and its folders."""

    def pieces(self, place: Place) -> Iterator[bytes]:
        """The content of a file."""

    def put(self, file: Path, place: Place) -> None:
        """Upload a file, whole or not at all."""


def store_of(place: Place) -> Store:
    """The store that a place is in."""
    return WebServer() if place.is_web else Bucket(place)


class Bucket:
    """A bucket of S3, whatever serves it, or of Google Cloud Storage."""

    def __init__(self, place: Place) -> None:
        self._files = _s3(place.host) if place.scheme == "s3" else _gcs()

    def find(self, place: Place) -> RemoteFile | None:
        from pyarrow.fs import FileType

        info = self._files.get_file_info(_name(place))
        if info.type == FileType.File:
            return RemoteFile(info.size, str(info.mtime_ns))
        if info.type == FileType.NotFound and place.key:
            bucket = self._files.get_file_info(place.host)
            if bucket.type == FileType.NotFound:
                raise OSError("no_such_bucket")
        return None

    def files(self, folder: Place) -> dict[Place, RemoteFile]:
        from pyarrow.fs import FileSelector, FileType

        name = _name(folder)
        return {
            folder / each.path[len(name) + 1 :]: RemoteFile(each.size, str(each.mtime_ns))
            for each in self._files.get_file_info(
                FileSelector(name, allow_not_found=True, recursive=True)
            )
            if each.type == FileType.File
        }

    def pieces(self, place: Place) -> Iterator[bytes]:
        with self._files.open_input_stream(_name(place)) as stream:
            while piece := stream.read(PIECE):
                yield piece

    def put(self, file: Path, place: Place) -> None:
        """Upload under another name, and have the store copy it to its own at the end.

        A stream of pyarrow that is not written to its end is published all the same, with what
        was written until then. A copy within the store is there whole or not at all.
        """
        size, name = file.stat().st_size, _name(place)
        folder, _, last = name.rpartition("/")
        beside = name if size > LARGEST_COPY else f"{folder}/.{last}.{uuid4().hex}.tmp"
        before = self._version(name)
        is_whole = False
        try:
            self._write(file, beside)
            sent = self._files.get_file_info(beside).size
            if sent != size:
                raise Cut(f"{sent or 0:,} of {size:,} bytes arrived")
            if beside != name:
                self._files.copy_file(beside, name)
            is_whole = True
        finally:
            with contextlib.suppress(OSError):
                if beside != name:
                    self._files.delete_file(beside)
                elif not is_whole and self._version(name) != before:
                    self._files.delete_file(name)

    def _version(self, name: str) -> tuple[Any, ...]:
        found = self._files.get_file_info(name)
        return found.type, found.size, found.mtime_ns

    def _write(self, file: Path, name: str) -> None:
        stream = self._files.open_output_stream(name)
        try:
            with open(file, "rb") as source:
                while piece := source.read(PIECE):
                    stream.write(piece)
                    stream.flush()  # so that no more than a piece waits in memory
        except BaseException:
            with contextlib.suppress(OSError):  # now, and not when it is forgotten at last
                stream.close()
            raise
        stream.close()


def _name(place: Place) -> str:
    """A place as pyarrow names it: bucket and key."""
    return f"{place.host}/{place.key}".rstrip("/")


def _s3(bucket: str) -> Any:
    from pyarrow import fs

    options: dict[str, Any] = {}
    endpoint = _set("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    region = _set("AWS_REGION", "AWS_DEFAULT_REGION")
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        options |= {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    if region or endpoint is None:
        options["region"] = region or fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(
        **options,
        connect_timeout=TIMEOUT,
        request_timeout=TIMEOUT,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )


def _set(*variables: str) -> str | None:
    """The value of the first of some environment variables that is set."""
    return next((found for each in variables if (found := os.environ.get(each))), None)


def _gcs() -> Any:
    from pyarrow import fs

    return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=TIMEOUT))


class WebServer:
    """A server of files over HTTP; nothing can be written there, and folders cannot be listed."""

    def find(self, place: Place) -> RemoteFile | None:
        import requests

        with _asked(requests.head, place) as answer:
            if answer.status_code in (404, 410):
                return None
            if answer.status_code in (403, 405, 501):  # addresses may be signed for GET alone
                return RemoteFile(None, "")
            answer.raise_for_status()
            said, length = answer.headers, answer.headers.get("Content-Length", "")
            version = said.get("ETag") or said.get("Last-Modified") or ""
            return RemoteFile(int(length) if length.isdigit() else None, version)

    def files(self, folder: Place) -> dict[Place, RemoteFile]:
        return {}

    def pieces(self, place: Place) -> Iterator[bytes]:
        import requests

        with _asked(requests.get, place) as answer:
            answer.raise_for_status()
            yield from answer.iter_content(PIECE)

    def put(self, file: Path, place: Place) -> None:
        raise RemoteError(
            f"{place}: nothing can be written to a web server. Name a place in a bucket, such as "
            "s3://bucket/name, or a file."
        )


def _asked(verb: Any, place: Place) -> Any:
    address = quote(place.address, safe=":/?&=%+#~,;@!$'()*[]")
    as_it_is = {"Accept-Encoding": "identity"}  # so that the length is that of the file
    return verb(address, timeout=TIMEOUT, headers=as_it_is, stream=True, allow_redirects=True)
