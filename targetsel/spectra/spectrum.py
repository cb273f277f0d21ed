"""Spectra: decoded ones, and measured ones in the observed frame and in the rest frame."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units

from targetsel.documents.brief import brief
from targetsel.errors import SpectrumError
from targetsel.spectra.grid import check_increasing, wavelengths

FLUX_RANGE = (1e-150, 1e150)  # outside it, squares overflow or underflow double precision
OPTICAL = (1000.0, 60_000.0)  # [Angstrom] outside it, a wavelength is in some other unit
# No instrument is calibrated better than this [variance, in units where a spectrum's sum of squares
# is 1]: 2.2 % of the root mean square pixel; Portillo et al. (2020, AJ 160, 45).
ERROR_FLOOR = 1 / 2e6
REDSHIFTS = (-0.05, 20.0)  # from below any peculiar velocity's to beyond any known galaxy's
FAINTEST = 1e-6  # signal to noise of the best pixel, below which fluxes and errors differ in unit


@brief
@dataclass(frozen=True)
class Spectra:
    """Rest-frame spectra.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    flux : ndarray, shape (N, S, L)
        Flux density per unit wavelength, in units of its own quadratic mean (a spectrum's sum of
        squares is one), so shape only.
    wavelength : ndarray, shape (L,)
        Rest-frame vacuum wavelength [Angstrom].
    """

    source_id: np.ndarray
    flux: np.ndarray
    wavelength: np.ndarray


@dataclass(frozen=True)
class ObservedSpectrum:
    """One observed spectrum. Its values are checked when it is created.

    Attributes
    ----------
    place : str
        Origin of the spectrum, for messages: a file, or a file and row.
    source_id : int or str
    wavelength : ndarray, shape (L,)
        Observed-frame vacuum wavelength [Angstrom], increasing.
    flux : ndarray, shape (L,)
        Flux density per unit wavelength, in any unit.
    ivar : ndarray, shape (L,)
        Inverse variance of `flux`; 0 where masked.
    redshift : float
    position : tuple of two floats
        ra, dec [deg, ICRS]; NaN where they are not known.
    aperture : float or None
        Diameter of the fiber [arcsec], if the file says which survey it is of.
    other_names : tuple of int or str
        Other ids of the spectrum, and the name of its file.
    redshift_from : Path or None
        Table that the redshift was joined from.
    """

    place: str
    source_id: int | str
    wavelength: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    redshift: float
    position: tuple[float, float] = (np.nan, np.nan)
    aperture: float | None = None
    other_names: tuple[int | str, ...] = ()
    redshift_from: Path | None = None

    def __post_init__(self) -> None:
        _check_wavelength(self.place, self.wavelength)
        for name in ("flux", "ivar"):
            if (found := getattr(self, name).shape) != self.wavelength.shape:
                raise SpectrumError(
                    f"{self.place}: {name} has shape {found}, but wavelength has shape "
                    f"{self.wavelength.shape}; expected one value for each wavelength"
                )
        _check_flux(self.place, self.wavelength, self.flux, self.ivar)
        if not np.isfinite(self.redshift):
            raise SpectrumError(
                f"{self.place}: redshift is {self.redshift}, expected a number. Give --redshift."
            )

    @property
    def mask(self) -> np.ndarray:
        """True where a pixel is masked, shape (L,)."""
        return self.ivar == 0

    def at_rest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wavelength, flux and inverse variance in the rest frame, which conserves the flux.

        Raises
        ------
        SpectrumError
            If the redshift is none that a galaxy has.
        """
        low, high = REDSHIFTS
        if not low < self.redshift <= high:
            raise SpectrumError(
                f"{self.place}: redshift is {self.redshift:.6g}, expected {low} to {high:g}. Give "
                "--redshift, or leave the spectrum out."
            )
        stretch = 1 + self.redshift
        return self.wavelength / stretch, self.flux * stretch, self.ivar / stretch**2


class UnusableSpectrum(SpectrumError):
    """A spectrum of a file that cannot be used, and what is known of it.

    Attributes
    ----------
    source_id : int or str
    position : tuple of two floats
        ra, dec [deg, ICRS]; NaN where they are not known.
    redshift_from : Path or None
        Table that has its redshift.
    """

    def __init__(
        self,
        message: str,
        source_id: int | str,
        position: tuple[float, float] = (np.nan, np.nan),
        redshift_from: Path | None = None,
    ) -> None:
        super().__init__(message)
        self.source_id, self.position = source_id, position
        self.redshift_from = redshift_from


