"""How even the density of targets is with maps of the sky, and weights that make it even.

Where stars, seeing, depth or extinction change which sources are selected, the density of a list
follows their maps. Counts in pixels are predicted from the maps, each pixel from folds that it is
not in (`statistics.count_regression`); a target's weight is one over the predicted relative
density. Clustering that happens to go along with a map cannot be told from this, and is removed
with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from targetsel.documents.text_table import number, text_table
from targetsel.errors import CatalogError, counted, did_you_mean
from targetsel.extras import require
from targetsel.rules.rules import Rules
from targetsel.selection.reports.density import ALL
from targetsel.selection.reports.footprint_areas import PixelAreas, pixel_areas
from targetsel.selection.scored_sources import ScoredSources
from targetsel.selection.target_list import TargetList
from targetsel.sky.patches import ENOUGH_FOR_ERRORS, folds_of, patches_of
from targetsel.sky.positions import coarser
from targetsel.sky.sky_maps import SkyMap, is_map_file, map_of_sources, read_map
from targetsel.statistics.count_regression import (
    BOOSTED,
    LEAST,
    LINEAR,
    MOST,
    CountedCells,
    Prediction,
    predict_counts,
)
from targetsel.statistics.count_trends import CountTrend, trend
from targetsel.tables.columns import column_named, floats
from targetsel.tables.types import held, is_number

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

N_FOLDS = 10
LEAST_AREA = 0.2  # of the largest pixel's, for a pixel to count
FEWEST_PATCHES = 12
FEWEST_TARGETS = 100
MOST_IN_FOLD = 0.5  # share of the targets that one fold may hold
CELLS_PER_MAP = 10  # at least
SAME = 0.9999  # correlation above which two maps are one
FILLED = 0.7  # of the pixels that should hold a target: with fewer, the area is a mistake
METHODS = (LINEAR, BOOSTED)
CAUTION = (
    "clustering of galaxies that goes along with a map by chance, or because the map was made of "
    "galaxies, is removed with it: nobody can tell the two apart from these counts"
)


@dataclass(frozen=True)
class MapTrend:
    """The trend of one class with one map, before and after weights.

    Attributes
    ----------
    class_, map : str
    before, after : CountTrend
    """

    class_: str
    map: str
    before: CountTrend
    after: CountTrend

    headings = ("class", "map", "5 to 95 %", "weighted", "chi2", "weighted", "of", "p",
                "weighted")  # fmt: skip

    @property
    def cells(self) -> tuple[str, ...]:
        """The trend as a line of a table, under `headings`."""
        pair = self.before, self.after
        return (
            self.class_,
            self.map,
            *(f"{each.slope:+.2%} ± {each.slope_error:.2%}" for each in pair),
            *(number(each.chi2, ".4g") for each in pair),
            f"{self.before.dof}",
            *(number(each.p, ".2g") for each in pair),
        )

    @property
    def record(self) -> Mapping[str, Any]:
        """The trend as plain numbers."""
        row: dict[str, Any] = {"class": self.class_, "map": self.map, "dof": self.before.dof}
        for when, each in (("before", self.before), ("after", self.after)):
            for name in ("slope", "slope_error", "chi2", "p"):
                row[f"{name}_{when}"] = getattr(each, name)
        return row


@dataclass(frozen=True)
class ClassEvenness:
    """How even one class is, or all targets.

    Attributes
    ----------
    name : str
    n_targets : int
        In the pixels that count.
    area : float
        Of these pixels [deg2].
    n_pixels, n_small, n_unknown : int
        Pixels that count; pixels left out as too little of them is in the footprint, and as a map
        has no value there.
    pixels : ndarray of int64, shape (K,)
        Those that count, HEALPix in NESTED order.
    density : ndarray, shape (K,)
        Counted targets per area, relative to the mean.
    prediction : Prediction or None
        Of the density in these pixels; None where `why_not` says why there is none.
    trends : tuple of MapTrend
        That with the largest chi2 first.
    n_clipped : int
        Targets whose weight is at the least or the most that weights may be.
    why_not : str
    """

    name: str
    n_targets: int
    area: float
    n_pixels: int
    n_small: int
    n_unknown: int
    pixels: np.ndarray = field(repr=False, compare=False)
    density: np.ndarray = field(repr=False, compare=False)
    prediction: Prediction | None = None
    trends: tuple[MapTrend, ...] = ()
    n_clipped: int = 0
    why_not: str = ""

    @property
    def sentences(self) -> list[str]:
        """What was done for the class, in words."""
        if self.prediction is None:
            return [f"{self.name}: no weights, as {self.why_not}"]
        left_out = [
            f"{n:,} {why}"
            for n, why in (
                (self.n_small, f"with under {LEAST_AREA:.0%} of the largest one's area"),
                (self.n_unknown, "where a map has no value"),
            )
            if n
        ]
        told = f"; left out are {' and '.join(left_out)}" if left_out else ""
        found = [
            f"{self.name}: {counted(self.n_targets, 'target')} in {counted(self.n_pixels, 'pixel')}"
            f" of {self.area:.5g} deg2 in all{told}"
        ]
        gains = ", ".join(
            f"{name} {each.value:+.4g} ± {each.error:.2g}"
            for name, each in self.prediction.gains.items()
        )
        trees = f" ({counted(self.prediction.n_trees, 'tree')})" * (self.prediction.n_trees > 0)
        found.append(
            f"{self.name}: weights are {self.prediction.method}{trees}, {self.prediction.why}; "
            f"deviance gained in folds left out: {gains}"
        )
        if self.trends:
            first = self.trends[0]
            found.append(
                f"{self.name}: '{first.map}' explains most, with chi2 {first.before.chi2:.4g} of "
                f"{first.before.dof} before and {first.after.chi2:.4g} after weights"
            )
        if self.n_clipped:
            found.append(
                f"{self.name}: {counted(self.n_clipped, 'weight')} at the limit of {LEAST:.2g} or "
                f"{MOST:.2g} times the mean"
            )
        return found


@dataclass(frozen=True, repr=False)
class Evenness:
    """How even a list is with maps of the sky, class by class.

    Attributes
    ----------
    classes : tuple of ClassEvenness
        All targets, then each class.
    maps : tuple of str
        Names of the maps, in the order given.
    order : int
        HEALPix order of the pixels.
    told_by : str
        What tells where the list could have targets.
    weights : dict of ndarray, shape (M,)
        By class, one over the predicted relative density at each of the list's targets, of mean 1
        over those of the class; NaN for others, and where the pixel is left out.
    doubts : tuple of str
        What speaks against a map: the order of its pixels that the user said, or a code for none.
    """

    classes: tuple[ClassEvenness, ...]
    maps: tuple[str, ...]
    order: int
    told_by: str
    weights: Mapping[str, np.ndarray] = field(repr=False)
    doubts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = text_table(MapTrend.headings, [each.cells for each in self.trends], 2)
        return "\n".join([*lines, "", *self.sentences])

    @property
    def trends(self) -> list[MapTrend]:
        """The trends of all classes."""
        return [each for one in self.classes for each in one.trends]

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row for each class and map, with plain numbers."""
        return [each.record for each in self.trends]

    def to_pandas(self) -> pd.DataFrame:
        """The records as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.records)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """What was counted where, what was done for each class, and what cannot be known."""
        about = f"counts in HEALPix pixels of nside {1 << self.order}; area by {self.told_by}"
        each = [line for one in self.classes for line in one.sentences]
        return (about, *self.doubts, *each, CAUTION)


def evenness(
    targets: TargetList,
    against: Sequence[str],
    order: int,
    rules: Rules | None = None,
    scored: Path | None = None,
    randoms: Path | None = None,
    method: str | None = None,
) -> Evenness:
    """How even a list is with maps of the sky, and weights that make it even.

    Parameters
    ----------
    targets : TargetList
    against : sequence of str
        Maps, as `sky.sky_maps` names them, or columns of the scored catalog, whose mean over its
        sources in a pixel is taken.
    order : int
        HEALPix order of the pixels to count in.
    rules, scored
        As for `density`.
    randoms : Path, optional
        Random points, which tell the area.
    method : str, optional
        "linear" or "boosted"; by default what folds of the sky left out say.

    Raises
    ------
    CatalogError
        If a map or another file cannot be read, does not cover the list, is constant or the same
        as another; or there are too few targets, or too little sky.
    RuleError
        As `density`.
    ExtraError
        If trees are asked for, or may be chosen, and scikit-learn is not installed.
    """
    if method != LINEAR:
        wish = "The method 'boosted'" if method else "Choosing between boosted and linear weights"
        require("evaluate", f"{wish} ('linear' does without)")
    if not len(targets):
        raise CatalogError("the list has no targets, so nothing can be even. Name another list.")
    maps = read_maps(against, scored)
    areas = pixel_areas(targets, order, rules, scored, randoms)
    places = coarser(targets.table["_healpix_29"].to_numpy(), order)
    found, weights = [], {}
    for name in (ALL, *(each for each in areas if each != ALL)):
        of_class = areas[name]
        rows = np.ones(len(targets), dtype=bool) if name == ALL else targets.of_class(name)
        one, relative = _of_class(name, places[rows], of_class, maps, order, method)
        own = np.full(len(targets), np.nan)
        if relative is not None:
            found_weights = 1 / relative
            ordered = np.sort(found_weights[np.isfinite(found_weights)])  # rows in any order
            own[rows] = found_weights / ordered.mean()
        found.append(one)
        weights[name] = own
    told_by = areas[ALL].told_by
    doubts = tuple(each.doubt for each in maps.values() if each.doubt)
    return Evenness(tuple(found), tuple(maps), order, told_by, weights, doubts)


def check_method(method: str | None) -> None:
    """Refuse a method that is none.

    Raises
    ------
    CatalogError
    """
    if method not in (None, *METHODS):
        hint = did_you_mean(str(method), METHODS)
        raise CatalogError(
            f"method '{method}': expected {' or '.join(METHODS)}.{hint} Leave it out to have the "
            "better one chosen."
        )


# --- maps ----------------------------------------------------------------------------------------


def read_maps(against: Sequence[str], scored: Path | None) -> dict[str, SkyMap]:
    """The maps by their short names: the column, and the file where two have the same.

    Raises
    ------
    CatalogError
        If one cannot be read, or is named twice.
    """
    if twice := next((each for each in against if list(against).count(each) > 1), None):
        raise CatalogError(f"{twice}: is given twice. Leave one of them out.")
    found = [_read(each, scored) for each in against]
    columns = [each.column for each in found]
    names = [
        each.column if columns.count(each.column) == 1 else Path(each.name).name for each in found
    ]
    if len({*names}) < len(names):
        names = [each.name for each in found]
    return dict(zip(names, found, strict=True))


def _read(named: str, scored: Path | None) -> SkyMap:
    if is_map_file(named) or scored is None or any(each in named for each in ":/\\"):
        if not is_map_file(named) and scored is None and named.isidentifier():
            raise CatalogError(
                f"{named}: no such file. Check its name; or, if it is a column of the scored "
                "catalog, give that with --scored."
            )
        return read_map(named)
    with ScoredSources(scored) as file:
        kind = column_named(file.schema, named, scored).type
        if not is_number(kind):
            raise CatalogError(
                f"{scored}, column '{named}': holds {held(kind)}; expected numbers. Name another "
                "column."
            )
        pieces = [each.table.select(["_healpix_29", named])
                  for each in file.sources(columns=["_healpix_29", named])]  # fmt: skip
    pixels = np.concatenate([each["_healpix_29"].to_numpy() for each in pieces])
    values = np.concatenate([_finite(each[named]) for each in pieces])
    return map_of_sources(named, pixels, values)


def _finite(column: pa.ChunkedArray) -> np.ndarray:
    values = floats(column)
    return np.where(np.isfinite(values), values, np.nan)


def _checked(values: np.ndarray, areas: np.ndarray, maps: Mapping[str, SkyMap]) -> None:
    """Refuse maps that say nothing where the list could have targets, shape (K, P).

    Raises
    ------
    CatalogError
    """
    for name, column in zip(maps, values.T, strict=True):
        if not np.isfinite(column).any():
            raise CatalogError(
                f"{maps[name].name}: has no value where the list could have targets. Check that it "
                "is a map of this part of the sky, and the order and frame of its pixels."
            )
        known = column[np.isfinite(column)]
        if known.max() - known.min() <= 1e-12 * np.abs(known).max():
            raise CatalogError(
                f"{maps[name].name}: is {known[0]:g} wherever the list could have targets, so "
                "nothing can follow it. Leave it out."
            )
    both = np.isfinite(values).all(axis=1)
    if not both.any():
        raise CatalogError(
            f"{', '.join(each.name for each in maps.values())}: have no pixel in common where the "
            "list could have targets. Give them one by one."
        )
    alike = np.atleast_2d(np.corrcoef(values[both].T)) if both.sum() > 2 else np.zeros((1, 1))
    for k, one in enumerate(maps):
        for other in list(maps)[:k]:
            if alike[k, list(maps).index(other)] ** 2 > SAME**2:
                raise CatalogError(
                    f"{maps[one].name}: is the same map as {maps[other].name}, up to its scale. "
                    "Leave one of them out."
                )


# --- one class -----------------------------------------------------------------------------------


def _of_class(
    name: str,
    places: np.ndarray,
    areas: PixelAreas,
    maps: Mapping[str, SkyMap],
    order: int,
    method: str | None,
) -> tuple[ClassEvenness, np.ndarray | None]:
    """The evenness of a class, and the relative density at each of its targets, shape (M,)."""
    large = areas.areas >= LEAST_AREA * areas.areas.max(initial=0.0)
    pixels, area = areas.pixels[large], areas.areas[large]
    values = np.column_stack([each.at(pixels, order) for each in maps.values()])
    if name == ALL:
        _checked(values, area, maps)
    known = np.isfinite(values).all(axis=1)
    n_small, n_unknown = int((~large).sum()), int((~known).sum())
    pixels, area, values = pixels[known], area[known], values[known]
    place = np.minimum(np.searchsorted(pixels, places), max(len(pixels) - 1, 0))
    inside = pixels[place] == places if len(pixels) else np.zeros(len(places), dtype=bool)
    counts = np.bincount(place[inside], minlength=len(pixels)).astype(float)
    n = int(inside.sum())
    mean = counts.sum() / area.sum() if n else np.nan
    facts = (name, n, float(area.sum()), len(pixels), n_small, n_unknown)
    density = counts / area / mean
    patch = patches_of(pixels, order)
    n_folds = min(N_FOLDS, int(patch.max(initial=0)) + 1)
    fold = folds_of(patch, area, n_folds)
    why_not, next_step = _too_few(counts, area, patch, fold, len(maps))
    if why_not:
        if name == ALL:
            raise CatalogError(f"no weights can be found, as {why_not}. {next_step}")
        return ClassEvenness(*facts, pixels, density, why_not=why_not), None
    cells = CountedCells(counts, area, values, patch, fold)
    prediction = predict_counts(cells, method)
    relative = prediction.relative
    large_patch = patches_of(pixels, order, ENOUGH_FOR_ERRORS)
    trends = [
        MapTrend(
            name,
            each,
            trend(column, counts, area, large_patch),
            trend(column, counts / relative, area, large_patch),
        )
        for each, column in zip(maps, values.T, strict=True)
    ]
    at_limit = (relative <= LEAST) | (relative >= MOST)
    one = ClassEvenness(
        *facts,
        pixels,
        density,
        prediction,
        tuple(sorted(trends, key=lambda each: -each.before.chi2)),
        int(counts[at_limit].sum()),
    )
    return one, np.where(inside, relative[place], np.nan)


def _too_few(
    counts: np.ndarray, areas: np.ndarray, patch: np.ndarray, fold: np.ndarray, n_maps: int
) -> tuple[str, str]:
    """Why nothing can be predicted from so little, and the next step; empty where it can."""
    n, n_patches = int(counts.sum()), len(np.unique(patch))
    if n < FEWEST_TARGETS:
        few = (
            f"the pixels that count hold only {counted(n, 'target')}, of {FEWEST_TARGETS} needed: "
            "pixels where the list could have targets, and every map has a value"
        )
        return few, "Give a longer list, or files that cover its part of the sky."
    if n_patches < FEWEST_PATCHES:
        patches = counted(n_patches, "patch", "patches")
        few = (
            f"the list and the maps cover only {patches} of the sky together, of "
            f"{FEWEST_PATCHES} needed"
        )
        return few, "Count in smaller pixels with --nside, or give a wider list or map."
    if len(counts) < CELLS_PER_MAP * (n_maps + 1):
        few = f"{counted(len(counts), 'pixel')} are too few for {counted(n_maps, 'map')}"
        return few, "Count in smaller pixels with --nside, or give fewer maps."
    elsewhere = "Say where the list could have targets, with --scored or --randoms."
    if np.bincount(fold, counts).max() > MOST_IN_FOLD * n:
        share = f"over {MOST_IN_FOLD:.0%} of the targets lie in a tenth of the area"
        return f"{share}, and nothing can be learnt for it elsewhere", elsewhere
    expected = float(np.mean(np.exp(-areas * counts.sum() / areas.sum())))
    empty = float(np.mean(counts == 0))
    if 1 - empty < FILLED * (1 - expected):
        part = (
            f"{empty:.0%} of the pixels hold no target, where {expected:.0%} are expected to: the "
            "list was not selected from all of that area"
        )
        return part, elsewhere
    return "", ""
