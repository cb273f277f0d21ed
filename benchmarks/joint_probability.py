"""Joint probabilities of rules: speed, beside a Monte Carlo of 64 stored draws, and accuracy.

    python benchmarks/joint_probability.py [--rows 1000000] [--sources 10000] [--draws 100000]
        [--runs 5] [--scored catalog.scored.parquet]

The sources are made up: skewed line strengths (Gaussian in asinh) of which few are strong, every
source with its own spread and correlations. With --scored they are rows of a scored file, drawn
again and again and scaled at random, so that no two are the same; speed is then that of the file's
copula. Exactness is that of Gaussian copulas.

Speed: `P(ew_halpha > 50 Angstrom and ew_oiii > 10 Angstrom) >= 0.8` over all rows, by the engine
and by the share of 64 draws per source, in turn; CPU nanoseconds per row, medians, without and with
the reading of the Parquet file. `wrong` counts the rows that the draws decide otherwise, as a
fraction of those selected. Exactness: probabilities against many draws of the stored posterior; of
10,000 sources the largest difference is then some four standard deviations of the draws themselves,
0.006 for 100,000 of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Figure, print_figures, timed
from scipy.special import ndtri

from targetsel.rules import formula as f
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.scored.columns import posterior_columns
from targetsel.selection.evaluation import holds, probability
from targetsel.selection.sources import DrawnSources, Sources
from targetsel.spectra.copula import GROUP
from targetsel.spectra.lines import PROXIES, UNITS
from targetsel.spectra.proxies import NORMAL_SCORES, ProxyPosterior
from targetsel.tables.columns import list_column
from targetsel.tables.parquet import ParquetSink

RULE = "P(ew_halpha > 50 Angstrom and ew_oiii > 10 Angstrom) >= 0.8"
RATIO = "P(ew_nii / ew_halpha > 0.5 and ew_halpha > 3 Angstrom) >= 0.8"
FEW = 64
CONDITIONS = (
    "ew_halpha > 20 Angstrom",
    "ew_halpha > 20 Angstrom and ew_oiii > 5 Angstrom",
    "ew_halpha > 20 Angstrom or ew_oii > 10 Angstrom",
    "not (ew_halpha > 20 Angstrom and ew_oiii > 5 Angstrom)",
    "5 Angstrom < ew_halpha < 30 Angstrom and d4000 between 1.2 and 1.6",
    "ew_nii / ew_halpha > 0.5",
    "ew_nii / ew_halpha > 0.5 and ew_halpha > 3 Angstrom",
    "log10(ew_oiii / ew_hbeta) > 0.3 or d4000 > 1.7",
    "d4000 < 1.6 and hdelta_a > 2 Angstrom and ew_oii > 5 Angstrom",
    "d4000 > 1.6 or hdelta_a > 4 Angstrom or ew_oii > 20 Angstrom",
    "(ew_oii > 5 Angstrom or ew_oiii > 5 Angstrom) and not d4000 > 1.5",
)


def made_up(n: int, rng: np.random.Generator) -> ProxyPosterior:
    """Sources whose line strengths are Gaussian in asinh, as galaxies' are, roughly."""
    k = len(PROXIES)
    middle, scatter = np.full(k, 1.5), np.full(k, 1.5)
    middle[PROXIES.index("d4000")], scatter[PROXIES.index("d4000")] = 1.5, 0.2
    centre = middle + scatter * (0.6 * rng.normal(size=(n, 1)) + 0.8 * rng.normal(size=(n, k)))
    width = rng.uniform(0.1, 0.6, (n, k)) * scatter
    values = centre[:, :, None] + width[:, :, None] * NORMAL_SCORES
    quantiles = np.where(
        np.array([UNITS[name] for name in PROXIES])[:, None] == "", values, np.sinh(values)
    )
    loadings = rng.normal(size=(n, k, 3))
    covariance = loadings @ loadings.transpose(0, 2, 1) + np.eye(k) * rng.uniform(0.2, 2, (n, 1, 1))
    spread = np.sqrt(np.einsum("nii->ni", covariance))
    correlation = covariance / (spread[:, :, None] * spread[:, None, :])
    return ProxyPosterior(
        PROXIES,
        {name: quantiles[:, i].astype(np.float32) for i, name in enumerate(PROXIES)},
        {(PROXIES[i], PROXIES[j]): correlation[:, i, j] for j in range(k) for i in range(j)},
    )


