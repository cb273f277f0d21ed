"""Colour pictures of cutouts, for people to look at."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.visualization import make_lupton_rgb

from targetsel.errors import CutoutError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.store import CutoutStore
from targetsel.photometry.bands import BANDS
from targetsel.plots import Axes, Figure, imsave
from targetsel.tables.files import written_beside
from targetsel.tables.ids import matched

NO_DATA_GREY = 70
ARROW = {"arrowstyle": "->", "color": "white", "lw": 0.9, "shrinkA": 0, "shrinkB": 0}


def composite(cutouts: Cutouts) -> np.ndarray:
    """Colour pictures, uint8, shape (N, H, W, 3); red, green, blue, row 0 at the bottom.

    Lupton et al. (2004, PASP 116, 133): an asinh stretch of the mean intensity, common to all
    cutouts, that keeps colours. The reddest bands make red and the bluest blue; each is shown as
    energy per logarithm of wavelength, so that not every galaxy is red. Grey: no data.
    """
    order = sorted(range(len(cutouts.bands)), key=lambda b: BANDS[cutouts.bands[b]].wavelength)
    wavelength = np.array([BANDS[cutouts.bands[b]].wavelength for b in order])
    # A lost band counts as sky: its absence shows as a wrong colour, not as a hole.
    flux = np.nan_to_num(cutouts.flux[:, order]) * (7500 / wavelength[:, None, None])
    channels = np.einsum("cb,nbhw->cnhw", _channel_weights(len(order)), flux)
    shown = Cutouts(cutouts.source_id, np.moveaxis(channels, 0, 1), ("r", "g", "b"), 1.0)
    sky = float(np.nan_to_num(shown.sky_sigma()).mean()) or 1.0
    stacked = channels.reshape(3, -1, channels.shape[-1])
    pictures = make_lupton_rgb(*stacked, minimum=-sky, stretch=12 * sky, Q=8)
    pictures = pictures.reshape(*channels.shape[1:], 3)
    pictures[np.isnan(cutouts.flux).all(axis=1)] = NO_DATA_GREY
    return pictures


def channels(bands: Sequence[str]) -> dict[str, str]:
    """The bands that make red, green and blue, the heaviest first, such as {"red": "y+z", ...}."""
    order = sorted(bands, key=lambda band: BANDS[band].wavelength)
    weights = _channel_weights(len(order))
    return {
        colour: "+".join(order[k] for k in np.argsort(-own, kind="stable") if own[k] > 0)
        for colour, own in zip(("red", "green", "blue"), weights, strict=True)
    }


def draw_marks(panel: Axes, cutouts: Cutouts, row: int = 0, fontsize: float = 7) -> None:
    """Draw a bar of a round length in arcsec on the picture of a cutout, and north and east.

    The arrows are left out where the orientation is not known.
    """
    _draw_scale(panel, cutouts, fontsize)
    lie = cutouts.orientation
    if lie is None or not lie.known[row]:
        return
    length = 0.11 * cutouts.size
    north, east = lie.north[row], lie.east[row]
    start = np.array([0.84, 0.15]) * cutouts.size - (north + east) * length / 2
    for name, way in (("N", north), ("E", east)):
        panel.annotate("", start + length * way, start, arrowprops=ARROW)
        x, y = start + 1.4 * length * way
        panel.text(x, y, name, color="white", ha="center", va="center",
                   fontsize=fontsize)  # fmt: skip


def _draw_scale(panel: Axes, cutouts: Cutouts, fontsize: float) -> None:
    side = cutouts.size * cutouts.pixel_scale
    length = max((each for each in (0.5, 1, 2, 5, 10, 20, 60) if each < side / 3), default=0.2)
    start, y = 0.06 * cutouts.size, 0.06 * cutouts.size
    end = start + length / cutouts.pixel_scale
    panel.plot([start, end], [y, y], color="white", lw=2, solid_capstyle="butt")
    panel.text((start + end) / 2, 1.4 * y, f"{length:g}″", color="white", ha="center",
               fontsize=fontsize)  # fmt: skip


def html_of(cutouts: Cutouts, title: str, most: int = 10) -> str:
    """A row of small colour pictures of the first cutouts, with their ids, as HTML."""
    lie = "orientation not known" if cutouts.orientation is None else str(cutouts.orientation)
    first = cutouts.take(slice(0, most))
    figures = []
    for source_id, pixels in zip(first.source_id, composite(first), strict=True):
        file = io.BytesIO()
        imsave(file, pixels, origin="lower", format="png")
        encoded = base64.b64encode(file.getvalue()).decode()
        figures.append(
            f'<figure style="display:inline-block;margin:2px"><img width="96" height="96" '
            f'src="data:image/png;base64,{encoded}"><figcaption style="font-size:70%">'
            f"{html.escape(str(source_id))}</figcaption></figure>"
        )
    return f"<p>{html.escape(title)}; {lie}</p>{''.join(figures)}"


def draw_store(store: CutoutStore, path: Path, source_ids: Sequence[str], number: int) -> Cutouts:
    """Write a PNG with some sources of a store, or without ids with the first ones; the cutouts.

    Raises
    ------
    CutoutError
        If the store does not have one of them.
    """
    ids = store.source_ids(None if source_ids else number)
    if source_ids:
        rows = matched(np.array(source_ids, dtype=object), ids)
        if (rows < 0).any():
            unknown = source_ids[int(np.argmin(rows))]
            raise CutoutError(
                f"{store.path}: has no source '{unknown}'. Give ids of this store; its first is "
                f"'{ids[0]}'."
            )
        ids = ids[rows]
    cutouts = store.read(ids)
    caption = "The images are simulated." if store.simulated else ""
    draw_mosaic(cutouts, path, caption=caption)
    return cutouts


def draw_mosaic(
    cutouts: Cutouts, path: Path, titles: Sequence[str] | None = None, caption: str = ""
) -> None:
    """Write a PNG with the colour picture of every cutout, its title and its status.

    Parameters
    ----------
    titles : sequence of str, optional
        By default the ids.
    caption : str
        What to say below the pictures, beside their bands and size.
    """
    columns = min(len(cutouts), max(4, math.isqrt(len(cutouts))))
    rows = math.ceil(len(cutouts) / columns)
    figure = Figure(figsize=(2.4 * columns, 2.6 * rows), layout="constrained")
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for panel in panels:
        panel.set_axis_off()
    titles = list(map(str, cutouts.source_id)) if titles is None else titles
    for row, (panel, picture, title, status) in enumerate(
        zip(panels, composite(cutouts), titles, cutouts.status, strict=False)
    ):
        panel.imshow(picture, origin="lower", interpolation="nearest")
        draw_marks(panel, cutouts, row)
        panel.set_title(title, fontsize=8)
        if status != "ok":
            panel.text(
                0.5, 0.03, status, transform=panel.transAxes, ha="center", fontsize=7, color="white"
            )
    side = cutouts.size * cutouts.pixel_scale
    colours = ", ".join(f"{name} {bands}" for name, bands in channels(cutouts.bands).items())
    scale = f"{side:.3g} arcsec on a side; {colours}"
    figure.supxlabel("\n".join(filter(None, (scale, caption))), fontsize=8)
    with written_beside(path) as beside:
        figure.savefig(beside, format="png", dpi=120)


def _channel_weights(n_bands: int) -> np.ndarray:
    """Weights of the bands, by increasing wavelength, in red, green and blue, shape (3, B)."""
    place = np.linspace(0, 2, n_bands) if n_bands > 1 else np.ones(1)
    width = max(1.0, 2 / max(n_bands - 1, 1)) if n_bands > 1 else 2.0
    weights = np.maximum(1 - np.abs(place[None] - np.array([2, 1, 0])[:, None]) / width, 0)
    return weights / weights.sum(axis=1, keepdims=True)
