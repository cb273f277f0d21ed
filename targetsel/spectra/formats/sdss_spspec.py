"""The files `spSpec` of SDSS, data releases up to 7.

http://classic.sdss.org/dr7/dm/flatFiles/spSpec.html: an image whose rows are the flux, the flux
without its continuum, the standard deviation, and the mask; later releases add a row, of the OR
mask. Pixels are at equal steps of log10 of the wavelength in vacuum. The redshift is in the header.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from targetsel.errors import SpectrumError
from targetsel.spectra.arrays import ivar_of_error
from targetsel.spectra.formats.registry import OpenSpectra, SpectrumFormat
from targetsel.spectra.formats.sdss_spec import (
    SDSS_FIBER,
    check_vacuum,
    ids_of,
    number_of,
    without_bad_pixels,
)
from targetsel.spectra.redshifts import StatedRedshift, check_warning, chosen_redshift
from targetsel.spectra.spectrum import ObservedSpectrum, check_flux_unit, from_log
from targetsel.tables.reading import reading

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

N_ROWS = 4
# Z_STATUS: measured with confidence, by lines and templates that agree, or by eye. The others are
# not measured, failed, inconsistent, or of low confidence.
SURE = (3, 4, 6, 7, 9, 11, 12)
STATUS = (
    "NOT_MEASURED", "FAILED", "INCONSISTENT", "XCORR_EMLINE", "XCORR_HIC", "XCORR_LOC",
    "EMLINE_XCORR", "EMLINE_HIC", "EMLINE_LOC", "MANUAL_HIC", "MANUAL_LOC", "XCORR_4000BREAK",
    "ABSLINE_CAII",
)  # fmt: skip
# Z_WARNIN: those bits of it that doubt the redshift, and not the target's class.
DOUBTS = {0x001: "NO_SPEC", 0x002: "NO_BLUE", 0x004: "NO_RED", 0x100: "EMAB_INC",
          0x200: "AB_INC", 0x400: "EM_INC", 0x800: "HIZ", 0x1000: "LOC", 0x2000: "LOW_SNG",
          0x4000: "LOW_SNR"}  # fmt: skip


def _holds(hdus: HDUList) -> bool:
    header = hdus[0].header
    return header.get("NAXIS") == 2 and "COEFF0" in header and "COEFF1" in header


def _spectra(opened: OpenSpectra) -> Iterator[ObservedSpectrum | SpectrumError]:
    place = opened.place
    with reading(place, SpectrumError, "a FITS file"):
        header: dict[str, Any] = dict(opened.hdus[0].header)
        rows = np.asarray(opened.hdus[0].data, np.float64)
    if len(rows) < N_ROWS or len(rows) > N_ROWS + 2:
        raise SpectrumError(
            f"{place}: its image has {len(rows)} rows, expected those of an SDSS spSpec file: "
            "flux, continuum-subtracted flux, error and mask. Give the spectra one by one."
        )
    check_vacuum(place, header)
    # The unit in these files lacks a square: '1.0E-17 erg/cm/s/Ang'.
    check_flux_unit(place, str(header.get("BUNIT", "")).replace("/cm/s/Ang", "/cm^2/s/Ang"))
    flux, _, error, mask = rows[:N_ROWS]
    ivar = ivar_of_error(error)
    ivar = without_bad_pixels(place, mask, ivar)
    start, step = (number_of(place, key, header[key]) for key in ("COEFF0", "COEFF1"))
    loglam = start + step * np.arange(len(flux))
    ids = ids_of({}, header)
    names = [opened.name, *ids] if opened.options.id_from == "file" or not ids else ids
    missing = f"{place}: no redshift: there is no header entry Z. Give --redshift."
    stated = _redshift(place, header) if "Z" in header else None
    found = chosen_redshift(
        place, [*names, opened.name], opened.redshift, opened.options, stated, missing
    )
    ra, dec = (number_of(place, key, header.get(key, np.nan)) for key in ("RAOBJ", "DECOBJ"))
    yield ObservedSpectrum(
        place,
        names[0],
        from_log(place, loglam),
        flux,
        ivar,
        check_warning(place, found, opened.options),
        (ra, dec),
        aperture=SDSS_FIBER,
        other_names=(*names[1:], opened.name),
        redshift_from=found.source,
    )


def _redshift(place: str, header: dict[str, Any]) -> StatedRedshift:
    """The redshift in a header, with the doubts of the pipeline."""
    doubts = []
    status = number_of(place, "Z_STATUS", header.get("Z_STATUS", SURE[0]))
    if status not in SURE:
        known = status in range(len(STATUS))
        doubts.append(f"Z_STATUS = {status:g}" + (f" ({STATUS[int(status)]})" if known else ""))
    warning = int(number_of(place, "Z_WARNIN", header.get("Z_WARNIN", 0)))
    if said := [word for bit, word in DOUBTS.items() if warning & bit]:
        doubts.append(f"Z_WARNIN = {warning} ({', '.join(said)})")
    return StatedRedshift(number_of(place, "Z", header["Z"]), " and ".join(doubts))


FORMAT = SpectrumFormat("SDSS spSpec", _holds, _spectra)
