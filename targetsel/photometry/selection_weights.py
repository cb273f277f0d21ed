"""Weights with which labelled sources are as bright and as coloured as those of another catalog.

Sources with spectra are brighter and redder than those that one wants to predict. Each gets the
ratio of the two samples' densities at its magnitude and colours (`CoveredRegion`): weighted by it,
the labelled sample is distributed there as the target catalog is. Sources of that catalog without
labelled ones near count for none, as no weight can stand for them. What spectra depend on beyond
magnitude and colours is not corrected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from targetsel.documents.brief import brief
from targetsel.documents.models import DocumentModel
from targetsel.errors import CatalogError, counted
from targetsel.photometry.bands import BANDS, Band
from targetsel.photometry.brightness import find_brightness
from targetsel.photometry.columns import CatalogPhotometry
from targetsel.sky.catalog import ROWS_PER_READ, CatalogFile
from targetsel.statistics.region import NEIGHBOURS, CoveredRegion
from targetsel.statistics.resampling import effective_size
from targetsel.tables.columns import weights_of

FEWEST_EFFECTIVE = 30  # labelled sources
MOST_OUTSIDE = 0.5  # of the target catalog's sources
USED = (4000.0, 9500.0)  # wavelengths [Angstrom]: u and y are noisy, and tell little more
OF_MAGNITUDE = 6200.0  # the band nearest to it gives the magnitude, all together the colours


class SelectionRecord(DocumentModel):
    """How labelled sources were weighted, for cards and messages."""

    like: str = Field(description="name of the target catalog")
    bands: list[str] = Field(description="whose magnitude and colours were compared")
    neighbours: int = Field(description="labelled sources in whose reach densities are compared")
    n_labelled: int = Field(description="labelled sources with these magnitudes")
    effective: float = Field(description="of them, (sum of weights)^2 / sum of weights^2")
    n_target: int = Field(description="sources of the target catalog with these magnitudes")
    outside: float = Field(description="share of them without ten labelled sources near")
    shift: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        description="mean of the labelled sources less that of the target catalog in its standard "
        "deviations, before and after, of the magnitude and each colour"
    )
    left_out: dict[str, int] = Field(description="sources without these magnitudes")

    def lines(self) -> list[str]:
        """What to tell a user."""
        worst = max(self.shift, key=lambda name: abs(self.shift[name][1]))
        before, after = self.shift[worst]
        found = [
            f"weights: {self.n_labelled:,} labelled sources like the {self.n_target:,} of "
            f"{self.like} in {', '.join(self.shift)}; they count as {self.effective:,.0f} of equal "
            "weight",
            f"their mean {worst} is off by {after:+.2f} standard deviations of {self.like}, and "
            f"was off by {before:+.2f}; all else is off by less",
        ]
        if self.outside:
            found.append(
                f"{self.outside:.1%} of the sources of {self.like} have no labelled sources near "
                "them: what is predicted of these is not learnt from labels"
            )
        return found + [f"left out: {n:,} {why}" for why, n in self.left_out.items() if n]


@brief
@dataclass(frozen=True)
class SelectionWeights:
    """Weights of N labelled sources.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    weight : ndarray, shape (N,)
        How many sources of the target catalog each stands for, up to a factor: the mean is 1 over
        the sources with magnitudes; 0 for those without, and where no source of the target
        catalog is near.
    record : SelectionRecord
    """

    source_id: np.ndarray
    weight: np.ndarray
    record: SelectionRecord

    def __len__(self) -> int:
        return len(self.source_id)


def weights_like(
    target: CatalogFile,
    table: pa.Table,
    source_id: np.ndarray,
    weight: np.ndarray | None = None,
    place: Path | str = "the labelled sources",
) -> SelectionWeights:
    """Weights of labelled sources that make them like those of a target catalog.

    Parameters
    ----------
    target : CatalogFile
        Its column `weight`, if there is one, says what its sources count for.
    table : pa.Table, N rows
        The labelled sources' brightness, in columns as `find_brightness` finds them.
    source_id : ndarray, shape (N,)
    weight : ndarray, shape (N,), optional
        What the labelled sources count for before; the result is multiplied by it.
    place : Path or str
        Their catalog, beside which a YAML file may lie; for errors.

    Raises
    ------
    CatalogError
        If the two have no band in common, one is corrected for extinction and the other not, more
        than half of the target catalog has no labelled sources near, or fewer than 30 labelled
        sources count effectively.
    """
    ours = find_brightness(table.schema, catalog=_path(place))
    theirs = find_brightness(target.schema, catalog=_path(target.path))
    bands = common_bands(ours, theirs, place, target.path)
    own = np.ones(len(source_id)) if weight is None else np.asarray(weight, dtype=np.float64)
    points = magnitude_and_colours(replace(ours, table=table), bands)
    measured = np.isfinite(points).all(axis=1)
    known = measured & (own > 0)
    _check_enough(int(known.sum()), len(known), bands, place)
    others, their_weight, n_without = _target(target, theirs, bands)
    region = CoveredRegion(points[known])
    held = region.holds(others)
    outside = float(1 - their_weight[held].sum() / their_weight.sum())
    if outside > MOST_OUTSIDE:
        raise CatalogError(
            f"{target.path}: {outside:.1%} of its sources with magnitudes have none of the "
            f"{counted(int(known.sum()), 'labelled source')} of {place} near them, so that no "
            f"weights make these like them; expected at most {MOST_OUTSIDE:.0%}. Give the part of "
            "the catalog that labelled sources reach, or labelled sources of such magnitudes."
        )
    found = own[known] * region.density_ratio(others[held], their_weight[held], own[known])
    effective = effective_size(np.sort(found)) if found.any() else 0.0
    if effective < FEWEST_EFFECTIVE:
        raise CatalogError(
            f"{place}: its {counted(len(found), 'labelled source')} count as {effective:.1f} of "
            f"equal weight when they are weighted like {target.path}; expected {FEWEST_EFFECTIVE} "
            "or more. Give labelled sources of such magnitudes and "
            "colours, or use no weights of selection."
        )
    record = SelectionRecord(
        like=Path(target.path).name,
        bands=[str(band) for band in bands],
        neighbours=NEIGHBOURS,
        n_labelled=len(found),
        effective=round(effective, 1),
        n_target=len(others),
        outside=round(outside, 6),
        shift=_shifts(bands, (points[known], own[known], found), (others, their_weight)),
        left_out={
            "labelled sources without magnitudes": int((~measured).sum()),
            "sources of the target catalog without magnitudes": n_without,
        },
    )
    weights = np.zeros(len(known))
    weights[known] = found * (len(found) / math.fsum(found.tolist()))
    return SelectionWeights(source_id, weights, record)


# --- bands ----------------------------------------------------------------------------------------


def _path(place: Path | str) -> Path | None:
    return place if isinstance(place, Path) else None


def _wavelength(band: Band) -> float:
    """Wavelength of a band [Angstrom], that of cutouts' bands where no survey is said."""
    return BANDS.get(band.name, band).wavelength if not band.system else band.wavelength


