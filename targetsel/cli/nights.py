"""targetsel visibility, targetsel sites: which sources are up, where and when."""

from __future__ import annotations

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