@dataclass(frozen=True)
class MeasuredSpectra:
    """Spectra in the rest frame on the grid of `spectra.grid`.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    redshift : ndarray, shape (N,)
    flux : ndarray, shape (N, 1000)
        Flux density per unit wavelength; 0 where masked, until gaps are filled.
    ivar : ndarray, shape (N, 1000)
        Inverse variance of each pixel; 0 where masked, also after gaps are filled.
        Resampling correlates neighbouring pixels, which is ignored.
    """

    source_id: np.ndarray
    redshift: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray

    @property
    def wavelength(self) -> np.ndarray:
        """Rest-frame vacuum wavelength [Angstrom], shape (1000,)."""
        return wavelengths()

    @property
    def mask(self) -> np.ndarray:
        """True where a pixel is masked, shape (N, 1000)."""
        return self.ivar == 0

    def __len__(self) -> int:
        return len(self.flux)


def _check_wavelength(place: str, wavelength: np.ndarray) -> None:
    check_increasing(wavelength, place)
    if wavelength[0] < OPTICAL[0] or wavelength[-1] > OPTICAL[1]:
        raise SpectrumError(
            f"{place}: wavelengths run from {wavelength[0]:.6g} to {wavelength[-1]:.6g}, "
            f"expected Angstrom in vacuum{_unit_hint(wavelength)}"
        )


def _unit_hint(wavelength: np.ndarray) -> str:
    middle = float(np.median(wavelength))
    if 3.0 <= middle <= 4.7 and wavelength[-1] - wavelength[0] < 1:
        return ". These look like log10 of Angstrom; name the column 'loglam'."
    for low, high, unit in ((0.1, 6.0, "micrometre"), (100.0, 6000.0, "nanometre")):
        if low <= middle <= high:
            return f". These look like {unit}; convert them."
    return "."


def _check_flux(place: str, wavelength: np.ndarray, flux: np.ndarray, ivar: np.ndarray) -> None:
    bad = ~(np.isfinite(ivar) & (ivar >= 0))
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise SpectrumError(
            f"{place}: inverse variance is {ivar[k]:.6g} at {wavelength[k]:.1f} Angstrom, "
            "expected a number of at least 0. Set it to 0 where a pixel is masked."
        )
    if not (ivar > 0).any():
        raise SpectrumError(
            f"{place}: every pixel is masked (all {len(ivar)} have ivar 0; expected some above 0)"
        )
    bad = ~np.isfinite(flux) & (ivar > 0)
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise SpectrumError(
            f"{place}: flux is {flux[k]} in {int(bad.sum())} unmasked pixels, the first at "
            f"{wavelength[k]:.1f} Angstrom. Set their inverse variance to 0."
        )
    largest = np.abs(flux[ivar > 0]).max()
    if largest == 0:
        raise SpectrumError(
            f"{place}: flux is 0 in every unmasked pixel, so it has no shape. Leave it out."
        )
    if not FLUX_RANGE[0] < largest < FLUX_RANGE[1]:
        raise SpectrumError(
            f"{place}: flux reaches {largest:.3g}, expected between {FLUX_RANGE[0]:g} and "
            f"{FLUX_RANGE[1]:g}. Scale it; its unit does not matter."
        )
    best = float((np.abs(flux) * np.sqrt(ivar))[ivar > 0].max())
    if best < FAINTEST:
        raise SpectrumError(
            f"{place}: flux is at most {best:.2g} of its error, in the best pixel. Give both in "
            "one unit."
        )


# ---------------------------------------------------------------- numbers and units


def from_log(place: str, loglam: np.ndarray) -> np.ndarray:
    """Wavelengths [Angstrom] of their decimal logarithms.

    Raises
    ------
    SpectrumError
        If they are no such logarithms.
    """
    known = loglam[np.isfinite(loglam)]
    low, high = (float(each(known)) if known.size else np.nan for each in (np.min, np.max))
    if not (np.log10(OPTICAL[0]) <= low and high <= np.log10(OPTICAL[1])):
        hint = ""
        if OPTICAL[0] <= low and high <= OPTICAL[1]:
            hint = " These look like Angstrom; name the column 'wavelength'."
        elif np.log(OPTICAL[0]) <= low and high <= np.log(OPTICAL[1]):
            hint = " These look like natural logarithms; divide them by 2.302585."
        raise SpectrumError(
            f"{place}: 'loglam' runs from {low:.6g} to {high:.6g}, expected log10 of Angstrom in "
            f"vacuum.{hint}"
        )
    return 10**loglam


