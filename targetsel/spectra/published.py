"""The published spectral autoencoder, imported.

Portillo et al. (2020, AJ 160, 45) published their autoencoders as pickled PyTorch modules. Wu &
Peek (2020, arXiv:2009.12318) predict the first principal components of its ten latents and decode
them through a pickled scikit-learn PCA. None of the files is executed: see `weights.pickles`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from targetsel.errors import EnsembleError, SpectrumError
from targetsel.spectra.decoder import FILE_NAME, Decoder
from targetsel.spectra.grid import N_PIXELS
from targetsel.tables.files import check_output
from targetsel.tables.numpy_files import read_npy
from targetsel.weights.pickles import Record, read_pickle, read_state_dict
from targetsel.weights.safetensors import write_safetensors

COMPONENTS = 6
WIDE, NARROW = 549, 110


@dataclass(frozen=True)
class ImportedDecoder:
    """A decoder made from published files.

    Attributes
    ----------
    decoder : Decoder
    path : Path
        Where it was written.
    used : dict
        Our name of each published tensor, by its published name.
    """

    decoder: Decoder
    path: Path
    used: dict[str, str]


def import_decoder(weights: Path, pca: Path, mean_spectrum: Path, output: Path) -> ImportedDecoder:
    """The decoder of the latent space `vae10pca6` from published files, written to `output`.

    Each published spectrum is its flux over the root of its sum of squares, minus the mean
    spectrum, like ours. The labels of the published networks are principal components over
    their mean and standard deviation, which are taken to be those of the PCA's own sample: 0 and
    the root of its explained variance, whitened or not. That scaler is stored with the weights
    and undone when decoding. (The published notebook leaves it out.)

    Parameters
    ----------
    weights : Path
        The autoencoder: a pickled module or a state dict (.pth), 1000-549-110-R and back.
    pca : Path
        The pickled PCA of its latents (latent_pca.pkl).
    mean_spectrum : Path
        The mean of the training spectra (meanspec.npy), shape (1000,).
    output : Path
        A safetensors file, or an existing folder that gets `decoder.safetensors`.

    Raises
    ------
    EnsembleError, SpectrumError
        If a file would execute code, or does not fit the others.
    """
    output = Path(output)
    output = output / FILE_NAME if output.is_dir() else output
    check_output(output, [weights, pca, mean_spectrum])
    arrays, used = _autoencoder(read_state_dict(weights), weights)
    arrays |= _principal_components(pca, arrays["decoder.0.weight"].shape[1])
    arrays["mean_spectrum"] = _mean_spectrum(mean_spectrum)
    write_safetensors({k: torch.tensor(v, dtype=torch.float32) for k, v in arrays.items()}, output)
    return ImportedDecoder(Decoder.read(output), output, used)


def _autoencoder(
    published: dict[str, np.ndarray], path: Path
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Our tensors by name, and our name of each published one.

    Layers are identified by the shapes of their weights, which all differ except for the two that
    give the latents' mean and log variance; those are identified by their names.

    Raises
    ------
    EnsembleError
        If the layers are of another architecture.
    """
    layers = _linear_layers(published, path)
    latents = {len(w) for w, _ in layers.values() if w.shape[1] == NARROW} - {WIDE}
    if len(latents) != 1:
        raise _other_architecture(path, layers)
    (raw,) = latents
    places = {
        (WIDE, N_PIXELS): "encoder.0", (NARROW, WIDE): "encoder.2", (raw, NARROW): "encoder.4",
        (NARROW, raw): "decoder.0", (WIDE, NARROW): "decoder.2", (N_PIXELS, WIDE): "decoder.4",
    }  # fmt: skip
    found: dict[str, list[str]] = {place: [] for place in places.values()}
    for name, (weight, _) in layers.items():
        if weight.shape not in places:
            raise _other_architecture(path, layers)
        found[places[weight.shape]].append(name)
    if any(len(names) != (2 if place == "encoder.4" else 1) for place, names in found.items()):
        raise _other_architecture(path, layers)
    found["encoder.4"] = _mean_then_log_variance(found["encoder.4"], path)
    tensors, used = {}, {}
    for place, names in found.items():
        for k, leaf in enumerate(("weight", "bias")):
            tensors[f"{place}.{leaf}"] = np.concatenate([layers[name][k] for name in names])
            for part, name in enumerate(names):
                which = f", {('mean', 'log variance')[part]}" if len(names) == 2 else ""
                used[f"{name}.{leaf}"] = f"{place}.{leaf}{which}"
    return tensors, used


