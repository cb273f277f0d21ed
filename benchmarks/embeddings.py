"""What an ensemble learns from vectors in place of images, on a mock sky: SIMULATED images.

    targetsel mock --n 7311 --seed 7 --held-out -o sky/
    python benchmarks/embeddings.py sky/ --work FOLDER [--members 3] [--epochs 30] [--noise 8]

No galaxy of the sky may have had a part in the training of --ensemble. Ensembles are trained on
the sky's spectra and tested on the galaxies that all of them leave aside, the same for each:

    features        vectors are the features of --ensemble, as `targetsel embed` writes them
    with magnitudes the same, and the catalog's magnitudes
    photometry      the catalog's magnitudes alone: beside vectors that are the same for all
    noise           the catalog's magnitudes beside vectors of normal random numbers

and the networks of --ensemble themselves, from the cutouts. What is right: features are as good as
the networks, and noise is as good as photometry, each within the 95 % interval of the difference,
which is paired and from resampling the test galaxies. It holds no scatter over seeds, and none of
training sets. Trained ensembles are kept in the work folder, so that the command resumes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures_of_merit import latent_errors
from skies import HEADING, Sky, places

import targetsel as ts
from targetsel.embeddings.file import Embeddings
from targetsel.networks.inputs import InputsById
from targetsel.sky.catalog import Catalog
from targetsel.statistics.resampling import Estimate, Resampling

NETWORKS = "the networks"
AS_GOOD_AS = {"features": NETWORKS, "noise": "photometry"}
CONTENDERS = ("features", "with magnitudes", "photometry", "noise")
RMSE = 0  # place in `latent_errors`
AT_ONCE = 1024


def vectors_of(sky: Sky, given: argparse.Namespace) -> dict[str, Path]:
    """The file of vectors of each contender."""
    features = given.work / "features.parquet"
    if not features.exists():
        catalog = sky.folder / "catalog.parquet"
        ts.embed(catalog, sky.store, given.ensemble, features, threads=given.threads)
    rng = np.random.default_rng(0)
    made = {
        "photometry": np.ones((len(sky), 2)),
        "noise": rng.normal(size=(len(sky), given.noise)),
    }
    for name, values in made.items():
        table = pa.table({"source_id": sky.source_id, "embedding": list(values)})
        pq.write_table(table, given.work / f"{name}.parquet")
    own = {name: given.work / f"{name}.parquet" for name in made}
    return {"features": features, "with magnitudes": features, **own}


def trained(name: str, vectors: Path, sky: Sky, given: argparse.Namespace) -> ts.Ensemble:
    """The ensemble of a contender, from the work folder if it is there."""
    folder = given.work / name.replace(" ", "-")
    if not (folder / "card.json").exists():
        ts.train(
            output=folder,
            embeddings=vectors,
            photometry=name != "features",
            spectra=sky.folder / "spectra.parquet",
            catalog=sky.folder / "catalog.parquet",
            decoder=given.ensemble,
            members=given.members,
            epochs=given.epochs,
            workers=given.threads,
            redshift=False,
            report=lambda line: None,
        )
    return ts.Ensemble.read(folder)


def predicted(ensemble: ts.Ensemble, store: InputsById, catalog: Catalog) -> np.ndarray:
    """Means of the latents of a catalog's sources, shape (N, D); NaN where there are none."""
    starts = range(0, len(catalog), AT_ONCE)
    pieces = (catalog.take(slice(start, start + AT_ONCE)) for start in starts)
    seen = (store.seen(piece, ensemble.inputs, "the sky") for piece in pieces)
    return np.concatenate([ensemble.predict(each).latents.mean for each in seen])


def difference(one: Estimate, other: Estimate) -> tuple[float, float, float]:
    """The difference of two numbers that were estimated alike, and its 95 % interval."""
    between = one - other
    return float(between.value), *map(float, between.interval(0.95))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sky", type=Path, help="folder of the sky")
    parser.add_argument("--work", type=Path, required=True, help="folder of vectors and ensembles")
    parser.add_argument("--ensemble", default="mock-ps1", help="directory, or a shipped one's name")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--noise", type=int, default=8, help="numbers of a vector of noise")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resamplings", type=int, default=1000)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    sky, catalog = Sky.read(given.sky), Catalog.read(given.sky / "catalog.parquet")
    own = ts.Ensemble.read(given.ensemble, calibrated=False)
    ensembles: dict[str, Any] = {NETWORKS: (own, InputsById(sky.store))}
    for name, path in vectors_of(sky, given).items():
        ensemble = trained(name, path, sky, given)
        ensembles[name] = ensemble, InputsById(embeddings=Embeddings.open(path))
    aside = {
        name: pq.read_table(given.work / name.replace(" ", "-") / "held_out.parquet")
        for name in CONTENDERS
    }
    ids = sorted(set.intersection(*({*each["source_id"].to_pylist()} for each in aside.values())))
    rows = places(sky.source_id, np.array(ids))
    test, chosen = sky.take(rows), catalog.take(rows)
    found = {name: predicted(*each, chosen) for name, each in ensembles.items()}
    good = np.all([np.isfinite(each).all(axis=1) for each in found.values()], axis=0)
    test = test.take(good)
    labels = test.labels(own.decoder, "flux_true")
    resampling = Resampling(test.group, test.weight, given.resamplings)
    errors = {
        name: resampling.estimate(latent_errors(each[good], labels))[RMSE]
        for name, each in found.items()
    }
    n = ensembles["features"][0].card["training"]["n_sources"]
    print(
        f"{HEADING} | trained on {n} sources less the test's, {given.members} members, "
        f"{given.epochs} epochs; tested on {len(test)} sources of {resampling.n_groups} galaxies"
    )
    print(f"{'':17}{'RMSE of latents':>16}{'less':>17}{'difference':>12}  95 %")
    for name, error in errors.items():
        print(f"{name:17}{float(error.value):16.4f}", end="")
        if (other := AS_GOOD_AS.get(name)) is not None:
            value, low, high = difference(error, errors[other])
            verdict = "within" if low <= 0 <= high else "outside"
            print(f"{other:>17}{value:+12.4f}  [{low:+.4f} {high:+.4f}] {verdict}", end="")
        print()


if __name__ == "__main__":
    main()
