"""The published hybrid networks, imported.

Wu & Peek (2020, arXiv:2009.12318) saved their networks with fastai: a pickled state dict beside the
optimiser's state. It is read without being executed (see `weights.pickles`) and put into our
network of the same plan, layer by layer.

Three things are not in the files; they are given or estimated, and written on the card:

* the normalisation of the input, (flux - mean) / std in each band, which the authors estimated from
  one batch and did not save: given, or estimated from a cutout store;
* the scatter of the latents about the prediction. These networks predict the mean alone, and a
  prediction without a spread would pass or fail every rule with certainty. So the root mean square
  error in each latent, as measured on sources with spectra, has to be given; it serves as the
  standard deviation for every source, without correlations;
* the distribution of the training sources' features, against which novelty is measured. The
  sources of the cutout store stand for them; without a store novelty is unknown (NaN).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from targetsel.documents.models import validate_values
from targetsel.errors import CutoutError, EnsembleError, OutputError
from targetsel.imaging.store import CutoutStore, check_suits
from targetsel.imaging.stretch import Stretch
from targetsel.networks.input_plan import InputPlan
from targetsel.networks.network import Network, NetworkPlan, presets
from targetsel.novelty.novelty import NoveltyReference
from targetsel.scoring.card import SCHEMA, Normalisation
from targetsel.scoring.ensemble import BATCH_SIZE, Ensemble, fit_reference
from targetsel.spectra.decoder import Decoder
from targetsel.tables.files import folder_written_beside, make_folder, sha256_of_file
from targetsel.tasks import tracked
from targetsel.version import __version__
from targetsel.weights.pickles import read_state_dict
from targetsel.weights.safetensors import load_weights

BANDS = ("y", "z", "i", "r", "g")
PIXEL_SCALE = 0.25  # [arcsec]
SIZE = 224  # [pixel]
N_SOURCES = 1024  # sources of a cutout store that estimates use
THEIRS = "Give the weights that Wu and Peek published."
OURS = {"weight_orig": "weight", "weight_u": "left", "weight_v": "right"}
DISPENSABLE = {"num_batches_tracked", "right"}  # buffers that older PyTorch did not save


def write_imported(
    weights: Sequence[Path],
    output: Path,
    decoder: Decoder,
    latent_rmse: Sequence[float],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    store: CutoutStore | None = None,
    size: int = SIZE,
) -> Ensemble:
    """Write an ensemble of published networks to a new folder; parameters as of `import_ensemble`.

    Raises
    ------
    EnsembleError, CutoutError, OutputError
        If there is something in the folder, too.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise OutputError(f"{output}: already exists. Choose a new folder for the ensemble.")
    if (mean is None) != (std is None):
        missing = "--mean" if mean is None else "--std"
        raise EnsembleError(f"{missing} is missing. Give both --mean and --std, or none.")
    normalisation = None if mean is None or std is None else (mean, std)
    ensemble = import_ensemble(weights, decoder, latent_rmse, normalisation, store, size=size)
    ensemble.card["name"] = output.name
    make_folder(output.parent)
    with folder_written_beside(output) as beside:
        ensemble.write(beside)
    return ensemble


