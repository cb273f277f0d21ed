"""Spectra given latents: the decoded spectrum plus a Gaussian residual, pixel by pixel.

Six latents smooth weak lines, clip strong ones and miss some of the continuum's shape. The residual
is modelled as Gaussian, with a low-rank covariance and an independent variance of each pixel. It
grows with the lines, so there is one such Gaussian for each range of the decoded width of
Halpha + [NII].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.interpolate import CubicSpline

from targetsel.errors import EnsembleError, SpectrumError
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.decoder import FILE_NAME, Decoder
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.spectra.lines import LineTable
from targetsel.tables.any_format import table_reader
from targetsel.tables.columns import column_named, matrix
from targetsel.tables.files import sha256_of_file, written_beside
from targetsel.tables.numpy_files import read_npz
from targetsel.tables.reading import ParquetReader, reading
from targetsel.tables.types import held
from targetsel.tasks import tracked

RESIDUAL_FILE = "spectral_residual.npz"
BY = "ew_halpha_nii"
SHARES = (0.3, 0.55, 0.8, 0.95)  # cumulative shares of the spectra at the ranges' boundaries
N_DIRECTIONS = 12
FEWEST = 1000  # least number of spectra; one in twenty is in the last range
AT_ONCE = 1024
MOST = 16_384  # most spectra used, evenly spaced in the file
FINENESS = 8  # steps to a pixel of `SpectralModel.fine`


@dataclass(frozen=True)
class SpectralResidual:
    """True minus decoded spectra, in units where a spectrum's sum of squares is 1.

    Attributes
    ----------
    edges : ndarray, shape (R - 1,)
        Boundaries of the R ranges of `BY` [Angstrom].
    offset : ndarray, shape (R, 1000)
        Mean of the residual.
    factor : ndarray, shape (R, 1000, Q)
        Covariance of the residual: `factor @ factor.T`, plus `variance` on the diagonal.
    variance : ndarray, shape (R, 1000)
    decoder_sha256 : str
        SHA-256 of the file of the decoder that it was fitted for.
    """

    edges: np.ndarray
    offset: np.ndarray
    factor: np.ndarray
    variance: np.ndarray
    decoder_sha256: str

    @classmethod
    def fit(cls, flux: np.ndarray, decoder: Decoder, decoder_sha256: str) -> SpectralResidual:
        """Residual fitted to N spectra.

        Parameters
        ----------
        flux : ndarray, shape (N, 1000)
            Noise-free rest-frame spectra on the decoder's grid; noise would count as residual.

        Raises
        ------
        SpectrumError
            If there are too few.
        """
        if len(flux) < FEWEST:
            raise SpectrumError(
                f"{len(flux)} spectra to fit a decoder's residual on, expected at least {FEWEST}"
            )
        flux = flux / np.sqrt((flux.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        batches = (flux[k : k + AT_ONCE] for k in range(0, len(flux), AT_ONCE))
        pieces = tracked(batches, "decoding", len(flux), "spectra", len)
        decoded = np.concatenate([_decoded(each, decoder) for each in pieces])
        size = (flux * decoded).sum(axis=1) / (decoded**2).sum(axis=1)
        rest = flux / size[:, None] - decoded
        by = line_strength(decoded)
        edges = np.quantile(by, SHARES)
        ranges = np.searchsorted(edges, by, side="right")
        parts = [_gaussian(rest[ranges == k]) for k in range(len(SHARES) + 1)]
        offset, factor, variance = (np.stack(each) for each in zip(*parts, strict=True))
        return cls(edges, offset, factor, variance, decoder_sha256)

    def range_of(self, decoded: np.ndarray) -> np.ndarray:
        """The range of each decoded spectrum, (S, 1000) to (S,)."""
        return np.searchsorted(self.edges, line_strength(decoded), side="right")

    @cached_property
    def marginals(self) -> np.ndarray:
        """Offset and standard deviation of each pixel, shape (R, 2, 1000)."""
        deviation = np.sqrt((self.factor**2).sum(axis=2) + self.variance)
        return np.stack([self.offset, deviation], axis=1)

    # ------------------------------------------------------------------ reading, writing

    def write(self, folder: Path) -> None:
        """Write it into an ensemble's folder, replacing one that is there."""
        arrays = {n: getattr(self, n).astype(np.float16) for n in ("offset", "factor")}
        # Variances are below what float16 can hold.
        arrays |= {"deviation": np.sqrt(self.variance).astype(np.float16), "edges": self.edges}
        with written_beside(folder / RESIDUAL_FILE) as beside, open(beside, "wb") as stream:
            np.savez_compressed(stream, decoder_sha256=np.array(self.decoder_sha256), **arrays)

    @classmethod
    def read(cls, folder: Path, decoder_sha256: str) -> SpectralResidual:
        """The residual in an ensemble's folder.

        Raises
        ------
        EnsembleError
            If it is missing, damaged, or was fitted for another decoder.
        """
        path = folder / RESIDUAL_FILE
        again = "Fit it with 'targetsel priors residual'."
        if not path.exists():
            raise EnsembleError(
                f"{folder}: no {RESIDUAL_FILE} there, which describes what its decoder "
                f"leaves out. {again}"
            )
        names = ("edges", "offset", "factor", "deviation")
        expected = "a decoder's residual"
        told, *numbers = read_npz(
            path, ("decoder_sha256", *names), EnsembleError, expected, again
        ).values()
        fitted_for = str(told)
        with reading(path, EnsembleError, expected, again):
            edges, offset, factor, deviation = (each.astype(np.float64) for each in numbers)
        shape = (edges.size + 1, N_PIXELS)
        arrays = (edges, offset, factor, deviation)
        if (
            (edges.ndim, factor.ndim) != (1, 3)
            or {offset.shape, deviation.shape, factor.shape[:2]} != {shape}
            or not all(np.isfinite(each).all() for each in arrays)
            or not (deviation > 0).all()
            or not (np.diff(edges) > 0).all()
        ):
            raise EnsembleError(f"{path}: damaged: its arrays do not fit together. {again}")
        if fitted_for != decoder_sha256:
            raise EnsembleError(
                f"{path}: was fitted for the decoder {fitted_for[:12]}, but the one beside it is "
                f"{decoder_sha256[:12]}. {again}"
            )
        return cls(edges, offset, factor, deviation**2, fitted_for)


