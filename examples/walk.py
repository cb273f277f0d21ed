"""The walk from a catalog to a target list, line by line.

targetsel demo demo          # makes the catalog and the cutouts (simulated images)
python examples/walk.py demo
"""

import sys
from pathlib import Path

import targetsel as ts


def walk(folder: Path) -> ts.TargetList:
    """The strong emitters near the catalog's first source."""
    catalog = ts.Catalog.read(folder / "catalog.parquet")
    images = ts.CutoutStore.open(folder / "cutouts")
    ensemble = ts.Ensemble.read("mock-ps1")
    rules = ts.Rules.read("emission")
    footprint = ts.Footprint.cone(catalog.ra[0], catalog.dec[0], radius_deg=8.0)

    inside = footprint.select(catalog)
    scored = ts.score_rows(inside, images, ensemble)
    membership = ts.evaluate(rules, scored)
    return ts.rank(membership, rules)


def look(folder: Path, n_draws: int = 384, seed: int = 0) -> ts.Proxies:
    """Line strengths of the catalog's first sources: what `score_rows` does, station by station."""
    catalog = ts.Catalog.read(folder / "catalog.parquet")
    first = catalog.take(range(4))
    ensemble = ts.Ensemble.read("mock-ps1", calibrated=False)

    images = ts.CutoutStore.open(folder / "cutouts")
    cutouts = ts.cut_out(first, images)  # (N, B, H, W)  [nanomaggy]
    posterior = ensemble.predict(cutouts)  # (N, M, D) and (N, M, D, D)
    latents = posterior.draw(n_draws, seed)  # (N, S, D)
    spectra = ensemble.decoder.decode(latents, first.source_id)  # (N, S, L)  rest frame
    return ts.measure(spectra)  # (N, S, P)  [Angstrom], ...


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    proxies = look(folder)
    for row, source in enumerate(proxies.source_id):
        print(f"{source}: EW(Halpha) {proxies['ew_halpha'][row].mean():.1f} Angstrom")
    columns = ["target_id", "ra", "dec", "program", "priority", "probability"]
    print(walk(folder).table.select(columns).to_pandas())
