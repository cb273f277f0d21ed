"""`targetsel cutouts`: pack images into a cutout store; draw cutouts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import DecOption, IdOption, RaOption
from targetsel.cli.terminal import say
from targetsel.errors import counted

app = typer.Typer(help="Pack images into a cutout store; draw cutouts.", no_args_is_help=True)


class Encoding(StrEnum):
    """Encodings of pixels: 16-bit asinh steps of an eighth of the sky sigma, or float32."""

    asinh = "asinh"
    float32 = "float32"


@app.command()
def pack(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of <id>.fits, <id>.<band>.fits or .npy, or of healpix=NNNN/*.hdf5 (extra "
            "hdf5); or CATALOG itself, where it has a column image."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Store to write, a folder.")],
    catalog: Annotated[Path, typer.Option(help="Catalog with the sources' ids and positions.")],
    survey: Annotated[
        str | None,
        typer.Option(
            help="Survey of the images, such as hsc ('targetsel surveys' lists them): its card "
            "gives bands, pixel scale, zero point and bits of masks where files do not."
        ),
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Bands in order, such as grizy or VIS,Y,J,H.")
    ] = None,
    pixel_scale: Annotated[
        float | None, typer.Option(help="Pixel scale, in arcsec per pixel.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Width and height to keep, in pixels.")] = None,
    zeropoint: Annotated[
        float | None, typer.Option(help="AB magnitude of one count, for files that do not give it.")
    ] = None,
    encoding: Annotated[Encoding, typer.Option(help="Encoding of stored pixels.")] = Encoding.asinh,
    ra_col: RaOption = None,
    dec_col: DecOption = None,
    id_col: IdOption = None,
) -> None:
    """Pack the images in FOLDER into one cutout store.

    The store of a catalog in HATS is partitioned as the catalog, and the same command goes on with
    one that was stopped.

    Example:
        targetsel cutouts pack images --catalog catalog.parquet -o packed
    """
    from targetsel.api import images as api
    from targetsel.sky.positions import SAME_PLACE

    store = api.pack(
        folder,
        catalog,
        output,
        survey=survey,
        bands=bands,
        pixel_scale=pixel_scale,
        size=size,
        zeropoint=zeropoint,
        encoding=encoding.value,
        ra_col=ra_col,
        dec_col=dec_col,
        id_col=id_col,
    )
    packed = store.run
    assert packed is not None
    pixels = store.shape[-1]
    say(
        f"{counted(packed.written, 'cutout')} of {pixels} x {pixels} pixels in "
        f"{', '.join(store.bands)} written to {output}"
    )
    asked = counted(packed.written + packed.missing, "source")
    say(f"found in {folder}: {packed.written:,} of {asked} in {catalog}")
    if packed.elsewhere:
        far = counted(packed.elsewhere, "image")
        say(
            f"{far} with the middle over {SAME_PLACE:g} arcsec from the source, by the headers: do "
            "the ids of catalog and images belong together?"
        )
    if packed.not_asked:
        others = counted(len(packed.not_asked), "source")
        say(f"{others} of {folder} not in {catalog}, such as '{packed.not_asked[0]}'")
    if packed.left_out:
        files = counted(len(packed.left_out), "file")
        say(f"{files} left out as masks or weights, such as {packed.left_out[0]}")


@app.command()
def show(
    store: Annotated[Path, typer.Argument(help="Cutout store.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file to write.")],
    source_id: Annotated[
        list[str] | None, typer.Option("--id", help="Source to show; may be repeated.")
    ] = None,
    number: Annotated[
        int, typer.Option("-n", min=1, max=400, help="Number of sources to show, without --id.")
    ] = 16,
) -> None:
    """Draw a colour picture of some cutouts of STORE.

    Example:
        targetsel cutouts show cutouts -o cutouts.png
    """
    from targetsel.api.images import show_cutouts

    chosen = show_cutouts(store, output, source_ids=source_id or (), number=number)
    say(f"{counted(len(chosen), 'cutout')} drawn in {output}")
