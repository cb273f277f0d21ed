"""Rules on redshift and an observed line at once, beside brute-force integration.

    python benchmarks/redshift_rules.py SCORED [--n 1000]

SCORED is a catalog that an ensemble with redshifts has scored; the first N sources that have a
prediction are taken, as if DESI observed Halpha of a galaxy with a half-light radius of 2 arcsec.
Printed are differences between the probability of a condition, as rules have it from the columns
of `observe`, and the integral over the posterior as it is stored: with the normal copula the share
of a grid of 2,048 redshifts times 128 widths, all equally probable, and with the copula of a
calibration that of its samples. Each point has the signal-to-noise ratio, range and sky lines that
the spectrograph has there, calculated from the catalog.

Then the cost: CPU time for each source, of probabilities of all sources and of the decision whether
they are 0.8 or more, which bounds settle for most.

Then redshifts are replaced: by PDFs of one and of two peaks, whose P(LOW < photoz < HIGH) is told
beside their own integral; a scored file keeps 101 quantiles of each, and eleven of a prediction.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import ndtr, ndtri

from targetsel.observing.observation import Observation, write_observed
from targetsel.redshifts.distributions import of_mixtures
from targetsel.redshifts.joint import FINELY, STORED
from targetsel.rules import formula as f
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.selection.evaluation import holds, probability
from targetsel.selection.sources import Sources
from targetsel.spectra.copula import GROUP
from targetsel.spectra.proxies import ProxyPosterior
from targetsel.spectrographs.lines import ObservedLine

LINE, WIDTH = "halpha", "ew_halpha"
WINDOWS = ((0.1, 0.3), (0.1, 0.15), (0.3, 0.5))
RATIOS = (3.0, 7.0, 20.0)
REDSHIFTS, WIDTHS = 2048, 128  # of the grid
LIMIT = 0.8
Drawn = dict[str, np.ndarray]


def conditions() -> dict[str, Callable[[Drawn], np.ndarray]]:
    """Whether draws obey each condition, by its text."""

    def windowed(low: float, high: float, least: float) -> Callable[[Drawn], np.ndarray]:
        return lambda d: (d["photoz"] > low) & (d["photoz"] < high) & (d["snr"] > least)

    found = {
        f"{low:g} < photoz < {high:g} and snr_{LINE} > {least:g}": windowed(low, high, least)
        for low, high in WINDOWS
        for least in RATIOS
    }
    return found | {
        "snr_halpha > 7": lambda d: d["snr"] > 7,
        "in_range_halpha == 1 and ew_halpha > 10": lambda d: (d["in_range"] == 1) & (d[WIDTH] > 10),
        "clear_of_sky_halpha == 1 and snr_halpha > 7": lambda d: (d["clear"] == 1) & (d["snr"] > 7),
        "photoz < 0.3 and clear_of_sky_halpha == 1 and ew_halpha > 10": lambda d: (
            (d["photoz"] < 0.3) & (d["clear"] == 1) & (d[WIDTH] > 10)
        ),
        "7000 < wavelength_halpha < 8000 and snr_halpha > 7": lambda d: (
            (d["wavelength"] > 7000) & (d["wavelength"] < 8000) & (d["snr"] > 7)
        ),
    }


def bound(table: pa.Table, text: str) -> tuple[f.Formula, f.Formula]:
    """A condition as it is meant within P, and the rule that P of it is `LIMIT` or more."""
    rule = Binder(CatalogColumns(table.schema)).condition(parse(f"P({text}) >= {LIMIT}"))
    assert isinstance(rule, f.Compare)
    assert isinstance(rule.left, f.Probability)
    return rule.left.condition, rule


def by_rules(table: pa.Table, text: str) -> np.ndarray:
    """The probability of a condition for each source, as `select` has it, shape (N,)."""
    return probability(bound(table, text)[0], Sources(table))


def drawn(posterior: ProxyPosterior) -> tuple[np.ndarray, np.ndarray]:
    """Redshift and width of equally probable points, each of shape (N, S)."""
    if posterior.copula is not None:
        found = posterior.draw(("photoz", WIDTH))
        return found["photoz"], found[WIDTH]
    of_redshift, rest = (
        ndtri((np.arange(n) + 0.5) / n).repeat(repeats)
        for n, repeats in ((REDSHIFTS, WIDTHS), (WIDTHS, 1))
    )
    rest = np.tile(rest, REDSHIFTS)
    rho = posterior._between("photoz", WIDTH)[:, None]
    width = posterior.value(WIDTH, rho * of_redshift + np.sqrt(1 - rho**2) * rest)
    return posterior.value("photoz", np.tile(of_redshift, (len(width), 1))), width


def by_integral(table: pa.Table, observation: Observation, copula: bool) -> dict[str, np.ndarray]:
    """The share of points that obey each condition, by its text."""
    found: dict[str, list[np.ndarray]] = {text: [] for text in conditions()}
    (line,) = observation.lines
    spectrograph = observation.exposure.spectrograph
    rows = 64 if copula else 1
    for start in range(0, table.num_rows, rows):
        piece = table.slice(start, rows).combine_chunks()
        posterior = Sources(piece).posterior
        if not copula:
            posterior = replace(posterior, copula=None, group=None)
        redshift, width = drawn(posterior)
        redshift = np.clip(redshift, 0.0, 10.0)
        flux = observation.magnitudes.flux(piece)
        at = line.wavelength * (1 + redshift)
        continuum = observation.magnitudes.continuum(flux, at, np.zeros(piece.num_rows))
        seen = ObservedLine(line, redshift, continuum * observation._share(piece)[:, None])
        snr = seen.quantities(width, observation.exposure)["snr"]
        points = {
            "photoz": redshift,
            "wavelength": at,
            WIDTH: width,
            "snr": snr,
            "in_range": seen.in_range(spectrograph),
            "clear": seen.clear_of_sky(spectrograph),
        }
        known = np.isfinite(snr).all(axis=1)
        for text, obeys in conditions().items():
            found[text].append(np.where(known, obeys(points).mean(axis=1), np.nan))
    return {text: np.concatenate(each) for text, each in found.items()}


def show(title: str, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """Print how far probabilities are apart."""
    print(f"\n{title}")
    print(f"{'condition':62}{'mean':>9}{'90 %':>9}{'99 %':>9}{'largest':>9}{'sources':>9}")
    for text in ours:
        away = np.abs(ours[text] - theirs[text])
        away = away[np.isfinite(away)]
        marks = (away.mean(), *np.quantile(away, (0.9, 0.99)), away.max())
        print(f"{text:62}" + "".join(f"{each:9.4f}" for each in marks) + f"{len(away):9,}")


def show_cost(table: pa.Table) -> None:
    """Print the CPU time of probabilities, and of decisions, for each source."""
    print(f"\n{'CPU time for each source [us]':62}{'P':>9}{f'P >= {LIMIT:g}':>9}")
    for text in conditions():
        condition, rule = bound(table, text)
        probability(condition, Sources(table.slice(0, 8)))  # quasi-random points are kept
        spent = []
        for find, formula in ((probability, condition), (holds, rule)):
            start = time.process_time()
            find(formula, Sources(table))
            spent.append((time.process_time() - start) / table.num_rows * 1e6)
        print(f"{text:62}" + "".join(f"{each:9.1f}" for each in spent))


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
    given = parser.parse_args()
    table = pq.read_table(given.scored)
    table = table.filter(pa.compute.equal(table["status"], "ok")).slice(0, given.n)
    with tempfile.TemporaryDirectory() as scratch:
        path, output = Path(scratch) / "scored.parquet", Path(scratch) / "observed.parquet"
        pq.write_table(table, path)
        wanted = Observation.of(path, "2arcsec", lines=[LINE], redshift="photoz")
        write_observed(path, wanted, output)
        observed = pq.read_table(output)
    plain = observed.replace_schema_metadata(None)  # which says that there is a calibration
    plain = plain.drop_columns([GROUP]) if GROUP in plain.column_names else plain
    for title, rows, copula in (
        ("normal copula", plain, False),
        ("copula of the calibration, its samples", observed, True),
    ):
        if copula and GROUP not in observed.column_names:
            continue
        ours = {text: by_rules(rows, text) for text in conditions()}
        show(title, ours, by_integral(rows, wanted, copula))
        show_cost(rows)
    of_pdfs()


if __name__ == "__main__":
    main()
