"""Speed of a folded network relative to the network it was folded from.

    python benchmarks/folding.py

Prints, for a batch of cutouts, the median CPU times of the network in evaluation as it was trained,
of its folded form with the channels first, and of its folded form as `fold` gives it (channels
last); the medians of their ratios to the first; and the largest difference that folding makes. The
three take turns, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from measuring import Figure, over, print_figures, timed

from targetsel.networks.deconvolution import fold
from targetsel.networks.network import Network, NetworkPlan, presets


def figures(
    folder: Path | None = None,
    rounds: int = 30,
    plan: NetworkPlan = NetworkPlan(width=0.25),
    size: int = 64,
    batch: int = 64,
    threads: int = 1,
) -> dict[str, Figure]:
    """What each form of a network takes for a batch of cutouts, and what folding changes."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = Network(plan).eval()
    x = torch.randn(batch, plan.n_bands, size, size)
    trained, last = "as trained", "folded, channels last"
    forms = {
        trained: network,
        "folded, channels first": fold(network).to(memory_format=torch.contiguous_format),
        last: fold(network),
    }
    with torch.inference_mode():
        works = {name: lambda form=form: form(x) for name, form in forms.items()}
        times = timed(works, rounds, per=batch)
        off = (forms[last](x)[0] - network(x)[0]).abs().max().item()
    shares = {
        f"{name}, of the trained": over(each, times[trained], "of the time as trained")
        for name, each in times.items()
        if name != trained
    }
    off_by = {"largest difference of the means": Figure.of(off, "rounding", "latents")}
    return times | shares | off_by


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", choices=presets(), help="instead of the default plan")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--size", type=int, default=64, help="[pixel]")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    plan = presets()[arguments.preset] if arguments.preset else NetworkPlan(width=arguments.width)
    print(
        f"{arguments.preset or f'default plan, width {arguments.width}'}, {arguments.size} px, "
        f"batch {arguments.batch}, {arguments.threads} thread(s), {arguments.rounds} rounds"
    )
    found = figures(
        None, arguments.rounds, plan, arguments.size, arguments.batch, arguments.threads
    )
    print_figures(found)


if __name__ == "__main__":
    main()
