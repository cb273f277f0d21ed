"""Figures that a benchmark measures, so that they can be compared with those of another day.

Times are CPU times in units of a reference work, a fixed program of Python, NumPy and PyTorch that
takes turns with what is timed: on another or a busier machine both change. A figure keeps the value
of every round; it is their median, and its noise the standard error of that.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from targetsel import __file__ as _PACKAGE

HOME = Path(_PACKAGE).parents[1]  # of the package whose commands are timed
# Changes that are nobody's fault even where the rounds agree, as a share of the earlier value.
# Times in units of the reference differed by 7 % (median) from pass to pass on a crowded machine.
KINDS = {"time": 0.10, "memory": 0.05, "accuracy": 0.01, "rounding": 1.0}
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
REFERENCE = "reference works"

# A process of its own: what a child has used is its parent's memory too, and this one has little.
_LAUNCHER = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, done.stdout.decode(errors="replace")[-2000:],
                  used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Parameters
    ----------
    values : tuple of float
        One of each round.
    unit : str
        For a reader.
    kind : str
        One of `KINDS`.
    higher_is_better : bool
    seconds : float, optional
        CPU time that a time in units of the reference was measured as [s].
    per : int
        Rows (sources, cutouts) that took this time.
    error : float, optional
        Standard error of the figure where rounds cannot tell it, in its unit.
    """

    values: tuple[float, ...]
    unit: str
    kind: str
    higher_is_better: bool = False
    seconds: float | None = None
    error: float | None = None
    per: int = 1

    @property
    def value(self) -> float:
        return float(statistics.median(self.values))

    @property
    def noise(self) -> float:
        """Standard error of the value, in its unit.

        The median's is 1.25 times that of a mean; the rounds' scatter is that of a Gaussian with
        their quartiles, which a single slow round does not change.
        """
        if self.error is not None or len(self.values) < 2:
            return self.error or 0.0
        low, high = np.quantile(self.values, [0.25, 0.75])
        return float(1.25 * (high - low) / 1.349 / np.sqrt(len(self.values) - 1))

    @classmethod
    def of(
        cls, value: float, kind: str, unit: str = "", *, higher: bool = False, error: float = 0.0
    ) -> Figure:
        """A figure that has no rounds: it comes out the same again."""
        return cls((float(value),), unit, kind, higher, error=error)


@dataclass(frozen=True)
class Cost:
    """What a whole process took: CPU time [s], user and system, and peak memory [MiB]."""

    seconds: float
    peak: float


# --- CPU times ------------------------------------------------------------------------------------


def cpu_seconds() -> float:
    """CPU time, user and system, of this process and the children that have ended [s]."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def cpu_time(work: Callable[[], object]) -> float:
    """CPU time of a piece of work, over all threads and children [s]."""
    start = cpu_seconds()
    work()
    return cpu_seconds() - start


@cache
def _inputs() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return rng.normal(size=1_000_000), rng.normal(size=(64, 16, 32, 32)).astype(np.float32)


def reference_work() -> None:
    """The fixed program: loops of Python, sorting and streaming in NumPy, convolving in PyTorch."""
    import torch

    numbers, images = _inputs()
    total = 0
    for k in range(1_500_000):
        total += k % 7
    np.sort(numbers)
    np.exp(numbers * 0.5 + 1.0).sum()
    with torch.inference_mode():
        x = torch.from_numpy(images)
        for _ in range(20):
            torch.nn.functional.conv2d(x, torch.ones(16, 16, 3, 3)).sum()


def timed(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    reference: Callable[[], object] = reference_work,
    unit: str = REFERENCE,
    per: int = 1,
) -> dict[str, Figure]:
    """The CPU time of each work on `per` rows, in units of the reference before and after it.

    All take turns, `rounds` times, after a round that fills caches and is not counted.
    """
    ratios: dict[str, list[float]] = {name: [] for name in works}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for k in range(rounds + 1):
        before = cpu_time(reference)
        for name, work in works.items():
            took, after = cpu_time(work), cpu_time(reference)
            if k:
                seconds[name].append(took)
                ratios[name].append(2 * took / (before + after))
            before = after
    return {
        name: Figure(tuple(each), unit, "time", seconds=statistics.median(seconds[name]), per=per)
        for name, each in ratios.items()
    }


def timed_once(work: Callable[[], object], per: int = 1) -> Figure:
    """The CPU time of what runs once or takes long, in units of the reference around it."""
    around = [cpu_time(reference_work) for _ in range(3)][1:]
    took = cpu_time(work)
    around += [cpu_time(reference_work) for _ in range(2)]
    values = (took / statistics.median(around),)
    return Figure(values, REFERENCE, "time", seconds=took, per=per)


def rounds_of(runs: list[dict[str, Figure]]) -> dict[str, Figure]:
    """Figures whose rounds are the medians of runs."""
    return {
        name: replace(
            first,
            values=tuple(run[name].value for run in runs),
            seconds=first.seconds and statistics.median(run[name].seconds or 0 for run in runs),
        )
        for name, first in runs[0].items()
    }


def over(one: Figure, other: Figure, unit: str) -> Figure:
    """One time in units of another that took turns with it, round by round."""
    values = tuple(a / b for a, b in zip(one.values, other.values, strict=True))
    return Figure(values, unit, "time")


# --- whole processes ------------------------------------------------------------------------------


def process(*words: object, cwd: Path | None = None) -> Cost:
    """The cost of one Python process on one thread; SystemExit with its output if it fails."""
    command = [sys.executable, *map(str, words)]
    launched = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env=os.environ | ONE_THREAD | {"PYTHONPATH": str(HOME)},
    )
    status, said, seconds, peak = json.loads(launched.stdout)
    if status:
        raise SystemExit(f"{' '.join(command)}: status {status}\n{said}")
    return Cost(seconds, peak)


def child(script: str, *words: object) -> Any:
    """What a script of benchmarks/ prints as JSON, in a process of its own on one thread."""
    done = subprocess.run(
        [sys.executable, script, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | ONE_THREAD,
    )
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory() -> float:
    """Peak memory of this process [MiB]; `ru_maxrss` would include the parent's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def command(*words: object, cwd: Path | None = None) -> Cost:
    """The cost of one command of targetsel."""
    return process("-m", "targetsel", *words, cwd=cwd)


def machine() -> dict[str, str]:
    """What figures were measured on, and with."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def demonstration(folder: Path, n: int | None = None) -> Path:
    """The folder, in which the demonstration is made first where it has none."""
    if not (folder / "truth.parquet").exists():
        from targetsel.mock.demonstration import write_demonstration

        write_demonstration(folder, n)
    return folder


def print_figures(figures: Mapping[str, Figure]) -> None:
    """Print each figure with its noise, and the CPU time behind a time, also for each row."""
    print(f"{'figure':<52}{'value':>10}{'noise':>8}{'CPU s':>10}{'us/row':>10}  unit")
    for name, each in figures.items():
        share = f"{abs(each.noise / each.value):.1%}" if each.value else "-"
        seconds = "" if each.seconds is None else f"{each.seconds:.3g}"
        row = (
            "" if each.seconds is None or each.per == 1 else f"{1e6 * each.seconds / each.per:.4g}"
        )
        print(f"{name:<52}{each.value:>10.4g}{share:>8}{seconds:>10}{row:>10}  {each.unit}")
