"""Speed of a folded network relative to the network it was folded from.

    python benchmarks/folding.py

Prints, for a batch of cutouts, the median times of the network in evaluation as it was trained, of
its folded form with the channels first, and of its folded form as `fold` gives it (channels last);
and the medians of the ratios between them. The three take turns, so that a busy machine slows all
alike, and each ratio is of times that lie next to each other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from targetsel.networks.deconvolution import fold
from targetsel.networks.network import Network, NetworkPlan, presets


def seconds(predict: Callable[[torch.Tensor], object], x: torch.Tensor) -> float:
    """Wall-clock time of one prediction."""
    start = time.perf_counter()
    predict(x)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", choices=presets(), help="instead of the default plan")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--size", type=int, default=64, help="[pixel]")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    plan = presets()[arguments.preset] if arguments.preset else NetworkPlan(width=arguments.width)
    network = Network(plan).eval()
    x = torch.randn(arguments.batch, plan.n_bands, arguments.size, arguments.size)
    forms = {
        "as trained": network,
        "folded, channels first": fold(network).to(memory_format=torch.contiguous_format),
        "folded, channels last": fold(network),
    }
    times = np.empty((arguments.rounds, len(forms)))
    with torch.inference_mode():
        for form in forms.values():
            form(x)
        for row in times:
            row[:] = [seconds(form, x) for form in forms.values()]
        difference = (forms["folded, channels last"](x)[0] - network(x)[0]).abs().max().item()
    print(
        f"{arguments.preset or f'default plan, width {arguments.width}'}, {arguments.size} px, "
        f"batch {arguments.batch}, {arguments.threads} thread(s), {arguments.rounds} rounds"
    )
    for k, name in enumerate(forms):
        ratio = np.median(times[:, 0] / times[:, k])
        print(f"{name:24s} {1e3 * np.median(times[:, k]):8.1f} ms   {ratio:.2f} x as trained")
    print(f"largest difference of the means: {difference:.1e}")


if __name__ == "__main__":
    main()