def as_numbers(place: str, name: str, values: Any) -> np.ndarray:
    """Values in double precision.

    Raises
    ------
    SpectrumError
        If they are text, complex, dates or structures.
    """
    found = np.asarray(values)
    if found.dtype.kind not in "biuf":
        raise SpectrumError(f"{place}: {name} holds {found.dtype}, expected real numbers")
    return found.astype(np.float64)


def _unit(text: str) -> units.UnitBase | None:
    """A unit as files write it, or None where it is not understood."""
    text = re.sub(r"\bAngs?\b|\bAngstroms?\b|\bA\b", "Angstrom", text.strip().strip("'\""))
    text = re.sub(r"\bergs\b", "erg", text)
    text = re.sub(r"^(1\.?0*)[Ee]([-+]?\d+)", lambda m: f"10**({m[2]})", text)
    text = re.sub(r"^10\^?([-+]\d+)", r"10**(\1)", text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of several slashes, say
        try:
            return units.Unit(text.replace("^", "**"))
        except (ValueError, TypeError):
            return None


def check_flux_unit(place: str, unit: str) -> None:
    """Check that a flux unit, where one is given, is per unit wavelength.

    Raises
    ------
    SpectrumError
        If it is per unit frequency, not calibrated, or not understood.
    """
    if not unit.strip().strip("'\""):
        return
    found = _unit(unit)
    per_wavelength = units.erg / units.s / units.cm**2 / units.AA
    if found is None or not found.is_equivalent(per_wavelength):
        raise SpectrumError(
            f"{place}: flux unit is '{unit.strip()}', expected flux density per unit wavelength "
            "such as '1e-17 erg/s/cm2/Angstrom'. Convert the flux."
        )


def flux_scale(place: str, unit: str) -> float:
    """Factor that brings a flux to 1e-17 erg/s/cm2/Angstrom; 1 where no unit is stated.

    Raises
    ------
    SpectrumError
        As `check_flux_unit`.
    """
    check_flux_unit(place, unit)
    found = _unit(unit) if unit.strip().strip("'\"") else None
    per_wavelength = units.erg / units.s / units.cm**2 / units.AA
    return 1.0 if found is None else float(found.to(per_wavelength)) / 1e-17


def noise_scale(place: str, flux: str, noise: str, name: str, has_ivar: bool) -> float:
    """Factor that brings errors, or inverse variances, to the unit of the flux.

    It is 1 where one of them has no unit.

    Raises
    ------
    SpectrumError
        If the units do not go together.
    """
    of_flux, found = _unit(flux), _unit(noise)
    if of_flux is None or not flux.strip() or not noise.strip():
        return 1.0
    expected = of_flux**-2 if has_ivar else of_flux
    if found is not None and found.is_equivalent(expected):
        return float(found.to(expected))
    other = of_flux if has_ivar else of_flux**-2
    hint = ""
    if found is not None and found.is_equivalent(other):
        hint = f" Name the column '{'error' if has_ivar else 'ivar'}' if that is what it holds."
    raise SpectrumError(
        f"{place}: '{name}' is in '{noise.strip()}', but flux is in '{flux.strip()}'; expected "
        f"{'its inverse square' if has_ivar else 'the same unit'}.{hint}"
    )


def in_angstrom(place: str, wavelength: np.ndarray, unit: str | None) -> np.ndarray:
    """Wavelengths in Angstrom, converted from the unit of their column (none: Angstrom).

    Raises
    ------
    SpectrumError
        If the unit is not a length.
    """
    if not unit:
        return wavelength
    found = _unit(unit)
    if found is None or not found.is_equivalent(units.AA):
        raise SpectrumError(
            f"{place}: wavelength unit is '{unit}', expected a length such as Angstrom or nm"
        )
    return wavelength * float(found.to(units.AA))


def in_air(place: str, because: str) -> SpectrumError:
    """The error for wavelengths in air."""
    return SpectrumError(
        f"{place}: wavelengths are in air ({because}), expected vacuum. Convert them first, with "
        "targetsel.spectra.grid.air_to_vacuum."
    )
