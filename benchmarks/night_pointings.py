"""How near the pointings of a night are to the best ones, and the time that a plan takes.

    python benchmarks/night_pointings.py [--cases 20] [--targets 60] [--rows 100000]

Small cases have targets of random value in two fields of 2.4 deg, one of which sets and one of
which rises, an instrument of 1 deg with 6 fibers that reach the whole field, and 80 min for each
pointing, so that there is time for six. The best plan is found by mixed-integer programming
(scipy.optimize.milp), which chooses among centres 0.3 deg apart and begins 20 min apart, and among
those of the plan, and gives the fibers to targets. Prints the smallest and the mean share of the
best value that the plan reaches; then the CPU time of plans from a long list.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measuring import Figure, machine, print_figures, timed
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_matrix

from targetsel.handoff.pointings import PointingPlan, find_instrument, plan_pointings
from targetsel.handoff.simulation import Instrument
from targetsel.nights.night import Night
from targetsel.nights.visibility import Paths, Visibility, directions_of
from targetsel.sky.positions import separation

TOY = Instrument(
    "toy", "a toy", 6, 1.0, "circle", None, 0.0, "made for this comparison", "nothing"
)  # fmt: skip
ASKED = Visibility.of("KPNO", "2027-03-14")
EXPOSURE, OVERHEAD = 80, 5  # [min]
SIDE, STEP = 2.4, 0.3  # of a field, and between centres [deg]
FIELDS = ((95.0, 25.0), (245.0, 35.0))  # one sets, one rises [deg]


def case(seed: int, n: int) -> dict[str, np.ndarray]:
    """Targets of random value, half of them in each field."""
    draw = np.random.default_rng(seed)
    of = draw.integers(0, 2, n)
    middle = np.array(FIELDS)[of]
    ra = middle[:, 0] + draw.uniform(-SIDE / 2, SIDE / 2, n) / np.cos(np.radians(middle[:, 1]))
    dec = middle[:, 1] + draw.uniform(-SIDE / 2, SIDE / 2, n)
    return {"ra": ra, "dec": dec, "probability": draw.uniform(0.1, 1, n)}


def planned(targets: dict[str, np.ndarray]) -> PointingPlan:
    return plan_pointings(targets, ASKED, f"{EXPOSURE} min", TOY, overhead=f"{OVERHEAD} min")


def grid() -> np.ndarray:
    """Centres to choose from [deg], shape (C, 2)."""
    step = np.arange(-SIDE / 2, SIDE / 2 + STEP / 2, STEP)
    found = []
    for ra, dec in FIELDS:
        east, north = (each.ravel() for each in np.meshgrid(step, step))
        found.append(np.stack([ra + east / np.cos(np.radians(dec)), dec + north], axis=1))
    return np.concatenate(found)


def times(plan: PointingPlan, night: Night) -> np.ndarray:
    """Begins to choose from, hours since the noon: every 20 min in the dark, and the plan's."""
    dark = [np.arange(start + OVERHEAD / 60, end, 1 / 3) for start, end in night.dark]
    begin = plan.pointings["plan_start"].cast("timestamp[ms]").cast("int64").to_numpy()
    mjd = begin / 86_400_000 + 40_587
    return np.sort(np.concatenate([*dark, (mjd - night.noon) * 24]))


