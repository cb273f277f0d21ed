"""targetsel partition: a catalog cut into pixels of the sky, as a HATS catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import DecOption, IdOption, RaOption
from targetsel.cli.terminal import say
from targetsel.errors import counted


def partition(
    catalog: Annotated[
        Path, typer.Argument(help="Catalog: Parquet (file or folder), FITS, VOTable, ECSV or CSV.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="HATS catalog to write, a folder.")
    ],
    rows: Annotated[int, typer.Option(min=1, help="Most sources of a partition.")] = 100_000,
    ra_col: RaOption = None,
    dec_col: DecOption = None,
    id_col: IdOption = None,
) -> None:
    """Cut CATALOG into pixels of the sky: a HATS catalog, which hats and lsdb read.

    Example:
        targetsel partition catalog.parquet -o sky
    """
    from targetsel.api import catalogs as api

    made = api.partition(catalog, output, rows=rows, ra_col=ra_col, dec_col=dec_col, id_col=id_col)
    orders = sorted({pixel.order for pixel in made.pixels})
    which = f"order {orders[0]}" if len(orders) == 1 else f"orders {orders[0]} to {orders[-1]}"
    say(
        f"{counted(made.num_rows or 0, 'source')} in {counted(len(made.pixels), 'partition')} of "
        f"HEALPix {which} written to {output}"
    )
