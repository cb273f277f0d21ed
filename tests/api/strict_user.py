"""A user's script that mypy checks strictly; it is not run."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import numpy as np

import targetsel as ts

KNOWN = ("known.scored.parquet", "truth.parquet")


def partitions(catalog: ts.Catalog) -> int:
    """Cut a catalog into pixels of the sky."""
    sky = ts.partition(catalog, Path("sky"), rows=1000)
    return sum(sky.rows_of(pixel) for pixel in sky.pixels)


def predictions(catalog: ts.Catalog) -> ts.Scored:
    """Pack, score, observe, compare and calibrate."""
    store: ts.CutoutStore = ts.pack("images", catalog, Path("store"), bands="grizy", size=64)
    ensemble: ts.Ensemble = ts.Ensemble.read("mock-ps1")
    scored = ts.score(catalog, store, ensemble, threads=2)
    if store.run and scored.run:
        print(f"{store.run.written:,} cutouts, {scored.run.n_unmeasured + 0:,} without a line")
    seen: ts.Scored = ts.observe(scored, "radius", lines=["halpha"], redshift=0.1)
    compared: ts.Scored = ts.compare(seen, "latents.parquet", "compared.parquet", seed=1)
    ts.calibrate("known.scored.parquet", Path("truth.parquet"), "mine").write(Path("mine"))
    return compared


def reports(scored: ts.Scored, rules: ts.Rules) -> tuple[int, float, str]:
    """Select, and every report on the selection."""
    targets: ts.TargetList = ts.select(scored, rules, labelled=KNOWN)
    ids = assert_type(targets["source_id"], np.ndarray)
    assert_type(targets[:5], ts.TargetList)
    if targets.run is not None:
        print([each.expected_purity for each in targets.run.classes], targets.run.caution)
    passed = sum(each.n_passed for each in ts.funnel(scored, "emission"))
    verdicts = [each.verdict for each in ts.explain(scored, rules, int(ids[0]))]
    tuned = ts.tune(scored, {"name": "mine"}, "EXCITED", 500)
    expected = sum(each.n_selected for each in ts.forecast(scored, rules, labelled=KNOWN))
    changes = ts.diff(rules, "emission", scored)
    picture: Path = ts.show(scored, 7, "cutouts", "seven.png", rules=[rules, "agn"])
    written = ts.export(targets, "desi", "list.fits", config={"epoch": 2026.5})
    names = [path.name for path in (*written.files, picture)]
    return passed + expected + len(changes), float(tuned.threshold), " ".join(names + verdicts)


def stations(catalog: ts.Catalog, ensemble: ts.Ensemble, rules: ts.Rules) -> ts.TargetList:
    """The walk, station by station."""
    store = ts.CutoutStore.open(Path("cutouts"))
    cutouts: ts.Cutouts = ts.cut_out(catalog, store)
    posterior: ts.LatentPosterior = ensemble.predict(cutouts)
    latents: np.ndarray = posterior.draw(64, 0)
    spectra: ts.Spectra = ensemble.decoder.decode(latents, catalog.source_id)
    proxies: ts.Proxies = ts.measure(spectra)
    print(proxies["ew_halpha"].mean())
    options = ts.ScoreOptions(seed=1)
    membership: ts.Membership = ts.apply_rules(
        rules, ts.score_rows(catalog, store, ensemble, options)
    )
    ts.choose_targets(catalog, store, ensemble, rules, ts.Footprint.cone(1.0, 2.0, 1.0))
    return ts.rank(membership, rules)


def main() -> None:
    """Read, and give what was read to the rest."""
    try:
        scored = predictions(ts.Catalog.read("catalog.fits"))
    except ts.TargetselError as error:
        print(error)
        return
    print(scored.to_astropy(), scored[:3].to_pandas(), scored[scored["d4000"] > 1.4].to_arrow())
    print(reports(scored, ts.Rules.read("emission")), ts.read("anything.parquet"))


if __name__ == "__main__":
    main()