def _principal_components(path: Path, n_latents: int) -> dict[str, np.ndarray]:
    """Our tensors of the principal components in a pickled scikit-learn PCA.

    Raises
    ------
    EnsembleError
        If the file holds no PCA, or one that does not fit the autoencoder.
    """
    record = read_pickle(path)
    if not isinstance(record, Record) or not record.kind.name.endswith("PCA"):
        kind = record.kind if isinstance(record, Record) else type(record).__name__
        raise EnsembleError(f"{path}: holds a {kind}, expected a pickled scikit-learn PCA")
    values = record.attributes
    rows = _array(values, "components_", 2, path)
    mean = _array(values, "mean_", 1, path)
    variance = _array(values, "explained_variance_", 1, path)
    if rows.shape[1] != n_latents or len(rows) < COMPONENTS or len(variance) < len(rows):
        raise EnsembleError(
            f"{path}: {rows.shape[0]} components of {rows.shape[1]} latents, expected at least "
            f"{COMPONENTS} of the {n_latents} latents that the autoencoder has"
        )
    if len(mean) != n_latents or not (variance[:COMPONENTS] > 0).all():
        raise EnsembleError(
            f"{path}: expected in mean_ one number for each latent, and in explained_variance_ "
            "numbers above 0"
        )
    return {
        "pca_components": rows[:COMPONENTS],
        "pca_mean": mean,
        "latent_mean": np.zeros(COMPONENTS),
        "latent_std": np.sqrt(variance[:COMPONENTS]),
    }


def _array(values: dict[Any, Any], name: str, n_axes: int, path: Path) -> np.ndarray:
    array = values.get(name)
    if (
        not isinstance(array, np.ndarray)
        or array.ndim != n_axes
        or array.dtype.kind not in "iuf"
        or not np.isfinite(array).all()
    ):
        raise EnsembleError(
            f"{path}: the PCA has no usable '{name}', expected finite numbers with {n_axes} axes. "
            "Was it fitted?"
        )
    return array.astype(np.float64)


def _linear_layers(
    published: dict[str, np.ndarray], path: Path
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weight (out, in) and bias (out,) of each layer by name; nothing may be left over."""
    layers = {}
    for name, weight in published.items():
        layer, _, leaf = name.rpartition(".")
        bias = published.get(f"{layer}.bias" if layer else "bias")
        if leaf == "weight" and weight.ndim == 2 and bias is not None:
            if bias.shape == weight.shape[:1]:
                layers[layer] = weight, bias
        elif leaf != "bias" or f"{layer}.weight" not in published:
            raise EnsembleError(
                f"{path}: tensor '{name}' of shape {weight.shape} has no place in the published "
                "autoencoder; expected linear layers only"
            )
    return layers


def _mean_then_log_variance(names: list[str], path: Path) -> list[str]:
    """The two layers that give the latents' mean and log variance, in that order."""

    def speaks_of_variance(name: str) -> bool:
        last = name.rpartition(".")[2].lower()
        return "lv" in last or "var" in last or "sig" in last

    ordered = sorted(names, key=speaks_of_variance)
    if [speaks_of_variance(name) for name in ordered] != [False, True]:
        raise EnsembleError(
            f"{path}: which of the layers '{names[0]}' and '{names[1]}' gives the latents' log "
            "variance? Expected names like 'mu' and 'lv'."
        )
    return ordered


def _other_architecture(
    path: Path, layers: dict[str, tuple[np.ndarray, np.ndarray]]
) -> EnsembleError:
    found = ", ".join(f"{w.shape[1]}-{w.shape[0]}" for w, _ in layers.values()) or "none"
    return EnsembleError(
        f"{path}: weights of another architecture: linear layers {found[:200]}; expected "
        f"{N_PIXELS}-{WIDE}-{NARROW}-latents (twice) and back"
    )


def _mean_spectrum(path: Path) -> np.ndarray:
    spectrum = read_npy(path, SpectrumError, "an .npy file of numbers")
    if spectrum.shape != (N_PIXELS,):
        found = spectrum.shape
        raise SpectrumError(f"{path}: mean spectrum of shape {found}, expected ({N_PIXELS},)")
    if spectrum.dtype.kind not in "iuf" or not np.isfinite(spectrum).all():
        raise SpectrumError(f"{path}: the mean spectrum must be finite numbers")
    return spectrum
