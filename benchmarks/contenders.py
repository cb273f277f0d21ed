"""Kinds of networks, and ingredients of one, trained with equal budgets on a mock sky.

    python benchmarks/contenders.py TRAINING_SKY TEST_SKY --work FOLDER
        [--budget 20000x6] [--width 0.25] [--only "hybrid" "batch normalisation"]

Skies are folders that `targetsel mock` wrote: images and spectra are SIMULATED. Every contender
sees the same cutouts as often (sources x epochs), with several seeds; what it costs is printed
beside. Latents are encodings of the noise-free spectra; the running time is that of training.

Differences are between means over seeds. The first interval (95 %) is paired and from resampling
the test sky's galaxies: it says what these very networks do. The second adds the scatter over
seeds (Student's t, for unequal scatter Welch 1947), and says what to expect of the kind; a
difference counts only if it exceeds the second. There are many of them, so expect one in twenty to
count by chance.

Each run is kept in the work folder, so that the command resumes if interrupted. Several commands
with different `--only` may share a work folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures_of_merit import latent_errors, mean_estimate
from scipy.stats import t as student
from skies import HEADING, Sky

from targetsel.networks.aperture_photometry import ASINH_SCALE, LINEAR_SCALE
from targetsel.networks.deconvolution import fold
from targetsel.networks.input_plan import SOFTENING, InputPlan
from targetsel.networks.network import Network, NetworkPlan, count_parameters
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.decoder import Decoder
from targetsel.statistics.resampling import Estimate, Resampling
from targetsel.tables.files import written_beside
from targetsel.tables.ids import uniform
from targetsel.training.examples import Examples, PreparedCutouts, ReadRows
from targetsel.training.network_training import NetworkTraining, Recipe, new_network
from targetsel.training.plan import PHOTOMETRY

BASE, ALONE = "hybrid", "photometry alone"
FLIPS, LATE = "hybrid, eight views", "hybrid and photometry, averaged"
PUBLISHED = {"groups": 64, "squeeze": 8, "attention": True, "activation": "mish"}
BATCH = 256  # cutouts predicted together
RMSE = 0  # place in `latent_errors`


@dataclass(frozen=True)
class Contender:
    """Differences of one contender from a plain hybrid network: plan, recipe or stretch.

    Attributes
    ----------
    softening : float
        Of an asinh stretch [sky sigma]; 0 is the linear one.
    """

    plan: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    softening: float = SOFTENING


CONTENDERS = {
    BASE: Contender(),
    "batch normalisation": Contender({"deconvolution": "nowhere"}),
    "full deconvolution": Contender({"deconvolution": "everywhere"}),
    "full deconvolution, rate / 10": Contender(
        {"deconvolution": "everywhere"}, {"learning_rate": Recipe().learning_rate / 10}
    ),
    "hybrid, published blocks": Contender(PUBLISHED),
    "hybrid with photometry": Contender({"photometry": PHOTOMETRY}),
    ALONE: Contender({"width": 0, "photometry": PHOTOMETRY}),
    "hybrid, weights averaged": Contender({}, {"average": 0.999}),
    "hybrid, linear": Contender(softening=0.0),
    "hybrid, asinh at 1 sigma": Contender(softening=1.0),
}


@dataclass(frozen=True)
class Arena:
    """Training and test data that all contenders share.

    Attributes
    ----------
    read, read_test : callable
        Linearly stretched cutouts of row numbers.
    latents, labels : ndarray, shapes (N, D) and (T, D)
        To learn from, and of the test.
    weight : ndarray, shape (N,)
        What those to learn from count for.
    rows : ndarray of int
        To learn from.
    test : Sky
        The T sources that can be predicted.
    about : dict
        What identifies all this.
    """

    read: ReadRows
    latents: np.ndarray
    weight: np.ndarray
    rows: np.ndarray
    read_test: ReadRows
    labels: np.ndarray
    test: Sky
    about: dict[str, Any]


def arena(arguments: argparse.Namespace) -> Arena:
    """Both skies as the command line names them; their pixels are kept in the work folder."""
    training, test = Sky.read(arguments.training_sky), Sky.read(arguments.test_sky)
    if common := len(np.intersect1d(training.group, test.group)):
        _tell(f"WARNING: {common} galaxies are in both skies")
    order = np.argsort(uniform(training.source_id, 0, "contenders")[:, 0])
    training = training.take(np.sort(order[: arguments.budget[0]]))
    plan = _linear(InputPlan.of_store(training.store, None, arguments.size, arguments.binning))
    decoder = Decoder.read(arguments.decoder)
    about = {
        "input": plan.model_dump(mode="json"),
        "latents": _hash(decoder.encode(np.eye(1000))[0]),
    }
    prepared = []
    for role, sky in (("training", training), ("test", test)):
        about[role] = {"store": sky.store.sha256, "ids": _hash(sky.source_id)}
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        folder = arguments.work / f"{role}-{key}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = PreparedCutouts.of(folder, sky.store, sky.source_id, plan)
        _tell(f"pixels of the {role} sky are ready")
        prepared.append((pixels.read, np.flatnonzero(pixels.status == "ok")))
    (read, rows), (read_test, good) = prepared
    chosen = test.take(good)
    return Arena(
        read,
        training.labels(decoder, "flux_true"),
        training.weight,
        rows,
        lambda rows: read_test(good[rows]),
        chosen.labels(decoder, "flux_true"),
        chosen,
        about,
    )


def _linear(plan: InputPlan) -> InputPlan:
    """The input with a linear stretch, which every other one follows from."""
    stretch = plan.stretch.model_copy(
        update={"kind": "linear", "scale": LINEAR_SCALE, "softening": 1.0}
    )
    return plan.model_copy(update={"stretch": stretch})


# ---------------------------------------------------------------------- running


def run(name: str, seed: int, ground: Arena, arguments: argparse.Namespace) -> None:
    """Train and test one contender with one seed, unless the work folder has it."""
    contender, plan, recipe = _plans(name, seed, ground, arguments)
    about = _about(contender, plan, recipe, ground)
    path = _path(name, seed, arguments)
    if _result(path, about) is not None:
        return
    start = time.process_time()
    report = partial(_tell_line, f"{name}, seed {seed}")
    read = _stretched(ground.read, contender.softening)
    examples = Examples(read, ground.latents, ground.rows, weight=ground.weight)
    training = NetworkTraining(new_network(plan, recipe.seed), examples, recipe)
    network = training.run(report=lambda each: report(str(each)) if each.whole else None)
    seconds = time.process_time() - start
    views = 8 if name == BASE else 1
    found = predictions(network, _stretched(ground.read_test, contender.softening), ground, views)
    arrays = {"mean": found[0], "views": found.mean(axis=0)}
    with written_beside(path.with_suffix(".npz")) as beside, open(beside, "wb") as stream:
        np.savez(stream, **arrays)
    with written_beside(path) as beside:
        beside.write_text(json.dumps(about | {"seconds": seconds}, indent=1))


def _plans(
    name: str, seed: int, ground: Arena, arguments: argparse.Namespace
) -> tuple[Contender, NetworkPlan, Recipe]:
    contender = CONTENDERS[name]
    bands = len(ground.about["input"]["bands"])
    sizes = {"n_bands": bands, "n_latents": ground.latents.shape[1], "width": arguments.width}
    plan = NetworkPlan(**(sizes | contender.plan))
    if plan.photometry:
        plan = plan.model_copy(update={"softening": contender.softening})  # which it undoes
    budget = {"epochs_mean": arguments.budget[1], "epochs_covariance": 0, "seed": seed}
    return contender, plan, Recipe(**(budget | contender.recipe))


def _about(
    contender: Contender, plan: NetworkPlan, recipe: Recipe, ground: Arena
) -> dict[str, Any]:
    """All that a result depends on, as JSON gives it back."""
    about = {
        "network": plan.model_dump(mode="json"),
        "recipe": recipe.model_dump(),
        "softening": contender.softening,
        **ground.about,
    }
    return dict(json.loads(json.dumps(about)))


def _path(name: str, seed: int, arguments: argparse.Namespace) -> Path:
    sources, epochs = arguments.budget
    words = f"{name} {sources}x{epochs} width {arguments.width:g} seed {seed}"
    return Path(arguments.work / (re.sub(r"[^a-z0-9.]+", "-", words) + ".json"))


def _result(path: Path, about: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a run in the work folder, or None if its settings differ."""
    if not path.exists():
        return None
    known = json.loads(path.read_text())
    seconds = known.pop("seconds")
    if known != about:
        return None
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        return {"seconds": seconds, **arrays}