def common_bands(
    ours: CatalogPhotometry, theirs: CatalogPhotometry, place: Path | str, other: Path | str
) -> tuple[Band, ...]:
    """The bands to compare, blue ones first: of the system that most are of in both."""
    both = [band for band in ours.bands() if band in theirs.bands()]
    if not both:
        one, two = (", ".join(map(str, each.bands())) or "no band" for each in (ours, theirs))
        raise CatalogError(
            f"{place}: has brightness in {one}, and {other} in {two}; expected a band of one "
            "survey in both. Give both such columns, or say in a file CATALOG.photometry.yaml "
            "beside each which column holds which band."
        )
    systems = sorted({band.system for band in both})
    most = max(systems, key=lambda system: sum(band.system == system for band in both))
    bands = sorted((band for band in both if band.system == most), key=_wavelength)
    bands = [band for band in bands if USED[0] < _wavelength(band) < USED[1]] or bands
    for band in bands:
        corrected = ours.is_corrected(band), theirs.is_corrected(band)
        if corrected[0] != corrected[1]:
            yes, no = (place, other) if corrected[0] else (other, place)
            raise CatalogError(
                f"{yes}: its {band} is corrected for extinction, and that of {no} is not; expected "
                "the same of both. Give columns that are alike."
            )
    return tuple(bands)


def magnitude_and_colours(photometry: CatalogPhotometry, bands: Sequence[Band]) -> np.ndarray:
    """The magnitude and the colours of N sources, shape (N, K); NaN where unknown."""
    magnitudes = np.column_stack([photometry.magnitude(band) for band in bands])
    middle = magnitudes[:, bands.index(of_magnitude(bands))]
    return np.column_stack([middle, magnitudes[:, :-1] - magnitudes[:, 1:]])


def of_magnitude(bands: Sequence[Band]) -> Band:
    return min(bands, key=lambda band: abs(_wavelength(band) - OF_MAGNITUDE))


def _shifts(
    bands: Sequence[Band],
    ours: tuple[np.ndarray, np.ndarray, np.ndarray],
    theirs: tuple[np.ndarray, np.ndarray],
) -> dict[str, list[float]]:
    """`SelectionRecord.shift`, of quantities (N, K), weights before and after, and (M, K), weights.

    Sums are rounded exactly, so that the order of rows changes nothing.
    """

    def mean(values: np.ndarray, weight: np.ndarray) -> float:
        return math.fsum((values * weight).tolist()) / math.fsum(weight.tolist())

    names = [str(of_magnitude(bands)), *(f"{blue} - {red}" for blue, red in pairwise(bands))]
    points, *weights = ours
    found = {}
    for name, own, other in zip(names, points.T, theirs[0].T, strict=True):
        centre = mean(other, theirs[1])
        width = math.sqrt(mean((other - centre) ** 2, theirs[1])) or 1.0
        found[name] = [round((mean(own, each) - centre) / width, 3) for each in weights]
    return found


def _target(
    target: CatalogFile, photometry: CatalogPhotometry, bands: Sequence[Band]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Quantities (M, K) and weights (M,) of the sources that have them, and how many have not."""
    found, columns = [], []
    for piece in target.batches(ROWS_PER_READ):
        found.append(magnitude_and_colours(replace(photometry, table=piece.table), bands))
        columns.append(piece.table.select([n for n in piece.table.column_names if n == "weight"]))
    quantities = np.concatenate(found)
    weight = weights_of(pa.concat_tables(columns), target.path)
    weight = np.ones(len(quantities)) if weight is None else weight
    known = np.isfinite(quantities).all(axis=1)
    if not weight[known].any():
        raise CatalogError(
            f"{target.path}: none of its {counted(len(known), 'source')} has magnitudes in "
            f"{', '.join(map(str, bands))}; expected the sources that predictions are for."
        )
    counting = known & (weight > 0)
    return quantities[counting], weight[counting], int((~known).sum())


def _check_enough(n: int, n_all: int, bands: Sequence[Band], place: Path | str) -> None:
    if n < FEWEST_EFFECTIVE:
        raise CatalogError(
            f"{place}: {n} of its {counted(n_all, 'labelled source')} have magnitudes in "
            f"{', '.join(map(str, bands))}; expected {FEWEST_EFFECTIVE} or more to weight them. "
            "Give more, or use no weights of selection."
        )
