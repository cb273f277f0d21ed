"""`targetsel priors`: spectral priors from images, for spectral fitting."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import EnsembleOption, ParquetOutput, ScoredArgument, SeedOption
from targetsel.cli.terminal import say
from targetsel.errors import counted
from targetsel.scoring import DEFAULT

app = typer.Typer(
    help="Write spectral priors of sources; update them with measured spectra.",
    no_args_is_help=True,
)


class FitterName(StrEnum):
    """Fitters of redshifts that take priors in a form of their own."""

    redrock = "redrock"
    eazy = "eazy"
    bagpipes = "bagpipes"
    prospector = "prospector"


class Format(StrEnum):
    """File formats of priors."""

    parquet = "parquet"
    fits = "fits"


@app.command()
def write(
    scored: ScoredArgument,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Parquet file; new folder for FITS files; the fitter's file."
        ),
    ],
    ids: Annotated[
        str | None, typer.Option(help="File with one id per line, or ids separated by commas.")
    ] = None,
    format: Annotated[
        Format, typer.Option(help="One Parquet file, or one FITS file per source.")
    ] = Format.parquet,
    fitter: Annotated[
        FitterName | None,
        typer.Option("--for", help="Write redshifts alone, in the form of this fitter."),
    ] = None,
    function: Annotated[
        str | None,
        typer.Option(
            help="With --for redrock: gaussian (default), lorentzian or tophat, which holds 99 %."
        ),
    ] = None,
    redshift: Annotated[
        str | None,
        typer.Option(
            help="Redshift of the observed frame: a column, or one number such as 0.1. With --for "
            "by default photoz with its errors."
        ),
    ] = None,
    redshift_error: Annotated[
        str | None,
        typer.Option(
            help="Standard deviation of the redshift, for 'targetsel priors update': a column or "
            "one number."
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option(min=0, help="Number of draws of each spectrum to store, 4 kB each.")
    ] = 0,
    seed: SeedOption = 0,
    ensemble: EnsembleOption = DEFAULT,
) -> None:
    """Write what images say of every spectrum: bands, line strengths and the latents' mixture.

    A row has the 16, 50 and 84 % quantiles of each pixel, and the quantiles and correlations of
    the line strengths as scored. From the latents Python makes covariances and draws at any time.

    With --for it writes what is known of every source's redshift instead: the FITS table of
    priors that Redrock reads, or a list for EAZY, Bagpipes or Prospector, which are experimental.

    Example:
        targetsel priors write catalog.scored.parquet --redshift 0.1 -o priors.parquet
        targetsel priors write catalog.scored.parquet --for redrock -o priors.fits
    """
    from targetsel.api.priors import write_priors

    found = write_priors(
        scored,
        output,
        ids=ids,
        format=format.value,
        fitter=None if fitter is None else fitter.value,
        function=function,
        redshift=redshift,
        redshift_error=redshift_error,
        draws=draws,
        seed=seed,
        ensemble=ensemble,
    )
    without = found.n_sources - found.n_priors
    if fitter is not None:
        note = f"; a broad prior for {without:,} without one" if without else ""
        say(f"redshifts of {counted(found.n_priors, 'source')} in {output}{note}")
        return
    note = f"; {without:,} more have none, see status" if without else ""
    say(f"priors of {counted(found.n_priors, 'source')} in {output}{note}")


@app.command()
def update(
    priors: Annotated[
        Path, typer.Argument(help="Parquet file written by 'targetsel priors write'.")
    ],
    spectra: Annotated[
        list[Path],
        typer.Option(
            help="Spectra matched by source_id: FITS of SDSS or DESI, .npz, or tables in any "
            "format; may be repeated."
        ),
    ],
    output: ParquetOutput,
    redshift_range: Annotated[
        tuple[float, float] | None,
        typer.Option(help="LOW HIGH of a flat redshift prior. Default: the priors' own redshifts."),
    ] = None,
    calibration: Annotated[
        float, typer.Option(min=0, help="Relative error of the spectra's flux calibration.")
    ] = 0.05,
    qp_output: Annotated[
        Path | None,
        typer.Option(
            "--qp", help="File of qp (.hdf5 or .pq) to write the redshifts to, as percentiles."
        ),
    ] = None,
    seed: SeedOption = 0,
    ensemble: EnsembleOption = DEFAULT,
) -> None:
    """Combine priors with measured spectra into redshifts, line strengths and spectra.

    Example:
        targetsel priors write catalog.scored.parquet --ids 7,16,27,46,61 --redshift redshift \\
            --redshift-error 0.001 -o priors.parquet
        targetsel priors update priors.parquet --spectra measured-spectra.parquet -o updated.parquet
    """
    from targetsel.api.priors import update_priors

    found = update_priors(
        priors,
        spectra,
        output,
        redshift_range=redshift_range,
        calibration=calibration,
        qp_output=qp_output,
        seed=seed,
        ensemble=ensemble,
    )
    for error in found.errors:
        say(str(error), err=True)
    n_good = found.n_spectra - len(found.errors)
    say(f"{n_good} of {found.n_spectra} spectra combined with their priors in {output}")


@app.command()
def residual(
    spectra: Annotated[
        Path,
        typer.Argument(
            help="Table in any format but CSV with noise-free rest-frame spectra, 1000 pixels a "
            "row."
        ),
    ],
    ensemble: Annotated[
        Path, typer.Option(help="Folder of the ensemble to write the residual to.")
    ],
    column: Annotated[str, typer.Option(help="Column of the spectra.")] = "flux_true",
) -> None:
    """Fit the residuals of spectra that an ensemble's decoder leaves; needed once for priors.

    Example:
        targetsel train cutouts --spectra spectra.parquet --init mock-ps1 \\
            --members 1 --epochs 2 -o mine
        targetsel priors residual spectra.parquet --ensemble mine
    """
    from targetsel.api.priors import fit_residual

    n = fit_residual(spectra, ensemble, column=column)
    say(f"{counted(n, 'spectrum', 'spectra')} fitted, written to {ensemble}")
