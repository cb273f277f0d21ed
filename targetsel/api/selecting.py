"""Target lists selected by rules, and reports on why."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath, AnySpectra, Labelled, pair_of
from targetsel.errors import CatalogError, RuleError
from targetsel.remote.copies import with_addresses
from targetsel.rules.rules import AnyRules, Rules
from targetsel.tables.any_form import AnyTable

if TYPE_CHECKING:
    from targetsel.selection.class_reports import ClassReports
    from targetsel.selection.funnel import Funnel
    from targetsel.selection.reports.difference import ClassDifferences
    from targetsel.selection.reports.explain import Explanation
    from targetsel.selection.reports.forecast import ClassForecast
    from targetsel.selection.reports.tuning import Tuned
    from targetsel.selection.target_list import TargetList


@with_addresses("output")
def select(
    scored: AnyTable,
    rules: AnyRules,
    output: AnyPath | None = None,
    *,
    known: AnySpectra | None = None,
    known_radius: float = 1.0,
    labelled: Labelled | None = None,
    with_funnels: bool = False,
    brightness: Sequence[str] = (),
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
        File to write the list to, in the format of its ending; by default none.
    known : str, Path, table, or a list of these, optional
        Spectra that sources may have already: SDSS's specObj, DESI's redshift catalogs, or any
        table of positions or ids. Known sources are left out of every class whose rules do not
        name the column `known`, `known_redshift` or `known_sep`.
    known_radius : float
        Within which a spectrum belongs to the nearest source [arcsec].
    labelled : pair of str or Path, optional
        A scored catalog and the truth about its sources, for classes with a guarantee.
    with_funnels : bool
        Also count in the list's footer the sources that each condition alone rejects.
    brightness : sequence of str
        Columns of brightness as the command's option takes them, such as "r_sdss=rmag".
    threads : int
        Row groups read at the same time; the list is the same.

    Returns
    -------
    TargetList
        Its `run` has the counts: passed, selected and expected true members of each class,
        targets in several classes, guarantees.

    Raises
    ------
    CatalogError
        If the scored catalog cannot be read, or has a source more than once.
    RuleError
        If the rules cannot be understood, or do not fit the columns of the catalog.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    explain : Why a source was chosen or not.
    funnel : How many sources each condition leaves.
    export : Write the list for an assignment tool.
    apply_rules : The same for rows in memory.

    Examples
    --------
    >>> import targetsel as ts
    >>> targets = ts.select("catalog.scored.parquet", "emission", "my-list.parquet")
    >>> [each.name for each in targets.run.classes]
    ['EXCITED', 'STAR_FORMING']
    >>> targets["source_id"].shape == (len(targets),)
    True
    """
    from targetsel.scored.known_match import KnownSpectra
    from targetsel.selection.select import select as write
    from targetsel.selection.target_list import TargetList

    chosen, pair = Rules.of(rules), pair_of(labelled)
    spectra = KnownSpectra.of(known, known_radius)
    return TargetList.made_by(
        lambda path: write(scored, chosen, path, threads, pair, with_funnels, brightness, spectra),
        output,
    )


@with_addresses()
def funnel(
    scored: AnyTable,
    rules: AnyRules,
    *,
    known: AnySpectra | None = None,
    known_radius: float = 1.0,
) -> ClassReports[Funnel]:
    """The sources that pass condition after condition, class by class, as `targetsel funnel`.

    Parameters
    ----------
    scored : Scored, str, Path or table
    rules : Rules, str, Path, dict, or a list of these
    known, known_radius
        Spectra that sources may have already, as for `select`.

    Returns
    -------
    ClassReports of Funnel
        One for each class; shown as the command prints them, and `to_pandas` gives a table.

    Raises
    ------
    CatalogError
        If the scored catalog cannot be read.
    RuleError
        If the rules cannot be understood, or do not fit the columns of the catalog.

    See Also
    --------
    explain : The conditions for one source.
    tune : The bound that gives so many targets.

    Examples
    --------
    >>> import targetsel as ts
    >>> funnels = ts.funnel("catalog.scored.parquet", "emission")
    >>> [each.name for each in funnels]
    ['EXCITED', 'STAR_FORMING']
    >>> funnels[1].n_passed <= funnels[1].n_sources
    True
    """
    from targetsel.scored.known_match import KnownSpectra
    from targetsel.selection.scored_sources import funnel as count

    return count(Rules.of(rules), scored, KnownSpectra.of(known, known_radius))


@with_addresses()
def explain(
    scored: AnyTable,
    rules: AnyRules,
    source_id: int | str,
    *,
    known: AnySpectra | None = None,
    known_radius: float = 1.0,
) -> ClassReports[Explanation]:
    """Every condition for one source, as `targetsel explain` shows it.

    Parameters
    ----------
    scored : Scored, str, Path or table
    rules : Rules, str, Path, dict, or a list of these
    source_id : int or str
        As in the catalog.
    known, known_radius
        Spectra that sources may have already, as for `select`.

    Returns
    -------
    ClassReports of Explanation
        One for each class; shown as the command prints them, and `to_pandas` gives a table.
        Values and thresholds are in the units of the conditions.

    Raises
    ------
    CatalogError
        If the scored catalog cannot be read, or has no such source.
    RuleError
        If the rules cannot be understood, or do not fit the columns of the catalog.

    See Also
    --------
    funnel : How many sources each condition leaves.
    show : A picture of the source.

    Examples
    --------
    >>> import targetsel as ts
    >>> for each in ts.explain("catalog.scored.parquet", "emission", 119):
    ...     print(each.name, each.passed)
    EXCITED False
    STAR_FORMING True
    """
    from targetsel.scored.known_match import KnownSpectra
    from targetsel.selection.reports.explain import explain as of_source

    spectra = KnownSpectra.of(known, known_radius)
    return of_source(Rules.of(rules), str(source_id), scored, spectra)


