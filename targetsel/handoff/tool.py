"""Fiber- and slit-assignment tools: their requirements, and a target list prepared for one.

Each tool is a `Tool` in the module of its observatory, with two functions, `write` and `read`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from targetsel.errors import HandoffError, did_you_mean
from targetsel.handoff.settings import FilterSettings, ToolSettings
from targetsel.photometry.bands import Band
from targetsel.photometry.brightness import given_columns, parse_option
from targetsel.photometry.columns import CatalogPhotometry
from targetsel.tables.columns import floats, in_unit
from targetsel.tables.types import held, is_number

BANDS = ("r", "i", "z", "g", "y", "u", "j", "h", "k")
UNKNOWN = 99.0  # magnitude where there is no flux


@dataclass(frozen=True)
class PriorityScale:
    """The integers a tool takes as priorities.

    Attributes
    ----------
    best, worst : int
        Observed first, observed last; `best` may be the smaller one.
    kept : bool
        True where the list's own priorities are written as they are. Otherwise they are counted:
        the list's highest becomes `best`, the next one is a step further, and so on.
    """

    best: int
    worst: int
    kept: bool = False

    @property
    def step(self) -> int:
        """1 where a larger number is the lower priority, otherwise -1."""
        return 1 if self.worst > self.best else -1

    @property
    def n_levels(self) -> int:
        return abs(self.worst - self.best) + 1

    def holds(self, priority: np.ndarray) -> bool:
        """Whether every priority lies between `best` and `worst`."""
        low, high = sorted((self.best, self.worst))
        return bool(((priority >= low) & (priority <= high)).all())


@dataclass(frozen=True)
class ToolTargets:
    """Targets read from a tool's file, in the order of the file.

    Attributes
    ----------
    id : ndarray, shape (M,)
        Ids in the tool's file: compare with `ToolTable.id`.
    ra, dec : ndarray, shape (M,)
        Position [deg, ICRS] at the tool's epoch.
    priority : ndarray, shape (M,), or None
        On the tool's scale; None where the file has none.
    reader : str
        Program that read the file, with its version.
    """

    id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    priority: np.ndarray | None
    reader: str


@dataclass(frozen=True)
class Tool:
    """A fiber- or slit-assignment tool, as far as a target list is concerned.

    Attributes
    ----------
    name : str
        The word after ``--for``.
    title : str
        Description in a few words.
    source : str
        The document or code that the format was taken from.
    tried : str
        The program that took a file of it, or that none was run, in a sentence.
    suffix : str
        Ending of its file, such as ``.fits``.
    other_suffixes : tuple of str
        Other endings, by which `write` chooses another format.
    write : callable
        ``write(targets, settings, path)`` writes the file (and any companions it needs) and
        returns the paths of all, the main one first.
    read : callable
        ``read(path)`` gives a `ToolTargets`, through an independent reader where one is installed.
    priorities : PriorityScale or None
        None where the format has no priorities.
    ids : "target_id", "name", "row" or callable
        Ids of its targets: the list's int64 `target_id`; the source's id as text; a row number
        counted from 1; or ``ids(rows, settings)`` of the row numbers. With the last two a map of
        ids is written beside the file.
    codes : callable, optional
        ``codes(targets, settings)`` gives names that the tool's results come back with, or None;
        a map of them is written beside the file.
    epoch : float, "columns" or None
        Julian year that positions are moved to; "columns": the file holds each target's own epoch
        and motion, and the tool moves them; None: positions are written as they are. A tool whose
        settings are `EpochSettings` gets positions at the epoch given there.
    default_epoch : float
        With "columns", the epoch written for targets that are taken to stand still.
    max_targets, max_id : int or None
    names : str or None
        Regular expression that every name must match as a whole, with `names_are` in words.
    settings : type
        The model of its settings file.
    bands : tuple of str
        Bands in one of which the list must have fluxes, in the order of preference: r_sdss, or r
        where it may be of any survey. Empty where it does not need them.
    writes_fluxes : bool
        Whether it is given the list's fluxes or magnitudes as they are.
    experimental : bool
        True where the format is known only from memory or from other users' writers.
    keeps_footer : bool
        Whether its file has a place for the list's own footer.
    """

    name: str
    title: str
    source: str
    tried: str
    suffix: str
    write: Callable[[ToolTable, Any, Path], list[Path]]
    read: Callable[[Path], ToolTargets]
    priorities: PriorityScale | None
    ids: Literal["target_id", "name", "row"] | Callable[[np.ndarray, Any], np.ndarray] = "target_id"
    codes: Callable[[ToolTable, Any], np.ndarray | None] | None = None
    epoch: float | Literal["columns"] | None = None
    default_epoch: float = 2000.0
    max_targets: int | None = None
    max_id: int | None = None
    names: str | None = None
    names_are: str = ""
    settings: type[ToolSettings] = ToolSettings
    bands: tuple[str, ...] = ()
    writes_fluxes: bool = True
    experimental: bool = False
    keeps_footer: bool = False
    other_suffixes: tuple[str, ...] = ()

    @property
    def numbers_rows(self) -> bool:
        """Whether its ids follow from row numbers, so that a map back to the list is needed."""
        return self.ids == "row" or callable(self.ids)

    def allows(self, name: str) -> bool:
        """Whether the tool takes this name."""
        return self.names is None or re.fullmatch(self.names, name) is not None

    def taken(self, photometry: CatalogPhotometry) -> list[Band]:
        """The bands of these fluxes that it takes, in its order of preference."""
        present = photometry.bands()
        wanted = self.bands or BANDS
        return [each for name in wanted for each in present if name in (str(each), each.name)]

    def lacks_fluxes(self, photometry: CatalogPhotometry) -> str:
        """The sentences for a list without any flux that it takes; empty for other lists."""
        if not self.bands or self.taken(photometry):
            return ""
        return (
            f"the list has no flux in any filter that '{self.name}' knows: it has "
            f"{_fluxes(photometry)}, expected one in {', '.join(self.bands)}. Say which column "
            f"holds one, as in --brightness {_example(self.bands, photometry)}; where the list has "
            "no such column, say it when you score, and score and select again."
        )


@dataclass(frozen=True)
class ToolTable:
    """M targets as one tool wants them, in the order of the list.

    Attributes
    ----------
    table : pa.Table
        The target list's own columns.
    id : ndarray, shape (M,)
        Each target's id in the tool's file: an int64 or a name, see `Tool.ids`.
    ra, dec : ndarray, shape (M,)
        Position [deg, ICRS] at `epoch`.
    epoch : ndarray, shape (M,)
        Julian year; NaN where the list has none and the tool needs none.
    pmra, pmdec : ndarray, shape (M,)
        Proper motion [mas/yr], `pmra` times cos(dec); NaN where unknown.
    priority : ndarray, shape (M,), int64
        On the tool's scale; the list's own where the tool has none.
    brightness : tuple of str
        Columns of photometry given as BAND=COLUMN.
    assumed : tuple of str
        What was assumed of the targets, a sentence each.
    footer : mapping
        Provenance of the list.
    """

    tool: Tool
    table: pa.Table
    id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    epoch: np.ndarray
    pmra: np.ndarray
    pmdec: np.ndarray
    priority: np.ndarray
    brightness: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    footer: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def name(self) -> np.ndarray:
        """The source's id as text, shape (M,) of str."""
        return names_of(self.table)

    @property
    def program(self) -> np.ndarray:
        """The target class of highest priority, shape (M,) of str."""
        return np.array(self.table["program"].to_pylist(), dtype=object)

    @property
    def subpriority(self) -> np.ndarray:
        """Tie-breaker among equal priorities, higher first, in [0, 1), shape (M,)."""
        return self.table["subpriority"].to_numpy()

    @cached_property
    def photometry(self) -> CatalogPhotometry:
        return photometry_of(self.table, self.brightness)

    def number(self, name: str, unit: str = "") -> np.ndarray:
        """A column of the list as float64 in `unit`, NaN where it is null or absent, shape (M,).

        Columns that every list has are in their declared units already.
        """
        if name not in self.table.column_names:
            return np.full(len(self), np.nan)
        field = self.table.schema.field(name)
        if not is_number(field.type):
            raise HandoffError(
                f"the list's column '{name}' holds {held(field.type)}; expected numbers."
            )
        return floats(in_unit(self.table[name], field, unit, "the list", HandoffError))

    def filled(self, name: str, default: float) -> np.ndarray:
        """The same with `default` in place of NaN."""
        return np.nan_to_num(self.number(name), nan=default)

    def magnitude(self, settings: FilterSettings) -> tuple[Band, np.ndarray]:
        """A band and the AB magnitudes in it, shape (M,), `UNKNOWN` where there is no flux.

        The band is that of the setting ``filter``, or else the first of the tool's that the list
        has.

        Raises
        ------
        HandoffError
            If the list has no such flux, or no target has.
        """
        by_name = {str(each): each for each in self.photometry.bands()}
        if settings.filter is not None:
            name = settings.filter.lower()
            if name not in by_name:
                hint = did_you_mean(settings.filter, by_name)
                hint = hint or f" It has {_fluxes(self.photometry)}."
                raise settings.error(
                    "filter",
                    f"'filter' is '{settings.filter}', and the list has no flux_{name}.{hint}",
                )
            chosen = by_name[name]
        else:
            chosen = self.bands()[0]
        magnitude = self.photometry.magnitude(chosen)
        if np.isnan(magnitude).all():
            raise HandoffError(
                f"no target has a flux above zero in {chosen}, which '{self.tool.name}' would be "
                "given magnitudes of. Choose another one with the setting `filter`."
            )
        return chosen, np.nan_to_num(magnitude, nan=UNKNOWN)

    def bands(self) -> list[Band]:
        """The tool's bands in which the list has fluxes, in its order of preference.

        Raises
        ------
        HandoffError
            If there is none.
        """
        if lacking := self.tool.lacks_fluxes(self.photometry):
            raise HandoffError(lacking)
        return self.tool.taken(self.photometry)


