"""Figures of one run of the benchmarks beside those of a release, and the file that keeps them.

The file (JSON, `figures-VERSION.json`) holds for each script and figure its value, noise, unit,
kind and direction, and for all the version, date, machine and number of passes. Noise is one
standard error, in the figure's unit. A figure is worse, or better, if it changed by more than three
times the noise of both and by more than `KINDS` allows its kind; otherwise the change is within the
noise.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import KINDS, Figure

SCHEMA = "targetsel/figures/v1"
SIGMAS = 3.0
WORDS = {
    "time": ("SLOWER", "faster"),
    "memory": ("LARGER", "smaller"),
    "accuracy": ("WORSE", "better"),
    "rounding": ("WORSE", "better"),
}
MISSING, NEW, SAME, OTHER_UNIT = "MISSING", "new", "within noise", "OTHER UNIT"


@dataclass(frozen=True)
class Kept:
    """A figure as the file keeps it: see `Figure`."""

    value: float
    noise: float
    unit: str
    kind: str
    higher_is_better: bool
    seconds: float | None = None

    @classmethod
    def of(cls, passes: list[Figure]) -> Kept:
        """The median over passes.

        Its noise is that of the rounds of all passes or the passes' standard deviation, the larger:
        what changes from one pass to the next is not seen by rounds.
        """
        first = passes[0]
        values = [each.value for each in passes]
        value = statistics.median(values)
        rounds = tuple(one for each in passes for one in each.values)
        within = Figure(rounds, first.unit, first.kind, error=first.error).noise
        between = statistics.stdev(values) if len(values) > 1 else 0.0
        seconds = [each.seconds for each in passes if each.seconds is not None]
        return cls(
            value,
            max(within, between),
            first.unit,
            first.kind,
            first.higher_is_better,
            statistics.median(seconds) if seconds else None,
        )


@dataclass(frozen=True)
class Line:
    """One figure then and now; either is None where it was not measured."""

    script: str
    name: str
    then: Kept | None
    now: Kept | None

    @property
    def allowed(self) -> float:
        """The change that noise explains, in the figure's unit."""
        assert self.then is not None
        assert self.now is not None
        noise = SIGMAS * float(np.hypot(self.then.noise, self.now.noise))
        return max(noise, KINDS[self.then.kind] * abs(self.then.value))

    @property
    def verdict(self) -> str:
        if self.now is None:
            return MISSING
        if self.then is None:
            return NEW
        if (self.then.unit, self.then.kind) != (self.now.unit, self.now.kind):
            return OTHER_UNIT
        change = self.now.value - self.then.value
        if abs(change) <= self.allowed:
            return SAME
        return WORDS[self.now.kind][(change > 0) == self.now.higher_is_better]

    @property
    def is_bad(self) -> bool:
        return self.verdict in {MISSING, OTHER_UNIT, *(worse for worse, _ in WORDS.values())}


Figures = Mapping[str, Mapping[str, Kept]]


def compare(then: Figures, now: Figures) -> list[Line]:
    """A line for each figure of either, by script, in the order of the present run."""
    lines = []
    for script in dict.fromkeys((*now, *then)):
        before, after = then.get(script, {}), now.get(script, {})
        for name in dict.fromkeys((*after, *before)):
            lines.append(Line(script, name, before.get(name), after.get(name)))
    return lines


def table(lines: list[Line]) -> str:
    """The lines as a reader sees them: values, their ratio, the noise of it, and the verdict."""
    width = max((len(line.name) for line in lines), default=0)
    text, script = [], None
    for line in lines:
        if line.script != script:
            script = line.script
            text.append(
                f"\n{script + '.py':<{width + 2}}{'then':>10}{'now':>10}{'ratio':>7}{'noise':>8}"
            )
        then, now = (f"{each.value:.4g}" if each else "-" for each in (line.then, line.now))
        share = noise = "-"
        if line.then and line.now and line.then.value:
            share = f"{line.now.value / line.then.value:.2f}"
            both = np.hypot(line.then.noise, line.now.noise) / abs(line.then.value)
            noise = f"{both:.1%}"
        known = line.now or line.then
        unit = known.unit if known else ""
        about = f"{then:>10}{now:>10}{share:>7}{noise:>8}"
        text.append(f"  {line.name:<{width}}{about}  {line.verdict:<12} {unit}".rstrip())
    return "\n".join(text)


# --- the file -------------------------------------------------------------------------------------


def write(path: Path, figures: Figures, about: Mapping[str, Any]) -> None:
    """Keep figures, with what `about` says of the version, the date, the machine and the passes."""
    kept = {
        script: {name: _written(each) for name, each in named.items()}
        for script, named in figures.items()
    }
    path.write_text(json.dumps({"schema": SCHEMA, **about, "figures": kept}, indent=1) + "\n")


def _written(figure: Kept) -> dict[str, Any]:
    """Five digits: no figure is known better."""
    rounded = {name: float(f"{getattr(figure, name):.5g}") for name in ("value", "noise")}
    found = vars(figure) | rounded
    if figure.seconds is not None:
        found["seconds"] = float(f"{figure.seconds:.3g}")
    return {name: each for name, each in found.items() if each is not None}


def read(path: Path) -> tuple[dict[str, dict[str, Kept]], dict[str, Any]]:
    """Figures of a file, and what it says about them; SystemExit if it is no such file."""
    content = json.loads(path.read_text())
    if content.get("schema") != SCHEMA:
        raise SystemExit(f"{path}: schema {content.get('schema')!r}, expected {SCHEMA!r}")
    figures = {
        script: {name: Kept(**each) for name, each in named.items()}
        for script, named in content.pop("figures").items()
    }
    return figures, content


def newest(folder: Path) -> Path | None:
    """The figures of the highest version that a folder keeps."""

    def version(path: Path) -> tuple[int, ...]:
        return tuple(int(part) for part in path.stem.removeprefix("figures-").split("."))

    return max(folder.glob("figures-*.json"), key=version, default=None)
