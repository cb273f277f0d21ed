"""Memory that a long run does not keep."""

from __future__ import annotations

import contextlib
import ctypes


def return_freed_memory() -> None:
    """Let freed blocks of megabytes go back to the system at once, for the rest of the process.

    glibc would keep them, in pieces that fit the next block ever worse, so that memory grew with
    the length of a run. Other C libraries have no such setting, and are left alone.
    """
    m_mmap_threshold = -3  # from malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(m_mmap_threshold, 1 << 20)
