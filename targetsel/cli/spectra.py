"""`targetsel spectra`: real spectra to latents, and their line strengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from targetsel.cli.options import DecoderOption, EnsembleOption, LinesOption, ParquetOutput
from targetsel.cli.terminal import say
from targetsel.scoring import DEFAULT

if TYPE_CHECKING:
    from targetsel.spectra.reading import Attempt

Files = Annotated[
    list[Path],
    typer.Argument(
        help="Spectra: FITS files of SDSS, BOSS, SDSS-V or DESI, .npz, or tables in any format, "
        "with columns wavelength, flux, ivar and redshift."
    ),
]
Redshift = Annotated[
    float | None,
    typer.Option(
        help="Redshift of every spectrum, in place of --redshifts. Default: as in the file."
    ),
]
Redshifts = Annotated[
    Path | None,
    typer.Option(
        help="Table of redshifts by id, such as redrock's. Default: as in the file; for DESI, "
        "redrock's file beside it."
    ),
]
Warned = Annotated[
    bool, typer.Option("--warned", help="Take redshifts that their survey warns of, too.")
]
IdFrom = Annotated[
    Literal["survey", "file"],
    typer.Option(help="Name SDSS spectra by the ids in their files, or by the files' names."),
]

app = typer.Typer(help="Encode real spectra as latents; measure their lines.", no_args_is_help=True)


@app.callback()
def _spectra() -> None:
    pass


@app.command()
def encode(
    files: Files,
    output: ParquetOutput,
    redshift: Redshift = None,
    redshifts: Redshifts = None,
    warned: Warned = False,
    id_from: IdFrom = "survey",
    ensemble: EnsembleOption = DEFAULT,
    decoder: DecoderOption = None,
    picture: Annotated[
        Path | None, typer.Option(help="PNG file with a picture of the first spectra.")
    ] = None,
) -> None:
    """Find the latents of the spectra in FILES by an ensemble's decoder, and the fits' quality.

    Example:
        targetsel spectra encode measured-spectra.parquet -o latents.parquet
    """
    from targetsel.api.spectra import encode_spectra

    tried = encode_spectra(
        files,
        output,
        redshift=redshift,
        redshifts=redshifts,
        warned=warned,
        id_from=id_from,
        ensemble=ensemble,
        decoder=decoder,
        picture=picture,
    )
    n = _say_errors(tried)
    say(f"{n} of {len(tried)} spectra encoded in {output}")
    if picture is not None:
        say(f"the first of them drawn in {picture}")


@app.command()
def measure(
    files: Files,
    output: ParquetOutput,
    redshift: Redshift = None,
    redshifts: Redshifts = None,
    warned: Warned = False,
    id_from: IdFrom = "survey",
    lines: LinesOption = None,
    index: Annotated[
        list[str] | None,
        typer.Option(help="Index to measure; may be repeated. Default: the whole table."),
    ] = None,
    ew_sign: Annotated[
        Literal["emission", "mpa"],
        typer.Option(help="Sign of emission: positive, or negative as in the MPA-JHU catalog."),
    ] = "emission",
) -> None:
    """Measure lines and indices of the spectra in FILES, with errors from their noise.

    Example:
        targetsel spectra measure measured-spectra.parquet -o strengths.parquet
    """
    from targetsel.api.spectra import measure_spectra

    tried = measure_spectra(
        files,
        output,
        redshift=redshift,
        redshifts=redshifts,
        warned=warned,
        id_from=id_from,
        lines=lines,
        indices=index or (),
        ew_sign=ew_sign,
    )
    say(f"{_say_errors(tried)} of {len(tried)} spectra measured in {output}")


def _say_errors(tried: Sequence[Attempt[Any]]) -> int:
    """Say how many redshifts were joined, and the errors; the number of the other spectra."""
    from targetsel.spectra.reading import errors_of, joined_redshifts

    for line in joined_redshifts(tried):
        say(line)
    errors = errors_of(tried)
    for error in errors:
        say(str(error), err=True)
    return len(tried) - len(errors)
