"""A scored file cut into partitions, as if each had been scored alone."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from targetsel.tables.parquet import footer_in, write_table


def footer_of_part(part, footer, number):
    """The footer that `score` would have written for some of the sources."""
    own = {"catalog": {"sha256": hashlib.sha256(bytes([number])).hexdigest(), "n_rows": len(part)}}
    if "status" in part.column_names:
        own["statuses"] = dict(Counter(part["status"].to_pylist()))
    return footer | own


def cut(
    scored: Path, folder: Path, order: int = 2, scored_alone: bool = True, **properties: object
) -> Path:
    """A HATS catalog of the rows of a scored file, in the pixels of one order.

    Where they were not `scored_alone`, they have the footer of the file.
    """
    table = pq.read_table(scored)
    footer = footer_in(table.schema.metadata)
    pixels = table["_healpix_29"].to_numpy() >> 2 * (29 - order)
    for number, pixel in enumerate(np.unique(pixels)):
        part = table.filter(pixels == pixel)
        place = folder / f"dataset/Norder={order}/Dir={pixel // 10000 * 10000}"
        place.mkdir(parents=True, exist_ok=True)
        own = footer_of_part(part, footer, number) if scored_alone else footer
        write_table(part, place / f"Npix={pixel}.parquet", own)
    say(folder, **{"hats_nrows": len(table)} | properties)
    pq.write_metadata(table.schema, folder / "dataset/_common_metadata")
    return folder


def say(folder: Path, **properties: object) -> None:
    """Write the properties of a HATS catalog."""
    found = {
        "obs_collection": folder.name,
        "dataproduct_type": "object",
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_npix_suffix": ".parquet",
    } | properties
    lines = [f"{name}={value}" for name, value in found.items()]
    (folder / "hats.properties").write_text("#HATS catalog\n" + "\n".join(lines) + "\n")


def cut_by_rows(scored: Path, folder: Path, n: int) -> Path:
    """A folder of files of some rows each, in the order of the file."""
    folder.mkdir()
    table = pq.read_table(scored)
    footer = footer_in(table.schema.metadata)
    for number, start in enumerate(range(0, len(table), n)):
        part = table.slice(start, n)
        write_table(
            part, folder / f"part-{number:03d}.parquet", footer_of_part(part, footer, number)
        )
    return folder


def parts_of(folder: Path) -> list[Path]:
    """The files of a folder, by name."""
    return sorted(folder.rglob("*.parquet"))
