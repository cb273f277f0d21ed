"""Predicted and measured spectra as a page of inspection carries them: few pixels, small numbers.

Both are in the rest frame, on every second edge of the decoder's grid.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord

from targetsel.errors import SpectrumError, counted
from targetsel.networks.posterior import LatentPosterior
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.grid import edges, edges_between
from targetsel.spectra.reading import try_spectra
from targetsel.spectra.rest_frame import resample
from targetsel.spectra.spectrum import ObservedSpectrum

EDGES = edges()[::2]
WAVELENGTH = np.sqrt(EDGES[1:] * EDGES[:-1])  # [Angstrom]
N_DRAWS = 64
LEVELS = 65534  # of a value between the ends of its range; one more stands for no value
MISSING = 65535
NEAR = 1.0  # [arcsec] farthest position of a measured spectrum from its source
SAME = 5.0  # [arcsec] beyond it, one id in two files is of two sources


def predicted(posterior: LatentPosterior, decoder: Decoder) -> np.ndarray:
    """16th percentile, median and 84th of the flux, shape (N, 3, L); each median's median is 1."""
    flux = decoder.decode(posterior.draw(N_DRAWS), posterior.source_id).flux
    whole = flux.reshape(*flux.shape[:2], -1, 2).mean(axis=-1)
    found = np.moveaxis(np.quantile(whole, (0.16, 0.5, 0.84), axis=1), 0, 1)
    level = np.median(found[:, 1], axis=1)
    scaled: np.ndarray = found / np.where(level > 0, level, 1.0)[:, None, None]
    return scaled


def packed(values: np.ndarray) -> dict[str, Any]:
    """Numbers as base64 of unsigned 16-bit integers, little-endian, between two ends."""
    known = np.isfinite(values)
    low = float(values[known].min()) if known.any() else 0.0
    high = float(values[known].max()) if known.any() else 1.0
    width = high - low or 1.0
    levels = np.where(
        known, np.round((np.where(known, values, low) - low) / width * LEVELS), MISSING
    )
    text = base64.b64encode(levels.astype("<u2").tobytes()).decode("ascii")
    return {"low": float(f"{low:.6g}"), "high": float(f"{low + width:.6g}"), "values": text}


@dataclass(frozen=True)
class MeasuredFlux:
    """One measured spectrum on the page's pixels.

    Attributes
    ----------
    flux : ndarray, shape (L,)
        Rest frame, NaN where masked; in any unit.
    redshift : float
    place : str
        Where it is from.
    """

    flux: np.ndarray
    redshift: float
    place: str

    def beside(self, median: np.ndarray | None) -> dict[str, Any]:
        """Its packed flux, scaled to a predicted one by least squares, or else to a median of 1."""
        known = np.isfinite(self.flux)
        if median is not None and (self.flux[known] ** 2).sum() > 0:
            scale = (self.flux[known] * median[known]).sum() / (self.flux[known] ** 2).sum()
        else:
            level = np.median(self.flux[known]) if known.any() else 0.0
            scale = 1 / level if level > 0 else 1.0
        scale = scale if scale > 0 else 1.0
        return {**packed(self.flux * scale), "z": round(self.redshift, 6), "from": self.place}


def measured(
    paths: Iterable[Path], ids: np.ndarray, ra: np.ndarray, dec: np.ndarray
) -> tuple[dict[str, MeasuredFlux], str]:
    """The measured spectra of N sources by id, the first of each, and what to say of the others.

    A spectrum belongs to the source of its id, or else to the nearest within `NEAR`.

    Raises
    ------
    SpectrumError
        If a file cannot be read, or no spectrum is of any of the sources.
    """
    rows = {str(each): row for row, each in enumerate(ids)}
    sky = SkyCoord(ra, dec, unit="deg") if len(ids) and np.isfinite(ra + dec).all() else None
    found: dict[str, MeasuredFlux] = {}
    n, first_error, names = 0, "", []
    for path in paths:
        names.append(str(path))
        for spectrum in try_spectra(path):
            n += 1
            if isinstance(spectrum, SpectrumError):
                first_error = first_error or str(spectrum)
                continue
            row = _row_of(spectrum, rows, sky)
            if row is None or str(ids[row]) in found:
                continue
            try:
                found[str(ids[row])] = _on_page(spectrum)
            except SpectrumError as error:
                first_error = first_error or str(error)
    if not found:
        raise SpectrumError(
            first_error
            or f"{', '.join(names)}: none of its {counted(n, 'spectrum', 'spectra')} is of a "
            f"source of the list, by id or within {NEAR:g} arcsec. Give the files of these sources."
        )
    said = (
        f"{counted(len(found), 'source')} with a measured spectrum, of {n:,} in {', '.join(names)}"
    )
    return (
        found,
        f"{said}; the first that could not be used: {first_error}" if first_error else said,
    )


def _row_of(spectrum: ObservedSpectrum, rows: dict[str, int], sky: SkyCoord | None) -> int | None:
    here = None
    if sky is not None and np.isfinite(spectrum.position).all():
        here = SkyCoord(*spectrum.position, unit="deg").separation(sky).arcsec
    for name in (spectrum.source_id, *spectrum.other_names):
        row = rows.get(str(name))
        if row is not None and (here is None or here[row] <= SAME):
            return row
    if here is None:
        return None
    nearest = int(np.argmin(here))
    return nearest if here[nearest] <= NEAR else None


def _on_page(spectrum: ObservedSpectrum) -> MeasuredFlux:
    wavelength, flux, ivar = spectrum.at_rest()
    flux, ivar = resample(edges_between(wavelength), flux, ivar, EDGES)
    if not (ivar > 0).any():
        raise SpectrumError(
            f"{spectrum.place}: no pixel of it lies at {EDGES[0]:.0f} to {EDGES[-1]:.0f} Angstrom "
            "in the rest frame, which the page shows. Leave it out."
        )
    return MeasuredFlux(
        np.where(ivar > 0, flux, np.nan), spectrum.redshift, Path(spectrum.place).name
    )
