"""Compare what came of a target list with what it had stated."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath, AnyPaths, AnyTargets, path_of, paths_of, targets_of
from targetsel.errors import HandoffError, TargetselError
from targetsel.remote.copies import with_addresses
from targetsel.tables.any_form import paths_in

if TYPE_CHECKING:
    from targetsel.report.outcomes import ListOutcome


@with_addresses("output", "page")
def outcomes(
    targets: AnyTargets,
    output: AnyPath | None = None,
    *,
    assigned: AnyPaths | None = None,
    spectra: AnyPaths | None = None,
    truth: AnyPath | None = None,
    redshifts: AnyPath | None = None,
    inclusion: AnyPath | None = None,
    page: AnyPath | None = None,
    ids: AnyPath | None = None,
    proposal: Sequence[str] = (),
    windows: Sequence[tuple[float, float]] = (),
    succeeds: Sequence[str] = (),
) -> ListOutcome:
    """Compare what came of a target list with what it had stated, as `targetsel outcomes`.

    Parameters
    ----------
    targets : TargetList, str or Path
    output : str or Path, optional
        Table to write: a row for each target, with what came of it.
    assigned : str, Path, or several, optional
        DESI fba-*.fits or fiberassign-*.fits; PFS pfsDesign-*.fits or pfsConfig-*.fits. Without
        them the targets in the table of spectra are those that were observed.
    spectra : str, Path, or several, optional
        Files of spectra, which are measured as `measure_spectra` does; or `truth`.
    truth : str or Path, optional
        Table with a row for each spectrum: ids, and redshifts, lines or both. A row without any,
        with `success` false, a `zwarn` other than 0, a `status` other than "ok" or
        a quality (`nq`, `zquality`) below 3 is a failure. Redshifts are in `redshift` or under a
        usual name, such as `z`.
    redshifts : str or Path, optional
        Table of redshifts by id, for `spectra` whose files have none.
    inclusion : str or Path, optional
        File of `selection_function` for this list; by default the list's own columns
        ``inclusion_CLASS``, if it has such.
    page : str or Path, optional
        Report of one page to write, .html.
    ids : str or Path, optional
        Map ``<file>.ids.ecsv`` that `export` wrote, for tools with their own ids.
    proposal : sequence of str
        PFS: catId or proposalId of your targets, for shared designs.
    windows : sequence of pairs of float
        Windows of redshift whose shares are wanted, from the first to below the second; by default
        equal steps in round numbers.
    succeeds : sequence of str
        When a spectrum should succeed, such as "snr_halpha > 7" or "exposure_time_oii < 30 min",
        by what `observe` predicted; any of them suffices. By default each S/N that the list keeps
        above 5.

    Returns
    -------
    ListOutcome
        ``classes``, ``forecasts``, ``lines`` and ``redshifts`` hold the figures with their
        intervals, ``observed`` what came of each target.

    Raises
    ------
    HandoffError
        If the list has no targets or none was assigned, an assignment is of another list, a window
        is none, the list lacks what `succeeds` names, or not one of `spectra` and `truth` is given.
    CatalogError
        If a table cannot be read, or holds no target of the list.
    SpectrumError
        If no spectrum can be used.
    OutputError
        If a file cannot be written, or is one that is read here.

    See Also
    --------
    import_assignment : The targets that still want a fiber.
    selection_function : Writes inclusion probabilities.
    forecast : What is expected of a list.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.outcomes("quiescent.targets.parquet", truth="truth.parquet")
    >>> quiescent = found.classes[0]
    >>> quiescent.purity.low < quiescent.purity.value < quiescent.purity.high
    True
    """
    from targetsel.feedback.observed import ObservedTargets
    from targetsel.feedback.success import SuccessRule
    from targetsel.feedback.table import write_outcomes
    from targetsel.handoff.assignment import Pointing, join
    from targetsel.report.outcome_page import check_outcome_page, write_outcome_page
    from targetsel.report.outcome_redshifts import check_windows
    from targetsel.report.outcomes import ListOutcome
    from targetsel.tables.files import check_output, check_table_output

    files = [] if assigned is None else paths_of(assigned)
    measured = [] if spectra is None else paths_of(spectra)
    table, map_of_ids, chances = path_of(truth), path_of(ids), path_of(inclusion)
    if (table is None) == (not measured):
        raise HandoffError(
            "outcomes: expected either spectra (--spectra) or a table of what they showed "
            "(--truth). Give one of them."
        )
    if redshifts is not None and not measured:
        raise HandoffError(
            "outcomes: a table of redshifts (--redshifts) goes with --spectra. Leave it out, or "
            "join it to the table of --truth."
        )
    check_windows(windows)
    rules = [SuccessRule.parse(each) for each in succeeds]
    inputs = paths_in([targets, *files, *measured, *filter(None, (table, map_of_ids, chances))])
    if output is not None:
        check_table_output(Path(output), inputs)
    if page is not None:
        check_outcome_page(Path(page))
        check_output(Path(page), inputs)
    the_list = targets_of(targets)
    joined = join(the_list, map(Pointing.read, files), map_of_ids, proposal) if files else None
    with tempfile.TemporaryDirectory(prefix="targetsel-") as folder:
        called = table
        if called is None:
            called = _measured(measured, path_of(redshifts), Path(folder))
        try:
            observed = ObservedTargets.read(the_list, called, joined, chances)
        except TargetselError as error:
            raise type(error)(
                str(error).replace(str(called), str(table or "the spectra"))
            ) from None
    found = ListOutcome.of(observed, windows, rules)
    if output is not None:
        footer = {
            "figures": found.records,
            "redshifts": found.redshift_records,
            "forecasts": [each.records for each in found.forecasts],
        }
        write_outcomes(observed, Path(output), footer)
    if page is not None:
        write_outcome_page(found, Path(page))
    return found


def _measured(spectra: list[Path], redshifts: Path | None, folder: Path) -> Path:
    """A table of the lines of spectra, in this folder.

    Spectra in their rest frame have redshift 0 throughout, which nobody measured: it is left out.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from targetsel.spectra.lines.strengths import write_measured
    from targetsel.spectra.photoz import TRUE
    from targetsel.spectra.redshifts import SpectrumOptions
    from targetsel.tables.parquet import read_footer, write_table

    options = SpectrumOptions.of(redshifts, False, "survey", None)
    path = folder / "measured.parquet"
    write_measured(spectra, path, None, None, (), "emission", options)
    table = pq.read_table(path)
    if redshifts is None and not pc.any(pc.not_equal(table[TRUE], 0)).as_py():
        write_table(table.drop_columns([TRUE]), path, read_footer(path))
    return path
