"""The commands as functions, under the same words: what `targetsel` as `ts` offers in a notebook.

Each takes paths or things in memory, and returns what the command would write. Without `output`
the result stays in memory; it has the same rows as the command's file. What an import costs is
paid where a function is called, so that `import targetsel` is instant.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from targetsel.errors import CatalogError, CutoutError
from targetsel.rules.rules import AnyRules, Rules
from targetsel.tables.any_form import AnyTable, is_path, paths_in

if TYPE_CHECKING:
    from targetsel.calibration.calibration import Calibration
    from targetsel.handoff.export import Export
    from targetsel.imaging.cutout import Cutouts
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.packing import Packed
    from targetsel.imaging.store import CutoutStore
    from targetsel.scored.rows import Scored
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.selection.funnel import Funnel
    from targetsel.selection.reports.difference import ClassDifference
    from targetsel.selection.reports.explain import Explanation
    from targetsel.selection.reports.forecast import ClassForecast
    from targetsel.selection.reports.tuning import Tuned
    from targetsel.selection.target_list import TargetList

AnyPath: TypeAlias = "str | os.PathLike[str]"
AnyCutouts: TypeAlias = "AnyPath | CutoutStore | Folder | Cutouts"
AnyEnsemble: TypeAlias = "AnyPath | Ensemble"
Known: TypeAlias = "tuple[AnyPath, AnyPath]"
DEFAULT = "mock-ps1"


def read(path: AnyPath) -> Any:
    """What a file or folder holds, by its content.

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


def _pack(images: Any, catalog: AnyTable, path: Path) -> Packed | int:
    from targetsel.imaging import packing
    from targetsel.imaging.cutout import Cutouts
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
    return packing.write_store(path, pieces, images.sky_sigma())


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
        _pack(given, catalog, path)
        yield CutoutStore.open(path)


def _ensemble(ensemble: AnyEnsemble, device: str = "cpu", calibrated: bool = True) -> Ensemble:
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
    network = _ensemble(ensemble, device, calibrated)
    options = ScoreOptions(seed=seed)
    with _as_store(cutouts, sources) as store:
        return scored_into(
            output, lambda path: stream(sources, store, network, path, options, threads)
        )


def select(
    scored: AnyTable,
    rules: AnyRules,
    output: AnyPath | None = None,
    *,
    known: Known | None = None,
    threads: int = 1,
) -> TargetList:
    """The targets of a scored catalog, as `targetsel select` chooses them.

    Parameters
    ----------
    scored : Scored, str, Path or table
    rules : Rules, str, Path, dict, or a list of these
        A file, the name of a shipped one, its text or content; the classes of several go into one
        list.
    output : str or Path, optional
        File to write the list to, by default none.
    known : pair of str or Path, optional
        A scored catalog and the truth about its sources, for classes with a guarantee.
    threads : int
        Row groups read at the same time; the list is the same.

    Returns
    -------
    TargetList

    Raises
    ------
    CatalogError, RuleError, OutputError
    """
    from targetsel.selection.scored_sources import scored_catalog
    from targetsel.selection.select import select_from
    from targetsel.selection.target_list import TargetList
    from targetsel.tables.files import check_table_output

    chosen = Rules.of(rules)
    pair = _paths(known)
    if output is not None:
        check_table_output(Path(output), (*paths_in([scored]), *(pair or ())))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="targetsel-"))
        catalog = stack.enter_context(scored_catalog(scored, chosen))
        path = Path(folder) / "list.targets.parquet"
        select_from(catalog, path, threads, pair)
        targets = TargetList.read(path)
    if output is not None:
        targets.write(output)
    return targets


def _paths(known: Known | None) -> tuple[Path, Path] | None:
    return None if known is None else (Path(known[0]), Path(known[1]))


