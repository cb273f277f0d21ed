"""HTTP with limits on open requests and rate, and repetition of requests that fail.

All requests to surveys go through a `Web`. Its session can be handed to libraries that make their
own queries; redirects and repeated requests count like any other. Requests whose answers are
damaged are repeated by `ask`.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError
from urllib3.util import Retry

from targetsel.version import __version__

AT_ONCE = 8  # per host; STScI asks for at most 10
BUSY = (429, 502, 503, 504)
LONGEST_PAUSE = 300.0  # [s] upper limit of a Retry-After
LONGEST_HEADER = 60.0  # [s] until the status and the header of an answer are whole
LONGEST_ANSWER = 300.0  # [s] for its body
LARGEST_ANSWER = 256 * 2**20  # [bytes]
DAMAGED_ANSWERS = 4
GZIP = b"\x1f\x8b"
PAUSE = 0.2  # [s] after a damaged answer, longer each time

T = TypeVar("T")

# From specific to general.
WORDS: dict[type[BaseException], str] = {
    requests.exceptions.SSLError: "its certificate is not trusted",
    requests.TooManyRedirects: "redirected too often",
    urllib3.exceptions.NameResolutionError: "no such host",
    urllib3.exceptions.NewConnectionError: "connection refused",
    requests.Timeout: "no answer in time",
    urllib3.exceptions.TimeoutError: "no answer in time",
    TimeoutError: "no answer in time",
    urllib3.exceptions.IncompleteRead: "the answer ended too early",
    urllib3.exceptions.DecodeError: "the answer's packing is damaged",
    requests.ConnectionError: "connection dropped",
    urllib3.exceptions.ProtocolError: "connection dropped",
}


class Unanswered(Exception):
    """A request without a whole answer; its text is the reason, in words for a manifest.

    Attributes
    ----------
    url : str
        Address that was asked.
    troubles : tuple of str
        Failures of the requests that were repeated.
    """

    def __init__(self, reason: str, url: str = "", troubles: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.url, self.troubles = url, troubles


@dataclass(frozen=True)
class Answer:
    """The answer of a service.

    Attributes
    ----------
    url : str
        Address that answered, after redirects.
    status : int
        HTTP status.
    content : bytes
        The whole body.
    troubles : tuple of str
        Failures of the requests before the one that was answered.
    time : float
        Arrival [Unix time, s].
    """

    url: str = ""
    status: int = 200
    content: bytes = b""
    troubles: tuple[str, ...] = ()
    time: float = field(default_factory=time.time, compare=False)


class _Refused(requests.RequestException):
    """An answer that is refused, without another attempt."""


def _too_large() -> _Refused:
    return _Refused(f"answer of more than {LARGEST_ANSWER} bytes")


class _Host:
    """Limits on the requests to one host: `at_once` together, `rate` a second on average."""

    def __init__(self, rate: float, at_once: int) -> None:
        self._rate, self._at_once = rate, at_once
        self._slots = threading.BoundedSemaphore(at_once)
        # A bucket of tokens, one for each request, which fills at the rate.
        self._tokens, self._at, self._paused_until = 1.0, time.monotonic(), 0.0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until a request may be sent, and count it as open during the block."""
        with self._slots:
            while wait := self._take():
                time.sleep(wait)
            yield

    def pause(self, seconds: float) -> None:
        """Send no request for some seconds."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _take(self) -> float:
        """Take a token and return 0, or return the seconds until there may be one."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._at_once, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if now < self._paused_until:
                return self._paused_until - now
            if self._tokens < 1:
                return (1 - self._tokens) / self._rate
            self._tokens -= 1
            return 0.0


class _TimedHeader:
    """The part of a connection that reads status and header of an answer, within a bounded time.

    A service that sends one character now and then would never run into the timeout of a socket.
    """

    sock: socket.socket

    def getresponse(self) -> Any:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(LONGEST_HEADER, give_up)
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()  # type: ignore[misc]
        except Exception:
            if late.is_set():
                raise TimeoutError("the header took too long") from None
            raise
        finally:
            timer.cancel()
        if late.is_set():
            raise TimeoutError("the header took too long")
        return response


class _Connection(_TimedHeader, urllib3.connection.HTTPConnection):
    pass


