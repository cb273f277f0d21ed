"""Rule files begun, checked, formatted, locked and distilled, and what rules can say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targetsel.api.given import AnyPath, path_of
from targetsel.remote.copies import with_addresses

if TYPE_CHECKING:
    from targetsel.rules.checking import Findings
    from targetsel.rules.facts import RuleColumn
    from targetsel.rules.locking import LockedFolder
    from targetsel.rules.reference import Syntax
    from targetsel.rules.rules import AnyRules
    from targetsel.selection.plain_cuts import DistilledRules
    from targetsel.tables.any_form import AnyTable


@with_addresses("output")
def init_rules(catalog: AnyPath | None = None, output: AnyPath = "my.yaml") -> Path:
    """Write a commented rule file to begin with, as `targetsel rules init` does.

    Parameters
    ----------
    catalog : str or Path, optional
        Scored or other catalog, whose columns the rules name.
    output : str or Path
        Rule file to write; there must be none yet.

    Returns
    -------
    Path
        The rule file.

    Raises
    ------
    CatalogError
        If the catalog cannot be read.
    OutputError
        If the file is there already, or cannot be written.

    See Also
    --------
    lint_rules : Check the file.
    rule_columns : The names that rules can use.

    Examples
    --------
    >>> import targetsel as ts
    >>> path = ts.init_rules("catalog.scored.parquet", "begun.yaml")
    >>> bool(ts.lint_rules(path, "catalog.scored.parquet"))
    False
    """
    from targetsel.rules.starting import write_first_rules

    return write_first_rules(Path(output), path_of(catalog))


@with_addresses()
def lint_rules(rules: AnyPath, catalog: AnyPath | None = None) -> Findings:
    """All faults of a rule file at once, as `targetsel rules lint` tells them.

    Parameters
    ----------
    rules : str or Path
        A file, or the name of a shipped one.
    catalog : str or Path, optional
        Catalog, scored or not, whose columns, units and texts are known.

    Returns
    -------
    Findings
        Errors and warnings; false where there are none.

    Raises
    ------
    RuleError
        If there is no such file, or it cannot be read.
    CatalogError
        If the catalog cannot be read.

    See Also
    --------
    format_rules : Format the file.
    Rules.read : Read it; its first fault is an error.

    Examples
    --------
    >>> import targetsel as ts
    >>> bool(ts.lint_rules("emission"))
    False
    >>> rules = ts.init_rules("catalog.scored.parquet", "faulty.yaml")
    >>> n = rules.write_text(rules.read_text().replace("rmag", "rmagg"))
    >>> print(ts.lint_rules(rules, "catalog.scored.parquet").errors[0])
    faulty.yaml:13:11: error: unknown column 'rmagg'. Did you mean 'rmag'?
    """
    from targetsel.rules.checking import check

    if catalog is None:
        return check(Path(rules))
    from targetsel.rules.facts import facts_of, texts_of

    return check(Path(rules), *facts_of(Path(catalog)), texts_of(Path(catalog)))


@with_addresses()
def format_rules(rules: AnyPath, *, check: bool = False) -> bool:
    """Format a rule file in one layout, as `targetsel rules fmt` does; comments are kept.

    Parameters
    ----------
    rules : str or Path
        A file, or the name of a shipped one.
    check : bool
        Change nothing.

    Returns
    -------
    bool
        Whether the file changed, or would change.

    Raises
    ------
    RuleError
        If there is no such file, or it cannot be understood.
    OutputError
        If the file cannot be written.

    See Also
    --------
    lint_rules : Tell the faults of the file.

    Examples
    --------
    >>> import targetsel as ts
    >>> ts.format_rules("emission", check=True)
    False
    """
    from targetsel.rules.locking import format_file

    return format_file(Path(rules), check)[1]


@with_addresses()
def lock_rules(folder: AnyPath = ".") -> LockedFolder:
    """Write the bits of all rule files in a folder to rules.bits, as `targetsel rules lock` does.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    LockedFolder

    Raises
    ------
    RuleError
        If a rule file cannot be understood, or two of them have a class of the same name.
    OutputError
        If there are no rule files in the folder, or it cannot be written.

    See Also
    --------
    lint_rules : Tell the faults of a file.

    Examples
    --------
    >>> import targetsel as ts
    >>> from pathlib import Path
    >>> Path("my-survey").mkdir()
    >>> path = ts.init_rules("catalog.scored.parquet", "my-survey/first.yaml")
    >>> locked = ts.lock_rules("my-survey")
    >>> locked.path.name
    'rules.bits'
    """
    from targetsel.rules.locking import lock_folder

    return lock_folder(Path(folder))


@with_addresses()
def rule_columns(catalog: AnyPath) -> tuple[RuleColumn, ...]:
    """The columns of a catalog that rules can use, as `targetsel rules columns` lists them.

    Parameters
    ----------
    catalog : str or Path
        Scored or other catalog.

    Returns
    -------
    tuple of RuleColumn
        Each with its unit, and the values of text where they are few.

    Raises
    ------
    CatalogError
        If the catalog cannot be read.

    See Also
    --------
    rule_functions : What rules can say of them.
    init_rules : A rule file that names them.

    Examples
    --------
    >>> import targetsel as ts
    >>> columns = {each.name: each for each in ts.rule_columns("catalog.scored.parquet")}
    >>> columns["ew_halpha"].unit
    'Angstrom'
    """
    from targetsel.rules.facts import rule_columns as of_catalog

    return of_catalog(Path(catalog))


def rule_functions() -> Mapping[str, list[Syntax]]:
    """Everything that rules can say, by sections, as `targetsel rules functions` lists it.

    Returns
    -------
    mapping of str to list of Syntax
        Each with an example.

    See Also
    --------
    rule_columns : The names that a catalog has.
    rule_schema : The schema of rule files.

    Examples
    --------
    >>> import targetsel as ts
    >>> list(ts.rule_functions())
    ['Of posteriors, catalogs and the sky', 'Arithmetic', 'Conditions']
    """
    from targetsel.rules.reference import sections

    return sections()


@with_addresses()
def rule_schema(catalog: AnyPath | None = None) -> dict[str, Any]:
    """The JSON schema of rule files, as `targetsel rules schema` prints it.

    Parameters
    ----------
    catalog : str or Path, optional
        Scored catalog whose columns are known.

    Returns
    -------
    dict

    Raises
    ------
    CatalogError
        If the catalog cannot be read.

    See Also
    --------
    lint_rules : Tell the faults of a rule file.

    Examples
    --------
    >>> import targetsel as ts
    >>> ts.rule_schema()["title"]
    'targetsel rule file'
    """
    from targetsel.rules.rule_file import json_schema

    if catalog is None:
        return json_schema(None)
    from targetsel.rules.facts import facts_of

    return json_schema(facts_of(Path(catalog))[0])


@with_addresses("output")
def distil_rules(
    scored: AnyTable,
    rules: AnyRules,
    name: str,
    output: AnyPath = "cuts.yaml",
    *,
    cuts: int = 5,
    columns: Sequence[str] = (),
) -> DistilledRules:
    """Write a class as a few cuts on the catalog alone, as `targetsel rules distil` does.

    The cuts compare magnitudes, colours, one linear combination of them and sizes, and keep as
    many sources as the class's list has: of these the most for which the class's claim is
    probable, or, where it claims nothing, the most of its members. They are found on one half of
    the sky, by HEALPix cells (or by galaxies, where the catalog has a column group_id), and what
    they lose is measured on the other.

    Parameters
    ----------
    scored : Scored, str, Path or table
    rules : Rules, str, Path, dict, or a list of these
    name : str
        The target class.
    output : str or Path
        Rule file to write; there must be none yet.
    cuts : int
        The most cuts, 1 to 20.
    columns : sequence of str
        Columns of numbers to compare beside magnitudes, colours and sizes in arcsec.

    Returns
    -------
    DistilledRules
        The cuts, and purity and completeness of both lists, with 95 % intervals from resampling
        cells of the sky.

    Raises
    ------
    CatalogError
        If the scored catalog cannot be read, lacks predictions or columns to compare, or has fewer
        than 10 members on a half of the sky.
    RuleError
        If the rules cannot be understood, have no such class, or `cuts` is no number from 1 to 20.
    OutputError
        If the file is there already, or cannot be written.

    See Also
    --------
    tune : The bound of a class for a number of targets.
    select : Choose by the cuts, also from a catalog without scores.

    Examples
    --------
    >>> import targetsel as ts
    >>> old = {"OLD": {"priority": 1, "where": "P(d4000 > 1.1) > 0.2"}}
    >>> loose = {"schema": "targetsel/rules/v1", "name": "loose", "classes": old}
    >>> told = ts.distil_rules("catalog.scored.parquet", loose, "OLD", "old-cuts.yaml", cuts=2)
    >>> len(told.cuts) <= 2
    True
    >>> len(ts.select("catalog.parquet", told.rules)) > 0
    True
    """
    from targetsel.errors import RuleError
    from targetsel.rules.rules import Rules
    from targetsel.selection.plain_cuts import MOST_CUTS, distil

    if str(cuts) not in map(str, range(1, MOST_CUTS + 1)):  # whatever its type
        raise RuleError(f"cuts is {cuts!r}; expected a whole number from 1 to {MOST_CUTS}.")
    columns = [columns] if isinstance(columns, str) else [*columns]
    return distil(scored, Rules.of(rules), name, Path(output), cuts, columns)
