"""A guard: while it is up, a connection to anything but loopback is an error.

    python -m tests.emulator.loopback fetch cutouts ...

runs the command line under it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

HERE = ("127.0.0.1", "::1", "localhost", "", None)
_up = 0


class LeftLoopback(BaseException):
    """Not an `Exception`, so that no code under test catches it."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _up:
        return
    host: Any = None
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    if host not in HERE and host not in (b"127.0.0.1", b"localhost"):
        raise LeftLoopback(f"{event}: {host}")


sys.addaudithook(_watch)


@contextlib.contextmanager
def only_loopback() -> Iterator[None]:
    """Within the block, nothing leaves this machine."""
    global _up
    _up += 1
    try:
        yield
    finally:
        _up -= 1


if __name__ == "__main__":
    from targetsel.cli import main

    with only_loopback():
        main()
