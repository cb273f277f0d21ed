"""What is true of mock sources, as tables: their proxies, components, lines and spectra."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from targetsel.mock.sky import MockSources
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import DESCRIPTIONS, PROXIES, UNITS, measure
from targetsel.spectra.spectrum import Spectra
from targetsel.tables.parquet import described

# Attributes of `Structure` that are written, with their unit and what they are.
COMPONENTS = {
    "bulge_radius": ("arcsec", "half-light radius of the bulge along its major axis"),
    "disk_radius": ("arcsec", "half-light radius of the old disk along its major axis"),
    "young_radius": ("arcsec", "half-light radius of the young disk along its major axis"),
    "bulge_axis_ratio": ("", "minor over major axis of the bulge"),
    "disk_axis_ratio": ("", "minor over major axis of the disks"),
    "angle": ("rad", "position angle of the major axis, from the pixels' x to y"),
    "bulge_share": ("", "share of the old stars' light in the bulge"),
    "bar_share": ("", "share of the old stars' light in a bar"),
    "arm_share": ("", "spiral arms' share of the young stars' light, the nucleus's left out"),
    "knot_share": ("", "knots' share of the young stars' light, the nucleus's left out"),
    "line_knot_share": ("", "knots' share of the emission lines' light, the nucleus's left out"),
    "point_share": ("", "share of the emission lines' light in the nucleus"),
    "arms": ("", "number of spiral arms"),
    "pitch": ("rad", "pitch angle of the spiral arms"),
    "x": ("arcsec", "offset from the cutout's centre along the pixels' x"),
    "y": ("arcsec", "offset from the cutout's centre along the pixels' y"),
}


WEIGHT = "sources it stands for; not 1 where over-sampled"


def catalog_table(sources: MockSources, weighted: bool) -> pa.Table:
    """What an observer would know of the sources; of an over-sampled sky, also their weights."""
    table = sources.galaxies.table()
    if not weighted:
        return table
    weight = pa.array(sources.weight.astype(np.float32))
    return table.append_column(described("weight", weight.type, "", "", WEIGHT), weight)


def truth_table(sources: MockSources) -> pa.Table:
    """One row per source: proxies of the noise-free fiber spectrum, and what went into the mock."""
    ids = sources.galaxies.source_id
    proxies = measure(Spectra(ids, sources.spectra[:, None], wavelengths()))
    table = _Table(sources)
    table.add("weight", sources.weight, "", WEIGHT)
    for name in PROXIES:
        about = DESCRIPTIONS[name] + ", on the noise-free mock spectrum"
        table.add(name, proxies[name][:, 0], UNITS[name], about)
    for name, width in sources.widths.items():
        about = (
            f"equivalent width of {name} that the mock spectrum was given, over the continuum at "
            "the line itself: at the bottom of any absorption"
        )
        table.add(f"input_{name}", width, "Angstrom", about)
    for name, colour in sources.fiber_colours.items():
        a, b = name.split("_")
        about = f"{a} - {b} of what the fiber sees, without noise or extinction"
        table.add(f"fiber_{name}", colour, "mag", about)
    table.add("snr", sources.snr, "", "median signal to noise of a pixel of the mock spectrum")
    for name, (unit, about) in COMPONENTS.items():
        table.add(name, getattr(sources.structure, name), unit, about)
    return table.finished()


def spectra_table(sources: MockSources) -> pa.Table:
    """One row per source: its spectrum on the decoder's rest-frame grid, with noise and without."""
    table = _Table(sources)
    unit = "quadratic mean of the noise-free spectrum's flux density, times 1000^1/2"
    table.add("flux", sources.measured, "", f"mock spectrum with noise, in units of the {unit}")
    table.add("ivar", sources.ivar, "", "inverse variance of flux")
    table.add("flux_true", sources.spectra, "", "mock spectrum without noise; sum of squares 1")
    return table.finished()


def with_latents(table: pa.Table, latents: np.ndarray) -> pa.Table:
    """A truth table with the column `latent`, of shape (N, D)."""
    about = "standardised latents of the noise-free mock spectrum, by the shipped decoder"
    kind = pa.list_(pa.float32(), latents.shape[1])
    return table.append_column(described("latent", kind, "", "", about), _lists(latents))


class _Table:
    """Columns as they are added, beginning with the ids."""

    def __init__(self, sources: MockSources) -> None:
        galaxies = sources.galaxies
        self._fields = [
            described("source_id", pa.int64(), "", "meta.id;meta.main", nullable=False),
            described("group_id", pa.int64(), "", "meta.id", "the real galaxy", nullable=False),
        ]
        self._columns: list[pa.Array] = [pa.array(galaxies.source_id), pa.array(galaxies.group_id)]

    def add(self, name: str, values: np.ndarray, unit: str, about: str) -> None:
        column = _lists(values) if values.ndim == 2 else pa.array(values.astype(np.float32))
        self._fields.append(described(name, column.type, unit, "", about))
        self._columns.append(column)

    def finished(self) -> pa.Table:
        return pa.table(self._columns, schema=pa.schema(self._fields))


def _lists(values: np.ndarray) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
