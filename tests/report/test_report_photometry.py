"""Which columns are photometry, and what it can learn."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from targetsel.photometry.brightness import with_brightness
from targetsel.report.figures import subsets
from targetsel.report.photometry import (
    REDSHIFTS,
    SIZES,
    band_magnitude,
    features,
    magnitudes,
    photometry_probability,
    quantity,
)
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.tables.parquet import described
from tests.report.sky_by_hand import sky


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
    one, flux = ([18.0], ""), ([3631e9], "nJy")

    def found(**columns):
        its = band_magnitude(_table(**columns))
        return its and (its.title, its.unit, its.values.tolist())

    assert found(cutout_mag=one, flux_r=one, rmag=one) == ("r magnitude", "mag", [18.0])
    assert found(cutout_mag=one, flux_r=one)[:2] == ("r magnitude", "mag up to a constant")
    assert found(cutout_mag=one, gmag=one) == ("magnitude on the cutout", "mag", [18.0])
    assert found(gmag=one) is None
    # 3631 Jy are 0 mag AB; whose survey is known goes before whose is not.
    title, unit, values = found(rmag=one, flux_r_sdss=flux)
    assert (title, unit) == ("r magnitude (SDSS)", "mag")
    assert values == pytest.approx([0.0], abs=1e-3)


def test_brightness_that_is_given_bins_sources_in_its_band():
    table = _table(rmag=([18.0], "mag"), G=([19.0], "mag"))
    given = ["g_sdss=G"]
    table = table.cast(with_brightness(table.schema, given))
    found = band_magnitude(table, given)
    assert (found.title, found.unit, found.values.tolist()) == ("g magnitude (SDSS)", "mag", [19.0])


def test_sizes_and_redshifts_have_plain_names_and_their_units():
    table = _table(disk_radius=([2.0], "arcsec"), zspec=([0.1], ""))
    size, redshift = (quantity(table, names) for names in (SIZES, REDSHIFTS))
    assert (size.title, size.unit) == ("disk radius", "arcsec")
    assert (redshift.title, redshift.unit) == ("redshift", "")
    assert quantity(_table(zspec=([0.1], "")), SIZES) is None


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


def test_sources_are_binned_by_magnitude_size_and_redshift():
    n = 900
    made = sky(n)
    size = pa.array(np.linspace(1, 4, n))
    scored = made.scored.append_column(described("disk_radius", pa.float64(), "arcsec"), size)
    known = LabelledSources(scored, SimpleNamespace(table=made.truth), np.arange(n), {})
    found = [each.label for each in subsets(known)]
    assert list(dict.fromkeys(found)) == [
        "", "r magnitude, mag", "disk radius, arcsec", "redshift",
    ]  # fmt: skip
    assert subsets(known)[4].name == "disk radius 1 to 2 arcsec"


def test_an_ensemble_without_images_gives_no_magnitude_on_cutouts():
    assert "cutout_mag" not in magnitudes(_table(cutout_mag=([np.nan, np.nan], "mag")))
    assert "cutout_mag" in magnitudes(_table(cutout_mag=([np.nan, 19.0], "mag")))
