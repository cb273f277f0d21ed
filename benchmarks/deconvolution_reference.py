"""Record reference outputs of the original network deconvolution, for the tests.

    python benchmarks/deconvolution_reference.py PATH/TO/models/deconv.py

Only this script needs the original code (Ye et al. 2020, Apache-2.0, github yechengxi/deconvolution
at d221c22), and only to record anew. For each case it takes steps of training on fixed inputs, then
one evaluation, and writes the layer's outputs, the last step's gradients and the running averages
to tests/networks/data/deconvolution_reference.npz. Every case is small on purpose.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

OUTPUT = Path(__file__).parents[1] / "tests" / "networks" / "data" / "deconvolution_reference.npz"
SHAPE = (2, 9, 7)  # sources, height, width: odd on purpose
STEPS = 3

# Arguments in the original's names; "freeze_iter" freezes the running averages.
CASES: dict[str, dict[str, Any]] = {
    "stem": {"in_channels": 5, "out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1},
    "unpadded": {"in_channels": 3, "out_channels": 4, "kernel_size": 3, "dilation": 2},
    "blocks": {"in_channels": 6, "out_channels": 4, "kernel_size": 3, "padding": 1, "block": 2},
    "common divisor": {
        "in_channels": 6,
        "out_channels": 2,
        "kernel_size": 3,
        "padding": 1,
        "block": 4,
    },
    "one pixel": {"in_channels": 6, "out_channels": 4, "kernel_size": 1, "stride": 2, "block": 3},
    "groups": {
        "in_channels": 6,
        "out_channels": 9,
        "kernel_size": 3,
        "stride": 2,
        "padding": 1,
        "groups": 3,
    },
    "frozen": {
        "in_channels": 2,
        "out_channels": 2,
        "kernel_size": 3,
        "padding": 1,
        "freeze": True,
        "freeze_iter": 1,
    },
}


def record(original: ModuleType, case: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Inputs of each step, and what the original makes of them, of one case."""
    rng = np.random.default_rng(seed)
    layer = original.FastDeconv(**case)
    weight = rng.normal(size=layer.weight.shape).astype(np.float32)
    bias = rng.normal(size=layer.bias.shape).astype(np.float32)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    n, height, width = SHAPE
    mixing = rng.normal(size=(case["in_channels"],) * 2)  # correlated bands with means
    noise = rng.normal(size=(STEPS, n, case["in_channels"], height, width)) + 0.5
    inputs = np.einsum("ij,snjhw->snihw", mixing, noise).astype(np.float32)
    recorded = {"weight": weight, "bias": bias, "inputs": inputs}
    layer.train()
    for step in range(STEPS):
        x = torch.from_numpy(inputs[step]).requires_grad_()
        output = layer(x)
        recorded[f"output {step}"] = output.detach().numpy()
    cotangent = torch.from_numpy(rng.normal(size=output.shape).astype(np.float32))
    (output * cotangent).sum().backward()
    return recorded | {
        "cotangent": cotangent.numpy(),
        "input gradient": x.grad.numpy(),
        "weight gradient": layer.weight.grad.numpy(),
        "bias gradient": layer.bias.grad.numpy(),
        "running_mean": layer.running_mean.numpy().copy(),
        "running_deconv": layer.running_deconv.numpy().copy(),
        "evaluated": layer.eval()(torch.from_numpy(inputs[0])).detach().numpy(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("original", type=Path, help="the original's models/deconv.py")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    spec = importlib.util.spec_from_file_location("original_deconvolution", arguments.original)
    assert spec is not None
    assert spec.loader is not None
    original = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(original)
    arrays: dict[str, np.ndarray] = {"cases": np.array(json.dumps(CASES))}
    for seed, (name, case) in enumerate(CASES.items()):
        for key, values in record(original, case, seed).items():
            arrays[f"{name}/{key}"] = values
    np.savez_compressed(arguments.output, **arrays)
    print(f"{arguments.output}: {len(CASES)} cases, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
