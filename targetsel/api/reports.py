"""Density on the sky, random points, selection functions, and the quality of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import (
    AnyPath,
    AnyPaths,
    AnySpectra,
    AnyTargets,
    Labelled,
    pair_of,
    path_of,
    paths_of,
    targets_of,
)
from targetsel.errors import CatalogError
from targetsel.remote.copies import with_addresses
from targetsel.rules.rules import AnyRules, Rules
from targetsel.tables.any_form import paths_in

if TYPE_CHECKING:
    from targetsel.report.evaluation import Evaluation
    from targetsel.selection.class_reports import ClassReports
    from targetsel.selection.reports.density_report import DensityReport
    from targetsel.selection.reports.randoms import RandomsSummary
    from targetsel.selection.reports.selection_function import Inclusion


@with_addresses("output", "page")
def density(
    targets: AnyTargets,
    output: AnyPath | None = None,
    *,
    reach: float = 88.8,
    nside: int = 64,
    scored: AnyPath | None = None,
    rules: AnyRules | None = None,
    against: AnyPaths | None = None,
    randoms: AnyPath | None = None,
    method: str | None = None,
    page: AnyPath | None = None,
) -> DensityReport:
    """The density of targets on the sky and their neighbours, as `targetsel density` measures it.

    With maps of the sky to hold it against, also how the density follows them, and weights that
    make it even.

    Parameters
    ----------
    targets : TargetList, str or Path
    output : str or Path, optional
        List to write, with columns `weight_density`, of all targets, and ``weight_density_CLASS``;
        wants `against`.
    reach : float
        Radius within which targets compete for a fiber [arcsec]; by default DESI's.
    nside : int
        HEALPix resolution to count targets in: a power of two.
    scored : str or Path, optional
        Scored catalog whose pixels without targets are counted too.
    rules : Rules, str, Path, dict, or a list of these, optional
        Rules of the list, where files that they name are elsewhere.
    against : str, Path, or several, optional
        Maps of the sky: HEALPix files as ``FILE``, ``FILE:COLUMN`` or ``FILE:COLUMN:nested``, or
        columns of `scored`.
    randoms : str or Path, optional
        Random points, which tell the area of pixels; by default `scored` and the footprint do.
    method : str, optional
        "linear" or "boosted"; by default what parts of the sky that are left out say.
    page : str or Path, optional
        Report of one page to write, .html; wants `against`.

    Returns
    -------
    DensityReport
        A tuple of Density, of all targets and then of each class, per square degree. Its
        ``evenness`` has the trends with maps and the weights; None without `against`.

    Raises
    ------
    CatalogError
        If a file cannot be read, the rules are not those of the list, `nside` is no power of
        two, or a map does not cover the list; if the list repeats a target or has lost its footer.
    RuleError
        If the rules cannot be understood.
    HandoffError
        If `targets` is neither a target list nor a file of one.
    ExtraError
        If boosted trees may be chosen and scikit-learn is not installed, or a page is wanted and
        matplotlib is not.
    OutputError
        If a file cannot be written, or is a file that is read here.

    See Also
    --------
    assign : What pointings can take.
    randoms : Random points of the same selection.

    Examples
    --------
    >>> import targetsel as ts
    >>> [each.name for each in ts.density("emission.targets.parquet")]
    ['all targets', 'EXCITED', 'STAR_FORMING']
    """
    from targetsel.selection.reports.density import check_list, order_of
    from targetsel.selection.reports.density import density as of_list
    from targetsel.selection.reports.density_report import DensityReport, write_weights
    from targetsel.selection.reports.evenness import check_method, evenness
    from targetsel.sky.sky_maps import file_of
    from targetsel.tables.files import check_output, check_table_output

    maps = [] if against is None else [str(each) for each in paths_of(against)]
    only = {"output": output, "randoms": randoms, "method": method, "page": page}
    if not maps and (given := [name for name, value in only.items() if value is not None]):
        raise CatalogError(
            f"density: {given[0]} concerns maps of the sky. Give some with --against, or leave "
            "it out."
        )
    check_method(method)
    own = None if rules is None else Rules.of(rules)
    points, catalog = path_of(randoms), path_of(scored)
    files = [file_of(each) for each in maps]
    inputs = paths_in([targets, *files, *filter(None, (points, catalog))])
    if output is not None:
        check_table_output(Path(output), inputs)
    if page is not None:
        from targetsel.report.density_page import check_density_page, write_density_page

        check_density_page(Path(page))
        check_output(Path(page), inputs)
    the_list = targets_of(targets)
    check_list(the_list)
    found = of_list(the_list, reach, nside, catalog, own)
    even = None
    if maps:
        even = evenness(the_list, maps, order_of(nside), own, catalog, points, method)
    if even is not None and output is not None:
        write_weights(the_list, even, Path(output))
    if even is not None and page is not None:
        rules_name = the_list.footer.get("rules_name", "unknown rules")
        write_density_page(even, Path(page), f"Density of the list by {rules_name}")
    return DensityReport.of(found, reach, nside, catalog, even)


@with_addresses("output")
def randoms(rules: AnyRules, output: AnyPath, points: AnyPath | float) -> RandomsSummary:
    """Write the random points at which rules could have targets, as `targetsel randoms` does.

    Parameters
    ----------
    rules : Rules, str, Path, dict, or a list of these
    output : str or Path
        Parquet file to write.
    points : str, Path or float
        A table of points with ra and dec [deg]; or the number to make per square degree.

    Returns
    -------
    RandomsSummary

    Raises
    ------
    CatalogError
        If the table of points cannot be read, or has no positions.
    RuleError
        If the rules cannot be understood.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    selection_function : The probability of each source to be selected.
    density : The density of the targets.

    Examples
    --------
    >>> import targetsel as ts
    >>> summary = ts.randoms("emission", "randoms.parquet", 0.01)
    >>> summary.n_points
    413
    """
    from targetsel.selection.reports.randoms import randoms as write

    given = float(points) if isinstance(points, int | float) else Path(points)
    return write(Rules.of(rules), Path(output), given)


@with_addresses("output", "map_output")
def selection_function(
    scored: AnyPath,
    rules: AnyRules,
    output: AnyPath,
    map_output: AnyPath,
    *,
    nside: int = 64,
    known: AnySpectra | None = None,
    known_radius: float = 1.0,
    labelled: Labelled | None = None,
) -> ClassReports[Inclusion]:
    """Write inclusion probabilities and their map, as `targetsel selection-function` does.

    Parameters
    ----------
    scored : str or Path
    rules : Rules, str, Path, dict, or a list of these
    output : str or Path
        Parquet file of the targets, with a column ``inclusion_<CLASS>`` for each class.
    map_output : str or Path
        Parquet file of the mean inclusion by HEALPix pixel.
    nside : int
        HEALPix resolution of the map: a power of two.
    known, known_radius
        Spectra that sources may have already, as for `select`.
    labelled : pair of str or Path, optional
        A scored catalog and the truth about its sources, for classes with a guarantee.

    Returns
    -------
    ClassReports of Inclusion
        One for each class, as a tuple; shown as the command prints them.

    Raises
    ------
    CatalogError
        If a file cannot be read, or `nside` is no power of two.
    RuleError
        If the rules cannot be understood, or do not fit the columns of the catalog.
    OutputError
        If a file cannot be written, or is one that is read here.

    See Also
    --------
    randoms : Random points at which the rules could have targets.
    select : The list itself.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.selection_function(
    ...     "catalog.scored.parquet", "emission", "inclusion.parquet", "map.parquet"
    ... )
    >>> [each.name for each in found]
    ['EXCITED', 'STAR_FORMING']
    """
    from targetsel.scored.known_match import KnownSpectra
    from targetsel.selection.reports.selection_function import write_selection_function

    places = Path(scored), Path(output), Path(map_output)
    spectra = KnownSpectra.of(known, known_radius)
    return write_selection_function(Rules.of(rules), *places, nside, pair_of(labelled), spectra)


@with_addresses("output")
def evaluate(
    scored: AnyPath,
    truth: AnyPath,
    output: AnyPath | None = None,
    *,
    rules: Sequence[AnyPath] = (),
    claims: Sequence[str] | None = None,
    joint: bool = False,
    brightness: Sequence[str] = (),
) -> Evaluation:
    """The quality of predictions on sources with known spectra, as `targetsel evaluate` finds it.

    Parameters
    ----------
    scored : str or Path
    truth : str or Path
        A table in any format with the ids and the true latents, proxies or both.
    output : str or Path, optional
        Folder for the tables and the page; by default nothing is written.
    rules : sequence of str or Path
        Rule files whose classes are evaluated; by default the shipped ones that suit.
    claims : sequence of str, optional
        Conditions on proxies whose probability is checked, such as ``"d4000 > 1.6"``.
    joint : bool
        Also count claims whose probabilities take draws, which takes minutes.
    brightness : sequence of str
        Columns of brightness as the command's option takes them, such as "r_sdss=rmag"; the first
        names the magnitude that bins the sources.

    Returns
    -------
    Evaluation
        `Evaluation.figures` has each figure of merit with its interval.

    Raises
    ------
    CatalogError
        If a file cannot be read, or none of its sources has both a prediction and a known spectrum.
    RuleError
        If a rule file or a claim cannot be understood.
    OutputError
        If `output` is a file, or cannot be written.

    See Also
    --------
    calibrate : Correct the predictions by such sources.
    forecast : What is expected of a selection.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.evaluate("catalog.scored.parquet", "truth.parquet")
    >>> rmse = found.figures.find("RMSE", "latent 1")
    >>> rmse.low < rmse.value < rmse.high
    True
    """
    from targetsel.report import evaluation

    files = [str(each) for each in rules]
    if output is None:
        return evaluation.evaluate(Path(scored), Path(truth), files, claims, joint, brightness)
    return evaluation.write_evaluation(
        Path(scored), Path(truth), Path(output), files, claims, joint, brightness
    )
