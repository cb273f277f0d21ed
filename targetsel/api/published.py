"""Published networks and decoders, imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath, AnyPaths, paths_of, store_of
from targetsel.remote.copies import with_addresses

if TYPE_CHECKING:
    from targetsel.imaging.store import CutoutStore
    from targetsel.networks.network import NetworkPlan
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.spectra.published import ImportedDecoder


@with_addresses("output")
def import_decoder(
    weights: AnyPath, output: AnyPath, *, pca: AnyPath, mean_spectrum: AnyPath
) -> ImportedDecoder:
    """Import the published SDSS autoencoder, as `targetsel decoder import` does.

    Parameters
    ----------
    weights : str or Path
        The autoencoder, .pth; nothing in its pickle is executed.
    output : str or Path
        Decoder to write: a folder or .safetensors.
    pca : str or Path
        Pickled PCA of its latents.
    mean_spectrum : str or Path
        Mean of its training spectra, .npy.

    Returns
    -------
    ImportedDecoder

    Raises
    ------
    SpectrumError
        If the mean spectrum is none of 1000 finite numbers.
    EnsembleError
        If the weights or the PCA cannot be read, or are of another architecture.
    OutputError
        If the decoder cannot be written.

    See Also
    --------
    import_ensemble : Import the networks that belong to it.
    train_decoder : Train another one.

    Examples
    --------
    The authors' files are not in the demonstration.

    >>> import targetsel as ts
    >>> imported = ts.import_decoder(
    ...     "0057.pth", "sdss", pca="latent_pca.pkl", mean_spectrum="meanspec.npy"
    ... )
    >>> imported.decoder.n_latents
    6
    """
    from targetsel.spectra.published import import_decoder as read

    return read(Path(weights), Path(pca), Path(mean_spectrum), Path(output))


@with_addresses("output")
def import_ensemble(
    weights: AnyPaths,
    output: AnyPath,
    *,
    decoder: AnyPath,
    latent_rmse: Sequence[float],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    cutouts: AnyPath | CutoutStore | None = None,
    size: int = 224,
) -> Ensemble:
    """Import the published hybrid networks, as `targetsel ensemble import` does.

    Parameters
    ----------
    weights : str, Path, or several
        One .pth file per member; nothing in their pickles is executed.
    output : str or Path
        Folder of the new ensemble.
    decoder : str or Path
        Decoder of the latents, which `import_decoder` wrote.
    latent_rmse : sequence of float
        Root mean square error of the prediction in each standardised latent.
    mean, std : sequence of float, optional
        Of the input in y, z, i, r, g [nanomaggy/pixel]; by default estimated from `cutouts`.
    cutouts : CutoutStore, str or Path, optional
        Cutouts like those of the training, for novelty too.
    size : int
        Width and height of cutouts [pixel].

    Returns
    -------
    Ensemble

    Raises
    ------
    CutoutError
        If the store cannot be read, or has no source with all its pixels.
    EnsembleError
        If the weights are of another architecture, the decoder or the errors do not suit them, or
        one of `mean` and `std` is missing.
    OutputError
        If the folder cannot be written.

    See Also
    --------
    import_decoder : Import the decoder.
    calibrate : Correct the ensemble.

    Examples
    --------
    The authors' files are not in the demonstration; the decoder is that of the example of
    `import_decoder`.

    >>> import targetsel as ts
    >>> ensemble = ts.import_ensemble(
    ...     "hybrid.pth",
    ...     "published",
    ...     decoder="sdss",
    ...     latent_rmse=[0.5, 0.6, 0.7, 0.8, 0.9, 0.9],
    ...     cutouts="cutouts",
    ...     size=64,
    ... )
    """
    from targetsel.scoring.published import write_imported
    from targetsel.spectra.decoder import Decoder

    return write_imported(
        paths_of(weights),
        Path(output),
        Decoder.read(Path(decoder)),
        latent_rmse,
        mean,
        std,
        None if cutouts is None else store_of(cutouts),
        size,
    )


def ensemble_presets() -> dict[str, NetworkPlan]:
    """The plans of the published networks by name, as `targetsel ensemble presets` lists them.

    Returns
    -------
    dict of NetworkPlan

    See Also
    --------
    import_ensemble : Import one of these networks.

    Examples
    --------
    >>> import targetsel as ts
    >>> "hybrid" in ts.ensemble_presets()
    True
    """
    from targetsel.networks.network import presets

    return presets()