def import_ensemble(
    weights: Sequence[Path],
    decoder: Decoder,
    latent_rmse: Sequence[float],
    normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
    store: CutoutStore | None = None,
    plan: NetworkPlan | None = None,
    size: int = SIZE,
) -> Ensemble:
    """An ensemble of published networks, not yet written.

    Its card lists our name of every tensor of each file (`imported`).

    Parameters
    ----------
    weights : paths
        One file (.pth) for each member.
    decoder : Decoder
        Decoder of the latents that the networks predict; see `spectra.published`.
    latent_rmse : D floats
        Root mean square error of the prediction in each standardised latent; see above.
    normalisation : two times 5 floats, optional
        Mean and standard deviation of the input in y, z, i, r, g [nanomaggy/pixel]. Default:
        estimated from `store`.
    store : CutoutStore, optional
        Cutouts like those of the training.
    plan : NetworkPlan, optional
        The preset "hybrid" if not given.
    size : int
        Width and height of the cutouts [pixel].

    Raises
    ------
    EnsembleError, CutoutError
        If files, decoder, store and plan do not fit together, or something needed is missing.
    """
    plan = plan or presets()["hybrid"]
    values = dict(plan) | {"latent_rmse": latent_rmse}
    plan = validate_values(values, NetworkPlan, "published networks", EnsembleError)
    if not plan.latent_rmse:
        raise EnsembleError(
            "latent_rmse: the published networks predict no spread, and rules need one. Give the "
            f"root mean square error in each of the {plan.n_latents} standardised latents."
        )
    if decoder.n_latents != plan.n_latents:
        raise EnsembleError(
            f"the decoder takes {decoder.n_latents} latents, but the networks predict "
            f"{plan.n_latents}. Import the decoder that belongs to them."
        )
    if store is not None:
        check_suits(store, BANDS, PIXEL_SCALE, size, "the published networks")
    if normalisation is not None:
        values = dict(zip(("mean", "std"), map(list, normalisation), strict=True))
        norm = validate_values(values, Normalisation, "normalisation", EnsembleError)
    elif store is not None:
        norm = estimate_normalisation(store, size)
    else:
        raise EnsembleError(
            "the published weights lack the normalisation of their input. Give mean and "
            "standard deviation of each band, or a cutout store to estimate them from."
        )
    if len(norm.mean) != len(BANDS):
        raise EnsembleError(
            f"normalisation: {len(norm.mean)} means and {len(norm.std)} standard deviations, "
            f"expected one for each of the bands {', '.join(BANDS)}"
        )
    networks, notes = [], []
    for path in tracked(weights, "importing", len(weights), "networks"):
        network, used = read_network(path, plan)
        networks.append(network.eval())
        notes.append({"file": Path(path).name, "sha256": sha256_of_file(path), "tensors": used})
    stretch = Stretch(
        kind="linear",
        sky_sigma=norm.std,
        scale=1.0,
        softening=1.0,
        clip=1e6,
        offset=[mean / std for mean, std in zip(norm.mean, norm.std, strict=True)],
    )
    given = InputPlan(bands=BANDS, pixel_scale=PIXEL_SCALE, size=size, stretch=stretch)
    card = {
        "schema": SCHEMA,
        "name": "",
        "description": "Published networks of Wu & Peek (2020, arXiv:2009.12318), imported",
        "code_version": __version__,
        "input": given.model_dump(mode="json"),
        "normalisation": norm.model_dump(mode="json"),
        "network": plan.model_dump(mode="json"),
        "latents": {
            "covariance": "diagonal, the same for every source: latent_rmse squared, as given",
        },
        "novelty": "unknown: imported without a cutout store"
        if store is None
        else f"against at most {N_SOURCES} sources of a cutout store, SHA-256 {store.sha256}",
        "imported": notes,
        "files": {},
    }
    unknown = NoveltyReference.unknown(len(networks), networks[0].head.in_features)
    ensemble = Ensemble(networks, decoder, unknown, card)
    if store is not None:
        ensemble.novelty = fit_reference(ensemble, store, _evenly_spaced(store.source_ids()))
    return ensemble


def read_network(path: Path, plan: NetworkPlan) -> tuple[Network, dict[str, str]]:
    """The network in a published file, and our name of each of its tensors.

    Layers are matched in the order in which they were created, which the file keeps; each must be
    of the same kind and shape as ours, and no tensor may be left over.

    Raises
    ------
    EnsembleError
        If the file is unreadable, or of another architecture.
    """
    network = Network(plan)
    own = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    published = read_state_dict(path)
    tensors: dict[str, Tensor] = {name: torch.from_numpy(value) for name, value in own.items()}
    used: dict[str, str] = {}
    theirs, ours = _layers(published, path), _layers(own, path)
    for their, our in zip(theirs, ours, strict=False):
        if their.kind != our.kind:
            raise EnsembleError(
                f"{path}: weights of another architecture: '{their.name}' is a {their.kind}, "
                f"where the network has a {our.kind}. {THEIRS}"
            )
        for leaf, name in our.tensors.items():
            if leaf not in their.tensors and leaf in DISPENSABLE:
                continue
            source = their.tensors.get(leaf)
            if source is None:
                raise EnsembleError(
                    f"{path}: {their.kind} '{their.name}' lacks its '{leaf}'. {THEIRS}"
                )
            tensors[name] = _fitting(published[source], own[name].shape, source, their.kind, path)
            used[source] = name
    if len(theirs) < len(ours):
        raise EnsembleError(
            f"{path}: weights of another architecture: {len(theirs)} layers, expected {len(ours)}"
        )
    if left := [name for name in published if name not in used]:
        raise EnsembleError(
            f"{path}: weights of another architecture: {len(left)} tensors have no place in the "
            f"network, the first being '{left[0]}' of shape {published[left[0]].shape}. {THEIRS}"
        )
    if any(name.endswith("left") and name[:-4] + "right" not in used.values() for name in tensors):
        _complete_singular_vectors(tensors)
    load_weights(network, tensors, path)
    return network, used


