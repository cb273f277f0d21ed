"""`targetsel ensemble`: the published networks, their weights, and graphs for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.terminal import print_table, say
from targetsel.errors import EnsembleError, OutputError, counted

app = typer.Typer(
    help="List the published networks, import their weights, export graphs.", no_args_is_help=True
)


@app.command()
def presets() -> None:
    """List the published networks with their numbers of parameters.

    Example:
        targetsel ensemble presets
    """
    from targetsel.networks.network import count_parameters
    from targetsel.networks.network import presets as plans

    print_table(
        ("network", "deconvolution", "parameters", "depth", "bands", "latents"),
        [
            (
                name,
                plan.deconvolution,
                f"{count_parameters(plan):,}",
                str(plan.depth) if plan.depth else "stem alone",
                str(plan.n_bands),
                str(plan.n_latents),
            )
            for name, plan in plans().items()
        ],
        n_texts=2,
    )


@app.command("import")
def import_(
    weights: Annotated[
        list[Path], typer.Argument(help="Published weights, one .pth file per member.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Ensemble to write, a folder.")],
    decoder: Annotated[
        Path, typer.Option(help="Decoder of the latents, written by 'targetsel decoder import'.")
    ],
    latent_rmse: Annotated[
        str,
        typer.Option(
            help="Root mean square error of the prediction in each standardised latent, six "
            "numbers such as 0.5,0.6,0.7,0.8,0.9,0.9: the networks predict no spread themselves."
        ),
    ],
    mean: Annotated[
        str | None,
        typer.Option(help="Mean of the input in y,z,i,r,g, in nanomaggies per pixel."),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(
            help="Standard deviation of the input in y,z,i,r,g, in nanomaggies per pixel."
        ),
    ] = None,
    cutouts: Annotated[
        Path | None,
        typer.Option(
            help="Cutout store like the training's, used to estimate mean and std if they are not "
            "given, and to measure novelty against."
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(min=16, help="Width and height of cutouts, in pixels.")
    ] = 224,
) -> None:
    """Import the published hybrid networks; nothing in their pickles is executed."""
    from targetsel.imaging.store import CutoutStore
    from targetsel.scoring.published import import_ensemble
    from targetsel.spectra.decoder import Decoder
    from targetsel.tables.files import folder_written_beside, make_folder

    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise OutputError(f"{output}: already exists. Choose a new folder for the ensemble.")
    given = [_numbers(text, name) for text, name in ((mean, "--mean"), (std, "--std")) if text]
    if len(given) == 1:
        missing = "--mean" if mean is None else "--std"
        raise EnsembleError(f"{missing} is missing. Give both --mean and --std, or none.")
    ensemble = import_ensemble(
        weights,
        Decoder.read(decoder),
        _numbers(latent_rmse, "--latent-rmse"),
        (given[0], given[1]) if given else None,
        CutoutStore.open(cutouts) if cutouts else None,
        size=size,
    )
    ensemble.card["name"] = output.name
    make_folder(output.parent)
    with folder_written_beside(output) as beside:
        ensemble.write(beside)
    for note in ensemble.card["imported"]:
        say(f"{note['file']}: {len(note['tensors'])} tensors used, none left over")
        for published, ours in note["tensors"].items():
            say(f"  {published} -> {ours}")
    for quantity in ("mean", "std"):
        numbers = ensemble.card["normalisation"][quantity]
        say(f"{quantity} of y, z, i, r, g: {', '.join(f'{n:.4g}' for n in numbers)} nMgy")
    say(f"normalisation {ensemble.card['normalisation']['origin']}")
    say(f"novelty {ensemble.card['novelty']}")
    say(f"written to {output}")


@app.command("fit-novelty")
def fit_novelty(
    ensemble: Annotated[Path, typer.Argument(help="Folder of the ensemble to change.")],
    catalog: Annotated[Path, typer.Option(help="Catalog of the ensemble's training set.")],
    cutouts: Annotated[
        Path | None,
        typer.Option(help="Cutout store of CATALOG. Default: the folder cutouts/ beside it."),
    ] = None,
    group_col: Annotated[
        str | None,
        typer.Option(
            help="Column of the groups that split the training set. Default: group_id, or else "
            "every source is its own group."
        ),
    ] = None,
) -> None:
    """Refit an ensemble's measure of novelty on sources held out of its training.

    A calibration of the ensemble becomes invalid: calibrate again afterwards.
    """
    from targetsel.imaging.store import CutoutStore
    from targetsel.scoring.ensemble import Ensemble, find_ensemble, write_over
    from targetsel.training.ensemble_training import refit_novelty

    read = Ensemble.read(ensemble, calibrated=False)
    store = CutoutStore.open(cutouts or catalog.parent / "cutouts")
    n = refit_novelty(read, store, catalog, group_col)
    half = read.card.get("half_precision", {}).get("weights", False)
    write_over(read, find_ensemble(ensemble), half)
    say(f"novelty and support fitted to {counted(n, 'held-out source')} in {ensemble}")


@app.command("export-onnx")
def export_onnx(
    output: Annotated[Path, typer.Option("-o", "--output", help="Graph to write, .onnx.")],
    ensemble: Annotated[
        str, typer.Argument(help="Ensemble: a folder, or the name of a shipped one.")
    ] = "mock-ps1",
    member: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of one member to export; it takes stretched cutouts. Default: all.",
        ),
    ] = None,
) -> None:
    """Write ENSEMBLE, or one of its members, as one ONNX graph."""
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.scoring.onnx import export_ensemble, export_member

    read = Ensemble.read(ensemble)
    if member is None:
        export_ensemble(read, output)
    elif member < len(read.networks):
        export_member(read.networks[member], read.input.n_pixels, output)
    else:
        raise EnsembleError(
            f"--member {member}: {ensemble} has the members 0 to {len(read.networks) - 1}."
        )
    say(f"written to {output}")


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise EnsembleError(
            f"{option} {text}: expected numbers with commas between, such as 0.5,0.6."
        ) from None
