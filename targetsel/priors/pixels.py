"""The pixels of a measured spectrum as an update looks at them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import LOG_START, LOG_STEP, N_PIXELS
from targetsel.spectra.spectrum import ObservedSpectrum

FEWEST = 50


@dataclass(frozen=True)
class Pixels:
    """Unmasked pixels, as broad as the decoder's or broader.

    Attributes
    ----------
    place : str
        Where the spectrum came from, for messages.
    log_wavelength : ndarray, shape (L,)
        log10 of the observed-frame vacuum wavelength [Angstrom].
    flux, ivar : ndarray, shape (L,)
        Flux density per unit wavelength in units of its own weighted mean modulus, and its
        inverse variance.
    unit : float
        That mean, in the unit of the spectrum.
    """

    place: str
    log_wavelength: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    unit: float

    @classmethod
    def of(cls, spectrum: ObservedSpectrum, redshift_range: tuple[float, float]) -> Pixels:
        """Those pixels of a spectrum that the decoder reaches at every redshift of a range.

        Evidence at different redshifts can only be compared where it speaks of the same pixels.
        Narrow pixels are put together, as many as come closest to a pixel of the decoder, weighted
        by their inverse variance.

        Raises
        ------
        SpectrumError
            If fewer than 50 are left.
        """
        place, flux, ivar = _together(spectrum)
        low, high = np.log10(1 + np.array(redshift_range))
        first, last = LOG_START + high, LOG_START + LOG_STEP * (N_PIXELS - 1) + low
        used = (ivar > 0) & (place > first + LOG_STEP) & (place < last - LOG_STEP)
        if used.sum() < FEWEST:
            raise SpectrumError(
                f"{spectrum.place}: {int(used.sum())} pixels lie within the decoder's range at "
                f"every redshift from {redshift_range[0]:.4g} to {redshift_range[1]:.4g} "
                f"({10**first:.0f} to {10**last:.0f} Angstrom), expected at least {FEWEST}. "
                "Narrow the range of redshifts."
            )
        place, flux, ivar = place[used], flux[used], ivar[used]
        unit = float((ivar * flux).sum() / ivar.sum())
        if not unit > 0:
            raise SpectrumError(
                f"{spectrum.place}: its weighted mean flux is {unit:.3g}, expected more than 0: "
                "sky subtraction?"
            )
        return cls(spectrum.place, place, flux / unit, ivar * unit**2, unit)


def _together(spectrum: ObservedSpectrum) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log10 wavelength, flux and inverse variance, narrow pixels put together."""
    place = np.log10(spectrum.wavelength)
    step = np.median(np.diff(place))
    each = max(1, int(np.floor(LOG_STEP / step + 0.5)))
    n = len(place) // each
    weight = spectrum.ivar[: n * each].reshape(n, each)
    total = weight.sum(axis=1)
    divisor = np.where(total > 0, total, 1.0)
    flux = np.where(weight > 0, spectrum.flux[: n * each].reshape(n, each), 0.0)

    def mean(values: np.ndarray) -> np.ndarray:
        return (weight * values).sum(axis=1) / divisor

    return mean(place[: n * each].reshape(n, each)), mean(flux), total
