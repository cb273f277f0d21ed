"""Pictures of sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import (
    AnyEnsemble,
    AnyPath,
    AnySpectra,
    ensemble_of,
    path_of,
    store_of,
)
from targetsel.remote.copies import with_addresses
from targetsel.rules.rules import AnyRules, Rules
from targetsel.scoring import DEFAULT
from targetsel.tables.any_form import AnyTable, paths_in

if TYPE_CHECKING:
    from targetsel.imaging.store import CutoutStore


@with_addresses("output")
def show(
    scored: AnyTable,
    source_id: int | str,
    cutouts: AnyPath | CutoutStore | None,
    output: AnyPath,
    *,
    rules: AnyRules | None = None,
    known: AnySpectra | None = None,
    known_radius: float = 1.0,
    ensemble: AnyEnsemble = DEFAULT,
) -> Path:
    """Draw one source: cutout, expected spectrum, line strengths, classes, as `targetsel show`.

    Parameters
    ----------
    scored : Scored, str, Path or table
    source_id : int or str
        As in the catalog.
    cutouts : str, Path, CutoutStore or None
        The store of its image; None: the one that was scored, if it lies beside the file.
    output : str or Path
        Picture to write; its ending gives the format.
    rules : Rules, str, Path, dict, or a list of these, optional
        Rules whose classes are listed.
    known, known_radius
        Spectra that the source may have already, as for `select`; the picture says whether.
    ensemble : str, Path or Ensemble
        The one that scored the catalog.

    Returns
    -------
    Path
        The picture; wavelengths and equivalent widths in it are in Angstrom.

    Raises
    ------
    CatalogError
        If the scored catalog cannot be read, is a target list, or has no such source.
    CutoutError
        If the store cannot be read, or is needed and neither given nor found.
    EnsembleError
        If there is no such ensemble, or it is not the one that scored the catalog.
    RuleError
        If the rules cannot be understood, or do not fit the columns of the catalog.
    OutputError
        If the picture cannot be written.
    ExtraError
        If matplotlib is not installed.

    See Also
    --------
    show_all : Draw a whole list.
    explain : Every condition for the source, in words.

    Examples
    --------
    >>> import targetsel as ts
    >>> picture = ts.show("catalog.scored.parquet", 119, "cutouts", "119.png", rules="emission")
    >>> picture.name
    '119.png'
    """
    from targetsel.report.companions import companions_of, refuse_list
    from targetsel.report.latents import check_store
    from targetsel.report.source import draw_source
    from targetsel.scored.known_match import KnownSpectra
    from targetsel.tables.files import check_output

    picture, store = Path(output), store_of(cutouts)
    reason, files = "", paths_in([scored])
    if files:
        refuse_list(files[0])
    if store is None and files:
        beside = companions_of(files[0])
        store, reason = beside.store, beside.reason
    check_output(picture, paths_in([scored, *([] if store is None else [store])]))
    several = rules if isinstance(rules, list | tuple) else [] if rules is None else [rules]
    chosen = [Rules.of(each) for each in several]
    spectra = KnownSpectra.of(known, known_radius)
    network = ensemble_of(ensemble)
    check_store(store, network, reason)
    draw_source(scored, str(source_id), store, network, picture, chosen, spectra)
    return picture


@with_addresses("output")
def show_all(
    targets: AnyPath,
    cutouts: AnyPath | CutoutStore | None,
    output: AnyPath,
    *,
    scored: AnyPath | None = None,
    ensemble: AnyEnsemble = DEFAULT,
) -> int:
    """Draw every source of a list, many on a page, as `targetsel show --all` does.

    Parameters
    ----------
    targets : str or Path
        A target list or a scored catalog.
    cutouts : str, Path, CutoutStore or None
        The store of their images; None: the one that was scored, if it lies beside the list.
    output : str or Path
        PDF file to write.
    scored : str or Path, optional
        The scored catalog that a target list was selected from; by default the one beside it.
    ensemble : str, Path or Ensemble
        The one that scored the catalog.

    Returns
    -------
    int
        The number of sources.

    Raises
    ------
    CatalogError
        If a file cannot be read or has no sources, or the scored catalog lacks one of the list.
    CutoutError
        If the store cannot be read, or is needed and neither given nor found.
    EnsembleError
        If there is no such ensemble, or it is not the one that scored the catalog.
    OutputError
        If the pages cannot be written.
    ExtraError
        If matplotlib is not installed.

    See Also
    --------
    show : Draw one source.
    show_cutouts : Draw cutouts alone.

    Examples
    --------
    >>> import targetsel as ts
    >>> targets = "oiii.targets.parquet"
    >>> n_sources = ts.show_all(targets, "cutouts", "sheet.pdf", scored="catalog.scored.parquet")
    >>> n_sources == len(ts.read(targets))
    True
    """
    from targetsel.report.companions import companions_of
    from targetsel.report.latents import check_store
    from targetsel.report.sheet import draw_sheet
    from targetsel.tables.files import check_output

    listed, sheet, network = Path(targets), Path(output), ensemble_of(ensemble)
    beside = companions_of(listed, path_of(scored), store_of(cutouts))
    check_output(sheet, paths_in([listed, beside.scored, beside.store]))
    check_store(beside.store, network, beside.reason)
    return draw_sheet(listed, beside.scored, beside.store, network, sheet)
