"""Line strengths of measured spectra, with errors propagated from the pixels, and their table.

A measured index is a smooth function of moments that are linear in the pixels, so first-order
propagation is exact in its linear part: the derivative of the function at the moments (complex
step; Squire & Trapp 1998, SIAM Rev. 40, 110) times the moments' weights is the derivative by each
pixel. A pixel shared by two bands is counted once, and makes the errors of two indices correlated;
those of formulas follow from draws (`lines.derived`). Pixels are taken as independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import SpectrumPixels, WavelengthBand
from targetsel.spectra.lines.derived import derived
from targetsel.spectra.lines.index import Index, on
from targetsel.spectra.lines.table import LineFormula, LineTable
from targetsel.spectra.reading import Attempt, attempts, results_table, stated_marks, usable
from targetsel.spectra.redshifts import SpectrumOptions
from targetsel.spectra.spectrum import ObservedSpectrum
from targetsel.tables.columns import Column
from targetsel.tables.files import check_table_output
from targetsel.tables.parquet import write_table
from targetsel.version import __version__

SPECTRA_AT_ONCE = 16
STEP = 1e-30  # complex step, in units of the largest moment
SMALLEST = 1e-200  # lower limit of the largest moment
BEYOND, MASKED, UNDEFINED = "beyond the spectrum", "masked", "no positive continuum"


@dataclass(frozen=True)
class LineStrengths:
    """Indices of N measured spectra.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    names : tuple of P strings
    values, errors : ndarray, shape (N, P)
        Indices and their standard errors; NaN where an index could not be measured.
    reason : ndarray of str, shape (N, P)
        Reason why an index could not be measured; empty where it could.
    """

    source_id: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    errors: np.ndarray
    reason: np.ndarray

    def __getitem__(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Values and errors of one index, shape (N,) each."""
        k = self.names.index(name)
        return self.values[:, k], self.errors[:, k]


@dataclass(frozen=True)
class _Found:
    """A measured index of n spectra: value, derivative by the pixels of `run`, and reason if
    missing."""

    value: np.ndarray
    derivative: np.ndarray
    run: slice
    reason: np.ndarray

    def covariance(self, other: _Found, variance: np.ndarray) -> np.ndarray:
        """Covariance of the errors of two indices (n,), from the pixels' variances (n, L)."""
        start = max(self.run.start, other.run.start)
        stop = max(start, min(self.run.stop, other.run.stop))
        one, two = (
            each.derivative[:, start - each.run.start : stop - each.run.start]
            for each in (self, other)
        )
        return (one * two * variance[:, start:stop]).sum(axis=1)


def measure_observed(spectrum: ObservedSpectrum, table: LineTable | None = None) -> LineStrengths:
    """The indices of one observed spectrum, on its own pixels.

    Raises
    ------
    SpectrumError
        If the redshift is below any peculiar velocity's.
    """
    wavelength, flux, ivar = spectrum.at_rest()
    ids = np.array([spectrum.source_id])
    return measure_noisy(flux[None], ivar[None], wavelength, table, ids)


def measure_noisy(
    flux: np.ndarray,
    ivar: np.ndarray,
    wavelength: np.ndarray,
    table: LineTable | None = None,
    source_id: np.ndarray | None = None,
) -> LineStrengths:
    """The indices of measured spectra on common wavelengths.

    Parameters
    ----------
    flux : ndarray, shape (N, L)
        Flux density per unit wavelength.
    ivar : ndarray, shape (N, L)
        Inverse variance of `flux`. A pixel is masked where it is not positive, or either is NaN.
    wavelength : ndarray, shape (L,)
        Rest-frame vacuum wavelength [Angstrom], increasing.
    table : LineTable, optional
        Indices to measure. Default: all of the shipped table.
    source_id : ndarray, shape (N,), optional
        Row numbers if not given.

    Raises
    ------
    SpectrumError
        If wavelengths do not increase, or shapes do not fit together.
    """
    pixels = SpectrumPixels.of(wavelength)
    if flux.ndim != 2 or flux.shape != ivar.shape or flux.shape[1] != len(pixels.centres):
        raise SpectrumError(
            f"flux of shape {flux.shape} and ivar of shape {ivar.shape}, expected (N, "
            f"{len(pixels.centres)}) as wavelength has"
        )
    table = table or LineTable.shipped()
    n, p = len(flux), len(table.names)
    values, errors, reason = np.empty((n, p)), np.empty((n, p)), np.empty((n, p), dtype=object)
    for start in range(0, n, SPECTRA_AT_ONCE):
        rows = slice(start, start + SPECTRA_AT_ONCE)
        values[rows], errors[rows], reason[rows] = _block(flux[rows], ivar[rows], pixels, table)
    ids = np.arange(n) if source_id is None else source_id
    return LineStrengths(ids, table.names, values, errors, reason.astype(str))


