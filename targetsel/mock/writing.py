"""A mock sky on disk: catalog, cutouts, truth and spectra, written as they are made."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, MockError, OutputError
from targetsel.extras import require
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.orientation import NORTH_UP, Orientation
from targetsel.imaging.packing import Piece, check_replaceable, write_store
from targetsel.imaging.store import CutoutStore
from targetsel.mock.galaxies import SDSS
from targetsel.mock.plan import SkyPlan
from targetsel.mock.sky import MockSources, observe_block
from targetsel.photometry.flux import ab_magnitude
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import DESCRIPTIONS, PROXIES, UNITS, measure
from targetsel.spectra.photoz import TRUE as TRUE_REDSHIFT
from targetsel.spectra.spectrum import Spectra
from targetsel.tables.columns import NEVER, Column, arrow_column, list_column, matrix, schema_of
from targetsel.tables.files import change_in_place, check_output, held, make_folder, sha256_of_file
from targetsel.tables.parquet import DECODER_KEY, ParquetSink, read_footer
from targetsel.tasks import tracked
from targetsel.workers.pool import map_bounded, return_freed_memory

TABLES, CUTOUTS = ("catalog", "truth", "spectra"), "cutouts"
SPECTRA_PER_GROUP = 1024
MOST_DRAWN = 80  # sources of a page
BLUE_GREEN_RED = (("g", "r", "i"), ("g", "r", "z"))  # of a picture; or else the first three
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
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
IDS = (
    Column("source_id", pa.int64(), "", "meta.id;meta.main", "mock source", NEVER),
    Column("group_id", pa.int64(), "", "meta.id", REAL, NEVER),
)

Filled = tuple[Column, np.ndarray]


@dataclass(frozen=True)
class _Made:
    """A block of sources, ready to be written."""

    flux: np.ndarray
    catalog: pa.Table
    truth: pa.Table
    spectra: pa.Table

    def __len__(self) -> int:
        return self.catalog.num_rows


def write_sky(folder: Path, plan: SkyPlan, workers: int = 1) -> None:
    """Write `catalog.parquet`, `cutouts/`, `truth.parquet` and `spectra.parquet` into a folder.

    Sources are made and written in blocks, so that memory does not grow with their number,
    and the number of workers changes no byte. Each file appears whole or not at all.

    Parameters
    ----------
    folder : Path
        Made if it is missing; a mock sky that is there is replaced.
    workers : int
        Processes that make sources.

    Raises
    ------
    OutputError
        If one of the files exists and is not of a mock sky, or cannot be written.
    """
    from targetsel.scoring import DEFAULT
    from targetsel.scoring.ensemble import find_ensemble
    from targetsel.spectra.decoder import FILE_NAME, Decoder

    check_folder(folder)
    return_freed_memory()
    encode = Decoder.read(find_ensemble(DEFAULT)).encode
    latents_of = {DECODER_KEY: sha256_of_file(find_ensemble(DEFAULT) / FILE_NAME)}
    sinks: dict[str, ParquetSink] = {}

    def pieces() -> Iterator[Piece]:
        blocks = tracked(_blocks(plan, workers), "simulating", plan.n, "sources", len)
        for made in blocks:
            latents, _ = encode(matrix(made.spectra["flux_true"]))
            tables = (made.catalog, with_latents(made.truth, latents), made.spectra)
            for name, table in zip(TABLES, tables, strict=True):
                if name not in sinks:
                    rows = SPECTRA_PER_GROUP if name == "spectra" else 8192
                    sinks[name] = files.enter_context(
                        ParquetSink(folder / f"{name}.parquet", table.schema, rows)
                    )
                    sinks[name].footer.update(plan.footer())
                    sinks[name].footer.update(latents_of if name == "truth" else {})
                sinks[name].write(table)
            ids, ra, dec = (made.catalog[name].to_numpy() for name in ("source_id", "ra", "dec"))
            bands, scale = plan.survey.bands, plan.survey.pixel_scale
            lie = Orientation.of([NORTH_UP] * len(ids))  # by definition
            yield Cutouts(ids, made.flux, bands, scale, orientation=lie), ra, dec

    sky_sigma = plan.variation.survey(plan.survey).sky_sigma.tolist()
    with _for_one_run(folder), contextlib.ExitStack() as files:
        write_store(folder / CUTOUTS, pieces(), sky_sigma, footer=plan.footer())


def check_folder(folder: Path) -> None:
    """Make a folder for a mock sky, unless it holds other files under the sky's names.

    Raises
    ------
    OutputError
        If it does, or cannot be made.
    """
    make_folder(folder)
    check_replaceable(folder / CUTOUTS)
    parts = sorted((folder / CUTOUTS).glob("*"))
    for path in [*(folder / f"{name}.parquet" for name in TABLES), *parts]:
        if path.exists() and not _is_mock(path):
            raise OutputError(
                f"{path}: already exists and is not of a mock sky. Choose another folder."
            )
    change_in_place(folder)  # whose footers were read just now


def _is_mock(path: Path) -> bool:
    """Whether a file is one that `write_sky` wrote."""
    try:
        return "mock" in read_footer(path)
    except CatalogError:
        return False


@contextlib.contextmanager
def _for_one_run(folder: Path) -> Iterator[None]:
    """Lock a sky's folder for one run; temporary files of interrupted runs are removed.

    Raises
    ------
    OutputError
        If another run holds it.
    """
    place = folder / ".mock"
    with held(place):
        for name in (CUTOUTS, *(f"{name}.parquet" for name in TABLES)):
            for left in folder.glob(f".{name}.*.tmp"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            yield
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _blocks(plan: SkyPlan, workers: int) -> Iterator[_Made]:
    """The blocks of a sky in their order; a few are computed ahead of use."""
    if workers == 1:
        yield from (_make(plan, start) for start in plan.blocks)
        return
    try:
        with _one_thread_each():
            yield from map_bounded(
                _make_here,
                plan.blocks,
                workers,
                ahead=workers,
                processes=True,
                initializer=_begin,
                initargs=(plan,),
            )
    except BrokenProcessPool:
        raise MockError(
            "a process that makes sources was ended from outside, perhaps for want of memory. "
            "Give fewer --workers."
        ) from None


_plans: list[SkyPlan] = []  # plan of a worker process


def _begin(plan: SkyPlan) -> None:
    """Give a process its plan once. Sent with every block, it would fill the pipe to a killed
    process, on which some versions of Python wait forever."""
    return_freed_memory()
    _plans.append(plan)


def _make_here(start: int) -> _Made:
    return _make(_plans[0], start)


def _make(plan: SkyPlan, start: int) -> _Made:
    made = observe_block(plan.sources(start), plan.seed, plan.survey, plan.variation)
    catalog = catalog_table(made, weighted=bool(plan.variation.over_sampling))
    return _Made(made.flux, catalog, truth_table(made), spectra_table(made))


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Start processes inside the block with one thread each."""
    before = {name: os.environ.get(name) for name in THREAD_LIMITS}
    os.environ.update(dict.fromkeys(THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# ---------------------------------------------------------------------- tables


def catalog_table(sources: MockSources, weighted: bool) -> pa.Table:
    """The catalog that an observer would have; with weights for an over-sampled sky."""
    galaxies = sources.galaxies
    values = [galaxies.source_id, galaxies.group_id, galaxies.ra, galaxies.dec, galaxies.redshift]
    values += [*galaxies.flux.T, ab_magnitude(galaxies.flux[:, 2]), sources.weight]
    return _table(zip(catalog_columns(weighted), values, strict=False))


def catalog_columns(weighted: bool) -> list[Column]:
    """The columns of a mock catalog, in which some galaxies were moved farther away."""
    about = (
        "SDSS Petrosian flux in {}, corrected for Galactic extinction; simulated where the galaxy "
        "was made fainter or moved farther away"
    )
    redshift = "SDSS spectroscopic redshift, or a simulated one beyond the real sample"
    columns = [
        Column("source_id", pa.int64(), "", "meta.id;meta.main", "mock source"),
        Column("group_id", pa.int64(), "", "meta.id",
               f"{REAL} behind the source: its row in kcorrect's file"),
        Column("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "right ascension, ICRS"),
        Column("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "declination, ICRS"),
        Column("redshift", pa.float32(), "", "src.redshift", redshift),
        *(Column(f"flux_{band}_sdss", pa.float32(), "nJy", "phot.flux.density", about.format(band))
          for band in SDSS),
        Column("rmag", pa.float32(), "mag", "phot.mag;em.opt.R", "of flux_r_sdss, AB"),
    ]  # fmt: skip
    return [*columns, WEIGHT] if weighted else columns


def truth_table(sources: MockSources) -> pa.Table:
    """One row per source: redshift, proxies of the noise-free fiber spectrum, mock parameters."""
    galaxies = sources.galaxies
    proxies = measure(Spectra(galaxies.source_id, sources.spectra[:, None], wavelengths()))
    values = [galaxies.source_id, galaxies.group_id, sources.weight, galaxies.redshift]
    values += [proxies[name][:, 0] for name in PROXIES]
    values += [*sources.widths.values(), *sources.fiber_colours.values(), sources.snr]
    values += [getattr(sources.structure, name) for name in COMPONENTS]
    columns = truth_columns(sources.widths, sources.fiber_colours)
    return _table(zip(columns, values, strict=True))


def truth_columns(lines: Iterable[str], colours: Iterable[str]) -> list[Column]:
    """The columns of a mock sky's truth, for lines such as halpha and colours such as g_r."""
    redshift = Column(TRUE_REDSHIFT, pa.float32(), "", "src.redshift", "redshift of the source")
    columns = [*IDS, WEIGHT, redshift]
    for name in PROXIES:
        about = DESCRIPTIONS[name] + ", on the noise-free mock spectrum"
        columns.append(_number(name, UNITS[name], about))
    for name in lines:
        about = (
            f"equivalent width of {name} that the mock spectrum was given, over the continuum at "
            "the line itself: at the bottom of any absorption"
        )
        columns.append(_number(f"input_{name}", "Angstrom", about))
    for name in colours:
        a, b = name.split("_")
        about = f"{a} - {b} of what the fiber sees, without noise or extinction"
        columns.append(_number(f"fiber_{name}", "mag", about))
    columns.append(_number("snr", "", "median signal to noise of a pixel of the mock spectrum"))
    columns += (_number(name, *about) for name, about in COMPONENTS.items())
    return columns


def spectra_table(sources: MockSources) -> pa.Table:
    """One row per source: its spectrum on the decoder's rest-frame grid, with noise and without."""
    galaxies = sources.galaxies
    values = [galaxies.source_id, galaxies.group_id]
    values += [sources.measured, sources.ivar, sources.spectra]
    return _table(zip(spectra_columns(), values, strict=True))


def spectra_columns() -> list[Column]:
    """The columns of a mock sky's spectra."""
    unit = "quadratic mean of the noise-free spectrum's flux density, times 1000^1/2"
    return [
        *IDS,
        _lists("flux", 1000, f"mock spectrum with noise, in units of the {unit}"),
        _lists("ivar", 1000, "inverse variance of flux"),
        _lists("flux_true", 1000, "mock spectrum without noise; sum of squares 1"),
    ]


def with_latents(table: pa.Table, latents: np.ndarray) -> pa.Table:
    """A truth table with the column `latent`, of shape (N, D)."""
    return table.append_column(latent_column(latents.shape[1]).field, list_column(latents))


def latent_column(n_latents: int) -> Column:
    """The column of true latents that the demonstration adds to a mock sky's truth."""
    about = "standardised latents of the noise-free mock spectrum, by the shipped decoder"
    return _lists("latent", n_latents, about)


def _number(name: str, unit: str, about: str) -> Column:
    return Column(name, pa.float32(), unit, "", about)


def _lists(name: str, length: int, about: str) -> Column:
    return Column(name, pa.list_(pa.float32(), length), "", "", about)


def _table(filled: Iterable[Filled]) -> pa.Table:
    """A table of columns and their values, (N,) or (N, K)."""
    columns, values = zip(*filled, strict=True)
    arrays = [arrow_column(each, column.type) for column, each in zip(columns, values, strict=True)]
    return pa.table(arrays, schema=schema_of(columns))


# ---------------------------------------------------------------------- pictures


def check_page(folder: Path, page: Path, variation: Path | None = None) -> None:
    """Refuse to draw the page of a sky over one of its files, or over that of its variation."""
    require("plots", "A picture")
    check_folder(folder)
    drawn_from = [folder / CUTOUTS, *(folder / f"{name}.parquet" for name in TABLES)]
    check_output(page, drawn_from if variation is None else [*drawn_from, variation])


def draw_page(folder: Path, path: Path) -> int:
    """Write a PNG with the first sources of the mock sky in a folder; return their number.

    Each has its redshift, r magnitude and the width of Halpha + [NII] in its noise-free spectrum.
    """
    from targetsel.imaging.picture import draw_mosaic

    store = CutoutStore.open(folder / CUTOUTS)
    catalog, truth = (_first_rows(folder / f"{name}.parquet") for name in ("catalog", "truth"))
    usual = (each for each in BLUE_GREEN_RED if set(each) <= set(store.bands))
    bands = next(usual, store.bands[:3])
    cutouts = store.read(catalog["source_id"].to_numpy()).select_bands(bands)
    columns = (catalog["redshift"], catalog["rmag"], truth["ew_halpha_nii"])
    titles = [
        f"z {redshift:.2f}  r {magnitude:.1f}  {round(float(width))} Å"
        for redshift, magnitude, width in zip(*(each.to_numpy() for each in columns), strict=True)
    ]
    mock = read_footer(folder / "catalog.parquet")["mock"]
    caption = (
        f"SIMULATED images, survey {mock['survey']}, seed {mock['seed']}, link "
        f"{mock['variation']['link']:g}. Redshift, r magnitude, equivalent width of Halpha + [NII]"
    )
    draw_mosaic(cutouts, path, titles, caption)
    return len(cutouts)


def _first_rows(path: Path) -> pa.RecordBatch:
    with pq.ParquetFile(path) as file:
        return next(file.iter_batches(MOST_DRAWN))
