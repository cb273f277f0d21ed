"""The walk from a catalog to a target list, line by line.

targetsel demo demo          # makes the catalog and the cutouts (simulated images)
python examples/walk.py demo
"""

import sys
from pathlib import Path

import targetsel as ts


def walk(folder: Path, n_draws: int = 384, seed: int = 0) -> ts.TargetList:
    """The strong emitters near the catalog's first source."""
    catalog = ts.Catalog.read(folder / "catalog.parquet")
    images = ts.CutoutStore.open(folder / "cutouts")
    ensemble = ts.Ensemble.read("mock-ps1")
    rules = ts.Rules.read("emission")
    footprint = ts.Footprint.cone(catalog.ra[0], catalog.dec[0], radius_deg=8.0)

    inside = footprint.select(catalog)  # 1 Catalog
    cutouts = ts.cut_out(inside, images)  # 2 Cutouts          (N, B, H, W)  [nanomaggy]
    posterior = ensemble.predict(cutouts)  # 3 LatentPosterior  (N, M, D) and (N, M, D, D)
    latents = posterior.draw(n_draws, seed)  # 4 ndarray          (N, S, D)
    spectra = ensemble.decoder.decode(latents, inside.source_id)  # 5 Spectra  (N, S, L)  rest frame
    proxies = ts.measure(spectra)  # 6 Proxies          (N, S, P)  [Angstrom], ...
    proxies = ensemble.calibrated(proxies, posterior, seed)
    scored = ts.scored(inside, cutouts, posterior, proxies)
    membership = ts.evaluate(rules, scored)  # 7 Membership       (N, C)
    return ts.rank(membership, rules)  # 8 TargetList       M <= N rows


if __name__ == "__main__":
    targets = walk(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
    columns = ["target_id", "ra", "dec", "program", "priority", "probability"]
    print(targets.table.select(columns).to_pandas())
