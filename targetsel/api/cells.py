"""Cells of the space of features, in which spectra are counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from targetsel.api.given import AnyPath, AnySpectra, AnyTargets, path_of, targets_of
from targetsel.remote.copies import with_addresses
from targetsel.tables.any_form import AnyTable

if TYPE_CHECKING:
    from targetsel.feature_cells.adding import CellCounts
    from targetsel.scored.rows import Scored


@with_addresses("output", "picture")
def cells(
    scored: AnyTable,
    output: AnyPath | None = None,
    *,
    cells: int = 200,
    features: Literal["latents", "colours"] = "latents",
    like: AnyPath | None = None,
    known: AnySpectra | None = None,
    known_radius: float = 1.0,
    targets: AnyTargets | None = None,
    brightness: Sequence[str] = (),
    seed: int = 0,
    picture: AnyPath | None = None,
) -> Scored[CellCounts]:
    """The scored catalog with the cell of each source and its spectra, as `targetsel cells`.

    Cells are regions of the space of features, found by k-means. The columns ``cell``,
    ``cell_sources`` and ``cell_known`` tell rules which sources are of a kind of which few have
    spectra: ``limit: {per_cell: 5}``, ``where: cell_known < 3``.

    Parameters
    ----------
    scored : Scored, str, Path or table
    output : str or Path, optional
        File to write; by default the result stays in memory.
    cells : int
        How many to find, 2 to 5000.
    features : str
        "latents", the means of the predicted posterior; or "colours", a magnitude [mag] and the
        colours of neighbouring bands [mag].
    like : str or Path, optional
        A file that this function wrote, whose cells are taken over; `cells`, `features` and `seed`
        then do not matter.
    known : str, Path, table, or a list of these, optional
        Spectra that were taken, as of `select`. By default the catalog's own column ``known`` of
        true and false counts, if it has one.
    known_radius : float
        Largest distance of such a spectrum from its source [arcsec].
    targets : TargetList, str or Path, optional
        A list that was chosen from the catalog; ``cell_targets`` then counts its targets.
    brightness : sequence of str
        Which column holds which band, such as "r_sdss=rmag", for colours.
    seed : int
        Of the sample of which cells are found, and of where k-means begins.
    picture : str or Path, optional
        Picture to write (PNG, PDF or SVG): cells with and without spectra.

    Returns
    -------
    Scored
        ``run`` has the counts of each cell: ``sources``, ``known`` and ``targets``, shape (C,).

    Raises
    ------
    CatalogError
        If a file cannot be read, lacks features, or has fewer sources with features than cells.
    EnsembleError
        If cells of latents are taken over from a catalog that another ensemble scored.
    ExtraError
        If a picture is asked for, and matplotlib is not installed.
    OutputError
        If a file cannot be written, or is one that is read here.

    See Also
    --------
    select : Chooses targets by rules, which may name these columns.
    selection_function : The chance with which each was chosen.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.cells("catalog.scored.parquet", cells=20, known="known-spectra.parquet")
    >>> int(found.run.sources.sum()) + found.run.n_without_cell == len(found)
    True
    """
    from targetsel.feature_cells.adding import write_cells
    from targetsel.scored.known_match import KnownSpectra
    from targetsel.scored.rows import scored_into

    drawn = path_of(picture)
    if drawn is not None:
        from targetsel.report.canvas import check_suffix

        check_suffix(drawn)
    spectra = KnownSpectra.of(known, known_radius)
    listed = None if targets is None else targets_of(targets).table["source_id"].combine_chunks()

    def write(path: Path) -> CellCounts:
        return write_cells(
            scored,
            path,
            cells=cells,
            features=features,
            like=path_of(like),
            known=spectra,
            targets=listed,
            brightness=brightness,
            seed=seed,
        )

    found = scored_into(output, write)
    if drawn is not None:
        from targetsel.report.cells import write_cells_picture

        assert found.run is not None
        write_cells_picture(found.run, drawn)
    return found
