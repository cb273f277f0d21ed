"""targetsel visibility, night, sites: which sources are up where and when, and plans of nights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import (
    AirmassOption,
    HorizonOption,
    NightOption,
    SiteOption,
    TwilightOption,
)
from targetsel.cli.terminal import say, say_written
from targetsel.documents.text_table import text_table
from targetsel.errors import VisibilityError
from targetsel.handoff.simulation import INSTRUMENTS
from targetsel.nights.plan import OVERHEAD
from targetsel.nights.visibility import AIRMASS


def visibility(
    catalog: Annotated[
        Path,
        typer.Argument(
            help="Catalog, scored catalog or target list: Parquet, FITS, VOTable, ECSV or CSV."
        ),
    ],
    site: SiteOption,
    night: NightOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Table to write.")],
    airmass: AirmassOption = AIRMASS,
    horizon: HorizonOption = 0.0,
    twilight: TwilightOption = "astronomical",
) -> None:
    """Add to CATALOG whether and when its sources are up in the dark of a night.

    The date is that of the evening at the site: 2027-03-14 is the night that begins then.

    Example:
        targetsel visibility catalog.parquet --site KPNO --night 2027-03-14 -o tonight.parquet
    """
    from targetsel.api import nights as api

    found = api.visibility(
        catalog, site, night, output, airmass=airmass, horizon=horizon, twilight=twilight
    )
    for line in found.summary().splitlines():
        say(line)
    say_written(output)


def night(
    targets: Annotated[
        Path,
        typer.Argument(help="Target list, or any table with positions, in any of our formats."),
    ],
    site: SiteOption,
    night: Annotated[
        str, typer.Option(help="Date of the evening at the site, such as 2027-03-14.")
    ],
    exposure: Annotated[
        str,
        typer.Option(
            help="Exposure time: a column, such as one that 'targetsel observe' adds, or one time "
            "for all such as '20 min'."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Table to write.")],
    instrument: Annotated[
        str, typer.Option(help=f"slit, or a fiber instrument: {', '.join(INSTRUMENTS)}.")
    ] = "slit",
    overhead: Annotated[
        str, typer.Option(help="Time before each exposure, to slew, acquire and read out.")
    ] = OVERHEAD,
    weight: Annotated[
        list[str] | None,
        typer.Option(help="CLASS=NUMBER, the weight of a class; may be repeated. Default: 1."),
    ] = None,
    done: Annotated[
        list[Path] | None,
        typer.Option(help="Plan whose targets are not planned again; may be repeated."),
    ] = None,
    airmass: AirmassOption = AIRMASS,
    horizon: HorizonOption = 0.0,
    twilight: TwilightOption = "astronomical",
    page: Annotated[
        Path | None,
        typer.Option(
            help="Page to write, with altitudes, the list and finder charts: .html or .pdf."
        ),
    ] = None,
    cutouts: Annotated[
        Path | None,
        typer.Option(
            help="Cutout store of the page's finder charts. Default: the one beside TARGETS."
        ),
    ] = None,
    pointings: Annotated[
        Path | None,
        typer.Option(help="Table of the pointings of a fiber instrument to write."),
    ] = None,
) -> None:
    """Plan one night: which TARGETS to expose, in which order, and when.

    Every exposure lies in the dark, above the horizon and below the airmass limit over its whole
    length. Targets that are not planned stay in the table, with the reason. With a fiber
    instrument an exposure is a pointing, and fibers are simulated.

    Example:
        targetsel night emission.targets.parquet --site KPNO --night 2027-03-14 \\
            --exposure "20 min" -o plan.parquet --page plan.html
    """
    from targetsel.api import nights as api

    plan = api.night(
        targets,
        site,
        night,
        output,
        exposure=exposure,
        instrument=instrument,
        overhead=overhead,
        weight=_weights(weight or ()),
        done=done or (),
        airmass=airmass,
        horizon=horizon,
        twilight=twilight,
        page=page,
        cutouts=cutouts,
        pointings=pointings,
    )
    for line in plan.summary().splitlines():
        say(line)
    say_written(output)
    for more in (page, pointings):
        if more is not None:
            say(f"written to {more}")


def _weights(given: Iterable[str]) -> dict[str, float]:
    """The weights of classes, of CLASS=NUMBER.

    Raises
    ------
    VisibilityError
        If one is written otherwise, or a class is named twice.
    """
    found: dict[str, float] = {}
    for text in given:
        name, _, number = (each.strip() for each in text.partition("="))
        if name in found:
            raise VisibilityError(f"--weight of class '{name}' is given twice. Leave one out.")
        try:
            found[name] = float(number)
        except ValueError:
            raise VisibilityError(
                f"--weight is '{text}'; expected CLASS=NUMBER. Write it as in --weight ELG=2."
            ) from None
    return found


def sites(
    name: Annotated[
        str, typer.Argument(help="Only sites with this text in a name or alias, such as palma.")
    ] = "",
) -> None:
    """List the sites that are known by name, with their coordinates and where these are from.

    Example:
        targetsel sites palma
    """
    from targetsel.nights.sites import sites as known

    found = known(name)
    rows = [
        (
            *(site.name, site.title, f"{site.longitude:.4f}", f"{site.latitude:.4f}"),
            f"{site.height:.0f}",
        )
        for site in found.values()
    ]
    for line in text_table(("name", "site", "longitude", "latitude", "height"), rows, 2):
        say(line)
    say("east longitude and latitude in deg, height in m")
    if len(found) <= 8:
        for site in found.values():
            aliases = f"also called {', '.join(site.aliases)}; " if site.aliases else ""
            say(f"{site.name}: {aliases}coordinates from {site.source}")