def _stretched(read: ReadRows, softening: float) -> ReadRows:
    """The same cutouts under an asinh stretch with this softening [sky sigma], if any."""
    if not softening:
        return read
    return lambda rows: (
        np.arcsinh(read(rows) * np.float32(LINEAR_SCALE / softening)) / np.float32(ASINH_SCALE)
    )


@torch.inference_mode()
def predictions(network: Network, read: ReadRows, ground: Arena, views: int) -> np.ndarray:
    """Latents of the test sky from each of the first orientations of a square, (views, T, D)."""
    folded, n = fold(network), len(ground.labels)
    parts = []
    for start in range(0, n, BATCH):
        x = torch.from_numpy(read(np.arange(start, min(start + BATCH, n))))
        turned = [torch.rot90(x, k, (2, 3)) for k in range(4)]
        turned += [each.flip(3) for each in turned]
        parts.append(torch.stack([folded(each)[0] for each in turned[:views]]))
    return torch.cat(parts, dim=1).numpy().astype(float)


# ---------------------------------------------------------------------- comparing


@dataclass(frozen=True)
class Runs:
    """Errors of one contender.

    Attributes
    ----------
    by_seed : dict of Estimate
        Root mean square error of the test sky's latents.
    seconds : float
        Mean processor time of a training.
    parameters : int
    """

    by_seed: dict[int, Estimate]
    seconds: float
    parameters: int

    @property
    def values(self) -> np.ndarray:
        """The errors alone, one for each seed."""
        return np.array([float(each.value) for each in self.by_seed.values()])


