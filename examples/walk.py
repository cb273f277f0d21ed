"""The walk from a catalog to a list for DESI in eight lines, then what is inside `score`.

targetsel demo demo          # makes the catalog and the cutouts (simulated images)
cd demo
python ../examples/walk.py
"""

import targetsel as ts

catalog = ts.read("catalog.parquet")  # or a table of astropy, pandas, polars
scored = ts.score(catalog, "cutouts")  # latents, line strengths [Angstrom]
targets = ts.select(scored, "emission")  # a shipped rule file, or your own
first = targets["source_id"][0]
why = ts.explain(scored, "emission", first)  # every condition, with its margin
ts.show(scored, first, "cutouts", "first.png", rules="emission")
ts.export(targets, "desi", "desi.fits", config={"epoch": 2026.5, "obsconditions": "DARK"})


def look(n_draws: int = 384, seed: int = 0) -> ts.Proxies:
    """Line strengths of the catalog's first sources: what `score` does, station by station."""
    few = catalog[:4]
    ensemble = ts.Ensemble.read("mock-ps1", calibrated=False)

    cutouts = ts.cut_out(few, ts.read("cutouts"))  # (N, B, H, W)  [nanomaggy]
    posterior = ensemble.predict(cutouts)  # (N, M, D) and (N, M, D, D)
    latents = posterior.draw(n_draws, seed)  # (N, S, D)
    spectra = ensemble.decoder.decode(latents, few.source_id)  # (N, S, L)  rest frame
    return ts.measure(spectra)  # (N, S, P)  [Angstrom], ...


proxies = look()
for row, source in enumerate(proxies.source_id):
    print(f"{source}: EW(Halpha) {proxies['ew_halpha'][row].mean():.1f} Angstrom")
print(targets)
