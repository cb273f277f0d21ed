"""Monotone maps from side-band widths to a catalog's convention.

A side-band width of a Balmer line holds the stars' absorption, and a window misses what lies
outside of it; widths of catalogs such as DESI's or MPA-JHU's are of what is left when a model of
the stars is taken away. A map is fitted on pairs of both, line by line. It carries the one to the
other on average: it is no correction for noise, so its pairs should be of noise-free (decoded)
spectra, or of high signal-to-noise ratio.

A monotone map takes quantiles to quantiles, and P(calibrated > x) is P(raw > map's inverse of x).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from targetsel.errors import SpectrumError, did_you_mean
from targetsel.tables.files import written_beside

SCHEMA = "targetsel/width-maps/v1"
LEAST_PAIRS = 50
MOST_KNOTS = 40
PAIRS_PER_KNOT = 20  # at least
CALIBRATED = "_cal"  # after a proxy's name


@dataclass(frozen=True)
class WidthMap:
    """A piecewise linear, strictly increasing map of one line's equivalent width.

    Attributes
    ----------
    raw, calibrated : tuple of K floats
        Knots [Angstrom], increasing. Beyond them the map goes on with the mean slope of that half.
    catalog : str
        The column that it was fitted to.
    n_pairs : int
    scatter : float
        Of the pairs around the map: half the range that holds the middle 68 % [Angstrom].
    """

    raw: tuple[float, ...]
    calibrated: tuple[float, ...]
    catalog: str = ""
    n_pairs: int = 0
    scatter: float = float("nan")

    @classmethod
    def fit(cls, raw: np.ndarray, calibrated: np.ndarray, catalog: str = "") -> WidthMap:
        """The map of some pairs, by isotonic regression on the means of bins of equal count.

        Parameters
        ----------
        raw, calibrated : ndarray, shape (N,)
            [Angstrom]; pairs that are not both numbers are left out.

        Raises
        ------
        SpectrumError
            If there are fewer than `LEAST_PAIRS` pairs, or the one does not grow with the other.
        """
        raw, calibrated = np.asarray(raw, np.float64), np.asarray(calibrated, np.float64)
        usable = np.isfinite(raw) & np.isfinite(calibrated)
        if (n := int(usable.sum())) < LEAST_PAIRS:
            raise SpectrumError(f"{n} usable pairs, expected at least {LEAST_PAIRS}")
        order = np.lexsort((calibrated[usable], raw[usable]))
        x, y = raw[usable][order], calibrated[usable][order]
        bins = np.array_split(np.arange(n), min(MOST_KNOTS, n // PAIRS_PER_KNOT))
        count = np.array([len(each) for each in bins])
        mean_x, mean_y = (np.array([values[each].mean() for each in bins]) for values in (x, y))
        blocks = isotonic_regression(mean_y, weights=count).blocks[:-1]
        # Bins that regression put together, or that share one raw width, become one knot.
        blocks = blocks[np.diff(mean_x[blocks], prepend=-np.inf) > 0]
        knots = np.add.reduceat(np.stack([mean_x, mean_y]) * count, blocks, axis=1)
        knots /= np.add.reduceat(count, blocks)
        if len(blocks) < 3:
            raise SpectrumError(
                "the catalog's width does not grow with the raw one; are the pairs of one line?"
            )
        found = cls(tuple(knots[0].tolist()), tuple(knots[1].tolist()))
        low, high = np.quantile(y - found(x), [0.16, 0.84])
        return cls(found.raw, found.calibrated, catalog, n, float(high - low) / 2)

    def __call__(self, width: np.ndarray) -> np.ndarray:
        """Calibrated widths of raw ones [Angstrom], any shape; NaN stays NaN."""
        return _along(np.asarray(width, np.float64), self.raw, self.calibrated)

    def inverse(self, width: np.ndarray) -> np.ndarray:
        """Raw widths of calibrated ones [Angstrom]."""
        return _along(np.asarray(width, np.float64), self.calibrated, self.raw)


def _along(values: np.ndarray, knots: tuple[float, ...], others: tuple[float, ...]) -> np.ndarray:
    """The piecewise linear map from `knots` to `others`, and on beyond its ends."""
    x, y = np.array(knots), np.array(others)
    half = len(x) // 2
    below = y[0] + (values - x[0]) * (y[half] - y[0]) / (x[half] - x[0])
    above = y[-1] + (values - x[-1]) * (y[-1] - y[half]) / (x[-1] - x[half])
    inside = np.interp(values, x, y)
    return np.where(values < x[0], below, np.where(values > x[-1], above, inside))


@dataclass(frozen=True)
class WidthMaps:
    """The maps of several lines, by the names of their raw widths.

    Attributes
    ----------
    maps : dict of WidthMap
    origin : dict
        What they were fitted on.
    """

    maps: Mapping[str, WidthMap]
    origin: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> WidthMaps:
        """The maps in a file that `write` wrote.

        Raises
        ------
        SpectrumError
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SpectrumError(f"{path}: no such file") from None
        except (OSError, ValueError, RecursionError) as error:
            cause = str(error).split("\n")[0]
            raise SpectrumError(f"{path}: not a file of width maps ({cause})") from None
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise SpectrumError(f'{path}: not a file of width maps: expected "schema": "{SCHEMA}"')
        try:
            maps = {
                name: _checked(
                    WidthMap(**each | {k: tuple(each[k]) for k in ("raw", "calibrated")})
                )
                for name, each in document["maps"].items()
            }
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise SpectrumError(f"{path}: holds a map that is damaged ({error})") from None
        return cls(maps, document.get("origin", {}))

    def write(self, path: Path) -> None:
        maps = {name: asdict(each) for name, each in sorted(self.maps.items())}
        document = {"schema": SCHEMA, "origin": dict(self.origin), "maps": maps}
        with written_beside(path) as beside:
            beside.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")

    def __getitem__(self, name: str) -> WidthMap:
        """The map of a raw width.

        Raises
        ------
        SpectrumError
        """
        if name not in self.maps:
            raise SpectrumError(f"no map of '{name}'.{did_you_mean(name, self.maps)}")
        return self.maps[name]

    def calibrate(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The calibrated widths, beside which the raw ones stay as they are.

        Parameters
        ----------
        columns : dict of ndarray
            Raw widths by name, and their quantiles `<name>_q16` and `<name>_q84`; what else there
            is does not matter.

        Returns
        -------
        dict of ndarray
            `<name>_cal`, `<name>_cal_q16` and `<name>_cal_q84` of what is there.
        """
        return {
            f"{name}{CALIBRATED}{suffix}": each(columns[name + suffix])
            for name, each in self.maps.items()
            for suffix in ("", "_q16", "_q84")
            if name + suffix in columns
        }


def _checked(each: WidthMap) -> WidthMap:
    knots = np.array([each.raw, each.calibrated], dtype=np.float64)
    if knots.shape[1] < 3 or not np.isfinite(knots).all() or (np.diff(knots) <= 0).any():
        raise ValueError("its knots do not increase")
    return each


# The mock sky's columns: what a line was given, and which share of it lies in the line's window
# (of doublets tied 3 to 1, the stronger line).
MOCK_PAIRS = {
    "ew_oii": ("input_oii", 1.0),
    "ew_hbeta": ("input_hbeta", 1.0),
    "ew_oiii": ("input_oiii", 0.75),
    "ew_halpha": ("input_halpha", 1.0),
    "ew_nii": ("input_nii", 0.75),
    "ew_sii": ("input_sii", 1.0),
}


def fit_maps(
    columns: Mapping[str, np.ndarray], pairs: Mapping[str, tuple[str, float]]
) -> dict[str, WidthMap]:
    """One map for each pair of columns.

    Parameters
    ----------
    columns : dict of ndarray, shape (N,)
        Raw and catalog widths [Angstrom].
    pairs : dict
        The catalog's column, and a factor for it, by the name of the raw width.

    Raises
    ------
    SpectrumError
        Which names the pair that cannot be fitted.
    """
    maps = {}
    for name, (catalog, factor) in pairs.items():
        try:
            maps[name] = WidthMap.fit(columns[name], factor * columns[catalog], catalog)
        except SpectrumError as error:
            raise SpectrumError(f"{name}={catalog}: {error}") from None
    return maps
