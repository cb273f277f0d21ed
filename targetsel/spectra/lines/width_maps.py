"""Monotone maps from side-band widths to a catalog's convention.

A side-band width of a Balmer line includes the stars' absorption, and a window misses flux outside
of it; widths of catalogs such as DESI's or MPA-JHU's are measured after subtraction of a model of
the stars. A map is fitted to pairs of both, line by line. It converts the one to the other on
average and does not correct for noise, so its pairs should be of noise-free (decoded)
spectra, or of high signal-to-noise ratio.

A monotone map takes quantiles to quantiles, and P(calibrated > x) is P(raw > map's inverse of x).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from scipy.optimize import isotonic_regression

from targetsel.documents.models import DocumentModel, FieldError, read_model
from targetsel.errors import SpectrumError, counted, did_you_mean
from targetsel.tables.any_format import footer_of
from targetsel.tables.columns import Column, floats, in_unit, numbers_named
from targetsel.tables.files import (
    check_table_output,
    sha256_of_file,
    written_beside,
)
from targetsel.tables.folders import ParquetFiles
from targetsel.tables.formats import InMemory, open_table
from targetsel.tables.parquet import ParquetSink

SCHEMA: Literal["targetsel/width-maps/v1"] = "targetsel/width-maps/v1"
LEAST_PAIRS = 50
MOST_KNOTS = 40
PAIRS_PER_KNOT = 20  # at least
CALIBRATED = "_cal"  # suffix of a proxy's name
ROWS_AT_ONCE = 8192


def _increasing(knots: list[float]) -> list[float]:
    if (np.diff(knots) <= 0).any():
        raise ValueError(
            "the knots of a map do not increase. Fit it again with 'targetsel lines calibrate'."
        )
    return knots


Knots = Annotated[list[float], Field(min_length=3), AfterValidator(_increasing)]


class WidthMap(DocumentModel):
    """A piecewise linear, strictly increasing map of one line's equivalent width.

    Attributes
    ----------
    raw, calibrated : list of K floats
        Knots [Angstrom], increasing. Beyond them the map continues with the mean slope of that
        half.
    catalog : str
        The column that it was fitted to.
    n_pairs : int
    scatter : float or None
        Scatter of the pairs about the map: half the range of the central 68 % [Angstrom].
    """

    raw: Knots
    calibrated: Knots
    catalog: str = ""
    n_pairs: int = 0
    scatter: float | None = None

    @model_validator(mode="after")
    def _check_length(self) -> WidthMap:
        if len(self.raw) != len(self.calibrated):
            raise FieldError("calibrated", "raw and calibrated must have as many knots")
        return self

    @classmethod
    def fit(cls, raw: np.ndarray, calibrated: np.ndarray, catalog: str = "") -> WidthMap:
        """Map fitted to pairs by isotonic regression on the means of bins of equal count.

        Parameters
        ----------
        raw, calibrated : ndarray, shape (N,)
            Equivalent widths [Angstrom]; pairs with a NaN are left out.

        Raises
        ------
        SpectrumError
            If there are fewer than `LEAST_PAIRS` pairs, or one does not rise with the other.
        """
        raw, calibrated = np.asarray(raw, np.float64), np.asarray(calibrated, np.float64)
        usable = np.isfinite(raw) & np.isfinite(calibrated)
        if (n := int(usable.sum())) < LEAST_PAIRS:
            raise SpectrumError(f"{counted(n, 'usable pair')}; expected at least {LEAST_PAIRS}.")
        order = np.lexsort((calibrated[usable], raw[usable]))
        x, y = raw[usable][order], calibrated[usable][order]
        bins = np.array_split(np.arange(n), min(MOST_KNOTS, n // PAIRS_PER_KNOT))
        count = np.array([len(each) for each in bins])
        mean_x, mean_y = (np.array([values[each].mean() for each in bins]) for values in (x, y))
        blocks = isotonic_regression(mean_y, weights=count).blocks[:-1]
        # Bins that the regression merged, or with equal raw widths, become one knot.
        blocks = blocks[np.diff(mean_x[blocks], prepend=-np.inf) > 0]
        knots = np.add.reduceat(np.stack([mean_x, mean_y]) * count, blocks, axis=1)
        knots /= np.add.reduceat(count, blocks)
        if len(blocks) < 3:
            raise SpectrumError(
                "the catalog's width does not grow with the raw one. Give pairs of one line."
            )
        low, high = np.quantile(y - _along(x, *knots), [0.16, 0.84])
        return cls(
            raw=knots[0].tolist(),
            calibrated=knots[1].tolist(),
            catalog=catalog,
            n_pairs=n,
            scatter=float(high - low) / 2,
        )

    def __call__(self, width: np.ndarray) -> np.ndarray:
        """Calibrated widths of raw ones [Angstrom], any shape; NaN stays NaN."""
        return _along(np.asarray(width, np.float64), self.raw, self.calibrated)

    def inverse(self, width: np.ndarray) -> np.ndarray:
        """Raw widths of calibrated ones [Angstrom]."""
        return _along(np.asarray(width, np.float64), self.calibrated, self.raw)


def _along(values: np.ndarray, knots: Sequence[float], others: Sequence[float]) -> np.ndarray:
    """The piecewise linear map from `knots` to `others`, extrapolated beyond its ends."""
    x, y = np.asarray(knots), np.asarray(others)
    half = len(x) // 2
    below = y[0] + (values - x[0]) * (y[half] - y[0]) / (x[half] - x[0])
    above = y[-1] + (values - x[-1]) * (y[-1] - y[half]) / (x[-1] - x[half])
    inside = np.interp(values, x, y)
    return np.where(values < x[0], below, np.where(values > x[-1], above, inside))


class WidthMaps(DocumentModel):
    """The maps of several lines, by the names of their raw widths.

    Attributes
    ----------
    maps : dict of WidthMap
    origin : dict
        Description of the data that they were fitted to.
    """

    model_config = ConfigDict(title="the file of width maps")

    schema_: Literal["targetsel/width-maps/v1"] = Field(default=SCHEMA, alias="schema")
    origin: dict[str, Any] = Field(default_factory=dict)
    maps: dict[str, WidthMap]

    @classmethod
    def read(cls, path: str | Path) -> WidthMaps:
        """The maps in a file that `write` wrote.

        Raises
        ------
        SpectrumError
            If it is no such file.
        """
        return read_model(Path(path), cls, SpectrumError)

    def write(self, path: str | Path) -> None:
        """Write the maps as a file that `WidthMaps.read` reads."""
        document = self.model_dump(mode="json", by_alias=True)
        with written_beside(Path(path)) as beside:
            beside.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")

    def __getitem__(self, name: str) -> WidthMap:
        """The map of a raw width.

        Raises
        ------
        SpectrumError
            If there is none of this name.
        """
        if name not in self.maps:
            raise SpectrumError(f"no map of '{name}'.{did_you_mean(name, self.maps)}")
        return self.maps[name]

    def calibrate(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calibrated widths and their quantiles, from raw ones.

        Parameters
        ----------
        columns : dict of ndarray
            Raw widths by name, and their quantiles `<name>_q16` and `<name>_q84`; other columns
            are ignored.

        Returns
        -------
        dict of ndarray
            `<name>_cal`, `<name>_cal_q16` and `<name>_cal_q84` of the columns present.
        """
        return {
            f"{name}{CALIBRATED}{suffix}": each(columns[name + suffix])
            for name, each in self.maps.items()
            for suffix in ("", "_q16", "_q84")
            if name + suffix in columns
        }


