"""Detection by `surprise` of spectra that were swapped between galaxies.

    python benchmarks/surprise.py SKY SCORED [--ensemble mock-ps1]

SKY is a folder of `targetsel mock --held-out`, and SCORED its catalog as `targetsel score` leaves
it: images and spectra are SIMULATED. The noisy spectra are encoded; 2 % of the sources then swap
their spectra among one another, and some receive one much like their own. Prints the share of them
that `targetsel compare` finds at a false-positive rate of 1 %, with 68 and 95 % intervals from
resampling galaxies; the same for those whose new spectrum differs in Halpha + [NII] by more than
20 Angstrom; and the uniformity of `surprise` for the others.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import kstest
from skies import HEADING, Sky, places
from sklearn.metrics import roc_auc_score

from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.surprise import compare
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.encoding import scatter_under_noise
from targetsel.statistics.resampling import Resampling
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import DECODER_KEY, write_table

SPECTRA_AT_ONCE = 512
SWAPPED, FALSE_POSITIVES = 0.02, 0.01
LINE, OTHER = "ew_halpha_nii", 20.0  # [Angstrom]


def measured(sky: Sky, decoder: Decoder) -> tuple[np.ndarray, np.ndarray]:
    """Latents of the noisy spectra and their errors, as `targetsel spectra encode` has them."""
    spectra = sky.measured()
    parts = [slice(k, k + SPECTRA_AT_ONCE) for k in range(0, len(sky), SPECTRA_AT_ONCE)]
    noise = [
        scatter_under_noise(sky.source_id[k], spectra.flux[k], spectra.ivar[k], decoder)
        for k in parts
    ]
    return decoder.encode(spectra.flux)[0], np.concatenate(noise)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sky", type=Path)
    parser.add_argument("scored", type=Path)
    parser.add_argument("--ensemble", default="mock-ps1", help="directory, or a shipped one's name")
    given = parser.parse_args()
    sky, ensemble = Sky.read(given.sky), Ensemble.read(given.ensemble, calibrated=False)
    mean, noise = measured(sky, ensemble.decoder)
    swapped = np.flatnonzero(uniform(sky.source_id, 0, "swapped")[:, 0] < SWAPPED)
    spectrum_of = np.arange(len(sky))
    spectrum_of[swapped] = np.roll(swapped, 1)
    table = pa.table(
        {
            "source_id": sky.source_id,
            "latent_mean": list(mean[spectrum_of]),
            "latent_std": list(noise[spectrum_of]),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        latents, compared = Path(folder) / "latents.parquet", Path(folder) / "compared.parquet"
        footer = {DECODER_KEY: ensemble.card["files"]["decoder.safetensors"]}
        write_table(table, latents, footer)
        compare(given.scored, latents, ensemble, compared)
        found = pq.read_table(compared, columns=["source_id", "surprise"])
    surprise = found["surprise"].to_numpy()[places(found["source_id"].to_numpy(), sky.source_id)]
    is_swapped = spectrum_of != np.arange(len(sky))
    line = sky.proxies[LINE]
    report(sky, surprise, is_swapped, np.abs(line[spectrum_of] - line) > OTHER)


def report(sky: Sky, surprise: np.ndarray, swapped: np.ndarray, unlike: np.ndarray) -> None:
    known = np.isfinite(surprise)
    threshold = np.quantile(surprise[known & ~swapped], FALSE_POSITIVES)
    resampling = Resampling(sky.group, n=1000)
    print(
        f"{HEADING} | {int((known & swapped).sum())} of {int(known.sum())} spectra swapped; "
        f"surprise < {threshold:.4f} for {FALSE_POSITIVES:.0%} of the others"
    )
    for who, rows in (("all of them", swapped), ("with quite another line", swapped & unlike)):
        rows = rows & known
        caught = (surprise <= threshold) & rows
        share = resampling.estimate(lambda w, c=caught, r=rows: (w @ c) / (w @ r))
        print(f"found of {who} ({int(rows.sum())}): {share.text()}")
    area = roc_auc_score(swapped[known], -surprise[known])
    departure = kstest(surprise[known & ~swapped], "uniform").statistic
    print(f"area under the ROC curve {area:.3f}; others: distance from uniform {departure:.3f}")


if __name__ == "__main__":
    main()
