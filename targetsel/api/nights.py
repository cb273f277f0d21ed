"""Which sources are up at a site on a night, and the plan of a night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath, store_of
from targetsel.nights.visibility import AIRMASS
from targetsel.remote.copies import with_addresses
from targetsel.tables.any_form import AnyTable

if TYPE_CHECKING:
    from targetsel.imaging.store import CutoutStore
    from targetsel.nights.adding import VisibleSources
    from targetsel.nights.night import GivenNights
    from targetsel.nights.plan import NightPlan
    from targetsel.nights.sites import Site


@with_addresses("output")
def visibility(
    catalog: AnyTable,
    site: str | Site,
    night: GivenNights,
    output: AnyPath | None = None,
    *,
    airmass: float = AIRMASS,
    horizon: float = 0.0,
    twilight: str = "astronomical",
) -> VisibleSources:
    """Whether and when sources are up in the dark, as `targetsel visibility` adds it to a catalog.

    Parameters
    ----------
    catalog : str, Path or table
        A catalog, scored catalog or target list; any table with positions [deg, ICRS]. With an
        output, Parquet files and folders of them are read by pieces. Sources without a position
        have nulls.
    site : str or Site
        A name that `sites` knows, a `Site` of your own, or coordinates such as
        "lat=31.96 lon=-111.6 height=2120", with the height in m.
    night : str, date, or several of them
        The date of the evening at the site, by its longitude: "2027-03-14" is the night that
        begins on that evening. "2027-03-14/2027-03-20" is a run of nights. Over several nights
        hours add up, and the best night of each source counts for the rest.
    output : str or Path, optional
        Table to write, with the columns of the catalog.
    airmass : float
        A source is up while its airmass is below. The airmass is 1 / sin(altitude), without
        refraction.
    horizon : float
        Altitude [deg] that a source must be above, too.
    twilight : str
        It is dark while the Sun is below -18 deg ("astronomical"), -12 deg ("nautical") or
        -6 deg ("civil").

    Returns
    -------
    VisibleSources
        The catalog's columns and after them ``airmass_min``, ``hours_up`` [h], ``up_from``,
        ``up_until`` and ``best_time`` (UTC), ``moon_sep`` [deg], ``moon_up`` and
        ``moon_illumination``, the last three at ``best_time``.

    Raises
    ------
    VisibilityError
        If the site, the night or a limit cannot be understood, it does not get dark, or the
        catalog has such a column already.
    CatalogError
        If the catalog cannot be read, or has no positions.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    sites : The sites that are known by name.
    observe : Adds these columns, too, beside what a spectrograph would see.
    night : Plans a night.
    select : Rules may ask for ``hours_up(KPNO, "2027-03-14", airmass=1.5) > 2``.

    Examples
    --------
    >>> import targetsel as ts
    >>> tonight = ts.visibility("catalog.parquet", "KPNO", "2027-03-14", airmass=1.5)
    >>> good = tonight[tonight["hours_up"] > 2]
    >>> bool(good["airmass_min"].max() < 1.5)
    True
    """
    from pathlib import Path

    from targetsel.nights.adding import with_visibility, write_visibility
    from targetsel.nights.visibility import Visibility
    from targetsel.tables.any_form import paths_in
    from targetsel.tables.files import check_table_output

    asked = Visibility.of(site, night, airmass=airmass, horizon=horizon, twilight=twilight)
    if output is None:
        return with_visibility(catalog, asked)
    check_table_output(Path(output), paths_in([catalog]))
    return write_visibility(catalog, asked, Path(output))


@with_addresses("output", "page", "pointings")
def night(
    targets: AnyTable,
    site: str | Site,
    night: str,
    output: AnyPath | None = None,
    *,
    exposure: str,
    instrument: str = "slit",
    overhead: str = "5 min",
    weight: Mapping[str, float] | None = None,
    done: AnyTable | Sequence[AnyTable] = (),
    airmass: float = AIRMASS,
    horizon: float = 0.0,
    twilight: str = "astronomical",
    page: AnyPath | None = None,
    cutouts: AnyPath | CutoutStore | None = None,
    pointings: AnyPath | None = None,
) -> NightPlan:
    """The plan of one night, as `targetsel night` makes it from a target list.

    Every exposure lies in the dark, above the horizon and below the airmass limit over its whole
    length; none overlaps another, and no source is exposed twice. The sum of the values, which are
    ``probability`` times the weight of the class, is made large by a greedy choice that exchanges
    improve; it need not be the largest of all.

    With a fiber instrument an exposure is a pointing, whose whole field is above these limits, and
    its value is the sum over the targets that get a fiber, as `assign_forecast` simulates it: the
    most valuable first. The survey's own program decides on real fibers.

    Parameters
    ----------
    targets : str, Path or table
        A target list, or any table with positions [deg, ICRS]. Without a column ``probability``
        all targets have the value 1, but for weights. Sources are told apart by ``target_id``,
        ``source_id``, or else their positions.
    site : str or Site
        As for `visibility`.
    night : str or date
        The date of the evening at the site.
    output : str or Path, optional
        Table to write.
    exposure : str
        A column of exposure times, such as one of `observe`, in its own unit or in s where it has
        none; or one time for all, such as "20 min". Of a column, a pointing is as long as the
        exposures of all, 90 %, 75 % or half of the targets, whichever brings most value per time,
        and targets that need more get no fiber in it.
    instrument : str
        "slit", one target at a time, or a fiber instrument: "desi", "pfs", "4most", "hectospec" or
        "2df".
    overhead : str
        Time that passes before each exposure, in the dark.
    weight : mapping of str to float, optional
        Weights of classes, those in the column ``program``; all others weigh 1.
    done : str, Path or table, or several of them
        Plans of other nights. Their targets are not planned again.
    airmass, horizon, twilight : float, float, str
        As for `visibility`.
    page : str or Path, optional
        Page to write, .html or .pdf: altitudes over the night with the exposures on them, the list
        in its order, twilights, the Moon, and finder charts with offsets.
    cutouts : str, Path or CutoutStore, optional
        The store of the charts; by default the only one beside the list, in a folder named like
        cutouts, that has its targets.
    pointings : str or Path, optional
        Table of the pointings of a fiber instrument to write.

    Returns
    -------
    NightPlan
        The list in the order of the night, with ``plan_order``, ``plan_start`` and ``plan_end``
        (UTC), ``plan_airmass`` at the middle, ``plan_exposure`` [s], ``plan_value`` and
        ``plan_status``. Rows that are not planned follow, and their status says why. With a fiber
        instrument targets of one pointing have the same ``plan_order``, and ``plan.pointings`` are
        the pointings.

    Raises
    ------
    VisibilityError
        If the site, the night, a limit, a time or the instrument cannot be understood, it does not
        get dark, the list is a plan already, or a file of `done` is none.
    CatalogError
        If the list cannot be read, or has no positions.
    OutputError
        If `output`, `page` or `pointings` cannot be written, or is a file that is read here.
    CutoutError
        If the store cannot be read, or has none of the planned targets.
    ExtraError
        If a page is asked for, and matplotlib is not installed.

    See Also
    --------
    visibility : Whether and when each source is up.
    observe : Predicts exposure times.

    Examples
    --------
    >>> import targetsel as ts
    >>> plan = ts.night("emission.targets.parquet", "KPNO", "2027-03-14", exposure="20 min")
    >>> bool((plan.planned["plan_airmass"] < 2).all())
    True
    >>> plan = ts.night(
    ...     "emission.targets.parquet", "KPNO", "2027-03-14", exposure="20 min", page="plan.html"
    ... )
    >>> plan.remarks[-1]
    'finder charts of 22 of 22 planned targets'
    """
    from dataclasses import replace
    from pathlib import Path

    from targetsel.errors import VisibilityError
    from targetsel.handoff.pointings import PointingPlan, find_instrument, plan_pointings
    from targetsel.nights.plan import plan_night
    from targetsel.nights.visibility import Visibility
    from targetsel.tables.any_form import paths_in
    from targetsel.tables.files import check_output, check_table_output

    fibers = find_instrument(instrument)
    plans = [*done] if isinstance(done, list | tuple) else [done]
    asked = Visibility.of(site, night, airmass=airmass, horizon=horizon, twilight=twilight)
    inputs = paths_in([targets, *plans])
    if output is not None:
        check_table_output(Path(output), inputs)
    store = None if cutouts is None else store_of(cutouts)
    if store is not None and page is None:
        raise VisibilityError("--cutouts is given without --page. Give both, or neither.")
    if store is not None and fibers is not None:
        raise VisibilityError(
            "--cutouts are for finder charts, which a page of pointings has not. Leave it out."
        )
    if page is not None:
        from targetsel.report.night_page import check_page, write_night_page

        check_page(Path(page))
        check_output(Path(page), [*inputs, *paths_in([store])])
    if pointings is not None:
        if fibers is None:
            raise VisibilityError(
                "--pointings is of fiber instruments. Name one with --instrument, or leave it out."
            )
        check_table_output(Path(pointings), inputs)
        if Path(pointings) in [Path(each) for each in (output, page) if each is not None]:
            raise VisibilityError(
                f"--pointings {pointings}: is another output, too. Give it a name of its own."
            )
    found: NightPlan
    if fibers is None:
        found = plan_night(targets, asked, exposure, overhead=overhead, weights=weight, done=plans)
    else:
        found = plan_pointings(
            *(targets, asked, exposure, fibers), overhead=overhead, weights=weight, done=plans
        )
    if page is not None:
        listed = next(iter(paths_in([targets])), None)
        if isinstance(found, PointingPlan):
            write_night_page(found.exposures, asked, Path(page), has_charts=False)
        else:
            said = write_night_page(found, asked, Path(page), store, listed)
            found = replace(found, remarks=(*found.remarks, said))
    if output is not None:
        found.write(output)
    if pointings is not None and isinstance(found, PointingPlan):
        found.write_pointings(Path(pointings))
    return found