# The mock sky's columns: a line's true width, and the share of it in the line's window (the
# stronger line's, for doublets tied 3 to 1).
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
        Names the pair that cannot be fitted.
    """
    maps = {}
    for name, (catalog, factor) in pairs.items():
        try:
            maps[name] = WidthMap.fit(columns[name], factor * columns[catalog], catalog)
        except SpectrumError as error:
            raise SpectrumError(f"{name}={catalog}: {error}") from None
    return maps


def maps_from_table(path: Path, pairs: Sequence[str]) -> WidthMaps:
    """Width maps fitted to pairs of a table's columns.

    Parameters
    ----------
    path : Path
        A table in any format that catalogs may have.
    pairs : sequence of str
        Each `RAW=CATALOG`, the names of two columns [Angstrom]; if empty, those of the mock
        sky's truth.

    Raises
    ------
    SpectrumError, CatalogError
        If the table is missing or damaged, lacks a column, or a pair cannot be fitted.
    """
    table = open_table(path)
    chosen = _parsed(pairs) if pairs else _of_mock(table, path)
    wanted = sorted({*chosen, *(catalog for catalog, _ in chosen.values())})
    for name in wanted:
        numbers_named(table.schema, name, path, SpectrumError, "widths [Angstrom]")
    rows = pa.concat_tables(list(table.batches(ROWS_AT_ONCE, wanted)))
    columns = {name: _widths(rows, name, table.schema, path) for name in wanted}
    try:
        maps = fit_maps(columns, chosen)
    except SpectrumError as error:
        raise SpectrumError(f"{path}: {error}") from None
    origin: dict[str, object] = {"file": path.name}
    if path.is_file():
        origin["sha256"] = sha256_of_file(path)
        if "images" in (footer := footer_of(path)):
            origin["images"] = footer["images"]
    return WidthMaps(maps=maps, origin=origin)


def write_calibrated(scored: Path, maps: WidthMaps, output: Path) -> list[str]:
    """Write a scored catalog with calibrated widths beside the raw ones; return the new columns.

    Raises
    ------
    SpectrumError, CatalogError, OutputError
        Nothing is written then.
    """
    check_table_output(output, [scored], parquet=True)
    table = open_table(scored)
    nothing = {name: np.empty(0) for name in table.schema.names}
    added = list(maps.calibrate(nothing))
    if not added:
        raise SpectrumError(
            f"{scored}: has none of the widths that there are maps for: {', '.join(maps.maps)}. "
            "Score the catalog first, or fit maps of its widths."
        )
    if clash := [name for name in added if name in table.schema.names]:
        raise SpectrumError(f"{scored}: already has a column '{clash[0]}'. Rename or drop it.")
    fields = [_field(name, maps) for name in added]
    sources = [name.replace(CALIBRATED, "") for name in added]
    for name in sources:
        numbers_named(table.schema, name, scored, SpectrumError, "widths [Angstrom]")
    with ParquetSink(output, pa.schema([*table.schema, *fields])) as sink:
        sink.footer.update(footer_of(scored), width_maps=dict(maps.origin))
        for piece in table.batches(ROWS_AT_ONCE, table.schema.names):
            calibrated = maps.calibrate(
                {name: _widths(piece, name, table.schema, scored) for name in sources}
            )
            for field in fields:
                values = calibrated[field.name].astype(np.float32)
                piece = piece.append_column(field, pa.array(values, mask=~np.isfinite(values)))
            sink.write(piece)
    return added


def _field(name: str, maps: WidthMaps) -> pa.Field:
    catalog = maps[name.split(CALIBRATED)[0]].catalog or "a catalog"
    if maps.origin.get("images") == "simulated":
        catalog += " of simulated galaxies"
    return calibrated_column(name, catalog).field


def calibrated_column(name: str, catalog: str) -> Column:
    """The column of a width's, or a quantile's, calibrated values: ew_halpha_cal_q16."""
    proxy, suffix = name.split(CALIBRATED)
    what = {"": "", "_q16": "16th percentile of ", "_q84": "84th percentile of "}[suffix]
    about = f"{what}{proxy} calibrated to {catalog}"
    return Column(name, pa.float32(), "Angstrom", "spect.line.eqWidth", about,
                  "the width is missing")  # fmt: skip


def _parsed(pairs: Sequence[str]) -> dict[str, tuple[str, float]]:
    chosen = {}
    for pair in pairs:
        raw, equals, catalog = (part.strip() for part in pair.partition("="))
        if not (raw and equals and catalog):
            raise SpectrumError(
                f"pair '{pair}': expected RAW=CATALOG, such as ew_halpha=HALPHA_EW."
            )
        chosen[raw] = (catalog, 1.0)
    return chosen


def _of_mock(table: ParquetFiles | InMemory, path: Path) -> Mapping[str, tuple[str, float]]:
    names = table.schema.names
    found = {r: (c, f) for r, (c, f) in MOCK_PAIRS.items() if r in names and c in names}
    if not found:
        raise SpectrumError(
            f"{path}: no columns such as input_halpha beside ew_halpha. Name the columns with "
            "--pair RAW=CATALOG."
        )
    return found


def _widths(rows: pa.Table, name: str, schema: pa.Schema, path: Path) -> np.ndarray:
    """A column of widths, in Angstrom whatever length it is declared in."""
    return floats(in_unit(rows[name], schema.field(name), "Angstrom", path, SpectrumError))
