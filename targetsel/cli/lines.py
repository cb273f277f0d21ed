"""`targetsel lines`: the table of indices, and widths in the convention of catalogs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import LinesOption, ScoredArgument, ScoredOutput
from targetsel.cli.terminal import say
from targetsel.errors import counted

app = typer.Typer(
    help="Show the line table; bring line widths to the convention of a catalog.",
    no_args_is_help=True,
)

SHOWN_SIGMAS = (100, 150, 250)  # [km/s]


@app.command()
def show(
    lines: LinesOption = None,
) -> None:
    """List every index that can be measured, and check added definitions.

    For widths between side bands, the list says which percentage of a Gaussian line they count: a
    broad one reaches beyond its window and into the side bands.

    Example:
        targetsel lines show
    """
    from targetsel.spectra.lines import LineTable

    table = LineTable.read(lines) if lines else LineTable.shipped()
    width = max(len(each.name) for each in table.definitions)
    heading = "".join(f"{sigma:5}" for sigma in SHOWN_SIGMAS)
    say(f"{'name':{width}}  {'kind':10}  {'unit':8}{heading}  about")
    for each in table.definitions:
        shares = [each.counted_share(sigma) for sigma in SHOWN_SIGMAS]
        counts = "".join(f"{'-' if share is None else f'{share:.0%}':>5}" for share in shares)
        say(f"{each.name:{width}}  {each.kind:10}  {each.unit:8}{counts}  {each.about}")
    shown = ", ".join(map(str, SHOWN_SIGMAS))
    say(
        f"\n{shown}: percentage of its own line that a window counts, less what falls into the side"
    )
    say("bands, for Gaussians of this dispersion [km/s], instrument and pixels included")


@app.command()
def calibrate(
    pairs: Annotated[
        Path, typer.Argument(help="Table in any format with columns of raw and of catalog widths.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Width maps to write, JSON.")],
    pair: Annotated[
        list[str] | None,
        typer.Option(
            help="Two columns as RAW=CATALOG; may be repeated. Default: the mock sky's truth."
        ),
    ] = None,
) -> None:
    """Fit monotone maps from side-band widths to a catalog's widths, line by line.

    Fit them on noise-free (decoded) spectra or on spectra of high signal-to-noise ratio.

    Example:
        targetsel lines calibrate truth.parquet -o widths.json
    """
    import numpy as np

    from targetsel.api.spectra import calibrate_lines
    from targetsel.cli.terminal import print_table
    from targetsel.documents.text_table import number

    found = calibrate_lines(pairs, output, pair=pair or ())
    print_table(
        ("line", "pairs", "scatter [Angstrom]", "at raw 0", "at raw 10", "at raw 50"),
        [
            (
                name,
                str(each.n_pairs),
                number(each.scatter, ".2f"),
                *(number(value, ".2f") for value in each(np.array([0.0, 10.0, 50.0]))),
            )
            for name, each in sorted(found.maps.items())
        ],
    )
    simulated = " (of simulated galaxies)" if found.origin.get("images") == "simulated" else ""
    say(f"{counted(len(found.maps), 'map')}{simulated} written to {output}")


@app.command()
def apply(
    scored: ScoredArgument,
    maps: Annotated[Path, typer.Option(help="Width maps written by 'targetsel lines calibrate'.")],
    output: ScoredOutput,
) -> None:
    """Add calibrated widths, with their 16th and 84th percentiles, beside the raw ones.

    Example:
        targetsel lines calibrate truth.parquet -o widths.json
        targetsel lines apply catalog.scored.parquet --maps widths.json -o widths.parquet
    """
    from targetsel.api.spectra import apply_lines

    added = apply_lines(scored, maps, output)
    say(f"{counted(len(added), 'column')} added in {output}: {', '.join(added)}")
