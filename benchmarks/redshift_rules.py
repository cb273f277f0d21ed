"""Rules on redshift and signal-to-noise ratio at once, beside draws of the joint posterior.

    python benchmarks/redshift_rules.py SCORED [--n 1000] [--draws 100000]

SCORED is a catalog that an ensemble with redshifts has scored; the first N sources that have a
prediction are taken, as if DESI observed Halpha of a galaxy with a half-light radius of 2 arcsec.
Printed are differences between the probability of a condition, as rules have it from the columns
of `observe`, and the share of draws that obey it. A draw has a redshift and a width, of the
posterior as it is stored, and the signal-to-noise ratio that follows from them. With the normal
copula the draws are as many as asked for; with the copula of a calibration they are its samples.

Then redshifts are replaced: by PDFs of one and of two peaks, whose P(LOW < photoz < HIGH) is told
beside their own integral; a scored file keeps 101 quantiles of each, and eleven of a prediction.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import ndtr

from targetsel.observing.observation import Observation, write_observed
from targetsel.redshifts.distributions import of_mixtures
from targetsel.redshifts.joint import FINELY, STORED
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.selection.evaluation import probability
from targetsel.selection.sources import Sources
from targetsel.spectra.copula import GROUP
from targetsel.spectra.proxies import ProxyPosterior
from targetsel.spectrographs.lines import ObservedLine

LINE, WIDTH = "halpha", "ew_halpha"
WINDOWS = ((0.1, 0.3), (0.1, 0.15), (0.3, 0.5))
RATIOS = (3.0, 7.0, 20.0)
ROWS = 20  # sources of draws at a time


def by_rules(table: pa.Table, text: str) -> np.ndarray:
    """The probability of a condition for each source, as `select` has it, shape (N,)."""
    bound = Binder(CatalogColumns(table.schema)).condition(parse(text))
    return probability(bound, Sources(table))


def drawn(
    posterior: ProxyPosterior, n_draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Redshift and width of draws, each of shape (N, S)."""
    if posterior.copula is not None:
        found = posterior.draw(("photoz", WIDTH))
        return found["photoz"], found[WIDTH]
    factor, _ = posterior.factor(("photoz", WIDTH), len(posterior))
    first, second = rng.standard_normal((2, len(posterior), n_draws))
    other = factor[:, 1, 0, None] * first + factor[:, 1, 1, None] * second
    return posterior.value("photoz", first), posterior.value(WIDTH, other)


def by_draws(
    table: pa.Table, observation: Observation, copula: bool, n_draws: int
) -> dict[str, np.ndarray]:
    """The share of draws that obey each condition, by its text."""
    rng = np.random.default_rng(20261130)
    found: dict[str, list[np.ndarray]] = {text: [] for text in conditions()}
    (line,) = observation.lines
    for start in range(0, table.num_rows, ROWS):
        piece = table.slice(start, ROWS).combine_chunks()
        posterior = Sources(piece).posterior
        if not copula:
            posterior = replace(posterior, copula=None, group=None)
        redshift, width = drawn(posterior, n_draws, rng)
        redshift = np.clip(redshift, 0.0, 10.0)
        flux = observation.magnitudes.flux(piece)
        at = line.wavelength * (1 + redshift)
        continuum = observation.magnitudes.continuum(flux, at, np.zeros(piece.num_rows))
        seen = ObservedLine(line, redshift, continuum * observation._share(piece)[:, None])
        snr = seen.quantities(width, observation.exposure)["snr"]
        for text, (low, high, least) in conditions().items():
            obeys = (redshift > low) & (redshift < high) & (snr > least)
            found[text].append(np.where(np.isfinite(snr).all(axis=1), obeys.mean(axis=1), np.nan))
    return {text: np.concatenate(each) for text, each in found.items()}


def conditions() -> dict[str, tuple[float, float, float]]:
    return {
        f"{low:g} < photoz < {high:g} and snr_{LINE} > {least:g}": (low, high, least)
        for low, high in WINDOWS
        for least in RATIOS
    }


def show(title: str, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """Print how far probabilities are apart."""
    print(f"\n{title}")
    print(f"{'condition':46}{'mean':>9}{'90 %':>9}{'99 %':>9}{'largest':>9}{'sources':>9}")
    for text in ours:
        away = np.abs(ours[text] - theirs[text])
        away = away[np.isfinite(away)]
        marks = (away.mean(), *np.quantile(away, (0.9, 0.99)), away.max())
        print(f"{text:46}" + "".join(f"{each:9.4f}" for each in marks) + f"{len(away):9,}")


def of_pdfs() -> None:
    """Print P of windows from the quantiles that a file keeps, beside the PDF's own."""
    n = 1000
    print(f"\nP(LOW < photoz < HIGH) of {n:,} PDFs, from quantiles and from the PDF itself")
    print(f"{'PDF':46}{'mean':>9}{'90 %':>9}{'99 %':>9}{'largest':>9}")
    peaks = (("one peak", 1.0, 0.0), ("two peaks", 0.7, 0.3))
    for (name, share, apart), places in product(peaks, (STORED, FINELY)):
        rng = np.random.default_rng(1)
        mean = np.stack([rng.uniform(0.1, 0.4, n), np.zeros(n)], axis=1)
        mean[:, 1] = mean[:, 0] + apart
        std = rng.uniform(0.01, 0.04, (n, 2)) * (1 + mean)
        weight = np.tile([share, 1 - share], (n, 1))
        quantiles = of_mixtures(weight, mean, std, np.arange(n))
        kept = {"photoz": quantiles[:, places].astype(np.float32)}
        posterior = ProxyPosterior(("photoz",), kept, {})
        away = []
        for low, high in WINDOWS:
            sides = [posterior.probability_below("photoz", each) for each in (high, low)]
            true = [(weight * ndtr((each - mean) / std)).sum(axis=1) for each in (high, low)]
            away.append(np.abs(sides[0] - sides[1] - true[0] + true[1]))
        away = np.concatenate(away)
        marks = (away.mean(), *np.quantile(away, (0.9, 0.99)), away.max())
        label = f"{name}, {len(places)} quantiles"
        print(f"{label:46}" + "".join(f"{each:9.4f}" for each in marks))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scored", type=Path)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=100_000)
    given = parser.parse_args()
    table = pq.read_table(given.scored)
    table = table.filter(pa.compute.equal(table["status"], "ok")).slice(0, given.n)
    with tempfile.TemporaryDirectory() as scratch:
        path, output = Path(scratch) / "scored.parquet", Path(scratch) / "observed.parquet"
        pq.write_table(table, path)
        wanted = Observation.of(path, "2arcsec", lines=[LINE], redshift="photoz")
        write_observed(path, wanted, output)
        observed = pq.read_table(output)
    plain = observed.drop_columns([GROUP]) if GROUP in observed.column_names else observed
    for title, rows, copula, n in (
        (f"normal copula, {given.draws:,} draws", plain, False, given.draws),
        ("copula of the calibration, its samples", observed, True, 0),
    ):
        if copula and GROUP not in observed.column_names:
            continue
        ours = {text: by_rules(rows, text) for text in conditions()}
        show(title, ours, by_draws(rows, wanted, copula, n))
    of_pdfs()


if __name__ == "__main__":
    main()
