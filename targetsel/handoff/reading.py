"""Readers that are not our writers, where they are installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy.io import fits

from targetsel.errors import HandoffError


def read_fits(path: Path, extension: int | str = 1) -> tuple[Mapping[str, np.ndarray], str]:
    """The columns of a binary table, and who read them: cfitsio where fitsio is installed.

    Raises
    ------
    HandoffError
        If the file is missing, damaged, or has no such table.
    """
    try:
        import fitsio
    except ImportError:
        return _read_with_astropy(path, extension), f"astropy {version('astropy')}"
    try:
        rows = fitsio.read(str(path), ext=extension)
    except OSError as error:
        raise _unreadable(path, extension, error) from error
    return {name: _native(rows[name]) for name in rows.dtype.names}, f"fitsio {version('fitsio')}"


def _read_with_astropy(path: Path, extension: int | str) -> dict[str, np.ndarray]:
    try:
        with fits.open(path, memmap=False) as hdus:
            rows = hdus[extension].data
            return {name: _native(np.asarray(rows[name])) for name in rows.dtype.names}
    except (OSError, KeyError, IndexError, AttributeError) as error:
        raise _unreadable(path, extension, error) from error


def _native(values: np.ndarray) -> np.ndarray:
    """In the machine's byte order; strings as text without trailing blanks."""
    if values.dtype.kind in "SU":
        return np.char.rstrip(values.astype(str))
    return values.astype(values.dtype.newbyteorder("="))


def _unreadable(path: Path, extension: int | str, error: Exception) -> HandoffError:
    if not Path(path).is_file():
        return HandoffError(f"{path}: no such file.")
    reason = " ".join(str(error).split())
    return HandoffError(
        f"{path}: not a FITS file with a table in extension {extension} ({reason})."
    )
