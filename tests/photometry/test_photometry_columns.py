"""Fluxes and magnitudes of a catalog in whatever unit, as nanojansky and magnitudes."""

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import CatalogError
from targetsel.photometry.bands import Band
from targetsel.photometry.brightness import given_columns
from targetsel.photometry.columns import CatalogPhotometry, photometric_columns
from targetsel.photometry.flux import ab_magnitude
from tests.handoff.lists_by_hand import target_list


def photometry(**columns) -> CatalogPhotometry:
    return CatalogPhotometry.of(target_list(2, flux_g_sdss=None, flux_r_sdss=None, **columns).table)


def test_a_thousand_nanojansky_are_23_9_mag():
    assert ab_magnitude(np.array([1000.0, 3630780.548])) == pytest.approx([23.9, 15.0], abs=1e-6)


def test_a_flux_that_is_not_positive_has_no_magnitude():
    assert np.isnan(ab_magnitude(np.array([0.0, -5.0, np.nan]))).all()


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (3630.780548, "nJy"),
        (3.630780548, "uJy"),
        (1.0, "nanomaggy"),
        (1.0, "nanomaggies"),
        (22.5, "mag"),
        (22.5, "mag(AB)"),
    ],
)
def test_one_nanomaggy_is_the_same_in_every_unit(value, unit):
    found = photometry(flux_r_sdss_x=([value, value], unit))
    assert found.flux(Band("r", "sdss_x")) == pytest.approx([3630.780548] * 2, rel=1e-6)


def test_errors_in_magnitudes_become_errors_in_flux():
    found = photometry(flux_r_a=([22.5, 22.5], "mag"), flux_r_a_err=([0.1, float("nan")], "mag"))
    error = found.flux_error(Band("r", "a"))
    assert error[0] == pytest.approx(3630.780548 * 0.1 * 0.4 * np.log(10), rel=1e-6)
    assert np.isnan(error[1])
    assert found.magnitude_error(Band("r", "a"))[0] == pytest.approx(0.1)


def test_fluxes_of_fibers_and_of_sources_are_kept_apart():
    found = photometry(flux_r_ls=([1.0, 2.0], "nJy"), fiberflux_r_ls=([0.5, None], "nJy"))
    ls = Band("r", "ls")
    assert found.flux(ls).tolist() == [1.0, 2.0]
    assert found.flux(ls, "fiberflux")[0] == 0.5
    assert np.isnan(found.flux(ls, "fiberflux")[1])
    assert found.bands() == [ls]
    assert np.isnan(found.flux_error(ls)).all()


def test_names_of_systems_may_have_an_underscore():
    found = photometry(
        flux_r_old_hsc=([1.0, 2.0], "nJy"), flux_r2_hsc_err=([1.0, 2.0], "nJy"), fluxes=([1, 2], "")
    )
    assert found.bands() == [Band("r", "old_hsc")]
    assert found.flux_error(Band("r2", "hsc")).tolist() == [1.0, 2.0]


def test_inverse_variances_and_texts_are_no_fluxes():
    found = photometry(flux_ivar_r_ls=([1.0, 2.0], "1/nJy2"), flux_r_ls=(["a", "b"], "nJy"))
    assert found.bands() == []


@pytest.mark.parametrize(
    ("unit", "said"),
    [("", "no unit"), ("erg", "the unit 'erg'"), ("counts per hour", "the unit 'counts per hour'")],
)
def test_flux_without_a_usable_unit_is_an_error(unit, said):
    with pytest.raises(CatalogError, match=rf"column 'flux_r_ls' has {said}; expected"):
        photometry(flux_r_ls=([1.0, 2.0], unit)).flux(Band("r", "ls"))


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("mag_r_ps1", "r_ps1"), ("MAG_R_PS1", "r_ps1"), ("rmag", "r"), ("r_mag", "r"),
        ("flux_w1", "w1"), ("flux_bp_gaia", "bp_gaia"), ("flux_f200w_nircam", "f200w_nircam"),
        ("flux_Y_des", "y_des"),
    ],
)  # fmt: skip
def test_columns_named_after_bands_are_found(name, band):
    (column,) = photometric_columns(pa.schema([(name, pa.float32())]))
    assert (str(column.band), column.kind, column.is_error) == (band, "flux", False)


@pytest.mark.parametrize(
    "name",
    ["flux_radius", "mag_auto", "flux_psf", "flux_err", "redmag", "cutout_mag", "r"],
)
def test_columns_named_otherwise_are_no_photometry(name):
    assert photometric_columns(pa.schema([(name, pa.float32())])) == []


def test_a_magnitude_needs_no_unit_where_its_name_tells():
    found = photometry(rmag=([22.5, 22.5], ""), rmag_err=([0.1, 0.1], ""))
    assert found.flux(Band("r")) == pytest.approx([3630.780548] * 2)
    assert found.magnitude_error(Band("r")) == pytest.approx([0.1] * 2)


def test_a_flux_is_taken_before_a_magnitude_of_its_band():
    found = photometry(mag_r_ls=([20.0, 20.0], "mag"), flux_r_ls=([1.0, 2.0], "nJy"))
    assert found.bands() == [Band("r", "ls")]
    assert found.flux(Band("r", "ls")).tolist() == [1.0, 2.0]


def test_a_column_given_for_a_band_is_taken_before_all_others():
    rows = target_list(2, rmag=([22.5, 22.5], "mag")).table
    found = CatalogPhotometry.of(rows, given_columns(rows.schema, ["r_sdss=rmag"]))
    assert found.flux(Band("r", "sdss")) == pytest.approx([3630.780548] * 2)
    assert found.bands()[0] == Band("r", "sdss")


def test_a_column_given_for_a_band_must_hold_light():
    with pytest.raises(CatalogError, match="the column 'dec' has the unit 'deg'; expected nJy"):
        given_columns(target_list().table.schema, ["r_sdss=dec"])


@pytest.mark.parametrize(
    ("value", "unit"),
    [(-99.0, "mag"), (99.0, "mag"), (-999.0, "mag"), (np.inf, "nJy"), (-np.inf, "nanomaggy"),
     (np.inf, "mag"), (np.nan, "nJy")],
)  # fmt: skip
def test_number_that_stands_for_none_is_no_brightness(value, unit):
    found = photometry(flux_r_sdss_x=([value, value], unit))
    band = Band("r", "sdss_x")
    assert np.isnan([found.flux(band), found.magnitude(band)]).all()


@pytest.mark.parametrize("error", [99.0, -99.0, np.inf])
def test_error_that_stands_for_none_is_unknown(error):
    found = photometry(mag_r_sdss_x=([22.5, 22.5], "mag"), mag_r_sdss_x_err=([0.1, error], "mag"))
    errors = found.flux_error(Band("r", "sdss_x"))
    assert errors == pytest.approx([0.1 * np.log(10) / 2.5 * 3630.780548, np.nan], nan_ok=True)
