import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from targetsel.spectra.rest_frame import Basis
from tests.real_data import real


@pytest.fixture
def real_spectra():
    """Paths of the ten real SDSS spectra."""
    paths = sorted(real("sdss_spectra").glob("*.fits"))
    assert len(paths) == 10
    return paths


@pytest.fixture
def galaxies():
    """A function: N spectra on the grid, of unit sum of squares, within the shipped basis."""

    def draw(n, seed=0):
        basis, rng = Basis.shipped(), np.random.default_rng(seed)
        weights = rng.uniform(-0.015, 0.015, (n, 3))
        flux = basis.mean + weights @ basis.components[1:4]
        # So much of the first component that the sum of squares is 1.
        half = flux @ basis.components[0]
        missing = 1 - (flux**2).sum(axis=1)
        first = -half + rng.choice([-1, 1], n) * np.sqrt(half**2 + missing)
        return flux + first[:, None] * basis.components[0]

    return draw


@pytest.fixture
def write_sdss(tmp_path):
    """A function that writes a spec file of a galaxy, with what differs from a good one."""

    def write(name="spec.fits", header=(), redshift=0.1, unit="1E-17 erg/cm^2/s/Ang", **columns):
        basis = Basis.shipped()
        loglam = np.arange(3.58, 3.9645, 1e-4)
        grid = 3.53 + 0.00039 * np.arange(1000) + np.log10(1.1)
        flux = 300 * np.interp(loglam, grid, basis.mean)
        values = {"flux": flux, "loglam": loglam, "ivar": np.full_like(flux, 9.0)} | columns
        primary = fits.PrimaryHDU()
        primary.header["VACUUM"] = True
        primary.header["BUNIT"] = unit
        primary.header.update(dict(header))
        coadd = fits.BinTableHDU(Table({k: v for k, v in values.items() if v is not None}))
        coadd.name = "COADD"
        hdus = [primary, coadd]
        if redshift is not None:
            hdus.append(fits.BinTableHDU(Table({"Z": [np.float32(redshift)]}), name="SPECOBJ"))
        path = tmp_path / name
        fits.HDUList(hdus).writeto(path)
        return path

    return write
