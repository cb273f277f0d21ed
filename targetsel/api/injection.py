"""The selection function of images: what would be selected if images were other ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import AnyEnsemble, AnyPath, ensemble_of, store_of
from targetsel.errors import CutoutError
from targetsel.remote.copies import with_addresses
from targetsel.rules.rules import AnyRules, Rules
from targetsel.scoring import DEFAULT
from targetsel.tables.any_form import AnyTable, is_path, paths_in

if TYPE_CHECKING:
    from targetsel.imaging.store import CutoutStore
    from targetsel.injection.figures import Injection
    from targetsel.selection.target_list import TargetList


@with_addresses("output", "page")
def inject(
    targets: TargetList | AnyTable,
    cutouts: AnyPath | CutoutStore,
    rules: AnyRules,
    output: AnyPath | None = None,
    *,
    dim: float | str | Sequence[float] = (),
    blur: float | str | Sequence[float] = (),
    noisier: float | str | Sequence[float] = (),
    classes: str | Sequence[str] = (),
    sources: int = 500,
    seed: int = 0,
    survey: str | None = None,
    ensemble: AnyEnsemble = DEFAULT,
    threads: int = 1,
    page: AnyPath | None = None,
) -> Injection:
    """The share that would be selected of fainter galaxies or in worse images: `targetsel inject`.

    Images of some sources are dimmed, blurred or made noisier, scored as before, and judged by the
    conditions of the rules. The steps of each axis are taken one at a time, and then the last ones
    of all axes together.

    Parameters
    ----------
    targets : TargetList, Scored, str, Path or table
        A target list, or a scored catalog.
    cutouts : str, Path or CutoutStore
        The store that was scored.
    rules : Rules, str, Path, dict, or a list of these
    output : str or Path, optional
        Parquet file to write: a row for each source and step.
    dim : float, or sequence of float
        By how much galaxies are made fainter [mag], or a text such as "0.5,1"; the catalog's
        magnitudes and fluxes follow.
    blur : float, or sequence of float
        Full widths at half maximum of Gaussians that images are blurred by [arcsec]; a seeing of
        s becomes sqrt(s^2 + blur^2).
    noisier : float, or sequence of float
        Factors on the noise of a pixel, at least 1.
    classes : str, or sequence of str
        Names of the classes; by default all.
    sources : int
        Number of sources, those of the smallest hashes of their ids.
    seed : int
        Chooses the sources and draws the noise.
    survey : str, optional
        Survey of the images, such as "ps1", whose card tells how bright the sky is: so that the
        noise of a galaxy's own light is restored, too.
    ensemble : str, Path or Ensemble
        The one that scored the catalog.
    threads : int
        Worker threads; the result does not depend on them.
    page : str or Path, optional
        Report of one page to write, .html.

    Returns
    -------
    Injection
        `shares` has the share selected by class, step and bin of magnitude, with 95 % intervals;
        `states` tells how strange changed images are to the ensemble; `table` has the rows.

    Raises
    ------
    CatalogError
        If the file is neither a target list nor a scored catalog, repeats a source, or lacks what
        the rules need.
    CutoutError
        If a step or the survey is none, or the store cannot be read or has none of the sources.
    EnsembleError
        If another ensemble scored the file, or it takes embeddings.
    RuleError
        If the rules do not fit the catalog, have no such class, or ask for a guarantee.
    OutputError
        If a file cannot be written, or is one that is read here.

    See Also
    --------
    selection_function : The chance of a candidate by limits and samples.
    forecast : What is expected of a list.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.inject(
    ...     "catalog.scored.parquet", "cutouts", "quiescent", dim=[1, 2], sources=40
    ... )
    >>> [share.step.dim for share in found.shares if share.is_whole]
    [0.0, 1.0, 2.0]
    """
    from targetsel.injection.injecting import Request
    from targetsel.injection.injecting import inject as changed
    from targetsel.injection.page import check_injection_page, write_injection_page
    from targetsel.injection.steps import steps_of
    from targetsel.networks.inputs import InputsById
    from targetsel.tables.files import check_output, check_table_output

    if not is_path(cutouts) and not hasattr(cutouts, "layout"):
        raise CutoutError(
            f"the cutouts are of type {type(cutouts).__name__}; expected a cutout store. Give its "
            "folder, or pack the images with 'targetsel cutouts pack'."
        )
    inputs = paths_in([targets, cutouts])
    if output is not None:
        check_table_output(Path(output), inputs, parquet=True)
    if page is not None:
        check_injection_page(Path(page))
        check_output(Path(page), inputs)
    asked = Request(
        targets,
        InputsById.of(store_of(cutouts)),
        Rules.of(rules),
        steps_of(dim, blur, noisier),
        ensemble_of(ensemble),
        (classes,) if isinstance(classes, str) else tuple(classes),
        sources,
        seed,
        threads,
        survey,
    )
    found = changed(asked, None if output is None else Path(output))
    if page is not None:
        write_injection_page(found, Path(page))
    return found
