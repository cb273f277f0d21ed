"""What an ensemble learns from vectors in place of images, on a mock sky: SIMULATED images.

    python benchmarks/embeddings.py TRAINING_SKY TEST_SKY --work FOLDER
        [--n 36000] [--members 3] [--epochs 30] [--numbers 8]

Skies are folders that `targetsel mock` wrote; no galaxy of the second may have had a part in the
training of --ensemble. Ensembles are trained on the first sources of the first sky, and on their
spectra without noise, as the shipped ensembles were:

    features            vectors are the features of --ensemble, as `targetsel embed` writes them
    features, too       the same, and the catalog's magnitudes
    photometry          vectors are the catalog's magnitude and colours
    noise               the catalog's magnitudes beside vectors of normal random numbers
    projections         vectors are random projections of the stretched cutouts: a model that
                        learnt nothing
    projections, too    the same, and the catalog's magnitudes

and the networks of --ensemble themselves, from the cutouts. What is right: features are as good as
the networks, and noise as good as photometry, each within the 95 % interval of the difference.
Projections hold brightness and colours, roughly, and something of sizes, too.

The first interval is paired and from resampling the test galaxies: of these very networks. The
second holds the scatter of the members' errors too (Student's t), each member being a seed; neither
holds that of training sets. Trained ensembles are kept in the work folder, so that the command
resumes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures_of_merit import latent_errors
from scipy.stats import t as student
from skies import HEADING, Sky, places

import targetsel as ts
from targetsel.embeddings.brightness import Brightness
from targetsel.embeddings.file import Embeddings
from targetsel.embeddings.vectors import Vectors
from targetsel.imaging.store import CutoutStore
from targetsel.networks.inputs import InputsById
from targetsel.sky.catalog import Catalog
from targetsel.statistics.resampling import Estimate, Resampling

NETWORKS = "the networks"
AS_GOOD_AS = {
    "features": NETWORKS,
    "noise": "photometry",
    "projections": "photometry",
    "projections, too": "photometry",
}
TAKES = {  # the vectors of each contender, and whether magnitudes stand beside them
    "features": ("features", False),
    "features, too": ("features", True),
    "photometry": ("photometry", False),
    "noise": ("noise", True),
    "projections": ("projections", False),
    "projections, too": ("projections", True),
}
RMSE = 0  # place in `latent_errors`
AT_ONCE = 1024


def vectors_of(catalog: Path, folder: Path, given: argparse.Namespace) -> dict[str, Path]:
    """The files of vectors of a catalog's sources, by their kind, written to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    features = folder / "features.parquet"
    if not features.exists():
        store = catalog.parent / "cutouts"
        ts.embed(catalog, store, given.ensemble, features, threads=given.threads)
    made = {"photometry": photometry_of, "noise": noise_of, "projections": projections_of}
    paths = {name: folder / f"{name}.parquet" for name in made}
    known = Catalog.read(catalog)
    for name, path in paths.items():
        if not path.exists():
            values = list(made[name](known, catalog, given))
            pq.write_table(pa.table({"source_id": known.source_id, "embedding": values}), path)
    return {"features": features, **paths}


def photometry_of(catalog: Catalog, place: Path, given: argparse.Namespace) -> np.ndarray:
    """Magnitude and colours of a catalog's N sources, shape (N, K)."""
    brightness = Brightness.of(catalog, place)
    nothing = Vectors(catalog.source_id, np.empty((len(catalog), 0)), np.ones(len(catalog), bool))
    found = brightness.beside(nothing).brightness
    assert found is not None
    return found


def noise_of(catalog: Catalog, place: Path, given: argparse.Namespace) -> np.ndarray:
    """Normal random numbers for a catalog's N sources, shape (N, --numbers)."""
    return np.random.default_rng(0).normal(size=(len(catalog), given.numbers))


def projections_of(catalog: Catalog, place: Path, given: argparse.Namespace) -> np.ndarray:
    """Random projections of the cutouts of a catalog's N sources, shape (N, 8 x --numbers).

    The projections are the same ones for each catalog.
    """
    plans = ts.Ensemble.read(given.ensemble, calibrated=False).inputs
    size, n = math.prod(plans.shape), 8 * given.numbers
    onto = np.random.default_rng(1).normal(size=(size, n)).astype(np.float32) / math.sqrt(size)
    store = InputsById(CutoutStore.open(place.parent / "cutouts"))
    found = np.full((len(catalog), n), np.nan, dtype=np.float32)
    for rows in pieces_of(catalog):
        seen = plans.select(store.seen(catalog.take(rows), plans, "the sky"))
        usable = seen.status == "ok"
        pixels = plans.prepare(seen, usable)
        found[np.arange(len(catalog))[rows][usable]] = pixels.reshape(len(pixels), -1) @ onto
    return found


def pieces_of(catalog: Catalog) -> Iterator[slice]:
    """The rows of a catalog, `AT_ONCE` at a time."""
    for start in range(0, len(catalog), AT_ONCE):
        yield slice(start, start + AT_ONCE)


def first_sources(sky: Path, n: int, folder: Path) -> Path:
    """The catalog of a sky's first n sources, with their spectra without noise beside it.

    Returns
    -------
    Path
        The catalog; cutouts are those of the sky.
    """
    catalog = folder / "catalog.parquet"
    if not catalog.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cutouts").symlink_to((sky / "cutouts").resolve())
        columns = ["source_id", "flux_true"]
        spectra = pq.read_table(sky / "spectra.parquet", columns=columns).slice(0, n)
        pq.write_table(spectra.rename_columns(["source_id", "flux"]), folder / "spectra.parquet")
        pq.write_table(pq.read_table(sky / "catalog.parquet").slice(0, n), catalog)
    return catalog


