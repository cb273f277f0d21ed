"""Work for jobs in tests, which other processes import: what a part does stands in its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def work(job):
    """Write a file for each part, or do what its name says."""
    with open(Path(job.settings["calls"]) / f"made-{os.getpid()}", "a") as file:
        file.write("made\n")

    def do(part):
        with open(Path(job.settings["calls"]) / part, "a") as file:
            file.write(f"{os.getpid()}\n")
        if part.startswith("raises"):
            raise ValueError(f"no {part}")
        if part.startswith("kills"):
            os.kill(os.getpid(), signal.SIGKILL)
        if part.startswith("hangs"):
            time.sleep(600)
        if part.startswith("slow"):
            time.sleep(0.2)
        (job.output / f"{part}.txt").write_text(part)
        return {"rows": len(part)}

    return do


def broken(job):
    raise RuntimeError("no networks")
