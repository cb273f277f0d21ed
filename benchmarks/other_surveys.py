"""The whole walk on the card of a survey: mock, train, calibrate, score, select, export. SIMULATED.

    python benchmarks/other_surveys.py [--surveys hsc legacy] [--n 800] [--known 700] [--new 500]
        [--width 0.125] [--epochs 6]

For each survey, networks learn from a mock sky of its card (`train --survey`), a second sky
calibrates them, and targets are chosen on a third, of galaxies that no sky before has shown. Three
figures tell whether something on the way takes another survey for Pan-STARRS:

rank correlation    of D4000 predicted and true: is anything learnt
typical             share of the third sky's sources with typicality above 0.05, which is 0.95 if
                    the checks of images suit this survey
with support        share of them whose magnitude, colour and size the training covers

`targets` is the share of the third sky that is selected, by half of the predicted D4000, and
exported. As given above it takes some five minutes a survey on a crowded machine.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from measuring import Figure, print_figures

import targetsel as ts
from targetsel.statistics.resampling import rank_correlation
from targetsel.tables.ids import matched

SURVEYS = ("hsc", "legacy")
RULES = """\
schema: targetsel/rules/v1
name: old
classes:
  OLD:
    bit: 0
    priority: 3000
    where:
      - typicality > 0.01
      - d4000 > {median}
"""
UNUSUAL = 0.05


def walk(
    folder: Path, survey: str, n: int, known: int, new: int, width: float, epochs: int
) -> dict[str, Figure]:
    """Walk once through a survey's card, in a folder.

    Parameters
    ----------
    n, known, new : int
        Sources to learn from, to calibrate with, and to choose from.
    width, epochs
        Of the networks.
    """
    for name, size, seed in (("learnt", n, 1), ("known", known, 2), ("new", new, 3)):
        ts.mock_sky(folder / name, size, seed=seed, survey=survey, held_out=name == "new")
    spectra = folder / "learnt" / "spectra.parquet"
    catalog = folder / "learnt" / "catalog.parquet"
    ts.train(
        folder / "learnt" / "cutouts",
        folder / "ensemble",
        spectra=spectra,
        decoder="mock-ps1",
        catalog=catalog,
        survey=survey,
        members=1,
        epochs=epochs,
        width=width,
        redshift=False,
        report=lambda line: None,
    )
    ensemble = ts.Ensemble.read(folder / "ensemble")
    before = folder / "known.parquet"
    ts.score(
        folder / "known" / "catalog.parquet", ensemble=ensemble, output=before, calibrated=False
    )
    calibration = ts.calibrate(before, folder / "known" / "truth.parquet", ensemble)
    calibration.write(folder / "ensemble")
    scored = folder / "new.parquet"
    ts.score(folder / "new" / "catalog.parquet", ensemble=folder / "ensemble", output=scored)
    return _figures(folder, scored)


def _figures(folder: Path, scored: Path) -> dict[str, Figure]:
    """What came of it; the older half of the third sky is selected and exported."""
    rows = pq.read_table(scored)
    truth = pq.read_table(folder / "new" / "truth.parquet", columns=["source_id", "d4000"])
    true = truth["d4000"].to_numpy()[matched(*(t["source_id"].to_numpy() for t in (rows, truth)))]
    predicted = rows["d4000"].to_numpy()
    rules = RULES.format(median=float(np.nanmedian(predicted)))
    targets = ts.select(scored, rules, output=folder / "targets.parquet")
    exported = ts.export(
        folder / "targets.parquet", "table", folder / "targets.fits", check=True
    ).read_back
    assert exported is not None
    assert 0 < len(targets.table) == exported.n_targets < len(rows)
    seen = rows.filter(pc.is_valid(rows["typicality"]))
    known = np.isfinite(predicted) & np.isfinite(true)
    correlation = rank_correlation(predicted[known], true[known])(np.ones(known.sum()))
    figures = {
        "rank correlation": correlation,
        "typical": pc.mean(pc.greater(seen["typicality"], UNUSUAL)).as_py(),
        "with support": pc.mean(seen["support"]).as_py(),
        "targets": len(targets.table) / len(rows),
    }
    return {name: Figure.of(value, "accuracy", higher=True) for name, value in figures.items()}


def figures_of_surveys(
    folder: Path | None = None,
    surveys: tuple[str, ...] = SURVEYS,
    n: int = 800,
    known: int = 700,
    new: int = 500,
    width: float = 0.125,
    epochs: int = 6,
) -> dict[str, Figure]:
    """The figures of each survey, by its name."""
    found = {}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        for survey in surveys:
            walked = walk(Path(work) / survey, survey, n, known, new, width, epochs)
            found |= {f"{survey} {name}": figure for name, figure in walked.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--surveys", nargs="+", default=SURVEYS)
    parser.add_argument("--n", type=int, default=800)
    parser.add_argument("--known", type=int, default=700)
    parser.add_argument("--new", type=int, default=500)
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--epochs", type=int, default=6)
    given = vars(parser.parse_args())
    print_figures(figures_of_surveys(**given | {"surveys": tuple(given["surveys"])}))


if __name__ == "__main__":
    main()
