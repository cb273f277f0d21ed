"""A redshift fitter: its form of what is known of redshifts beforehand, in a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BROAD = (0.0, 1000.0)  # redshift and error of sources of which neither is known
LEVELS = (0.005, 0.995)  # of the quantiles between which a prior without tails lies
GAUSSIAN = "gaussian"


@dataclass(frozen=True)
class KnownRedshifts:
    """What is known of the redshifts of N sources.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
        int64, or text.
    redshift, error : ndarray, shape (N,)
        Median and standard deviation; those of `BROAD` where nothing is known.
    low, high : ndarray, shape (N,)
        Quantiles at `LEVELS`.
    known : ndarray of bool, shape (N,)
    """

    source_id: np.ndarray
    redshift: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Fitter:
    """A program that fits redshifts, as far as priors are concerned.

    Attributes
    ----------
    name : str
        The word after ``--for``.
    source : str
        The document or code that the form was taken from.
    tried : str
        The program that took a file of it, or that none was run, in a sentence.
    suffix : str
        Ending of its file.
    write : callable
        ``write(redshifts, function, path)`` writes the file at a path beside the result's.
    functions : tuple of str
        Functions of the redshift that it takes, the usual one first.
    whole_numbers : bool
        Whether its ids are int64.
    """

    name: str
    source: str
    tried: str
    suffix: str
    write: Callable[[KnownRedshifts, str, Path], None]
    functions: tuple[str, ...] = (GAUSSIAN,)
    whole_numbers: bool = False