def _block(
    flux: np.ndarray, ivar: np.ndarray, pixels: SpectrumPixels, table: LineTable
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, errors and reasons of n spectra, shape (n, P) each."""
    with np.errstate(invalid="ignore"):
        measured = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    variance = np.divide(1.0, ivar, out=np.zeros(ivar.shape), where=measured)
    flux = np.where(measured, flux, 0.0)
    parts = {name: _simple(index, flux, measured, pixels) for name, index in table.measured}
    found = [
        _formula(table.choose([name]), parts, variance)
        if isinstance(table[name].index, LineFormula)
        else _index(parts[name], variance)
        for name in table.names
    ]
    values, errors, reasons = (np.stack(each, axis=1) for each in zip(*found, strict=True))
    return values, errors, reasons


def _index(part: _Found, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, error and reason of a measured index, shape (n,) each."""
    return part.value, np.sqrt(part.covariance(part, variance)), part.reason


def _formula(
    table: LineTable, parts: Mapping[str, _Found], variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, error and reason of the one formula that a table chooses, shape (n,) each."""
    needed = {name: parts[name] for name, _ in table.measured}
    covariance = np.array(
        [[one.covariance(two, variance) for two in needed.values()] for one in needed.values()]
    )
    values = {name: part.value for name, part in needed.items()}
    value, error, reason = derived(table, values, np.moveaxis(covariance, 2, 0))
    for part in needed.values():
        reason = np.where(part.reason != "", part.reason, reason)
    return value, error, reason


def _simple(index: Index, flux: np.ndarray, measured: np.ndarray, pixels: SpectrumPixels) -> _Found:
    """An index measured on the pixels."""
    n = len(flux)
    if not all(pixels.cover(band) for band, _ in index.bands):
        missing = np.full(n, np.nan)
        return _Found(missing, missing[:, None], slice(0, 1), np.full(n, BEYOND, dtype=object))
    estimator = on(index, pixels)
    rows = estimator.rows_of(measured[:, estimator.run])
    moments = np.einsum("nkp,np->kn", rows, flux[:, estimator.run])
    slopes = (estimator.slopes or partial(_complex_steps, estimator.value))(moments)
    derivative = np.einsum("kn,nkp->np", slopes, rows)
    value = estimator.value(moments)
    enough = np.all([_share(measured, pixels, b) >= least for b, least in index.bands], axis=0)
    reason = np.where(enough, np.where(np.isfinite(value), "", UNDEFINED), MASKED).astype(object)
    value = np.where(reason == "", value, np.nan)
    return _Found(value, np.where(reason == "", derivative.T, np.nan).T, estimator.run, reason)


def _complex_steps(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
    """Derivatives (K, n) of a function of moments (K, n), by complex steps."""
    step = STEP * np.maximum(np.abs(at).max(axis=0), SMALLEST)
    each = np.eye(len(at))[:, :, None]
    return np.array([function(at + 1j * step * moved).imag / step for moved in each])


def _share(measured: np.ndarray, pixels: SpectrumPixels, band: WavelengthBand) -> np.ndarray:
    """Measured share of a band, shape (n,)."""
    run, overlap = pixels.overlap(band)
    return measured[:, run] @ overlap / overlap.sum()


def measure_files(
    paths: Sequence[Path],
    table: LineTable,
    redshift: float | None = None,
    options: SpectrumOptions = SpectrumOptions(),
) -> list[Attempt[LineStrengths]]:
    """Measure every spectrum of some files, one at a time."""
    make = lambda spectrum: measure_observed(spectrum, table)  # noqa: E731
    return list(attempts(paths, make, redshift, "measuring", options))


def strength_columns(table: LineTable, ew_sign: str = "emission") -> list[Column]:
    """The columns of measured spectra: every index with its error, and those without a value."""
    columns = []
    null = "it could not be measured"
    for each in map(table.__getitem__, table.names):
        about = each.about
        if each.is_emission and ew_sign == "mpa":
            about = about.replace("positive in emission", "negative in emission")
        error = f"standard deviation of {each.name} by the pixels' inverse variances"
        if isinstance(each.index, LineFormula):
            error = error.replace("standard deviation", "half of the 16 to 84 % range")
        columns += [
            Column(each.name, pa.float32(), each.unit, each.ucd, about, null),
            Column(f"{each.name}_err", pa.float32(), each.unit, "stat.error", error, null),
        ]
    columns.append(
        Column("unmeasured", pa.string(), "", "", "indices without a value, and why", null)
    )
    return columns


def strengths_table(
    tried: Sequence[Attempt[LineStrengths]], table: LineTable, ew_sign: str = "emission"
) -> pa.Table:
    """One row for each spectrum that was tried; see `reading.results_table`.

    Parameters
    ----------
    ew_sign : str
        "emission": equivalent widths of emission lines are positive; "mpa": negative, as in the
        MPA-JHU catalog. Lick indices keep Lick's sign.
    """
    columns = strength_columns(table, ew_sign)
    turned = [table[name].is_emission and ew_sign == "mpa" for name in table.names]
    signs = [-1 if each else 1 for each in turned]

    def values(found: LineStrengths) -> dict[str, object]:
        row: dict[str, object] = {}
        missing = []
        for k, (name, sign) in enumerate(zip(found.names, signs, strict=True)):
            if reason := found.reason[0, k]:
                missing.append(f"{name} ({reason})")
            else:
                row[name] = sign * found.values[0, k]
                row[f"{name}_err"] = found.errors[0, k]
        return row | {"unmeasured": ", ".join(missing)}

    return results_table(tried, columns, values)


def write_measured(
    paths: Sequence[Path],
    output: Path,
    redshift: float | None = None,
    lines: Path | None = None,
    indices: Sequence[str] = (),
    ew_sign: str = "emission",
    options: SpectrumOptions = SpectrumOptions(),
) -> tuple[Attempt[LineStrengths], ...]:
    """Write the line strengths of the spectra in some files.

    Parameters
    ----------
    redshift : float, optional
        Of every spectrum; by default as in the files.
    lines : Path, optional
        YAML file of definitions to add to the line table.
    indices : sequence of str
        Those to measure; by default the whole table.
    ew_sign : "emission" or "mpa"
        Emission positive, or negative as in the MPA-JHU catalog.
    options : SpectrumOptions
        Where else redshifts come from, and which are taken.

    Raises
    ------
    SpectrumError, OutputError
        If no spectrum can be used, too; nothing is written then.
    """
    check_table_output(output, [*paths, *([lines] if lines else [])])
    table = LineTable.read(lines) if lines else LineTable.shipped()
    table = table.choose(dict.fromkeys(indices)) if indices else table
    tried = measure_files(paths, table, redshift, options)
    usable(tried)
    footer = {
        "code_version": __version__,
        "ew_sign": ew_sign,
        "indices": table.names,
        **stated_marks(tried),
    }
    write_table(strengths_table(tried, table, ew_sign), output, footer)
    return tuple(tried)
