"""Mock spectra with the noise of a spectrograph like that of SDSS."""

from __future__ import annotations

import numpy as np

from targetsel.spectra.grid import wavelengths

# Noise against observed wavelength [Angstrom], 1 at its best: blue and red ends, and the airglow
# beyond 7200. Set by hand. A real spectrograph ends near 3800 and 9200; this one has no ends.
_WAVELENGTH = np.array([3450, 3800, 4200, 5000, 6000, 7100, 7600, 8200, 8800, 9400, 10700.0])
_NOISE = np.array([4.0, 2.5, 1.7, 1.2, 1.0, 1.0, 1.2, 1.4, 1.7, 2.2, 3.5])
SNR_LIMITS = (4.0, 60.0)
SNR_SCATTER = 0.10  # dex


def signal_to_noise(r_magnitude: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Median signal to noise of a pixel, shape (N,): 10 at r = 17.7, falling with the magnitude."""
    snr = 10 ** (1.0 - 0.3 * (r_magnitude - 17.7) + SNR_SCATTER * normals)
    return np.clip(snr, *SNR_LIMITS)


def measure_spectra(
    flux: np.ndarray, redshift: np.ndarray, snr: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra as observed, and their inverse variance, each (N, 1000), float32.

    Parameters
    ----------
    flux : ndarray, shape (N, 1000)
        Noise-free, on `spectra.grid`.
    redshift, snr : ndarray, shape (N,)
    noise : ndarray, shape (N, 1000)
        Independent standard normals.
    """
    observed = wavelengths() * (1 + redshift[:, None])
    shape = np.interp(observed, _WAVELENGTH, _NOISE)
    # With the median of signal over noise at `snr`.
    unit = np.median(flux / shape, axis=1) / snr
    sigma = unit[:, None] * shape
    return (flux + sigma * noise).astype(np.float32), (1 / sigma**2).astype(np.float32)
