"""The page of growth.py: lines through what was measured, and what they say of a billion rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Costs = Mapping[str, Mapping[int, Sequence[float]]]  # seconds, peak MiB; by command and rows

TABLE = (1000, 10_000, 100_000, 1_000_000, 10_000_000, 1_000_000_000)
BILLION = 1_000_000_000
ALLOWED = 0.15  # of the cost of scoring all, where a tenth passes
MEBI, GIGA, HOUR = 1 << 20, 1e9, 3600.0
KEPT = {"score": 8, "pack": 100}  # bytes of each row in memory, by design
WHOLE, TENTH, THOUSANDTH = "score", "score --rules, a tenth", "score --rules, a thousandth"


@dataclass(frozen=True)
class Growth:
    """What a command takes to start, and for each row more.

    Both are chosen so that the relative deviations from what was measured are least in squares.
    """

    start: float
    row: float
    deviation: float  # the largest, as a share of what was measured
    rows: tuple[int, ...]

    @classmethod
    def of(cls, measured: Mapping[int, float]) -> Growth:
        """Through values by number of rows; a start or slope below zero counts as none."""
        rows = np.array(sorted(measured), float)
        values = np.array([measured[int(n)] for n in rows])
        both = np.stack([np.ones_like(rows), rows], axis=1)
        found = np.linalg.lstsq(both / values[:, None], np.ones_like(values), rcond=None)[0]
        if found[1] < 0:
            found = np.array([values.mean(), 0.0])
        elif found[0] < 0:
            found = np.array([0.0, np.mean(values / rows)])
        off = float(np.abs(both @ found / values - 1).max())
        return cls(float(found[0]), float(found[1]), off, tuple(int(n) for n in rows))

    def __call__(self, rows: float) -> float:
        return self.start + self.row * rows

    def as_if_sorted(self, rows: float) -> float:
        """The same if all beyond the start grew as n log n, which is more than any of it does."""
        most = self.rows[-1]
        return self.start + self.row * rows * max(1.0, np.log(rows) / np.log(most))


def growth(costs: Costs) -> dict[str, Growth]:
    """The line of CPU time [s] of each command."""
    return {
        command: Growth.of({rows: each[0] for rows, each in of_rows.items()})
        for command, of_rows in costs.items()
    }


def page(
    costs: Costs, bytes_of_a_cutout: float, lists: Mapping[str, object], about: Mapping[str, object]
) -> str:
    """The text of growth.md."""
    times = growth(costs)
    parts = [
        TITLE.format(**about),
        "## Measured\n",
        *_measured(costs),
        "\n## Start-up, and what a row adds\n",
        LINES,
        *_lines(costs, times),
        "\n## Rules before pixels\n",
        _rules(costs, times, lists),
        "\n## From a thousand to ten million rows, and a billion\n",
        MODEL,
        *_model(costs, times),
        "\n## A billion rows\n",
        _billion(costs, times, bytes_of_a_cutout),
        ASSUMPTIONS.format(**KEPT),
    ]
    return "\n".join(parts).replace("\n\n\n", "\n\n")


TITLE = """# How cost grows with the rows of a catalog

<!-- Written by `python benchmarks/growth.py --write`; change that, not this. -->

CPU seconds, user and system, of whole commands on one thread, start-up included, and their peak
memory: {runs} each on {date}, on a shared machine of {cores} cores ({processor})
beside other work; Python {python}, NumPy {numpy}, PyTorch {torch}. Other work slows a core, so
every command was timed in units of a reference work right before and after it
(`benchmarks/measuring.py`). That took {reference:.3f} to {busy:.3f} s of CPU (10 and 90 %
quantiles); the seconds below are those of a core on which it takes {reference:.3f} s.

The images are **simulated**: the demonstration's cutouts of 64 × 64 pixels in five bands, many
times over. `mock` writes images, spectra and truth; `cutouts pack` reads NumPy files; `score` runs
the five networks that are shipped; `score --rules` is given rules whose cut on a magnitude a tenth
or a thousandth of the rows pass; `select` applies 25 conditions to a catalog of 17 columns
(`select_speed.py`); `export` writes for DESI.
"""

LINES = """\
A line is laid through the times so that relative deviations are least. "Off" is the largest
deviation of a measured time from it: where it is small, the cost was linear over the range.
"""

MODEL = """\
CPU seconds. What was measured stands in **bold**. All else is the line, and beyond the largest
measured number of rows an extrapolation that was not tried.
"""

ASSUMPTIONS = """
What this assumes:

- Beyond start-up the cost is linear in the rows. That holds over the measured range as well as
  "off" says. What sorts (ids, target lists) grows as n log n; the number in brackets is the cost if
  all beyond start-up grew so from the largest measured number of rows on, a bound from above.
- Memory at a billion rows is the largest measured peak and what is kept of each row by design:
  {score} bytes in `score`, to find ids that come twice, and some {pack} in `cutouts pack`. Where
  peaks still grew at the end of the measured range, it may be more.
- Every row has a cutout of the demonstration's size and bands. Fetching is not counted: an archive
  sets its pace. Copies of a cutout lie close together in the store that `score` reads, which makes
  that cheaper than it is for as many galaxies; what one takes in a store is of the demonstration.
