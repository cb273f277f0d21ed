"""A mock sky on disk: catalog, cutouts, truth and spectra, written as they are made."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, MockError, OutputError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import Piece, check_replaceable, write_store
from targetsel.imaging.picture import composite
from targetsel.imaging.store import CutoutStore
from targetsel.mock.camera import PAN_STARRS, Camera
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.sky import BLOCK, observe_block
from targetsel.mock.tables import catalog_table, spectra_table, truth_table, with_latents
from targetsel.mock.variation import Variation
from targetsel.tables.columns import matrix
from targetsel.tables.files import held, make_folder, sha256_of_file, written_beside
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import DECODER_KEY, ParquetSink, read_footer
from targetsel.version import __version__
from targetsel.workers.pool import map_bounded, return_freed_memory

Progress = Callable[[int, int], None]

TABLES, CUTOUTS = ("catalog", "truth", "spectra"), "cutouts"
SPECTRA_PER_GROUP = 1024
COLUMNS, AT_MOST = 10, 80  # columns and most pictures of a page
BLUE_GREEN_RED = (("g", "r", "i"), ("g", "r", "z"))
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class SkyPlan:
    """Specification of a mock sky, which determines its files.

    Attributes
    ----------
    galaxies : Galaxies
        Real galaxies; further sources repeat them, changed by `Galaxies.realised`.
    n : int
        Number of sources.
    seed : int
    survey : Camera
    variation : Variation
    held_out : bool, optional
        Whether the galaxies are those that no shipped ensemble is trained on (True), or those
        that they are trained on (False); None if they were chosen otherwise.
    """

    galaxies: Galaxies
    n: int
    seed: int = 0
    survey: Camera = PAN_STARRS
    variation: Variation = field(default_factory=Variation)
    held_out: bool | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise MockError(f"{self.n} mock sources asked for, expected at least 1.")
        if self.seed < 0:
            raise MockError(f"seed {self.seed}: expected a whole number that is not negative.")
        if not len(self.galaxies):
            low, high = self.variation.redshift
            raise MockError(
                f"no real galaxy has a redshift between {low:g} and {high:g}. "
                "Most of them lie between 0.03 and 0.2."
            )
        self.variation.zero_points(self.survey)  # checks that its bands are the survey's

    @classmethod
    def of(
        cls,
        n: int,
        seed: int = 0,
        survey: Camera = PAN_STARRS,
        variation: Variation | None = None,
        held_out: bool = False,
    ) -> SkyPlan:
        """A sky of the galaxies that networks are trained on, or of those `held_out` from them.

        The latter are the demonstration's. Their order follows from the seed, so that the first
        sources are a fair sample of all galaxies; beyond the number of galaxies, they are
        repeated as fainter ones.
        """
        variation = variation or Variation()
        chosen = variation.galaxies(Galaxies.of_demonstration(held_out))
        order = np.argsort(uniform(chosen.group_id, seed, "order of the sky")[:, 0], kind="stable")
        return cls(chosen.take(order), n, seed, survey, variation, held_out)

    @property
    def blocks(self) -> range:
        """Start indices of the blocks of sources."""
        return range(0, self.n, BLOCK)

    def sources(self, start: int) -> Galaxies:
        """The galaxies of the block that begins at `start`."""
        places = np.arange(start, min(start + BLOCK, self.n))
        realisation, row = np.divmod(places, len(self.galaxies))
        parts = [
            self.galaxies.take(row[realisation == k]).realised(self.seed, int(k))
            for k in np.unique(realisation)
        ]
        columns = {name: [vars(part)[name] for part in parts] for name in vars(parts[0])}
        return Galaxies(**{name: np.concatenate(values) for name, values in columns.items()})

    def footer(self) -> dict[str, Any]:
        """Provenance that is written into every file."""
        return {
            "images": "simulated",
            "code_version": __version__,
            "mock": {
                "seed": self.seed,
                "n": self.n,
                "survey": self.survey.name,
                "held_out": self.held_out,
                "variation": self.variation.model_dump(mode="json"),
            },
        }


@dataclass(frozen=True)
class _Made:
    """A block of sources, ready to be written."""

    flux: np.ndarray
    catalog: pa.Table
    truth: pa.Table
    spectra: pa.Table


def write_sky(
    folder: Path, plan: SkyPlan, workers: int = 1, progress: Progress = lambda done, total: None
) -> None:
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
    from targetsel.scoring.ensemble import DEFAULT, find_ensemble
    from targetsel.spectra.decoder import FILE_NAME, Decoder

    check_folder(folder)
    return_freed_memory()
    encode = Decoder.read(find_ensemble(DEFAULT)).encode
    latents_of = {DECODER_KEY: sha256_of_file(find_ensemble(DEFAULT) / FILE_NAME)}
    sinks: dict[str, ParquetSink] = {}

    def pieces() -> Iterator[Piece]:
        done = 0
        for made in _made(plan, workers):
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
            yield Cutouts(ids, made.flux, plan.survey.bands, plan.survey.pixel_scale), ra, dec
            done += len(ids)
            progress(done, plan.n)

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
                f"{path}: already exists and is no mock sky's. Choose another folder."
            )


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


def _made(plan: SkyPlan, workers: int) -> Iterator[_Made]:
    """The blocks of a sky in their order; a few are computed ahead of use."""
    if workers == 1:
        yield from (_make(plan, start) for start in plan.blocks)
        return
    try:
        yield from _made_by(workers, plan)
    except BrokenProcessPool:
        raise MockError(
            "a process that makes sources was ended from outside, perhaps for want of memory. "
            "Give fewer --workers."
        ) from None


def _made_by(workers: int, plan: SkyPlan) -> Iterator[_Made]:
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


# ---------------------------------------------------------------------- pictures


def draw_page(folder: Path, path: Path, at_most: int = AT_MOST) -> int:
    """Write a PNG with the first sources of the mock sky in a folder; return their number.

    Each has its redshift, r magnitude and the width of Halpha + [NII] in its noise-free spectrum.
    """
    from matplotlib.figure import Figure

    store = CutoutStore.open(folder / CUTOUTS)
    catalog, truth = (
        _first_rows(folder / f"{name}.parquet", at_most) for name in ("catalog", "truth")
    )
    bands = next(each for each in BLUE_GREEN_RED if set(each) <= set(store.bands))
    cutouts = store.read(catalog["source_id"].to_numpy()).select_bands(bands)
    rows = math.ceil(len(cutouts) / COLUMNS)
    figure = Figure(figsize=(1.6 * COLUMNS, 1.78 * rows + 0.3), layout="constrained")
    panels = np.ravel(figure.subplots(rows, COLUMNS, squeeze=False))
    for panel in panels:
        panel.set_axis_off()
    columns = (catalog["redshift"], catalog["rmag"], truth["ew_halpha_nii"])
    values = zip(*(column.to_numpy() for column in columns), strict=True)
    for panel, picture, (redshift, magnitude, width) in zip(
        panels, composite(cutouts), values, strict=False
    ):
        panel.imshow(picture, origin="lower", interpolation="nearest")
        panel.set_title(f"z {redshift:.2f}  r {magnitude:.1f}  {width:.0f} Å", fontsize=7, pad=2)
    figure.supxlabel(_caption(folder, bands, store), fontsize=9)
    with written_beside(path) as beside:
        figure.savefig(beside, format="png", dpi=110)
    return len(cutouts)


def _first_rows(path: Path, at_most: int):
    with pq.ParquetFile(path) as file:
        return next(file.iter_batches(at_most))


def _caption(folder: Path, bands: tuple[str, ...], store: CutoutStore) -> str:
    mock = read_footer(folder / "catalog.parquet")["mock"]
    side = store.shape[-1] * store.pixel_scale
    return (
        f"SIMULATED images, survey {mock['survey']}, seed {mock['seed']}, link "
        f"{mock['variation']['link']:g}; {''.join(bands)}, {side:.3g} arcsec on a side. Redshift, "
        "r magnitude, equivalent width of Halpha + [NII]"
    )
