"""Selecting with `targetsel`, and with pandas: CPU time and peak memory, on the same file.

    python benchmarks/select_speed.py [--rows 20000000] [--runs 3] [--folder DIR]

A made-up catalog of 17 columns (galaxies' magnitudes, quality, line strengths; 3 % of the
predictions missing) is written once, as `score` would write it, and kept in DIR if one is given.
Then three target classes of 25 conditions in all are selected and their funnels counted, by
`select` and by a pandas script as one writes it, in turn, each in a process of its own. Conditions
on the catalog alone come first, as funnels count them. Prints CPU time (the whole process's) and
peak memory, medians, and their ratios. Both must select as many.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from measuring import Figure, child, peak_memory, print_figures, rounds_of, timed_once

MAGNITUDES = ("gmag", "rmag", "imag", "zmag", "w1mag")
PREDICTED = ("ew_halpha", "ew_oiii", "ew_oii", "d4000")
WHERE = {
    "ELG": (
        "ebv < 0.15",
        "snr > 5",
        "17 < rmag",
        "rmag < 22.5",
        "gmag - rmag < 0.9",
        "typicality > 0.01",
        "ew_halpha > 30",
        "ew_oiii > 8",
        "epistemic < 0.5",
    ),
    "LRG": (
        "ebv < 0.15",
        "snr > 5",
        "zmag < 18",
        "rmag - zmag > 0.8",
        "zmag - w1mag > -0.6",
        "typicality > 0.01",
        "d4000 > 1.6",
        "ew_halpha < 3",
    ),
    "POST": (
        "ebv < 0.2",
        "snr > 3",
        "dec > -30",
        "rmag < 18.5",
        "imag - zmag < 0.4",
        "d4000 < 1.7",
        "ew_halpha < 2",
        "ew_oii < 1",
    ),
}
TOTAL = 100_000  # the most that each class may hold, best first
RANK = {"ELG": "ew_halpha", "LRG": "d4000", "POST": "-ew_oii"}
CHUNK = 1 << 20


def made_up(first: int, rows: int) -> pa.Table:
    """The rows `first` and so on of the catalog."""
    from targetsel.tables.parquet import described

    rng = np.random.default_rng(first)
    n = rows
    bright = 19.5 + 1.8 * rng.standard_normal(n)
    columns = {
        "source_id": np.arange(first, first + n),
        "ra": rng.uniform(0, 360, n),
        "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
        "_healpix_29": np.sort(rng.integers(first << 35, first + n << 35, n)),
    }
    for place, name in enumerate(MAGNITUDES):
        columns[name] = bright - 0.5 * place + 0.4 * rng.standard_normal(n)
    columns["ebv"] = rng.gamma(2, 0.03, n)
    columns["snr"] = rng.lognormal(2.5, 0.8, n)
    columns["typicality"] = rng.uniform(0, 1, n)
    columns["epistemic"] = rng.gamma(3, 0.1, n)
    for name in PREDICTED:
        columns[name] = np.sinh(1 + 1.3 * rng.standard_normal(n))
    columns["d4000"] = 1.5 + 0.2 * rng.standard_normal(n)
    fields, arrays = [], []
    for name, values in columns.items():
        if name not in ("source_id", "ra", "dec", "_healpix_29"):
            values = values.astype(np.float32)
        missing = rng.random(n) < 0.03 if name in PREDICTED else None
        arrays.append(pa.array(values, mask=missing))
        fields.append(described(name, arrays[-1].type, nullable=name != "source_id"))
    return pa.table(arrays, schema=pa.schema(fields))


def write_catalog(path: Path, rows: int) -> None:
    from targetsel.tables.parquet import ParquetSink

    with ParquetSink(path, made_up(0, 1).schema) as sink:
        for first in range(0, rows, CHUNK):
            sink.write(made_up(first, min(CHUNK, rows - first)))


def rule_text() -> str:
    text = "schema: targetsel/rules/v1\nname: speed\nclasses:\n"
    for bit, (name, where) in enumerate(WHERE.items()):
        listed = "".join(f"      - {condition}\n" for condition in where)
        text += f"  {name}:\n    bit: {bit}\n    priority: {bit}\n    where:\n{listed}"
        text += f"    rank: {RANK[name]}\n    limit: {{total: {TOTAL}}}\n"
    return text


# --- the contenders ------------------------------------------------------------------------------


def by_targetsel(path: Path, output: Path) -> dict[str, list]:
    from targetsel.rules.rules import Rules
    from targetsel.selection.select import select

    rules = Rules.parse(rule_text())
    summary = select(path, rules, output, with_funnels=True)
    return {
        each.name: [each.n_passed, each.n_selected, *(row.counts for row in one.rows)]
        for each, one in zip(summary.classes, summary.funnels, strict=True)
    }


def by_pandas(path: Path, output: Path) -> dict[str, list]:
    import pandas as pd

    df = pd.read_parquet(path)
    answer: dict[str, list] = {}
    chosen = []
    for name, where in WHERE.items():
        masks = [df.eval(condition) for condition in where]
        passed = np.logical_and.reduce(masks)
        failed = sum((~mask).astype(int) for mask in masks)
        rows, so_far = [], np.ones(len(df), dtype=bool)
        for condition, mask in zip(where, masks, strict=True):
            so_far = so_far & mask
            used = [column for column in df.columns if re.search(rf"\b{column}\b", condition)]
            missing = df[used].isna().any(axis=1)
            alone = (~mask & (failed == 1)).sum()
            rows.append([int(mask.sum()), int(so_far.sum()), int(missing.sum()), int(alone)])
        members = df[passed]
        order = members.eval(RANK[name]).sort_values(ascending=False).index[:TOTAL]
        best = members.loc[order].assign(program=name)
        chosen.append(best)
        answer[name] = [int(passed.sum()), len(best), *rows]
    pd.concat(chosen).sort_values("_healpix_29").to_parquet(output)
    return answer


CONTENDERS = {"targetsel": by_targetsel, "pandas": by_pandas}


def one_run(name: str, path: Path) -> dict:
    """Select once, in this process."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        answer = CONTENDERS[name](path, Path(scratch) / "out.parquet")
    return {"answer": answer, "peak": peak_memory()}


