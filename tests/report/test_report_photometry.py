"""Which columns are photometry, and what it can learn."""

import numpy as np
import pyarrow as pa
import pytest

from targetsel.report.photometry import features, magnitudes, photometry_probability, red_magnitude
from targetsel.tables.parquet import described


def _table(**columns):
    fields = [described(name, pa.float64(), unit) for name, (_, unit) in columns.items()]
    return pa.table([pa.array(v) for v, _ in columns.values()], schema=pa.schema(fields))


def test_a_flux_of_one_nanomaggy_is_of_magnitude_22_5_in_either_unit():
    table = _table(flux_r=([1.0], "nanomaggy"), flux_g=([3630.78], "nJy"))
    found = magnitudes(table)
    assert found["flux_r"] == pytest.approx([22.5])
    assert found["flux_g"] == pytest.approx([22.5], abs=1e-5)


def test_a_flux_that_is_not_positive_has_no_magnitude():
    assert np.isnan(magnitudes(_table(flux_r=([0.0, -1.0], "nJy")))["flux_r"]).all()


def test_errors_predictions_and_redshifts_are_no_photometry():
    names = ("flux_r_err", "flux_ivar_r", "redshift", "d4000", "ew_halpha", "ra")
    table = _table(**{name: ([1.0], "") for name in names})
    assert features(table)[1] == []


def test_colours_and_size_are_features():
    table = _table(
        flux_g_ps1=([1.0], "nJy"), flux_r_ps1=([2.0], "nJy"), half_light_radius=([3.0], "arcsec")
    )
    values, names = features(table)
    assert names == ["flux_g_ps1", "flux_r_ps1", "flux_g_ps1 - flux_r_ps1", "half_light_radius"]
    assert values[0, 2] == pytest.approx(2.5 * np.log10(2))


def test_a_magnitude_in_r_goes_before_a_flux_and_the_cutouts():
    one = ([1.0], "")
    assert red_magnitude(_table(cutout_mag=one, flux_r=one, rmag=one)) == "rmag"
    assert red_magnitude(_table(cutout_mag=one, flux_r=one, gmag=one)) == "flux_r"
    assert red_magnitude(_table(cutout_mag=one, gmag=one)) == "cutout_mag"
    assert red_magnitude(_table(gmag=one)) is None


def _learnable(n=600):
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(1)
    colour = rng.normal(size=(n, 1))
    return rng, colour, colour[:, 0] + 0.3 * rng.normal(size=n) > 0.5


def test_photometry_learns_what_a_colour_tells():
    _, colour, true = _learnable()
    chance = photometry_probability(colour, true, np.arange(600), np.ones(600))
    assert chance[true].mean() > 0.7
    assert chance[~true].mean() < 0.2


def test_a_source_is_not_predicted_by_its_own_group():
    # A group's number is its only feature, and its members are alike: knowing it would be enough.
    rng, *_ = _learnable()
    group = np.repeat(np.arange(120), 5)
    true = (rng.uniform(size=120) < 0.5)[group]
    chance = photometry_probability(group[:, None].astype(float), true, group, np.ones(600))
    assert np.mean((chance > 0.5) == true) < 0.65


def test_where_all_other_groups_are_alike_their_share_is_the_answer():
    _learnable(10)
    true = np.arange(10) == 0
    chance = photometry_probability(np.zeros((10, 1)), true, np.zeros(10, int), np.ones(10))
    assert chance == pytest.approx(0.1)
