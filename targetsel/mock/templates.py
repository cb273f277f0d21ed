"""Stellar templates without emission lines, on the mock sky's wavelength grid.

They are the five templates of the package `kcorrect` (Blanton & Roweis 2007, AJ 133, 734;
BSD-3-Clause), which describe star-formation histories with nebular lines. The lines are
cut out here, and the result ships as an array.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from targetsel.spectra.grid import edges, wavelengths

# The grid reaches beyond the decoder's 1000 pixels, so that the bands g to y see all of a galaxy
# at 0.01 < redshift < 0.3.
FIRST, LAST = -170, 1320
WAVELENGTH = wavelengths(FIRST, LAST)
EDGES = edges(FIRST, LAST)
DECODER_PIXELS = slice(-FIRST, -FIRST + 1000)

OLD = 3  # which of the five is the old, dust-free population without lines
POST_BURST = 4  # A stars: Balmer absorption without emission

# Balmer absorption of the templates with lines, as a share of the post-burst template's. Their own
# is hidden under the emission, so this is set by hand: old and young stars dilute the A stars.
BALMER_SHARE = {0: 0.4, 1: 0.4, 2: 0.7}
# The old population's Halpha alone is filled up. With this share, spectra absorb 1.2 Angstrom
# there, as those of quiescent SDSS galaxies do.
OLD_HALPHA_SHARE = 0.55

_BALMER = (4102.90, 4341.69, 4862.69, 6564.61)
_HALPHA = (6549.86, 6564.61, 6585.27)
_GROUPS = (
    (3728.5,), (3869.86,), (4102.90,), (4341.69,), (4862.69,), (4960.3, 5008.24),
    (6302.0, 6313.8), _HALPHA, (6680.0, 6718.29, 6732.68), (7137.8,),
    (7321.0, 7332.0), (7753.2,),
    (9071.1,),
    (9533.2,),
)  # fmt: skip


def read_templates(kcorrect: Path) -> np.ndarray:
    """The templates with their nebular lines, from kcorrect's data folder, shape (5, L).

    On `WAVELENGTH`, with a mean of 1 at 5500-5800 Angstrom.
    """
    from astropy.io import fits

    with fits.open(kcorrect / "templates" / "kcorrect-default-v4.fits") as hdus:
        table = hdus[1].data
        wave = table["wave"][0].astype(float)
        flux = table["flux"][0].astype(float).reshape(-1, len(wave))
    base = np.array([np.interp(WAVELENGTH, wave, row) for row in flux])
    level = base[:, (WAVELENGTH > 5500) & (WAVELENGTH < 5800)].mean(axis=1)
    return base / level[:, None]


def stellar_templates(templates: np.ndarray) -> np.ndarray:
    """The same templates without lines, shape (5, L)."""
    base = templates.copy()
    absorption = base[POST_BURST] / running_median(base[POST_BURST], 61) - 1.0
    for k, share in BALMER_SHARE.items():
        base[k] = _without_lines(base[k], share, absorption, _GROUPS)
    base[OLD] = _without_lines(base[OLD], OLD_HALPHA_SHARE, absorption, (_HALPHA,))
    return base


def _without_lines(
    row: np.ndarray, share: float, absorption: np.ndarray, groups: tuple[tuple[float, ...], ...]
) -> np.ndarray:
    """One template with some groups of emission lines cut out.

    Under each group of lines the template becomes a parabola through both sides; the Balmer
    lines' absorption hides there, so `share` of the post-burst template's `absorption` is put in.
    """
    clean = row.copy()
    every_line = np.concatenate(_GROUPS)
    clear = np.abs(WAVELENGTH[:, None] - every_line).min(axis=1) >= 28
    for group in groups:
        distance = np.abs(WAVELENGTH[:, None] - np.array(group)).min(axis=1)
        under, beside = distance < 28, clear & (distance < 90)
        parabola = np.polynomial.Polynomial.fit(WAVELENGTH[beside], row[beside], 2)
        clean[under] = parabola(WAVELENGTH[under])
        if set(group) & set(_BALMER):
            clean[under] *= 1.0 + share * absorption[under]
    return np.maximum(clean, 0.0)


def running_median(values: np.ndarray, width: int) -> np.ndarray:
    """Median over `width` pixels around each, the ends being continued flat."""
    padded = np.pad(values, width // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
