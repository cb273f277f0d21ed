"""Shares selected of changed images, beside those of galaxies simulated so. Images: SIMULATED.

    python benchmarks/injection.py [--ensemble mock-ps1] [--n 1000] [--survey]

Galaxies that no shipped ensemble has learnt from are simulated, and their images are changed as
`targetsel inject` does. The same galaxies are simulated again as they would be: fainter with the
same spectrum, size and neighbours; by a camera of wider seeing with the noise of a pixel that it
had; and by a shallower one. All random numbers but those of the pixels' noise are the same. What
injection leaves out is in the difference: neighbours get fainter with a galaxy, and so does sky
that was subtracted wrongly; without --survey, the noise of a galaxy's own light is not restored.

Printed for each step and class of the shipped rules `emission` and `quiescent`: the share selected
unchanged, injected and simulated; injected less simulated with the 95 % interval of paired sources;
the same of the mean probability of the class's claim; and for each step the share of novel sources
(typicality of at most 0.01), injected and simulated.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from skies import HEADING

from targetsel.imaging.cutout import Cutouts
from targetsel.injection.figures import NOVEL
from targetsel.injection.images import changed
from targetsel.injection.steps import UNCHANGED, ImageStep
from targetsel.mock.camera import PAN_STARRS, Camera
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.sky import observe
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import score_inputs
from targetsel.selection.evaluation import all_hold, probability
from targetsel.selection.sources import Sources
from targetsel.sky.catalog import Catalog

STEPS = (
    ImageStep(dim=0.5), ImageStep(dim=1.0), ImageStep(dim=2.0), ImageStep(blur=0.6),
    ImageStep(blur=1.2), ImageStep(noisier=1.5), ImageStep(noisier=2.0),
    ImageStep(1.0, 0.6, 1.5),
)  # fmt: skip
RULES = ("emission", "quiescent")
SEED = 23


@dataclass(frozen=True)
class Judged:
    """Selection and probability by class, arrays (N,), and typicality."""

    selected: dict[str, np.ndarray]
    probability: dict[str, np.ndarray]
    typicality: np.ndarray


def simulated(galaxies: Galaxies, step: ImageStep) -> Cutouts:
    """The galaxies as they would be seen after a step."""
    k_correction = galaxies.k_correction + step.dim  # so that they stay as luminous, and as large
    fainter = replace(galaxies, flux=galaxies.flux * step.factor, k_correction=k_correction)
    blocks = observe(fainter, SEED, camera_of(step))
    flux = np.concatenate([block.flux for block in blocks])
    return Cutouts(galaxies.source_id, flux, PAN_STARRS.bands, PAN_STARRS.pixel_scale)


def camera_of(step: ImageStep) -> Camera:
    """The camera with wider seeing, and a pixel's noise as many times larger as asked for."""
    wider = replace(PAN_STARRS, seeing=np.hypot(PAN_STARRS.seeing, step.blur))
    ratio = wider.white_sigma / (step.noisier * PAN_STARRS.white_sigma)
    return replace(wider, depth=wider.depth + 2.5 * np.log10(ratio))


def judged(galaxies: Galaxies, cutouts: Cutouts, ensemble: Ensemble) -> Judged:
    """What the shipped rules select of some cutouts."""
    places = {"source_id": galaxies.source_id, "ra": galaxies.ra, "dec": galaxies.dec}
    catalog = Catalog(pa.table(places), {name: name for name in places})
    scored = score_inputs(catalog, cutouts, ensemble)
    sources = Sources(scored.combine_chunks())
    selected, likely = {}, {}
    for name in RULES:
        for each in plan(Rules.read(name), scored.schema).classes:
            selected[each.name] = np.asarray(all_hold(each.where, sources))
            likely[each.name] = np.asarray(probability(each.claim, sources))
    return Judged(selected, likely, scored["typicality"].to_numpy())


def difference(one: np.ndarray, other: np.ndarray) -> str:
    """Mean difference of paired values, with its 95 % interval."""
    apart = one.astype(float) - other.astype(float)
    apart = apart[np.isfinite(apart)]
    half = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
    return f"{apart.mean():+7.3f} ({apart.mean() - half:+.3f} to {apart.mean() + half:+.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--survey", action="store_true", help="restore the galaxies' own noise")
    options = parser.parse_args()
    ensemble, galaxies = Ensemble.read(options.ensemble), Galaxies.of_demonstration()
    rows = np.linspace(0, len(galaxies) - 1, min(len(galaxies), options.n)).astype(int)
    galaxies = galaxies.take(rows)
    original = simulated(galaxies, UNCHANGED)
    whole = original.status == "ok"
    galaxies, original = galaxies.take(whole), original.take(whole)
    usual = original.sky_sigma()
    before = judged(galaxies, original, ensemble)
    print(
        f"{HEADING} | {len(galaxies)} galaxies | {options.ensemble} | the noise of galaxies' "
        f"own light is {'' if options.survey else 'not '}restored"
    )
    print(f"{'step':50} class          unchanged  injected  simulated  "
          f"{'injected - simulated':29} of the probability")  # fmt: skip
    for step in STEPS:
        sky = PAN_STARRS.sky_flux if options.survey else None
        ours = judged(galaxies, changed(original, step, usual, SEED, sky), ensemble)
        theirs = judged(galaxies, simulated(galaxies, step), ensemble)
        for name in before.selected:
            one, other = ours.selected[name], theirs.selected[name]
            print(f"{step.text:50} {name:14} {before.selected[name].mean():9.3f} "
                  f"{one.mean():9.3f}  {other.mean():9.3f}  {difference(one, other):28} "
                  f"{difference(ours.probability[name], theirs.probability[name])}")  # fmt: skip
        novel = [(each.typicality <= NOVEL).mean() for each in (before, ours, theirs)]
        print(f"{step.text:50} {'(novel)':14} {novel[0]:9.3f} {novel[1]:9.3f}  {novel[2]:9.3f}")


if __name__ == "__main__":
    main()
