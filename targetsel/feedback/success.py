"""The probability that a target's spectrum succeeds, by the S/N that `observe` predicted for it.

A list keeps of each S/N its median and its 16th and 84th percentiles. In between, and beyond, the
root of an S/N, and the logarithm of an exposure time, are taken to follow a normal score along
straight lines through these three. Against the eleven quantiles of a scored file, probabilities are
off by 0.03 (rms) and up to 0.12 (benchmarks/success_forecast.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import ndtr

from targetsel.errors import HandoffError, did_you_mean
from targetsel.tables.columns import floats
from targetsel.tables.types import is_number

SNR, TIME = "snr_", "exposure_time_"
USUAL = 5.0  # S/N of a line, as `observe --snr` has it
LEAST = 1e-3  # [s]; shorter times count as this
ENDS = ("_q16", "", "_q84")  # at normal scores -1, 0 and 1
NEXT = "Give such as --succeeds 'snr_halpha > 5' or 'exposure_time_oii < 30 min'."
_SECONDS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}
_RULE = re.compile(r"\s*([A-Za-z_]\w*)\s*(>=?|<=?)\s*([-+.\w]*?)\s*(s|min|h|)\s*")


@dataclass(frozen=True)
class SuccessRule:
    """When a spectrum counts as one that will succeed.

    Attributes
    ----------
    column : str
        The S/N or exposure time of a line.
    limit : float
        An S/N that is passed, or a time [s] that is not.
    """

    column: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> SuccessRule:
        """Such as ``snr_halpha > 5`` or ``exposure_time_oii < 30 min``.

        Raises
        ------
        HandoffError
            If it is none.
        """
        found = _RULE.fullmatch(str(text))
        name, sign, number, unit = found.groups() if found else ("", "", "", "")
        try:
            limit = float(number) * _SECONDS[unit]
        except ValueError:
            limit = math.nan
        if not (limit > 0 and math.isfinite(limit)):
            raise HandoffError(
                f"outcomes: '{text}'; expected a column, > or <, and a number above 0. {NEXT}"
            )
        if not (name.startswith(SNR) and sign[0] == ">" and not unit) and not (
            name.startswith(TIME) and sign[0] == "<"
        ):
            raise HandoffError(
                f"outcomes: '{text}'; expected an S/N ({SNR}...) above a number or an exposure "
                f"time ({TIME}...) below one. {NEXT}"
            )
        return cls(name, limit)

    @property
    def text(self) -> str:
        """As rules write it."""
        if self.column.startswith(SNR):
            return f"{self.column} > {self.limit:g}"
        return f"{self.column} < {self.limit:g} s"

    def probability(self, table: pa.Table) -> np.ndarray:
        """The probability that it holds for each of M targets, shape (M,); NaN where unknown.

        Raises
        ------
        HandoffError
            If the list lacks a column.
        """
        for end in ENDS:
            if not has_numbers(table, name := self.column + end):
                known = [each for each in table.column_names if has_forecast(table, each)]
                raise HandoffError(
                    f"outcomes: the list has no column of numbers '{name}', so '{self.text}' "
                    f"cannot be forecast.{did_you_mean(self.column, known)} A list has it if "
                    "its rules name it and its catalog is from 'targetsel observe'."
                )
        values = np.stack([floats(table[self.column + end]) for end in ENDS])
        if self.column.startswith(TIME):
            return _share_below(np.log(self.limit), np.log(np.maximum(values, LEAST)))
        return 1 - _share_below(np.sqrt(self.limit), np.sign(values) * np.sqrt(np.abs(values)))


def has_numbers(table: pa.Table, name: str) -> bool:
    """Whether a table has a column of numbers of a name."""
    return name in table.column_names and is_number(table.schema.field(name).type)


def has_forecast(table: pa.Table, name: str) -> bool:
    """Whether a list has the median and percentiles of an S/N or exposure time."""
    return name.startswith((SNR, TIME)) and all(has_numbers(table, name + end) for end in ENDS)


def usual_rules(table: pa.Table) -> tuple[SuccessRule, ...]:
    """A rule for each line whose S/N a list keeps; empty where it keeps none."""
    names = [name for name in table.column_names if name.startswith(SNR)]
    return tuple(SuccessRule(name, USUAL) for name in names if has_forecast(table, name))


def forecast_of(table: pa.Table, rules: Sequence[SuccessRule]) -> np.ndarray:
    """The probability that the likeliest of some rules holds, shape (M,); NaN where unknown.

    That any of them holds is at least as probable.

    Raises
    ------
    HandoffError
        If the list lacks a column.
    """
    each = np.array([rule.probability(table) for rule in rules])
    return np.where(np.isnan(each).all(axis=0), np.nan, np.fmax.reduce(each, axis=0))


def _share_below(at: float, values: np.ndarray) -> np.ndarray:
    """The probability of less than a limit, by quantiles at scores -1, 0 and 1, shape (3, M)."""
    low, middle, high = values
    width = np.where(at < middle, middle - low, high - middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(width > 0, (at - middle) / width, np.sign(at - middle) * np.inf)
    score = np.where((width <= 0) & (at == middle), 0.0, score)
    known = np.isfinite(values).all(axis=0)
    return np.where(known, ndtr(score), np.nan)
