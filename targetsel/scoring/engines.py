"""Engines: what runs the networks of an ensemble, all of them in one graph.

PyTorch is the engine of every device. ONNX Runtime and OpenVINO run the same graph on the CPU in
less time, without PyTorch's last digits. What an engine answers for a source depends neither on
the sources beside it nor on the threads: a batch has one size, and one thread computes it.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from targetsel.errors import EnsembleError, unknown
from targetsel.extras import require
from targetsel.networks.network import Network
from targetsel.scoring.onnx_program import onnx_program
from targetsel.workers.pool import available_cores

TORCH = "torch"
TOLERANCE = 1e-3  # difference of any feature from torch [their spread]; some 2e-5 are usual


class Engine(Protocol):
    """Runs the networks of an ensemble."""

    def __call__(self, stretched: Tensor) -> Tensor:
        """Pooled features (M, N, F) of stretched cutouts (N, B, H, W), of the shape of its start.

        Threads may call it together.
        """


class Members(nn.Module):
    """All networks of an ensemble as one: stretched cutouts (N, B, H, W) to features (M, N, F).

    Aperture photometry is measured once for all networks of one kind.
    """

    def __init__(self, networks: Sequence[Network]):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, stretched: Tensor) -> Tensor:
        measured: dict[tuple[int, float], Tensor | None] = {}
        features: list[Tensor] = []
        for network in self.networks:
            assert isinstance(network, Network)
            kind = network.plan.photometry, network.plan.softening
            if kind not in measured:
                measured[kind] = network.measure_photometry(stretched)
            features.append(network.features(stretched, measured[kind]))
        return torch.stack(features)

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Means (N, M, D) and Cholesky factors (N, M, D, D) of features (M, N, F)."""
        found = [
            network.posterior(each)  # type: ignore[operator]
            for network, each in zip(self.networks, features.unbind(), strict=True)
        ]
        means, factors = zip(*found, strict=True)
        return torch.stack(means, dim=1), torch.stack(factors, dim=1)


class OnnxRuntimeEngine:
    """The networks in ONNX Runtime, on the caller's thread."""

    def __init__(self, members: Members, example: Tensor):
        onnxruntime = _onnxruntime()
        program = onnx_program(members, "stretched", example, ("features",))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            program.model_proto.SerializeToString(), options, ["CPUExecutionProvider"]
        )

    def __call__(self, stretched: Tensor) -> Tensor:
        (features,) = self.session.run(None, {"stretched": stretched.numpy()})
        return torch.from_numpy(features)


class OpenVinoEngine:
    """The networks in OpenVINO: compiled once, with a request of its own for every thread.

    As many batches are computed at once as there are cores, each on one thread.
    """

    def __init__(self, members: Members, example: Tensor):
        openvino = _openvino()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shapes are constants in the trace, as they may be
            traced = torch.jit.trace(members, example, check_trace=False)
        model = openvino.convert_model(
            traced, example_input=example, input=list(example.shape), verbose=False
        )
        cores = available_cores()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": cores,
            "ENABLE_CPU_PINNING": False,
        }
        self.compiled = openvino.Core().compile_model(model, "CPU", settings)
        self.own = threading.local()

    def __call__(self, stretched: Tensor) -> Tensor:
        if not hasattr(self.own, "request"):
            self.own.request = self.compiled.create_infer_request()
        (features,) = self.own.request.infer([stretched.numpy()]).values()
        return torch.from_numpy(features)


OTHERS: dict[str, Any] = {"onnxruntime": OnnxRuntimeEngine, "openvino": OpenVinoEngine}
ENGINES = (TORCH, *OTHERS)


def device_of(name: str) -> torch.device:
    """The device of PyTorch that has this name, such as "cpu" or "cuda".

    Raises
    ------
    EnsembleError
        If there is no such device.
    """
    try:
        return torch.device(name)
    except (RuntimeError, TypeError):
        raise EnsembleError(f"device {name}: is not known. Use cpu or cuda.") from None


def check_engine(name: str, device: torch.device) -> None:
    """Raise unless there is such an engine, it runs on this device, and it is installed.

    Raises
    ------
    EnsembleError, ExtraError
    """
    if name not in ENGINES:
        raise EnsembleError(unknown("engine", name, ENGINES))
    if name == TORCH and device.type == "cuda" and not torch.cuda.is_available():
        raise EnsembleError(f"device {device}: this machine or PyTorch has no CUDA. Use cpu.")
    if name == TORCH:
        return
    if device.type != "cpu":
        raise EnsembleError(
            f"engine {name} runs on the CPU alone, not on {device}. Use --device cpu, or the "
            f"engine {TORCH}."
        )
    require(name, f"engine {name}")


def start_engine(name: str, members: Members, example: Tensor) -> Engine:
    """The engine of this name for these networks, folded, and batches shaped as the example.

    Raises
    ------
    EnsembleError
        If it cannot run them, or its features of the example differ from those of torch.
    """
    if name == TORCH:
        return members
    try:
        engine: Engine = OTHERS[name](members, example)
        found = engine(example)
    except Exception as error:  # of whatever class the engine has for what it lacks
        raise EnsembleError(
            f"engine {name} cannot run these networks. Use the engine {TORCH}."
        ) from error
    with torch.no_grad():
        expected = members(example)
    difference = float((found - expected).abs().max() / expected.std())
    if not difference < TOLERANCE:
        raise EnsembleError(
            f"engine {engine_version(name)} predicts other features than torch by {difference:.1e} "
            f"of their spread; expected less than {TOLERANCE:.0e}. Use the engine {TORCH}."
        )
    return engine


def engine_version(name: str) -> str:
    """Name and version of an engine: another version may differ in the last digits."""
    return f"{name} {torch.__version__ if name == TORCH else version(name)}"


def _onnxruntime() -> Any:
    """The package onnxruntime, kept from telling its makers that it is used.

    Recent versions would do so when they are imported, unless the environment says this.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _openvino() -> Any:
    """The package openvino, kept from telling its makers that it is used.

    It would do so when it is imported and when it converts a model, by the package
    openvino_telemetry, and does without where that is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
