"""Unit costs of a large job, measured by small runs: CPU and bytes of a row, partition, process.

They are differences of whole commands, each on one thread in a process of its own, on the
demonstration (simulated images of 64 x 64 pixels in five bands) and copies of it.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bytes_per_row import OWN, WAYS, bytes_by_group, of_columns
from growth import ROUNDING, bytes_of_a_cutout, write_images
from measuring import command
from score import enlarge
from score_with_rules import rules_of_a_share

from targetsel.imaging.store import CutoutStore

ENGINES = ("torch", "openvino")
COPIES = 40  # of the catalog, where few rows are needed
NEEDED = 0.002
PARTITIONS = (2000, 20)  # rows at most of few and of many partitions
PACKED = (300, 1500)


@dataclass(frozen=True)
class UnitCosts:
    """What one row, partition or process costs.

    Attributes
    ----------
    start, scored : mapping of engine to float
        CPU time of `score` to start, and for a row whose pixels are read [s].
    not_needed : float
        CPU time of `score --rules` for a row that no rule needs [s].
    partition : float
        CPU time for one more partition, beside its rows [s].
    packed : float
        CPU time of `cutouts pack` for a cutout [s].
    selected : float
        CPU time of `select` for a row [s].
    pixels : int
        Pixels of a cutout, in all bands, that the networks were measured on.
    pixel_bytes : float
        Bytes of a pixel in one band in a cutout store.
    catalog_bytes, not_needed_bytes, full_bytes, slim_bytes : float
        Bytes of a row: of the catalog; of a scored catalog, catalog columns included, where it is
        not needed, and where it is scored, full and slim.
    partition_bytes : float
        Bytes of a partition's file beside its rows.
    """

    start: Mapping[str, float]
    scored: Mapping[str, float]
    not_needed: float
    partition: float
    packed: float
    selected: float
    pixels: int
    pixel_bytes: float
    catalog_bytes: float
    not_needed_bytes: float
    full_bytes: float
    slim_bytes: float
    partition_bytes: float

    @classmethod
    def read(cls, path: Path) -> UnitCosts:
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def cpu(*words: object) -> float:
    """CPU time of a command [s], which is also told."""
    seconds = command(*words).seconds
    print(f"{seconds:.1f} s of CPU: {' '.join(map(str, words))}", file=sys.stderr, flush=True)
    return seconds


def line(costs: Mapping[int, float]) -> tuple[float, float]:
    """Start and slope of the line through two costs, by number."""
    (few, less), (many, more) = sorted(costs.items())
    slope = (more - less) / (many - few)
    return less - slope * few, slope


def measured(demo: Path, folder: Path) -> UnitCosts:
    """The unit costs, by some minutes of small runs in a folder for scratch files."""
    rows = pq.read_metadata(demo / "catalog.parquet").num_rows
    start, scored = {}, {}
    for engine in ENGINES:
        if engine == "torch" or importlib.util.find_spec(engine):
            start[engine], scored[engine] = line(costs_of_scoring(demo, folder, engine))
    score = ("score", demo / "catalog.parquet", "--cutouts", demo / "cutouts", "--device", "cpu")
    files = {name: folder / f"{name}.scored.parquet" for name in ("full", "slim")}
    for name, output in files.items():
        command(*score, "--threads", 1, *WAYS[name], "-o", output)
    sizes = {name: bytes_by_group(path) for name, path in files.items()}
    slim_file = files["slim"]
    rules = rules_of_a_share(demo, NEEDED)
    few, not_needed = for_rules(demo, folder, rules, start["torch"], scored["torch"])
    store = CutoutStore.open(demo / "cutouts")
    pixels = math.prod(store.shape)
    return UnitCosts(
        start=start,
        scored=scored,
        not_needed=not_needed,
        partition=line(costs_of_partitions(demo, folder))[1],
        packed=line(costs_of_packing(demo, folder))[1],
        selected=cost_of_selecting(few, rules),
        pixels=pixels,
        pixel_bytes=bytes_of_a_cutout(demo) / pixels,
        catalog_bytes=(demo / "catalog.parquet").stat().st_size / rows,
        # The catalog's own columns are those of the demonstration: copies are packed too well.
        not_needed_bytes=added_bytes(few) + sizes["full"][OWN],
        full_bytes=of_columns(sizes["full"]),
        slim_bytes=of_columns(sizes["slim"]),
        partition_bytes=slim_file.stat().st_size - of_columns(sizes["slim"]) * rows,
    )


def added_bytes(scored: Path) -> float:
    """Bytes of a row of what scoring adds to a catalog."""
    groups = bytes_by_group(scored)
    return of_columns(groups) - groups[OWN]


def costs_of_scoring(demo: Path, folder: Path, engine: str) -> dict[int, float]:
    """CPU time of scoring a quarter of the catalog, and all of it twice over, by rows."""
    found = {}
    catalog = pq.read_table(demo / "catalog.parquet")
    twice = folder / "twice"
    if not twice.exists():
        twice.mkdir()
        enlarge(demo, twice, 2)
    for path, n in ((demo, len(catalog) // 4), (twice, 2 * len(catalog))):
        some = folder / f"some-{n}.parquet"
        pq.write_table(pq.read_table(path / "catalog.parquet")[:n], some)
        cost = cpu("score", some, "--cutouts", path / "cutouts", "--device", "cpu", "--threads",
                       1, "--engine", engine, "-o", folder / "some.scored.parquet")  # fmt: skip
        found[n] = cost
    return found


def for_rules(
    demo: Path, folder: Path, rules: Path, start: float, scored: float
) -> tuple[Path, float]:
    """A large catalog scored for rules that need few rows, and the CPU time of each other row."""
    rmag = pq.read_table(demo / "catalog.parquet", columns=["rmag"])["rmag"].to_numpy()
    many = folder / "many"
    many.mkdir()
    needed = rmag <= np.quantile(rmag, NEEDED) + ROUNDING
    enlarge(demo, many, COPIES, needed)
    output = folder / "for-rules.scored.parquet"
    cost = cpu("score", many / "catalog.parquet", "--rules", rules, "--threads", 1,
                   "--device", "cpu", "-o", output)  # fmt: skip
    n_needed = COPIES * int(needed.sum())
    others = COPIES * len(rmag) - n_needed
    return output, (cost - start - scored * n_needed) / others


def costs_of_partitions(demo: Path, folder: Path) -> dict[int, float]:
    """CPU time of scoring few and many partitions for rules that need no row, by partitions."""
    rules = folder / "nobody.yaml"
    rules.write_text(
        "schema: targetsel/rules/v1\nname: nobody\nclasses:\n  NOBODY:\n    priority: 1\n"
        "    where:\n      - rmag < 0 mag\n      - ew_halpha > 5 Angstrom\n"
    )
    found = {}
    for rows in PARTITIONS:
        sky, output = folder / f"sky-{rows}", folder / f"sky-{rows}.scored"
        command("partition", demo / "catalog.parquet", "-o", sky, "--rows", rows)
        cost = cpu("score", sky, "--cutouts", demo / "cutouts", "--rules", rules, "--workers",
                       1, "--device", "cpu", "-o", output)  # fmt: skip
        found[len(list(sky.rglob("Npix=*.parquet")))] = cost
    return found


def costs_of_packing(demo: Path, folder: Path) -> dict[int, float]:
    """CPU time of packing images in NumPy files, by their number."""
    store, catalog = CutoutStore.open(demo / "cutouts"), pq.read_table(demo / "catalog.parquet")
    found = {}
    for n in PACKED:
        images = folder / f"images-{n}"
        write_images(images, catalog.take(pa.array(np.arange(n) % len(catalog))), store)
        cost = cpu("cutouts", "pack", images, "--catalog", images / "catalog.parquet",
                       "--bands", "".join(store.bands), "--pixel-scale", store.pixel_scale,
                       "--zeropoint", 22.5, "-o", folder / f"packed-{n}")  # fmt: skip
        found[n] = cost
    return found


def cost_of_selecting(scored: Path, rules: Path) -> float:
    """CPU time of `select` for a row of a scored catalog, most of whose rows were not needed."""
    one, several = scored, scored.with_name("several.scored")
    several.mkdir()
    copies = 10
    table = pq.read_table(scored)
    ids = table.schema.get_field_index("source_id")
    for k in range(copies):  # of other ids, so that each is a source of its own
        moved = pa.array(table["source_id"].to_numpy() + k * 1_000_000_000)
        pq.write_table(table.set_column(ids, table.schema.field(ids), moved),
                       several / f"{k}.parquet")  # fmt: skip
    costs = {}
    for path, n in ((one, len(table)), (several, copies * len(table))):
        output = scored.with_name("few.targets.parquet")
        costs[n] = cpu("select", path, "--rules", rules, "-o", output)
    return line(costs)[1]
