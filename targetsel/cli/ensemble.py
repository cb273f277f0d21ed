"""`targetsel ensemble`: the published networks, their weights, and graphs for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.terminal import print_table, say
from targetsel.errors import EnsembleError, counted
from targetsel.scoring import DEFAULT

app = typer.Typer(
    help="List the published networks, import their weights, export graphs.", no_args_is_help=True
)


@app.command()
def presets() -> None:
    """List the published networks with their numbers of parameters.

    Example:
        targetsel ensemble presets
    """
    from targetsel.api.published import ensemble_presets
    from targetsel.networks.network import count_parameters

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
            for name, plan in ensemble_presets().items()
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
    """Import the published hybrid networks; nothing in their pickles is executed.

    Example, with the files of their authors:
        targetsel decoder import 0057.pth --pca latent_pca.pkl --mean-spectrum meanspec.npy -o sdss
        targetsel ensemble import hybrid.pth --decoder sdss --cutouts cutouts --size 64 \\
            --latent-rmse 0.5,0.6,0.7,0.8,0.9,0.9 -o published
    """
    from targetsel.api.published import import_ensemble

    ensemble = import_ensemble(
        weights,
        output,
        decoder=decoder,
        latent_rmse=_numbers(latent_rmse, "--latent-rmse"),
        mean=_numbers(mean, "--mean") if mean else None,
        std=_numbers(std, "--std") if std else None,
        cutouts=cutouts,
        size=size,
    )
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

    Example:
        targetsel train cutouts --spectra spectra.parquet --init mock-ps1 \\
            --members 1 --epochs 2 -o mine
        targetsel ensemble fit-novelty mine --catalog catalog.parquet
    """
    from targetsel.api import training as api

    n = api.fit_novelty(ensemble, catalog, cutouts, group_col=group_col)
    say(f"novelty and support fitted to {counted(n, 'held-out source')} in {ensemble}")


@app.command()
def distil(
    ensemble: Annotated[Path, typer.Argument(help="Folder of the ensemble to change.")],
    scored: Annotated[
        list[Path],
        typer.Option(
            help="Scored catalog of the ensemble, of sources like those to come. May be repeated."
        ),
    ],
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Batches of 4096 draws that it learns from. Default: 16000."),
    ] = None,
    bound: Annotated[
        float,
        typer.Option(
            help="Largest error of medians to accept, in standard deviations of the posterior."
        ),
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of weights, draws and batches.")] = 0,
) -> None:
    """Distil ENSEMBLE's decoder into a small network that gives line strengths in less time.

    'score' and 'calibrate' use it from then on; sources unlike those that it learnt from are
    decoded.

    Example:
        targetsel train cutouts --spectra spectra.parquet --init mock-ps1 \\
            --members 1 --epochs 2 -o mine
        targetsel score catalog.parquet --ensemble mine -o mine.scored.parquet
        targetsel ensemble distil mine --scored mine.scored.parquet --steps 100 --bound 1
    """
    from targetsel.api import training as api

    record = api.distil(ensemble, scored, steps=steps, bound=bound, seed=seed)
    say(
        f"learnt from {counted(record.n_draws, 'draw')} of {counted(record.n_sources, 'source')}"
        f"{', of simulated images' if record.simulated else ''}. Errors on {record.n_aside:,} "
        "others, rms in standard deviations of the posterior:"
    )
    print_table(
        ("", "median", "1 sigma", "2 sigma"),
        [
            (name, f"{each.median:.3f}", f"{each.one_sigma:.3f}", f"{each.two_sigma:.3f}")
            for name, each in record.errors.items()
        ],
        n_texts=1,
    )
    say(f"{record.outside:.1%} of them lie outside of what it learnt, and would be decoded")
    say(f"written to {ensemble}")


@app.command("export-onnx")
def export_onnx(
    output: Annotated[Path, typer.Option("-o", "--output", help="Graph to write, .onnx.")],
    ensemble: Annotated[
        str, typer.Argument(help="Ensemble: a folder, or the name of a shipped one.")
    ] = DEFAULT,
    member: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of one member to export; it takes stretched cutouts. Default: all.",
        ),
    ] = None,
) -> None:
    """Write ENSEMBLE, or one of its members, as one ONNX graph.

    Example:
        targetsel ensemble export-onnx mock-ps1 -o mock-ps1.onnx
    """
    from targetsel.api import training as api

    api.export_onnx(output, ensemble, member=member)
    say(f"written to {output}")


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise EnsembleError(
            f"{option} {text}: expected numbers with commas between, such as 0.5,0.6."
        ) from None
