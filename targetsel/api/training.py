"""Ensembles and decoders trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import (
    AnyEnsemble,
    AnyPath,
    AnyPaths,
    ensemble_of,
    in_silence,
    path_of,
    paths_of,
    store_of,
)
from targetsel.remote.copies import with_addresses
from targetsel.scoring import DEFAULT
from targetsel.tables.any_form import AnyTable

if TYPE_CHECKING:
    from targetsel.imaging.store import CutoutStore
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.spectra.distilled import DistillationRecord


@with_addresses("output")
def train(
    store: AnyPath | None = None,
    output: AnyPath | None = None,
    *,
    embeddings: AnyTable | None = None,
    embedding_col: str | None = None,
    photometry: bool = False,
    spectra: AnyPath | None = None,
    latents: AnyPath | None = None,
    decoder: AnyPath | None = None,
    catalog: AnyPath | None = None,
    like: AnyPath | None = None,
    group: str | None = None,
    survey: str | None = None,
    preset: str = "default",
    members: int | None = None,
    epochs: int | None = None,
    workers: int = 1,
    init: AnyPath | None = None,
    bands: str | None = None,
    size: int | None = None,
    bin: int | None = None,
    width: float | None = None,
    redshift: bool = True,
    aperture: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    report: Callable[[str], object] | None = print,
) -> Ensemble:
    """Train an ensemble on cutouts and spectra, as `targetsel train` does; resumes if interrupted.

    Parameters
    ----------
    store : str or Path, optional
        Cutout store; without it networks see `embeddings` alone.
    output : str or Path
        Folder of the new ensemble.
    embeddings : str, Path or table, optional
        Table with a vector of numbers for each source, such as a foundation model's embedding of
        its image: in place of cutouts, or beside them.
    embedding_col : str, optional
        Column of the vectors; by default the only one, or that of `init`.
    photometry : bool
        Whether networks take the magnitudes in `catalog` beside the embeddings.
    spectra : str or Path, optional
        Spectra on the rest-frame grid, whose latents are learnt; or `latents` in their place.
    latents : str or Path, optional
        File that `encode_spectra` wrote.
    decoder : str or Path, optional
        Decoder of the latents, a folder or file; by default that of `init`.
    catalog : str or Path, optional
        With groups, weights, redshifts, magnitudes.
    like : str or Path, optional
        Catalog of the sources that predictions are for: labelled sources are weighted so that
        their magnitudes and colours, in `catalog`, are distributed as there (see
        `selection_weights`).
    group : str, optional
        Column of the catalog; sources of one group stay together, in training or in testing.
    survey : str, optional
        Survey of the images, such as "hsc": its card gives `bands`, `size` and `bin` that are not
        given, and the pixels of the store must be its.
    preset : str
        "default" or "wu-peek-2020".
    members, epochs : int, optional
        Numbers of networks and of epochs; by default the preset's.
    workers : int
        Members trained at the same time. With several, a script needs the line
        ``if __name__ == "__main__":``.
    init : str or Path, optional
        Ensemble to start from: a folder, or the name of a shipped one.
    bands : str, optional
        Such as "gri" or "VIS,Y,J"; by default those of the store.
    size : int, optional
        Width of the central part of cutouts to use [pixel].
    bin : int, optional
        Sum pixels in blocks of this width.
    width : float, optional
        Relative width of the networks.
    redshift : bool
        Whether to learn the redshift too, where the catalog has it in a column such as "redshift"
        or "z_spec"; with `init`, where that ensemble predicts it.
    aperture : float, optional
        Diameter of the fiber that the spectra were taken with [arcsec], for the card and scored
        files: line strengths are of the light in it. By default as the file of spectra states it,
        which mock skies do, or else that of `init`.
    seed : int
        Seed of weights, batches and splits.
    device : str
        "cpu" or "cuda".
    report : function of a str, optional
        Called with a line for each epoch; None: nothing is said.

    Returns
    -------
    Ensemble
        `Ensemble.card` has its errors on sources held out.

    Raises
    ------
    CutoutError
        If the store cannot be read, its bands or pixels are not those of `survey`, or there is
        neither a store nor embeddings.
    SpectrumError
        If the spectra or latents cannot be read, or not one of both is given.
    CatalogError
        If a catalog or the embeddings cannot be read, a column is missing, or labelled sources are
        too unlike those of `like`.
    EnsembleError
        If an option does not suit the others or the ensemble to start from, there are too few
        sources, or the folder holds a training of something else.
    OutputError
        If the folder cannot be written.

    See Also
    --------
    selection_weights : What `like` gives the labelled sources.
    calibrate : Correct the new ensemble.
    score : Takes it.
    encode_spectra : Writes the latents of measured spectra.

    Examples
    --------
    So short a training predicts nothing of use; it shows the call.

    >>> import targetsel as ts
    >>> ensemble = ts.train(
    ...     "cutouts",
    ...     "mine",
    ...     spectra="spectra.parquet",
    ...     init="mock-ps1",
    ...     members=1,
    ...     epochs=2,
    ...     report=lambda line: None,
    ... )
    >>> len(ensemble.networks)
    1
    """
    from targetsel.errors import OutputError
    from targetsel.photometry.bands import parse_bands
    from targetsel.scoring.engines import TORCH, check_engine, device_of
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.training.ensemble_training import of_epochs, train_into
    from targetsel.training.files import TrainingFiles
    from targetsel.training.plan import TrainingInputs

    if output is None:
        raise OutputError("no folder for the new ensemble. Name one: --output FOLDER.")
    check_engine(TORCH, device_of(device))
    files = TrainingFiles(
        path_of(store),
        path_of(spectra),
        path_of(latents),
        path_of(decoder),
        path_of(catalog),
        group,
        None if init is None else str(init),
        path_of(like),
        embeddings,
        embedding_col,
        photometry,
    )
    inputs = TrainingInputs.read(
        files,
        preset,
        survey=survey,
        bands=None if bands is None else parse_bands(bands),
        size=size,
        binning=bin,
        seed=seed,
        members=members,
        epochs=epochs,
        width=width,
        redshift=redshift,
        aperture=aperture,
    )
    plan = replace(inputs.plan, workers=workers, device=device)
    train_into(
        Path(output),
        inputs.store,
        inputs.labels,
        plan,
        inputs.decoder,
        of_epochs(report or in_silence),
    )
    return Ensemble.read(Path(output), device)


@with_addresses("output")
def train_decoder(
    spectra: AnyPath,
    output: AnyPath,
    *,
    latents: str = "vae6",
    epochs: int = 200,
    batch: int = 64,
    one_cycle: bool = False,
    seed: int = 0,
    report: Callable[[str], object] | None = print,
) -> dict[str, float]:
    """Train a spectral decoder, as `targetsel decoder train` does; resumes if interrupted.

    Parameters
    ----------
    spectra : str or Path
        Folder of FITS files of SDSS or DESI; or .npz or .parquet with flux on the rest-frame grid.
    output : str or Path
        Folder of the decoder.
    latents : str
        Latent space, such as "vae6" or "vae10pca6".
    epochs, batch : int
        Largest number of epochs, and spectra per batch.
    one_cycle : bool
        Run all epochs in one cycle of the learning rate, without stopping early.
    seed : int
        Seed of weights, noise and split.
    report : function of a str, optional
        Called with a line for each epoch; None: nothing is said.

    Returns
    -------
    dict of float
        Figures on spectra held out, such as ``median_residual``.

    Raises
    ------
    SpectrumError
        If the spectra cannot be read, are too few, or the training diverges.
    OutputError
        If the folder cannot be written.

    See Also
    --------
    import_decoder : Import the published decoder.
    train : Learn its latents from images.

    Examples
    --------
    >>> import targetsel as ts
    >>> figures = ts.train_decoder(
    ...     "spectra.parquet", "decoder", epochs=2, report=lambda line: None
    ... )
    >>> figures["median_residual"] > 0
    True
    """
    from targetsel.spectra.autoencoder import LatentSpace
    from targetsel.training.decoder_training import DecoderRecipe, train_decoder_into

    space = LatentSpace.parse(latents)
    recipe = DecoderRecipe(space, epochs, batch, one_cycle=one_cycle, seed=seed)
    return train_decoder_into(Path(spectra), Path(output), recipe, report or in_silence)


@with_addresses()
def fit_novelty(
    ensemble: AnyPath,
    catalog: AnyPath,
    cutouts: AnyPath | CutoutStore | None = None,
    *,
    group_col: str | None = None,
) -> int:
    """Refit an ensemble's measure of novelty, as `targetsel ensemble fit-novelty` does.

    Parameters
    ----------
    ensemble : str or Path
        Folder of the ensemble, which is changed; calibrate it again afterwards.
    catalog : str or Path
        Catalog of its training set.
    cutouts : CutoutStore, str or Path, optional
        Their store; by default the folder cutouts beside the catalog.
    group_col : str, optional
        Column of the groups that split the training set.

    Returns
    -------
    int
        Number of held-out sources that it was fitted to.

    Raises
    ------
    CatalogError
        If the catalog cannot be read, or lacks the column of groups.
    CutoutError
        If the store cannot be read, or does not suit the ensemble.
    EnsembleError
        If there is no such ensemble, or too few sources are held out.
    OutputError
        If the folder cannot be written.

    See Also
    --------
    train : Makes the ensemble, with a measure of novelty.
    calibrate : To be called again afterwards.

    Examples
    --------
    With the ensemble that the example of `train` makes:

    >>> import targetsel as ts
    >>> n_sources = ts.fit_novelty("mine", "catalog.parquet")
    """
    from targetsel.scoring.ensemble import Ensemble, find_ensemble, write_over
    from targetsel.training.ensemble_training import refit_novelty

    read = Ensemble.read(Path(ensemble), calibrated=False)
    store = store_of(Path(catalog).parent / "cutouts" if cutouts is None else cutouts)
    n = refit_novelty(read, store, Path(catalog), group_col)
    half = read.card.get("half_precision", {}).get("weights", False)
    write_over(read, find_ensemble(Path(ensemble)), half)
    return n


@with_addresses()
def distil(
    ensemble: AnyPath,
    scored: AnyPaths,
    *,
    steps: int | None = None,
    bound: float = 0.05,
    seed: int = 0,
) -> DistillationRecord:
    """Distil an ensemble's decoder, as `targetsel ensemble distil` does.

    `score` and `calibrate` then take line strengths from a small network that learnt them, in
    less time than decoding takes. Sources with draws outside of what it learnt are decoded.

    Parameters
    ----------
    ensemble : str or Path
        Folder of the ensemble, which gets the file ``indices.safetensors``.
    scored : str, Path, or several
        Scored catalogs of the ensemble, of sources like those to come.
    steps : int, optional
        Batches of 4096 draws that it learns from, 16,000 by default.
    bound : float
        Largest error of medians to accept, in standard deviations of the posterior, as the root
        mean square over sources kept aside.
    seed : int
        Seed of weights, draws and batches.

    Returns
    -------
    DistillationRecord
        What it was made from, and its errors on sources kept aside.

    Raises
    ------
    CatalogError
        If a scored catalog cannot be read.
    EnsembleError
        If there is no such ensemble, a catalog is of another one, its sources are too few, or the
        errors exceed the bound.
    OutputError
        If the folder cannot be written.

    See Also
    --------
    score : Uses it.
    calibrate : Corrects, if it is called again, what small errors the network has.

    Examples
    --------
    With the ensemble that the example of `train` makes. So few steps do not reach the default
    bound; they show the call.

    >>> import targetsel as ts
    >>> scored = ts.score("catalog.parquet", "cutouts", "mine", "mine.scored.parquet")
    >>> record = ts.distil("mine", "mine.scored.parquet", steps=100, bound=1)
    >>> record.errors["ew_halpha"].median < 1
    True
    """
    from targetsel.scoring.ensemble import Ensemble, find_ensemble
    from targetsel.training.distillation import STEPS
    from targetsel.training.distillation import distil as distilled

    read = Ensemble.read(ensemble if isinstance(ensemble, str) else Path(ensemble))
    found = distilled(read, paths_of(scored), STEPS if steps is None else steps, seed, bound)
    found.write(find_ensemble(ensemble if isinstance(ensemble, str) else Path(ensemble)))
    return found.record


@with_addresses("output")
def export_onnx(
    output: AnyPath, ensemble: AnyEnsemble = DEFAULT, *, member: int | None = None
) -> Path:
    """Write an ensemble as an ONNX graph, as `targetsel ensemble export-onnx` does.

    Parameters
    ----------
    output : str or Path
        Graph to write, .onnx.
    ensemble : Ensemble, str or Path
    member : int, optional
        Only this member, from 0, which takes stretched cutouts.

    Returns
    -------
    Path
        The graph.

    Raises
    ------
    EnsembleError
        If there is no such ensemble or member.
    OutputError
        If the graph cannot be written.
    ExtraError
        If onnx and onnxscript are not installed.

    See Also
    --------
    Ensemble.predict : What the graph does.

    Examples
    --------
    >>> import targetsel as ts
    >>> graph = ts.export_onnx("mock-ps1.onnx", "mock-ps1", member=0)
    >>> graph.name
    'mock-ps1.onnx'
    """
    from targetsel.errors import EnsembleError
    from targetsel.scoring.onnx import export_ensemble, export_member

    read, path = ensemble_of(ensemble), Path(output)
    if member is None:
        export_ensemble(read, path)
    elif 0 <= member < len(read.networks):
        size = 0 if read.inputs.cutouts is None else read.inputs.cutouts.n_pixels
        export_member(read.networks[member], size, path)
    else:
        raise EnsembleError(
            f"--member {member}: {read.name} has the members 0 to {len(read.networks) - 1}. "
            "Give one of them."
        )
    return path
