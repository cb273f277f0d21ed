"""Test of the tools that count targets, on a planted class whose members are known.

    python benchmarks/planted_class.py [--repeats 50] [--sources 4000] [--calibration 2000]

Every repeat makes a mock catalog and a mock calibration set, as `targetsel score` would write them,
of sources with a known true H alpha width; one in twenty is a strong emitter. The posterior is
wrong on purpose: four fifths as wide as its errors, and blind to how rare emitters are. Then

- `tune` is asked for a number of targets, and `select` counts those at the bound it gives;
- `forecast` is asked how many members are true, and how pure and complete the class is, with 90 %
  intervals; they are right if they hold the true numbers in 90 % of the repeats;
- `guarantee` is asked for a purity; it is right if the false members' mean share is no larger.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import RuleError
from targetsel.rules.rules import Rules
from targetsel.scored.columns import posterior_columns
from targetsel.selection.reports.forecast import LEVEL, Expectation, forecasts
from targetsel.selection.reports.tuning import tune
from targetsel.selection.scored_sources import scored_catalog
from targetsel.selection.select import preview
from targetsel.spectra.proxies import NORMAL_SCORES
from targetsel.tables.parquet import described, write_table

LIMIT = 30.0  # Angstrom: emitters are wider than this
PURITY = 0.9
RULES = f"""schema: targetsel/rules/v1
name: planted
classes:
  EMITTER:
    bit: 0
    priority: 1
    where: P(ew_halpha > {LIMIT} Angstrom) >= BOUND
    rank: P(ew_halpha > {LIMIT} Angstrom)
