"""Files of surveys that specutils reads; the tests write them, after the surveys' data models."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import SpectrumError
from targetsel.spectra.formats.with_specutils import CORRELATED, SLOPE, summed
from targetsel.spectra.grid import air_to_vacuum
from targetsel.spectra.reading import read_spectra, try_spectra
from targetsel.spectra.redshifts import SpectrumOptions
from tests.spectra.survey_files import galaxy, write_manga

LOGLAM = 3.5589 + 1e-4 * np.arange(4563)


def error_of(path, redshift=0.1):
    (found,) = try_spectra(path, redshift)
    assert isinstance(found, SpectrumError)
    assert "\n" not in str(found)
    return str(found).removeprefix(str(path))


def write_6df(path, unit="erg / (s cm2 Angstrom)", quality=4, **changes):
    """A spectrum of 6dF in the layout that specutils calls tabular; real ones are in counts."""
    wavelength = np.linspace(4000.0, 7600.0, 2000)
    table = Table({"WAVE": wavelength, "FLUX": galaxy(wavelength, 0.05)} | changes)
    table["WAVE"].unit, table["FLUX"].unit = "Angstrom", unit
    primary = fits.PrimaryHDU()
    primary.header.update(
        {"OBSRA": 10.0, "OBSDEC": -30.0, "Z": 0.05, "Z_HELIO": 0.05, "QUALITY": quality}
    )
    fits.HDUList([primary, fits.BinTableHDU(table)]).writeto(path, overwrite=True)
    return path


def test_without_specutils_a_line_says_how_to_get_it(monkeypatch, tmp_path):
    path = write_manga(tmp_path / "manga-8485-1901-LOGCUBE.fits.gz")
    monkeypatch.setattr("targetsel.extras.find_spec", lambda name: None)
    assert error_of(path) == (
        ": a MaNGA cube needs specutils, which is not installed. Try: pip install "
        "'targetsel[specutils]'"
    )


class TestWithSpecutils:
    @pytest.fixture(autouse=True)
    def _specutils(self):
        pytest.importorskip("specutils")

    def test_spaxels_of_a_manga_cube_are_summed(self, tmp_path):
        (spectrum,) = read_spectra(write_manga(tmp_path / "manga-LOGCUBE.fits"), 0.1)
        assert spectrum.source_id == "8485-1901"
        assert spectrum.position == (232.5447, 48.6902)
        assert spectrum.wavelength == pytest.approx(10**LOGLAM)
        assert spectrum.flux == pytest.approx(136 * galaxy(10**LOGLAM), rel=1e-5)
        factor = 1 + SLOPE * np.log10(16)
        assert spectrum.ivar == pytest.approx(4 / 16 / factor**2)

    def test_a_manga_file_of_rows_gives_a_spectrum_of_each(self, tmp_path):
        spectra = read_spectra(write_manga(tmp_path / "manga-LOGRSS.fits", "rss"), 0.1)
        assert [each.source_id for each in spectra] == [f"8485-1901:{row}" for row in range(4)]
        assert spectra[2].flux == pytest.approx(3 * galaxy(10**LOGLAM), rel=1e-5)
        assert (spectra[2].ivar == 4).all()

    def test_manga_has_no_redshift_unless_it_is_given(self, tmp_path):
        path = write_manga(tmp_path / "manga-LOGCUBE.fits")
        assert error_of(path, None).endswith(
            "has none. Give --redshift, or a table with 8485-1901 by --redshifts."
        )
        (tmp_path / "z.csv").write_text("plateifu,nsa_z\n8485-1901,0.0407\n")
        options = SpectrumOptions.of(tmp_path / "z.csv")
        assert read_spectra(path, options=options)[0].redshift == 0.0407

    def test_spectra_of_6df_are_refused_as_their_fluxes_are_counts(self, tmp_path):
        path = write_6df(tmp_path / "6df.fits", unit="count/s")
        assert error_of(path, None).startswith(
            ": flux is in 'ct / s', expected flux density per unit wavelength"
        )
        path = write_6df(tmp_path / "calibrated.fits")
        assert error_of(path, None).startswith(": has no errors, expected those of the flux")

    @pytest.mark.parametrize("medium", ["vacuum", "air", None])
    def test_files_that_specutils_writes_must_say_whether_they_are_in_air(self, medium, tmp_path):
        from astropy import units as u
        from astropy.nddata import StdDevUncertainty
        from astropy.wcs import WCS
        from specutils import Spectrum

        wcs = WCS(naxis=1)
        wcs.wcs.ctype, wcs.wcs.cunit = ["WAVE"], ["nm"]
        wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [400.0], [1.0], [0.1]
        unit = u.Unit("1e-16 erg / (s cm2 Angstrom)")
        noise = StdDevUncertainty(np.full(4000, 0.5) * unit)
        written = Spectrum(flux=np.linspace(1, 2, 4000) * unit, wcs=wcs, uncertainty=noise)
        written.write(tmp_path / "s.fits", format="wcs1d-fits")
        with fits.open(tmp_path / "s.fits", mode="update") as hdus:
            hdus[0].header["Z"] = 0.05
            if medium:
                hdus[0].header["AIRORVAC"] = medium
            else:
                hdus[0].header["CTYPE1"] = "LINEAR"
        if medium is None:
            assert error_of(tmp_path / "s.fits").startswith(": does not say whether its wavelength")
            return
        (spectrum,) = read_spectra(tmp_path / "s.fits")
        first = 4000.0 if medium == "vacuum" else air_to_vacuum(4000.0)
        assert spectrum.wavelength[0] == pytest.approx(first)
        assert spectrum.flux == pytest.approx(np.linspace(10, 20, 4000))
        assert spectrum.ivar == pytest.approx(0.04)
        assert spectrum.redshift == 0.05


def test_masked_spaxels_are_filled_by_their_share_of_the_light():
    flux = np.array([[[1.0, 1.0, 1.0], [3.0, 3.0, 3.0]]])
    ivar = np.array([[[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]])
    total, weight = summed(flux, ivar)
    assert total == pytest.approx([4, 4, 0])  # at the last, three quarters of the light are masked
    factor = 1 + SLOPE * np.log10(2)
    assert weight == pytest.approx([1 / 2 / factor**2, 0.75**2 / factor**2, 0])


def test_errors_of_many_spaxels_grow_no_more():
    flux = np.ones((20, 20, 3))
    _, weight = summed(flux, flux)
    assert weight == pytest.approx(1 / 400 / (1 + SLOPE * np.log10(CORRELATED)) ** 2)


def test_a_cube_without_data_is_wholly_masked():
    total, weight = summed(np.full((2, 2, 3), np.nan), np.zeros((2, 2, 3)))
    assert (total == 0).all()
    assert (weight == 0).all()
