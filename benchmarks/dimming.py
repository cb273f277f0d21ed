"""Width and bias of the posteriors of bright sources that are made faint.

    python benchmarks/dimming.py [--ensemble mock-ps1] [--n 300]

All images are simulated, of galaxies that no shipped ensemble has learnt from, as far away as they
are and without the trouble of real images (`realism: 0`), so that the noise is known which a dimmed
one lacks. The brightest quarter of them, less those that would come to lie beyond redshift 0.28,
are made faint in two ways:

dimmed      the cutout's light is dimmed, and the noise added that sky and source would have had.
            The galaxy keeps its size and redshift, so it is as large as a luminous one and as faint
            as one that is not, and in the mock sky a galaxy's spectrum depends on its luminosity.
moved away  the same galaxy is seen from so far away that it is as faint: smaller, and at the
            redshift that belongs to its new distance. Its luminosity is what it was.

Predicted latents are compared with encodings of the noise-free spectra. Printed for each step, over
all latents and sources:

shift      mean of (predicted mean - true) in standard deviations of the posterior, and that of the
           latent where it is largest
error      root mean square of (predicted mean - true), against that of the bright source
width      median of the posterior's standard deviation, against that of the bright source
coverage   share of true latents in central 90 % intervals
typicality, sup.  mean of `typicality`, and share of sources with support
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from astropy.cosmology import FlatLambdaCDM
from skies import HEADING

from targetsel.imaging.cutout import Cutouts
from targetsel.mock.camera import PAN_STARRS, add_noise
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.plan import Variation
from targetsel.mock.sky import observe
from targetsel.novelty.novelty import typicality
from targetsel.scoring.ensemble import Ensemble

STEPS = (0.0, 0.5, 1.0, 1.5, 2.0)  # [mag]
BRIGHT = 0.25  # of the galaxies, that are made faint
FARTHEST = 0.28  # redshift of the real galaxies
SEED = 11
COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3)  # the mock sky's


def dimmed(cutouts: Cutouts, magnitudes: float) -> Cutouts:
    """The same sources fainter, under a sky that is as noisy as before.

    Dimming by a factor f leaves f^2 of the variance of the sky, and of the source's own noise, of
    which f is due; `add_noise` gives the rest.
    """
    factor = 10 ** (-0.4 * magnitudes)
    if factor == 1:
        return cutouts
    missing = np.full(len(PAN_STARRS.bands), np.sqrt(1 - factor**2))
    flux = np.empty_like(cutouts.flux)
    for row, image in enumerate(cutouts.flux):
        rng = np.random.default_rng([SEED, int(cutouts.source_id[row])])
        light = np.pad(np.nan_to_num(image), ((0, 0), (1, 1), (1, 1)), "edge")
        noise = add_noise(light * np.float32(factor / (1 + factor)), PAN_STARRS, missing, rng)
        flux[row] = np.float32(factor) * image + noise
    return replace(cutouts, flux=flux)


def moved_away(galaxies: Galaxies, magnitudes: float) -> Galaxies:
    """The same galaxies at the redshifts where they look fainter by this much.

    Their absolute magnitudes stay; the mock sky's near galaxies have a K-correction of one
    magnitude per unit redshift.
    """
    grid = np.geomspace(0.005, 1.0, 2000)
    fainter = COSMOLOGY.distmod(grid).value + grid
    goal = np.interp(galaxies.redshift, grid, fainter) + magnitudes
    flux = galaxies.flux * 10 ** (-0.4 * magnitudes)
    return replace(galaxies, redshift=np.interp(goal, fainter, grid), flux=flux)


def bright_galaxies(n: int) -> Galaxies:
    """N evenly spaced ones of the bright galaxies that can be moved away by the last step."""
    galaxies = Galaxies.of_demonstration()
    red = galaxies.flux[:, 2]
    near = moved_away(galaxies, STEPS[-1]).redshift < FARTHEST
    rows = np.flatnonzero(near & (red > np.quantile(red, 1 - BRIGHT)))
    return galaxies.take(rows[np.linspace(0, len(rows) - 1, min(len(rows), n)).astype(int)])


def seen(galaxies: Galaxies, ensemble: Ensemble) -> tuple[Cutouts, np.ndarray]:
    """Whole cutouts of galaxies, and the latents of their noise-free spectra."""
    blocks = list(observe(galaxies, SEED, variation=Variation(realism=0)))
    flux, spectra = (
        np.concatenate([getattr(block, name) for block in blocks]) for name in ("flux", "spectra")
    )
    cutouts = Cutouts(galaxies.source_id, flux, PAN_STARRS.bands, PAN_STARRS.pixel_scale)
    whole = cutouts.status == "ok"
    return cutouts.take(whole), ensemble.decoder.encode(spectra[whole])[0].astype(float)


def report(
    name: str, made_faint: Callable[[float], tuple[Cutouts, np.ndarray]], ensemble: Ensemble
) -> None:
    """One table, of what `made_faint` gives for each step: cutouts and true latents."""
    print(f"{name:13} shift  largest  error  width  coverage    typicality   sup.")
    first = None
    for step in STEPS:
        cutouts, true = made_faint(step)
        found = ensemble.predict(cutouts).latents
        width = np.sqrt(np.diagonal(found.cov, axis1=1, axis2=2))
        off = found.mean - true
        rms = np.sqrt((off**2).mean())
        first = first or (width, rms)
        shift = (off / width).mean(axis=0)
        inside = np.abs(found.probability_below(true) - 0.5) < 0.45
        known = typicality(ensemble.novelty, ensemble.inputs, cutouts, found.typicality)
        print(f"{step:6.1f} mag   {shift.mean():+7.3f}  {shift[np.abs(shift).argmax()]:+7.3f}  "
              f"{rms / first[1]:5.2f}  {np.median(width / first[0]):5.2f}  {inside.mean():8.3f}  "
              f"{known.share.mean():5.3f}  {known.support.mean():5.3f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--n", type=int, default=300)
    options = parser.parse_args()
    ensemble, galaxies = Ensemble.read(options.ensemble), bright_galaxies(options.n)
    bright, true = seen(galaxies, ensemble)
    error = len(bright) ** -0.5
    print(f"{HEADING} | {len(bright)} bright sources; a latent's shift has an error of {error:.2f}")
    report("dimmed", lambda step: (dimmed(bright, step), true), ensemble)
    report("moved away", lambda step: seen(moved_away(galaxies, step), ensemble), ensemble)


if __name__ == "__main__":
    main()
