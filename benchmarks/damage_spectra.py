"""Files of spectra in the layouts of DESI and SDSS's first releases, for `damage.py`; made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def make_desi(base: Path, folder: Path) -> list[Path]:
    """A coadd of two targets, and redrock's file beside it."""
    from astropy.io import fits
    from astropy.table import Table

    ids = np.array([39633297352951412, 39633300968442591])
    fibers = Table({"TARGETID": ids, "OBJTYPE": ["TGT", "TGT"], "COADD_FIBERSTATUS": [0, 0]})
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(fibers, name="FIBERMAP")]
    for arm, first in (("B", 3600.0), ("R", 5760.0)):
        wavelength = first + 0.8 * np.arange(2751)
        flux = np.ones((2, 2751), np.float32)
        parts = {"WAVELENGTH": wavelength, "FLUX": flux, "IVAR": flux, "MASK": np.int32(0 * flux)}
        hdus += [fits.ImageHDU(values, name=f"{arm}_{name}") for name, values in parts.items()]
    fits.HDUList(hdus).writeto(folder / "coadd-d.fits")
    redshifts = Table({"TARGETID": ids, "Z": [0.1, 0.2], "ZWARN": [0, 0]})
    table = fits.BinTableHDU(redshifts, name="REDSHIFTS")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "redrock-d.fits")
    return [folder / "coadd-d.fits", folder / "redrock-d.fits"]


def make_spspec(base: Path, folder: Path) -> list[Path]:
    """A spectrum in the layout spSpec."""
    from astropy.io import fits

    rows = np.ones((5, 3846), np.float32)
    rows[3:] = 0
    unit = fits.PrimaryHDU(rows)
    unit.header.update(
        {"COEFF0": 3.58, "COEFF1": 1e-4, "PLATEID": 266, "MJD": 51602, "FIBERID": 13, "Z": 0.1,
         "Z_STATUS": 4, "BUNIT": "1.0E-17 erg/cm/s/Ang"}
    )  # fmt: skip
    unit.writeto(folder / "s.fit")
    return [folder / "s.fit"]