def funnel(scored: AnyTable, rules: AnyRules) -> tuple[Funnel, ...]:
    """The sources that pass condition after condition, class by class, as `targetsel funnel`.

    Parameters
    ----------
    scored : Scored, str, Path or table
    rules : Rules, str, Path, dict, or a list of these

    Returns
    -------
    tuple of Funnel

    Raises
    ------
    CatalogError, RuleError
    """
    from targetsel.selection.scored_sources import funnel as count

    return count(Rules.of(rules), scored)


def explain(scored: AnyTable, rules: AnyRules, source_id: int | str) -> tuple[Explanation, ...]:
    """Every condition for one source, as `targetsel explain` shows it.

    Parameters
    ----------
    scored : Scored, str, Path or table
    rules : Rules, str, Path, dict, or a list of these
    source_id : int or str
        As in the catalog.

    Returns
    -------
    tuple of Explanation
        One for each class; values and thresholds in the units of the conditions.

    Raises
    ------
    CatalogError, RuleError
        If there is no such source, or the rules do not fit the catalog.
    """
    from targetsel.selection.reports.explain import explain as of_source

    return of_source(Rules.of(rules), str(source_id), scored)


def tune(scored: AnyTable, rules: AnyRules, name: str, targets: int) -> Tuned:
    """The bound of a class that gives no more than so many targets, as `targetsel tune`.

    Parameters
    ----------
    scored : Scored, str, Path or table
    rules : Rules, str, Path, dict, or a list of these
    name : str
        The target class.
    targets : int
        Largest number of targets.

    Returns
    -------
    Tuned

    Raises
    ------
    CatalogError, RuleError
        If there is no such class, or it is not clear which bound to move.
    """
    from targetsel.selection.reports.tuning import tune as find

    return find(Rules.of(rules), name, targets, scored)


def forecast(
    scored: AnyTable, rules: AnyRules, *, name: str | None = None, known: Known | None = None
) -> tuple[ClassForecast, ...]:
    """True members, purity and completeness of each class, as `targetsel forecast`.

    Parameters
    ----------
    scored : Scored, str, Path or table
    rules : Rules, str, Path, dict, or a list of these
    name : str, optional
        Only this class.
    known : pair of str or Path, optional
        A scored catalog and the truth about its sources; without it there are no intervals.

    Returns
    -------
    tuple of ClassForecast

    Raises
    ------
    CatalogError, RuleError
    """
    from targetsel.selection.reports.forecast import forecasts

    return forecasts(Rules.of(rules), scored, _paths(known), name)


def diff(
    before: AnyRules | TargetList, after: AnyRules | TargetList, scored: AnyTable = None
) -> tuple[ClassDifference, ...]:
    """The sources that enter or leave, and the conditions for it, as `targetsel diff`.

    Parameters
    ----------
    before, after : TargetList or its file, or rules in any form
        Two lists, or two rule files.
    scored : Scored, str, Path or table, optional
        Needed for rules, and for the reasons.

    Returns
    -------
    tuple of ClassDifference
        One for each class.

    Raises
    ------
    CatalogError, RuleError
    """
    from targetsel.selection.reports.difference import compare_lists, compare_rules
    from targetsel.selection.target_list import TargetList

    pair = [before, after]
    lists = [isinstance(each, TargetList) or str(each).endswith(".parquet") for each in pair]
    if all(lists):
        return compare_lists(_targets(before), _targets(after), scored)
    if any(lists) or scored is None:
        raise CatalogError(
            "diff: expected two target lists, or two sets of rules and the scored catalog."
        )
    return compare_rules(Rules.of(before), Rules.of(after), scored)  # type: ignore[arg-type]


def _targets(targets: Any) -> TargetList:
    from targetsel.selection.target_list import TargetList

    if isinstance(targets, TargetList):
        return targets
    return TargetList.read(Path(targets), needs_footer=False)


