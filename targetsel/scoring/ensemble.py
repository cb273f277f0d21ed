"""An ensemble: networks, their decoder, and a card with all that a prediction depends on.

On disk it is one directory: `card.json`, one `member-K.safetensors` per network,
`decoder.safetensors` and `novelty.safetensors`. The card names the hash of each. There may be a
`calibration.json`, which names the ensemble that it was fitted for, and an `indices.safetensors`,
which names the decoder that it was distilled from.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

from targetsel.calibration.calibration import UNCALIBRATED, Calibration, CalibrationSteps
from targetsel.calibration.joint import JointCalibration
from targetsel.calibration.prediction import PredictedProxies, predict_proxies
from targetsel.errors import CutoutError, EnsembleError, close_or_known
from targetsel.imaging.measurements import CHECKS
from targetsel.networks.deconvolution import fold
from targetsel.networks.input_plan import InputPlan
from targetsel.networks.inputs import AnyInputs, AnyStore, InputPlans, InputsById
from targetsel.networks.network import Network, NetworkPlan
from targetsel.networks.posterior import LatentPosterior
from targetsel.novelty.novelty import N_LEVELS, NoveltyReference, measured_numbers
from targetsel.scoring import DEFAULT
from targetsel.scoring.card import card_bytes, members_in, read_card
from targetsel.scoring.engines import (
    TORCH,
    Engine,
    Members,
    check_engine,
    device_of,
    engine_version,
    start_engine,
)
from targetsel.spectra.decoder import FILE_NAME as DECODER_FILE
from targetsel.spectra.decoder import Decoder, FoldedDecoder
from targetsel.spectra.distilled import FILE_NAME as INDICES_FILE
from targetsel.spectra.distilled import DistilledIndices
from targetsel.spectra.draws import ProxyDraws
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import Proxies
from targetsel.tables.files import folder_written_beside, sha256_of_file, written_beside
from targetsel.tasks import tracked
from targetsel.weights.safetensors import read_safetensors, write_safetensors

# Tensors of novelty.safetensors, by the attribute of `NoveltyReference` that they hold.
NOVELTY_TENSORS = {
    each.name: {"appearance": "looks"}.get(each.name, each.name)
    for each in fields(NoveltyReference)
}
BATCH_SIZE = 64  # cutouts that go through the networks together
SOURCES_READ_AT_ONCE = 1024  # for a novelty reference; a store reads many at once faster than few
FEWEST_HELD_OUT, MOST_HELD_OUT = 4, 8000  # sources that a novelty reference is made of


class Ensemble:
    """Networks that predict the latents' posterior from cutouts, or from vectors in their place or
    beside them, and the decoder of the latents."""

    def __init__(
        self,
        networks: Sequence[Network],
        decoder: Decoder,
        novelty: NoveltyReference,
        card: dict[str, Any],
        device: str = "cpu",
        engine: str = TORCH,
    ):
        self.device, self.engine = torch.device(device), engine
        check_engine(engine, self.device)
        self._starting = Lock()
        self._started: Engine | None = None
        self.networks = [network.eval() for network in networks]
        self.decoder = decoder
        self.novelty = novelty
        self.card = card
        self.calibration: Calibration | None = None
        self.distilled: DistilledIndices | None = None

    def __repr__(self) -> str:
        calibrated = "calibrated" if self.calibration else "not calibrated"
        redshift = " and the redshift" if self.predicts_redshift else ""
        return (
            f"Ensemble '{self.name}' of {len(self.networks)} networks, {calibrated}: "
            f"{self.inputs.described}, to {self.decoder.n_latents} latents{redshift}"
        )

    @cached_property
    def inputs(self) -> InputPlans:
        """The inputs that it takes, from the card: cutouts, vectors or both."""
        return InputPlans.of_card(self.card)

    @property
    def input(self) -> InputPlan:
        """Input plan from the card: bands, size and pixel scale of cutouts, binning and stretch.

        Raises
        ------
        EnsembleError
            If it takes no cutouts.
        """
        if self.inputs.cutouts is None:
            raise EnsembleError(
                f"the ensemble '{self.name}' takes {self.inputs.described}, and no cutouts. Use "
                "--ensemble with one that was trained on cutouts."
            )
        return self.inputs.cutouts

    @property
    def name(self) -> str:
        """Name on the card; empty where it has none."""
        return str(self.card.get("name", ""))

    @property
    def sha256(self) -> str:
        """A hash of everything: the card, which holds the hashes of all weights."""
        import hashlib

        return hashlib.sha256(card_bytes(self.card)).hexdigest()

    @property
    def predicts_redshift(self) -> bool:
        """Whether the networks predict the redshift beside the latents."""
        return self.networks[0].plan.redshift is not None

    @property
    def joint(self) -> JointCalibration | None:
        """The calibrated copula of the proxies, if there is one."""
        return self.calibration.joint if self.calibration else None

    @property
    def engine_version(self) -> str:
        """Name and version of what runs the networks, such as "torch 2.13.0"."""
        return engine_version(self.engine)

    # ------------------------------------------------------------------ predicting

    def predict(self, inputs: AnyInputs) -> LatentPosterior:
        """The latent posterior of every source, calibrated if the ensemble has a calibration.

        A source's posterior depends on its own inputs alone, to the last bit.

        Parameters
        ----------
        inputs : Cutouts, Vectors or Inputs
            Cutouts with at least the card's bands and size, at its pixel scale; vectors of the
            card's length; or both. Sources whose status is not "ok" get NaN.

        Returns
        -------
        LatentPosterior
        """
        plan = self.inputs
        chosen = plan.select(inputs)
        good = np.flatnonzero(chosen.status == "ok")
        n, m, d = len(chosen), len(self.networks), self.networks[0].plan.n_targets
        mean = np.full((n, m, d), np.nan)
        factor = np.full((n, m, d, d), np.nan)
        typicality = np.full(n, np.nan)
        for start in range(0, len(good), BATCH_SIZE):
            rows = good[start : start + BATCH_SIZE]
            batch = self._predict(plan.prepare(chosen, _as_slice(rows)))
            mean[rows], factor[rows] = (each[: len(rows)] for each in batch[1:])
            typicality[rows] = self.novelty.novelty(batch[0])[: len(rows)]
        if (scale := self.networks[0].plan.redshift) is not None:
            mean, factor = scale.restored(mean, factor)
        magnitude = plan.magnitude(chosen)
        found = LatentPosterior(
            chosen.source_id,
            mean,
            factor,
            typicality,
            magnitude,
            has_redshift=self.predicts_redshift,
        )
        return self.calibration.posterior(found, magnitude) if self.calibration else found

    def measure(self, latents: np.ndarray, posterior: LatentPosterior, seed: int = 0) -> Proxies:
        """Proxies of the spectra that draws decode to, calibrated if there is a calibration.

        Stations 5 and 6 of the walk at once: to 1e-4 Angstrom what `spectra.lines.measure` finds
        on the spectra of `decoder.decode`, before calibration. With one there are several draws of
        the decoder's residual for each draw of the latents. Recalibrations are not applied.

        Parameters
        ----------
        latents : ndarray, shape (N, S, D)
            Draws of the posterior.
        posterior : LatentPosterior
            As `predict` gives it.
        seed : int
            Seed of the decoder residuals that calibration adds to the draws.
        """
        measured = ProxyDraws.of(self.folded_decoder.measure(latents, posterior.source_id))
        draws = self.steps.complete(measured, seed)
        raw = draws.posterior
        if posterior.has_redshift:  # which local corrections of line strengths may ask for
            raw = raw.beside(PHOTOZ, np.expm1(posterior.knots()[:, -1]))
        found = self.steps.proxies(raw, posterior.magnitude)
        moved = {name: found.knots(name) for name in self.steps.maps if name in draws.names}
        return draws.moved(moved).proxies

    def predict_proxies(
        self, posterior: LatentPosterior, n_draws: int, seed: int = 0
    ) -> PredictedProxies:
        """The posterior of all proxies, calibrated if there is a calibration: stations 4 to 6.

        Recalibrations are of scored rows, and come later (see `scoring.recalibrating`).

        Parameters
        ----------
        posterior : LatentPosterior
            As `predict` gives it.
        n_draws : int
            Draws of the latents for each source.
        seed : int
        """
        return predict_proxies(self.draws_decoder, self.steps, posterior, n_draws, seed)

    @property
    def steps(self) -> CalibrationSteps:
        """The calibration, or steps that change nothing."""
        return self.calibration or UNCALIBRATED

    def class_probabilities(self, shares: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Class probabilities from shares of draws, calibrated if there is a calibration."""
        return self.steps.class_probabilities(shares)

    def features(self, inputs: AnyInputs) -> np.ndarray:
        """Pooled features (M, N, F) of inputs as of `predict`; NaN where the status is not "ok"."""
        chosen = self.inputs.select(inputs)
        good = np.flatnonzero(chosen.status == "ok")
        n_features = self.networks[0].head.in_features
        found = np.full((len(self.networks), len(chosen), n_features), np.nan)
        for start in range(0, len(good), BATCH_SIZE):
            rows = good[start : start + BATCH_SIZE]
            prepared = self.inputs.prepare(chosen, _as_slice(rows))
            found[:, rows] = self._predict(prepared)[0][:, : len(rows)]
        return found

    @cached_property
    def _members(self) -> Members:
        """The networks as plain convolutions on the device, for prediction."""
        return Members([fold(network) for network in self.networks]).eval().to(self.device)

    def running_engine(self) -> Engine:
        """The engine, which the first thread that asks starts for all."""
        with self._starting, torch.inference_mode(False):  # which the graph's makers do not know
            if self._started is None:
                shape = BATCH_SIZE, *self.inputs.shape
                example = torch.randn(shape, generator=torch.Generator().manual_seed(0))
                self._started = start_engine(self.engine, self._members, example)
            return self._started

    @cached_property
    def folded_decoder(self) -> FoldedDecoder:
        """The decoder and the proxies' definitions in one."""
        return FoldedDecoder(self.decoder, device=self.device)

    @cached_property
    def draws_decoder(self) -> FoldedDecoder:
        """The same for many draws: with the distilled indices where they hold, on a CPU."""
        fits = self.distilled is not None and not self.misfit
        return FoldedDecoder(
            self.decoder, device=self.device, distilled=self.distilled if fits else None
        )

    @property
    def misfit(self) -> str:
        """Why the distilled indices of its folder are not used; empty if they are, or are none."""
        if self.distilled is None:
            return ""
        return self.distilled.misfit(self.decoder_sha256, self.folded_decoder.table)

    @property
    def decoder_sha256(self) -> str:
        """Hash of the decoder's file, from the card."""
        return str(self.card.get("files", {}).get(DECODER_FILE, ""))

    @property
    def how_decoded(self) -> str:
        """How `predict_proxies` gets from latents to line strengths, in one line."""
        if self.draws_decoder.distilled is not None:
            return self.draws_decoder.distilled.summary
        if self.misfit:
            return f"spectra are decoded: {INDICES_FILE} is not used, since {self.misfit}"
        return ""

    @torch.inference_mode()
    def _predict(self, prepared: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features (M, 64, F), means (64, M, D) and factors (64, M, D, D) of a batch.

        A batch of fewer sources is filled up with zeros: matrix products of another shape would
        round differently.
        """
        x = torch.zeros(BATCH_SIZE, *prepared.shape[1:])
        x[: len(prepared)] = torch.from_numpy(prepared)
        features = self.running_engine()(x.to(self.device))
        means, factors = self._members.posterior(features)
        return _doubles(features), _doubles(means), _doubles(factors)

    # ------------------------------------------------------------------ reading, writing

    @classmethod
    def read(
        cls,
        name_or_folder: str | Path = DEFAULT,
        device: str = "cpu",
        calibrated: bool = True,
        engine: str = TORCH,
    ) -> Ensemble:
        """The ensemble in a folder, or a shipped one by its name.

        Its calibration is read too if it has one, unless `calibrated` is False, and its distilled
        indices. The engine runs the networks: "torch" on any device, "onnxruntime" or "openvino"
        on the CPU.

        Raises
        ------
        EnsembleError
            If there is no such ensemble, engine or device, the engine does not run on the device,
            or files are missing, damaged or do not fit together.
        ExtraError
            If the engine is not installed.
        """
        check_engine(engine, device_of(device))
        folder = find_ensemble(name_or_folder)
        card = read_card(folder)
        for name, expected in card["files"].items():
            path = folder / name
            if path.exists() and sha256_of_file(path) != expected:
                read_safetensors(path)  # gives a clearer error if it is no safetensors file at all
                raise EnsembleError(
                    f"{path}: its content is not what card.json was written for (SHA-256 differs). "
                    "Copy the whole folder of the ensemble again."
                )
        networks = []
        for name in members_in(card["files"]):
            plan = card.get("networks", {}).get(name, card["network"])
            networks.append(Network.read(NetworkPlan(**plan), folder / name))
        decoder = Decoder.read(folder / "decoder.safetensors")
        novelty = _read_novelty(folder / "novelty.safetensors")
        ensemble = cls(networks, decoder, novelty, card, device, engine)
        ensemble._check(folder / "card.json")
        if calibrated:
            ensemble.calibration = Calibration.read(
                folder, ensemble.sha256, decoder.n_latents, ensemble.predicts_redshift
            )
        ensemble.distilled = DistilledIndices.read(folder, decoder.n_latents)
        return ensemble

    def _check(self, place: Path) -> None:
        """Raise unless card, networks, decoder and novelty reference fit together."""
        first, n, plan = self.networks[0], len(self.networks), self.inputs
        sky = plan.cutouts.stretch.sky_sigma if plan.cutouts else ()
        features = first.head.in_features
        for network in self.networks[1:]:
            one, other = _interface(first), _interface(network)
            if one != other:
                raise EnsembleError(
                    f"{place}: its networks differ in bands, latents and features: {one} and "
                    f"{other}. Networks of one ensemble must agree in these."
                )
            if first.plan.redshift != network.plan.redshift:
                raise EnsembleError(
                    f"{place}: its networks predict the redshift on different scales, or some do "
                    "not. Networks of one ensemble must agree in that."
                )
        for what, found, needed in (
            ("bands of the input", plan.n_bands, first.plan.n_bands),
            ("sky sigmas of the stretch", len(sky), first.plan.n_bands),
            ("numbers of the vectors", plan.n_numbers, first.plan.vector),
            ("latents of the decoder", self.decoder.n_latents, first.plan.n_latents),
            ("shape of the novelty's mean", self.novelty.mean.shape, (n, features)),
            ("shape of its whitening", self.novelty.whitening.shape, (n, features, features)),
            ("shape of its distances", self.novelty.distances.shape, (N_LEVELS,)),
            ("shape of its checks", self.novelty.checks.shape, (len(CHECKS), N_LEVELS)),
            ("shape of its image", self.novelty.image.shape, (N_LEVELS,)),
            ("shape of its both", self.novelty.both.shape, (N_LEVELS,)),
            ("width of its looks", self.novelty.appearance.shape[1:], (3,)),
        ):
            if found != needed:
                raise EnsembleError(
                    f"{place}: {what}: {found}, but the {n} networks need {needed}. These files do "
                    "not belong together; copy the whole folder of the ensemble again."
                )

    def write(self, folder: Path, half: bool = False) -> None:
        """Write the ensemble into a new or existing folder; the card comes last.

        With `half`, trained kernels and matrices are written in float16, rounded where they are
        not of that precision already (see `halves`).
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        names = []
        for k, network in enumerate(self.networks):
            names.append(f"member-{k}.safetensors")
            tensors = halves(network) if half else network.state_dict()
            write_safetensors(tensors, folder / names[-1])
        self.decoder.write(folder / "decoder.safetensors")
        arrays = {
            name: torch.from_numpy(getattr(self.novelty, field).astype(np.float32))
            for field, name in NOVELTY_TENSORS.items()
        }
        write_safetensors(arrays, folder / "novelty.safetensors")
        names += ["decoder.safetensors", "novelty.safetensors"]
        plans = [network.plan.model_dump(mode="json") for network in self.networks]
        self.card["network"] = plans[0]  # and those of other kinds by the names of their files
        others = {n: p for n, p in zip(names, plans, strict=False) if p != plans[0]}
        self.card |= {"networks": others} if others else {}
        self.card["files"] = {name: sha256_of_file(folder / name) for name in names}
        with written_beside(folder / "card.json") as beside:
            beside.write_bytes(card_bytes(self.card))


def write_over(ensemble: Ensemble, folder: Path, half: bool = False) -> None:
    """Write an ensemble in place of the one in its folder, at once; other files there stay.

    Parameters as of `Ensemble.write`.
    """
    with folder_written_beside(folder) as beside:
        shutil.copytree(folder, beside, dirs_exist_ok=True)
        ensemble.write(beside, half)


def fit_reference(ensemble: Ensemble, given: AnyStore, ids: np.ndarray) -> NoveltyReference:
    """Novelty reference of an ensemble, from sources that its training held out.

    Parameters
    ----------
    ids : ndarray
        Held-out sources (see `training.examples.held_out`). At most 8000 evenly spaced ones are
        used, less those that lack what the networks take.

    Raises
    ------
    CutoutError
        If fewer than four can be used.
    """
    plan, store = ensemble.inputs, InputsById.of(given)
    ids = np.sort(ids)  # in whatever order they come
    ids = ids[np.linspace(0, len(ids) - 1, min(len(ids), MOST_HELD_OUT)).astype(int)]
    features: list[np.ndarray] = []
    numbers: list[tuple[np.ndarray, np.ndarray]] = []
    parts = (
        ids[start : start + SOURCES_READ_AT_ONCE]
        for start in range(0, len(ids), SOURCES_READ_AT_ONCE)
    )
    for part in tracked(parts, "fitting novelty", len(ids), "sources", len):
        inputs = plan.select(store.read(part))
        whole = inputs.take(inputs.status == "ok")
        if len(whole):
            features.append(ensemble.features(whole))
            numbers.append(measured_numbers(whole, plan))
    n = sum(len(checks) for checks, _ in numbers)
    if n < FEWEST_HELD_OUT:
        what = "whole cutouts" if plan.vectors is None else "whole inputs"
        raise CutoutError(
            f"{store.path}: {n} {what} of {len(ids)} held-out sources, expected at least "
            f"{FEWEST_HELD_OUT}. Give the store of the ensemble's training."
        )
    checks, appearance = (np.concatenate(each) for each in zip(*numbers, strict=True))
    return NoveltyReference.fit(np.concatenate(features, axis=1), checks, appearance)


def shipped_ensembles() -> dict[str, Path]:
    """Folders of the ensembles shipped with the package, by name."""
    room = Path(str(files("targetsel.scoring") / "ensembles"))
    return {path.parent.name: path.parent for path in sorted(room.glob("*/card.json"))}


def find_ensemble(name_or_folder: str | Path) -> Path:
    """Folder of an ensemble, given as a path or as the name of a shipped one.

    Raises
    ------
    EnsembleError
        If there is no such folder or shipped ensemble.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    if str(name_or_folder) in shipped_ensembles():
        return shipped_ensembles()[str(name_or_folder)]
    if folder.exists():
        raise EnsembleError(f"{folder}: is a file; expected the folder of an ensemble.")
    hint = close_or_known(str(name_or_folder), sorted(shipped_ensembles()))
    raise EnsembleError(f"{name_or_folder}: no such folder or shipped ensemble.{hint}")


def decoder_file(ensemble: str | Path, decoder: Path | None = None) -> Path:
    """The file of a decoder, given as a file, its folder or the name of a shipped ensemble.

    By default it is that of `ensemble`.

    Raises
    ------
    EnsembleError
        If there is no such file, folder or shipped ensemble.
    """
    chosen = Path(decoder or find_ensemble(ensemble))
    if str(chosen) in shipped_ensembles() and not chosen.exists():
        chosen = shipped_ensembles()[str(chosen)]
    if not chosen.exists():
        hint = close_or_known(str(chosen), sorted(shipped_ensembles()))
        raise EnsembleError(
            f"{chosen}: no such decoder; expected a file, the folder of a decoder or ensemble, or "
            f"the name of a shipped ensemble.{hint}"
        )
    return chosen / DECODER_FILE if chosen.is_dir() else chosen


def halves(network: Network) -> dict[str, torch.Tensor]:
    """The weights of a network, with trained kernels and matrices in float16.

    Biases and statistics stay as they are. Those of the deconvolutions are few, and rounding
    them was measured to change proxies six times as much as rounding all kernels does.
    """
    kernels = {name for name, parameter in network.named_parameters() if parameter.ndim > 1}
    return {name: t.half() if name in kernels else t for name, t in network.state_dict().items()}


def _doubles(values: torch.Tensor) -> np.ndarray:
    return values.cpu().numpy().astype(np.float64)


def _as_slice(rows: np.ndarray) -> np.ndarray | slice:
    """Rows that follow each other as a slice, which copies no pixels; others as they are."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first == len(rows) - 1 else rows


def _interface(network: Network) -> tuple[int, ...]:
    plan = network.plan
    return plan.n_bands, plan.n_latents, plan.n_features, *([plan.vector] if plan.vector else [])


def _read_novelty(path: Path) -> NoveltyReference:
    tensors = read_safetensors(path)
    expected = NOVELTY_TENSORS.values()
    if tensors.keys() != {*expected}:
        raise EnsembleError(
            f"{path}: holds {', '.join(sorted(tensors))}, expected {', '.join(sorted(expected))}. "
            "Copy the whole folder of the ensemble again."
        )
    return NoveltyReference(
        **{field: tensors[name].numpy().astype(float) for field, name in NOVELTY_TENSORS.items()}
    )
