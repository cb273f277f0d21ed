"""`targetsel spectra`: real spectra to latents, and their line strengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from targetsel.cli.options import DecoderOption, EnsembleOption, LinesOption, ParquetOutput
from targetsel.cli.terminal import say
from targetsel.errors import OutputError, SpectrumError
from targetsel.version import __version__

if TYPE_CHECKING:
    from targetsel.spectra.reading import Attempt

T = TypeVar("T")
Files = Annotated[
    list[Path], typer.Argument(help="Spectra: SDSS spec or spec-lite FITS, .npz, .csv or .parquet.")
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
    ensemble: EnsembleOption = "mock-ps1",
    decoder: DecoderOption = None,
    picture: Annotated[
        Path | None, typer.Option(help="PNG file with a picture of the first spectra.")
    ] = None,
) -> None:
    """Find the latents of the spectra in FILES by an ensemble's decoder, and the fits' quality."""
    from targetsel.scoring.ensemble import find_ensemble
    from targetsel.spectra.decoder import Decoder
    from targetsel.spectra.encoding import draw_spectra, encode_files, table
    from targetsel.tables.files import check_output, sha256_of_file
    from targetsel.tables.parquet import write_table

    chosen = decoder or find_ensemble(ensemble)
    chosen = chosen / "decoder.safetensors" if chosen.is_dir() else chosen
    check_output(output, [*files, chosen])
    if picture is not None:
        check_output(picture, [*files, chosen])
        if picture.resolve() == output.resolve():
            raise OutputError(f"{picture}: is the output, too. Choose another name.")
    network = Decoder.read(chosen)
    attempts = encode_files(files, network, redshift)
    encoded = _usable(attempts)
    footer = {
        "code_version": __version__,
        "decoder_sha256": sha256_of_file(chosen),
        "latent_space": network.space.name,
    }
    write_table(table(attempts, network.n_latents), output, footer)
    say(f"{len(encoded)} of {len(attempts)} spectra encoded in {output}")
    if picture is not None:
        say(f"{draw_spectra(encoded, picture)} of them drawn in {picture}")


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
    """Measure lines and indices of the spectra in FILES, with errors from their noise."""
    from targetsel.spectra.lines import LineTable
    from targetsel.spectra.lines.strengths import measure_files, strengths_table
    from targetsel.tables.files import check_table_output
    from targetsel.tables.parquet import write_table

    check_table_output(output, [*files, *([lines] if lines else [])])
    table = LineTable.read(lines) if lines else LineTable.shipped()
    table = table.choose(dict.fromkeys(index)) if index else table
    attempts = measure_files(files, table, redshift)
    measured = _usable(attempts)
    footer = {"code_version": __version__, "ew_sign": ew_sign, "indices": table.names}
    write_table(strengths_table(attempts, table, ew_sign), output, footer)
    say(f"{len(measured)} of {len(attempts)} spectra measured in {output}")


def _usable(attempts: Sequence[Attempt[T]]) -> list[T]:
    """The results, with the errors of other spectra printed; the first error if all failed."""
    errors = [each.result for each in attempts if isinstance(each.result, SpectrumError)]
    if errors and len(errors) == len(attempts):
        raise errors[0]
    for error in errors:
        say(str(error), err=True)
    return [each.result for each in attempts if not isinstance(each.result, SpectrumError)]
