"""Repetition of requests whose answers are damaged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from targetsel.surveys.http import Answer, Unanswered

DAMAGED_ANSWERS = 4
PAUSE = 0.2  # [s] after a damaged answer, longer each time

T = TypeVar("T")


class Damaged(Exception):
    """An answer that is damaged or of the wrong kind; another attempt may give a good one."""


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
            raise Unanswered(str(error), (*troubles, *error.troubles)) from error
        troubles.extend(answer.troubles)
        try:
            meant = understand(answer)
        except Damaged as error:
            # The error is final, or the request has been repeated already.
            if answer.status not in (200, 500):
                raise Unanswered(str(error), tuple(troubles)) from error
            raise
        return replace(answer, troubles=tuple(troubles)), meant

    return repeated(attempt, troubles)


def repeated(attempt: Callable[[], T], troubles: list[str]) -> T:
    """The result of an attempt, repeated while it raises `Damaged`; reasons go into `troubles`.

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
                raise Unanswered(str(error), tuple(troubles)) from error
            troubles.append(str(error))
            time.sleep(PAUSE * number)
    raise AssertionError
