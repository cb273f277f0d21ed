"""Commands that are interrupted, by Ctrl-C or by a batch system."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import typer

from targetsel.cli.terminal import say

INTERRUPTED = "Interrupted. Nothing unfinished was left: run the same command again to begin anew."
INTERRUPTED_AND_KEPT = (
    "Interrupted. What was finished is kept: run the same command again to go on from there."
)
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """An interruption by SIGTERM, as batch systems send it at the end of the time given."""


@contextlib.contextmanager
def heeding_signals() -> Iterator[None]:
    """Let SIGTERM interrupt the block as Ctrl-C does, and a second signal end it at once."""

    def interrupt(number: int, frame: Any) -> NoReturn:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield
        return
    before = {each: signal.getsignal(each) or signal.SIG_DFL for each in SIGNALS}
    for each, handler in before.items():
        if handler != signal.SIG_IGN:  # as under nohup
            signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each, handler in before.items():
            if signal.getsignal(each) is interrupt:
                signal.signal(each, handler)


@contextlib.contextmanager
def said_if_interrupted() -> Iterator[None]:
    """Say what is kept if the block is interrupted, and exit with the status of the signal."""
    try:
        yield
    except KeyboardInterrupt as stop:
        kept = getattr(stop, "is_kept", False)
        say(INTERRUPTED_AND_KEPT if kept else INTERRUPTED, err=True)
        number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        raise typer.Exit(128 + number) from stop
