"""Slim scored rows: all that rules read, in a quarter of the bytes.

The latents' posterior takes nearly half of a scored row. It serves fitters and comparisons with
spectra alone, and can be predicted again from the cutout. Quantiles of 192 draws are uncertain by
0.04 to 0.3 standard deviations, but kept to seven digits. Slim rows lack the former, and round the
latter to powers of two: they remain float32, which every program reads, but bits that are zero
take little room in a compressed file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from targetsel.scored.columns import LATENTS, SUMMARIES
from targetsel.spectra.lines import BPT_CLASSES, PREDICTABLE
from targetsel.spectra.proxies import CORRELATION, QUANTILES

STEPS_PER_STD = 32
CORRELATION_STEP = 2.0**-10
BITS = 8
IN_BITS = (
    *BPT_CLASSES,
    "epistemic",
    "typicality",
    "typicality_features",
    "typicality_image",
)


def is_slim(footer: Mapping[str, Any]) -> bool:
    """Whether the footer of a scored file says that its rows are slim."""
    options = footer.get("options")
    return isinstance(options, dict) and options.get("slim") is True


def compression(footer: Mapping[str, Any]) -> str:
    """The compression of a scored file with this footer; snappy finds few of the zero bits."""
    return "zstd" if is_slim(footer) else "snappy"


def slimmed(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The values of slim scored rows, from those of full ones.

    Medians, percentiles and quantiles are rounded to a power of two that is 1/64 to 1/32 of their
    standard deviation, so by at most 1/64 of it; correlations to multiples of 1/1024; standard
    deviations, class probabilities, `epistemic` and typicalities to 8 significant bits, so by at
    most 1/256 of themselves. The latents' posterior is left out; all else stays as it is.

    Parameters
    ----------
    values : mapping of column name to ndarray of N rows
        Those that scoring adds to a catalog.

    Returns
    -------
    dict of ndarray
        A row depends on its own source alone, and its quantiles do not fall.
    """
    slimmer = {name: each for name, each in values.items() if name not in LATENTS}
    predicted = tuple(name for name in PREDICTABLE if name + QUANTILES in values)
    for name in predicted:
        slimmer |= slim_posterior(name, values)
    slimmer |= _correlations(predicted, values)
    return slimmer | {name: to_bits(values[name], BITS) for name in IN_BITS}


def slim_posterior(name: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The slim values of the columns of one proxy's posterior, but those of its correlations."""
    step = _power_of_two(values[f"{name}_std"] / STEPS_PER_STD)
    found = {f"{name}_std": to_bits(values[f"{name}_std"], BITS)}
    for end, *_, score in SUMMARIES:
        if score is not None:
            found[name + end] = to_step(values[name + end], step)
    return found | {name + QUANTILES: to_step(values[name + QUANTILES], step[:, None])}


def to_step(values: np.ndarray, step: np.ndarray | float) -> np.ndarray:
    """Values rounded to multiples of `step`; they stay where it is zero or NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rounded = np.round(np.float64(values) / step) * step
    return np.where(np.isfinite(rounded), rounded, values)


def to_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Values rounded to so many significant bits."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)


def _power_of_two(values: np.ndarray) -> np.ndarray:
    """The largest powers of two that are not above positive values; 0 for 0, NaN for NaN."""
    mantissa, exponent = np.frexp(np.float64(values))
    return np.ldexp(np.sign(mantissa) / 2, exponent)


def _correlations(
    predicted: tuple[str, ...], values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The rounded columns of correlations of what is predicted.

    Where these could not be correlations of any distribution, those of a source stay as they are:
    rules would take its joint probabilities as missing.
    """
    stored = {name + CORRELATION: values[name + CORRELATION] for name in predicted[1:]}
    rounded = {name: to_step(each, CORRELATION_STEP) for name, each in stored.items()}
    whole = np.tile(np.eye(len(predicted)), (len(values[predicted[0]]), 1, 1))
    for k, each in enumerate(rounded.values(), start=1):
        whole[:, k, :k] = whole[:, :k, k] = each
    whole[~np.isfinite(whole).all(axis=(1, 2))] = np.eye(len(predicted))
    good = np.linalg.eigvalsh(whole)[:, :1] > 0
    return {name: np.where(good, each, stored[name]) for name, each in rounded.items()}
