"""Twenty billion rows on paper: bytes, tasks and hours of catalog cuts first, pixels for the rest.

    python benchmarks/rubin_on_paper.py [--folder demo] [--costs costs.json] [--rows 2e10]
        [--partition-rows 1e6] [--side 16] [--pixel-scale 0.2] [--bands 5] [--catalog-bytes 100]
        [--compression 1] [--cores 1000]

A model, not a run: unit costs times numbers. The unit costs are measured by small runs of some
minutes (see unit_costs.py), or read from COSTS, where they are kept for the next time. All else are
assumptions, which are printed: of the catalog the rows, the rows of a partition and the bytes of a
row (of the columns that are read); of the cutouts their side [arcsec], pixel scale [arcsec], bands,
and their bytes for each pixel in units of those of the demonstration's, which are simulated.

Prints, for several shares of the rows that survive the catalog cuts, what goes in and out and the
core hours. A scored row costs what it does on the demonstration's pixels, times the ratio of the
pixels: a bound from above, since draws and typicality do not grow with them.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measuring import demonstration, machine
from unit_costs import UnitCosts, measured

SHARES = (1.0, 0.1, 0.01, 0.001, 0.0001)
TERA = 1e12
WIDTHS = (7, 16, 10, 10, 10, 10, 12, 12, 12, 12)


@dataclass(frozen=True)
class Sky:
    """What is assumed of a catalog and its cutouts.

    Attributes
    ----------
    rows, partition_rows : int
    side, pixel_scale : float
        Of a cutout [arcsec].
    bands : int
    catalog_bytes : float
        Of the columns of a row that are read.
    compression : float
        Bytes of a pixel in a store, in units of those of the demonstration.
    """

    rows: int = 20_000_000_000
    partition_rows: int = 1_000_000
    side: float = 16.0
    pixel_scale: float = 0.2
    bands: int = 5
    catalog_bytes: float = 100.0
    compression: float = 1.0

    @property
    def partitions(self) -> int:
        return math.ceil(self.rows / self.partition_rows)

    @property
    def pixels(self) -> int:
        """Pixels of a cutout in all bands."""
        return self.bands * round(self.side / self.pixel_scale) ** 2

    def cutout_bytes(self, costs: UnitCosts) -> float:
        return self.pixels * costs.pixel_bytes * self.compression


@dataclass(frozen=True)
class Estimate:
    """Bytes and CPU time if a share of the rows survives the catalog cuts.

    Attributes
    ----------
    survivors : float
    catalog_in, cutouts_in, full_out, slim_out : float
        Bytes.
    hours : dict of float
        Core hours by what they are spent on.
    """

    survivors: float
    catalog_in: float
    cutouts_in: float
    full_out: float
    slim_out: float
    hours: dict[str, float]

    @property
    def score_hours(self) -> float:
        """Core hours of `score`, without packing and selecting."""
        return sum(self.hours[name] for name in SCORE)


SCORE = ("rows not needed", "rows scored", "partitions", "processes")


def estimate(
    sky: Sky, costs: UnitCosts, share: float, engine: str = "torch", processes: int = 1000
) -> Estimate:
    """The model: unit costs times numbers."""
    survivors = sky.rows * share
    others = sky.rows - survivors
    more_pixels = max(1.0, sky.pixels / costs.pixels)
    wider = sky.catalog_bytes - costs.catalog_bytes  # scored catalogs keep the catalog's columns
    beside = sky.partitions * costs.partition_bytes
    not_needed = others * (costs.not_needed_bytes + wider)
    seconds = {
        "rows not needed": others * costs.not_needed,
        "rows scored": survivors * costs.scored[engine] * more_pixels,
        "partitions": sky.partitions * costs.partition,
        "processes": processes * costs.start[engine],
        "packing": survivors * costs.packed * more_pixels,
        "selecting": sky.rows * costs.selected,
    }
    return Estimate(
        survivors,
        sky.rows * sky.catalog_bytes,
        survivors * sky.cutout_bytes(costs),
        survivors * (costs.full_bytes + wider) + not_needed + beside,
        survivors * (costs.slim_bytes + wider) + not_needed + beside,
        {name: each / 3600 for name, each in seconds.items()},
    )


def print_costs(costs: UnitCosts) -> None:
    about = machine()
    print(f"measured on {about['cores']} cores, {about['processor']}, {about['torch']}:")
    for engine, seconds in costs.scored.items():
        print(f"  a row scored, {engine:<12}{1e3 * seconds:>10.2f} ms")
        print(f"  a process, {engine:<12}{costs.start[engine]:>13.1f} s")
    for what, value, unit in (
        ("a row not needed", 1e6 * costs.not_needed, "us"),
        ("a row selected from", 1e6 * costs.selected, "us"),
        ("a cutout packed", 1e3 * costs.packed, "ms"),
        ("a partition", costs.partition, "s"),
        ("a catalog row", costs.catalog_bytes, "bytes"),
        ("a row not needed", costs.not_needed_bytes, "bytes"),
        ("a scored row, full", costs.full_bytes, "bytes"),
        ("a scored row, slim", costs.slim_bytes, "bytes"),
        ("a partition's file, beside rows", costs.partition_bytes, "bytes"),
        ("a pixel in one band, in a store", costs.pixel_bytes, "bytes"),
    ):
        print(f"  {what:<32}{value:>12,.2f} {unit}")


def print_estimates(sky: Sky, costs: UnitCosts, cores: int) -> None:
    print(f"\nassumed: {sky}")
    print(f"{sky.partitions:,} partitions; {sky.cutout_bytes(costs):,.0f} bytes in a cutout of "
          f"{sky.pixels:,} pixels in all bands; {cores:,} processes")  # fmt: skip
    names = ("share", "survivors", "catalog", "cutouts", "full", "slim", *costs.scored, "packing",
             "hours")  # fmt: skip
    print(f"\n{'':>23}{'TB in':>20}{'TB out':>20}  core hours")
    print(
        "".join(f"{name:>{width}}" for name, width in zip(names, WIDTHS[: len(names)], strict=True))
    )
    for share in SHARES:
        ways = {engine: estimate(sky, costs, share, engine, cores) for engine in costs.scored}
        one = ways["torch"]
        row = (
            f"{share:g}",
            f"{one.survivors:,.0f}",
            *(f"{size / TERA:,.4g}" for size in (one.catalog_in, one.cutouts_in)),
            *(f"{size / TERA:,.3g}" for size in (one.full_out, one.slim_out)),
            *(f"{each.score_hours:,.0f}" for each in ways.values()),
            f"{one.hours['packing']:,.0f}",
            f"{one.score_hours / cores:,.2f}",
        )
        print(
            "".join(f"{word:>{width}}" for word, width in zip(row, WIDTHS[: len(row)], strict=True))
        )
    parts = estimate(sky, costs, 0.001, processes=cores).hours
    print("\ncore hours where a thousandth survives, torch: "
          + ", ".join(f"{name} {value:,.1f}" for name, value in parts.items()))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--costs", type=Path)
    parser.add_argument("--rows", type=float, default=Sky.rows)
    parser.add_argument("--partition-rows", type=float, default=Sky.partition_rows)
    for name in ("side", "pixel-scale", "catalog-bytes", "compression"):
        default = getattr(Sky, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--bands", type=int, default=Sky.bands)
    parser.add_argument("--cores", type=int, default=1000)
    given = parser.parse_args()
    if given.costs is not None and given.costs.exists():
        costs = UnitCosts.read(given.costs)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            costs = measured(demonstration(given.folder), Path(scratch))
        if given.costs is not None:
            costs.write(given.costs)
    print_costs(costs)
    sky = Sky(int(given.rows), int(given.partition_rows), given.side, given.pixel_scale,
              given.bands, given.catalog_bytes, given.compression)  # fmt: skip
    print_estimates(sky, costs, given.cores)


if __name__ == "__main__":
    main()
