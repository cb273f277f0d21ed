"""Addresses of files in object stores and on web servers, and what to say where one fails.

An address is `s3://bucket/key`, `gs://bucket/key`, or `https://server/path`. A `Path` that was
made of one has lost a slash, and is understood too.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from targetsel.errors import RemoteError

SCHEMES = {"s3": "s3", "gs": "gs", "gcs": "gs", "http": "http", "https": "https"}
_ADDRESS = re.compile(r"([a-z0-9]+):/{1,2}([^/]+)/?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """A file or folder in an object store or on a web server.

    Attributes
    ----------
    scheme : str
        "s3", "gs", "http" or "https".
    host : str
        The bucket, or the server.
    key : str
        The path there, without slashes at its ends.
    query : str
        What stands behind "?" in an address of the web. It may be a password, and is not shown.
    """

    scheme: str
    host: str
    key: str
    query: str = ""

    @classmethod
    def of(cls, thing: object) -> Self | None:
        """The place that an address names; None for paths and whatever else.

        Raises
        ------
        RemoteError
            If the address holds a user or password, no name, or steps out of itself by "..".
        """
        if not isinstance(thing, str | os.PathLike):
            return None
        found = _ADDRESS.fullmatch(os.fspath(thing))
        if not found or found[1] not in SCHEMES:
            return None
        scheme, host, key = SCHEMES[found[1]], found[2], found[3]
        if "@" in host:
            raise RemoteError(
                f"{scheme}://...@{host.rpartition('@')[2]}: an address may hold no user and no "
                f"password. {credentials(scheme)}"
            )
        query = ""
        if scheme.startswith("http"):
            key, _, query = key.partition("?")
        place = cls(scheme, host, key.strip("/"), query)
        if ".." in place.key.split("/"):
            raise RemoteError(f"{place}: has '..' in it. Name the file itself.")
        return place

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/{self.key}".rstrip("/")

    def __truediv__(self, name: str) -> Place:
        return Place(self.scheme, self.host, f"{self.key}/{name}".strip("/"), self.query)

    @property
    def address(self) -> str:
        """What is asked of a web server; it may hold a password."""
        return f"{self}?{self.query}" if self.query else str(self)

    @property
    def is_web(self) -> bool:
        return self.scheme in ("http", "https")

    def below(self, root: Path) -> Path:
        """Where a copy of the file lies in a folder of copies."""
        return root.joinpath(self.scheme, self.host, *self.key.split("/"))


def credentials(scheme: str) -> str:
    """Where credentials are read from, in one or two sentences."""
    if scheme == "s3":
        if os.environ.get("AWS_ACCESS_KEY_ID"):
            return (
                "Credentials were read from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; check "
                "these, and what they may do there."
            )
        profile = os.environ.get("AWS_PROFILE", "default")
        file = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
        return (
            "Credentials are read from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which are not "
            f"set, or else from the profile '{profile}' (AWS_PROFILE) of {file}."
        )
    if scheme == "gs":
        return (
            "Credentials are read from the file that GOOGLE_APPLICATION_CREDENTIALS names, or "
            "those of 'gcloud auth application-default login'."
        )
    return "Credentials are read from the entry of the server in ~/.netrc, or the file in NETRC."


@dataclass(frozen=True)
class Failure:
    """What an error of a store or a connection means.

    Attributes
    ----------
    reason : str
    next_step : str
    passes : bool
        Whether it may be gone when it is tried again.
    is_refusal : bool
        Whether the store gives no access.
    """

    reason: str
    next_step: str
    passes: bool = False
    is_refusal: bool = False


SLOW = Failure("no bytes came for too long", "Try again later, or copy the file here first.", True)
LOST = Failure("the connection was lost", "Try again later.", True)
REFUSED = Failure("the connection was refused", "Check the address of the server.", True)
BUSY = Failure("the server is busy or broken", "Try again later.", True)

# Words of what pyarrow and requests say, in lower case, and what they mean. The first one holds.
_MEANINGS: tuple[tuple[str, Failure | None], ...] = (
    (r"no_such_bucket|nosuchbucket|bucket does not exist", Failure(
        "there is no such bucket", "Check its name, and AWS_ENDPOINT_URL or AWS_REGION.")),
    (r"access_denied|access denied|invalid_access_key|signature_does_not|invalidaccesskeyid"
     r"|invalid_client_token|expired_token|expiredtoken|\b40[13]\b|unauthenticated"
     r"|permission_denied|unrecognized_client", None),
    (r"\b301\b|moved_permanently|\b400\b", Failure(
        "the bucket is in another region", "Set AWS_REGION.")),
    (r"refused|could not connect|couldn't connect|curlcode: 7\b", REFUSED),
    (r"resolve host|resolution|curlcode: 6\b|name or service", Failure(
        "there is no server of that name", "Check the address, and AWS_ENDPOINT_URL.", True)),
    (r"timeout|timed out|curlcode: 28\b", SLOW),
    (r"slow_down|slowdown|service_unavailable|internal_failure|\b50[0234]\b|\b429\b", BUSY),
)  # fmt: skip


def meaning(error: BaseException, place: Place) -> Failure:
    """What an error means that pyarrow or requests raised."""
    if isinstance(error, Cut):
        return Failure(str(error), LOST.next_step, True)
    if isinstance(error, FileNotFoundError):
        return Failure("no such file", "Check the name and the folder.")
    text = f"{type(error).__name__}: {error}".lower()
    if (answer := getattr(error, "response", None)) is not None:  # of requests
        text = str(answer.status_code)
    for words, failure in _MEANINGS:
        if re.search(words, text):
            refused = Failure("access was refused", credentials(place.scheme), is_refusal=True)
            return failure or refused
    if re.search(r"network_connection|connection|curlcode|incomplete|chunkedencoding", text):
        return LOST
    known = re.search(r"AWS Error ([A-Z_]+)", str(error))
    said = known[1] if known else type(error).__name__
    return Failure(f"the request failed ({said})", "Try again, or copy the file here first.")


class Cut(OSError):
    """What arrived, or was sent, is not the whole file."""
