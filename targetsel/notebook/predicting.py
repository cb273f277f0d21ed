"""Reading, packing and scoring, and what is added to scored catalogs, for notebooks."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from targetsel.errors import CutoutError
from targetsel.rules.rules import Rules
from targetsel.tables.any_form import AnyTable, is_path, paths_in

if TYPE_CHECKING:
    from targetsel.calibration.calibration import Calibration
    from targetsel.imaging.cutout import Cutouts
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.packing import Packed
    from targetsel.imaging.store import CutoutStore
    from targetsel.scored.rows import Scored
    from targetsel.scoring.ensemble import Ensemble

AnyPath: TypeAlias = "str | os.PathLike[str]"
AnyCutouts: TypeAlias = "AnyPath | CutoutStore | Folder | Cutouts"
AnyEnsemble: TypeAlias = "AnyPath | Ensemble"
Known: TypeAlias = "tuple[AnyPath, AnyPath]"
DEFAULT = "mock-ps1"


def read(path: AnyPath) -> Any:
    """Read a file or folder as the kind of thing that its content shows.

    Parameters
    ----------
    path : str or Path
        A catalog in any format, a scored catalog, a target list, a cutout store, a folder of
        images, an ensemble, or a rule file. In catalogs the columns of ids and positions [deg] are
        found by their usual names; `Catalog.read` takes other names.

    Returns
    -------
    Catalog, Scored, TargetList, CutoutStore, Folder, Ensemble or Rules

    Raises
    ------
    TargetselError
        If there is nothing at the path, or it is damaged or of no known kind.
    """
    from targetsel.tables.files import PARQUET_SUFFIXES

    place = Path(path)
    if place.suffix.lower() in (".yaml", ".yml"):
        return Rules.read(place)
    if place.is_dir() and (place / "card.json").exists():
        from targetsel.scoring.ensemble import Ensemble

        return Ensemble.read(place)
    if place.is_dir() and (found := _images_in(place)) is not None:
        return found
    if place.is_file() and place.suffix.lower() in PARQUET_SUFFIXES:
        return _read_parquet(place)
    from targetsel.sky.catalog import Catalog

    return Catalog.read(place)


def _read_parquet(path: Path) -> Any:
    from targetsel.imaging.store import KEY, CutoutStore
    from targetsel.scored.rows import Scored
    from targetsel.selection.target_list import FORMAT, TargetList
    from targetsel.sky.catalog import Catalog
    from targetsel.tables.parquet import footer_in
    from targetsel.tables.reading import ParquetReader

    with ParquetReader(path) as file:
        entries, names = file.footer_entries, {*file.schema.names}
    if KEY in entries:
        return CutoutStore.open(path)
    if footer_in(entries).get("format") == FORMAT:
        return TargetList.read(path)
    if {"member_mean", "typicality"} & names and "status" in names:
        return Scored.read(path)
    return Catalog.read(path)


def _images_in(folder: Path) -> CutoutStore | Folder | None:
    """The cutout store in a folder, or the folder as one of images; None if it is neither."""
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.store import KEY, CutoutStore
    from targetsel.tables.reading import ParquetReader

    for each in sorted(folder.glob("*.parquet")):
        with ParquetReader(each, CutoutError) as file:
            return CutoutStore.open(folder) if KEY in file.footer_entries else None
    with contextlib.suppress(CutoutError):
        return Folder.open(folder)
    return None


def pack(
    images: AnyPath | Folder | Cutouts,
    catalog: AnyTable,
    output: AnyPath,
    *,
    bands: str | None = None,
    pixel_scale: float | None = None,
    size: int | None = None,
    zeropoint: float | None = None,
) -> CutoutStore:
    """Pack images into a cutout store, as `targetsel cutouts pack` does.

    Parameters
    ----------
    images : str, Path, Folder or Cutouts
        A folder of FITS or .npy files named by their sources' ids; or cutouts in memory.
    catalog : str, Path or table
        Ids and positions [deg, ICRS] of the sources.
    output : str or Path
        The folder of the store.
    bands : str, optional
        Bands in their order, such as "grizy".
    pixel_scale : float, optional
        [arcsec]
    size : int, optional
        Width and height to keep [pixel].
    zeropoint : float, optional
        AB magnitude of one count, for files that do not give it.

    Returns
    -------
    CutoutStore

    Raises
    ------
    CutoutError, CatalogError, OutputError
        If the images cannot be used, have no source of the catalog, or the store not be written.
    """
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.store import CutoutStore
    from targetsel.photometry.bands import parse_bands

    if is_path(images):
        named = parse_bands(bands) if bands is not None else None
        images = Folder.open(Path(str(images)), named, pixel_scale, size, zeropoint)
    _pack(images, catalog, Path(output))
    return CutoutStore.open(Path(output))


def _pack(images: Any, catalog: AnyTable, path: Path, exactly: bool = False) -> Packed | int:
    from targetsel.imaging import packing
    from targetsel.imaging.cutout import Cutouts
    from targetsel.imaging.store import ASINH, FLOAT
    from targetsel.sky.catalog import Catalog, CatalogFile
    from targetsel.tables.ids import matched

    if not isinstance(images, Cutouts):
        return packing.pack(
            images, CatalogFile.open(catalog).batches(256), path, images.sky_sigma()
        )
    sources = Catalog.read(catalog)
    rows = matched(images.source_id, sources.source_id)
    if (rows < 0).all():
        raise CutoutError(
            f"the cutouts: none of their {len(images):,} ids is in the catalog (such as "
            f"{images.source_id[0]} and {sources.source_id[0]}). Give the catalog of these sources."
        )
    found, rows = images.take(rows >= 0), rows[rows >= 0]
    pieces = [(found, sources.ra[rows], sources.dec[rows])]
    encoding = FLOAT if exactly else ASINH
    return packing.write_store(path, pieces, images.sky_sigma(), encoding)


@contextlib.contextmanager
def _as_store(cutouts: AnyCutouts, catalog: AnyTable) -> Iterator[CutoutStore]:
    """Cutouts in any form as a store; images are packed in a temporary folder, as `pack` does."""
    from targetsel.imaging.store import CutoutStore

    given: Any = cutouts
    if is_path(cutouts):
        place = Path(str(cutouts))
        given = _images_in(place) if place.is_dir() else None
        given = given or CutoutStore.open(place)
    if isinstance(given, CutoutStore):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="targetsel-") as folder:
        path = Path(folder) / "cutouts"
        _pack(given, catalog, path, exactly=True)
        yield CutoutStore.open(path)


def ensemble_of(ensemble: AnyEnsemble, device: str = "cpu", calibrated: bool = True) -> Ensemble:
    from targetsel.scoring.ensemble import Ensemble

    if isinstance(ensemble, Ensemble):
        return ensemble
    name = ensemble if isinstance(ensemble, str) else Path(ensemble)
    return Ensemble.read(name, device, calibrated)


def score(
    catalog: AnyTable,
    cutouts: AnyCutouts | None = None,
    ensemble: AnyEnsemble = DEFAULT,
    output: AnyPath | None = None,
    *,
    calibrated: bool = True,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    ra_col: str | None = None,
    dec_col: str | None = None,
    id_col: str | None = None,
) -> Scored:
    """Predict latents and line strengths of every source, as `targetsel score` does.

    Parameters
    ----------
    catalog : str, Path, Catalog or table of astropy, pandas, polars, Arrow or numpy
        Sources with ids and positions [deg, ICRS].
    cutouts : str, Path, CutoutStore, Folder or Cutouts, optional
        A store; or images, which are packed first as `pack` does, to a temporary folder. By
        default the folder cutouts beside the catalog's file.
    ensemble : str, Path or Ensemble
        A folder, the name of a shipped one, or one that was read.
    output : str or Path, optional
        File to stream to, for catalogs of any size; by default the result stays in memory.
    calibrated : bool
        Whether to apply the ensemble's calibration, where it is read here.
    seed : int
        Seed of the draws.
    threads : int
        Worker threads; the result does not depend on them.
    device : str
        Device of the networks where the ensemble is read here: "cpu" or "cuda".
    ra_col, dec_col, id_col : str, optional
        Names of columns that are not found by themselves.

    Returns
    -------
    Scored
        Equivalent widths in Angstrom, positive in emission; every column has its unit.

    Raises
    ------
    CatalogError, CutoutError, EnsembleError, OutputError
    """
    from targetsel.scored.rows import scored_into
    from targetsel.scoring.rows import ScoreOptions
    from targetsel.scoring.stream import score as stream
    from targetsel.sky.catalog import CatalogFile

    sources = CatalogFile.open(catalog, ra_col, dec_col, id_col)
    if cutouts is None:
        beside = [path.parent / "cutouts" for path in paths_in([catalog])]
        if not beside or not beside[0].exists():
            raise CutoutError("no cutouts beside the catalog. Name them as the second argument.")
        cutouts = beside[0]
    network = ensemble_of(ensemble, device, calibrated)
    options = ScoreOptions(seed=seed)
    with _as_store(cutouts, sources) as store:
        return scored_into(
            output, lambda path: stream(sources, store, network, path, options, threads)
        )


def observe(
    scored: AnyTable,
    size: str | float,
    output: AnyPath | None = None,
    *,
    spectrograph: str = "desi",
    lines: Sequence[str] = (),
    exposure: str | None = None,
    snr: float = 5.0,
    brightness: Sequence[str] = (),
    redshift: str | float = "redshift",
    redshift_error: str | float = "",
    ebv: str = "",
    dereddened: bool = False,
) -> Scored:
    """Line fluxes, signal-to-noise ratios and exposure times, as `targetsel observe` adds them.

    Parameters
    ----------
    scored : Scored, str, Path or table
    size : str or float
        Half-light radius: a column, one value for all such as "1.5arcsec", or a number [arcsec].
    output : str or Path, optional
        File to write; by default the result stays in memory.
    spectrograph : str
        "4most", "boss", "desi", "pfs", "sdss", or a YAML file.
    lines : sequence of str
        Emission lines such as "halpha"; by default all.
    exposure : str, optional
        Exposure time such as "1000s" or "15min"; by default the spectrograph's.
    snr : float
        Signal-to-noise ratio that exposure times must reach.
    brightness : sequence of str
        Columns of brightness as the command's option takes them, such as "r_sdss=rmag".
    redshift, redshift_error : str or float
        A column, or one value for all.
    ebv : str
        Column of Galactic E(B-V) [mag]; by default no dust.
    dereddened : bool
        Magnitudes are corrected for Galactic dust already.

    Returns
    -------
    Scored
        With columns such as ``lineflux_halpha``, ``snr_halpha`` and ``exposure_time_halpha`` [s].

    Raises
    ------
    SpectrographError, CatalogError, OutputError
    """
    from targetsel.observing.observation import Observation, write_observed
    from targetsel.scored.rows import scored_into

    observation = Observation.of(
        scored,
        size,
        spectrograph=spectrograph,
        lines=lines,
        exposure=exposure,
        snr=float(snr),
        brightness=brightness,
        redshift=str(redshift),
        redshift_error=str(redshift_error),
        reddening=ebv,
        dereddened=dereddened,
    )
    return scored_into(output, lambda path: write_observed(scored, observation, path))


def compare(
    scored: AnyTable,
    spectra: AnyPath,
    output: AnyPath | None = None,
    *,
    ensemble: AnyEnsemble = DEFAULT,
    seed: int = 0,
) -> Scored:
    """The scored catalog with the surprise of each measured spectrum, as `targetsel compare`.

    Parameters
    ----------
    scored : Scored, str, Path or table
    spectra : str or Path
        Latents of measured spectra, as `targetsel spectra encode` writes them.
    output : str or Path, optional
        File to write; by default the result stays in memory.
    ensemble : str, Path or Ensemble
        The one that scored the catalog.
    seed : int
        Seed of the posterior draws.

    Returns
    -------
    Scored

    Raises
    ------
    CatalogError, EnsembleError, OutputError
    """
    from targetsel.scored.rows import scored_into
    from targetsel.scoring.surprise import compare as compare_with

    network = ensemble_of(ensemble, calibrated=False)
    return scored_into(
        output, lambda path: compare_with(scored, Path(spectra), network, path, seed)
    )


def calibrate(
    scored: AnyTable, truth: AnyPath, ensemble: AnyEnsemble, *, local: bool = True
) -> Calibration:
    """Fit an ensemble's calibration to sources of known spectra, as `targetsel calibrate`.

    Parameters
    ----------
    scored : Scored, str, Path or table
        Scored with ``calibrated=False``, of sources that were not used in training.
    truth : str or Path
        Parquet with the ids and the true latents, proxies or both.
    ensemble : str, Path or Ensemble
    local : bool
        Also correct intervals by all that is predicted of a source.

    Returns
    -------
    Calibration
        `Calibration.write` writes it to the ensemble's folder, where `score` finds it.

    Raises
    ------
    CatalogError, EnsembleError
    """
    from targetsel.calibration.fitting import calibrate as fit

    return fit(scored, Path(truth), ensemble_of(ensemble, calibrated=False), local=local)