"""
GUARANTEE = f"    guarantee: {{purity: {PURITY}, kind: average}}\n"


def rules(bound: float, more: str = "") -> Rules:
    """The class of sources whose probability of being an emitter reaches a bound."""
    return Rules.parse(RULES.replace("BOUND", repr(bound)) + more)


@dataclass(frozen=True)
class Mock:
    """A scored file, its truth file, and the true H alpha width of its sources, shape (N,)."""

    scored: Path
    truth: Path
    width: np.ndarray

    @classmethod
    def make(cls, folder: Path, n: int, seed: int) -> Mock:
        """Write a mock catalog into a folder."""
        rng = np.random.default_rng(seed)
        emitter = rng.uniform(size=n) < 0.05
        width = np.where(emitter, rng.normal(60, 15, n), rng.normal(5, 8, n))
        error = rng.uniform(5, 20, n)
        estimate = width + error * rng.normal(size=n)
        mock = cls(folder / f"{seed}.scored.parquet", folder / f"{seed}.truth.parquet", width)
        write_table(_scored(estimate, 0.8 * error, seed % 800 / 10), mock.scored)
        ids = pa.array(np.arange(n))
        write_table(pa.table({"source_id": ids, "ew_halpha": width}), mock.truth)
        return mock


def _scored(median: np.ndarray, spread: np.ndarray, dec: float) -> pa.Table:
    """A scored table with Gaussian posteriors of H alpha, and of an idle second proxy, at one
    declination [deg]: sources of one id at two places are two."""
    n = len(median)
    quantiles = _lists(median[:, None] + spread[:, None] * NORMAL_SCORES)
    oiii = [each.field for each in posterior_columns("ew_oiii", "", "Angstrom", ())]
    halpha = [each.field for each in posterior_columns("ew_halpha", "", "Angstrom", ("ew_oiii",))]
    columns = {
        pa.field("source_id", pa.int64(), nullable=False): np.arange(n),
        described("ra", pa.float64(), "deg"): np.linspace(0, 10, n),
        described("dec", pa.float64(), "deg"): np.full(n, dec),
        pa.field("_healpix_29", pa.int64()): np.arange(n),
        described("ew_halpha", pa.float32(), "Angstrom"): median.astype(np.float32),
        described("ew_oiii", pa.float32(), "Angstrom"): median.astype(np.float32),
        oiii[0]: quantiles,
        halpha[0]: quantiles,
        halpha[1]: _lists(np.zeros((n, 1))),
    }
    return pa.table([pa.array(each) for each in columns.values()], pa.schema(list(columns)))


def _lists(matrix: np.ndarray) -> pa.FixedSizeListArray:
    flat = pa.array(matrix.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


@dataclass(frozen=True)
class Repeat:
    """Results of one repeat.

    Attributes
    ----------
    tuned, realised : int
        Targets that `tune` promised, and that the rules then gave.
    covered : dict
        For each number of the forecast, whether its interval held the truth.
    misses : dict
        For each number, forecast minus truth.
    false : float
        Share of false members under the guarantee; 0 where it was refused.
    n_guaranteed : int
    """

    tuned: int
    realised: int
    covered: dict[str, bool]
    misses: dict[str, float]
    false: float
    n_guaranteed: int


def repeat(folder: Path, seed: int, n_sources: int, n_calibration: int) -> Repeat:
    """Make a catalog and a calibration set, and hold every tool to what it says."""
    catalog = Mock.make(folder, n_sources, 2 * seed)
    known = Mock.make(folder, n_calibration, 2 * seed + 1)
    spectra = (known.scored, known.truth)
    tuned = tune(rules(0.5), "EMITTER", n_sources // 20, catalog.scored)
    chosen = chosen_by(rules(tuned.threshold), catalog)

    (said,) = forecasts(rules(0.5), catalog.scored, spectra)
    true, inside = catalog.width > LIMIT, chosen_by(rules(0.5), catalog)
    n_true = int((true & inside).sum())
    truth = {"true": n_true, "purity": n_true / inside.sum(), "completeness": n_true / true.sum()}
    expected: dict[str, Expectation] = {name: getattr(said, name) for name in truth}

    try:
        promised = chosen_by(rules(0.2, GUARANTEE), catalog, spectra)
    except RuleError:
        promised = np.zeros(n_sources, dtype=bool)
    return Repeat(
        tuned.n_members,
        int(chosen.sum()),
        {name: _holds(expected[name], truth[name]) for name in truth},
        {name: expected[name].value - truth[name] for name in truth},
        float((~true)[promised].mean()) if promised.any() else 0.0,
        int(promised.sum()),
    )


def chosen_by(rules: Rules, mock: Mock, known: tuple[Path, Path] | None = None) -> np.ndarray:
    """Whether `select` chooses each source, shape (N,)."""
    chosen = np.zeros(len(mock.width), dtype=bool)
    with scored_catalog(mock.scored, rules) as catalog:
        targets = preview(catalog, known)
    chosen[targets.table["source_id"].to_numpy()] = True
    return chosen


def _holds(expected: Expectation, truth: float) -> bool:
    assert expected.interval is not None
    low, high = expected.interval
    return low <= truth <= high


def run(n_repeats: int, n_sources: int, n_calibration: int) -> list[Repeat]:
    """All repeats, each in a folder of its own."""
    found = []
    for seed in range(n_repeats):
        with tempfile.TemporaryDirectory() as folder:
            found.append(repeat(Path(folder), seed, n_sources, n_calibration))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--sources", type=int, default=4000)
    parser.add_argument("--calibration", type=int, default=2000)
    options = parser.parse_args()
    found = run(options.repeats, options.sources, options.calibration)
    n = len(found)
    exact = sum(each.tuned == each.realised for each in found)
    print(f"tune: promised and realised counts agree in {exact} of {n}")
    good = exact == n
    # Fewer than this would come by chance once in a thousand times if intervals are right.
    least = LEVEL * n - 3.1 * np.sqrt(n * LEVEL * (1 - LEVEL))
    for name in found[0].covered:
        covered = sum(each.covered[name] for each in found)
        bias = np.mean([each.misses[name] for each in found])
        scatter = np.std([each.misses[name] for each in found])
        good &= covered >= least
        print(
            f"forecast of {name}: {LEVEL:.0%} intervals hold the truth in {covered} of {n}; "
            f"forecast minus truth {bias:+.3g}, scatter {scatter:.3g}"
        )
    false = np.array([each.false for each in found])
    error = false.std(ddof=1) / np.sqrt(n)
    good &= false.mean() <= 1 - PURITY + 2 * error
    print(
        f"guarantee of purity {PURITY}: mean share of false members {false.mean():.4f} "
        f"+- {error:.4f}, at most {1 - PURITY:.1f} wanted; mean size "
        f"{np.mean([each.n_guaranteed for each in found]):.0f} targets"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
