"""Small files in the layouts of surveys, after their data models; all values are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from targetsel.spectra.rest_frame import Basis

UNIT = "10**-17 erg/(s cm2 Angstrom)"
NOISE_UNIT = "10**+34 (s2 cm4 Angstrom2) / erg2"
ARMS = {"B": (3600.0, 5800.0), "R": (5760.0, 7620.0), "Z": (7520.0, 9824.0)}
STEP = 0.8


def galaxy(wavelength: np.ndarray, redshift: float = 0.1) -> np.ndarray:
    """A galaxy's flux at wavelengths [Angstrom] in the observed frame."""
    grid = 10 ** (3.53 + 0.00039 * np.arange(1000)) * (1 + redshift)
    return 10 * np.interp(wavelength, grid, Basis.shipped().mean) / Basis.shipped().mean.mean()


def write_desi(
    path: Path,
    targets: list[int],
    exposures: bool = False,
    arms: str = "BRZ",
    fibermap: dict | None = None,
    change: dict | None = None,
    units: dict | None = None,
    drop: tuple[str, ...] = (),
) -> Path:
    """A coadd, or with `exposures` a file of them, in desispec's layout.

    Rows of `targets` have the flux of `galaxy`, times 1, 2, ..., and inverse variance 4.
    `change` has images to put in place of those of the HDUs it names, `fibermap` columns.
    """
    n = len(targets)
    columns = {
        "TARGETID": np.array(targets, np.int64),
        "OBJTYPE": np.array(["TGT"] * n),
        "TARGET_RA": 150.0 + np.arange(n),
        "TARGET_DEC": 2.0 + np.arange(n),
        ("FIBERSTATUS" if exposures else "COADD_FIBERSTATUS"): np.zeros(n, np.int32),
    }
    if exposures:
        columns |= {"EXPID": np.arange(n, dtype=np.int32), "NIGHT": np.full(n, 20210419)}
    columns |= fibermap or {}
    table = Table({k: v for k, v in columns.items() if v is not None})
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(table, name="FIBERMAP")]
    for arm in arms:
        low, high = ARMS[arm]
        wavelength = low + STEP * np.arange(round((high - low) / STEP) + 1)
        flux = np.outer(1 + np.arange(n), galaxy(wavelength)).astype(np.float32)
        parts = {
            "WAVELENGTH": (wavelength, "Angstrom"),
            "FLUX": (flux, UNIT),
            "IVAR": (np.full_like(flux, 4.0), NOISE_UNIT),
            "MASK": (np.zeros(flux.shape, np.int32), ""),
            "RESOLUTION": (np.ones((n, 3, len(wavelength)), np.float32), ""),
        }
        for part, (values, unit) in parts.items():
            name = f"{arm}_{part}"
            if name in drop:
                continue
            hdu = fits.ImageHDU((change or {}).get(name, values), name=name)
            if unit := (units or {}).get(name, unit):
                hdu.header["BUNIT"] = unit
            hdus.append(hdu)
    fits.HDUList([hdu for hdu in hdus if hdu.name not in drop]).writeto(path, overwrite=True)
    return path


def write_redrock(path: Path, targets, redshifts, warnings=None, name: str = "REDSHIFTS") -> Path:
    """Redshifts in the layout of redrock; they are stated, not fitted."""
    n = len(targets)
    table = Table(
        {
            "TARGETID": np.array(targets, np.int64),
            "CHI2": np.ones(n),
            "COEFF": np.zeros((n, 10)),
            "Z": np.array(redshifts, np.float64),
            "ZERR": np.full(n, 1e-5),
            "ZWARN": np.zeros(n, np.int64) if warnings is None else np.array(warnings, np.int64),
            "SPECTYPE": np.array(["GALAXY"] * n),
        }
    )
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table, name=name)]).writeto(path)
    return path


def write_spspec(path: Path, header: dict | None = None, n_rows: int = 5, **rows) -> Path:
    """A spectrum of SDSS DR7 in the layout `spSpec`."""
    loglam = 3.58 + 1e-4 * np.arange(3846)
    flux = galaxy(10**loglam)
    values = [flux, 0 * flux, np.full_like(flux, 0.5), 0 * flux, 0 * flux, flux, flux][:n_rows]
    for k, name in enumerate(("flux", "continuum", "error", "mask")[:n_rows]):
        values[k] = rows.get(name, values[k])
    hdu = fits.PrimaryHDU(np.array(values, np.float32))
    about = {
        "COEFF0": 3.58, "COEFF1": 1e-4, "DC-FLAG": 1, "VACUUM": 1, "TELESCOP": "SDSS 2.5-M",
        "BUNIT": "1.0E-17 erg/cm/s/Ang", "PLATEID": 266, "MJD": 51602, "FIBERID": 13,
        "RAOBJ": 146.9341, "DECOBJ": -0.67, "Z": 0.1, "Z_STATUS": 4, "Z_WARNIN": 0,
    }  # fmt: skip
    for key, value in (about | (header or {})).items():
        if value is not None:
            hdu.header[key] = value
    hdu.writeto(path, overwrite=True)
    return path


def write_manga(path: Path, kind: str = "cube", n: int = 4, header: dict | None = None) -> Path:
    """A LOGCUBE of n x n spaxels, or with `kind` "rss" n rows, in MaNGA's layout.

    The flux of spaxel or row k is that of `galaxy`, times k + 1.
    """
    loglam = 3.5589 + 1e-4 * np.arange(4563)
    bright = 1.0 + np.arange(n * n if kind == "cube" else n)
    flux = np.outer(bright, galaxy(10**loglam))
    if kind == "cube":
        flux = np.moveaxis(flux.reshape(n, n, -1), -1, 0)
    primary = fits.PrimaryHDU()
    about = {"TELESCOP": "SDSS 2.5-M", "PLATEIFU": "8485-1901", "MANGAID": "1-209232",
             "OBJRA": 232.5447, "OBJDEC": 48.6902}  # fmt: skip
    primary.header.update(about | (header or {}))
    hdus = [primary]
    axis = 3 if kind == "cube" else 1
    for name, values in (
        ("FLUX", flux.astype(np.float32)),
        ("IVAR", np.full(flux.shape, 4.0, np.float32)),
        ("MASK", np.zeros(flux.shape, np.int32)),
    ):
        hdu = fits.ImageHDU(values, name=name)
        hdu.header["INSTRUME"] = "MaNGA"
        hdu.header["BUNIT"] = "1E-17 erg/s/cm^2/Ang/spaxel"
        wcs = {"CTYPE": "WAVE-LOG", "CRPIX": 1.0, "CRVAL": 10**3.5589, "CUNIT": "Angstrom",
               "CDELT": 10**3.5589 * 1e-4 * np.log(10)}  # fmt: skip
        hdu.header.update({f"{key}{axis}": value for key, value in wcs.items()})
        if kind == "cube":
            for k, ctype in ((1, "RA---TAN"), (2, "DEC--TAN")):
                sky = {"CTYPE": ctype, "CRPIX": 2.0, "CRVAL": 48.0, "CDELT": 1e-4, "CUNIT": "deg"}
                hdu.header.update({f"{key}{k}": value for key, value in sky.items()})
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path