def drawn_again(path: Path, n: int, rng: np.random.Generator) -> ProxyPosterior:
    """Sources of a scored file, each with all its line strengths scaled by a random factor."""
    posterior = Sources(pq.read_table(path)).posterior
    finite = [np.isfinite(posterior.knots(name)).all(axis=1) for name in PROXIES]
    again = posterior.take(rng.choice(np.flatnonzero(np.logical_and.reduce(finite)), n))
    factor = np.exp(0.3 * rng.normal(size=(n, 1)))
    scaled = {
        name: knots * factor if UNITS[name] else knots for name, knots in again.quantiles.items()
    }
    return replace(again, quantiles=scaled)


def scored_table(posterior: ProxyPosterior) -> pa.Table:
    """The columns of a scored file that P looks at."""
    columns = {pa.field("source_id", pa.int64()): pa.array(np.arange(len(posterior)))}
    for k, name in enumerate(PROXIES):
        knots = posterior.knots(name)
        median = pa.field(name, pa.float32(), metadata={"unit": UNITS[name]})
        columns[median] = pa.array(knots[:, 5].astype(np.float32))
        matrices = [knots]
        if k:
            pairs = [posterior.correlation[other, name] for other in PROXIES[:k]]
            matrices.append(np.stack(pairs, axis=1))
        declared = posterior_columns(name, "", UNITS[name], PROXIES[:k])
        for column, matrix in zip(declared, matrices, strict=True):
            columns[column.field] = list_column(matrix)
    if posterior.copula is not None and posterior.group is not None:
        field = posterior.copula.noted(pa.field(GROUP, pa.int8()))
        columns[field] = pa.array(posterior.group().astype(np.int8))
    return pa.table(list(columns.values()), schema=pa.schema(list(columns)))