def export(
    targets: AnyPath | TargetList,
    tool: str,
    output: AnyPath,
    *,
    config: AnyPath | None = None,
    bin_priorities: bool = False,
    assume_still: bool = False,
    brightness: Sequence[str] = (),
) -> Export:
    """Write targets in the format of a fiber- or slit-assignment tool, as `targetsel export`.

    Parameters
    ----------
    targets : TargetList, str or Path
    tool : str
        Such as "desi", "pfs", "deimos"; `targetsel export --list` shows all.
    output : str or Path
        File to write.
    config : str or Path, optional
        YAML file with the tool's settings.
    bin_priorities : bool
        Merge neighbouring priorities where the tool has fewer.
    assume_still : bool
        Targets without a known proper motion stand still, as galaxies do.
    brightness : sequence of str
        Columns of brightness as the command's option takes them, such as "r=rmag".

    Returns
    -------
    Export
        The files written, the tool's own first.

    Raises
    ------
    HandoffError, OutputError
    """
    from targetsel.handoff.export import export as write
    from targetsel.handoff.export import find_tool
    from targetsel.handoff.prepare import ExportOptions
    from targetsel.tables.files import check_output

    found = find_tool(tool)
    place = None if config is None else Path(config)
    settings = found.settings.read(place, found.name)
    check_output(Path(output), paths_in([targets, *([place] if place else [])]))
    options = ExportOptions(bin_priorities, assume_still, tuple(brightness))
    return write(_targets(targets), found, settings, Path(output), options)


def show(
    scored: AnyTable,
    source_id: int | str,
    cutouts: AnyPath | CutoutStore,
    output: AnyPath,
    *,
    rules: AnyRules | None = None,
    ensemble: AnyEnsemble = DEFAULT,
) -> Path:
    """Draw one source: cutout, expected spectrum, line strengths, classes, as `targetsel show`.

    Parameters
    ----------
    scored : Scored, str, Path or table
    source_id : int or str
        As in the catalog.
    cutouts : str, Path or CutoutStore
        The store that it was scored from.
    output : str or Path
        Picture to write; its ending gives the format.
    rules : Rules, str, Path, dict, or a list of these, optional
        Rules whose classes are listed.
    ensemble : str, Path or Ensemble
        The one that scored the catalog.

    Returns
    -------
    Path
        The picture; wavelengths and equivalent widths in it are in Angstrom.

    Raises
    ------
    CatalogError, CutoutError, EnsembleError, OutputError
    """
    from targetsel.imaging.store import CutoutStore
    from targetsel.report.source import draw_source
    from targetsel.tables.files import check_output

    picture = Path(output)
    check_output(picture, paths_in([scored, cutouts]))
    store = cutouts if isinstance(cutouts, CutoutStore) else CutoutStore.open(Path(cutouts))
    chosen = [] if rules is None else [Rules.of(rules)]
    draw_source(scored, str(source_id), store, _ensemble(ensemble), picture, chosen)
    return picture


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
        Half-light radius: a column, or one value for all [arcsec].
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
    from targetsel.observing.continuum import Magnitudes
    from targetsel.observing.lines import chosen_lines
    from targetsel.observing.observation import Observation, write_observed
    from targetsel.observing.redshift import Redshift, parse_redshift
    from targetsel.observing.spectrograph import Exposure, Spectrograph
    from targetsel.scored.file import ScoredFile
    from targetsel.scored.rows import scored_into

    asked = Exposure.asked(Spectrograph.find(spectrograph), exposure, snr)
    file_of = next(iter(paths_in([scored])), None)
    with ScoredFile(scored) as file:
        magnitudes = Magnitudes.find(file.schema, brightness, False, dereddened, file_of)
    z, error = (parse_redshift(str(each)) for each in (redshift, redshift_error))
    radius = size if isinstance(size, str) else float(size)
    observation = Observation(
        asked, chosen_lines(lines), Redshift(z, error, None), magnitudes, radius, ebv
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

    network = _ensemble(ensemble, calibrated=False)
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

    return fit(scored, Path(truth), _ensemble(ensemble, calibrated=False), local=local)
