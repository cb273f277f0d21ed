"""Spectra that an autoencoder is trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from targetsel.errors import SpectrumError, absent
from targetsel.spectra.arrays import NAMES, Arrays, read_arrays
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.spectra.reading import read_spectra, try_spectra
from targetsel.spectra.redshifts import FITS_SUFFIXES, REDROCK_FILES
from targetsel.spectra.rest_frame import fill_gaps, rest_frame
from targetsel.spectra.spectrum import (
    MeasuredSpectra,
    UnusableSpectrum,
    as_numbers,
)


@dataclass(frozen=True)
class TrainingSpectra:
    """Training spectra, each scaled to a sum of squares of 1.

    Attributes
    ----------
    flux : ndarray, shape (N, 1000), float32
        Rest-frame flux density on `spectra.grid`, gaps filled.
    ivar : ndarray, shape (N, 1000), float32, or None
        Inverse variance, 0 where masked. None: the spectra are noise-free.
    n_unusable : int
        Number of spectra of FITS files that were left out, such as those of sky fibers.
    """

    flux: np.ndarray
    ivar: np.ndarray | None = None
    n_unusable: int = 0

    @classmethod
    def of(cls, flux: np.ndarray, ivar: np.ndarray | None = None) -> TrainingSpectra:
        """Training spectra from flux and inverse variance (N, 1000) in any one unit.

        Raises
        ------
        SpectrumError
            If the shape is another, or a spectrum holds NaN or only zeros.
        """
        if flux.ndim != 2 or flux.shape[1] != N_PIXELS:
            raise SpectrumError(f"spectra of shape {flux.shape}, expected (N, {N_PIXELS})")
        norm = np.sqrt((flux.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        if bad := int((~(np.isfinite(norm) & (norm > 0))).sum()):
            raise SpectrumError(
                f"{bad} of {len(flux)} spectra hold NaN or nothing but zeros. Mask these pixels "
                "by an inverse variance of 0, or leave the spectra out."
            )
        scaled = None if ivar is None else (ivar * norm**2).astype(np.float32)
        return cls((flux / norm).astype(np.float32), scaled)

    @classmethod
    def read(cls, path: Path) -> TrainingSpectra:
        """The spectra of a file, or of a folder of files of surveys.

        A file (.npz or .parquet) without a redshift holds `flux` (N, 1000), and perhaps `ivar`,
        on the rest-frame grid already; without `ivar` its spectra are noise-free. All others
        are resampled to it. Gaps are filled. Spectra of FITS files that are not usable, such as
        those of DESI's sky fibers, are left out.

        Raises
        ------
        SpectrumError
            If the file is missing or damaged, or its spectra are unusable.
        """
        path = Path(path)
        if path.is_dir():
            return cls._of_files(_files_in(path))
        if not path.exists():
            raise SpectrumError(absent(path))
        if path.name.lower().endswith(FITS_SUFFIXES):
            return cls._of_files([path])
        arrays = read_arrays(path)
        if arrays.find("redshift") is not None:
            return cls.measured(rest_frame(read_spectra(path)))
        try:
            return cls._on_grid(arrays, path)
        except SpectrumError as error:
            place = "" if str(error).startswith(str(path)) else f"{path}: "
            raise SpectrumError(f"{place}{error}") from None

    @classmethod
    def measured(cls, spectra: MeasuredSpectra) -> TrainingSpectra:
        """Measured spectra with their gaps filled."""
        return cls.of(fill_gaps(spectra).flux, spectra.ivar)

    @classmethod
    def _of_files(cls, paths: Sequence[Path]) -> TrainingSpectra:
        """The usable spectra of FITS files of surveys."""
        found = [_usable_in(path) for path in paths]
        parts = [each for spectra, _ in found for each in spectra]
        columns = (
            np.concatenate([getattr(each, name) for each in parts])
            for name in ("redshift", "flux", "ivar")
        )
        measured = cls.measured(MeasuredSpectra(np.arange(len(parts)), *columns))
        return replace(measured, n_unusable=sum(n for _, n in found))

    @classmethod
    def _on_grid(cls, arrays: Arrays, path: Path) -> TrainingSpectra:
        name = arrays.find("flux")
        flux: np.ndarray = np.asarray(arrays.values[name]) if name else np.zeros(0)
        if flux.ndim != 2 or flux.shape[1] != N_PIXELS:
            raise SpectrumError(
                f"{path}: has no redshift, so 'flux' must have shape (N, {N_PIXELS}) on the "
                f"rest-frame grid; found {flux.shape if name else 'no flux'}"
            )
        found = arrays.find("wavelength")
        if found and not _is_grid(as_numbers(str(path), f"'{found}'", arrays.values[found])):
            raise SpectrumError(
                f"{path}: has no redshift, and '{found}' is not the rest-frame grid "
                "10**(3.53 + 0.00039 i) Angstrom. Add the redshifts, or resample to that grid."
            )
        flux = as_numbers(str(path), f"'{name}'", flux)
        if "ivar" not in arrays.values:
            check_no_errors(path, arrays.names)
            return cls.of(flux)
        ivar = as_numbers(str(path), "'ivar'", arrays.values["ivar"])
        if ivar.shape != flux.shape or not (np.isfinite(ivar) & (ivar >= 0)).all():
            raise SpectrumError(
                f"{path}: 'ivar' must have the shape of flux, {flux.shape}, and be at least 0"
            )
        if not (empty := (ivar > 0).any(axis=1)).all():
            row = int(np.flatnonzero(~empty)[0])
            raise SpectrumError(
                f"{path}, row {row}: every pixel is masked (ivar 0). Leave the spectrum out."
            )
        ids = np.arange(len(flux))
        flux = np.where(ivar > 0, flux, 0.0)
        return cls.measured(MeasuredSpectra(ids, np.zeros(len(ids)), flux, ivar))

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.flux).tobytes())
        if self.ivar is not None:
            digest.update(np.ascontiguousarray(self.ivar).tobytes())
        return digest.hexdigest()


def check_no_errors(path: Path, names: Iterable[str]) -> None:
    """Refuse columns that seem to hold errors in a form that is not read: they would be ignored.

    Raises
    ------
    SpectrumError
        Names the column, and the one that is expected.
    """
    others = {"ivar", *NAMES["ivar"], "std", "noise", "sigma", "fluxerr", "flux_err", "variance"}
    if found := [name for name in names if name.lower() in others]:
        raise SpectrumError(
            f"{path}: '{found[0]}' is not read on the rest-frame grid. Give 'ivar', the inverse "
            "variance of flux, 0 where masked."
        )


def _is_grid(wavelength: np.ndarray) -> bool:
    grid = wavelengths()
    return wavelength.shape[-1:] == grid.shape and np.allclose(wavelength, grid, rtol=1e-5)


def _files_in(folder: Path) -> list[Path]:
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(FITS_SUFFIXES)
        and not path.name.startswith((".", *REDROCK_FILES))
    )
    if not paths:
        raise SpectrumError(
            f"{folder}: no .fits file in this folder; expected spectra of SDSS or DESI."
        )
    return paths


def _usable_in(path: Path) -> tuple[list[MeasuredSpectra], int]:
    """The spectra of a file at rest, and the number of others that are not usable.

    Raises
    ------
    SpectrumError
        If none is usable, or the file is damaged.
    """
    usable: list[MeasuredSpectra] = []
    errors: list[SpectrumError] = []
    for spectrum in try_spectra(path):
        try:
            if isinstance(spectrum, SpectrumError):
                raise spectrum
            usable.append(rest_frame([spectrum]))
        except UnusableSpectrum as error:
            errors.append(error)
        except SpectrumError as error:
            if isinstance(spectrum, SpectrumError):  # of the file
                raise
            errors.append(error)
    if not usable and errors:
        raise errors[0]
    return usable, len(errors)
