"""Selection, its reports, pictures and lists for assignment tools, for notebooks."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from targetsel.errors import CatalogError, HandoffError
from targetsel.notebook.predicting import ensemble_of
from targetsel.rules.rules import AnyRules, Rules
from targetsel.tables.any_form import AnyTable, paths_in

if TYPE_CHECKING:
    from targetsel.handoff.export import Export
    from targetsel.imaging.cutout import Cutouts
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.store import CutoutStore
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
    config: AnyPath | Mapping[str, Any] | None = None,
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
    config : str, Path or dict, optional
        The tool's settings, such as ``{"epoch": 2026.5}``, or a YAML file of them.
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
    from targetsel.documents.models import validate_values
    from targetsel.handoff.export import export as write
    from targetsel.handoff.export import find_tool
    from targetsel.handoff.prepare import ExportOptions
    from targetsel.tables.files import check_output

    found = find_tool(tool)
    place = None if config is None or isinstance(config, Mapping) else Path(config)
    if isinstance(config, Mapping):
        settings = validate_values(config, found.settings, found.name, HandoffError)
    else:
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
    draw_source(scored, str(source_id), store, ensemble_of(ensemble), picture, chosen)
    return picture
