"""How near the plan of a night is to the best plan, and the time that one takes.

    python benchmarks/night.py [--cases 20] [--targets 9] [--rows 100000]

Small cases have random exposure times, values and hours at which targets are up, and more targets
than the night holds. The best plan is found by mixed-integer programming (scipy.optimize.milp),
which chooses targets, their order and their begins. Prints the smallest and the mean share of the
best value that the plan reaches, and in which share of cases it is the best; then the CPU time of a
plan from a long list.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measuring import Figure, machine, print_figures, timed
from scipy.optimize import Bounds, LinearConstraint, milp

from targetsel.nights.plan import plan_night
from targetsel.nights.schedule import PossibleExposures, most_valuable
from targetsel.nights.visibility import Visibility

HOUR = 3600
NIGHT = 8 * HOUR


def case(seed: int, n: int = 9) -> PossibleExposures:
    """Random exposures of 0.5 to 2.5 h in a night of 8 h, up for parts of it."""
    draw = np.random.default_rng(seed)
    length = draw.integers(HOUR // 2, 5 * HOUR // 2, n)
    rises = draw.integers(-3 * HOUR, 6 * HOUR, n)
    sets = rises + draw.integers(2 * HOUR, 7 * HOUR, n)
    begin, end = np.maximum(rises, 0), np.minimum(sets, NIGHT) - length
    return PossibleExposures(begin[:, None], end[:, None], length, draw.uniform(0.1, 1, n))


def best_value(of: PossibleExposures) -> float:
    """The largest value that any sequence of exposures of one time each has.

    Of N exposures, x tells which are chosen, s [h] when they begin, and y, for each pair, whether
    the first goes before the second.
    """
    rows = np.flatnonzero(of.end[:, 0] >= of.begin[:, 0])
    begin, end, length = (each[rows] / HOUR for each in (of.begin[:, 0], of.end[:, 0], of.length))
    n = len(rows)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    far = 2 * NIGHT / HOUR
    matrix, lowest = [], []
    for number, (i, j) in enumerate(pairs):
        for first, second, sign in ((i, j, 1), (j, i, -1)):
            row = np.zeros(2 * n + len(pairs))
            row[[n + second, n + first]] = 1, -1
            row[[first, second]] = -far
            row[2 * n + number] = -sign * far
            matrix.append(row)  # s2 - s1 >= length unless it is the other way, or one is left out
            lowest.append(length[first] - 2 * far - (far if sign > 0 else 0))
    cost = np.concatenate([-of.value[rows], np.zeros(n + len(pairs))])
    whole = np.concatenate([np.ones(n), np.zeros(n), np.ones(len(pairs))])
    bounds = Bounds(
        np.concatenate([np.zeros(n), begin, np.zeros(len(pairs))]),
        np.concatenate([np.ones(n), end, np.ones(len(pairs))]),
    )
    found = milp(
        cost,
        integrality=whole,
        bounds=bounds,
        constraints=LinearConstraint(np.array(matrix), lowest, np.inf),
    )
    if not found.success:
        raise RuntimeError(found.message)
    return float(-found.fun)


def shares(cases: int, targets: int) -> np.ndarray:
    """The share of the best value that a plan reaches, case by case."""
    chosen = [case(seed, targets) for seed in range(cases)]
    return np.array([most_valuable(each).value(each) / best_value(each) for each in chosen])


def figures(
    folder: Path, cases: int = 20, targets: int = 9, rows: int = 100_000
) -> dict[str, Figure]:
    """The shares, and what a plan from a long list takes."""
    found = shares(cases, targets)
    draw = np.random.default_rng(1)
    sky = {
        "ra": draw.uniform(0, 360, rows),
        "dec": np.degrees(np.arcsin(draw.uniform(-1, 1, rows))),
        "probability": draw.uniform(0, 1, rows),
    }
    asked = Visibility.of("KPNO", "2027-03-14")
    return {
        "smallest share of the best value": _share(found.min()),
        "mean share of the best value": _share(found.mean()),
        "share of cases with the best value": _share((found > 1 - 1e-9).mean()),
    } | timed({"plan of a night": lambda: plan_night(sky, asked, "20 min")}, 1, per=rows)


def _share(value: float) -> Figure:
    return Figure((float(value),), "", "accuracy", higher_is_better=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--targets", type=int, default=9)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    about = machine()
    print(f"{about['processor']}, one thread; numpy {about['numpy']}")
    folder = Path(tempfile.gettempdir())
    print_figures(figures(folder, options.cases, options.targets, options.rows))


if __name__ == "__main__":
    main()