def trained(name: str, vectors: Path, catalog: Path, given: argparse.Namespace) -> ts.Ensemble:
    """The ensemble of a contender, from the work folder if it is there."""
    folder = given.work / name.replace(", ", "-")
    if not (folder / "card.json").exists():
        ts.train(
            output=folder,
            embeddings=vectors,
            photometry=TAKES[name][1],
            spectra=catalog.parent / "spectra.parquet",
            catalog=catalog,
            decoder=given.ensemble,
            members=given.members,
            epochs=given.epochs,
            workers=given.threads,
            redshift=False,
            report=lambda line: None,
        )
    return ts.Ensemble.read(folder)


def predicted(ensemble: ts.Ensemble, store: InputsById, catalog: Catalog) -> np.ndarray:
    """Each member's means of a catalog's sources, shape (N, M, D); NaN where there are none."""
    pieces = (catalog.take(rows) for rows in pieces_of(catalog))
    seen = (store.seen(piece, ensemble.inputs, "the sky") for piece in pieces)
    return np.concatenate([ensemble.predict(each).latents.member_mean for each in seen])


@dataclass(frozen=True)
class Errors:
    """RMSE of the latents of one contender.

    Attributes
    ----------
    together : Estimate
        Of the members' mean.
    alone : tuple of float
        Of each member.
    """

    together: Estimate
    alone: tuple[float, ...]

    @classmethod
    def of(cls, means: np.ndarray, labels: np.ndarray, resampling: Resampling) -> Errors:
        one = (means[:, k] for k in range(means.shape[1]))
        alone = (resampling.estimate(latent_errors(each, labels))[RMSE] for each in one)
        together = resampling.estimate(latent_errors(means.mean(axis=1), labels))[RMSE]
        return cls(together, tuple(float(each.value) for each in alone))

    def compare(self, other: Errors) -> str:
        """The difference, its two intervals, and whether the second holds zero."""
        between = self.together - other.together
        value, (low, high) = float(between.value), map(float, between.interval(0.95))
        both = [np.var(each.alone, ddof=1) / len(each.alone) for each in (self, other)]
        few = min(len(self.alone), len(other.alone)) - 1
        scatter = float(student.ppf(0.975, few) * np.sqrt(sum(both)))
        half = float(np.hypot((high - low) / 2, scatter))
        verdict = "within" if abs(value) <= half else "outside"
        return (
            f"{value:+12.4f}  [{low:+.4f} {high:+.4f}]  [{value - half:+.4f} {value + half:+.4f}] "
            f"{verdict}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("training_sky", type=Path, help="folder of the sky to learn from")
    parser.add_argument("test_sky", type=Path, help="folder of a sky of held-out galaxies")
    parser.add_argument("--work", type=Path, required=True, help="folder of vectors and ensembles")
    parser.add_argument("--ensemble", default="mock-ps1", help="directory, or a shipped one's name")
    parser.add_argument("--n", type=int, default=36_000, help="sources to learn from")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument(
        "--numbers", type=int, default=8, help="of a vector of noise; of projections 8 x"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resamplings", type=int, default=1000)
    given = parser.parse_args()
    test, catalog = Sky.read(given.test_sky), Catalog.read(given.test_sky / "catalog.parquet")
    own = ts.Ensemble.read(given.ensemble, calibrated=False)
    known = first_sources(given.training_sky, given.n, given.work / "known")
    learnt_from = vectors_of(known, given.work / "known", given)
    ensembles: dict[str, tuple[ts.Ensemble, InputsById]] = {NETWORKS: (own, InputsById(test.store))}
    tested_on = vectors_of(given.test_sky / "catalog.parquet", given.work / "test", given)
    for name in TAKES:
        ensemble = trained(name, learnt_from[TAKES[name][0]], known, given)
        ensembles[name] = (
            ensemble,
            InputsById(embeddings=Embeddings.open(tested_on[TAKES[name][0]])),
        )
    chosen = catalog.take(places(catalog.source_id, test.source_id))
    found = {name: predicted(*pair, chosen) for name, pair in ensembles.items()}
    good = np.all([np.isfinite(each).all(axis=(1, 2)) for each in found.values()], axis=0)
    test = test.take(good)
    labels = test.labels(own.decoder, "flux_true")
    resampling = Resampling(test.group, test.weight, given.resamplings)
    errors = {name: Errors.of(each[good], labels, resampling) for name, each in found.items()}
    n = ensembles["features"][0].card["training"]["n_sources"]
    print(
        f"{HEADING} | trained on {n} sources less the test's, {given.members} members, "
        f"{given.epochs} epochs; tested on {len(test)} sources of {resampling.n_groups} galaxies"
    )
    print(
        f"{'':17}{'RMSE of latents':>16}{'members alone':>18}{'less':>14}{'difference':>12}  "
        f"{'95 %, these':19}  95 %, with seeds"
    )
    for name, each in errors.items():
        alone = f"{min(each.alone):.4f} to {max(each.alone):.4f}"
        print(f"{name:17}{float(each.together.value):16.4f}{alone:>18}", end="")
        if (other := AS_GOOD_AS.get(name)) is not None:
            print(f"{other:>14}{each.compare(errors[other])}", end="")
        print()


if __name__ == "__main__":
    main()