def best_value(targets: dict[str, np.ndarray], plan: PointingPlan) -> float:
    """The largest value that pointings at these centres and times can have.

    Of C centres and S begins, x tells which pointings are made, and of T targets, y which centre
    gives each a fiber.
    """
    night = ASKED.nights[0]
    own = np.stack([plan.pointings[name].to_numpy() for name in ("ra", "dec")], axis=1)
    centre = np.concatenate([grid(), own])
    begin = times(plan, night)
    lasts, whole = EXPOSURE / 60, (EXPOSURE + OVERHEAD) / 60
    paths = Paths.of(night, directions_of(*centre.T))
    lowest = np.sin(np.arcsin(ASKED.limit) + np.radians(TOY.diameter / 2))
    from_start, to_end = (
        np.stack([paths.height(t + more) for t in begin], axis=1) > lowest for more in (0, lasts)
    )
    in_dark = np.array([any(a <= t and t + lasts <= b for a, b in night.dark) for t in begin])
    pointing = np.argwhere(from_start & to_end & in_dark)  # of (centre, begin)
    ra, dec = targets["ra"], targets["dec"]
    apart = [separation(ra, dec, np.full(len(ra), a), np.full(len(ra), d)) for a, d in centre]
    inside = np.array(apart) <= TOY.diameter / 2
    served = np.argwhere(inside[np.unique(pointing[:, 0])])
    served[:, 0] = np.unique(pointing[:, 0])[served[:, 0]]
    n, m = len(pointing), len(served)
    rows, upper = [], []
    for t in range(len(targets["ra"])):  # each target once
        rows.append((n + np.flatnonzero(served[:, 1] == t), None))
        upper.append(1)
    for c in np.unique(pointing[:, 0]):  # as many as there are fibers
        rows.append((n + np.flatnonzero(served[:, 0] == c), np.flatnonzero(pointing[:, 0] == c)))
        upper.append(0)
    for t in begin:  # one pointing at a time
        overlaps = (begin[pointing[:, 1]] > t - whole + 1e-6) & (begin[pointing[:, 1]] <= t)
        rows.append((np.flatnonzero(overlaps), None))
        upper.append(1)
    matrix = lil_matrix((len(rows), n + m))
    for k, (plus, minus) in enumerate(rows):
        matrix[k, plus] = 1
        if minus is not None:
            matrix[k, minus] = -TOY.n_fibers
    found = milp(
        np.concatenate([np.zeros(n), -targets["probability"][served[:, 1]]]),
        integrality=np.concatenate([np.ones(n), np.zeros(m)]),
        bounds=Bounds(0, np.concatenate([np.ones(n), np.ones(m)])),
        constraints=LinearConstraint(matrix.tocsr(), -np.inf, upper),
        options={"mip_rel_gap": 0.0},
    )
    if not found.success:
        raise RuntimeError(found.message)
    return float(-found.fun)


def shares(cases: int, n: int) -> np.ndarray:
    """The share of the best value that a plan reaches, case by case."""
    found = []
    for seed in range(cases):
        targets = case(seed, n)
        plan = planned(targets)
        value = float(plan.pointings["plan_value"].to_numpy().sum())
        found.append(value / best_value(targets, plan))
        print(f"case {seed}: {plan.pointings.num_rows} pointings, {found[-1]:.3f}", flush=True)
    return np.array(found)


def figures(
    folder: Path, cases: int = 20, targets: int = 60, rows: int = 100_000
) -> dict[str, Figure]:
    """The shares, and what plans from a long list take."""
    found = shares(cases, targets)
    draw = np.random.default_rng(1)
    sky = {
        "ra": draw.uniform(120, 240, rows),
        "dec": np.degrees(np.arcsin(draw.uniform(-0.1, 0.6, rows))),
        "probability": draw.uniform(0, 1, rows),
    }
    commands = {}
    for name in ("desi", "hectospec"):
        instrument = find_instrument(name)
        assert instrument is not None
        commands[f"plan of {instrument.title}'s night"] = lambda instrument=instrument: (
            plan_pointings(sky, ASKED, "30 min", instrument)
        )
    return {
        "smallest share of the best value": _share(found.min()),
        "mean share of the best value": _share(found.mean()),
    } | timed(commands, 1, per=rows)


def _share(value: float) -> Figure:
    return Figure((float(value),), "", "accuracy", higher_is_better=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--targets", type=int, default=60)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    about = machine()
    print(f"{about['processor']}, one thread; numpy {about['numpy']}")
    folder = Path(tempfile.gettempdir())
    print_figures(figures(folder, options.cases, options.targets, options.rows))


if __name__ == "__main__":
    main()
