import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import CatalogError
from targetsel.photometry.bands import find_passband
from targetsel.photometry.flux import extinction
from targetsel.spectrographs.continuum import Magnitudes
from targetsel.tables.parquet import described

NO_DUST = np.zeros(1)


def table(**columns):
    """Columns of one number each, given as (value, unit)."""
    fields = [described(name, pa.float64(), unit) for name, (_, unit) in columns.items()]
    return pa.table([pa.array([v], pa.float64()) for v, _ in columns.values()], pa.schema(fields))


def found(rows, *given, in_fiber=False, dereddened=True):
    return Magnitudes.find(rows.schema, given, in_fiber, dereddened)


def test_columns_of_known_bands_are_found_in_the_order_of_wavelength():
    rows = table(flux_z_sdss=(1, "nJy"), flux_g_sdss=(1, "nJy"), flux_r_mine=(1, "nJy"))
    assert [each.name for each in found(rows).columns] == ["flux_g_sdss", "flux_z_sdss"]


def test_magnitudes_named_by_band_and_system_are_found_too():
    rows = table(mag_z_sdss=(20.0, ""), flux_g_decam=(1, "nJy"), fibermag_r_sdss=(20.0, "mag"))
    assert [each.name for each in found(rows).columns] == ["flux_g_decam", "mag_z_sdss"]
    assert [each.name for each in found(rows, in_fiber=True).columns] == ["fibermag_r_sdss"]


def test_magnitude_of_one_band_is_a_flux_per_frequency_everywhere():
    # AB magnitude 20: 3.63078e-20 * 1e-8 erg/s/cm2/Hz, at 5000 Angstrom times c / lambda^2.
    rows = table(rmag=(20.0, "mag"))
    magnitudes = found(rows, "r_sdss=rmag")
    level = magnitudes.continuum(magnitudes.flux(rows), np.array([[5000.0, 10000.0]]), NO_DUST)
    assert level[0, 0] == pytest.approx(3.63078e-28 * 2.997925e18 / 5000**2, rel=1e-4)
    assert level[0, 0] == pytest.approx(4 * level[0, 1])


def test_power_law_is_followed_between_bands():
    g, z = find_passband("g_sdss").wavelength, find_passband("z_sdss").wavelength
    rows = table(flux_g_sdss=(g**2, "nJy"), flux_z_sdss=(z**2, "nJy"))
    magnitudes = found(rows)
    at = np.array([[g, 6000.0, z]])
    level = magnitudes.continuum(magnitudes.flux(rows), at, NO_DUST)
    assert level[0] == pytest.approx(np.full(3, level[0, 0]))  # f_nu as lambda^2: f_lambda level


def test_band_without_flux_is_bridged_by_its_neighbours():
    rows = table(flux_g_ps1=(100.0, "nJy"), flux_r_ps1=(np.nan, "nJy"), flux_i_ps1=(100.0, "nJy"))
    magnitudes = found(rows)
    at = np.array([[6000.0]])
    without = found(table(flux_g_ps1=(100.0, "nJy")))
    assert magnitudes.continuum(magnitudes.flux(rows), at, NO_DUST) == pytest.approx(
        without.continuum(np.array([[100.0]]), at, NO_DUST)
    )


@pytest.mark.parametrize("bad", [np.nan, 0.0, -3.0])
def test_source_without_positive_flux_has_no_continuum(bad):
    rows = table(flux_r_sdss=(bad, "nJy"))
    magnitudes = found(rows)
    assert np.isnan(magnitudes.continuum(magnitudes.flux(rows), np.array([[6000.0]]), NO_DUST))


def test_dust_cancels_at_the_band_itself_and_dims_bluer_light():
    rows, dust = table(flux_r_sdss=(100.0, "nJy")), np.array([0.3])
    r = find_passband("r_sdss").wavelength
    at = np.array([[r, 4000.0]])
    seen = found(rows, dereddened=False)
    clear, dimmed = (seen.continuum(np.array([[100.0]]), at, each)[0] for each in (NO_DUST, dust))
    assert dimmed[0] == pytest.approx(clear[0])
    magnitudes = 0.3 * (extinction(4000.0) - extinction(r))
    assert dimmed[1] == pytest.approx(clear[1] * 10 ** (-0.4 * magnitudes))


def test_dust_dims_light_whose_magnitude_was_corrected_for_it():
    rows, dust = table(flux_r_sdss=(100.0, "nJy")), np.array([0.3])
    r = find_passband("r_sdss").wavelength
    magnitudes = found(rows)
    clear, dimmed = (
        magnitudes.continuum(np.array([[100.0]]), np.array([[r]]), each) for each in (NO_DUST, dust)
    )
    assert dimmed == pytest.approx(clear * 10 ** (-0.4 * 0.3 * extinction(r)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["r_sds=rmag"], "unknown band 'r_sds'. Did you mean 'r_sdss'"),
        (["q=rmag"], "unknown band 'q'. Known: u_sdss, g_sdss"),
        (["r_sdss=rmga"], "no column 'rmga'. Did you mean 'rmag'?"),
        (["rmag"], "--brightness 'rmag': expected BAND=COLUMN, such as r_sdss=rmag"),
        (["r_sdss=size"], "the column 'size' has the unit 'arcsec'; expected nJy"),
        (["r_sdss=name"], "column 'name': holds text; expected magnitudes or fluxes"),
        ([], "no column such as flux_r_sdss or flux_g_ps1. Name the magnitudes with --brightness"),
    ],
)
def test_magnitudes_that_cannot_serve_are_refused(given, message):
    rows = table(rmag=(20.0, "mag"), size=(1.0, "arcsec")).append_column("name", pa.array(["x"]))
    with pytest.raises(CatalogError) as refused:
        found(rows, *given)
    assert message in str(refused.value)
