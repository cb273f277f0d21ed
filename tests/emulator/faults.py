"""Which answers fail, and how: decided by a hash, so that a run can be told again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

# Troubles of one answer; the next may be good.
PASSING = (
    "html",  # status 200, but a page of HTML
    "garbage",  # status 200 and bytes of the right length that begin like FITS
    "truncated",  # the connection ends before the promised length
    "short",  # the service itself cut the answer, and says so in its length
    "dropped",  # the connection ends before the answer
    "slow",
    "429",
    "429 with Retry-After",
    "503",
    "503 with Retry-After",
    "500",
    "wrong size",
    "wrong band",
    "wrong place",
    "wrong scale",
)
# Troubles of a place on the sky; the same for every attempt.
LASTING = ("outside", "missing band", "NaN band", "always html", "always 503", "gone")


@dataclass(frozen=True)
class Faults:
    """How often and how services fail.

    Attributes
    ----------
    share : float
        Of answers that fail in passing.
    lasting : float
        Of places on the sky that have a lasting trouble.
    seed : int
    kinds, lasting_kinds : tuple of str
        The failures to choose from.
    in_a_row : int
        No question fails in passing more often than this.
    retry_after : int
        What Retry-After says [s].
    delay : float
        How long "slow" takes [s].
    """

    share: float = 0.0
    lasting: float = 0.0
    seed: int = 0
    kinds: tuple[str, ...] = PASSING
    lasting_kinds: tuple[str, ...] = LASTING
    in_a_row: int = 3
    retry_after: int = 0
    delay: float = 0.3

    def passing(self, question: str, attempt: int) -> str | None:
        """How the answer to the attempt (from 0) fails, if it does."""
        chance, choice = self._numbers(f"{question}#{attempt}")
        failed = chance < self.share and attempt < self.in_a_row
        return self.kinds[int(choice * len(self.kinds))] if failed else None

    def of_place(self, ra: float, dec: float) -> str | None:
        """The lasting trouble at a place, if there is one."""
        chance, choice = self._numbers(f"{ra % 360:.6f} {dec:.6f}")
        failed = chance < self.lasting
        return self.lasting_kinds[int(choice * len(self.lasting_kinds))] if failed else None

    def _numbers(self, text: str) -> tuple[float, float]:
        """Two uniform numbers in [0, 1)."""
        digest = hashlib.blake2b(f"{self.seed}:{text}".encode(), digest_size=8).digest()
        return (
            int.from_bytes(digest[:4], "big") / 2**32,
            int.from_bytes(digest[4:], "big") / 2**32,
        )