- The core hours are those of one core of this machine.
"""


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _measured(costs: Costs) -> list[str]:
    lines = ["| command | rows | CPU s | peak MiB |", "|---|---|---|---|"]
    for command, of_rows in costs.items():
        for rows in sorted(of_rows):
            seconds, peak = of_rows[rows]
            lines.append(f"| {_name(command)} | {rows:,} | {_number(seconds)} | {peak:,.0f} |")
    return lines


def _lines(costs: Costs, times: Mapping[str, Growth]) -> list[str]:
    lines = [
        "| command | measured rows | start-up [s] | a row [µs] | off | peak memory [MiB] |",
        "|---|---|---|---|---|---|",
    ]
    for command, line in times.items():
        span = f"{line.rows[0]:,} to {line.rows[-1]:,}"
        peaks = [each[1] for each in costs[command].values()]
        lines.append(
            f"| {_name(command)} | {span} | {line.start:.2g} | {_number(1e6 * line.row)} "
            f"| {line.deviation:.0%} | {min(peaks):,.0f} to {max(peaks):,.0f} |"
        )
    return lines


def _name(command: str) -> str:
    """A command as code, and what was asked of it as words."""
    words, comma, rest = command.partition(", ")
    return f"`{words}`{comma}{rest}"


def _rules(costs: Costs, times: Mapping[str, Growth], lists: Mapping[str, object]) -> str:
    rows = max(costs[TENTH])
    some, whole = costs[TENTH][rows][0], times[WHOLE](rows)
    met = "within" if some <= ALLOWED * whole else "MORE THAN"
    same = "the same list" if lists["same"] else "ANOTHER LIST"
    fewest = costs[THOUSANDTH][rows][0]
    few, many = times[WHOLE].rows[0], times[WHOLE].rows[-1]
    return (
        f"Of {rows:,} rows a tenth pass the cut of the rules: `score --rules` took\n"
        f"{_number(some)} s of CPU, {some / whole:.3f} of the {_number(whole)} s that scoring all "
        f"would take ({met} the goal of {ALLOWED}).\nThe latter was not measured: it is the line "
        f"through {few:,} to {many:,} rows. Where a thousandth\npass, it took {_number(fewest)} s, "
        f"or {fewest / whole:.3f}.\n\n"
        f"Of {lists['rows']:,} rows `select` makes {same} of {lists['targets']:,} targets as from\n"
        "the tenth scored without rules, column by column; of the others it could choose none.\n"
        "`score_with_rules.py` compares the lists of whole catalogs, byte by byte."
    )


def _model(costs: Costs, times: Mapping[str, Growth]) -> list[str]:
    lines = [
        "| rows | " + " | ".join(map(_name, times)) + " |",
        "|---" * (len(times) + 1) + "|",
    ]
    for rows in TABLE:
        cells = []
        for command, line in times.items():
            seen = costs[command].get(rows)
            cells.append(f"**{_number(seen[0])}**" if seen is not None else _number(line(rows)))
        lines.append(f"| {rows:,} | " + " | ".join(cells) + " |")
    return lines


def _billion(costs: Costs, times: Mapping[str, Growth], bytes_of_a_cutout: float) -> str:
    def hours(command: str, rows: float) -> str:
        line = times[command]
        low, high = (_number(each / HOUR) for each in (line(rows), line.as_if_sorted(rows)))
        return low if low == high else f"{low} (≤ {high})"

    def memory(command: str, rows: float, kept: int) -> str:
        peak = max(each[1] for each in costs[command].values())
        return f"{_number((peak * MEBI + rows * kept) / GIGA)} GB"

    few, score, pack = BILLION / 1000, KEPT["score"], KEPT["pack"]
    size = {rows: f"{_number(rows * bytes_of_a_cutout / GIGA)} GB" for rows in (BILLION, few)}
    lines = [
        "Core hours and peak memory if every row's pixels are used, and if rules on the catalog",
        "leave a thousandth of the rows.",
        f"A cutout takes {bytes_of_a_cutout:,.0f} bytes in its store.",
        "",
        "| | all rows' pixels | memory | a thousandth of them | memory |",
        "|---|---|---|---|---|",
        f"| cutouts in their store | {size[BILLION]} | | {size[few]} | |",
        f"| `cutouts pack` | {hours('cutouts pack', BILLION)} "
        f"| {memory('cutouts pack', BILLION, pack)} "
        f"| {hours('cutouts pack', few)} | {memory('cutouts pack', few, pack)} |",
        f"| `score` | {hours(WHOLE, BILLION)} | {memory(WHOLE, BILLION, score)} "
        f"| {hours(THOUSANDTH, BILLION)} | {memory(THOUSANDTH, BILLION, score)} |",
        f"| `select` | {hours('select', BILLION)} | {memory('select', BILLION, 0)} "
        f"| {hours('select', BILLION)} | {memory('select', BILLION, 0)} |",
        f"| `export` of a million targets | {hours('export', 1e6)} | {memory('export', 1e6, 0)} "
        f"| {hours('export', 1e6)} | {memory('export', 1e6, 0)} |",
    ]
    return "\n".join(lines)
