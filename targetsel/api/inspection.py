"""Pages on which people inspect targets, and their notes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import (
    AnyEnsemble,
    AnyPath,
    AnyPaths,
    AnySpectra,
    Labelled,
    ensemble_of,
    pair_of,
    path_of,
    paths_of,
    store_of,
)
from targetsel.errors import OutputError
from targetsel.inspection import PORT
from targetsel.remote.copies import copies, with_addresses
from targetsel.rules.rules import AnyRules, Rules
from targetsel.scoring import DEFAULT

if TYPE_CHECKING:
    from targetsel.imaging.store import CutoutStore
    from targetsel.inspection.merging import MergedNotes
    from targetsel.inspection.page import InspectionPage


@with_addresses("output")
def inspect(
    targets: AnyPath,
    output: AnyPath,
    *,
    cutouts: AnyPath | CutoutStore | None = None,
    scored: AnyPath | None = None,
    rules: AnyRules | None = None,
    spectra: AnyPaths | None = None,
    known: AnySpectra | None = None,
    known_radius: float = 1.0,
    like: Labelled | None = None,
    ensemble: AnyEnsemble = DEFAULT,
    serve: bool = False,
    notes: AnyPath | None = None,
    port: int = PORT,
) -> InspectionPage:
    """Write a page on which people look at targets and note what they see, as `targetsel inspect`.

    Its notes stay in the browser until they are exported. A page that is served keeps them in a
    file; the server is a thread of this process.

    Parameters
    ----------
    targets : str or Path
        A target list or a scored catalog.
    output : str or Path
        Folder to write; a page that is there is replaced, and its notes stay in the browsers.
    cutouts : str, Path or CutoutStore, optional
        The store of the pictures; by default the one that was scored, if it lies beside the list
        or the scored catalog. Without one there are no pictures.
    scored : str or Path, optional
        The scored catalog that a target list was selected from; by default the one beside it.
    rules : Rules, str, Path, dict, or a list of these, optional
        Rules whose conditions are shown, in place of those of the list.
    spectra : str, Path, or several, optional
        Files of measured spectra, or folders of them, drawn over the predicted ones.
    known, known_radius
        Spectra that sources may have already, as for `select`, where the rules ask for these.
    like : pair of str or Path, optional
        Scored catalog of labelled sources, such as those of a training or calibration, and a truth
        file with what was measured of them. The three most alike are shown beside each target.
    ensemble : str, Path or Ensemble
        The one that scored the catalog.
    serve : bool
        Serve the page to browsers of this machine, and keep its notes in a file.
    notes : str or Path, optional
        CSV file for the notes of a page that is served; by default beside the page's folder and
        named as it, such as ``page.notes.csv``. Notes that are there stay, and are shown.
    port : int
        Port on 127.0.0.1 of a page that is served; 0 takes one that is free.

    Returns
    -------
    InspectionPage
        Its `path` is the file to open in a browser. Wavelengths and equivalent widths on it are in
        Angstrom. Where it is served, `served.address` is what to open, and `served.close()` ends
        that, as does the end of a ``with page.served:`` block; `served.wait()` waits for Ctrl-C.

    Raises
    ------
    CatalogError
        If a file cannot be read, no scored catalog beside the list is the list's, it lacks a source
        of the list, or a file of notes is damaged or of another catalog.
    CutoutError
        If the store cannot be read, or has none of the sources.
    EnsembleError
        If there is no such ensemble, or it is not the one that scored the catalogs.
    RuleError
        If the rules cannot be understood, or do not fit the columns of the catalog.
    SpectrumError
        If no measured spectrum is of any of the targets.
    OutputError
        If the folder holds other files, or cannot be written; or if another server keeps notes in
        the same file, or the port is taken.
    ExtraError
        If matplotlib is not installed.

    See Also
    --------
    show : Draw one source.
    explain : Every condition for one source, in words.

    Examples
    --------
    >>> import targetsel as ts
    >>> page = ts.inspect("agn.targets.parquet", "page")
    >>> page.n_targets == len(ts.read("agn.targets.parquet"))
    True

    With notes in ``page.notes.csv``:

    >>> page = ts.inspect(
    ...     "agn.targets.parquet", "page", scored="catalog.scored.parquet", serve=True, port=0
    ... )
    >>> with page.served:
    ...     page.served.address.startswith("http://127.0.0.1:")
    True
    """
    from targetsel.inspection.page import PageRequest, serve_inspection, write_inspection
    from targetsel.report.companions import companions_of
    from targetsel.scored.known_match import KnownSpectra

    several = rules if isinstance(rules, list | tuple) else [] if rules is None else [rules]
    asked = PageRequest(
        Path(targets),
        companions_of(Path(targets), path_of(scored), store_of(cutouts)),
        ensemble_of(ensemble),
        [Rules.of(each) for each in several],
        [] if spectra is None else paths_of(spectra),
        KnownSpectra.of(known, known_radius),
        pair_of(like),
    )
    if not serve:
        if notes is not None:
            raise OutputError(
                f"{notes}: only a page that is served keeps notes in a file. Add --serve, or leave "
                "--notes out."
            )
        if port != PORT:
            raise OutputError(
                f"port {port}: only a page that is served has one. Add --serve, or leave "
                "--port out."
            )
        return write_inspection(asked, Path(output))
    for each in (output, notes):
        if each is not None and (place := copies.place_of(Path(each))):
            raise OutputError(f"{place}: a page is served from files here. Choose a name here.")
    return serve_inspection(asked, Path(output), path_of(notes), port)


@with_addresses("output")
def inspect_merge(notes: AnyPaths, output: AnyPath | None = None) -> MergedNotes:
    """Join notes of several people by source, as `targetsel inspect-merge`.

    Parameters
    ----------
    notes : str, Path, or several
        CSV files that pages of `inspect` or DESI's prospect exported, or in which a page that is
        served keeps its notes, also while it is served.
    output : str or Path, optional
        Table to write, in the format of its ending; by default it stays in memory.

    Returns
    -------
    MergedNotes
        Its `table` has a row for each source; its `agreements` tell how far every two people, and
        last all, agree on the quality.

    Raises
    ------
    CatalogError
        If a file cannot be read as notes, or there are none.
    OutputError
        If the table cannot be written.

    See Also
    --------
    inspect : Writes the pages.
    select : Takes the table by ``known``.

    Examples
    --------
    >>> import targetsel as ts
    >>> for who, quality in {"ada": 4, "bea": 3}.items():
    ...     line = f"119,{who},{quality},0.0254"
    ...     _ = open(f"{who}.csv", "w").write(f"source_id,VI_scanner,VI_quality,VI_z\\n{line}\\n")
    >>> merged = ts.inspect_merge(["ada.csv", "bea.csv"])
    >>> merged.table["quality"].to_pylist(), merged.n_disputes
    ([3.5], 0)
    """
    from targetsel.inspection.merging import merge_notes

    return merge_notes(paths_of(notes), path_of(output))
