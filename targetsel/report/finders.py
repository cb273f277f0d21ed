"""Finder charts: the cutouts of planned targets, with offsets from a star-like source beside each.

A chart is the colour picture of a cutout, with a cross on the target, a circle around the source
that offsets are from, north and east, and a bar of a round length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from targetsel.errors import CutoutError, counted, visible
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.picture import composite, draw_marks
from targetsel.imaging.stars import METHOD, StarLike, brightest_star
from targetsel.imaging.store import CutoutStore
from targetsel.nights.listed import IDS
from targetsel.plots import Axes
from targetsel.report.companions import fingerprint_of, stores_beside
from targetsel.report.night_plan import PlannedExposures
from targetsel.tables.ids import exact_ids

AT_ONCE = 20  # charts on a page of a PDF, and cutouts in memory
_IDS_OF_CUTOUTS = IDS[::-1]  # a target list has the catalog's ids in `source_id`
FARTHEST = 0.25  # of a cutout's side, from its middle: a target beyond has no chart
_YELLOW = "#ffe14d"


@dataclass(frozen=True)
class FinderChart:
    """The chart of one target.

    Attributes
    ----------
    number : int
        Place of its exposure in the night, from 1.
    cutout : Cutouts or None
        Of this target alone; None where there is none.
    picture : ndarray of uint8, shape (H, W, 3)
    target : (float, float)
        Its place (x, y) [pixel].
    star : StarLike or None
    words : str
        The offset, or why there is none.
    """

    number: int
    cutout: Cutouts | None
    picture: np.ndarray
    target: tuple[float, float]
    star: StarLike | None
    words: str

    def draw(self, panel: Axes, fontsize: float = 7) -> None:
        """Draw it; without a cutout, the reason."""
        panel.set_axis_off()
        if self.cutout is None:
            panel.text(0.5, 0.5, "no chart", ha="center", transform=panel.transAxes)
            return
        panel.imshow(self.picture, origin="lower", interpolation="nearest")
        draw_marks(panel, self.cutout, fontsize=fontsize)
        (x, y), size = self.target, self.cutout.size
        gap, end = 0.05 * size, 0.11 * size
        for way in (-1, 1):
            panel.plot([x + way * gap, x + way * end], [y, y], color="white", lw=0.8)
            panel.plot([x, x], [y + way * gap, y + way * end], color="white", lw=0.8)
        if self.star is not None:
            panel.plot([self.star.x], [self.star.y], "o", mfc="none", mec=_YELLOW, ms=11, mew=1)


@dataclass(frozen=True)
class FinderCharts:
    """The charts of all planned targets.

    Attributes
    ----------
    store : CutoutStore or None
    reason : str
        Why there is no store; empty also where exposures are of fields.
    shown : PlannedExposures
    """

    store: CutoutStore | None
    reason: str
    shown: PlannedExposures

    @property
    def found(self) -> np.ndarray:
        """Whether the store has each target, shape (K,)."""
        if self.store is None:
            return np.zeros(len(self.shown), bool)
        return self.store.has(self._ids())

    @cached_property
    def _elsewhere(self) -> np.ndarray:
        """Whether the cutout of each target is of another place, shape (K,)."""
        assert self.store is not None
        found = []
        for start, ids in self._blocks():
            cutouts = self.store.read(ids)
            for k in range(len(ids)):
                apart = self._place(cutouts.take(slice(k, k + 1)), start + k)[1]
                found.append(bool(cutouts.present[k]) and not self._is_near(cutouts, apart))
        return np.array(found, dtype=bool)

    def _place(self, cutout: Cutouts, row: int) -> tuple[tuple[float, float], float]:
        return place_in(cutout, float(self.shown.ra[row]), float(self.shown.dec[row]))

    @staticmethod
    def _is_near(cutouts: Cutouts, apart: float) -> bool:
        return apart < FARTHEST * cutouts.size * cutouts.pixel_scale

    @property
    def remark(self) -> str:
        """How many charts there are, or why there are none; empty where none are expected."""
        n = len(self.shown)
        if self.store is None and not self.reason:
            return ""
        if not n:
            return "no target is planned, so that there are no finder charts"
        if self.store is None:
            return f"no finder charts: {self.reason}"
        lost, elsewhere = n - int(self.found.sum()), int(self._elsewhere.sum())
        rest = [f"no cutout of {lost:,}"] if lost else []
        rest += [f"one of another place of {elsewhere:,}"] if elsewhere else []
        drawn = f"finder charts of {n - lost - elsewhere:,} of {counted(n, 'planned target')}"
        return "; ".join([drawn, *rest])

    def method(self) -> Iterator[str]:
        """How charts and offsets are made, in sentences."""
        assert self.store is not None
        yield (
            "Offsets lead from the star-like source in the circle, the brightest in the cutout, to "
            f"the target in the cross; they are good to about a pixel, {self.store.pixel_scale:g} "
            "arcsec."
        )
        yield METHOD
        if self.store.simulated:
            yield "The images are SIMULATED: no telescope can be pointed by them."

    def check(self) -> None:
        """Refuse a store that has none of the planned targets.

        Raises
        ------
        CutoutError
        """
        if self.store is not None and self._named is None:
            raise CutoutError(
                f"{self.store.path}: the list has no column 'source_id', by which its cutouts are "
                "found. Rename the column of ids, or leave out --cutouts."
            )
        if self.store is not None and len(self.shown) and not self.found.any():
            raise CutoutError(
                f"{self.store.path}: has none of the {counted(len(self.shown), 'planned target')}, "
                f"such as '{visible(str(self._ids()[0]))}'. Name the store of their catalog with "
                "--cutouts."
            )

    @property
    def _named(self) -> str | None:
        """The column by which cutouts are found."""
        names = self.shown.planned.table.column_names
        return next((each for each in _IDS_OF_CUTOUTS if each in names), None)

    def _ids(self) -> np.ndarray:
        table = self.shown.planned.table
        name = self._named
        if name is None:
            return np.array([""] * len(self.shown), dtype=object)
        ids = exact_ids(table[name], name, Path("the plan")).to_pylist()
        return np.array(["" if each is None else str(each) for each in ids], dtype=object)

    def pages(self) -> Iterator[list[FinderChart]]:
        """The charts in the order of the night, `AT_ONCE` at a time."""
        for start, ids in self._blocks() if self.store is not None else ():
            yield self._charts(start, ids)

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Ids of targets, `AT_ONCE` at a time, and the row of the first."""
        ids = self._ids()
        for start in range(0, len(ids), AT_ONCE):
            yield start, ids[start : start + AT_ONCE]

    def _charts(self, start: int, ids: np.ndarray) -> list[FinderChart]:
        assert self.store is not None
        cutouts = self.store.read(ids)
        pictures, sky = composite(cutouts), np.array(self.store.sky_sigma)
        charts = []
        for k, picture in enumerate(pictures):
            row, one = start + k, cutouts.take(slice(k, k + 1))
            target, apart = self._place(one, row)
            star, chart = None, one if one.present[0] and self._is_near(one, apart) else None
            if not one.present[0]:
                words = "The store has no cutout of it."
            elif chart is None:
                words = f"The store's cutout is of a place {_angle(apart)} away."
            else:
                star = brightest_star(one, 0, sky, target)
                words = _offset(one, star, target)
                words += f" ({one.status[0]})" * (one.status[0] != "ok")
            charts.append(FinderChart(row + 1, chart, picture, target, star, words))
        return charts


