"""How many spectra it takes to learn a class, chosen by information or at random: SIMULATED.

    python benchmarks/choosing.py --work FOLDER [--ensemble mock-ps1] [--sources 3500] [--draws 100]

Skies of held-out galaxies differ from those that the shipped ensemble was calibrated on; they are
those of relearn.py, made and scored in the work folder where they are not there. The class is
EW(Halpha) > 20 A. Sources lie in 30 cells of their latents (`targetsel cells`). At the start 300
spectra are known, at random among the third of the sources that is brightest. More are chosen

random        at random among all others
information   by `rank: information()`, cells taking turns
of the class  by `rank: information(P(ew_halpha > 20 Angstrom))`

and what they show is learnt cell by cell: in each the log odds of the predicted probabilities are
shifted, by a Gaussian prior of standard deviation 2 and the likelihood of the spectra. Printed are
errors of the class, over the sources without a spectrum: of its share in the sky, and of its share
in the cells (root mean square over cells, each weighted by its sources), both root mean squares
over draws; and with how many spectra a choice has the error that 500 at random have.

The error that counts is the first, which `information` is about. The number of cells and the prior
were settled before any of these skies was looked at, on one more ('unlinked': lines that are not
linked to shapes), as those with which spectra at random learnt most of the cells there.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from relearn import LEAST, LINE, SKIES, ScoredSky
from skies import HEADING

import targetsel as ts
from targetsel.feature_cells.columns import information
from targetsel.selection.limits import MEMBER, by_turns
from targetsel.spectra.proxies import ProxyPosterior

CELLS, KNOWN, BRIGHT, MOST = 30, 300, 1 / 3, 500
PRIOR = 2.0  # standard deviation of a shift of log odds
STEP = 10  # spectra between two looks at the errors
CHOICES = ("random", "information", "of the class")


@dataclass(frozen=True)
class Learner:
    """N sources of a sky with their cells, and what is predicted and true of the class."""

    sky: ScoredSky

    @classmethod
    def of(cls, sky: ScoredSky) -> Learner:
        """That of the sources whose line is predicted and measured."""
        whole = np.isfinite(sky.true[LINE] + sky.knots[LINE].sum(axis=1))
        some = replace(sky)
        some.__dict__["table"] = sky.table.filter(pa.array(whole))
        return cls(some)

    @cached_property
    def cell(self) -> np.ndarray:
        return np.asarray(ts.cells(self.sky.table, cells=CELLS)["cell"]).astype(int)

    @cached_property
    def sources(self) -> np.ndarray:
        return np.bincount(self.cell)

    @cached_property
    def predicted(self) -> np.ndarray:
        posterior = ProxyPosterior((LINE,), {LINE: self.sky.knots[LINE]}, {})
        return np.clip(1 - posterior.probability_below(LINE, LEAST), 0.002, 0.998)

    @cached_property
    def true(self) -> np.ndarray:
        return self.sky.true[LINE] > LEAST

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """The sources that have spectra at the start, by their rows."""
        bright = np.flatnonzero(self.sky.magnitude < np.quantile(self.sky.magnitude, BRIGHT))
        return rng.choice(bright, KNOWN, replace=False)

    def order(self, choice: str, known: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The other sources by their rows, in the order in which a choice takes them."""
        others = np.setdiff1d(np.arange(len(self.cell)), known)
        if choice == "random":
            return rng.permutation(others)
        spectra = np.bincount(self.cell[known], minlength=len(self.sources))
        members = np.zeros(len(others), MEMBER)
        cell = self.cell[others]
        rank = information(self.sources[cell], spectra[cell], len(self.cell))
        if choice == "of the class":
            rank = rank * self.predicted[others] * (1 - self.predicted[others])
        members["row"], members["cell"], members["known"] = others, cell, spectra[cell]
        members["rank"], members["tie_break"] = rank, rng.random(len(others))
        best = members[np.lexsort((-members["tie_break"], -members["rank"]))]
        return by_turns(best)["row"]

    def learnt(self, observed: np.ndarray) -> np.ndarray:
        """The probability of the class after these spectra, shape (N,)."""
        n, odds = len(self.sources), np.log(self.predicted / (1 - self.predicted))
        shift, cell = np.zeros(n), self.cell[observed]
        found = np.bincount(cell, self.true[observed], minlength=n)
        for _ in range(12):
            p = 1 / (1 + np.exp(-(odds[observed] + shift[cell])))
            slope = found - np.bincount(cell, p, minlength=n) - shift / PRIOR**2
            curve = np.bincount(cell, p * (1 - p), minlength=n) + 1 / PRIOR**2
            shift += np.clip(slope / curve, -1, 1)
        return 1 / (1 + np.exp(-(odds + shift[self.cell])))

    def errors(self, observed: np.ndarray) -> tuple[float, float]:
        """Squared errors of the shares in sky and cells, of sources without a spectrum."""
        rest = np.setdiff1d(np.arange(len(self.cell)), observed)
        wrong = (self.learnt(observed) - self.true)[rest]
        sources = np.bincount(self.cell[rest], minlength=len(self.sources))
        of_cells = np.bincount(self.cell[rest], wrong, minlength=len(self.sources))
        some = sources > 0
        of_each = (of_cells[some] / sources[some]) ** 2
        return wrong.mean() ** 2, float(sources[some] @ of_each / sources.sum())


def curves(learner: Learner, draws: int) -> dict[str, np.ndarray]:
    """Errors of each choice, shape (2, L): of the shares in sky and cells, each `STEP`."""
    looks = range(0, MOST + 1, STEP)
    total = {choice: np.zeros((2, len(looks))) for choice in CHOICES}
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        known = learner.start(rng)
        for choice in CHOICES:
            order = learner.order(choice, known, rng)
            for place, n in enumerate(looks):
                observed = np.concatenate([known, order[:n]])
                total[choice][:, place] += learner.errors(observed)
    return {choice: np.sqrt(each / draws) for choice, each in total.items()}


def needed(curve: np.ndarray, error: float) -> int | None:
    """The spectra from which on a curve stays at an error or below it."""
    above = np.flatnonzero(curve > error)
    last = int(above[-1]) if len(above) else -1
    return None if last + 1 >= len(curve) else (last + 1) * STEP


def report(name: str, learner: Learner, draws: int) -> None:
    """Print the figures of one sky."""
    found = curves(learner, draws)
    share, mean = learner.true.mean(), learner.predicted.mean()
    print(f"\n{name}: {share:.1%} of the sources are of the class, {mean:.1%} were predicted")
    for k, what in enumerate(("share in the sky", "share in the cells")):
        goal = found["random"][k, -1]
        print(f"  error of the {what}: {found['random'][k, 0]:.4f} at the start")
        for choice in CHOICES:
            curve = found[choice][k]
            n = needed(curve, goal)
            enough = f"more than {MOST}" if n is None else f"{n} ({n / MOST:.0%})"
            at = "".join(f"{curve[n // STEP]:9.4f}" for n in (100, 200, 300, 500))
            print(f"    {choice:14}{at}   as random with {MOST}: {enough}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--sources", type=int, default=3500)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--skies", nargs="+", default=[*SKIES])
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    print(f"{HEADING} | {given.sources:,} sources each, {given.draws} draws, {KNOWN} spectra known")
    print("errors with 100, 200, 300 and 500 spectra more; spectra for the error of 500 at random")
    for name in given.skies:
        learner = Learner.of(ScoredSky.made(given.work, name, given.sources, given.ensemble))
        report(name, learner, given.draws)


if __name__ == "__main__":
    main()
