"""`targetsel fetch`: cutouts, catalogs and spectra from the archives; one module per command."""

from __future__ import annotations

import typer

from targetsel.cli.fetch_catalog import catalog
from targetsel.cli.fetch_cutouts import cutouts
from targetsel.cli.fetch_spectra import spectra

app = typer.Typer(help="Fetch from the archives, politely and resumably.", no_args_is_help=True)
app.command("cutouts")(cutouts)
app.command("catalog")(catalog)
app.command("spectra")(spectra)


@app.callback()
def _group() -> None:
    pass