def figures(
    folder: Path, rows: int = 20_000_000, runs: int = 3, names: Sequence[str] = tuple(CONTENDERS)
) -> dict[str, Figure]:
    """What each contender takes, whole processes in turn, and that both count the same."""
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"speed-{rows}.scored.parquet"
    if not path.exists():
        write_catalog(path, rows)
    found, answers = [], []
    for _ in range(runs):
        found.append({})
        for name in names:
            took = timed_once(lambda: answers.append(child(__file__, "--one", name, path)), rows)  # noqa: B023
            found[-1][f"{name}, {rows:,} rows"] = took
            found[-1][f"{name}, peak memory"] = Figure((answers[-1]["peak"],), "MiB", "memory")
    figures = rounds_of(found)
    if len(names) > 1:
        same = all(each["answer"] == answers[0]["answer"] for each in answers)
        figures["the counts, funnels included, are the same"] = Figure.of(
            same, "accuracy", "(1 if so)", higher=True
        )
        for what in (f"{rows:,} rows", "peak memory"):
            theirs, ours = (figures[f"{name}, {what}"].value for name in ("pandas", "targetsel"))
            figures[f"pandas of targetsel, {what}"] = Figure.of(
                theirs / ours, "time", "times", higher=True
            )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keeps the catalog for the next time")
    parser.add_argument("--only", choices=CONTENDERS, help="one contender, for its memory")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_run(arguments.one[0], Path(arguments.one[1]))))
        return
    names = [arguments.only] if arguments.only else list(CONTENDERS)
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(f"{arguments.rows:,} rows, {sum(map(len, WHERE.values()))} conditions, "
              f"{arguments.runs} runs")  # fmt: skip
        print_figures(figures(folder, arguments.rows, arguments.runs, names))


if __name__ == "__main__":
    main()
