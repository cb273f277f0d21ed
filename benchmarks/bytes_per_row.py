"""Bytes of a scored row by what it holds, full and slim, and the target lists of both.

    python benchmarks/bytes_per_row.py [--folder demo]

Scores the demonstration (made first, where FOLDER has none; its images are simulated) in full, slim
and in full with another seed of the draws. Prints the bytes of each group of columns as they are
stored, for each row. Then, for each shipped rule file, the targets of the full catalog, and how
many the slim one and the one of another seed lack and add: what rounding changes, beside what the
draws leave to chance; and the largest difference of a source's `probability`. In the end it scores
partitions, and prints the bytes of HATS catalogs beside those of their columns.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Figure, command, demonstration, print_figures

from targetsel.rules.rules import Rules
from targetsel.scored.columns import LATENTS, scored_columns
from targetsel.selection.select import select
from targetsel.spectra.proxies import CORRELATION, QUANTILES, proxy_names

RULES = ("aberrant", "agn", "emission", "oiii", "poststarburst", "quiescent")
WAYS: dict[str, tuple[object, ...]] = {
    "full": (),
    "slim": ("--slim",),
    "another seed": ("--seed", 1),
}
OWN, REST = "the catalog's own columns", "names, units, provenance"
PARTITION = 1000  # rows at most


@dataclass(frozen=True)
class Change:
    """Targets of a list, and what another one has instead."""

    n_targets: int
    lost: int
    gained: int
    most: float

    def __str__(self) -> str:
        return f"-{self.lost} +{self.gained}"


def group_of(name: str, proxies: tuple[str, ...]) -> str:
    """What a column holds, in the words of the table."""
    if name in LATENTS:
        return "posterior of the latents"
    if name.endswith(QUANTILES):
        return "quantiles of line strengths"
    if name.endswith(CORRELATION):
        return "their correlations"
    if name.startswith(proxies):
        return "medians, deviations, percentiles"
    predicted = {column.name for column in scored_columns(1, 1)}
    return "classes, typicality, status" if name in predicted else OWN


def bytes_by_group(path: Path) -> dict[str, float]:
    """Compressed bytes for each row of a scored file, by group; the rest of the file last."""
    with pq.ParquetFile(path) as file:
        about, proxies = file.metadata, proxy_names(file.schema_arrow)
    found: dict[str, float] = {}
    for group in range(about.num_row_groups):
        for place in range(about.num_columns):
            column = about.row_group(group).column(place)
            name = group_of(column.path_in_schema.split(".")[0], proxies)
            found[name] = found.get(name, 0) + column.total_compressed_size / about.num_rows
    rest = path.stat().st_size / about.num_rows - sum(found.values())
    return found | {REST: rest}


def of_columns(groups: Mapping[str, float]) -> float:
    """Bytes for each row of all columns together."""
    return sum(size for group, size in groups.items() if group != REST)


def changes(full: Path, other: Path, folder: Path) -> Iterator[tuple[str, Change]]:
    """What the lists of the shipped rules of another catalog have instead of those of the full."""
    for name in RULES:
        lists = []
        for scored in (full, other):
            output = folder / "list.targets.parquet"
            select(scored, Rules.read(name), output)
            lists.append(pq.read_table(output))
        yield name, change(*lists)


def change(one: pa.Table, other: pa.Table) -> Change:
    """What one target list has instead of another."""
    probability = [
        dict(zip(each["source_id"].to_pylist(), each["probability"].to_pylist(), strict=True))
        for each in (one, other)
    ]
    first, second = ({*each} for each in probability)
    both = [
        abs(probability[0][source] - probability[1][source])
        for source in first & second
        if probability[0][source] is not None and probability[1][source] is not None
    ]
    return Change(len(first), len(first - second), len(second - first), max(both, default=np.nan))


def score_files(demo: Path, folder: Path, ways: Iterable[str] = WAYS) -> dict[str, Path]:
    """The scored demonstration, by how it was scored."""
    files = {name: folder / f"{name.split()[0]}.scored.parquet" for name in ways}
    for name, output in files.items():
        command("score", demo / "catalog.parquet", "--cutouts", demo / "cutouts", "--threads", 1,
                "--device", "cpu", *WAYS[name], "-o", output)  # fmt: skip
    return files


def figures(folder: Path, files: Mapping[str, Path] | None = None) -> dict[str, Figure]:
    """Bytes of a row, full and slim, and the share of the targets that slim rows change."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        if files is None:
            demo = demonstration(folder / "demo")
            files = score_files(demo, Path(scratch), ("full", "slim"))
        found = [each for _, each in changes(files["full"], files["slim"], Path(scratch))]
        full, slim = (of_columns(bytes_by_group(files[name])) for name in ("full", "slim"))
    changed = sum(each.lost + each.gained for each in found) / sum(each.n_targets for each in found)
    return {
        "a full row": Figure.of(full, "memory", "bytes"),
        "a slim row": Figure.of(slim, "memory", "bytes"),
        "targets that slim rows change": Figure.of(changed, "rounding", "share"),
    }


