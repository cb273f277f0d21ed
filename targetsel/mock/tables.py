"""Tables of a mock sky: the observer's catalog, the truth, and the spectra."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from targetsel.mock.galaxies import SDSS
from targetsel.mock.sky import MockSources
from targetsel.photometry.flux import ab_magnitude
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import DESCRIPTIONS, PROXIES, UNITS, measure
from targetsel.spectra.spectrum import Spectra
from targetsel.tables.columns import NEVER, Column, list_column, schema_of

# Attributes of `Structure` that are written, with their unit and meaning.
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
WEIGHT = Column("weight", pa.float32(), "", "", "sources it stands for; not 1 where over-sampled")
REAL = "the real galaxy"

Filled = tuple[Column, np.ndarray]


def catalog_table(sources: MockSources, weighted: bool) -> pa.Table:
    """The catalog that an observer would have; with weights for an over-sampled sky."""
    galaxies = sources.galaxies
    about = f"{REAL} behind the source: its row in kcorrect's file"
    magnitude = ab_magnitude(galaxies.flux[:, 2])
    columns = [
        (Column("source_id", pa.int64(), "", "meta.id;meta.main", "mock source"),
         galaxies.source_id),
        (Column("group_id", pa.int64(), "", "meta.id", about), galaxies.group_id),
        (Column("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "right ascension, ICRS"),
         galaxies.ra),
        (Column("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "declination, ICRS"),
         galaxies.dec),
        (Column("redshift", pa.float32(), "", "src.redshift", "SDSS spectroscopic redshift"),
         galaxies.redshift),
    ]  # fmt: skip
    for band, flux in zip(SDSS, galaxies.flux.T, strict=True):
        about = f"SDSS Petrosian flux in {band}, corrected for Galactic extinction"
        name, ucd = f"flux_{band}_sdss", "phot.flux.density"
        columns.append((Column(name, pa.float32(), "nJy", ucd, about), flux))
    about = "SDSS r, AB, extinction-free"
    columns.append((Column("rmag", pa.float32(), "mag", "phot.mag;em.opt.R", about), magnitude))
    return _table([*columns, (WEIGHT, sources.weight)] if weighted else columns)


def truth_table(sources: MockSources) -> pa.Table:
    """One row per source: proxies of the noise-free fiber spectrum, and the mock's parameters."""
    return _table([*_ids(sources), (WEIGHT, sources.weight), *_truths(sources)])


def _truths(sources: MockSources) -> Iterator[Filled]:
    ids = sources.galaxies.source_id
    proxies = measure(Spectra(ids, sources.spectra[:, None], wavelengths()))
    for name in PROXIES:
        about = DESCRIPTIONS[name] + ", on the noise-free mock spectrum"
        yield _number(name, UNITS[name], about), proxies[name][:, 0]
    for name, width in sources.widths.items():
        about = (
            f"equivalent width of {name} that the mock spectrum was given, over the continuum at "
            "the line itself: at the bottom of any absorption"
        )
        yield _number(f"input_{name}", "Angstrom", about), width
    for name, colour in sources.fiber_colours.items():
        a, b = name.split("_")
        about = f"{a} - {b} of what the fiber sees, without noise or extinction"
        yield _number(f"fiber_{name}", "mag", about), colour
    yield _number("snr", "", "median signal to noise of a pixel of the mock spectrum"), sources.snr
    for name, (unit, about) in COMPONENTS.items():
        yield _number(name, unit, about), getattr(sources.structure, name)


def spectra_table(sources: MockSources) -> pa.Table:
    """One row per source: its spectrum on the decoder's rest-frame grid, with noise and without."""
    unit = "quadratic mean of the noise-free spectrum's flux density, times 1000^1/2"
    about = {
        "flux": (sources.measured, f"mock spectrum with noise, in units of the {unit}"),
        "ivar": (sources.ivar, "inverse variance of flux"),
        "flux_true": (sources.spectra, "mock spectrum without noise; sum of squares 1"),
    }
    columns = [(_lists(name, 1000, what), values) for name, (values, what) in about.items()]
    return _table([*_ids(sources), *columns])


def with_latents(table: pa.Table, latents: np.ndarray) -> pa.Table:
    """A truth table with the column `latent`, of shape (N, D)."""
    about = "standardised latents of the noise-free mock spectrum, by the shipped decoder"
    column = _lists("latent", latents.shape[1], about)
    return table.append_column(column.field, list_column(latents))


def _ids(sources: MockSources) -> list[Filled]:
    galaxies = sources.galaxies
    source = Column("source_id", pa.int64(), "", "meta.id;meta.main", null_when=NEVER)
    group = Column("group_id", pa.int64(), "", "meta.id", REAL, NEVER)
    return [(source, galaxies.source_id), (group, galaxies.group_id)]


def _number(name: str, unit: str, about: str) -> Column:
    return Column(name, pa.float32(), unit, "", about)


def _lists(name: str, length: int, about: str) -> Column:
    return Column(name, pa.list_(pa.float32(), length), "", "", about)


def _table(columns: Iterable[Filled]) -> pa.Table:
    """A table of columns and their values, (N,) or (N, K)."""
    columns = list(columns)
    arrays = [
        list_column(values, column.type)
        if values.ndim == 2
        else pa.array(values.astype(column.type.to_pandas_dtype()), column.type)
        for column, values in columns
    ]
    return pa.table(arrays, schema=schema_of(column for column, _ in columns))
