"""A page of colour pictures of a mock sky, for people to look at."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from targetsel.imaging.picture import composite
from targetsel.imaging.store import CutoutStore
from targetsel.tables.files import written_beside
from targetsel.tables.parquet import read_footer

COLUMNS = 10
AT_MOST = 80
BLUE_GREEN_RED = (("g", "r", "i"), ("g", "r", "z"))


def draw_page(folder: Path, path: Path, at_most: int = AT_MOST) -> int:
    """Write a PNG with the first sources of the mock sky in a folder; how many were drawn.

    Each has its redshift, r magnitude and the width of Halpha + [NII] in its noise-free spectrum.
    """
    store = CutoutStore.open(folder / "cutouts")
    catalog, truth = (
        _first_rows(folder / f"{name}.parquet", at_most) for name in ("catalog", "truth")
    )
    bands = next(each for each in BLUE_GREEN_RED if set(each) <= set(store.bands))
    cutouts = store.read(catalog["source_id"].to_numpy()).select_bands(bands)
    rows = math.ceil(len(cutouts) / COLUMNS)
    figure = Figure(figsize=(1.6 * COLUMNS, 1.78 * rows + 0.3), layout="constrained")
    panels = np.ravel(figure.subplots(rows, COLUMNS, squeeze=False))
    for panel in panels:
        panel.set_axis_off()
    columns = (catalog["redshift"], catalog["rmag"], truth["ew_halpha_nii"])
    values = zip(*(column.to_numpy() for column in columns), strict=True)
    for panel, picture, (redshift, magnitude, width) in zip(
        panels, composite(cutouts), values, strict=False
    ):
        panel.imshow(picture, origin="lower", interpolation="nearest")
        panel.set_title(f"z {redshift:.2f}  r {magnitude:.1f}  {width:.0f} Å", fontsize=7, pad=2)
    figure.supxlabel(_caption(folder, bands, store), fontsize=9)
    with written_beside(path) as beside:
        figure.savefig(beside, format="png", dpi=110)
    return len(cutouts)


def _first_rows(path: Path, at_most: int):
    with pq.ParquetFile(path) as file:
        return next(file.iter_batches(at_most))


def _caption(folder: Path, bands: tuple[str, ...], store: CutoutStore) -> str:
    mock = read_footer(folder / "catalog.parquet")["mock"]
    side = store.shape[-1] * store.pixel_scale
    return (
        f"SIMULATED images, survey {mock['survey']}, seed {mock['seed']}, link "
        f"{mock['variation']['link']:g}; {''.join(bands)}, {side:.3g} arcsec on a side. Redshift, "
        "r magnitude, equivalent width of Halpha + [NII]"
    )