def print_bytes(files: Mapping[str, Path]) -> None:
    full, slim = (bytes_by_group(files[name]) for name in ("full", "slim"))
    print(f"{'bytes for each row':<36}{'full':>8}{'slim':>8}{'ratio':>8}")
    for group, size in full.items():
        print(f"{group:<36}{size:>8.1f}{slim.get(group, 0):>8.1f}")
    for what, one, other in (
        ("columns together", of_columns(full), of_columns(slim)),
        ("that scoring adds", of_columns(full) - full[OWN], of_columns(slim) - slim[OWN]),
        (f"the file of {rows_of(files['full']):,} rows", sum(full.values()), sum(slim.values())),
    ):
        print(f"{what:<36}{one:>8.1f}{other:>8.1f}{one / other:>8.2f}")


def rows_of(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def print_hats(demo: Path, folder: Path) -> None:
    """Score the catalog in partitions, and print what a HATS catalog takes beside its columns."""
    sky = folder / "sky"
    command("partition", demo / "catalog.parquet", "-o", sky, "--rows", PARTITION)
    print(f"\n{'HATS catalog':<14}{'rows':>8}{'partitions':>12}{'columns':>10}{'rest of each':>14}"
          f"{'beside them':>13}  [kB]")  # fmt: skip
    for name in ("full", "slim"):
        output = folder / f"{name}.scored"
        command("score", sky, "--cutouts", demo / "cutouts", "--device", "cpu", "--workers", 1,
                *WAYS[name], "-o", output)  # fmt: skip
        every = [path for path in output.rglob("*") if path.is_file() and "_job" not in path.parts]
        parts = [path for path in every if path.name.startswith("Npix=")]
        columns = sum(of_columns(bytes_by_group(path)) * rows_of(path) for path in parts)
        whole, of_parts = (sum(path.stat().st_size for path in each) for each in (every, parts))
        rest = (of_parts - columns) / len(parts)
        rows = sum(map(rows_of, parts))
        print(f"{name:<14}{rows:>8,}{len(parts):>12}{columns / 1e3:>10.0f}{rest / 1e3:>14.0f}"
              f"{(whole - of_parts) / 1e3:>13.0f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    demo = demonstration(parser.parse_args().folder)
    with tempfile.TemporaryDirectory() as scratch:
        files = score_files(demo, Path(scratch))
        print_bytes(files)
        print_figures(figures(Path(scratch), files))
        found = {
            name: dict(changes(files["full"], files[name], Path(scratch)))
            for name in ("slim", "another seed")
        }
        print_hats(demo, Path(scratch))
    print(f"\n{'rules':<16}{'targets':>8}{'slim':>10}{'most':>9}{'another seed':>15}{'most':>9}")
    for name in RULES:
        slim, seed = found["slim"][name], found["another seed"][name]
        print(
            f"{name:<16}{slim.n_targets:>8}{slim!s:>10}{slim.most:>9.4f}{seed!s:>15}{seed.most:>9.4f}"
        )


if __name__ == "__main__":
    main()