def _fluxes(photometry: CatalogPhotometry) -> str:
    """The columns of fluxes and magnitudes, each with its band where its name does not tell it."""
    names = {each: photometry.columns["flux", each, False].name for each in photometry.bands()}
    told = (
        name if name.endswith(str(each)) else f"{name} ({each})" for each, name in names.items()
    )
    return ", ".join(told) or "none"


def _example(bands: Sequence[str], photometry: CatalogPhotometry) -> str:
    """One of the bands and a column that may hold it, as `--brightness` takes them."""
    for each in photometry.bands():
        same = [name for name in bands if name.partition("_")[0] == each.name and not each.system]
        for name in same[-1:]:
            return f"{name}={photometry.columns['flux', each, False].name}"
    return "r_sdss=rmag"


def photometry_of(table: pa.Table, brightness: Iterable[str]) -> CatalogPhotometry:
    """The fluxes of a target list; `brightness` as the option ``--brightness`` gives it.

    Raises
    ------
    HandoffError
        If it names a column that the list does not have.
    """
    given = [parse_option(each) for each in brightness]
    named = {name for _, told in given for name in (told.column, told.error) if name}
    if missing := sorted(named - {*table.column_names}):
        raise HandoffError(
            f"--brightness: the list has no column {' or '.join(map(repr, missing))}. It keeps the "
            "columns of brightness that were known when it was chosen: give 'targetsel select' the "
            "same --brightness, and export its new list."
        )
    return CatalogPhotometry.of(table, given_columns(table.schema, brightness))


def names_of(table: pa.Table) -> np.ndarray:
    """Ids of the sources of a target list as text, shape (M,) of str."""
    return np.array([str(each) for each in table["source_id"].to_pylist()], dtype=object)
