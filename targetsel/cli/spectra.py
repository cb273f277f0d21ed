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
        help="Spectra: SDSS spec or spec-lite FITS, .npz, or tables in any format, with columns "
        "wavelength, flux, ivar and redshift."
    ),
]
Redshift = Annotated[
    float | None, typer.Option(help="Redshift of every spectrum. Default: as in the file.")
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
        files, output, redshift=redshift, ensemble=ensemble, decoder=decoder, picture=picture
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
        files, output, redshift=redshift, lines=lines, indices=index or (), ew_sign=ew_sign
    )
    say(f"{_say_errors(tried)} of {len(tried)} spectra measured in {output}")


def _say_errors(tried: Sequence[Attempt[Any]]) -> int:
    """Say the errors of spectra that failed; the number of the others."""
    from targetsel.spectra.reading import errors_of

    errors = errors_of(tried)
    for error in errors:
        say(str(error), err=True)
    return len(tried) - len(errors)