@with_addresses()
def tune(
    scored: AnyTable,
    rules: AnyRules,
    name: str,
    targets: int,
    *,
    known: AnySpectra | None = None,
    known_radius: float = 1.0,
) -> Tuned:
    """The bound of a class that gives no more than so many targets, as `targetsel tune`.

    Parameters
    ----------
    scored : Scored, str, Path or table
    rules : Rules, str, Path, dict, or a list of these
    name : str
        The target class.
    targets : int
        Largest number of targets.
    known, known_radius
        Spectra that sources may have already, as for `select`.

    Returns
    -------
    Tuned

    Raises
    ------
    CatalogError
        If the scored catalog cannot be read.
    RuleError
        If the rules cannot be understood, have no such class, or do not show which bound to move.

    See Also
    --------
    forecast : What is expected of a class as it stands.
    funnel : How many sources each condition leaves.

    Examples
    --------
    >>> import targetsel as ts
    >>> tuned = ts.tune("catalog.scored.parquet", "emission", "STAR_FORMING", 10)
    >>> tuned.operator, tuned.n_members
    ('>=', 10)
    """
    from targetsel.scored.known_match import KnownSpectra
    from targetsel.selection.reports.tuning import tune as find

    spectra = KnownSpectra.of(known, known_radius)
    return find(Rules.of(rules), name, targets, scored, spectra)


@with_addresses()
def forecast(
    scored: AnyTable,
    rules: AnyRules,
    *,
    name: str | None = None,
    known: AnySpectra | None = None,
    known_radius: float = 1.0,
    labelled: Labelled | None = None,
) -> ClassReports[ClassForecast]:
    """True members, purity and completeness of each class, as `targetsel forecast`.

    Parameters
    ----------
    scored : Scored, str, Path or table
    rules : Rules, str, Path, dict, or a list of these
    name : str, optional
        Only this class.
    known, known_radius
        Spectra that sources may have already, as for `select`.
    labelled : pair of str or Path, optional
        A scored catalog and the truth about its sources; without it there are no intervals.

    Returns
    -------
    ClassReports of ClassForecast
        One for each class; shown as the command prints them, and `to_pandas` gives a table.

    Raises
    ------
    CatalogError
        If a file cannot be read.
    RuleError
        If the rules cannot be understood, do not fit the columns of the catalog, or have no such
        class.
    EnsembleError
        If the catalog of `labelled` was scored by another ensemble.

    See Also
    --------
    evaluate : What came true on labelled sources.
    tune : The bound that gives so many targets.

    Examples
    --------
    >>> import targetsel as ts
    >>> (forecast,) = ts.forecast("catalog.scored.parquet", "emission", name="STAR_FORMING")
    >>> forecast.stated <= forecast.n_selected
    True
    """
    from targetsel.scored.known_match import KnownSpectra
    from targetsel.selection.reports.forecast import forecasts

    spectra = KnownSpectra.of(known, known_radius)
    return forecasts(Rules.of(rules), scored, pair_of(labelled), name, spectra)


@with_addresses()
def diff(
    before: AnyRules | TargetList,
    after: AnyRules | TargetList,
    scored: AnyTable = None,
    *,
    known: AnySpectra | None = None,
    known_radius: float = 1.0,
    labelled: Labelled | None = None,
) -> ClassDifferences:
    """The sources that enter or leave, and the conditions for it, as `targetsel diff`.

    Parameters
    ----------
    before, after : TargetList or its file, or rules in any form
        Two lists, or two rule files.
    scored : Scored, str, Path or table, optional
        Needed for rules, and for the reasons.
    known, known_radius
        Spectra that sources may have already, as for `select`; of lists those
        that they were selected with.
    labelled : pair of str or Path, optional
        A scored catalog and the truth about its sources, for classes with a guarantee.

    Returns
    -------
    ClassDifferences
        One for each class, as a tuple; shown as the command prints them.

    Raises
    ------
    CatalogError
        If a file cannot be read, rules are given without a scored catalog, or the lists are of two
        catalogs.
    RuleError
        If the rules cannot be understood, or one of both is a list and the other a rule file.

    See Also
    --------
    funnel : How many sources each condition leaves.
    select : Makes the lists.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.diff("emission", "oiii", "catalog.scored.parquet")
    >>> [each.name for each in found]
    ['EXTREME_OIII', 'STRONG_OIII', 'EXCITED', 'STAR_FORMING']
    >>> found[1].n_entered == found[1].n_after
    True
    """
    from targetsel.scored.known_match import KnownSpectra
    from targetsel.selection.reports.difference import compare_lists, compare_rules

    old, new = _list_of(before), _list_of(after)
    spectra = KnownSpectra.of(known, known_radius)
    if old is not None and new is not None:
        return compare_lists(old, new, scored, spectra)
    if old is not None or new is not None:
        raise RuleError(
            f"{before}, {after}: expected two rule files, or two target lists (.parquet)."
        )
    if scored is None:
        raise CatalogError("diff: rules are compared on a scored catalog. Give it as `scored`.")
    rules = [Rules.of(each) for each in (before, after)]  # type: ignore[arg-type]
    return compare_rules(rules[0], rules[1], scored, pair_of(labelled), spectra)


def _list_of(given: object) -> TargetList | None:
    """A target list, read or in a file; None for rules."""
    from targetsel.selection.target_list import TargetList

    if isinstance(given, str | os.PathLike) and str(given).endswith(".parquet"):
        return TargetList.read(given)
    return given if isinstance(given, TargetList) else None
