"""Redrock, DESI's redshift fitter: the table that ``rrdesi --priors`` reads.

It adds to each chi2 what one function says of the redshift: a Gaussian or a Lorentzian of centre Z
and width SIGMA, or nothing within SIGMA / 2 of Z and infinity elsewhere. The function in the first
row serves all rows, so that sources without a redshift have a very broad one of the same kind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from targetsel.priors.fitter import BROAD, GAUSSIAN, Fitter, KnownRedshifts
from targetsel.version import __version__

NAMES = {GAUSSIAN: GAUSSIAN, "lorentzian": "lorentzien", "tophat": "tophat"}  # as Redrock spells
LEAST_WIDTH = 0.01  # of a top hat, some ten steps of Redrock's grids of redshifts


def write(redshifts: KnownRedshifts, function: str, path: Path) -> None:
    """Write the extension PRIORS, a row for each source."""
    centre, width = redshifts.redshift, redshifts.error
    if function == "tophat":
        centre = np.where(redshifts.known, (redshifts.low + redshifts.high) / 2, BROAD[0])
        width = np.where(redshifts.known, redshifts.high - redshifts.low, BROAD[1])
        width = np.maximum(width, LEAST_WIDTH)
    name = NAMES[function]
    columns = [
        fits.Column("TARGETID", "K", array=redshifts.source_id),
        fits.Column("FUNCTION", f"{len(name)}A", array=np.full(len(centre), name)),
        fits.Column("Z", "D", array=centre),
        fits.Column("SIGMA", "D", array=width),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="PRIORS")
    table.header["ORIGIN"] = f"targetsel {__version__}"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, output_verify="exception")


FITTER = Fitter(
    "redrock",
    "doc/priors.rst and py/redrock/priors.py of desihub/redrock 0.21",
    "Redrock 0.21 reads the file and evaluates it; no spectra were fitted.",
    ".fits",
    write,
    tuple(NAMES),
    whole_numbers=True,
)
