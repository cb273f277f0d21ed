"""CPU time of `targetsel score --rules`, beside that of scoring all sources, and the lists of both.

    python benchmarks/score_with_rules.py [--folder demo] [--copies 1 4] [--runs 1]

Catalogs are the demonstration's (made first, where FOLDER has none), so many times over. A tenth of
their rows pass the cut of the rules on a magnitude; the rules ask P() of those. Prints CPU seconds
of whole processes on one thread, run in turn (medians of the runs), and whether `select` makes
the same bytes of both. Two sizes tell start-up from the cost of a row; growth.py measures 1e5 rows.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from measuring import Figure, command, demonstration, over, print_figures, rounds_of, timed_once
from score import enlarge

SHARE = 0.1


def rules_of_a_share(folder: Path, share: float = SHARE) -> Path:
    """A rule file whose cut a share of the folder's catalog passes."""
    rmag = pq.read_table(folder / "catalog.parquet", columns=["rmag"])["rmag"].to_numpy()
    path = folder / f"bright-{share}.yaml"
    path.write_text(
        "schema: targetsel/rules/v1\nname: bright\nclasses:\n  LINE:\n    priority: 1\n    where:\n"
        f"      - rmag < {np.quantile(rmag, share):.4f} mag\n"
        "      - P(ew_halpha > 5 Angstrom) >= 0.5\n    rank: P(ew_halpha > 5 Angstrom)\n"
    )
    return path


def compared(folder: Path, runs: int) -> dict[str, Figure]:
    """CPU time of scoring all and of scoring for rules, and whether the lists agree."""
    rules = rules_of_a_share(folder)
    rows = pq.read_metadata(folder / "catalog.parquet").num_rows
    ways = {f"{rows:,} rows, all": (), f"{rows:,} rows, for rules": ("--rules", rules)}
    outputs = {name: folder / f"{k}.scored.parquet" for k, name in enumerate(ways)}
    score = ("score", folder / "catalog.parquet", "--threads", 1, "--device", "cpu", "-o")
    found = rounds_of(
        [
            {
                name: timed_once(lambda: command(*score, outputs[name], *words), per=rows)  # noqa: B023
                for name, words in ways.items()
            }
            for _ in range(runs)
        ]
    )
    lists = []
    for scored in outputs.values():
        output = folder / "tenth.targets.parquet"
        command("select", scored, "--rules", rules, "-o", output)
        lists.append(output.read_bytes())
    every, some = found.values()
    found[f"{rows:,} rows, share"] = over(some, every, "of the time of all")
    same = Figure.of(lists[0] == lists[1], "accuracy", "(1 if so)", higher=True)
    return found | {f"{rows:,} rows, lists are the same bytes": same}


def figures(folder: Path, copies: Sequence[int] = (1, 4), runs: int = 1) -> dict[str, Figure]:
    """The comparison for the demonstration so many times over."""
    found: dict[str, Figure] = {}
    for n in copies:
        with tempfile.TemporaryDirectory() as scratch:
            enlarge(folder, Path(scratch), n)
            found |= compared(Path(scratch), runs)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    print(f"machine: {platform.processor() or platform.machine()}, Python "
          f"{platform.python_version()}, {sys.platform}")  # fmt: skip
    print_figures(figures(demonstration(options.folder), options.copies, options.runs))


if __name__ == "__main__":
    main()
