"""Fluxes of a target list in whatever unit, as nanojansky and magnitudes."""

import numpy as np
import pytest

from targetsel.errors import HandoffError
from targetsel.photometry.catalog_fluxes import Filter, Photometry, ab_magnitude
from tests.handoff.lists_by_hand import target_list

R = Filter("r", "sdss")


def photometry(**columns) -> Photometry:
    return Photometry.of(target_list(2, flux_g_sdss=None, flux_r_sdss=None, **columns).table)


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
    assert found.flux(Filter("r", "sdss_x")) == pytest.approx([3630.780548] * 2, rel=1e-6)


def test_errors_in_magnitudes_become_errors_in_flux():
    found = photometry(flux_r_a=([22.5, 22.5], "mag"), flux_r_a_err=([0.1, float("nan")], "mag"))
    error = found.flux_error(Filter("r", "a"))
    assert error[0] == pytest.approx(3630.780548 * 0.1 * 0.4 * np.log(10), rel=1e-6)
    assert np.isnan(error[1])
    assert found.magnitude_error(Filter("r", "a"))[0] == pytest.approx(0.1)


def test_fluxes_of_fibers_and_of_sources_are_kept_apart():
    found = photometry(flux_r_ls=([1.0, 2.0], "nJy"), fiberflux_r_ls=([0.5, None], "nJy"))
    ls = Filter("r", "ls")
    assert found.flux(ls).tolist() == [1.0, 2.0]
    assert found.flux(ls, "fiberflux")[0] == 0.5
    assert np.isnan(found.flux(ls, "fiberflux")[1])
    assert found.filters() == [ls]
    assert np.isnan(found.flux_error(ls)).all()


def test_names_of_systems_may_have_an_underscore():
    found = photometry(
        flux_r_old_hsc=([1.0, 2.0], "nJy"), flux_r2_hsc_err=([1.0, 2.0], "nJy"), fluxes=([1, 2], "")
    )
    assert found.filters() == [Filter("r", "old_hsc")]
    assert found.flux_error(Filter("r2", "hsc")).tolist() == [1.0, 2.0]


def test_inverse_variances_and_texts_are_no_fluxes():
    found = photometry(flux_ivar_r_ls=([1.0, 2.0], "1/nJy2"), flux_r_ls=(["a", "b"], "nJy"))
    assert found.filters() == []


@pytest.mark.parametrize("unit", ["", "erg", "counts per hour"])
def test_flux_without_a_usable_unit_is_an_error(unit):
    with pytest.raises(HandoffError, match=rf"column 'flux_r_ls' has the unit '{unit}'; expected"):
        photometry(flux_r_ls=([1.0, 2.0], unit)).flux(Filter("r", "ls"))


def test_filters_that_the_list_has_come_in_the_order_wanted():
    found = Photometry.of(target_list().table)
    wanted = [R, Filter("i", "sdss"), Filter("g", "sdss")]
    assert found.known(wanted, "thing") == [R, Filter("g", "sdss")]


def test_no_flux_in_any_filter_is_an_error_that_names_both_sides():
    with pytest.raises(
        HandoffError,
        match=r"no flux in any filter that 'thing' knows: it has flux_g_sdss, flux_r_sdss, "
        r"expected one of flux_z_ps1 \[nJy\]\.$",
    ):
        Photometry.of(target_list().table).known([Filter("z", "ps1")], "thing")