class _SecureConnection(_TimedHeader, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _PoliteAdapter(HTTPAdapter):
    """Sends each request in its turn, reads the whole answer, and repeats failed requests.

    No request of this package changes anything, so that even a POST may be repeated.
    """

    def __init__(self, rate: float, at_once: int, attempts: int) -> None:
        super().__init__(pool_connections=16, pool_maxsize=at_once)
        self._rate, self._at_once = rate, at_once
        self._retry = Retry(
            total=attempts - 1,
            allowed_methods=None,
            backoff_factor=0.2,
            backoff_jitter=0.1,
        )
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """The answer with its body read; `troubles` lists the failures before it."""
        host, retry = self._host(request.url or ""), self._retry
        troubles: list[str] = []
        while True:
            failure: Exception | None = None
            try:
                with host.slot():
                    response = super().send(request, True, timeout, verify, cert, proxies)
                    _read(response)
                if response.status_code not in BUSY:
                    break
                trouble = f"HTTP {response.status_code}"
            except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
                if isinstance(error, requests.exceptions.SSLError):
                    raise
                failure, trouble = error, in_words(error)
            try:
                retry = retry.increment(request.method, request.url, error=HTTPError(trouble))
            except MaxRetryError:
                if failure is None:
                    break
                failure.troubles = tuple(troubles)  # type: ignore[attr-defined]
                raise failure from None
            troubles.append(trouble)
            _wait(host, retry, None if failure else response)
        response.troubles = tuple(troubles)  # type: ignore[attr-defined]
        return response

    def _host(self, url: str) -> _Host:
        with self._lock:
            name = urlsplit(url).netloc.rpartition("@")[2]
            return self._hosts.setdefault(name, _Host(self._rate, self._at_once))


class _Session(requests.Session):
    """A session that keeps no cookies and does not leave https."""

    def __init__(self, adapter: _PoliteAdapter, timeout: tuple[float, float]) -> None:
        super().__init__()
        self.mount("http://", adapter)
        self.mount("https://", adapter)
        self.headers["User-Agent"] = f"targetsel/{__version__}"
        self.headers["Accept-Encoding"] = "gzip, deflate"
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.max_redirects = 5
        self._timeout = timeout

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        if options.get("timeout") is None:
            options["timeout"] = self._timeout
        return super().send(request, **options)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and resp.url.startswith("https:") and target.lower().startswith("http:"):
            raise _Refused(f"redirected from https to {target[:80]}")
        return target


class Web:
    """Access to services; threads may share one.

    Parameters
    ----------
    rate : float
        Largest number of requests to each host per second.
    at_once : int
        Largest number of open requests to each host.
    attempts : int
        Number of times that a request is sent before it counts as unanswered.
    timeout : (float, float)
        Longest wait for a connection and for the next bytes [s].
    """

    def __init__(
        self,
        rate: float = 10.0,
        at_once: int = AT_ONCE,
        attempts: int = 6,
        timeout: tuple[float, float] = (10.0, 60.0),
    ) -> None:
        self.session: requests.Session = _Session(_PoliteAdapter(rate, at_once, attempts), timeout)

    def get(self, url: str, params: Mapping[str, Any] | None = None) -> Answer:
        """The answer to a GET request, whatever its status.

        Raises
        ------
        Unanswered
            If there is no whole answer after every attempt.
        """
        return self._ask("GET", url, params=params)

    def post(self, url: str, json: Any, params: Mapping[str, Any] | None = None) -> Answer:
        """The answer to a POST request of JSON; see `get`."""
        return self._ask("POST", url, params=params, json=json)

    def _ask(self, method: str, url: str, **options: Any) -> Answer:
        try:
            response = self.session.request(method, url, **options)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise Unanswered(in_words(error), url, getattr(error, "troubles", ())) from error
        troubles = getattr(response, "troubles", ())
        return Answer(response.url, response.status_code, response.content, troubles)


def in_words(error: BaseException) -> str:
    """The reason of a failed request in few words, without addresses that change."""
    nested = [error]
    for each in nested:
        inner = (*each.args, getattr(each, "reason", None))
        nested += [one for one in inner if isinstance(one, BaseException) and one not in nested]
    for kind, words in WORDS.items():
        if any(isinstance(each, kind) for each in nested):
            return words
    return " ".join(str(error).split())[:200] or type(error).__name__


def _read(response: requests.Response) -> None:
    """Read the body while the request counts as open; too slow and too long ones are refused."""
    begun, body, raw = time.monotonic(), bytearray(), response.raw
    try:
        while piece := raw.read1(2**18, decode_content=False):
            body += piece
            if len(body) > LARGEST_ANSWER:
                raise _too_large()
            if time.monotonic() - begun > LONGEST_ANSWER:
                raise requests.Timeout("too slow")
    except BaseException:
        response.close()
        raise
    raw.release_conn()
    content = _unpacked(bytes(body), response.headers.get("Content-Encoding", ""))
    response._content, response._content_consumed = content, True  # type: ignore[attr-defined]
    # pyvo reads the raw stream; the body is decoded already, so no encoding header may remain.
    response.raw = urllib3.HTTPResponse(
        io.BytesIO(content), status=response.status_code, preload_content=False
    )


def _unpacked(body: bytes, encodings: str) -> bytes:
    """A body without the packing that its header tells of.

    urllib3 takes what it got of a packed answer for the whole.
    """
    for each in reversed(encodings.lower().replace(" ", "").split(",")):
        if each in ("gzip", "x-gzip", "deflate") and body:
            body = _inflated(body)
        elif each not in ("gzip", "x-gzip", "deflate", "identity", ""):
            raise _Refused(f"an answer packed by '{each[:20]}', expected gzip")
    return body


def _inflated(body: bytes) -> bytes:
    """The contents of one or several members of gzip, or of deflate with or without its header."""
    made = bytearray()
    while True:
        bare = body[0] & 0x0F != 8 and not body.startswith(GZIP)
        packed = zlib.decompressobj(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS | 32)
        try:
            made += packed.decompress(body, LARGEST_ANSWER + 1 - len(made))
        except zlib.error as error:
            raise urllib3.exceptions.DecodeError(str(error)) from error
        if len(made) > LARGEST_ANSWER:
            raise _too_large()
        if not packed.eof:
            raise urllib3.exceptions.IncompleteRead(len(body), 0)
        body = packed.unused_data
        if not body.startswith(GZIP):
            return bytes(made)


def _wait(host: _Host, retry: Retry, response: requests.Response | None) -> None:
    """Wait before the next attempt; a Retry-After holds for every request to the host."""
    with contextlib.suppress(InvalidHeader):
        if response is not None and (after := retry.get_retry_after(response)):  # type: ignore[arg-type]
            host.pause(min(after, LONGEST_PAUSE))
    time.sleep(retry.get_backoff_time())


class Damaged(Exception):
    """An answer that is damaged or of the wrong kind; another attempt may give a good one.

    Attributes
    ----------
    url : str
        Address that answered.
    """

    url: str = ""


def body_of(answer: Answer) -> bytes:
    """The body of an answer that is no error; otherwise raise `Damaged`."""
    if answer.status != 200:
        raise Damaged(f"HTTP {answer.status}")
    return answer.content


def ask(send: Callable[[], Answer], understand: Callable[[Answer], T]) -> tuple[Answer, T]:
    """An answer and what `understand` made of it, asked again while it is damaged.

    Parameters
    ----------
    send : callable
        Sends the request, such as ``lambda: web.get(url, params)``.
    understand : callable
        Raises `Damaged` for an answer that is not what was asked for.

    Raises
    ------
    Unanswered
        If no attempt gave an answer that could be understood.
    """
    troubles: list[str] = []

    def attempt() -> tuple[Answer, T]:
        try:
            answer = send()
        except Unanswered as error:
            raise Unanswered(str(error), error.url, (*troubles, *error.troubles)) from error
        troubles.extend(answer.troubles)
        try:
            return replace(answer, troubles=tuple(troubles)), understand(answer)
        except Damaged as error:
            error.url = answer.url
            # The error is final, or the request has been repeated already.
            if answer.status not in (200, 500):
                raise Unanswered(str(error), answer.url, tuple(troubles)) from error
            raise

    return repeated(attempt, troubles)


def repeated(attempt: Callable[[], T], troubles: list[str], url: str = "") -> T:
    """The result of an attempt, repeated while it raises `Damaged`; reasons go into `troubles`.

    `url` is the address that was asked, where `Damaged` does not give it.

    Raises
    ------
    Unanswered
        If the last attempt is damaged too.
    """
    for number in range(1, DAMAGED_ANSWERS + 1):
        try:
            return attempt()
        except Damaged as error:
            if number == DAMAGED_ANSWERS:
                raise Unanswered(str(error), error.url or url, tuple(troubles)) from error
            troubles.append(str(error))
            time.sleep(PAUSE * number)
    raise AssertionError