def collected(
    ground: Arena, resampling: Resampling, arguments: argparse.Namespace
) -> dict[str, Runs]:
    """Every contender of which the work folder has results, and those that follow from them."""
    found = _kept(ground, arguments)
    base, alone = found.get(BASE, {}), found.get(ALONE, {})
    found[FLIPS] = {seed: each | {"mean": each["views"]} for seed, each in base.items()}
    found[LATE] = {
        seed: {
            "mean": (base[seed]["mean"] + alone[seed]["mean"]) / 2,
            "seconds": base[seed]["seconds"] + alone[seed]["seconds"],
            "parameters": base[seed]["parameters"] + alone[seed]["parameters"],
        }
        for seed in base.keys() & alone.keys()
    }
    return {
        name: Runs(
            {
                seed: resampling.estimate(latent_errors(each["mean"], ground.labels))[RMSE]
                for seed, each in results.items()
            },
            float(np.mean([each["seconds"] for each in results.values()])),
            next(iter(results.values()))["parameters"],
        )
        for name, results in found.items()
        if results
    }


def _kept(ground: Arena, arguments: argparse.Namespace) -> dict[str, dict[int, dict[str, Any]]]:
    """Results in the work folder, by contender and seed."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for name in CONTENDERS:
        for seed in range(arguments.seeds):
            contender, plan, recipe = _plans(name, seed, ground, arguments)
            path = _path(name, seed, arguments)
            result = _result(path, _about(contender, plan, recipe, ground))
            if result is not None:
                result["parameters"] = count_parameters(plan)
                found.setdefault(name, {})[seed] = result
    return found


def compared(one: Runs, other: Runs, same_networks: bool) -> tuple[Estimate, float]:
    """The difference of two means over seeds, and half its 95 % interval with seeds (or NaN).

    Where one contender holds the other's very networks, seeds are paired as well.
    """
    difference = mean_estimate(list(one.by_seed.values())) - mean_estimate(
        list(other.by_seed.values())
    )
    n, m = len(one.values), len(other.values)
    if min(n, m) < 2:
        return difference, float("nan")
    if same_networks:
        variance, freedom = (one.values - other.values).var(ddof=1) / n, n - 1.0
    else:
        a, b = one.values.var(ddof=1) / n, other.values.var(ddof=1) / m
        variance = a + b
        freedom = variance**2 / max(a**2 / (n - 1) + b**2 / (m - 1), 1e-30)
    low, high = difference.interval(0.95)
    seeds = student.ppf(0.975, freedom) * np.sqrt(variance)
    return difference, float(np.hypot((high - low) / 2, seeds))


def print_table(runs: dict[str, Runs]) -> None:
    """Print every contender's error, and its difference from the hybrid network's."""
    print(
        f"{'':33}{'parameters':>11}{'CPU s':>8}{'seeds':>6}{'RMSE':>8}{'scatter':>9}"
        f"   {'less hybrid':9}{'95 %, these networks':>22}{'95 %, with seeds':>20}  exceeds it"
    )
    for name, each in runs.items():
        scatter = f"{each.values.std(ddof=1):.4f}" if len(each.values) > 1 else "-"
        print(
            f"{name:33}{each.parameters:11,}{each.seconds:8.0f}{len(each.values):6}"
            f"{each.values.mean():8.4f}{scatter:>9}",
            end="",
        )
        if name == BASE or BASE not in runs:
            print()
            continue
        same = name in (FLIPS, LATE) and each.by_seed.keys() == runs[BASE].by_seed.keys()
        difference, half = compared(each, runs[BASE], same)
        low, high = difference.interval(0.95)
        value = float(difference.value)
        print(f"   {value:+11.4f}   [{low:+.4f} {high:+.4f}]", end="")
        if np.isnan(half):
            print(f"{'one seed':>20}  unknown")
        else:
            verdict = "no" if abs(value) <= half else "yes, better" if value < 0 else "yes, worse"
            print(f"   [{value - half:+.4f} {value + half:+.4f}]  {verdict}")


def _hash(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _tell_line(what: str, line: str) -> None:
    _tell(f"{what}: {line}")


def _budget(text: str) -> tuple[int, int]:
    sources, epochs = text.split("x")
    return int(sources), int(epochs)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("training_sky", type=Path)
    parser.add_argument("test_sky", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder of pixels and results")
    parser.add_argument("--budget", type=_budget, default=(20000, 6), metavar="SOURCESxEPOCHS")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each, with seeds 0, 1, ...")
    parser.add_argument("--size", type=int, help="[pixel] default: that of the stores")
    parser.add_argument("--binning", type=int, default=2, help="pixels on a side added up to one")
    parser.add_argument("--decoder", type=Path, default=find_ensemble("mock-ps1"))
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resamplings", type=int, default=1000)
    return parser.parse_args()


def main() -> None:
    arguments = _read_arguments()
    torch.set_num_threads(arguments.threads)
    ground = arena(arguments)
    for seed in range(arguments.seeds):
        for name in arguments.only:
            run(name, seed, ground, arguments)
    resampling = Resampling(ground.test.group, ground.test.weight, arguments.resamplings)
    runs = collected(ground, resampling, arguments)
    print(
        f"{HEADING} | {len(ground.rows)} sources x {arguments.budget[1]} epochs of batches of "
        f"{Recipe().batch}, width {arguments.width:g}; tested on {len(ground.labels)} sources of "
        f"{resampling.n_groups} galaxies"
    )
    print_table(runs)


if __name__ == "__main__":
    main()
