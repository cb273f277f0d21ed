"""What the distilled indices of an ensemble change, beside decoding: SIMULATED images.

    targetsel mock --n 7311 --seed 7 --held-out -o sky/
    python benchmarks/distillation.py sky/ --ensemble ENSEMBLE --scratch scratch/

No galaxy of the sky may have had a part in training or calibration. The sky is scored twice, with
its spectra decoded and with the distilled indices. Printed are the coverage of both (see
calibration.py), how far medians and interval ends differ, in standard deviations of the stored
posterior, and for every shipped class the targets of both lists, those that the second adds and
loses, and the same between two seeds of the draws, with spectra decoded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from calibration import known, print_coverage, title
from skies import Sky

from targetsel.rules.rules import Rules, shipped_rules
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions
from targetsel.scoring.stream import score
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList
from targetsel.sky.catalog import CatalogFile
from targetsel.spectra.lines import PROXIES
from targetsel.statistics.resampling import Resampling

ENDS = {"_q16": "-1 sigma", "": "median", "_q84": "+1 sigma"}


def without(folder: str) -> Ensemble:
    """The ensemble without its distilled indices."""
    found = Ensemble.read(folder)
    found.distilled = None
    return found


def members(scored: Path, scratch: Path) -> dict[str, set[int]]:
    """The targets of every shipped class."""
    found: dict[str, set[int]] = {}
    for path in shipped_rules():
        rules = Rules.read(path)
        output = select(scored, rules, scratch / "targets.parquet").output
        assert output is not None
        table = TargetList.read(output).table
        ids, bits = table["source_id"].to_numpy(), table["target_bits"].to_numpy()
        for each in rules.classes:
            found[each.name] = set(ids[(bits >> each.bit) & 1 == 1].tolist())
    return found


def print_lists(
    one: dict[str, set[int]], other: dict[str, set[int]], seed: dict[str, set[int]]
) -> None:
    """Print how lists differ, by class."""
    title("targets by class")
    print(f"{'class':18}{'decoded':>9}{'distilled':>10}{'added':>7}{'lost':>6}", end="")
    print(f"{'another seed:':>16}{'added':>7}{'lost':>6}")
    for name, each in one.items():
        new, again = other[name], seed[name]
        print(f"{name:18}{len(each):9}{len(new):10}{len(new - each):7}{len(each - new):6}", end="")
        print(f"{'':16}{len(again - each):7}{len(each - again):6}")


def print_differences(one: Path, other: Path) -> None:
    """Print how far stored quantiles differ."""
    title("distilled less decoded, in standard deviations of the stored posterior")
    heads = [f"{how} {each}" for how in ("mean", "rms") for each in ENDS.values()]
    print(f"{'':15}" + "".join(f"{each:>14}" for each in heads))
    first, second = (pq.read_table(each).sort_by("source_id") for each in (one, other))
    for name in PROXIES:
        std = first[f"{name}_std"].to_numpy(zero_copy_only=False)
        off = [(second[name + end].to_numpy() - first[name + end].to_numpy()) / std for end in ENDS]
        text = "".join(f"{np.nanmean(each):14.4f}" for each in off)
        print(f"{name:15}{text}" + "".join(f"{np.sqrt(np.nanmean(each**2)):14.4f}" for each in off))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sky", type=Path, help="folder of the held-out sky")
    parser.add_argument("--ensemble", default="mock-ps1", help="directory, or a shipped one's name")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for scored files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resamplings", type=int, default=500)
    given = parser.parse_args()
    given.scratch.mkdir(exist_ok=True)
    sky = Sky.read(given.sky)
    quick = Ensemble.read(given.ensemble)
    ensembles = {"decoded": without(given.ensemble), "learnt": quick}
    if quick.draws_decoder.distilled is None:
        parser.error(f"--ensemble {given.ensemble}: has no distilled indices that fit")
    paths = {when: given.scratch / f"{when}.parquet" for when in (*ensembles, "seed")}
    scored = {when: known(sky, e, paths[when], given.threads) for when, e in ensembles.items()}
    catalog = CatalogFile.open(sky.folder / "catalog.parquet")
    options = ScoreOptions(seed=1)
    score(catalog, sky.store, ensembles["decoded"], paths["seed"], options, given.threads)
    chosen = scored["decoded"].sky
    resampling = Resampling(chosen.group, chosen.weight, given.resamplings)
    print(quick.how_decoded)
    title(f"{chosen.name}: {len(chosen)} sources of {resampling.n_groups} real galaxies")
    print_coverage(scored, resampling)
    print_differences(paths["decoded"], paths["learnt"])
    print_lists(*(members(path, given.scratch) for path in paths.values()))


if __name__ == "__main__":
    main()