def charts_of(
    shown: PlannedExposures, cutouts: CutoutStore | None, targets: Path | None
) -> FinderCharts:
    """The charts from a store, or from the one beside the list that was scored for it.

    Of a table that does not say what was scored, it is the only one that has planned targets.

    Parameters
    ----------
    shown : PlannedExposures
    cutouts : CutoutStore or None
        None to look beside the list.
    targets : Path or None
        The list; None where it is no file.

    Raises
    ------
    CutoutError
        If the store has none of the planned targets.
    """
    if cutouts is not None:
        charts = FinderCharts(cutouts, "", shown)
        charts.check()
        return charts
    wanted = None if targets is None else fingerprint_of(targets)
    beside = [] if targets is None else [*stores_beside(targets)]
    if wanted is None:
        known = [each for each in beside if FinderCharts(each, "", shown).found.any()]
    else:
        known = [each for each in beside if each.sha256 == wanted][:1]
    if len(known) == 1:
        return FinderCharts(known[0], "", shown)
    if known:
        names = ", ".join(visible(each.path.name) for each in known)
        reason = f"several cutout stores beside the list have its targets: {names}"
    elif wanted is not None and beside:
        names = ", ".join(visible(each.path.name) for each in beside)
        reason = f"the cutouts that were scored for the list are not those of {names}"
    else:
        reason = "there is no cutout store with its targets beside the list"
    return FinderCharts(None, f"{reason}; name one with --cutouts", shown)


def place_in(cutout: Cutouts, ra: float, dec: float) -> tuple[tuple[float, float], float]:
    """The place (x, y) of a position [deg] in a single cutout [pixel], and arcseconds from the one
    that the cutout was made for, which is its middle.

    It is the middle where that position or the orientation is not known.
    """
    height, width = cutout.flux.shape[2:]
    middle = np.array([width - 1, height - 1]) / 2
    lie, own = cutout.orientation, cutout.position
    if own is None or not np.isfinite(own[0][0]):
        return (float(middle[0]), float(middle[1])), 0.0
    east = (ra - own[0][0] + 180) % 360 - 180
    east, north = 3600 * east * np.cos(np.radians(dec)), 3600 * (dec - own[1][0])
    apart = float(np.hypot(east, north))
    if lie is not None and lie.known[0] and apart < cutout.size * cutout.pixel_scale:
        middle = middle + (east * lie.east[0] + north * lie.north[0]) / cutout.pixel_scale
    return (float(middle[0]), float(middle[1])), apart


def offset(cutout: Cutouts, star: StarLike, target: tuple[float, float]) -> tuple[float, float]:
    """Arcseconds to the east and to the north from a star to the target of a single cutout.

    NaN where the orientation is not known.
    """
    lie = cutout.orientation
    if lie is None:
        return np.nan, np.nan
    way = np.array(target) - (star.x, star.y)
    east, north = (float(way @ each[0]) * cutout.pixel_scale for each in (lie.east, lie.north))
    return east, north


def _angle(arcsec: float) -> str:
    return f"{arcsec:.1f} arcsec" if arcsec < 120 else f"{arcsec / 3600:.3g} deg"


def _offset(cutout: Cutouts, star: StarLike | None, target: tuple[float, float]) -> str:
    """The offset in words."""
    if star is None:
        return "No star-like source in the cutout."
    bright = f", {star.band} = {star.magnitude:.1f}" if np.isfinite(star.magnitude) else ""
    apart = np.hypot(target[0] - star.x, target[1] - star.y) * cutout.pixel_scale
    east, north = offset(cutout, star, target)
    if np.isnan(east):
        return f"Star {apart:.1f}″ away{bright}; orientation not known, so no offset."
    return (
        f"From the star{bright}: {abs(east):.1f}″ {'E' if east >= 0 else 'W'}, {abs(north):.1f}″ "
        f"{'N' if north >= 0 else 'S'}"
    )