def many_draws(posterior: ProxyPosterior, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Pseudo-random draws of one source's proxies, shape (K, S)."""
    k = len(posterior.names)
    matrix = np.eye(k)
    for (one, two), rho in posterior.correlation.items():
        i, j = posterior.names.index(one), posterior.names.index(two)
        matrix[i, j] = matrix[j, i] = rho[0]
    size, axes = np.linalg.eigh(matrix)  # exact also where the matrix is all but singular
    scores = (axes * np.sqrt(np.maximum(size, 0))) @ rng.standard_normal((k, n_draws))
    step = NORMAL_SCORES[1] - NORMAL_SCORES[0]
    place = (scores - NORMAL_SCORES[0]) / step
    cell = np.clip(np.floor(place), 0, len(NORMAL_SCORES) - 2).astype(int)
    knots = np.stack([posterior.knots(name)[0] for name in posterior.names]).astype(float)
    rows = np.arange(k)[:, None]
    return knots[rows, cell] + (place - cell) * (knots[rows, cell + 1] - knots[rows, cell])


def exactness(posterior: ProxyPosterior, n_draws: int, rng: np.random.Generator) -> None:
    table = scored_table(posterior)
    reader = Binder(CatalogColumns(table.schema))
    conditions = [reader.condition(parse(text)) for text in CONDITIONS]
    direct = np.empty((len(conditions), len(posterior)))
    stored = Sources(table).posterior  # float32, as in the file
    for n in range(len(posterior)):
        draws = many_draws(stored.take(slice(n, n + 1)), n_draws, rng)
        named = {name: row[None] for name, row in zip(PROXIES, draws, strict=True)}
        drawn = DrawnSources(Sources(table.slice(n, 1)), named)
        direct[:, n] = [holds(condition, drawn).mean() for condition in conditions]
    print(f"\n{len(posterior):,} sources, {n_draws:,} draws each; differences of P")
    print(f"{'mean':>8} {'99 %':>8} {'largest':>8} {'us/source':>10}  condition")
    for text, condition, share in zip(CONDITIONS, conditions, direct, strict=True):
        start = time.process_time()
        found = probability(condition, Sources(table))
        cost = (time.process_time() - start) / len(posterior) * 1e6
        off = np.abs(found - share)
        print(
            f"{off.mean():8.4f} {np.quantile(off, 0.99):8.4f} {off.max():8.4f} {cost:10.2f}  {text}"
        )


def by_engine(rule: f.Formula, table: pa.Table, rows: int = 8192) -> np.ndarray:
    """The decision for each row, block by block as `select` does it."""
    blocks = [table.slice(start, rows) for start in range(0, table.num_rows, rows)]
    return np.concatenate([holds(rule, Sources(block)) for block in blocks])


def by_engine_from(path: Path, rule: f.Formula, columns: list[str]) -> np.ndarray:
    """The same with reading, one row group after the other."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        groups = range(file.num_row_groups)
        tables = (file.read_row_group(group, columns, use_threads=False) for group in groups)
        return np.concatenate([by_engine(rule, table) for table in tables])


def by_few_draws(table: pa.Table) -> np.ndarray:
    """The same by counting stored draws."""
    halpha, oiii = (
        table[name].combine_chunks().flatten().to_numpy().reshape(-1, FEW)
        for name in ("halpha_draws", "oiii_draws")
    )
    return ((halpha > 50) & (oiii > 10)).mean(axis=1) >= 0.8


def few_draws(posterior: ProxyPosterior, rng: np.random.Generator) -> pa.Table:
    """FEW stored draws of two proxies for each source, as float32."""
    rho = posterior.correlation["ew_oiii", "ew_halpha"][:, None]
    columns = {
        name: np.empty((len(posterior), FEW), np.float32) for name in ("halpha_draws", "oiii_draws")
    }
    for start in range(0, len(posterior), 65536):
        rows = slice(start, start + 65536)
        part = posterior.take(rows)
        first, second = ndtri(rng.random((2, len(part), FEW)))
        second = rho[rows] * first + np.sqrt(1 - rho[rows] ** 2) * second
        columns["halpha_draws"][rows] = part.value("ew_halpha", first)
        columns["oiii_draws"][rows] = part.value("ew_oiii", second)
    lists = [
        pa.FixedSizeListArray.from_arrays(pa.array(each.ravel()), FEW) for each in columns.values()
    ]
    return pa.table(lists, names=list(columns))


def figures(
    folder: Path | None = None, rows: int = 1_000_000, runs: int = 5, scored: Path | None = None
) -> dict[str, Figure]:
    """What the engine and few draws take for a decision of every row, and how often these err."""
    rng = np.random.default_rng(7)
    posterior = drawn_again(scored, rows, rng) if scored else made_up(rows, rng)
    table, draws = scored_table(posterior), few_draws(posterior, rng)
    reader = Binder(CatalogColumns(table.schema))
    rule, ratio = reader.condition(parse(RULE)), reader.condition(parse(RATIO))
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch) / "scored.parquet", Path(scratch) / "draws.parquet"
        for path, each in zip(files, (table, draws), strict=True):
            with ParquetSink(path, each.schema) as sink:
                sink.write(each)
        columns = ["ew_oiii_quantiles", "ew_halpha_quantiles", "ew_halpha_correlation"]
        if GROUP in table.column_names:  # samples of all proxies before them are drawn, too
            columns += ["ew_hbeta_correlation", "ew_oiii_correlation", GROUP]

        contenders: dict[str, Callable[[], np.ndarray]] = {
            "engine": lambda: by_engine(rule, table),
            f"engine, {RATIO}": lambda: by_engine(ratio, table),
            f"{FEW} draws": lambda: by_few_draws(draws),
            "engine, with reading": lambda: by_engine_from(files[0], rule, columns),
            f"{FEW} draws, with reading": lambda: by_few_draws(
                pq.read_table(files[1], use_threads=False)
            ),
        }
        times = timed(contenders, runs, per=rows)
    ours, theirs = by_engine(rule, table), by_few_draws(draws)
    wrong = (ours != theirs).sum() / max(ours.sum(), 1)
    about = f"of the {ours.sum():,} selected"
    return times | {f"wrong by {FEW} draws": Figure.of(wrong, "rounding", about)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scored", type=Path)
    arguments = parser.parse_args()
    if arguments.rows:
        print(f"{RULE}\n{arguments.rows:,} rows, {arguments.runs} runs")
        print_figures(figures(None, arguments.rows, arguments.runs, arguments.scored))
    if arguments.sources:
        rng, n = np.random.default_rng(7), arguments.sources
        posterior = drawn_again(arguments.scored, n, rng) if arguments.scored else made_up(n, rng)
        gaussian = replace(posterior, copula=None, group=None)
        exactness(gaussian, arguments.draws, rng)


if __name__ == "__main__":
    main()
