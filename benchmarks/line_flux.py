"""Accuracy of the line fluxes of `targetsel observe` on a mock sky, whose images are simulated.

    python benchmarks/line_flux.py SKY SCORED

SKY is a folder that `targetsel mock` wrote, with its truth and spectra; SCORED its scored catalog.
The true flux is the width of the noise-free mock spectrum above its own side bands, scaled to the
catalog's flux in r. Whole galaxies are compared, without dust: fibers and dust cancel.

Sources are chosen once by the predicted width (median above 10 Angstrom), as an observer would, and
once by the true one. An honest prediction is right on average among the former. Among the latter
it is too low, the more so the less images tell of a line: those that happen to be strong are
chosen, and no prediction knows which they are. That says how much is predictable, not how biased
predictions are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from targetsel.cli.terminal import print_table
from targetsel.photometry.bands import passbands, synthetic_photometry
from targetsel.photometry.flux import NJY_PER_NANOMAGGY
from targetsel.selection.sources import Sources
from targetsel.spectra.grid import wavelengths
from targetsel.spectrographs.continuum import Magnitudes
from targetsel.spectrographs.lines import LINES

SIDES = {
    "oii": ((3696.3, 3716.3), (3738.3, 3758.3)),
    "hbeta": ((4798.9, 4838.9), (4885.6, 4925.6)),
    "oiii": ((4978.2, 4998.2), (5018.2, 5038.2)),
    "halpha": ((6483.0, 6513.0), (6623.0, 6653.0)),
}
STRONG = 10.0  # equivalent width [Angstrom] of the lines that are compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sky", type=Path)
    parser.add_argument("scored", type=Path)
    given = parser.parse_args()
    scored = pq.read_table(given.scored)
    scored = scored.filter(scored["status"].to_numpy() == "ok").combine_chunks()
    ids = scored["source_id"].to_numpy()
    truth = _rows(given.sky / "truth.parquet", ids, [f"ew_{name}" for name in SIDES])
    spectra = _rows(given.sky / "spectra.parquet", ids, ["flux_true"])["flux_true"]
    flux = spectra.combine_chunks().flatten().to_numpy().reshape(len(ids), -1).astype(float)
    redshift = scored["redshift"].to_numpy().astype(float)
    per_flux = synthetic_photometry(passbands("sdss", "r"), wavelengths(), redshift)[:, 0]
    in_r = (flux * per_flux).sum(axis=1)
    scale = 1e-17 * scored["flux_r_sdss"].to_numpy() / NJY_PER_NANOMAGGY / in_r
    bands = [f"{band}_sdss=flux_{band}_sdss" for band in "ugriz"]
    magnitudes = Magnitudes.find(scored.schema, bands, in_fiber=False, dereddened=True)
    posterior = Sources(scored).posterior
    rows = []
    for name, sides in SIDES.items():
        level = np.mean([_mean(flux, side) for side in sides], axis=0) * scale
        at = LINES[name].wavelength * (1 + redshift)[:, None]
        ours = magnitudes.continuum(magnitudes.flux(scored), at, np.zeros(len(ids)))[:, 0]
        width = truth[f"ew_{name}"].to_numpy().astype(float)
        knots = posterior.knots(f"ew_{name}").astype(float)
        known = np.isfinite(ours) & np.isfinite(knots).all(axis=1)
        off = np.log10(ours / level)
        low, middle, high = knots[:, [3, 5, 7]].T * ours
        true = width * level
        for by, chosen in (("prediction", knots[:, 5]), ("truth", width)):
            some = known & (chosen > STRONG) & (true > 0)
            if not some.any():
                rows.append((name, by, "0", "", "", ""))
                continue
            error = np.log10(np.maximum(middle[some], 1e-30) / true[some])
            inside = ((low < true) & (true < high))[some]
            rows.append(
                (name, by, f"{some.sum()}", _both(off[some]), _both(error), f"{inside.mean():.2f}")
            )
    print("mock sky, SIMULATED images; widths above 10 Angstrom; median and half of 68 % [dex]")
    print_table(("line", "chosen by", "sources", "continuum", "flux", "in 68 % interval"), rows)


def _rows(path: Path, ids: np.ndarray, columns: list[str]):
    """Columns of the rows with these ids, in their order."""
    table = pq.read_table(path, columns=["source_id", *columns])
    order = np.argsort(table["source_id"].to_numpy())
    place = np.searchsorted(table["source_id"].to_numpy()[order], ids)
    return table.take(order[place])


def _mean(flux: np.ndarray, side: tuple[float, float]) -> np.ndarray:
    at = wavelengths()
    return flux[:, (at > side[0]) & (at < side[1])].mean(axis=1)


def _both(values: np.ndarray) -> str:
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
    return f"{middle:+.3f}, {(high - low) / 2:.3f}"


if __name__ == "__main__":
    main()
