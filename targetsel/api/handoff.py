"""Target lists given to assignment tools, and what comes back of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targetsel.api.given import (
    AnyPath,
    AnyPaths,
    AnyTargets,
    check_targets,
    path_of,
    paths_of,
    targets_of,
)
from targetsel.errors import HandoffError, OutputError
from targetsel.remote.copies import with_addresses
from targetsel.tables.any_form import paths_in

if TYPE_CHECKING:
    from targetsel.handoff.assignment import Assignment
    from targetsel.handoff.densest import DensestPointing
    from targetsel.handoff.export import Export
    from targetsel.handoff.simulation import Instrument
    from targetsel.handoff.tool import Tool


@with_addresses("output")
def export(
    targets: AnyTargets,
    tool: str,
    output: AnyPath | None = None,
    *,
    config: AnyPath | Mapping[str, Any] | None = None,
    bin_priorities: bool = False,
    assume_still: bool = False,
    brightness: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    check: bool = False,
) -> Export:
    """Write targets in the format of a fiber- or slit-assignment tool, as `targetsel export`.

    Parameters
    ----------
    targets : TargetList, str or Path
    tool : str
        Such as "desi", "pfs-uploader", "deimos"; `targetsel export --list` shows all.
    output : str or Path, optional
        File to write, with an ending of the tool's format; by default beside the list's file, with
        the tool's name and ending.
    config : str, Path or dict, optional
        The tool's settings, such as ``{"epoch": 2026.5}``, or a YAML file of them.
    bin_priorities : bool
        Merge neighbouring priorities where the tool has fewer.
    assume_still : bool
        Targets without a known proper motion stand still, as galaxies do.
    brightness : sequence of str
        Columns of brightness as the command's option takes them, such as "r_sdss=rmag".
    columns : sequence of str, optional
        Columns of the list to write, for the tool "table".
    check : bool
        Read the file back and compare it with the list.

    Returns
    -------
    Export
        The files written, the tool's own first, and what was assumed.

    Raises
    ------
    HandoffError
        If there is no such tool, a setting is missing or wrong, the list is none or does not suit
        the tool, or what was written reads back otherwise.
    CatalogError
        If the list cannot be read.
    OutputError
        If the file cannot be written, has an ending of another format, or is one that is read here.

    See Also
    --------
    select : Makes the list.
    import_assignment : Read what the tool assigned.
    assign : Forecast what pointings can take.

    Examples
    --------
    >>> import targetsel as ts
    >>> settings = {"epoch": 2026.5, "obsconditions": "DARK"}
    >>> targets = ts.read("quiescent.targets.parquet")
    >>> done = ts.export(targets, "desi", "my-desi.fits", config=settings, check=True)
    >>> [path.name for path in done.files]
    ['my-desi.fits', 'my-desi.fits.priorities.ecsv']
    >>> done.read_back.n_targets == len(targets)
    True
    """
    from targetsel.handoff import export as exporting
    from targetsel.handoff.prepare import ExportOptions
    from targetsel.tables.files import check_output

    check_targets(targets)
    found = exporting.find_tool(tool)
    the_list = targets_of(targets)
    settings = exporting.settings_of(found, config, columns, the_list, brightness)
    place = Path(output) if output is not None else _beside(targets, found)
    files = [] if config is None or isinstance(config, Mapping) else [Path(config)]
    check_output(place, [*paths_in([targets]), *files])
    exporting.check_ending(found, place)
    options = ExportOptions(bin_priorities, assume_still, tuple(brightness))
    done = exporting.export(the_list, found, settings, place, options)
    return replace(done, read_back=exporting.check(done.targets, place)) if check else done


def _beside(targets: AnyTargets, tool: Tool) -> Path:
    """The file for a tool, beside that of a list."""
    for path in paths_in([targets]):
        return path.with_name(f"{stem_of(path)}.{tool.name}{tool.suffix}")
    raise OutputError(f"export: the list is in memory. Name the file for {tool.title} to write.")


def stem_of(targets: Path) -> str:
    """The name of a target list without its endings: "emission" of emission.targets.fits."""
    name = targets.name.removesuffix(".gz")
    return Path(name).stem.removesuffix(".targets")


@with_addresses("output")
def import_assignment(
    targets: AnyTargets,
    assigned: AnyPaths,
    output: AnyPath | None = None,
    *,
    ids: AnyPath | None = None,
    proposal: Sequence[str] = (),
) -> Assignment:
    """The targets that got a fiber, as `targetsel import-assignment` counts them.

    Parameters
    ----------
    targets : TargetList, str or Path
        The list that was exported.
    assigned : str, Path, or several
        DESI fba-*.fits or fiberassign-*.fits; PFS pfsDesign-*.fits or pfsConfig-*.fits.
    output : str or Path, optional
        File for the list of the targets that are left over.
    ids : str or Path, optional
        Map ``<file>.ids.ecsv`` that `export` wrote, for tools with their own ids.
    proposal : sequence of str
        PFS: catId or proposalId of your targets, for shared designs.

    Returns
    -------
    Assignment
        `Assignment.left_over` is the list of the targets that still want a fiber.

    Raises
    ------
    HandoffError
        If a file is none of DESI or PFS, or has none of the targets of the list.
    CatalogError
        If the list cannot be read.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    export : Writes the list for the tool.
    diff : Compare two lists.

    Examples
    --------
    >>> import targetsel as ts
    >>> assignment = ts.import_assignment("quiescent.targets.parquet", "fba-simulated.fits")
    >>> n_assigned = assignment.assigned.sum()
    >>> n_left = len(assignment.left_over())
    """
    from targetsel.handoff.assignment import Pointing, join
    from targetsel.tables.files import check_table_output

    files, ids = paths_of(assigned), path_of(ids)
    if output is not None:
        check_table_output(Path(output), paths_in([targets, *files, ids]))
    result = join(targets_of(targets), map(Pointing.read, files), ids, proposal)
    if output is not None:
        result.left_over().write(output)
    return result


@with_addresses()
def assign(
    targets: AnyTargets,
    instrument: str,
    *,
    ra: float | None = None,
    dec: float | None = None,
    densest: int | None = None,
    fibers: int | None = None,
    diameter: float | None = None,
    patrol: float | None = None,
    separation: float | None = None,
) -> tuple[DensestPointing, ...]:
    """Forecast by a simple simulation what pointings can take, as `targetsel assign` does.

    Parameters
    ----------
    targets : TargetList, str or Path
    instrument : str
        "desi", "pfs", "4most", "hectospec" or "2df".
    ra, dec : float, optional
        The pointing [deg]; by default the densest of the list.
    densest : int, optional
        Number of pointings to propose, each among the targets that have no fiber yet.
    fibers : int, optional
        Number of fibers for targets, without those for sky and stars.
    diameter : float, optional
        Of the field of view [deg].
    patrol, separation : float, optional
        Reach of a fiber, and smallest separation of two fibers [arcsec].

    Returns
    -------
    tuple of DensestPointing
        One for each pointing, with its ``forecast``; fewer where no target would get a fiber.

    Raises
    ------
    HandoffError
        If there is no such instrument, a number of it or the pointing is out of range, or only one
        of `ra` and `dec` is given.
    CatalogError
        If the list cannot be read.

    See Also
    --------
    density : Targets that compete for a fiber.
    export : Write the list for the tool itself.

    Examples
    --------
    >>> import targetsel as ts
    >>> pointings = ts.assign("quiescent.targets.parquet", "desi", densest=2)
    >>> n_assigned = [each.forecast.assigned.sum() for each in pointings]
    >>> len(n_assigned)
    2
    """
    from targetsel.handoff.densest import DensestPointing, densest_pointings
    from targetsel.handoff.simulation import simulate

    chosen = instrument_of(instrument, fibers, diameter, patrol, separation)
    the_list = targets_of(targets)
    if ra is None and dec is None:
        return tuple(densest_pointings(the_list, chosen, densest or 1))
    if densest is not None:
        raise HandoffError("--densest looks for pointings itself. Leave out --ra and --dec.")
    if ra is None or dec is None:
        missing = "--dec" if dec is None else "--ra"
        raise HandoffError(
            f"{missing} is missing. Give both --ra and --dec, or neither for the densest pointing."
        )
    return (DensestPointing(ra, dec, simulate(the_list, chosen, ra, dec)),)


def instrument_of(
    name: str,
    fibers: int | None = None,
    diameter: float | None = None,
    patrol: float | None = None,
    separation: float | None = None,
) -> Instrument:
    """An instrument by its name, with some of its numbers replaced."""
    from targetsel.handoff.simulation import find_instrument

    numbers: dict[str, Any] = {
        "n_fibers": fibers, "diameter": diameter, "patrol": patrol, "separation": separation
    }  # fmt: skip
    given = {key: n for key, n in numbers.items() if n is not None}
    return replace(find_instrument(name), **given)