@dataclass
class _Layer:
    """One layer's tensors: our leaf names to their full names."""

    name: str
    tensors: dict[str, str]
    kind: str = ""


def _layers(tensors: dict[str, np.ndarray], path: Path) -> list[_Layer]:
    """Layers in the order of their first tensors; a gain and the matrix it multiplies are one."""
    layers: dict[str, _Layer] = {}
    for name in tensors:
        layer, _, leaf = name.rpartition(".")
        parent = layer.rpartition(".")[0]
        if parent in layers and "gamma" in layers[parent].tensors:
            layer = parent
        found = layers.setdefault(layer, _Layer(layer, {}))
        found.tensors[OURS.get(leaf, leaf)] = name
    for found in layers.values():
        leaves = found.tensors.keys()
        axes = tensors[found.tensors["weight"]].ndim if "weight" in leaves else 0
        if "running_deconv" in leaves:
            found.kind = "deconvolution"
        elif "running_var" in leaves:
            found.kind = "batch normalisation"
        elif "gamma" in leaves:
            found.kind = "self-attention"
        elif axes in (2, 4):
            found.kind = {2: "linear layer", 4: "convolution"}[axes]
        else:
            raise EnsembleError(
                f"{path}: tensor '{next(iter(found.tensors.values()))}' belongs to no kind of "
                f"layer that the published networks have. {THEIRS}"
            )
    return list(layers.values())


def _fitting(
    values: np.ndarray, shape: tuple[int, ...], name: str, kind: str, path: Path
) -> Tensor:
    """A published tensor in our shape; kernels of one pixel may have additional axes."""
    found = values.shape
    if kind == "self-attention" and found[len(shape) :] == (1,) * (len(found) - len(shape)):
        found = found[: len(shape)]
    if found != shape:
        raise EnsembleError(
            f"{path}: weights of another architecture: '{name}' has shape {values.shape}, where "
            f"the network's {kind} has {shape}. {THEIRS}"
        )
    return torch.from_numpy(np.array(values)).reshape(shape)


def _complete_singular_vectors(tensors: dict[str, Tensor]) -> None:
    """The right singular vectors that files of PyTorch 1.0 lack, from the left ones."""
    for name, left in tensors.items():
        if name.endswith(".left"):
            right = tensors[name[:-4] + "weight"].mT @ left
            tensors[name[:-4] + "right"] = torch.nn.functional.normalize(right, dim=0)


# ---------------------------------------------------------------- what the files lack


def estimate_normalisation(store: CutoutStore, size: int = SIZE) -> Normalisation:
    """Mean and standard deviation over the pixels of at most 1024 sources of a store.

    Pixels without data count as zero flux, as in the stretch.

    Raises
    ------
    CutoutError
        If no source has all its pixels.
    """
    total, squares, n = np.zeros(len(BANDS)), np.zeros(len(BANDS)), 0
    sources, chosen = 0, _evenly_spaced(store.source_ids())
    parts = (chosen[start : start + BATCH_SIZE] for start in range(0, len(chosen), BATCH_SIZE))
    for part in tracked(parts, "measuring pixels", len(chosen), "sources", len):
        cutouts = store.read(part).select_bands(BANDS).crop(size)
        flux = np.nan_to_num(cutouts.flux[cutouts.status == "ok"].astype(np.float64))
        total += flux.sum(axis=(0, 2, 3))
        squares += (flux**2).sum(axis=(0, 2, 3))
        n += flux[:, 0].size
        sources += len(flux)
    if sources == 0:
        raise CutoutError(
            f"{store.path}: no source with all its pixels; expected at least one to estimate from"
        )
    mean = total / n
    return Normalisation(
        mean=mean.tolist(),
        std=np.sqrt(squares / n - mean**2).tolist(),
        origin=f"estimated from {sources} sources of a cutout store, SHA-256 {store.sha256}",
    )


def _evenly_spaced(ids: np.ndarray) -> np.ndarray:
    return ids[np.linspace(0, len(ids) - 1, min(len(ids), N_SOURCES)).astype(int)]