def line_strength(decoded: np.ndarray) -> np.ndarray:
    """Width of Halpha + [NII] that chooses the range, (S, 1000) to (S,) [Angstrom]; NaN as 0."""
    return np.nan_to_num(_table().measure(decoded, wavelengths())[..., 0])


@cache
def _table() -> LineTable:
    return LineTable.shipped().choose([BY])


def _decoded(flux: np.ndarray, decoder: Decoder) -> np.ndarray:
    latents, _ = decoder.encode(flux)
    return decoder.decode(latents[:, None]).flux[:, 0].astype(np.float64)


def _gaussian(rest: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, factor and variance of residuals (n, 1000)."""
    offset = rest.mean(axis=0)
    away = rest - offset
    values, vectors = np.linalg.eigh(away.T @ away / len(rest))
    largest = slice(-1, -N_DIRECTIONS - 1, -1)
    factor = vectors[:, largest] * np.sqrt(np.maximum(values[largest], 0))
    variance = np.maximum((away**2).mean(axis=0) - (factor**2).sum(axis=1), 1e-12)
    return offset, factor, variance


def fit_residual(spectra: Path, column: str, ensemble: Path) -> int:
    """Fit the residual, write it beside an ensemble's decoder; return the number of spectra used.

    Parameters
    ----------
    spectra : Path
        Table whose `column` has lists of 1000 pixels of noise-free flux on the decoder's grid,
        such as `flux_true` of a mock sky. At most 16,384 rows are used.

    Raises
    ------
    SpectrumError, CatalogError, EnsembleError
        If the file, its column or the ensemble is missing or damaged, or spectra are too few.
    """
    with table_reader(spectra) as file:
        kind = column_named(file.schema, column, spectra, SpectrumError).type
        if not (pa.types.is_fixed_size_list(kind) and kind.list_size == N_PIXELS):
            raise SpectrumError(
                f"{spectra}, column '{column}': holds {held(kind)}; expected lists of {N_PIXELS} "
                "numbers."
            )
        flux = _some_rows(file, column)
    folder = find_ensemble(ensemble)
    decoder = Decoder.read(folder / FILE_NAME)
    fitted = SpectralResidual.fit(flux, decoder, sha256_of_file(folder / FILE_NAME))
    fitted.write(folder)
    return len(flux)


def _some_rows(file: ParquetReader, column: str) -> np.ndarray:
    """Usable spectra of evenly spaced rows, shape (N, 1000)."""
    every = max(-(-file.num_rows // MOST), 1)
    parts, first = [np.zeros((0, N_PIXELS), np.float32)], 0
    for batch in file.batches(1024, [column]):
        rows = np.arange(-first % every, batch.num_rows, every)
        parts.append(matrix(pa.table(batch.take(pa.array(rows)))[column]).astype(np.float32))
        first += batch.num_rows
    flux = np.concatenate(parts)
    return flux[np.isfinite(flux).all(axis=1) & (flux != 0).any(axis=1)]


@dataclass(frozen=True)
class SpectralModel:
    """Model of spectra: the decoded latents plus a Gaussian residual that depends on them."""

    decoder: Decoder
    residual: SpectralResidual

    @classmethod
    def read(cls, ensemble: str | Path) -> SpectralModel:
        """The model of an ensemble, given as a folder or a shipped one's name.

        Raises
        ------
        EnsembleError
            If the ensemble, its decoder or its residual is missing or damaged.
        """
        folder = find_ensemble(ensemble)
        residual = SpectralResidual.read(folder, sha256_of_file(folder / FILE_NAME))
        return cls(Decoder.read(folder / FILE_NAME), residual)

    def decode(self, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean spectrum of each of S latents (S, D), and the range of its residual.

        Returns
        -------
        flux : ndarray, shape (S, 1000)
        ranges : ndarray, shape (S,)
        """
        decoded = self.decoder.decode(latents[None]).flux[0].astype(np.float64)
        ranges = self.residual.range_of(decoded)
        return decoded + self.residual.offset[ranges], ranges

    def draw(self, latents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One spectrum for each of S latents, with a draw of the residual, shape (S, 1000)."""
        flux, ranges = self.decode(latents)
        directions = rng.standard_normal((len(latents), self.residual.factor.shape[2]))
        return self.complete(flux, ranges, directions, rng)

    def complete(
        self,
        flux: np.ndarray,
        ranges: np.ndarray,
        directions: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Spectra (S, 1000) with residuals, given their normal scores (S, Q) along the factor.

        The independent residual of each pixel is drawn.
        """
        deviation = np.sqrt(self.residual.variance)[ranges]
        flux = flux + rng.standard_normal(flux.shape) * deviation
        for k in np.unique(ranges):
            rows = ranges == k
            flux[rows] += directions[rows] @ self.residual.factor[k].T
        return flux

    @cached_property
    def fine(self) -> np.ndarray:
        """The residual's factor, with its variance last, interpolated, shape (R, F, Q + 1).

        F = 8 x 999 + 1 points from the first pixel to the last.
        """
        pixels = np.arange(N_PIXELS)
        points = np.arange((N_PIXELS - 1) * FINENESS + 1) / FINENESS
        factor = CubicSpline(pixels, self.residual.factor, axis=1)(points)
        variance = [np.interp(points, pixels, each) for each in self.residual.variance]
        return np.concatenate([factor, np.array(variance)[..., None]], axis=2)
